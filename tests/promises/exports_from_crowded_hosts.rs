//! A host with many containers or interfaces still exports its CPU, memory, disks and events, and says once what does not
//! fit.

use std::process::Command;

use super::engine::{Engine, EngineAnswer, event, listed};
use super::exports_once::{exporting, metrics, records, status_when};
use super::host::config;

#[test]
fn two_hundred_containers_cost_neither_cpu_and_memory_nor_events() {
    let (host, sink) = exporting();
    host.set("export.buffer", "256KiB");
    host.set("host.sample_every", "500ms");
    host.set("docker.usage_every", "1s");
    let engine = Engine::new(&host);
    let names: Vec<String> = (0..200).map(|number| format!("web{number}x")).collect();
    let all: Vec<String> = names.iter().map(|name| listed(name, "Up 5 minutes")).collect();
    engine.answers("/containers/json", EngineAnswer::Body(format!("[{}]", all.join(","))));
    let stats = r#"{"read":"2026-11-25T15:58:28.5Z","cpu_stats":{"cpu_usage":{"total_usage":1500000000}},
        "memory_stats":{"usage":1000,"limit":2000},"networks":{"eth0":{"rx_bytes":11,"tx_bytes":22}}}"#;
    for name in &names {
        let details = r#"{"State":{"StartedAt":"2026-11-25T15:58:18Z"}}"#;
        engine.answers(&format!("/containers/{name}0123456789abcdef/json"), EngineAnswer::Body(details.into()));
        engine.answers(&format!("/containers/{name}0123456789abcdef/stats"), EngineAnswer::Body(stats.into()));
    }
    host.set("docker.socket", &Engine::path(&host).display().to_string());
    let agent = host.agent_running(&config("good"));
    engine.was_asked("/events", 1);

    let said = agent.logs("export.buffer (256KiB) is too small for all that is measured here: ");
    assert!(said.contains(" points of containers are left out of each sample"), "{said}");
    engine.tell(&event("die", "web7x", 1, ""));
    let later = sink.requests().len();
    let asked = sink.wait_for("CPU, memory, containers and the event", |asked| {
        let metrics = metrics(&asked[later.min(asked.len())..]);
        let names = ["system.cpu.time", "system.memory.usage", "container.cpu.time", "otelet.uptime"];
        names.iter().all(|name| metrics.get(*name).is_some_and(|metric| metric.points.len() > 8))
            && records(asked).iter().any(|record| record.event_name == "docker.container.die")
    });
    assert!(asked.iter().all(|asked| asked.body.len() <= 300 * 1024), "no request is much larger than a batch");
    let status = status_when(&host, &agent, |status| status.losses.export.dropped_points > 0);
    assert!(status.export.buffer_bytes <= 256 * 1024, "{:#?}", status.export);
    assert_eq!(status.losses.export.dropped_records, 0);
    assert_eq!(agent.logged("export.buffer"), 1, "said once");
}

/// Runs a test of this file in a network namespace of its own, which this shell script fills first.
fn in_a_network(script: &str, test: &str) -> Option<String> {
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture", "--test-threads=1"])
        .env("OTELET_TEST_NETWORK", "own")
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.code() {
        Some(0) => Some(said(&output.stdout)),
        Some(77) => {
            println!("skipped: {}", said(&output.stderr).trim());
            None
        }
        _ => panic!("{}\n{}", said(&output.stdout), said(&output.stderr)),
    }
}

#[test]
#[ignore = "needs root for interfaces of its own: cargo xtask check --real"]
fn two_thousand_interfaces_cost_neither_cpu_and_memory_nor_events() {
    // Half of them are named as container engines name them.
    let script = "ip link set lo up || { echo no ip >&2; exit 77; }\n\
        for n in $(seq 1000); do echo link add veth$n type veth peer name port$n; done | ip -batch - || \
        { echo no interfaces can be made here >&2; exit 77; }\nexec \"$@\"";
    let Some(said) = in_a_network(script, "exports_from_crowded_hosts::beside_two_thousand_interfaces") else { return };
    let line = said.lines().find(|line| line.contains("KiB of memory")).unwrap_or_else(|| panic!("{said}"));
    println!("{line}");
}

#[test]
#[ignore = "needs root for interfaces of its own: is started by the test above"]
fn beside_two_thousand_interfaces() {
    if std::env::var_os("OTELET_TEST_NETWORK").is_none() {
        return;
    }
    let (host, sink) = exporting();
    host.set("host.sample_every", "500ms");
    let agent = host.agent_running(&config("good"));

    agent.logs("1000 network interfaces are not measured: on a host with more than 128 of a kind");
    let said = agent.logs("export.buffer (1MiB) is too small for all that is measured here: ");
    assert!(said.contains(" points of network interfaces are left out of each sample"), "{said}");
    let samples =
        |asked: &[super::server::Request]| metrics(asked).get("otelet.host.left_out").map_or(0, |it| it.points.len());
    let asked = sink.wait_for("five samples", |asked| samples(asked) >= 5);

    let metrics = metrics(&asked);
    for name in ["system.cpu.time", "system.memory.usage", "system.network.io"] {
        assert!(metrics[name].points.len() >= 5, "{name}");
    }
    let interfaces = metrics["system.network.io"].points.len() / 2 / samples(&asked).max(1);
    assert!(interfaces > 50, "{interfaces}");
    assert!(records(&asked).iter().any(|record| record.event_name == "otelet.config.applied"));
    assert_eq!(agent.logged("export.buffer"), 1, "said once");
    let status = agent.status(&host);
    println!(
        "{} KiB of memory, {} bytes in the largest export, {interfaces} interfaces in it",
        status.agent.memory_bytes.unwrap_or(0) / 1024,
        asked.iter().map(|asked| asked.body.len()).max().unwrap_or(0),
    );
}
