//! Each message of `docs/troubleshooting.md` is what its command prints.

use std::fs;
use std::os::unix::fs::symlink;

use super::host::{COLLECTOR, Host, otelet};

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// The messages of the page, each with its command.
fn rows() -> Vec<(&'static str, &'static str)> {
    let section = |section: &'static str| {
        let (message, rest) = section.split_once("`\n").expect("a message in backticks");
        let (_, command) = rest.split_once("```console\n$ ").unwrap_or_else(|| panic!("{message}: no command"));
        (message, command.split_once("\n```").expect("the end of the block").0)
    };
    PAGE.split("\n### `").skip(1).map(section).collect()
}

/// Whether a text has the parts of a message in their order; `…` stands for anything.
fn says(text: &str, message: &str) -> bool {
    let mut rest = text;
    message.split('…').all(|part| match rest.split_once(part.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn each_message_of_the_page_is_provoked_by_its_command() {
    let (_, good) = PAGE.split_once("```yaml\n").unwrap();
    let good = good.split_once("```").unwrap().0;
    let rows = rows();
    assert!(rows.len() >= 20, "{} messages", rows.len());
    for (message, command) in rows {
        let host = Host::new();
        let (bin, work) = (host.path("bin"), host.path("work"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&work).unwrap();
        symlink(std::path::absolute(otelet()).unwrap(), bin.join("otelet")).unwrap();
        symlink(&*COLLECTOR, bin.join("otelcol")).unwrap();
        fs::write(work.join("good.yaml"), good).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());

        let output = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(&work)
            .env_clear()
            .env("PATH", path)
            // A machine may have a Collector and directories of its own.
            .env("OTELET_COLLECTOR_PATH", "otelcol")
            .env("OTELET_STATE_DIR", host.state_dir())
            .env("OTELET_RUNTIME_DIR", host.runtime_dir())
            .output()
            .unwrap();

        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(says(&told, message), "{command}\nprinted\n{told}\nwithout\n{message}");
    }
}
