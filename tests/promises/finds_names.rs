//! The agent finds the name of a server where any other program of the host finds it, whatever the name servers of a plant
//! answer. The table that these tests print is in docs/names.md.
//!
//! Each case has a network of its own and an `/etc` of its own, so it runs in a process of its own.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use otelet_testkit::names::{Kind, NameServer, Reply};

use super::host::{Host, config, stderr, stdout};

/// How long the other programs may take. One that takes longer has not found the name.
const OTHERS: &str = "5";

/// The variable that names the case for the process that runs it.
const CASE: &str = "OTELET_TEST_CASE";

type Script = fn(&str, Kind) -> Reply;

/// A host and its name servers.
struct Case {
    what: &'static str,
    name: &'static str,
    /// `/etc/resolv.conf`; `None` for none.
    resolv: Option<&'static str>,
    hosts: &'static str,
    servers: &'static [(&'static str, Script)],
    /// Whether the host has an address of IPv6.
    ipv6: bool,
    found: bool,
}

const CONFIG: &str = "config.plant.test";

const PLAIN: Case = Case {
    what: "",
    name: CONFIG,
    resolv: Some("nameserver 127.1.0.1\nsearch .\n"),
    hosts: "",
    servers: &[],
    ipv6: false,
    found: true,
};

const TWO: Option<&str> = Some("nameserver 127.1.0.1\nnameserver 127.1.0.2\nsearch .\n");

const CASES: &[Case] = &[
    Case { what: "A good, AAAA NXDOMAIN", servers: &[("127.1.0.1", |_, kind| a_or(kind, Reply::Code(3)))], ..PLAIN },
    Case { what: "A good, AAAA SERVFAIL", servers: &[("127.1.0.1", |_, kind| a_or(kind, Reply::Code(2)))], ..PLAIN },
    Case { what: "A good, AAAA NOTIMP", servers: &[("127.1.0.1", |_, kind| a_or(kind, Reply::Code(4)))], ..PLAIN },
    Case { what: "A good, AAAA silent", servers: &[("127.1.0.1", |_, kind| a_or(kind, Reply::Silence))], ..PLAIN },
    Case {
        what: "A good, AAAA silent, host with IPv6",
        servers: &[("127.1.0.1", |_, kind| a_or(kind, Reply::Silence))],
        ipv6: true,
        ..PLAIN
    },
    Case {
        what: "two servers, the first says no such name",
        resolv: TWO,
        servers: &[("127.1.0.1", no_such_name), ("127.1.0.2", good)],
        ..PLAIN
    },
    Case {
        what: "two servers, the second says no such name",
        resolv: TWO,
        servers: &[("127.1.0.1", |_, kind| Reply::Later(SLOW, good("", kind).into())), ("127.1.0.2", no_such_name)],
        ..PLAIN
    },
    Case {
        what: "two servers, the first has no address",
        resolv: TWO,
        servers: &[("127.1.0.1", |_, _| Reply::Addresses(Vec::new())), ("127.1.0.2", good)],
        ..PLAIN
    },
    Case {
        what: "two servers, the first answers SERVFAIL",
        resolv: TWO,
        servers: &[("127.1.0.1", |_, _| Reply::Code(2)), ("127.1.0.2", good)],
        ..PLAIN
    },
    Case {
        what: "two servers, the first is silent",
        resolv: TWO,
        servers: &[("127.1.0.1", silent), ("127.1.0.2", good)],
        ..PLAIN
    },
    Case { what: "two servers, the first is not there", resolv: TWO, servers: &[("127.1.0.2", good)], ..PLAIN },
    Case {
        what: "the answer comes by TCP only",
        servers: &[("127.1.0.1", |_, kind| {
            if kind == Kind::A { Reply::ByTcpOnly(vec![HERE]) } else { Reply::Addresses(Vec::new()) }
        })],
        ..PLAIN
    },
    Case {
        what: "a truncated answer, and no TCP",
        servers: &[("127.1.0.1", |_, kind| {
            if kind == Kind::A { Reply::Cut(vec![HERE, HERE]) } else { Reply::Addresses(Vec::new()) }
        })],
        ..PLAIN
    },
    Case {
        what: "24 aliases, 2 KiB",
        servers: &[("127.1.0.1", |_, kind| Reply::Behind(24, if kind == Kind::A { vec![HERE] } else { Vec::new() }))],
        ..PLAIN
    },
    Case {
        what: "a short name and a search list",
        name: "config",
        resolv: Some("nameserver 127.1.0.1\nsearch office.test plant.test\n"),
        servers: &[("127.1.0.1", only_config)],
        ..PLAIN
    },
    Case {
        what: "a name with fewer dots than ndots",
        name: "config.plant",
        resolv: Some("nameserver 127.1.0.1\nsearch office.test test\noptions ndots:3\n"),
        servers: &[("127.1.0.1", only_config)],
        ..PLAIN
    },
    Case {
        what: "a name with a dot and a search list",
        name: "config.plant",
        resolv: Some("nameserver 127.1.0.1\nsearch office.test test\n"),
        servers: &[("127.1.0.1", only_config)],
        ..PLAIN
    },
    Case {
        what: "a search list whose first domain answers SERVFAIL",
        name: "config",
        resolv: Some("nameserver 127.1.0.1\nsearch broken.test plant.test\n"),
        servers: &[(
            "127.1.0.1",
            |name, kind| {
                if name.ends_with("broken.test") { Reply::Code(2) } else { only_config(name, kind) }
            },
        )],
        ..PLAIN
    },
    Case {
        what: "a name below .local, by DNS",
        name: "config.local",
        servers: &[("127.1.0.1", |name, kind| if name == "config.local" { good(name, kind) } else { Reply::Code(3) })],
        ..PLAIN
    },
    Case { what: "/etc/hosts only, no server answers", hosts: "127.0.0.1 config.plant.test\n", ..PLAIN },
    Case {
        what: "/etc/hosts, though the server says no such name",
        hosts: "127.0.0.1 config.plant.test config\n",
        servers: &[("127.1.0.1", no_such_name)],
        ..PLAIN
    },
    Case { what: "no /etc/resolv.conf, a server on this host", resolv: None, servers: &[("127.0.0.1", good)], ..PLAIN },
    Case {
        what: "no /etc/resolv.conf, the name in /etc/hosts",
        resolv: None,
        hosts: "127.0.0.1 config.plant.test\n",
        ..PLAIN
    },
    Case { what: "localhost without an entry in /etc/hosts", name: "localhost", ..PLAIN },
    Case {
        what: "IPv6 only, A SERVFAIL",
        servers: &[("127.1.0.1", |_, kind| match kind {
            Kind::A => Reply::Code(2),
            Kind::Aaaa => Reply::Addresses(vec![IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)]),
        })],
        ..PLAIN
    },
    Case {
        what: "all servers say no such name",
        resolv: TWO,
        servers: &[("127.1.0.1", no_such_name), ("127.1.0.2", no_such_name)],
        found: false,
        ..PLAIN
    },
];

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Slower than the other server, and no reason to ask again.
const SLOW: Duration = Duration::from_millis(300);

fn a_or(kind: Kind, other: Reply) -> Reply {
    if kind == Kind::A { Reply::Addresses(vec![HERE]) } else { other }
}

fn good(_: &str, kind: Kind) -> Reply {
    a_or(kind, Reply::Addresses(Vec::new()))
}

fn no_such_name(_: &str, _: Kind) -> Reply {
    Reply::Code(3)
}

fn silent(_: &str, _: Kind) -> Reply {
    Reply::Silence
}

fn only_config(name: &str, kind: Kind) -> Reply {
    if name == CONFIG { good(name, kind) } else { Reply::Code(3) }
}

/// Runs a test of this file in a network and an `/etc` of its own. `Err` where none can be made here.
fn elsewhere(test: &str, case: usize) -> Result<String, String> {
    let script = "ip link set lo up && cp -a /etc \"$0/etc\" && mount --bind \"$0/etc\" /etc || \
                  { echo no network or mount of its own can be made here >&2; exit 77; }; exec \"$@\"";
    let allowed = Command::new("unshare").args(["--mount", "--net", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return Err("no network and mounts of its own can be made here".into());
    }
    let host = Host::named("otelet-names");
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", script])
        .arg(host.path(""))
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("finds_names::{test}"), "--nocapture", "--test-threads=1"])
        .env(CASE, case.to_string())
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    match output.status.code() {
        Some(0) => Ok(stdout(&output)),
        Some(77) => Err(stderr(&output).trim().to_owned()),
        _ => panic!("{}\n{}", stdout(&output), stderr(&output)),
    }
}

/// The host of a case, its files and its name servers.
fn set_up(case: &Case) -> (Host, Vec<NameServer>) {
    for (file, text) in
        [("hosts", Some(case.hosts)), ("nsswitch.conf", Some("hosts: files dns\n")), ("resolv.conf", case.resolv)]
    {
        let file = Path::new("/etc").join(file);
        let _ = fs::remove_file(&file);
        if let Some(text) = text {
            fs::write(file, text).unwrap();
        }
    }
    if case.ipv6 {
        let added = Command::new("ip").args(["addr", "add", "fd00:7::1/128", "dev", "lo"]).status().unwrap();
        assert!(added.success());
    }
    let server = |(address, script): &(&str, Script)| {
        NameServer::new((address.parse::<IpAddr>().unwrap(), 53).into(), *script).unwrap()
    };
    (Host::new(), case.servers.iter().map(server).collect())
}

/// Whether a program ended well, and after how long.
fn timed(run: impl FnOnce() -> Output) -> (bool, String, Output) {
    let begun = Instant::now();
    let output = run();
    let took = begun.elapsed().as_secs_f32();
    let good = output.status.success();
    (good, if good { format!("{took:.1} s") } else { "no".to_owned() }, output)
}

#[test]
#[ignore = "needs root for networks of its own, getent and curl: cargo xtask check --real"]
fn a_name_is_found_where_any_other_program_finds_it() {
    let mut table = "| case | otelet | getent | curl |\n|---|---|---|---|\n".to_owned();
    // Most of a case is waiting.
    let rows: Vec<Result<String, String>> = thread::scope(|scope| {
        let run = |case| move || elsewhere("one_case", case);
        let cases: Vec<_> = (0..CASES.len()).map(|case| scope.spawn(run(case))).collect();
        cases.into_iter().map(|case| case.join().unwrap()).collect()
    });
    for row in rows {
        match row {
            Ok(said) => {
                // The harness has begun the line.
                let row = said.lines().find_map(|line| line.split_once("ROW "));
                writeln!(table, "{}", row.unwrap_or_else(|| panic!("no row in {said}")).1).unwrap();
            }
            Err(why) => return println!("skipped: {why}"),
        }
    }
    println!("{table}");
}

#[test]
#[ignore = "needs root for a network of its own: is started by the test beside it"]
fn one_case() {
    let Ok(number) = env::var(CASE) else { return };
    let case = &CASES[number.parse::<usize>().unwrap()];
    let (host, _servers) = set_up(case);
    host.server.offer(config("good"));
    let mut url = host.server.url().replace("127.0.0.1", case.name);
    let ipv6 = (case.what == "IPv6 only, A SERVFAIL").then(|| over_ipv6(&host));
    if let Some(port) = ipv6 {
        url = url.replace(&format!(":{}", host.server.addr().port()), &format!(":{port}"));
    }
    host.set("config.url", &url);
    let other = |words: &[&str]| {
        let mut command = Command::new("timeout");
        command.arg(OTHERS).args(words);
        move || command.output().unwrap()
    };
    let (ours, getent, curl) = thread::scope(|scope| {
        let getent = scope.spawn(|| timed(other(&["getent", "ahosts", case.name])));
        let curl = scope.spawn(|| timed(other(&["curl", "-sS", "-o", "/dev/null", &url])));
        (timed(|| host.otelet(&["validate"])), getent.join().unwrap(), curl.join().unwrap())
    });

    println!("ROW | {} | {} | {} | {} |", case.what, ours.1, getent.1, curl.1);
    let said = stdout(&ours.2);
    assert_eq!(ours.0, case.found, "{said}");
    assert!(ours.0 || !(getent.0 || curl.0), "others find it: {said}");
    if !case.found {
        let why = "name config.plant.test does not resolve: name server 127.1.0.1: no such name; name server 127.1.0.2: no such name";
        assert!(said.contains(why), "{said}");
    }
}

/// The config server over IPv6: a port that passes everything on.
fn over_ipv6(host: &Host) -> u16 {
    let server = host.server.addr();
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = std::net::TcpStream::connect(server).unwrap();
            let (mut to, mut from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            thread::spawn(move || std::io::copy(&mut &server, &mut &client));
        }
    });
    port
}

#[test]
#[ignore = "needs root for a network of its own: cargo xtask check --real"]
fn configs_checks_exports_and_proxies_share_the_way_to_a_name() {
    if let Err(why) = elsewhere("the_whole_agent", 0) {
        println!("skipped: {why}");
    }
}

#[test]
#[ignore = "needs root for a network of its own: is started by the test beside it"]
fn the_whole_agent() {
    if env::var(CASE).is_err() {
        return;
    }
    let (host, _servers) = set_up(&CASES[0]);
    let named = |url: String| url.replace("127.0.0.1", CONFIG);
    let (backend, fleet) = (super::server::Server::new(), super::server::Server::new());
    host.set("config.url", &named(host.server.url()));
    host.set("export.to", named(backend.at("")).trim_end_matches('/'));
    host.set("export.every", "1s");
    host.set("report.url", &named(fleet.url()));
    let web = host.server.addr();
    let checks = [
        "name: name, dns: config.plant.test".to_owned(),
        "name: address, dns: config.plant.test, address: 127.0.0.1".to_owned(),
        format!("name: port, tcp: 'config.plant.test:{}'", web.port()),
        format!("name: page, http: '{}'", named(host.server.url())),
    ];
    host.set("checks", &checks.map(|check| format!("\n  - {{{check}, every: 1s, timeout: 5s}}")).concat());
    let agent = host.agent_running(&config("good"));

    agent.wait_status("four good checks", |status| {
        status.checks.iter().filter(|check| check.ok == Some(true) && check.name.len() == 4).count() == 3
            && status.checks.iter().any(|check| check.name == "address" && check.ok == Some(true))
    });
    backend.wait_for_requests(1);
    fleet.wait_for_requests(1);
    assert_eq!(agent.logged("check "), 0, "no false alarm");

    // The name of a proxy, and a host that only the proxy knows.
    host.server.offer(config("better"));
    host.set("config.http_proxy", &named(host.server.at("")));
    host.change(&agent, "config.url", "http://config.inside.test/site.yaml");
    agent.applied(&config("better"));
}
