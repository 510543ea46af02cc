//! Help, man page and docs/settings.md name every flag and every setting, since all three are made from the same table.

use otelet::cli;

use super::host::{Host, stdout};

#[test]
fn help_names_every_flag_and_every_key_of_the_file() {
    let output = Host::new().command().arg("help").output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    let help = stdout(&output);
    for row in cli::rows() {
        let name = row.flag().unwrap_or_else(|| row.key.to_owned());
        assert!(help.contains(&name), "{name} is missing");
        assert!(
            row.default.is_empty() || help.contains(&format!("[{}", row.default.split(' ').next().unwrap())),
            "{name}"
        );
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100));
    for form in [&["--help"][..], &["-h"], &["run", "--help"]] {
        let output = Host::new().command().args(form).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), help.clone()), "{form:?}");
    }
}

#[test]
fn the_man_page_names_every_flag_and_every_variable() {
    let man = cli::man().replace("\\-", "-");

    for row in cli::rows() {
        let name = row.flag().unwrap_or_else(|| row.key.to_owned());
        assert!(man.contains(&name), "{name} is missing");
        if let Some(variable) = row.env() {
            assert!(man.contains(&variable), "{variable} is missing");
        }
    }
}

#[test]
fn the_settings_reference_is_the_one_that_is_generated() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    let page = std::fs::read_to_string(path).expect("docs/settings.md is there");
    let (_, rest) = page.split_once("<!-- settings -->").expect("docs/settings.md has the line <!-- settings -->");
    let (reference, _) =
        rest.split_once("<!-- /settings -->").expect("docs/settings.md has the line <!-- /settings -->");

    let expected = cli::settings_reference();

    assert!(
        reference.trim() == expected.trim(),
        "docs/settings.md differs from the settings; between its two settings lines put:\n\n{expected}"
    );
}

#[test]
fn the_metrics_reference_is_the_one_that_is_generated() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = std::fs::read_to_string(path).expect("docs/metrics.md is there");
    let (_, rest) = page.split_once("<!-- metrics -->").expect("docs/metrics.md has the line <!-- metrics -->");
    let (reference, _) = rest.split_once("<!-- /metrics -->").expect("docs/metrics.md has the line <!-- /metrics -->");

    let expected = otelet_core::telemetry::reference();

    assert!(
        reference.trim() == expected.trim(),
        "docs/metrics.md differs from the metrics; between its two metrics lines put:\n\n{expected}"
    );
}

#[test]
fn every_command_of_the_usage_exists() {
    let host = Host::new();
    for (_, name, _) in cli::COMMANDS {
        let output = host.command().args([name, "--help"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}");
    }
    let version = host.command().arg("version").output().unwrap();
    assert_eq!(stdout(&version), format!("otelet {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bash_completes_commands_flags_and_the_words_of_a_choice() {
    let complete = |words: &[&str]| {
        let script = format!(
            "{}\nCOMP_WORDS=(otelet \"$@\") COMP_CWORD=$#\ncompopt() {{ :; }}\n_otelet\necho \"${{COMPREPLY[@]}}\"",
            cli::completions::bash()
        );
        std::process::Command::new("bash").args(["-c", &script, "bash"]).args(words).output()
    };
    let Ok(output) = complete(&["stat"]) else {
        println!("skipped: no bash here");
        return;
    };
    assert_eq!(stdout(&output), "status\n", "{}", super::host::stderr(&output));
    assert_eq!(stdout(&complete(&["--config-pol"]).unwrap()), "--config-poll-every=\n");
    assert_eq!(stdout(&complete(&["--collector-log", "=", ""]).unwrap()), "pass drop\n");
    assert_eq!(stdout(&complete(&["--collector-log", "=", "d"]).unwrap()), "drop\n");
    assert_eq!(stdout(&complete(&["--settings", "=", "/dev/nul"]).unwrap()), "/dev/null\n");
    assert_eq!(stdout(&complete(&["validate", "--config-url", "=", "/dev/nul"]).unwrap()), "/dev/null\n");
    assert_eq!(stdout(&complete(&["--report-url", "=", "s"]).unwrap()), "\n");
    // Each command is offered its own flags, and none that it refuses.
    assert_eq!(stdout(&complete(&["status", "--w"]).unwrap()), "--webhook-url= --webhook-every= --watch\n");
    assert_eq!(stdout(&complete(&["rollback", "--w"]).unwrap()), "--webhook-url= --webhook-every=\n");
    assert_eq!(stdout(&complete(&["version", "--"]).unwrap()), "--help --version\n");
    assert_eq!(stdout(&complete(&["help", "ru"]).unwrap()), "run\n");
}

#[test]
fn a_command_has_help_of_its_own() {
    let help = |command: &str| stdout(&Host::new().command().args(["help", command]).output().unwrap());
    assert!(help("run").starts_with("Run the agent. This is the default.\n"), "{}", help("run"));
    assert!(help("run").contains("\n  --config-url=URL ") && !help("run").contains("\n  --watch "));
    assert!(help("status").contains("\n  --watch ") && !help("status").contains("\n  --clear "));
    let unknown = Host::new().command().args(["help", "rum"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(64));
}
