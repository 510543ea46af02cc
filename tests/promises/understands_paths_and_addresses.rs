//! Paths and addresses in the settings are understood where it is plain what is meant, and otherwise refused with the
//! form that is wanted.

use super::host::{Host, config, stderr};

#[cfg(unix)]
#[test]
fn a_state_directory_with_a_colon_is_no_uri() {
    let host = Host::new();
    host.set("state_dir", &host.path("state:2").display().to_string());
    host.set("runtime_dir", &host.path("run:2").display().to_string());
    host.server.offer(config("good"));

    let agent = host.agent().start();

    agent.logs("collector healthy");
    assert_eq!(host.started(1).label(), "good");
}

#[test]
fn what_a_file_of_variables_puts_around_a_value_is_left_out() {
    let host = Host::new();
    let url = host.server.url();
    host.unset("config.url");
    host.server.offer(config("good"));

    // As `docker --env-file` keeps them, and as a file with line ends of Windows leaves it.
    for value in [format!("\"{url}\""), format!("{url}\r")] {
        let before = host.server.requests().len();
        let mut agent = host.agent().env("OTELET_CONFIG_URL", value).start();
        host.server.wait_for_requests(before + 1);
        agent.stop();
    }
}

#[test]
fn another_form_is_refused_with_the_one_that_is_wanted() {
    for (key, value, words) in [
        ("config.url", "wss://opamp.example/v1/opamp", "not over a WebSocket; write https:// instead of wss://"),
        ("config.url", "grpc://collector.example:4317", "gRPC is not spoken; write http:// or https://"),
        ("config.url", "config.example:8080/site.yaml", "a host with a port needs http:// or https:// in front"),
        ("config.url", "~/site.yaml", "~ is not replaced here"),
        ("config.url", "$HOME/site.yaml", "a variable is written ${env:NAME} here"),
        ("config.url", "'\"https://config.example/\"'", "quotation marks of its own around it; leave them out"),
        ("config.ca_file", "https://config.example/ca.pem", "this is a URL; write the path of a file on this host"),
        ("state_dir", "~/otelet", "~ is not replaced here"),
        ("collector.path", "~/bin/otelcol", "~ is not replaced here"),
        ("webhook.url", "alerts.example/api", "write http:// or https:// in front of the host"),
        ("docker.socket", "ssh://me@engine.example", "write the path of the socket, unix:///PATH, or tcp://HOST:PORT"),
        ("checks", "[{http: intranet.example/health}]", "write http:// or https:// in front of the host"),
        ("checks", "[{tcp: 10.0.0.5}]", "write host:port, such as 10.0.0.5:443"),
        ("checks", "[{tcp: \"http://10.0.0.5/\"}]", "write host:port, or use http instead of tcp"),
        ("checks", "[{dns: \"db.example:53\"}]", "a name is looked up without a port; write db.example, or use tcp"),
        ("checks", "[{dns: \"https://db.example\"}]", "write the name alone"),
        ("checks", "[{http: \"http://a.example/\", status: [200, 204]}]", "expected CODES such as 200,204,300-399"),
    ] {
        let host = Host::new();
        host.set(key, value);

        let output = host.otelet(&["run"]);

        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{key}: {value}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{key}: {value}: {said}");
    }
}

#[test]
fn a_form_that_is_plain_is_understood() {
    let host = Host::new();
    host.server.offer(config("good"));
    let address = host.server.addr();
    host.set(
        "checks",
        &format!(
            "[{{name: open, tcp: \"tcp://{address}\"}}, {{name: web, http: \"{}\", status: 200}}]",
            host.server.url()
        ),
    );
    let token = host.path("token");
    std::fs::write(&token, "t").unwrap();
    if cfg!(unix) {
        host.set("config.bearer_token_file", &format!("file://{}", token.display()));
    }

    let agent = host.agent().start();

    agent.wait_status("the checks", |status| status.checks.iter().filter(|check| check.ok == Some(true)).count() >= 2);
}
