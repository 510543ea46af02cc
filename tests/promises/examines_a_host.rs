//! `otelet doctor` finds what is wrong with a host, says the cure, and changes nothing.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Output;
use std::time::SystemTime;

use super::explains_tls::{EC, NAMED, Workshop};
use super::host::{COLLECTOR, Host, config, hash, otelet, scripted, short, stderr, stdout};
use super::keeps_secrets;
use super::server::Answer;

/// A line: topic, verdict, text.
type Finding = (String, String, String);

/// What the doctor has found, and its exit status.
fn found(output: &Output) -> (Vec<Finding>, Option<i32>) {
    let text = stdout(output);
    let all: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", stderr(output)));
    let part = |one: &serde_json::Value, key: &str| one[key].as_str().expect("a text").to_owned();
    let findings = all["findings"].as_array().expect("a list").iter();
    let findings: Vec<Finding> =
        findings.map(|one| (part(one, "topic"), part(one, "verdict"), part(one, "text"))).collect();
    let bad = findings.iter().filter(|(_, verdict, _)| verdict == "bad").count();
    assert_eq!(all["bad"].as_u64(), Some(bad as u64), "{text}");
    (findings, output.status.code())
}

/// Looks at a host that is good but for one thing. All bad lines are about it, and one of them has these words.
fn is_bad(output: &Output, topic: &str, words: &[&str]) -> Vec<Finding> {
    let (findings, status) = found(output);
    let bad: Vec<&Finding> = findings.iter().filter(|(_, verdict, _)| verdict == "bad").collect();
    assert!(bad.iter().all(|(other, ..)| other == topic), "{topic} alone is bad: {findings:#?}");
    let has = |text: &str| words.iter().all(|word| text.contains(word));
    assert!(bad.iter().any(|(_, _, text)| has(text)), "{topic} with {words:?}: {findings:#?}");
    assert_eq!(status, Some(1));
    findings
}

fn text_of<'a>(findings: &'a [Finding], topic: &str, verdict: &str) -> &'a str {
    let wanted = |one: &&Finding| one.0 == topic && one.1 == verdict;
    &findings.iter().find(wanted).unwrap_or_else(|| panic!("{topic} {verdict}: {findings:#?}")).2
}

/// A host on which all is well: its server tells the time.
fn good_host() -> Host {
    let host = Host::new();
    offer(&host, &config("good"));
    host
}

fn offer(host: &Host, body: &str) {
    let date = httpdate(SystemTime::now());
    host.server.answer(Answer::Status(200, vec![("Date".into(), date)], body.into()));
}

/// A time as servers tell it.
fn httpdate(time: SystemTime) -> String {
    let text = std::process::Command::new("date")
        .args(["-u", "+%a, %d %b %Y %H:%M:%S GMT", "-d"])
        .arg(format!("@{}", time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()))
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    stdout(&text).trim().to_owned()
}

fn doctor(host: &Host) -> Output {
    host.otelet(&["doctor", "--json"])
}

#[test]
fn a_good_host_is_good_in_every_line() {
    let host = good_host();
    let body = config("good");

    let output = host.otelet(&["doctor"]);

    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in [
        format!("settings    good: {} is read", host.settings_file().display()),
        "agent       not looked at: ".into(),
        "rights      good: uid ".into(),
        "disk        good: state_dir ".into(),
        "proxy       good: none is set".into(),
        format!("connection  good: {} answers (200)", host.server.url()),
        "clock       good: here it is ".into(),
        format!("source      good: {}: offers config {}, {} bytes", host.server.url(), short(&body), body.len()),
        format!("Collector   good: {} runs: fake-collector 0.0.1", &*COLLECTOR),
        format!("config      good: the Collector takes config {}", short(&body)),
        "\n0 bad, ".into(),
    ] {
        assert!(said.contains(&line), "{line:?} is not in\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colours in a pipe");
    assert_eq!(host.starts(), []);
    assert!(!host.state_dir().exists() && !host.runtime_dir().exists(), "nothing was made");
    assert!(host.processes().is_empty());
}

#[test]
fn settings_that_cannot_be_used_are_named_and_the_host_is_looked_at() {
    let host = good_host();
    host.set("config.ulr", "/site.yaml");
    let findings = is_bad(&doctor(&host), "settings", &["config.ulr: unknown key; did you mean config.url?"]);
    assert!(text_of(&findings, "disk", "good").contains(&host.state_dir().display().to_string()));
    assert_eq!(text_of(&findings, "source", "not looked at"), "the settings cannot be used");
    assert_eq!(host.server.requests().len(), 0);
}

#[test]
fn a_state_directory_of_another_user_is_named_with_both_users() {
    let host = good_host();
    fs::create_dir(host.state_dir()).unwrap();
    fs::set_permissions(host.state_dir(), fs::Permissions::from_mode(0o500)).unwrap();
    let mut command = host.command();
    command.args(["doctor", "--json", &format!("--settings={}", host.settings_file().display())]);
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root {
        // The runtime directory would be made there.
        fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o777)).unwrap();
        command.uid(65_534).gid(65_534);
    }

    let output = command.output().unwrap();

    let state = host.state_dir().display().to_string();
    is_bad(&output, "rights", &[&format!("state_dir {state}, 0500 uid "), "may not write there", "(chown)"]);
}

#[test]
fn as_root_the_rights_of_the_user_of_the_service_count() {
    let host = good_host();
    fs::create_dir(host.state_dir()).unwrap();
    // A run as root has left it.
    fs::write(host.state_dir().join("lock"), "").unwrap();
    fs::set_permissions(host.state_dir().join("lock"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    if std::os::unix::fs::chown(host.state_dir(), Some(65_534), Some(65_534)).is_err() {
        return println!("skipped: only root can look with the rights of another user");
    }
    let words =
        ["lock, 0600 uid 0: uid 65534, to whom state_dir belongs, may not write", "Permission denied", "(chown)"];
    is_bad(&doctor(&host), "rights", &words);
}

#[test]
fn a_name_that_is_not_found_is_told_by_each_server_and_the_rest_is_not_looked_at() {
    let host = good_host();
    host.set("config.url", "https://config.invalid/site.yaml");
    let findings =
        is_bad(&doctor(&host), "names", &["config.invalid does not resolve: ", "correct it in config.url, or mend"]);
    assert!(text_of(&findings, "connection", "not looked at").ends_with("the name config.invalid was not found"));
    assert!(text_of(&findings, "source", "not looked at").contains("nothing there answers"));
    // The Collector is no less good for that.
    assert!(text_of(&findings, "Collector", "good").contains("fake-collector"));
}

#[test]
fn a_dead_proxy_is_blamed_with_the_place_that_sets_it() {
    let host = good_host();
    host.set("config.url", "http://config.plant.test/site.yaml");
    let mut command = host.command();
    let settings = format!("--settings={}", host.settings_file().display());
    command.args(["doctor", "--json", &settings]).env("http_proxy", "http://user:s3cret-proxy@127.0.0.1:9");
    let output = command.output().unwrap();
    let findings = is_bad(&output, "proxy", &["start the proxy 127.0.0.1:9", "(http_proxy)", "in config.no_proxy"]);
    assert!(text_of(&findings, "proxy", "good").contains("by 127.0.0.1:9, as config.http_proxy says (http_proxy)"));
    assert!(!stdout(&output).contains("s3cret"));
}

#[test]
fn a_proxy_that_is_spared_or_wants_a_password_is_told() {
    let host = good_host();
    host.set("config.http_proxy", "http://127.0.0.1:9");
    let (findings, status) = found(&doctor(&host));
    assert_eq!(status, Some(0), "{findings:#?}");
    assert!(text_of(&findings, "proxy", "good").contains("reached directly: it is on loopback"), "{findings:#?}");

    host.set("config.http_proxy", host.server.at("").trim_end_matches('/'));
    host.set("config.url", "http://config.plant.test/site.yaml");
    host.server.answer(Answer::status(407));
    is_bad(&doctor(&host), "proxy", &["answered 407; the proxy wants a user and password: set config.http_proxy"]);
}

#[test]
fn nothing_that_listens_and_nothing_that_answers_are_told_apart() {
    let host = good_host();
    host.set("config.url", "http://127.0.0.1:9/site.yaml");
    is_bad(&doctor(&host), "connection", &["Connection refused", "start the server, open the firewalls", "config.url"]);

    host.set("config.url", &host.server.url());
    host.set("config.timeout", "1s");
    host.server.answer(Answer::Stall);
    is_bad(&doctor(&host), "connection", &["did not answer within 1s"]);
}

#[test]
fn a_refused_token_and_a_missing_one_are_told_apart() {
    let host = good_host();
    let token = host.path("token");
    host.set("config.bearer_token_file", &token.display().to_string());
    let missing = format!("config.bearer_token_file {}: No such file", token.display());
    is_bad(&doctor(&host), "token", &[&missing]);

    fs::write(&token, "s3cret-token\n").unwrap();
    for status in [401, 403] {
        host.server.answer(Answer::status(status));
        let told = format!("answered {status}; check config.headers and config.bearer_token_file");
        let findings = is_bad(&doctor(&host), "token", &[&told]);
        assert!(text_of(&findings, "source", "not looked at").ends_with("see the token"));
    }

    offer(&host, &config("good"));
    let (findings, status) = found(&doctor(&host));
    assert_eq!(status, Some(0));
    assert!(text_of(&findings, "token", "good").contains(" takes the token in config.bearer_token_file "));
    let asked = host.server.requests();
    assert_eq!(asked.last().unwrap().header("authorization"), Some("Bearer s3cret-token"));
}

#[test]
fn a_login_page_and_a_status_are_no_config() {
    let host = good_host();
    offer(&host, "<!doctype html><title>Sign in to the plant</title>");
    is_bad(&doctor(&host), "config", &["a web page came, not a config, its title is \"Sign in to the plant\""]);

    host.server.answer(Answer::status(404));
    is_bad(&doctor(&host), "source", &["answered 404; check config.url"]);

    offer(&host, " \n");
    is_bad(&doctor(&host), "source", &["offers an empty config; put one there"]);
}

#[test]
fn a_missing_collector_and_one_that_refuses_the_config_are_told_apart() {
    let host = good_host();
    offer(&host, &scripted("bad", &["refuse 'receivers' unknown type: \"otpl\""]));
    let refused = ["refuses config", "'receivers' unknown type: \"otpl\"; correct it where it comes from"];
    is_bad(&doctor(&host), "config", &refused);

    offer(&host, &config("good"));
    host.set("collector.path", "/nowhere/otelcol");
    let missing = "/nowhere/otelcol: no such file; set collector.path or put the collector there";
    let findings = is_bad(&doctor(&host), "Collector", &[missing]);
    assert!(text_of(&findings, "config", "not looked at").contains("the Collector cannot be asked"));
}

#[test]
fn a_port_that_is_taken_is_told_with_the_program_that_has_it() {
    let host = good_host();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    offer(&host, &config("good").replace("127.0.0.1:0", &address));
    let pid = format!("with pid {}; stop it, or change receivers.otlp.protocols.grpc.endpoint", std::process::id());
    is_bad(&doctor(&host), "ports", &[&format!("{address} is taken by "), &pid]);

    drop(taken);
    let (findings, status) = found(&doctor(&host));
    assert_eq!(status, Some(0), "{findings:#?}");
    assert_eq!(text_of(&findings, "ports", "good"), format!("{address} is free"));

    offer(&host, &config("good").replace("127.0.0.1:0", "203.0.113.9:4317"));
    is_bad(
        &doctor(&host),
        "ports",
        &["203.0.113.9:4317: bind: cannot assign", "no interface of this host has the address of 203.0.113.9:4317"],
    );
}

#[test]
fn a_backend_that_cannot_be_reached_is_told() {
    let host = good_host();
    let to = |endpoint: &str| {
        config("good")
            .replace("exporters: {", &format!("exporters: {{otlphttp: {{endpoint: '{endpoint}'}}, "))
            .replace("exporters: [debug]", "exporters: [debug, otlphttp]")
    };
    offer(&host, &to("http://127.0.0.1:9/otlp"));
    let words = ["127.0.0.1:9: Connection refused", "correct exporters.otlphttp.endpoint"];
    is_bad(&doctor(&host), "backend", &words);

    offer(&host, &to("https://backend.invalid"));
    is_bad(&doctor(&host), "backend", &["backend.invalid does not resolve: "]);

    // The values of collector.env may be secrets.
    host.set("collector.env", &format!("{{BACKEND: '{}'}}", host.server.addr()));
    offer(&host, &to("http://${env:BACKEND}"));
    let (findings, status) = found(&doctor(&host));
    assert_eq!(status, Some(0), "{findings:#?}");
    assert_eq!(text_of(&findings, "backend", "good"), "<redacted> accepts connections (exporters.otlphttp.endpoint)");
}

#[test]
fn a_clock_that_is_decades_off_is_told_by_the_servers_clock() {
    let host = good_host();
    let date = "Mon, 01 Jan 2046 00:00:00 GMT".to_owned();
    host.server.answer(Answer::Status(200, vec![("Date".into(), date)], config("good").into()));
    is_bad(&doctor(&host), "clock", &["and at 127.0.0.1 2046-01-01T00:00:00Z, ", "apart", "timedatectl set-ntp true"]);
}

#[test]
fn a_full_disk_is_told() {
    for (options, words) in [
        ("size=64k", "are free, and a config may have config.max_size 4MiB; make room there"),
        ("size=32m,nr_inodes=4", "inodes are free, and 16 files are needed"),
        ("size=32m,ro", "the file system is read-only; make it writable, or set state_dir to another place"),
    ] {
        let host = good_host();
        fs::create_dir(host.state_dir()).unwrap();
        let script = format!("mount -t tmpfs -o {options} full {} && exec \"$@\"", host.state_dir().display());
        let unshared = |command: &[&str]| {
            let mut all = std::process::Command::new("unshare");
            all.args(["--mount", "sh", "-c", &script, "sh"]).args(command).env("FAKE_JOURNAL", host.path("journal"));
            all.output()
        };
        if !unshared(&["true"]).is_ok_and(|output| output.status.success()) {
            return println!("skipped: no mount of its own can be made here");
        }
        let settings = format!("--settings={}", host.settings_file().display());
        let output = unshared(&[otelet(), "doctor", "--json", &settings]).unwrap();
        let (findings, status) = found(&output);
        let bad: Vec<_> = findings.iter().filter(|one| one.1 == "bad" && one.0 != "rights").collect();
        assert!(bad.len() == 1 && bad[0].0 == "disk" && bad[0].2.contains(words), "{options}: {findings:#?}");
        assert_eq!(status, Some(1));
    }
}

#[test]
fn a_memory_limit_below_what_the_collector_takes_is_told() {
    let host = good_host();
    let program = host.path("large");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = validate ] && x=$(head -c 60000000 /dev/zero | tr '\\0' x)\nexec {} \"$@\"\n",
        &*COLLECTOR
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    host.set("collector.path", &program.display().to_string());
    host.set("collector.memory_limit", "32MiB");

    let (findings, status) = found(&doctor(&host));

    // Where the agent can make a cgroup, the kernel ends the Collector before it has told anything.
    let bad: Vec<_> = findings.iter().filter(|one| one.1 == "bad").collect();
    let told = |words: &str| bad.iter().any(|one| one.2.contains(words));
    assert!(
        told("collector.memory_limit is 32MiB; set it higher") || told("raise collector.memory_limit"),
        "{findings:#?}"
    );
    assert_eq!(status, Some(1));
}

#[test]
fn no_secret_is_in_any_line() {
    let host = keeps_secrets::host();
    let secret = "s3cret-body-0123";
    let refuse = format!("refuse cannot use {secret}, nor Authorization: Bearer abc.def");
    let body = scripted("bad", &[&refuse]).replace("debug: {}", &format!("debug: {{}}, x: {{password: {secret}}}"));
    for answer in [Answer::Config(body.into()), Answer::status(401), Answer::status(407), Answer::Garbage] {
        host.server.answer(answer);
        for arguments in [&["doctor"][..], &["doctor", "--json"]] {
            let output = host.otelet(arguments);
            let said = stdout(&output) + &stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            keeps_secrets::holds_none("doctor", &said);
            assert!(!said.contains(secret) && !said.contains("abc.def"), "{said}");
        }
    }
    host.set("config.headers", "{X-Key: s3cret-header, X-Bad: [s3cret-header]}");
    let output = host.otelet(&["doctor"]);
    keeps_secrets::holds_none("doctor", &(stdout(&output) + &stderr(&output)));
}

#[test]
fn a_running_agent_is_not_disturbed() {
    let host = Host::new();
    host.set("config.poll_every", "24h");
    let body = config("good");
    let agent = host.agent_running(&body);
    let state = || {
        let all = keeps_secrets::files(&host.state_dir()).into_iter().chain(keeps_secrets::files(&host.runtime_dir()));
        let mut all: Vec<_> = all.map(|path| (fs::read(&path).unwrap_or_default(), path)).collect();
        all.sort();
        all
    };
    host.wait("the last good config to be recorded", || {
        let text = fs::read_to_string(host.state_dir().join("state.json")).unwrap_or_default();
        text.replace(' ', "").contains(&format!("\"last_good\":\"{}", hash(&body))).then_some(())
    });
    let before = (state(), host.starts().len(), agent.log());

    let (findings, status) = found(&doctor(&host));

    assert_eq!(status, Some(0), "{findings:#?}");
    let told = format!("runs with pid {}, and its Collector is healthy", agent.pid());
    assert_eq!(text_of(&findings, "agent", "good"), told);
    assert_eq!((state(), host.starts().len(), agent.log()), before);
    agent.applied_still(&body);
}

#[test]
fn the_ports_of_the_agents_own_collector_are_not_blamed() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    // The health check that the agent has added is a port of its Collector.
    let overlay = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap();
    let port = overlay.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let body = config("good").replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    host.set("config.poll_every", "24h");
    host.server.answer(Answer::status(503));
    let file = host.path("same.yaml");
    fs::write(&file, body).unwrap();

    let output = host.otelet(&["doctor", "--json", &format!("--config-url={}", file.display())]);

    let (findings, status) = found(&output);
    assert_eq!(status, Some(0), "{findings:#?}");
    assert_eq!(text_of(&findings, "ports", "good"), format!("the agent's Collector has 127.0.0.1:{port}"));
    drop(agent);
}

#[test]
fn a_host_without_anything_is_examined_too() {
    let host = Host::new();
    let mut command = host.command();
    // Neither settings, nor a Collector, nor a place for either.
    command.args(["doctor", "--json", "--state-dir=/proc/nowhere", "--runtime-dir=/proc/nowhere"]);
    let output = command.env("PATH", "/nowhere").env("TMPDIR", "/proc/nowhere").output().unwrap();
    let (findings, status) = found(&output);
    assert_eq!(status, Some(1));
    let missing = text_of(&findings, "Collector", "bad");
    assert!(missing.starts_with("there is no otelcol-contrib, otelcol or otelcol-* on PATH; install"), "{missing}");
}

#[test]
#[ignore = "needs openssl: cargo xtask check --real"]
fn certificates_are_judged() {
    let host = good_host();
    let shop = Workshop { host: &host };
    fs::write(host.path("site.yaml"), config("good")).unwrap();
    shop.self_signed("ca", "/CN=Plant CA", &[]);
    shop.signed("good", "ca", EC, NAMED, &[]);
    shop.signed("elsewhere", "ca", EC, "subjectAltName=DNS:other.test\n", &[]);
    shop.signed("old", "ca", EC, NAMED, &[]);
    let authority = "[ca]\ndefault_ca=ca\ndatabase=index\nnew_certs_dir=.\nserial=serial\ncertificate=ca.pem\n\
                     private_key=ca.key\ndefault_md=sha256\npolicy=names\n[names]\ncommonName=supplied\n";
    for (name, text) in [("ca.cnf", authority), ("index", ""), ("serial", "01\n")] {
        fs::write(host.path(name), text).unwrap();
    }
    let dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
    let signed = ["ca", "-batch", "-config", "ca.cnf", "-in", "old.csr", "-out", "old.pem", "-extfile", "old.ext"];
    shop.openssl(&[&signed[..], &dates].concat());
    let ask = |name: &str, ca: bool| {
        let server = shop.serve(name, &[]);
        host.set("config.url", &format!("https://127.0.0.1:{}/site.yaml", server.port));
        match ca {
            true => host.set("config.ca_file", &host.path("ca.pem").display().to_string()),
            false => host.unset("config.ca_file"),
        }
        doctor(&host)
    };
    let (findings, status) = found(&ask("good", true));
    assert_eq!(status, Some(0), "{findings:#?}");
    let told = text_of(&findings, "TLS", "good");
    assert!(
        told.contains("its certificate is for this name, by a CA in config.ca_file") && told.contains(", until 20")
    );
    is_bad(&ask("good", false), "TLS", &["its CA \"Plant CA\" is unknown", "set config.ca_file"]);
    is_bad(&ask("elsewhere", true), "TLS", &["certificate is for another name: other.test; use a URL with that name"]);
    let findings = is_bad(
        &ask("old", true),
        "TLS",
        &["certificate has expired, or this host's clock is wrong: it was valid until 2021-01-01T00:00:00Z"],
    );
    assert!(text_of(&findings, "source", "not looked at").contains("nothing there answers"));
}
