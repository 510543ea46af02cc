//! The agent does not end when its collector is missing or cannot run: it says why, keeps polling, and starts the
//! collector when it is back.

use std::fs;
use std::path::Path;

use otelet_wire::status::CollectorState;

use super::host::{COLLECTOR, Host, Signal, config, signal};
use super::system::set_mode;

fn install(path: &Path) {
    let new = path.with_extension("new");
    fs::copy(&*COLLECTOR, &new).unwrap();
    fs::rename(new, path).unwrap();
}

/// A machine number that no processor has, so that no emulator is registered for it here.
const UNUSED_MACHINE: u16 = 0xfeed;

/// The collector with another machine in its ELF header.
fn install_for_another_architecture(path: &Path) {
    let mut program = fs::read(&*COLLECTOR).unwrap();
    program[18..20].copy_from_slice(&UNUSED_MACHINE.to_ne_bytes());
    fs::write(path, program).unwrap();
    set_mode(path, 0o755);
}

/// A host whose collector is a copy of its own, so that the test can take it away.
fn host() -> Host {
    let host = Host::new();
    host.set("collector.path", &host.path("otelcol").display().to_string());
    host
}

#[test]
fn a_collector_that_vanished_is_started_when_it_is_back() {
    let foreign = format!("is built for machine {UNUSED_MACHINE}, this host is {}", std::env::consts::ARCH);
    type Trouble<'a> = (&'a dyn Fn(&Path), &'a str);
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let forbid = |path: &Path| set_mode(path, 0o644);
    let replace = |path: &Path| {
        fs::remove_file(path).unwrap();
        install_for_another_architecture(path);
    };
    let troubles: [Trouble; 3] = [
        (&remove, "no such file; set collector.path or put the collector there"),
        (&forbid, "permission denied; is it executable, and is its file system mounted noexec?"),
        (&replace, &foreign),
    ];
    let good = config("good");
    // All three at once, since the agent looks for it every few seconds only.
    let hosts: Vec<_> = troubles
        .iter()
        .map(|(trouble, complaint)| {
            let host = host();
            install(&host.path("otelcol"));
            let agent = host.agent_running(&good);
            trouble(&host.path("otelcol"));
            signal(host.collector(), Signal::KILL);
            (host, agent, complaint)
        })
        .collect();

    for (host, agent, complaint) in &hosts {
        let status = agent.wait_status("a held collector", |status| status.collector.state == CollectorState::Held);
        let trouble = status.collector.trouble.unwrap();
        assert!(trouble.contains(**complaint), "{trouble}");
        let line = agent.logs("collector cannot be started: ");
        assert!(line.contains(**complaint), "{line}");
        host.more_polls(3);
        install(&host.path("otelcol"));
    }

    for (host, agent, _) in &hosts {
        assert_eq!(host.started(2).label(), "good");
        agent.applied(&good);
        assert_eq!(agent.logged("collector cannot be started: "), 1, "said once");
    }
}

#[test]
fn a_first_config_waits_for_the_collector_that_is_to_validate_it() {
    let host = host();
    let first = config("first");
    host.server.offer(&*first);
    let agent = host.agent().start();
    let line = agent.logs("cannot be validated: ");
    assert!(line.contains("no such file"), "{line}");
    let message = agent.failed(&first);
    assert!(message.contains("no such file"), "{message}");

    install(&host.path("otelcol"));

    let status = agent.applied(&first);
    assert!(status.config.refused.is_empty(), "a missing collector is not the config's fault");
}

#[test]
fn a_collector_put_elsewhere_is_used_as_soon_as_the_settings_say_so() {
    let host = host();
    install(&host.path("otelcol"));
    let agent = host.agent_running(&config("good"));
    fs::remove_file(host.path("otelcol")).unwrap();
    signal(host.collector(), Signal::KILL);
    agent.wait_status("a held collector", |status| status.collector.state == CollectorState::Held);

    host.set("collector.path", &COLLECTOR);
    agent.signal(Signal::HUP);

    assert_eq!(host.started(2).label(), "good");
}

#[test]
fn a_name_is_looked_up_on_path() {
    let host = Host::new();
    fs::create_dir(host.path("bin")).unwrap();
    let program = host.path("bin").join(format!("otelcol-edge{}", std::env::consts::EXE_SUFFIX));
    install(&program);
    host.unset("collector.path");
    host.server.offer(config("first"));

    let agent = host.agent().env("PATH", host.path("bin").display().to_string()).start();

    let pid = host.runs("first");
    assert_eq!(super::host::command_line(pid)[0], program.display().to_string());
    drop(agent);
}
