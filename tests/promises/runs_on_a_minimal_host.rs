//! A minimal host is enough: `localhost` need not resolve, port 8888 may be taken, IPv4 may be missing, and the agent's
//! parent may leave descriptors open.

use std::fs;
use std::net::TcpListener;

use serde_yaml::Value;

use super::host::{Agent, Host, config, wait_until};

/// The exporter of the collector's own metrics in the overlay of its last start; none if the overlay leaves it alone.
fn reader(host: &Host) -> Option<(String, u64)> {
    let text = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap_or_default();
    let overlay: Value = serde_yaml::from_str(&text).unwrap();
    let reader = &overlay["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
    Some((reader["host"].as_str()?.to_owned(), reader["port"].as_u64()?))
}

#[test]
fn the_port_of_the_collectors_own_metrics_is_another_one_only_where_it_is_taken() {
    // If another program of this machine has the port, it is taken all the same.
    let Ok(taken) = TcpListener::bind("127.0.0.1:8888") else { return };
    drop(taken);
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    if TcpListener::bind("127.0.0.1:8888").is_ok() {
        assert_eq!(reader(&host), None);
    }

    let _taken = TcpListener::bind("127.0.0.1:8888");
    host.server.offer(config("better"));
    agent.applied(&config("better"));

    let (at, port) = reader(&host).expect("port 8888 is taken");
    assert_eq!(at, "127.0.0.1");
    assert!(port != 8888 && port > 0, "{port}");
    let line = agent.logs("localhost:8888 cannot be used here; the collector's own metrics are at http://127.0.0.1:");
    assert!(line.contains(&format!(":{port}/metrics")), "{line}");

    let own = "telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: 9}}}}]}}";
    let body = config("own").replace("  pipelines:", &format!("  {own}\n  pipelines:"));
    host.server.offer(&*body);
    agent.applied(&body);
    assert_eq!(reader(&host), None, "a config that sets it is left alone");
}

/// An agent that is started in namespaces which this shell script prepares; none if that cannot be done here.
fn elsewhere(host: &Host, body: &str, namespace: &str, script: &str) -> Option<Agent> {
    let possible = std::process::Command::new("unshare").args([namespace, "sh", "-c", script, "sh", "true"]).output();
    match possible {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Err(error) => {
            println!("skipped: unshare: {error}");
            return None;
        }
    }
    // The server of the kit is on the other side.
    fs::write(host.path("site.yaml"), body).unwrap();
    host.set("config.url", &host.path("site.yaml").display().to_string());
    Some(host.agent().under(&["unshare", namespace, "sh", "-c", script, "sh"]).start())
}

#[test]
#[ignore = "needs root for a hosts file of its own: cargo xtask check --real"]
fn the_collectors_own_metrics_need_no_name_for_localhost() {
    let host = Host::new();
    let hosts = host.path("hosts");
    fs::write(&hosts, "172.17.0.2 4f1c0e\n").unwrap();
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let Some(agent) = elsewhere(&host, &config("good"), "--mount", &script) else { return };

    agent.applied(&config("good"));

    let (at, port) = reader(&host).expect("localhost does not resolve");
    assert_eq!(at, "127.0.0.1");
    assert!(port == 8888 || TcpListener::bind("127.0.0.1:8888").is_err(), "{port} and 8888 is free");
}

#[test]
#[ignore = "needs a real Collector, and root for a hosts file and a network of its own: cargo xtask check --real"]
fn a_real_collector_starts_where_localhost_does_not_resolve() {
    let program = std::env::var("OTELET_COLLECTOR").expect("OTELET_COLLECTOR names a real Collector");
    for script in [
        "mount --bind HOSTS /etc/hosts && ip link set lo up && exec \"$@\"",
        "mount --bind HOSTS /etc/hosts && ip link set lo up && ip address del 127.0.0.1/8 dev lo && exec \"$@\"",
    ] {
        let host = Host::new();
        host.set("collector.path", &program);
        fs::write(host.path("hosts"), "172.17.0.2 4f1c0e\n").unwrap();
        let script = script.replace("HOSTS", &host.path("hosts").display().to_string());
        let body = "receivers: {otlp: {protocols: {http: {endpoint: '[::1]:0'}}}}\nexporters: {debug: {}}\n\
                    service: {pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}}\n";
        let Some(agent) = elsewhere(&host, body, "-mn", &script) else { return };

        let status = agent.applied(body);

        assert_eq!((status.collector.witness.as_deref(), status.collector.restarts), (Some("health_check"), 0));
        assert_eq!(reader(&host).unwrap().1, 8888);
    }
}

#[test]
#[ignore = "needs root for a network without IPv4: cargo xtask check --real"]
fn a_host_without_ipv4_has_a_witness_and_exports_to_its_collector() {
    let host = Host::new();
    host.set("export.to", "collector");
    host.set("export.every", "100ms");
    let script = "ip link set lo up && ip address del 127.0.0.1/8 dev lo && exec \"$@\"";
    let piped =
        "    metrics: {receivers: [otlp], exporters: [debug]}\n    logs: {receivers: [otlp], exporters: [debug]}\n";
    let body = config("good").replace("    traces: {receivers: [otlp], exporters: [debug]}\n", piped);
    let Some(agent) = elsewhere(&host, &body, "--net", script) else { return };

    let status = agent.applied(&body);

    assert_eq!(status.collector.witness.as_deref(), Some("health_check"));
    let overlay = fs::read_to_string(host.runtime_dir().join("overlay.yaml")).unwrap();
    assert!(overlay.contains("health_check/otelet: {endpoint: \"[::1]:"), "{overlay}");
    let logs = status.export.logs_to.unwrap();
    assert!(logs.starts_with("http://[::1]:"), "{logs}");
    let sent = agent.wait_status("an export", |status| status.export.sent > 0);
    assert_eq!(sent.export.last_error, None);
    assert_eq!(reader(&host), Some(("::1".into(), 8888)), "127.0.0.1, which localhost is, is not there");
}

#[test]
fn children_inherit_their_own_three_descriptors_and_no_other() {
    let host = Host::new();
    let [held, program, of_collector, of_check] = ["held", "otelcol", "collector", "check"].map(|name| host.path(name));
    // Lists its own descriptors and becomes the collector. Descriptors from 10 on are the shell's own.
    let list = |file: &std::path::Path| {
        format!(
            "for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$n ] && echo $n; done >{0}.new; mv {0}.new {0}",
            file.display()
        )
    };
    let script = format!("#!/bin/sh\n{}\nexec {} \"$@\"\n", list(&of_collector), &**super::host::COLLECTOR);
    fs::write(&program, script).unwrap();
    super::system::set_mode(&program, 0o755);
    host.set("collector.path", &program.display().to_string());
    let check = serde_json::to_string(&["sh", "-c", &list(&of_check)]).unwrap();
    host.set("checks", &format!("[{{name: mine, exec: {check}, every: 1s}}]"));
    let opened = format!("exec 4<>{0} 7<>{0} 9</dev/null; exec \"$@\"", held.display());
    host.server.offer(config("good"));

    let agent = host.agent().under(&["sh", "-c", &opened, "sh"]).start();

    agent.applied(&config("good"));
    wait_until("the check to run", || of_check.exists());
    for file in [of_collector, of_check] {
        // While they list, their output is the file itself.
        assert_eq!(fs::read_to_string(&file).unwrap(), "0\n1\n2\n", "{}", file.display());
    }
}
