//! The values of the settings, and the refusals with their places.

use std::collections::HashMap;
use std::error::Error;

use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::schema::{Kind, Row, ValueKind};
use super::world::LARGEST_FILE;
use super::*;
use crate::{cli, exit};
use otelet_core::decide::{AlertSeverity, Threshold};

const FILE: &str = "/etc/otelet/otelet.yaml";

/// A made-up host: its variables and files.
pub(super) fn world(vars: &[(&str, &str)], files: &[(&str, &str)]) -> World {
    let own = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    };
    let (vars, files) = (own(vars), own(files));
    World {
        var: Box::new(move |name| vars.get(name).map(OsString::from)),
        read: Box::new(move |path| match files.get(path.to_str().unwrap()) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Err(io::ErrorKind::NotFound.into()),
        }),
        here: PathBuf::from("/here"),
    }
}

fn given(flags: &[String]) -> Flags {
    cli::parse(flags.iter().map(OsString::from)).unwrap().flags
}

pub(super) fn loaded(yaml: &str) -> Settings {
    load(&Flags::default(), &world(&[], &[(FILE, yaml)])).unwrap_or_else(|e| panic!("{e}"))
}

fn with_vars(yaml: &str, vars: &[(&str, &str)]) -> Settings {
    load(&Flags::default(), &world(vars, &[(FILE, yaml)])).unwrap_or_else(|e| panic!("{e}"))
}

fn refused_in(yaml: &str, world: &World) -> String {
    let e = load(&Flags::default(), world).expect_err(yaml);
    let cause = e.source().map_or(String::new(), |cause| format!(": {cause}"));
    format!("{e}{cause}").replace(FILE, "FILE")
}

pub(super) fn refused(yaml: &str) -> String {
    refused_in(yaml, &world(&[], &[(FILE, yaml)]))
}

/// A value for a row, which is not its default.
fn sample(row: &Row) -> &'static str {
    match (row.key, row.takes) {
        ("config.url" | "report.url" | "webhook.url" | "export.to" | "config.http_proxy" | "config.https_proxy", _) => {
            "http://example.org:1"
        }
        ("config.public_key", _) => "RWREku3J4iZ/rjYHz7xs+DWe8V0juLEau+gSIqNg2VLBZOpUfbUdMdKj",
        // KloudMate and a pod would need further settings.
        ("config.protocol", _) => "opamp",
        ("config.role", _) => "docker",
        (_, ValueKind::Time(..)) => "7s",
        (_, ValueKind::Size(..)) => "20MiB",
        (_, ValueKind::Number(..)) => "7",
        (_, ValueKind::Choice(words)) => words.rsplit('|').next().unwrap(),
        (_, ValueKind::Text(_)) => "some:thing",
        ("config.secrets", ValueKind::List) => "[url_path]",
        (_, ValueKind::List) => "[a]",
        (_, ValueKind::Map) => "{a: b}",
        (_, ValueKind::Nothing) => unreachable!(),
    }
}

/// A settings file that sets everything.
fn everything() -> String {
    let mut yaml = String::new();
    let mut section = "";
    for row in SCHEMA.rows().filter(|row| !row.key.contains("[]")) {
        let value = sample(row);
        match row.key.split_once('.') {
            Some((head, name)) => {
                if section != head {
                    yaml += &format!("{head}:\n");
                    section = head;
                }
                yaml += &format!("  {name}: {value}\n");
            }
            None => yaml += &format!("{}: {value}\n", row.key),
        }
    }
    yaml + LISTS
}

/// Every key of the maps in lists.
const LISTS: &str = "\
checks:
  - {name: web, http: 'http://example.org:1/?a', status: '200,300-399', body: b, headers: {a: b}, every: '7s', timeout: '7s'}
  - {tcp: '[::1]:80'}
  - {dns: example.org, address: 192.0.2.1}
  - {exec: [/bin/a, b]}
alerts:
  - name: full
    metric: system.memory.utilization
    where: {a: b}
    rate: true
    above: 0.9
    resolve_at: 0.8
    for: 7s
    severity: critical
    summary: s
    labels: {a: b}
  - {name: low, metric: system.memory.usage, below: 1e6}
";

fn in_yaml(row: &Row) -> String {
    match row.key.split_once('.') {
        Some((section, name)) => format!("{section}: {{{name}: \"{}\"}}", sample(row)),
        None => format!("{}: {}", row.key, sample(row)),
    }
}

#[test]
fn without_settings_the_defaults_count() {
    let settings = load(&Flags::default(), &world(&[], &[])).unwrap();

    assert_eq!(settings, loaded(""));
    assert_eq!(settings.config.url, None);
    assert_eq!(settings.config.poll_every, Duration::from_secs(30));
    assert_eq!(settings.config.timeout, Duration::from_secs(30));
    assert_eq!(settings.config.max_size, 4 << 20);
    assert_eq!(settings.collector.path, Path::new(DEFAULT_COLLECTOR));
    assert_eq!(settings.collector.start_timeout, Duration::from_secs(300));
    assert_eq!(settings.collector.validate_timeout, Duration::from_secs(300));
    assert_eq!(settings.collector.stop_timeout, Duration::from_secs(35));
    assert_eq!(settings.collector.probation, Duration::from_secs(30));
    assert_eq!(settings.collector.log, CollectorLog::Pass);
    assert_eq!(settings.collector.log_rate, 64 << 10);
    assert_eq!(settings.collector.memory_limit, None);
    assert_eq!(settings.state_dir, os::default_state_dir());
    assert_eq!(settings.runtime_dir, os::default_runtime_dir());
    assert_eq!(settings.log_level, log::LevelFilter::Info);
}

#[test]
fn each_environment_is_accepted_by_its_name() {
    for (key, words) in
        [("environment", "auto|host|docker|daemonset|deployment"), ("config.role", "host|docker|daemonset|deployment")]
    {
        assert_eq!(setting_row(key).value(), words);
        for word in words.split('|') {
            let flags = [format!("{}={word}", setting_row(key).flag().unwrap()), "--config-cluster=north".into()];
            let config = load(&given(&flags), &world(&[], &[])).unwrap().config;
            let taken = if key == "environment" { config.environment } else { config.role };
            assert!(word == "auto" || taken.to_string() == word, "{key}: {word} is taken as {taken}");
        }
    }
}

#[test]
fn each_setting_with_one_value_is_a_flag_a_variable_and_a_key() {
    // The two halves of a client certificate need each other, and a protocol needs a server.
    let halves = ["config.client_cert_file", "config.client_key_file"];
    for row in SCHEMA.rows().filter(|row| row.kind == Kind::Setting) {
        let beside: Vec<String> = halves
            .iter()
            .filter(|half| halves.contains(&row.key) && **half != row.key)
            .map(|half| format!("{}=/half", setting_row(half).flag().unwrap()))
            .collect();
        let flag = format!("{}={}", row.flag().unwrap(), sample(row));
        let flags: Vec<String> = beside.iter().cloned().chain([flag]).collect();

        let by_flag = load(&given(&flags), &world(&[], &[])).unwrap();
        let by_variable = load(&given(&beside), &world(&[(&row.env().unwrap(), sample(row))], &[])).unwrap();
        let by_key = load(&given(&beside), &world(&[], &[(FILE, &in_yaml(row))])).unwrap();

        assert_eq!(by_flag, by_variable, "{}", row.key);
        assert_eq!(by_flag, by_key, "{}", row.key);
        assert_ne!(by_flag, loaded(""), "{} has no effect", row.key);
    }
}

fn setting_row(key: &str) -> &'static Row {
    SCHEMA.row(key).unwrap()
}

#[test]
fn lists_and_maps_come_from_the_file() {
    let settings = loaded(
        "config: {headers: {X-One: a}}\n\
         collector: {args: [--feature-gates=x, 7], env: {A: b, C: 1.10}}\n\
         attributes: {site: 12, edge: true, service.name: x}\n",
    );

    assert_eq!(settings.config.headers, [("X-One".to_owned(), Secret::from("a".to_owned()))]);
    assert_eq!(settings.collector.args, ["--feature-gates=x", "7"]);
    assert_eq!(settings.collector.env[1], ("C".to_owned(), Secret::from("1.10".to_owned())));
    let attributes = [("site", "12"), ("edge", "true"), ("service.name", "x")];
    assert_eq!(settings.attributes, attributes.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn no_argument_of_the_collector_may_add_a_config() {
    let problem = "would run a config that was not checked; change the config at config.url";
    for (yaml, place) in [
        ("collector:\n  args:\n  - -v\n  - --config", "FILE:4:5: collector.args[1]: --config"),
        ("collector: {args: [--config=hunter2.yaml]}", "FILE:1:20: collector.args[0]: --config"),
        ("collector: {args: [--set, a=b]}", "FILE:1:20: collector.args[0]: --set"),
        ("collector: {args: [\"${env:ARG:---set=a=hunter2}\"]}", "FILE:1:20: collector.args[0]: --set"),
    ] {
        assert_eq!(refused(yaml), format!("{place} {problem}"));
    }
    let args = loaded("collector: {args: [--feature-gates=a, --configs, --settle=1]}").collector.args;
    assert_eq!(args, ["--feature-gates=a", "--configs", "--settle=1"]);
}

#[test]
fn a_url_that_can_never_be_requested_is_refused_at_once() {
    for (yaml, message) in [
        (
            "config: {headers: {Content-Length: 1}}",
            "FILE:1:36: config.headers.Content-Length: is set by the agent itself; leave it out",
        ),
        (
            "config: {url: \"http://c.example:0/\"}",
            "FILE:1:15: config.url: expected URL, found \"http://c.example:0/\": has no usable host and port",
        ),
    ] {
        assert_eq!(refused(yaml), message);
    }
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let flag = ["--config-poll-every=1s".to_owned()];
    let vars = [("OTELET_CONFIG_POLL_EVERY", "2s")];
    let file = [(FILE, "config: {poll_every: 3s}")];
    let poll_every = |flags: &[String], vars: &[(&str, &str)], files: &[(&str, &str)]| {
        load(&given(flags), &world(vars, files)).unwrap().config.poll_every.as_secs()
    };

    assert_eq!(poll_every(&flag, &vars, &file), 1);
    assert_eq!(poll_every(&[], &vars, &file), 2);
    assert_eq!(poll_every(&[], &[("OTELET_CONFIG_POLL_EVERY", "")], &file), 3);
    assert_eq!(poll_every(&[], &[], &file), 3);
    assert_eq!(poll_every(&[], &[], &[]), 30);
}

#[test]
fn an_overridden_value_is_not_checked() {
    let yaml = "config: {poll_every: fast, url: \"${env:UNSET}\"}";
    let flags = ["--config-poll-every=1s".to_owned(), "--config-url=".to_owned()];
    assert_eq!(load(&given(&flags), &world(&[], &[(FILE, yaml)])).unwrap().config.url, None);
}

#[test]
fn the_settings_file_is_named_by_flag_then_by_variable() {
    let vars = [("OTELET_SETTINGS", "var.yaml")];
    let files = [("/here/flag.yaml", "state_dir: /flag"), ("/here/var.yaml", "state_dir: /var")];
    let state_dir = |flags: &[String], vars| load(&given(flags), &world(vars, &files)).unwrap().state_dir;

    assert_eq!(state_dir(&["--settings=./flag.yaml".to_owned()], &vars), Path::new("/flag"));
    assert_eq!(state_dir(&[], &vars), Path::new("/var"));
    assert_eq!(state_dir(&[], &[]), os::default_state_dir());
}

#[test]
fn a_missing_settings_file_is_fine_only_at_the_default_path() {
    let e = load(&given(&["--settings=/x.yaml".to_owned()]), &world(&[], &[])).unwrap_err();
    assert_eq!(e.to_string(), "/x.yaml: cannot read the settings file");
    assert_eq!(e.source().unwrap().to_string(), "entity not found");
    assert_eq!(e.exit_status(), exit::SETTINGS);
    assert!(load(&given(&[format!("--settings={FILE}")]), &world(&[], &[])).is_ok());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    for (yaml, message) in [
        ("config:\n  pol_every: 5s", "FILE:2:3: config.pol_every: unknown key; did you mean config.poll_every?"),
        ("colector: {}", "FILE:1:1: colector: unknown key; did you mean collector?"),
        ("poll_every: 5s", "FILE:1:1: poll_every: unknown key; did you mean config.poll_every?"),
        ("config.url: x", "FILE:1:1: config.url: unknown key; nest it: config: {url: URL}"),
        (
            "state_dir: /x\nfrobnicate: 1",
            "FILE:2:1: frobnicate: unknown key; known here: config, collector, report, host, export, checks, \
             alerts, webhook, docker, attributes, environment, identity, standby, \
             state_dir, runtime_dir, log_level",
        ),
        (
            "json: true",
            "FILE:1:1: json: unknown key; known here: config, collector, report, host, export, checks, alerts, \
             webhook, docker, attributes, environment, identity, standby, state_dir, runtime_dir, log_level",
        ),
    ] {
        assert_eq!(refused(yaml), message);
    }
}

#[test]
fn a_wrong_type_is_refused_with_what_was_expected() {
    for (yaml, message) in [
        ("config:\n  poll_every: [5s]", "FILE:2:15: config.poll_every: expected TIME such as 30s, found a list"),
        ("config:\n  url: {a: b}", "FILE:2:8: config.url: expected URL, found a map"),
        ("config: 5", "FILE:1:9: config: expected a map of settings, found a single value"),
        ("config: !x {url: a}", "FILE:1:9: config: expected a map of settings, found a tag"),
        ("- config", "FILE:1:1: expected a map of settings, found a list"),
        ("hello", "FILE:1:1: expected a map of settings, found a single value"),
        ("collector: {args: -v}", "FILE:1:19: collector.args: expected a list such as [a, b], found a single value"),
        ("collector:\n  args:\n  - a\n  - [b]", "FILE:4:5: collector.args[1]: expected text, found a list"),
        ("attributes: [a]", "FILE:1:13: attributes: expected a map such as {name: value}, found a list"),
        ("attributes:\n  a: {b: c}", "FILE:2:6: attributes.a: expected text, found a map"),
        (
            "config:\n  url:\n  timeout: 5s",
            "FILE:2:7: config.url: expected URL, found nothing; leave the key out, or write \"\"",
        ),
        (
            "attributes: {a: ~}",
            "FILE:1:17: attributes.a: expected text, found nothing; leave the key out, or write \"\"",
        ),
        ("[a]: b", "FILE:1:1: expected a map of settings, found a list"),
    ] {
        assert_eq!(refused(yaml), message);
    }
}

#[test]
fn an_invalid_value_is_refused_with_its_limits() {
    for (yaml, message) in [
        (
            "config: {poll_every: 30}",
            "FILE:1:22: config.poll_every: expected TIME such as 30s, found \"30\": give a unit, such as 30s",
        ),
        (
            "config:\n  timeout: 11m",
            "FILE:2:12: config.timeout: expected TIME such as 30s, found \"11m\": allowed is 1s to 10m",
        ),
        (
            "config: {max_size: 1GiB}",
            "FILE:1:20: config.max_size: expected SIZE such as 4MiB, found \"1GiB\": allowed is 1KiB to 64MiB",
        ),
        (
            "collector: {nice: 20}",
            "FILE:1:19: collector.nice: expected a whole NUMBER, found \"20\": allowed is -20 to 19",
        ),
        (
            "collector: {log: dorp}",
            "FILE:1:18: collector.log: expected one of pass, drop, found \"dorp\": did you mean drop?",
        ),
        (
            "log_level: loud",
            "FILE:1:12: log_level: expected one of error, warn, info, debug, trace, found \"loud\": unknown choice",
        ),
        (
            "collector: {run_as: \"a:b:c\"}",
            "FILE:1:21: collector.run_as: expected USER[:GROUP], found \"a:b:c\": write user or user:group, names or numbers",
        ),
        (
            "config: {poll_every: ''}",
            "FILE:1:22: config.poll_every: expected TIME such as 30s, found nothing: give a number and a unit, such as 30s",
        ),
        ("state_dir: \"a\\0b\"", "FILE:1:12: state_dir: its value has a NUL character"),
    ] {
        assert_eq!(refused(yaml), message);
    }
    for yaml in ["config: {poll_every: 9ms}", "collector: {memory_limit: 15MiB}", "collector: {oom_score_adj: 1001}"] {
        assert!(refused(yaml).contains("allowed is"), "{yaml}");
    }
}

#[test]
fn a_flag_or_variable_is_named_in_its_error() {
    let e = load(&given(&["--config-poll-every=fast".to_owned()]), &world(&[], &[])).unwrap_err();
    assert_eq!(
        e.to_string(),
        "--config-poll-every: expected TIME such as 30s, found \"fast\": give a number and a unit, such as 30s"
    );
    assert_eq!(e.exit_status(), exit::USAGE);

    let e = load(&Flags::default(), &world(&[("OTELET_COLLECTOR_NICE", "x")], &[])).unwrap_err();
    assert_eq!(e.to_string(), "OTELET_COLLECTOR_NICE: expected a whole NUMBER, found \"x\": allowed is -20 to 19");
    assert_eq!(e.exit_status(), exit::SETTINGS);
}

#[test]
fn a_duplicate_key_is_refused() {
    for (yaml, message) in [
        ("state_dir: /a\nstate_dir: /b", "FILE:2:1: state_dir: is set twice; keep one"),
        ("config:\n  url: a\nconfig:\n  url: b", "FILE:3:1: config: is set twice; keep one"),
        ("attributes: {a: b, a: c}", "FILE:1:20: attributes.a: is set twice; keep one"),
        ("config: {headers: {A: b, a: c}}", "FILE:1:29: config.headers.a: this header is set twice; keep one"),
    ] {
        assert_eq!(refused(yaml), message);
    }
}

#[test]
fn a_file_that_is_not_one_short_yaml_document_is_refused() {
    assert_eq!(
        refused("state_dir: /a\n---\nstate_dir: /b"),
        "FILE:3:1: a second document; the settings are one document, without \"---\" in between"
    );
    assert_eq!(
        refused("config:\n  url: a\n bad: b"),
        "FILE:3:2: not YAML: did not find expected key, while parsing a block mapping"
    );
    assert_eq!(refused(&"#".repeat(LARGEST_FILE + 1)), "FILE: larger than 1MiB; is this the settings file?");
    let mut binary = world(&[], &[]);
    binary.read = Box::new(|_| Ok(b"config:\n  url: \xff".to_vec()));
    assert_eq!(refused_in("binary", &binary), "FILE:2:8: not UTF-8");
}

#[test]
fn a_file_of_windows_is_read_and_utf_16_is_named() {
    let read = |bytes: Vec<u8>| {
        let mut world = world(&[], &[]);
        world.read = Box::new(move |_| Ok(bytes.clone()));
        world
    };
    let good = "\u{feff}config:\r\n  url: /x\r\n  timeout: 5s\r\n\r\n\r\n";
    let settings = load(&Flags::default(), &read(good.into())).unwrap();
    assert_eq!(settings.config.timeout, Duration::from_secs(5));
    let wide = "config: {}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        refused_in("UTF-16", &read(wide)),
        "FILE: is UTF-16, as PowerShell and some editors on Windows write it; save it as UTF-8"
    );
}

#[test]
fn the_built_in_config_for_docker_reads_the_engine_of_docker_host() {
    for (host, socket) in [
        ("unix:///run/user/1000/docker.sock", "/run/user/1000/docker.sock"),
        ("tcp://proxy:2375", "tcp://proxy:2375"),
        // For other programs.
        ("ssh://me@engine", DOCKER_SOCKET),
    ] {
        let settings = with_vars("environment: docker", &[("DOCKER_HOST", host)]);
        assert_eq!(settings.docker.socket, Some(socket.into()), "{host}");
        // Nobody asked for an engine.
        assert_eq!(with_vars("environment: host", &[("DOCKER_HOST", host)]).docker.socket, None);
    }
}

#[test]
fn a_variable_is_read_without_what_its_file_put_around_it() {
    for value in ["\"5s\"", "'5s'", "5s\r", "\"5s\"\r\n"] {
        let settings = with_vars("", &[("OTELET_CONFIG_TIMEOUT", value)]);
        assert_eq!(settings.config.timeout, Duration::from_secs(5), "{value:?}");
    }
    let settings =
        with_vars("checks: [{http: \"http://a\", body: '\"ok\"'}]\nattributes: {a: \"${env:A}\"}", &[("A", "b\r")]);
    assert_eq!(settings.attributes[0].1, "b");
    // A body may be looked for with its quotation marks.
    let CheckTarget::Http { body, .. } = &settings.checks[0].target else { panic!() };
    assert_eq!(body.as_deref(), Some("\"ok\""));
    assert_eq!(
        refused("config: {ca_file: \"'/ca.pem'\"}"),
        "FILE:1:19: config.ca_file: its value has quotation marks of its own around it; leave them out"
    );
}

#[test]
fn a_tab_or_a_character_that_looks_like_a_space_is_refused_with_its_place() {
    for (yaml, message) in [
        (
            "config:\n\turl: /x",
            "FILE:2:1: not YAML: found character that cannot start any token, while scanning for the next token; a tab \
             indents the line: write spaces",
        ),
        (
            "config:\n  timeout: 5s\n \turl: /x",
            "FILE:3:2: not YAML: found a tab character that violates indentation, while scanning a plain scalar at line \
             2 column 12; a tab indents the line: write spaces",
        ),
        (
            "config:\n  url:\u{a0}/x",
            "FILE:2:3: config: expected a map of settings, found a single value; column 7 is a no-break space (U+00A0): \
             write a plain space or nothing",
        ),
        (
            "config: {timeout: 30\u{a0}s}",
            "FILE:1:19: config.timeout: expected TIME such as 30s, found \"30\\u{a0}s\": the units are h, m, s, ms, us \
             and ns; it has a no-break space (U+00A0) in it",
        ),
        (
            "config: {url: \"/x\u{200b}\"}",
            "FILE:1:15: config.url: its value begins or ends with a character that nobody sees; column 18 is an \
             invisible character of zero width: write a plain space or nothing",
        ),
        (
            "config: {headers: {A: \"\u{a0}b\"}}",
            "FILE:1:23: config.headers.A: its value begins or ends with a character that nobody sees; column 24 is \
             a no-break space (U+00A0): write a plain space or nothing",
        ),
    ] {
        assert_eq!(refused(yaml), message);
    }
    let said = refused("config:\n\u{a0} url: /x");
    assert!(said.ends_with("; column 1 is a no-break space (U+00A0): write a plain space or nothing"), "{said}");
    let said = refused("attributes: {\u{a0}site: a}");
    assert!(said.ends_with("column 14 is a no-break space (U+00A0): write a plain space or nothing"), "{said}");
    // In the middle of a text it may be meant.
    assert_eq!(loaded("attributes: {a: \"n\u{a0}4\"}").attributes[0].1, "n\u{a0}4");
}

#[test]
fn a_file_of_comments_or_an_empty_section_sets_nothing() {
    for yaml in ["", "\n", "# nothing\n", "---\n", "config:\n", "config: {}\ncollector:\nattributes:\n", "\u{feff}"] {
        assert_eq!(loaded(yaml), loaded(""), "{yaml:?}");
    }
}

#[test]
fn aliases_cannot_exhaust_memory() {
    let anchor = format!("attributes: {{a: &a {}}}\n", "x".repeat(1 << 16));
    let yaml = format!("{anchor}collector: {{args: [{}*a]}}", "*a,".repeat(1 << 16));
    assert_eq!(refused(&yaml).split_once(": more").unwrap().1, " than 1MiB of text; write it out without aliases");
}

#[test]
fn variables_and_files_are_put_into_values() {
    let yaml = "config:\n  url: https://${env:HOST}/${env:NONE:-v1}\n  headers: {X-Token: \"${file:token}\"}\n\
                collector: {args: [\"$$x\", \"$y\", \"a$\", \"${env:EMPTY:-no}\", \"${env:DOLLAR}\"]}\n\
                attributes: {site: \"${file:/site}!\"}\n";
    let vars = [("HOST", "c.example"), ("EMPTY", ""), ("DOLLAR", "${env:HOST}")];
    let files = [(FILE, yaml), ("/here/token", "t0k\n"), ("/site", "berlin\r\n")];
    let settings = load(&Flags::default(), &world(&vars, &files)).unwrap();

    assert_eq!(settings.config.url, Some(Location::Url("https://c.example/v1".to_owned())));
    assert_eq!(settings.config.headers[0].1.expose(), "t0k");
    assert_eq!(settings.collector.args, ["$x", "$y", "a$", "", "${env:HOST}"]);
    assert_eq!(settings.attributes[0].1, "berlin!");
}

#[test]
fn a_reference_that_cannot_be_resolved_is_refused() {
    for (yaml, message) in [
        (
            "attributes:\n  a: x${env:NONE}",
            "FILE:2:6: attributes.a: the variable NONE is not set; set it, or write ${env:NONE:-text}",
        ),
        ("attributes: {a: \"${file:/none}\"}", "FILE:1:17: attributes.a: cannot read /none: entity not found"),
        ("attributes: {a: \"${env:X\"}", "FILE:1:17: attributes.a: \"${\" without \"}\"; write $$ for a dollar sign"),
        (
            "attributes: {a: \"${X}\"}",
            "FILE:1:17: attributes.a: only ${env:NAME} and ${file:PATH} are known; write $$ for a dollar sign",
        ),
        ("attributes: {a: \"${env:}\"}", "FILE:1:17: attributes.a: ${env:} needs the name of a variable"),
    ] {
        assert_eq!(refused(yaml), message);
    }
}

#[test]
fn the_collector_is_a_name_for_path_or_an_absolute_path() {
    let program = |text: &str| loaded(&format!("collector: {{path: \"{text}\"}}")).collector.path;
    assert_eq!(program("otelcol"), Path::new("otelcol"));
    assert_eq!(program("./otelcol"), Path::new("/here/otelcol"));
    assert_eq!(program("bin/otelcol"), Path::new("/here/bin/otelcol"));
    assert_eq!(program("/bin/otelcol"), Path::new("/bin/otelcol"));
    assert_eq!(program(""), Path::new(DEFAULT_COLLECTOR));
}

#[test]
fn proxies_come_from_the_ordinary_variables_last() {
    let both = [("HTTP_PROXY", "upper:1"), ("http_proxy", "lower:1"), ("HTTPS_PROXY", "s:1"), ("NO_PROXY", "x,y")];
    let config = with_vars("", &both).config;
    assert_eq!(config.http_proxy.unwrap().expose(), "lower:1");
    assert_eq!(config.https_proxy.unwrap().expose(), "s:1");
    assert_eq!(config.no_proxy, "x,y");

    let config = with_vars("config: {http_proxy: \"\", https_proxy: own:1, no_proxy: z}", &both).config;
    assert_eq!(config.http_proxy, None);
    assert_eq!(config.https_proxy.unwrap().expose(), "own:1");
    assert_eq!(config.no_proxy, "z");
}

#[test]
fn upper_case_http_proxy_is_not_trusted_under_a_cgi_server() {
    let upper = ("HTTP_PROXY", "http://evil:1");
    assert!(with_vars("", &[upper]).config.http_proxy.is_some());
    assert!(with_vars("", &[upper, ("REQUEST_METHOD", "GET")]).config.http_proxy.is_none());
}

#[test]
fn an_invalid_proxy_is_refused_without_repeating_it_if_it_was_set_for_the_agent() {
    let kinds = "only http:// proxies are supported; through them https:// is encrypted all the way";
    assert_eq!(
        refused_in("", &world(&[("OTELET_CONFIG_HTTPS_PROXY", "socks5://me:hunter2@p:1")], &[])),
        format!("OTELET_CONFIG_HTTPS_PROXY: expected URL, found <set>: {kinds}")
    );
    let settings = with_vars("", &[("https_proxy", "socks5://me:hunter2@p:1")]);
    let needed = "requests for https:// that need a proxy fail until config.https_proxy is set (empty: no proxy)";
    assert_eq!(settings.notes, [format!("https_proxy cannot be used: {kinds}; {needed}")]);
    assert!(settings.secrets().contains(&"socks5://me:hunter2@p:1".to_owned()), "it is never printed");
    // A proxy that is overruled is not judged at all.
    assert_eq!(with_vars("config: {https_proxy: p:1}", &[("https_proxy", "socks5://p:1")]).notes, [""; 0]);
    for proxy in ["http://", "http://u:p@", "a b:1"] {
        assert!(refused(&format!("config: {{http_proxy: \"{proxy}\"}}")).contains("http://host:port"));
    }
}

#[test]
fn settings_that_need_or_exclude_each_other_are_checked() {
    for (yaml, message) in [
        ("config:\n  client_cert_file: /c", "FILE:2:21: config.client_cert_file: needs config.client_key_file as well"),
        ("config:\n  client_key_file: /k", "FILE:2:20: config.client_key_file: needs config.client_cert_file as well"),
        (
            "config:\n  headers: {authorization: x}\n  bearer_token_file: /t",
            "FILE:3:22: config.bearer_token_file: config.headers has an Authorization header already; keep one \
             of the two",
        ),
    ] {
        assert_eq!(refused(yaml), message);
    }
}

#[test]
fn headers_and_variables_that_cannot_be_sent_are_refused() {
    assert_eq!(
        refused("config: {headers: {A: \"b\\r\\nc\"}}"),
        "FILE:1:23: config.headers.A: its value has a line break or another character that HTTP forbids"
    );
    assert_eq!(
        refused("config: {headers: {\"Authorization: Bearer hunter2\": x}}"),
        "FILE:1:53: config.headers: not the name of a header; use letters, digits and -"
    );
    assert_eq!(
        refused("collector: {env: {\"A=hunter2\": b}}"),
        "FILE:1:32: collector.env: a variable has a name without \"=\", and no NUL character"
    );
}

#[test]
fn secrets_are_not_printed() {
    let yaml = "config: {headers: {A: hunter2}, http_proxy: \"http://u:hunter2@p\"}\ncollector: {env: {A: hunter2}}";
    let printed = format!("{:?} {}", loaded(yaml), Secret::from("hunter2".to_owned()));
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.ends_with(" <set>"));
}

#[test]
fn a_secret_in_the_wrong_place_is_not_printed() {
    for row in SCHEMA.rows() {
        let yaml = in_yaml(row).replace(sample(row), "ftp://${env:TOKEN} \\n");
        let world = world(&[("TOKEN", "hunter2")], &[(FILE, &yaml)]);
        if let Err(e) = load(&Flags::default(), &world) {
            assert!(!format!("{e} {e:?}").contains("hunter2"), "{e}");
        }
    }
}

#[test]
fn everything_together_is_accepted() {
    let settings = loaded(&everything());
    assert_eq!(settings.collector.log, CollectorLog::Drop);
    assert_eq!(settings.log_level, log::LevelFilter::Trace);
    assert!(settings.config.client_cert_file.is_some());
}

#[test]
fn no_mutation_of_a_settings_file_panics_or_prints_a_secret() {
    const SPLICES: &[&str] = &[
        "\n", ": ", "- ", "[", "]", "{", "}", "&a ", "*a", "!t ", "|\n", "? ", "---\n", "'", "\"", "\\", "#", "<<: ",
        "${env:", "${file:", "}", "$$", "~", "\u{0}", "\u{feff}", "é", "%", "@", ":", "0", "-", "...",
    ];
    let vars = [("TOKEN", "hunter2"), ("TIME", "hunter2")];
    let valid = everything().replace("{a: b}", "{a: \"${env:TOKEN}\"}").replace("7s", "${env:TIME:-7s}");
    let mut random = fastrand::Rng::with_seed(3);
    let mut accepted = 0;
    for round in 0..4000 {
        let mut bytes = valid.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            let end = bytes.len().min(at + random.usize(..20));
            match random.u8(..4) {
                0 => drop(bytes.splice(at..at, random.choice(SPLICES).unwrap().bytes())),
                1 => drop(bytes.drain(at..end)),
                2 => bytes[at] = random.u8(..),
                _ => {
                    let copy = bytes[at..end].to_vec();
                    let to = random.usize(..bytes.len());
                    bytes.splice(to..to, copy);
                }
            }
        }
        let text = bytes.clone();
        let mut world = world(&vars[..1 + round % 2], &[]);
        world.read = Box::new(move |path| match path.to_str() {
            Some(FILE) => Ok(text.clone()),
            _ => Err(io::ErrorKind::NotFound.into()),
        });
        match load(&Flags::default(), &world) {
            Ok(_) => accepted += 1,
            Err(e) => assert!(!format!("{e} {e:?}").contains("hunter2"), "{e}"),
        }
    }
    assert!(accepted > 0, "all mutations are refused: the file was not valid before them");
}

#[test]
fn the_first_row_is_the_settings_file() {
    assert_eq!(SETTINGS_FILE.key, "settings");
    assert_eq!(SETTINGS_FILE.default, FILE);
}

#[test]
fn lists_of_maps_are_read_key_by_key() {
    let settings = loaded(LISTS);

    let names: Vec<&str> = settings.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["web", "[::1]:80", "example.org", "/bin/a"]);
    let CheckTarget::Http { status, body, headers, .. } = &settings.checks[0].target else {
        panic!("the first is http")
    };
    assert_eq!((&status[..], body.as_deref(), headers.len()), (&[200..=200, 300..=399][..], Some("b"), 1));
    assert_eq!(settings.checks[0].every, Duration::from_secs(7));
    assert_eq!(settings.checks[1].every, Duration::from_secs(30), "the default");

    let [full, low] = &settings.alerts[..] else { panic!("two alerts") };
    assert_eq!((full.threshold, full.resolve_at, full.rate), (Threshold::Above(0.9), 0.8, true));
    assert_eq!((low.threshold, low.resolve_at, low.severity), (Threshold::Below(1e6), 1e6, AlertSeverity::Warning));
    assert_eq!(full.conditions, [("a".to_owned(), "b".to_owned())]);
}

#[test]
fn a_fault_in_a_list_of_maps_is_named_with_its_place() {
    for (yaml, problem) in [
        ("checks: {a: b}", "FILE:1:9: checks: expected a list of maps of settings, found a map"),
        ("config: [a]", "FILE:1:9: config: expected a map of settings, found a list"),
        ("checks: [{tcp: a:1}, {tpc: b:1}]", "FILE:1:23: checks[1].tpc: unknown key; did you mean checks[1].tcp?"),
        (
            "checks: [{every: 5s}]",
            "FILE:1:10: checks[0]: a check needs exactly one of http, tcp, dns, exec, docker; this one has 0",
        ),
        (
            "checks: [{tcp: a:1, dns: a}]",
            "FILE:1:10: checks[0]: a check needs exactly one of http, tcp, dns, exec, docker; this one has 2",
        ),
        (
            "checks: [{tcp: a}]",
            "FILE:1:16: checks[0].tcp: expected HOST:PORT, found \"a\": write host:port, such as 10.0.0.5:443 or db.example:5432",
        ),
        (
            "checks: [{tcp: '::1:80'}]",
            "FILE:1:16: checks[0].tcp: expected HOST:PORT, found \"::1:80\": put an IPv6 address in brackets: [::1]:80",
        ),
        ("checks: [{tcp: a:1, body: x}]", "FILE:1:27: checks[0].body: goes with http only"),
        (
            "checks: [{tcp: a:1}, {tcp: a:1}]",
            "FILE:1:22: checks[1]: another check has this name; give it a name of its own",
        ),
        ("checks: [{exec: []}]", "FILE:1:17: checks[0].exec: names no program"),
        ("checks: [{exec: [./a]}]", "FILE:1:17: checks[0].exec: the program is a relative path; give an absolute one"),
        (
            "checks: [{http: 'http://a', status: 99}]",
            "FILE:1:37: checks[0].status: expected CODES such as 200,204,300-399 or 2xx, found \"99\": status codes are 100 to 599",
        ),
        (
            "checks: [{tcp: a:1, every: 0s}]",
            "FILE:1:28: checks[0].every: expected TIME such as 30s, found \"0s\": allowed is 1s to 24h",
        ),
        ("alerts: [{name: a}]", "FILE:1:10: alerts[0]: an alert needs metric"),
        (
            "alerts: [{name: a, metric: system.memory.usage}]",
            "FILE:1:10: alerts[0]: an alert needs exactly one of above, below",
        ),
        (
            "alerts: [{name: a, metric: system.memory.usage, above: 1, resolve_at: 2}]",
            "FILE:1:71: alerts[0].resolve_at: is above 1, where the value is bad",
        ),
        (
            "alerts: [{name: a, metric: system.memory.usages, above: 1}]",
            "FILE:1:28: alerts[0].metric: unknown metric \"system.memory.usages\"; did you mean system.memory.usage?",
        ),
        (
            "alerts: [{name: a, metric: humidity, above: 1}]",
            "FILE:1:28: alerts[0].metric: unknown metric \"humidity\"; docs/metrics.md lists all metrics",
        ),
        (
            "alerts: [{name: a, metric: system.memory.usage, above: 1, labels: {1st: a}}]",
            "FILE:1:73: alerts[0].labels.1st: not the name of a label; use letters, digits and _, and no digit first",
        ),
        (
            "alerts: [{name: a, metric: system.memory.usage, above: 1, labels: {alertname: b}}]",
            "FILE:1:79: alerts[0].labels.alertname: is the name of the alert; leave it out",
        ),
        (
            "alerts: [{name: a, metric: system.memory.usage, above: many}]",
            "FILE:1:56: alerts[0].above: expected NUMBER, found \"many\": not a number",
        ),
    ] {
        assert_eq!(refused(yaml), problem, "{yaml}");
    }
}

#[test]
fn each_word_of_a_choice_is_the_value_of_that_name() {
    fn name(value: impl std::fmt::Debug) -> String {
        format!("{value:?}").to_ascii_lowercase()
    }
    let read = |key: &str, settings: &Settings| match key {
        "config.protocol" => name(settings.config.protocol),
        "config.redirects" => name(settings.config.redirects),
        "config.role" => name(settings.config.role),
        "collector.log" => name(settings.collector.log),
        "collector.on_replaced" => name(settings.collector.on_replaced),
        "export.metrics" => name(settings.export.metrics),
        "alerts[].rate" => name(settings.alerts[0].rate),
        "alerts[].severity" => name(settings.alerts[0].severity),
        "environment" => name(settings.config.environment),
        "log_level" => name(settings.log_level),
        other => panic!("{other} is a choice that this test does not read"),
    };
    for row in SCHEMA.rows() {
        let ValueKind::Choice(words) = row.takes else { continue };
        for word in words.split('|') {
            let yaml = match row.key.rsplit_once('.') {
                Some(("alerts[]", key)) => {
                    format!("alerts: [{{name: a, metric: system.memory.usage, above: 1, {key}: {word}}}]")
                }
                Some((section, key)) => format!("{section}: {{{key}: {word}}}"),
                None => format!("{}: {word}", row.key),
            };
            let settings = with_vars(&yaml, &[("OTELET_CONFIG_CLUSTER", "a pod needs one")]);
            let expected = if word == "auto" { name(os::environment()) } else { word.to_owned() };
            assert_eq!(read(row.key, &settings), expected, "{}", row.key);
        }
    }
}

#[test]
fn configs_of_the_host_are_a_short_list_of_different_files() {
    let settings = loaded("collector: {local: [/etc/otelet/site.yaml, /etc/otelet/rack.yaml]}");
    assert_eq!(settings.collector.local, ["/etc/otelet/site.yaml", "/etc/otelet/rack.yaml"].map(PathBuf::from));
    let nine: Vec<String> = (0..9).map(|number| format!("/{number}.yaml")).collect();
    for (list, problem) in [
        ("/a.yaml, /a.yaml".to_owned(), "collector.local[1]: the file is named twice"),
        ("/a.yaml, ''".to_owned(), "collector.local[1]: a path is missing"),
        (nine.join(", "), "collector.local[8]: there are more than 8 files; join some of them"),
    ] {
        let message = refused(&format!("collector: {{local: [{list}]}}"));
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn an_invalid_public_key_is_refused_without_repeating_it() {
    for key in ["hunter2", "RWREku3J4iZ"] {
        let message = refused(&format!("config: {{public_key: {key}}}"));
        assert!(
            message.starts_with("FILE:1:22: config.public_key: expected KEY, found <set>: not a key of minisign"),
            "{message}"
        );
    }
}

#[test]
fn a_flaw_of_a_variable_is_named() {
    for (value, flaw) in [
        ("", Some("is empty")),
        ("a\r", Some("ends with a carriage return")),
        ("\"a\"", Some("is in quotes")),
        ("'a'", Some("is in quotes")),
        ("'a'\r", Some("ends with a carriage return")),
        (" a", Some("begins or ends with a blank")),
        ("a\n", Some("begins or ends with a blank")),
        ("\"", None),
        ("\"a'", None),
        ("a \"b\" c", None),
    ] {
        let found = super::expand::flaw(value);
        assert_eq!(found.is_some(), flaw.is_some(), "{value:?}");
        assert!(found.unwrap_or_default().starts_with(flaw.unwrap_or_default()), "{value:?}: {found:?}");
    }
    let km = [("KM_API_KEY", "k"), ("KM_UPDATE_ENDPOINT", "\"https://c.example/config-check\"")];
    let taken = load(&Flags::default(), &world(&km, &[])).unwrap();
    assert_eq!(taken.notes, ["KM_UPDATE_ENDPOINT: quotes and carriage returns around its value are left out"]);
    let settings = with_vars("state_dir: ${env:PREFIX}/srv/otelet", &[("PREFIX", "")]);
    assert_eq!(settings.state_dir, PathBuf::from("/srv/otelet"), "an empty variable may be meant so");
    let settings = with_vars("attributes: {a: '${env:A}-${env:B:-x}'}", &[("A", "'1'"), ("B", "")]);
    assert_eq!(settings.notes.len(), 2, "{:?}", settings.notes);
    assert!(
        settings.notes[0]
            .ends_with("attributes.a: the variable A is in quotes, which count as part of it; leave them out")
    );
    assert!(settings.notes[1].ends_with("attributes.a: the variable B is empty"), "{:?}", settings.notes);
}

#[test]
fn the_packaged_settings_name_a_backend_without_their_comment_signs() {
    for packaged in [include_str!("../../targets/linux/otelet.yaml"), include_str!("../../targets/windows/otelet.yaml")]
    {
        let bare: String =
            packaged.lines().map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n").collect();
        // A comment of words has a space behind its sign, and stays one.
        let lines: Vec<_> =
            bare.lines().filter(|line| line.starts_with("collector:") || line.starts_with("  env:")).collect();
        let settings = loaded(&lines.join("\n"));
        let names: Vec<_> = settings.collector.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_AUTHORIZATION"]);
        assert!(loaded(packaged).collector.env.is_empty());
    }
}
