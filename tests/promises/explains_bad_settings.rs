//! Bad settings end the agent before it starts anything, with the place, the value and the way out.

use std::fs;

use super::host::{Host, stderr};

/// The exit status and the error of an agent with this settings file.
fn complaint(host: &Host, settings: &str) -> (i32, String) {
    fs::write(host.settings_file(), settings).unwrap();
    let output = host.otelet(&["run"]);
    let path = format!("{}", host.settings_file().display());
    (output.status.code().unwrap(), stderr(&output).replace(&path, "otelet.yaml"))
}

#[test]
fn in_the_file_with_line_and_column() {
    let host = Host::new();
    for (settings, expected) in [
        ("config:\n  urll: /x\n", "otelet.yaml:2:3: config.urll: unknown key; did you mean config.url?"),
        (
            "state_dir: /a\nconfig:\n  poll_every: 10\n",
            "otelet.yaml:3:15: config.poll_every: expected TIME such as 30s, found \"10\": give a unit, such as 30s",
        ),
        (
            "config:\n  poll_every: 48h\n",
            "otelet.yaml:2:15: config.poll_every: expected TIME such as 30s, found \"48h\": allowed is ",
        ),
        ("collector: [a]\n", "otelet.yaml:1:12: collector: expected a map of settings, found a list"),
        (
            "collector:\n  nice: 99\n",
            "otelet.yaml:2:9: collector.nice: expected a whole NUMBER, found \"99\": allowed is -20 to 19",
        ),
        (
            "log_level: inof\n",
            "otelet.yaml:1:12: log_level: expected one of error, warn, info, debug, trace, found \"inof\": did you mean info?",
        ),
        (
            "config:\n  url: \"ftp://x\"\n",
            "otelet.yaml:2:8: config.url: expected URL, found \"ftp://x\": write http://, https://, file:/// or a path",
        ),
        (
            "config:\n  headers: {A: \"${env:NOPE}\"}\n",
            "otelet.yaml:2:16: config.headers.A: the variable NOPE is not set; set it, or write ${env:NOPE:-text}",
        ),
        ("state_dir: /a\nstate_dir: /b\n", "otelet.yaml:2:1: state_dir: is set twice; keep one"),
        ("config: {url: \"/x\"\n", "otelet.yaml:2:1: not YAML: "),
    ] {
        let (code, said) = complaint(&host, settings);

        assert_eq!(code, 78, "{settings}");
        assert!(said.starts_with(&format!("otelet: {expected}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!host.state_dir().exists());
}

#[test]
fn in_a_variable() {
    let host = Host::new();

    let output = host
        .command()
        .arg("run")
        .arg(format!("--settings={}", host.settings_file().display()))
        .env("OTELET_CONFIG_POLL_EVERY", "soon")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        stderr(&output),
        "otelet: OTELET_CONFIG_POLL_EVERY: expected TIME such as 30s, found \"soon\": give a number and a unit, such as 30s\n"
    );
}

#[test]
fn in_a_flag() {
    let host = Host::new();
    for (arguments, expected) in [
        (&["run", "--config-pol-every=3s"][..], "unknown flag --config-pol-every; did you mean --config-poll-every?"),
        (
            &["run", "--config-poll-every=3"],
            "--config-poll-every: expected TIME such as 30s, found \"3\": give a unit, such as 30s",
        ),
        (
            &["run", "--config-headers=x"],
            "--config-headers has more than one value: set config.headers in the settings file",
        ),
        (&["status", "--clear"], "--clear does not go with status, only with rollback"),
        (&["statsu"], "unknown command \"statsu\"; did you mean status?"),
    ] {
        let output = host.otelet(arguments);

        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert_eq!(stderr(&output), format!("otelet: {expected}\n"));
    }
}

#[test]
fn a_settings_file_that_was_named_must_be_there() {
    let host = Host::new();

    let output = host.command().args(["run", "--settings=/nowhere/otelet.yaml"]).output().unwrap();

    assert_eq!(output.status.code(), Some(78));
    let said = stderr(&output);
    assert!(said.starts_with("otelet: /nowhere/otelet.yaml: cannot read the settings file: "), "{said}");
}

#[test]
fn directories_that_cannot_be_made_are_named() {
    let host = Host::new();
    fs::write(host.path("file"), "").unwrap();
    for key in ["state_dir", "runtime_dir"] {
        host.set(key, &host.path("file/below").display().to_string());
    }

    let mut agent = host.agent().start();

    assert_eq!(agent.ended(), 73);
    let line = agent.logs("ERROR");
    assert!(line.contains("file/below") && line.contains("cannot make the directory"), "{line}");
}
