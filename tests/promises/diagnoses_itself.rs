//! `otelet diagnose` collects everything that support asks for in one archive that any tar unpacks, without a secret,
//! whatever is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::host::{Agent, COLLECTOR, Host, config, hash, scripted, stderr, stdout};
use super::system;

/// One secret for each place that takes one.
const SECRETS: [&str; 10] = [
    "s3cret-header",
    "s3cret-proxy",
    "s3cret-token",
    "s3cret-variable",
    "s3cret-query",
    "s3cret-file",
    "s3cret-environment",
    "s3cret-body",
    "s3cret-refused",
    "s3cret-check",
];

/// It is no secret, whatever its name ends with.
const PUBLIC_KEY: &str = "RWREku3J4iZ/rjYHz7xs+DWe8V0juLEau+gSIqNg2VLBZOpUfbUdMdKj";

/// A host with a secret in each place of the settings.
fn host_with_secrets() -> Host {
    let host = Host::new();
    fs::write(host.path("token"), "s3cret-token\n").unwrap();
    fs::write(host.path("secret"), "s3cret-file\n").unwrap();
    host.set("config.url", "\"http://config.example/config.yaml?key=s3cret-query\"");
    host.set("config.headers", "{X-Key: s3cret-header, X-Other: \"${file:secret}\"}");
    host.set("config.http_proxy", &host.server.at("").replace("http://", "http://user:s3cret-proxy@"));
    host.set("config.bearer_token_file", &host.path("token").display().to_string());
    host.set("collector.env", "{KEY: s3cret-variable, OTHER: \"${env:PLANTED}\"}");
    host.set("checks", "[{http: \"http://127.0.0.1:1/\", headers: {X-Check: s3cret-check}, every: 24h}]");
    host.set("attributes", "{site: north}");
    host
}

/// An agent on that host whose collector has printed its secrets, and which has refused a config that holds one.
fn agent_that_knows_them(host: &Host) -> (Agent, String, String) {
    let with = |body: String, secret: &str| body + &format!("processors: {{x: {{password: {secret}, site: north}}}}\n");
    let good = with(scripted("good", &["echo-env KEY", "echo-env OTHER"]), "s3cret-body");
    let bad = with(scripted("bad", &["refuse cannot use s3cret-refused nor s3cret-body"]), "s3cret-refused");
    host.server.offer(&*good);
    let agent = host.agent().env("PLANTED", "s3cret-environment").start();
    agent.applied(&good);
    agent.logs("OTHER=s3cret-environment");
    host.server.offer(&*bad);
    agent.failed(&bad);
    (agent, good, bad)
}

fn diagnose(host: &Host, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = host.command();
    command.args(["diagnose", &format!("--settings={}", host.settings_file().display())]).args(arguments);
    command.envs(environment.iter().copied()).output().unwrap()
}

/// The files of an archive by their names, unpacked by a reader of the test's own.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(archive).unwrap();
    let mut files = BTreeMap::new();
    let mut at = 0;
    while bytes[at] != 0 {
        let field = |from: usize, to: usize| {
            let field = &bytes[at + from..at + to];
            String::from_utf8_lossy(field.split(|byte| *byte == 0).next().unwrap()).into_owned()
        };
        let (name, size) = (field(0, 100), usize::from_str_radix(&field(124, 136), 8).unwrap());
        let content = String::from_utf8(bytes[at + 512..at + 512 + size].to_vec()).unwrap();
        files.insert(name, content);
        at += 512 + size.next_multiple_of(512);
    }
    files
}

fn holds_no_secret(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in SECRETS {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{what} holds {secret}: {line:?}");
    }
}

#[test]
fn the_archive_has_all_that_support_asks_for_and_no_secret() {
    let host = host_with_secrets();
    let (agent, good, bad) = agent_that_knows_them(&host);
    let archive = host.path("out.tar");
    // The agent that runs has not read it.
    host.set("config.public_key", PUBLIC_KEY);

    let output = diagnose(
        &host,
        &[("PLANTED", "s3cret-environment"), ("OTELET_LOG_LEVEL", "debug")],
        &[&format!("--output={}", archive.display())],
    );

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("{}, ", archive.display())), "{}", stdout(&output));
    holds_no_secret("the archive", &fs::read(&archive).unwrap());
    holds_no_secret("what it says", &output.stdout);
    let files = unpacked(&archive);
    assert!(!files.contains_key("missing.txt"), "{}", files["missing.txt"]);
    for name in files.keys() {
        assert!(stdout(&output).contains(&format!("  {name} (")), "{name} in\n{}", stdout(&output));
    }
    let has = |file: &str, text: &str| {
        let content = files.get(file).unwrap_or_else(|| panic!("no {file} among {:?}", files.keys()));
        assert!(content.contains(text), "no {text:?} in {file}:\n{content}");
    };
    has("about.txt", &format!("otelet {}\n", env!("CARGO_PKG_VERSION")));
    has("about.txt", &format!("pid {}, running", agent.pid()));
    has("about.txt", "kernel ");
    has("settings.txt", "config.url: http://config.example/config.yaml?<set>  # ");
    has("settings.txt", "otelet.yaml:");
    has("settings.txt", "log_level: debug  # OTELET_LOG_LEVEL");
    has("settings.txt", "config.timeout: 30s  # default");
    has("settings.txt", &format!("config.public_key: {PUBLIC_KEY}  # "));
    has("settings.yaml", &format!("public_key: {PUBLIC_KEY}"));
    has("settings.txt", "collector.env: {KEY: <set>, OTHER: <set>}");
    has("settings.txt", "checks[0].headers: {X-Check: <set>}");
    has("settings.yaml", "site: north");
    has("environment.txt", "OTELET_LOG_LEVEL\n");
    has("status.json", &hash(&good));
    has("status.txt", "collector   up, for ");
    has("state.json", &hash(&bad));
    has("files.txt", &format!("{}.yaml", hash(&good)));
    has("files.txt", "0600 uid ");
    has(&format!("configs/{}.yaml", hash(&good)), "{x: {password: <redacted>, site: north}}");
    has(&format!("configs/{}.yaml", hash(&bad)), "{x: {password: <redacted>, site: north}}");
    has("runtime/overlay.yaml", "extensions");
    has("agent.log", &format!("config {} applied", &hash(&good)[..8]));
    has("agent.log", "cannot use <redacted> nor <redacted>");
    has("collector.log", "KEY=<redacted>");
    has("collector.log", "OTHER=<redacted>");
    has("collector.log", "Everything is ready");
    has("components.yaml", "health_check");
    has("components.yaml", "receivers: [\"file_log\", \"filelog\", \"otlp\"]");
    assert!(!host.runtime_dir().join("diagnosis.json").exists(), "the logs were taken away");
}

#[test]
fn any_tar_unpacks_it() {
    let host = host_with_secrets();
    let (_agent, good, _) = agent_that_knows_them(&host);
    let output = diagnose(&host, &[("PLANTED", "s3cret-environment")], &["--output=out.tar"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let ours = unpacked(&host.path("out.tar"));

    let into = host.path("unpacked");
    fs::create_dir(&into).unwrap();
    let tar = match Command::new("tar").arg("-xf").arg(host.path("out.tar")).arg("-C").arg(&into).output() {
        Ok(tar) => tar,
        Err(error) => return println!("skipped: there is no tar here: {error}"),
    };

    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", stderr(&tar));
    let directory = fs::read_dir(&into).unwrap().next().unwrap().unwrap().path();
    assert!(directory.file_name().unwrap().to_str().unwrap().starts_with("otelet-"), "{}", directory.display());
    for (name, content) in &ours {
        assert_eq!(&fs::read_to_string(directory.join(name)).unwrap(), content, "{name}");
    }
    assert!(directory.join(format!("configs/{}.yaml", hash(&good))).exists());
}

#[test]
fn a_container_hands_the_archive_out_on_stdout_and_the_list_on_stderr() {
    let host = host_with_secrets();
    let (_agent, good, _) = agent_that_knows_them(&host);

    let output = diagnose(&host, &[("PLANTED", "s3cret-environment")], &["--output=-"]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    holds_no_secret("the archive", &output.stdout);
    fs::write(host.path("carried.tar"), &output.stdout).unwrap();
    let files = unpacked(&host.path("carried.tar"));
    assert!(files.contains_key(&format!("configs/{}.yaml", hash(&good))), "{:?}", files.keys());
    assert!(
        stderr(&output).starts_with("stdout, ") && stderr(&output).contains("  about.txt ("),
        "{}",
        stderr(&output)
    );
    assert!(!host.path("-").exists());
}

#[test]
fn without_an_agent_the_archive_says_so_and_has_the_rest() {
    let host = host_with_secrets();
    let (mut agent, good, _) = agent_that_knows_them(&host);
    agent.kill();

    let output = diagnose(&host, &[("PLANTED", "s3cret-environment")], &["--output=out.tar"]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let why = "agent.log, collector.log: agent is not running; its last status is of 20";
    assert!(stdout(&output).contains(why), "{}", stdout(&output));
    holds_no_secret("the archive", &fs::read(host.path("out.tar")).unwrap());
    let files = unpacked(&host.path("out.tar"));
    assert!(files["missing.txt"].contains(why));
    assert!(files["about.txt"].contains("not running"), "{}", files["about.txt"]);
    assert!(files["status.json"].contains(&hash(&good)));
    assert!(files.contains_key(&format!("configs/{}.yaml", hash(&good))));
}

#[test]
fn bad_settings_still_give_an_archive() {
    let host = host_with_secrets();
    let (_agent, good, _) = agent_that_knows_them(&host);

    // PLANTED is not set here, as in the shell of a person who logs in.
    let output = diagnose(&host, &[], &["--output=out.tar"]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    holds_no_secret("the archive", &fs::read(host.path("out.tar")).unwrap());
    let files = unpacked(&host.path("out.tar"));
    let why = "the variable PLANTED is not set";
    assert!(files["settings.txt"].contains(why), "{}", files["settings.txt"]);
    assert!(files["settings.yaml"].contains("site: north"), "{}", files["settings.yaml"]);
    assert!(files["status.json"].contains(&hash(&good)), "it was found by state_dir and runtime_dir all the same");
    assert!(files["collector.log"].contains("OTHER=<redacted>"), "{}", files["collector.log"]);
}

#[test]
fn the_collectors_output_is_kept_even_if_it_is_not_passed_on() {
    let host = Host::new();
    host.set("collector.log", "drop");
    let agent = host.agent_running(&config("good"));

    diagnose(&host, &[], &["--output=out.tar"]);

    let files = unpacked(&host.path("out.tar"));
    assert!(files["collector.log"].contains("Everything is ready"), "{:?}", files.get("collector.log"));
    assert_eq!(agent.logged("Everything is ready"), 0);
}

#[test]
fn only_its_owner_reads_the_archive_and_only_a_named_file_is_replaced() {
    let host = Host::new();
    host.set("collector.path", &COLLECTOR);
    let output = diagnose(&host, &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let archives: Vec<_> = fs::read_dir(host.path("")).unwrap().flatten().map(|entry| entry.path()).collect();
    let archives: Vec<_> = archives.iter().filter(|path| path.extension().is_some_and(|it| it == "tar")).collect();
    assert_eq!(archives.len(), 1, "{archives:?}");
    assert_eq!(system::mode(archives[0]), 0o600);
    fs::write(host.path("mine.tar"), "mine").unwrap();
    system::set_mode(&host.path("mine.tar"), 0o644);

    let output = diagnose(&host, &[("OTELET_OUTPUT", "mine.tar")], &[]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(unpacked(&host.path("mine.tar")).contains_key("about.txt"));
    assert_eq!(system::mode(&host.path("mine.tar")), 0o600);
    let output = diagnose(&host, &[], &["--output=no/such/out.tar"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("name a file in a directory that exists with --output"), "{}", stderr(&output));
}
