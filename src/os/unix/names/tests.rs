//! The resolver against name servers with scripts, on ports of their own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use otelet_testkit::names::{Kind, NameServer, Reply};

use super::*;

/// The longest wait of a test that is to find something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Name servers on one port, each at an address of its own, and the two files.
struct Plant {
    dir: PathBuf,
    servers: Vec<NameServer>,
    places: Places,
}

type Script = fn(&str, Kind) -> Reply;

impl Plant {
    /// A script for each server; `None` is a server that is not there.
    fn new(scripts: &[Option<Script>], options: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("otelet-names-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let address = |number: usize| IpAddr::from([127, 9, 0, number as u8 + 1]);
        let mut servers: Vec<NameServer> = Vec::new();
        let mut text = String::new();
        for (number, script) in scripts.iter().enumerate() {
            let port = servers.first().map_or(0, |first| first.addr().port());
            text += &format!("nameserver {}\n", address(number));
            if let Some(script) = script {
                servers.push(NameServer::new(SocketAddr::new(address(number), port), *script).unwrap());
            }
        }
        let places = Places {
            hosts: dir.join("hosts"),
            conf: dir.join("resolv.conf"),
            port: servers.first().map_or(9, |first| first.addr().port()),
        };
        fs::write(&places.conf, text + options).unwrap();
        Self { dir, servers, places }
    }

    fn one(script: Script) -> Self {
        Self::new(&[Some(script)], "search .\n")
    }

    fn find(&self, name: &str) -> Result<Vec<String>, String> {
        self.find_by(name, Family::Any)
    }

    fn find_by(&self, name: &str, family: Family) -> Result<Vec<String>, String> {
        let found = self.places.look_up(name, family, Instant::now() + PATIENCE)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    /// The names that this server was asked for, each once.
    fn names(&self, server: usize) -> Vec<String> {
        let mut names: Vec<String> = self.servers[server].asked().into_iter().map(|question| question.name).collect();
        names.dedup();
        names
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn good(_: &str, kind: Kind) -> Reply {
    match kind {
        Kind::A => Reply::addresses(&["127.0.0.1"]),
        Kind::Aaaa => Reply::addresses(&[]),
    }
}

fn no_such_name(_: &str, _: Kind) -> Reply {
    Reply::code(3)
}

fn silent(_: &str, _: Kind) -> Reply {
    Reply::Silence
}

const FOUND: [&str; 1] = ["127.0.0.1"];

#[test]
fn a_bad_answer_for_one_kind_spoils_no_good_one_for_the_other() {
    let scripts: [Script; 8] = [
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::code(3) },
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::code(2) },
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::code(5) },
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::Bare(4) },
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::Silence },
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::Garbage },
        // As some routers do: the address of IPv4 for either question.
        |_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::Behind(1, Vec::new()) },
        |_, kind| if kind == Kind::A { Reply::AfterStrays(vec![[127, 0, 0, 1].into()]) } else { Reply::code(3) },
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        assert_eq!(Plant::one(script).find("config.plant.test").unwrap(), FOUND, "script {number}");
    }
    let ipv6: Script = |_, kind| if kind == Kind::Aaaa { Reply::addresses(&["::1"]) } else { Reply::code(3) };
    assert_eq!(Plant::one(ipv6).find("config.plant.test").unwrap(), ["::1"]);
    let both: Script = |_, kind| {
        let address = if kind == Kind::A { "127.0.0.1" } else { "::1" };
        let late = Duration::from_millis(if kind == Kind::A { 300 } else { 0 });
        Reply::Later(late, Reply::addresses(&[address]).into())
    };
    let found = Plant::one(both).find("config.plant.test").unwrap();
    assert_eq!(found.len(), 2, "the slower answer is waited for: {found:?}");
}

#[test]
fn no_such_name_counts_only_if_all_servers_say_so() {
    for first in [no_such_name as Script, silent, |_, _| Reply::code(2), |_, _| Reply::addresses(&[])] {
        let plant = Plant::new(&[Some(first), Some(good)], "search .\n");
        assert_eq!(plant.find("config.plant.test").unwrap(), FOUND);
    }
    let plant = Plant::new(&[Some(no_such_name), None, Some(good)], "search .\n");
    assert_eq!(plant.find("config.plant.test").unwrap(), FOUND, "one says no, one is not there");

    let plant = Plant::new(&[Some(good), Some(no_such_name)], "search .\n");
    assert_eq!(plant.find("config.plant.test").unwrap(), FOUND);
    assert_eq!(plant.names(1), [""; 0], "the next server is asked only if the first one did not help");
}

#[test]
fn the_reason_names_each_server_and_what_it_said() {
    let plant = Plant::new(&[Some(no_such_name), Some(|_, _| Reply::code(2)), None], "search .\n");
    let said = plant.find("config.plant.test").unwrap_err();
    let start =
        "name server 127.9.0.1: no such name; name server 127.9.0.2: answered SERVFAIL; name server 127.9.0.3: ";
    assert!(said.starts_with(start) && said.contains("refused"), "{said}");

    let plant = Plant::new(&[Some(silent)], "search .\noptions timeout:1 attempts:1\n");
    assert_eq!(plant.find("config.plant.test").unwrap_err(), "name server 127.9.0.1: no answer");
    let plant = Plant::new(&[], "");
    let said = plant.find("config.plant.test").unwrap_err();
    assert!(said.contains("name server 127.0.0.1: ") && said.ends_with("resolv.conf names no server"), "{said}");

    let plant = Plant::one(|_, _| Reply::addresses(&[]));
    assert_eq!(plant.find("a.test").unwrap_err(), "name server 127.9.0.1: no address of this name");
}

#[test]
fn each_server_is_asked_by_itself_and_a_silent_one_once() {
    let plant = Plant::new(&[Some(no_such_name), Some(good), Some(silent)], "search .\n");
    let mut mute = Vec::new();
    let mut ask = |name: &str| {
        let told = plant.places.ask_each(name, &mut mute, Instant::now() + PATIENCE);
        told.iter().map(|one| format!("{}: {} {}", one.who, one.words, one.is_mute)).collect::<Vec<_>>()
    };
    let told = ["name server 127.9.0.1: no such name false", "name server 127.9.0.2: A: 127.0.0.1"];
    let first = ask("config.plant.test");
    assert!(first[0] == told[0] && first[1].starts_with(told[1]), "{first:?}");
    assert_eq!(first[2], "name server 127.9.0.3: A: no answer true");
    let second = ask("other.plant.test");
    assert_eq!(second.len(), 2, "{second:?}");
    assert!(plant.names(2).iter().all(|name| name != "other.plant.test"), "nobody waits for it again");

    fs::write(&plant.places.hosts, "127.0.0.9 config.plant.test\n").unwrap();
    let told = plant.places.ask_each("config.plant.test", &mut Vec::new(), Instant::now() + PATIENCE);
    assert_eq!((told.len(), &*told[0].words), (1, "127.0.0.9"));

    let plant = Plant::one(|_, kind| if kind == Kind::A { Reply::addresses(&["127.0.0.1"]) } else { Reply::Silence });
    let told = plant.places.ask_each("config.plant.test", &mut Vec::new(), Instant::now() + PATIENCE);
    assert_eq!((&*told[0].words, told[0].is_mute), ("A: 127.0.0.1, AAAA: no answer", false));
}

#[test]
fn a_server_that_says_no_is_believed_though_another_one_is_silent() {
    let plant = Plant::new(&[Some(no_such_name), Some(silent)], "search a.test b.test c.test d.test\n");
    let begun = Instant::now();
    let said = plant.find("config.plant.test").unwrap_err();
    assert_eq!(said, "name server 127.9.0.1: no such name; name server 127.9.0.2: no answer");
    assert_eq!(plant.names(0).len(), 5);
    // Each name of the list would cost this much if the silent server were waited for again.
    assert!(begun.elapsed() < ask::HOLD * 5, "{:?}", begun.elapsed());
}

#[test]
fn the_search_ends_when_the_time_is_up() {
    let plant = Plant::new(&[Some(silent), Some(silent)], "search a.test b.test\noptions timeout:30 attempts:5\n");
    let begun = Instant::now();
    let until = begun + Duration::from_millis(300);
    let said = plant.places.look_up("config", Family::Any, until).unwrap_err();
    assert!(said.contains("no answer"), "{said}");
    // The file alone would let a server take this long, again and again.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn the_search_list_is_asked_in_its_order() {
    let script: Script = |name, kind| match name {
        "config.corp.test" | "a.b.plant.test" => good(name, kind),
        "config.dead.test" => Reply::code(2),
        _ => Reply::code(3),
    };
    let plant = Plant::new(&[Some(script)], "search plant.test dead.test corp.test\n");
    assert_eq!(plant.find("config").unwrap(), FOUND);
    assert_eq!(plant.names(0), ["config.plant.test", "config.dead.test", "config.corp.test"]);
    // The name itself first, since it has a dot, and then the list all the same.
    assert_eq!(plant.find("a.b").unwrap(), FOUND);
    assert_eq!(plant.names(0)[3..], ["a.b", "a.b.plant.test"]);
    assert!(plant.find("config.").is_err(), "a dot at the end: no search");
    assert_eq!(plant.names(0)[5..], ["config"]);
}

#[test]
fn a_truncated_answer_comes_by_tcp_or_counts_as_far_as_it_came() {
    let by_tcp: Script = |_, kind| match kind {
        Kind::A => Reply::ByTcpOnly(vec![[127, 0, 0, 1].into()]),
        Kind::Aaaa => Reply::addresses(&[]),
    };
    let plant = Plant::one(by_tcp);
    assert_eq!(plant.find("config.plant.test").unwrap(), FOUND);
    assert!(plant.servers[0].asked().iter().any(|question| question.by_tcp));

    // More than fits into 512 bytes.
    let aliases: Script = |_, kind| match kind {
        Kind::A => Reply::Behind(24, vec![[127, 0, 0, 1].into()]),
        Kind::Aaaa => Reply::code(3),
    };
    assert_eq!(Plant::one(aliases).find("config.plant.test").unwrap(), FOUND);

    let firewalled: Script = |_, kind| match kind {
        Kind::A => Reply::Cut(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]),
        Kind::Aaaa => Reply::code(3),
    };
    assert_eq!(Plant::one(firewalled).find("config.plant.test").unwrap(), FOUND);
}

#[test]
fn a_slow_answer_is_not_given_up_for_a_quick_no_to_the_other_question() {
    let plant = Plant::one(|_, kind| match kind {
        Kind::A => Reply::Later(ask::HOLD + Duration::from_millis(300), Reply::addresses(&["127.0.0.1"]).into()),
        Kind::Aaaa => Reply::code(3),
    });
    assert_eq!(plant.find("config.plant.test").unwrap(), FOUND);
}

#[test]
fn an_address_of_ipv6_ends_no_search_on_a_host_without_it() {
    let first: Script = |_, kind| match kind {
        Kind::A => Reply::code(2),
        Kind::Aaaa => Reply::addresses(&["::1"]),
    };
    let found = Plant::new(&[Some(first), Some(good)], "search .\n").find("config.plant.test").unwrap();
    assert!(ask::has_ipv6() || found.contains(&"127.0.0.1".to_owned()), "{found:?}");
    assert!(found.contains(&"::1".to_owned()), "{found:?}");
}

#[test]
fn a_question_that_gets_lost_is_asked_again() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let plant = Plant::one(|name, kind| match ASKED.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::Silence,
        _ => good(name, kind),
    });
    assert_eq!(plant.find("config.plant.test").unwrap(), FOUND);
    assert_eq!(ASKED.load(Ordering::SeqCst), 4);
}

#[test]
fn options_of_the_file_are_kept() {
    let plant = Plant::new(&[Some(good)], "search .\noptions use-vc no-aaaa\n");
    assert_eq!(plant.find("config.plant.test").unwrap(), FOUND);
    let asked = plant.servers[0].asked();
    assert!(asked.iter().all(|question| question.by_tcp && question.kind == Kind::A), "{asked:?}");
}

#[test]
fn the_hosts_file_comes_first_and_localhost_needs_none() {
    let plant = Plant::new(&[], "");
    fs::write(&plant.places.hosts, "10.9.8.7 config.plant.test config\n").unwrap();
    assert_eq!(plant.find("config").unwrap(), ["10.9.8.7"]);
    assert_eq!(plant.find("Config.Plant.Test.").unwrap(), ["10.9.8.7"]);
    fs::write(&plant.places.hosts, "10.9.8.7 localhost\n").unwrap();
    assert_eq!(plant.find("localhost").unwrap(), ["10.9.8.7"], "as the file has it");
    for one in ["::1", "127.0.0.1"] {
        fs::write(&plant.places.hosts, format!("{one} localhost\n")).unwrap();
        assert_eq!(plant.find("localhost").unwrap().len(), 2, "both, where the file has only {one}");
        assert_eq!(plant.find_by("localhost", Family::V4).unwrap(), FOUND);
    }
    fs::remove_file(&plant.places.hosts).unwrap();
    let mut found = plant.find("localhost").unwrap();
    found.sort();
    assert_eq!(found, ["127.0.0.1", "::1"]);
    assert_eq!(plant.find_by("a.localhost.", Family::V4).unwrap(), FOUND);
}

#[test]
fn one_family_can_be_asked_for_alone() {
    let plant = Plant::one(|_, kind| match kind {
        Kind::A => Reply::addresses(&["127.0.0.1"]),
        Kind::Aaaa => Reply::Later(Duration::from_millis(1500), Reply::addresses(&["::1"]).into()),
    });
    assert_eq!(plant.find_by("a.test", Family::V4).unwrap(), FOUND);
    assert_eq!(plant.find_by("a.test", Family::V6).unwrap(), ["::1"]);
}

#[test]
fn addresses_need_no_name_server() {
    let until = Instant::now() + PATIENCE;
    let find = |host| look_up(host, 7, Family::Any, until).map(|found| found[0].to_string());
    assert_eq!(find("127.0.0.1").unwrap(), "127.0.0.1:7");
    assert_eq!(find("::1").unwrap(), "[::1]:7");
    for old in ["127.1", "127.0.1", "0x7f000001", "2130706433", "0177.0.0.01", "0x7F.1"] {
        assert_eq!(find(old).unwrap(), "127.0.0.1:7", "{old}");
    }
    for name in ["1.2.3.4.5", "256.1.1.1", "1.2.3.256", "4294967296", "+1", "a.b", "08.1", "1.", "0x"] {
        assert_eq!(old_form(name), None, "{name}");
    }
    assert_eq!(find("fe80::1%lo").unwrap(), "[fe80::1%1]:7");
    assert_eq!(look_up("::1", 7, Family::V4, until).unwrap_err(), "no address of IPv4");
    assert!(find("a..b").unwrap_err().starts_with("not a name: "));
}

#[test]
fn the_address_with_a_way_to_it_and_the_higher_precedence_is_the_first() {
    let rank = |address: &str, source: Option<&str>| {
        rank(address.parse().unwrap(), source.map(|source| source.parse().unwrap()))
    };
    let global = rank("2a00::1", Some("2a00::2"));
    let ipv4 = rank("192.0.2.1", Some("192.0.2.2"));
    assert!(global < ipv4);
    assert!(ipv4 < rank("2a00::1", None), "no way");
    assert!(ipv4 < rank("2a00::1", Some("fd00::2")), "the own address is a local one");
    assert!(ipv4 < rank("fd00::1", Some("fd00::2")));
    assert!(rank("::1", Some("::1")) < ipv4);
}
