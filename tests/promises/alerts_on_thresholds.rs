//! An alert fires when a value has been bad for long enough and is resolved when it is good again. The log, the status
//! and a webhook show it, across restarts of the agent and whatever the webhook does.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use otelet_wire::status::AlertState;
use otelet_wire::status::AlertStatus;
use serde_json::Value;

use super::host::{Agent, Host, PATIENCE, Signal, config, scripted, signal, wait_for, wait_until, wall};
use super::server::{Answer, Request, Server};

/// A restart may take this much longer than without a webhook.
const MOST: Duration = Duration::from_millis(200);

/// The collector's memory is bad above 200 MB and good again at 100 MB. The scripted collector has a few MB by itself
/// on Linux, and 50 under wine.
const RULE: &str = "name: hungry, metric: process.memory.usage, above: 2e8, resolve_at: 1e8";

/// A host whose collector holds as many MiB as a file says, and the webhook that receives its alerts.
struct Setup {
    host: Host,
    webhook: Server,
    file: PathBuf,
}

impl Setup {
    fn new(rule: &str) -> Self {
        let (host, webhook) = (Host::new(), Server::new());
        webhook.answer(Answer::status(200));
        host.set("host.sample_every", "100ms");
        host.set("alerts", &format!("[{{{RULE}, {rule}}}]"));
        host.set("webhook.url", &webhook.at("/api/v2/alerts"));
        host.set("webhook.every", "1s");
        let file = host.path("hold");
        Self { host, webhook, file }
    }

    fn config(&self) -> String {
        scripted("good", &[&format!("hold {}", self.file.display())])
    }

    fn agent(&self) -> Agent {
        let agent = self.host.agent_running(&self.config());
        self.wait_alert(&agent, |alert| alert.state == AlertState::Good);
        agent
    }

    /// Has the collector hold this many MiB from now on.
    fn hold(&self, megabytes: u32) {
        otelet::store::write_atomically(&self.file, megabytes.to_string().as_bytes()).unwrap();
    }

    /// Waits until this holds of the one alert in a fresh status.
    fn wait_alert(&self, agent: &Agent, holds: impl Fn(&AlertStatus) -> bool) -> AlertStatus {
        let look = || agent.status(&self.host).alerts.into_iter().next().filter(|alert| holds(alert));
        wait_for("the alert", look, || format!("{:#?}", agent.status(&self.host).alerts))
    }

    /// Waits for the first notification of the alert at the webhook.
    fn hears_it_fires(&self) -> Value {
        self.hears("an alert that fires", |_, fires| fires)
    }

    /// Waits for the resolution of this alert, and returns the notification.
    fn hears_the_end_of(&self, first: &Value) -> Value {
        self.hears("the end of an alert", |alert, fires| !fires && alert["labels"] == first["labels"])
    }

    fn hears(&self, what: &str, holds: impl Fn(&Value, bool) -> bool) -> Value {
        let find = |asked: &[Request]| asked.iter().flat_map(notifications).find(|(alert, fires)| holds(alert, *fires));
        let asked = self.webhook.wait_for(what, |asked| find(asked).is_some());
        find(&asked).unwrap().0
    }
}

fn alerts(body: &[u8]) -> Vec<Value> {
    let alerts: Value = serde_json::from_slice(body).expect("a batch is JSON");
    alerts.as_array().expect("it is a list").clone()
}

/// The alerts of a request, each with whether it fired when it was sent: its end is then in the future.
fn notifications(asked: &Request) -> Vec<(Value, bool)> {
    let arrived = SystemTime::now() - asked.at.elapsed();
    let fires = |alert: &Value| alert["endsAt"].as_str().unwrap() > otelet_core::units::rfc3339(arrived).as_str();
    alerts(&asked.body).into_iter().map(|alert| (alert.clone(), fires(&alert))).collect()
}

const FIRES: &str = "alert hungry (critical) fires: process.memory.usage";
/// A rule about the host's memory: always above one byte, never above an exabyte.
fn host_rule(above: &str) -> String {
    format!("[{{name: hungry, metric: system.memory.usage, above: {above}, severity: critical}}]")
}

const HOST_FIRES: &str = "alert hungry (critical) fires: system.memory.usage";
const HOST_RESOLVED: &str = "alert hungry resolved, it is good again: system.memory.usage";
const RESOLVED: &str = "alert hungry resolved, it is good again: process.memory.usage";

#[test]
fn an_alert_fires_after_a_while_and_is_resolved_at_resolve_at() {
    let setup = Setup::new("for: 1s, severity: critical, summary: too much memory, labels: {team: edge}");
    let agent = setup.agent();
    assert_eq!(setup.webhook.requests().len(), 0, "nobody is told that all is well");

    let begun = wall();
    setup.hold(250);
    let line = agent.logs(FIRES);

    assert!(wall() - begun >= Duration::from_secs(1), "it was bad for too short a time");
    assert!(line.contains("WARN") && line.contains("above 200000000 for "), "{line}");
    let heard = setup.hears_it_fires();
    let asked = &setup.webhook.requests()[0];
    assert_eq!((&*asked.method, &*asked.path), ("POST", "/api/v2/alerts"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let labels = &heard["labels"];
    assert_eq!(
        (&labels["alertname"], &labels["severity"], &labels["team"]),
        (&"hungry".into(), &"critical".into(), &"edge".into())
    );
    let status = agent.status(&setup.host);
    assert_eq!(labels["instance"], status.agent.instance_uid.as_str());
    assert_eq!(heard["annotations"]["summary"], "too much memory");
    assert_eq!(heard["annotations"]["threshold"], "above 200000000");
    let alert = &status.alerts[0];
    let said = (alert.state, &*alert.severity, &*alert.threshold);
    assert_eq!(said, (AlertState::Firing, "critical", "above 200000000"));
    assert_eq!(alert.since.as_deref(), heard["startsAt"].as_str());

    // Below the threshold, but not yet at resolve_at.
    setup.hold(120);
    setup.wait_alert(&agent, |alert| alert.value.is_some_and(|value| value < 2e8));
    let sent = setup.webhook.requests().len();
    setup.webhook.wait_for_requests(sent + 2);
    assert_eq!(setup.wait_alert(&agent, |_| true).state, AlertState::Firing);
    assert_eq!(agent.logged(RESOLVED), 0);

    setup.hold(0);
    assert!(agent.logs(RESOLVED).contains("INFO"));
    assert_eq!(setup.hears_the_end_of(&heard)["startsAt"], heard["startsAt"]);
    setup.wait_alert(&agent, |alert| alert.state == AlertState::Good);
    assert_eq!((agent.logged(FIRES), agent.logged(RESOLVED)), (1, 1));
}

#[test]
fn an_alert_keeps_firing_after_the_agent_was_killed_and_the_next_agent_resolves_it() {
    // A collector needs little memory just after its start. The host's memory is always above one byte.
    let setup = Setup::new("severity: critical");
    setup.host.set("alerts", &host_rule("1"));
    let mut agent = setup.host.agent_running(&setup.config());
    agent.logs(HOST_FIRES);
    let first = setup.hears_it_fires();
    kept(&setup.host, "hungry");

    agent.kill();
    let so_far = setup.webhook.requests().len();
    let agent = setup.host.agent().start();
    setup.webhook.wait_for_requests(so_far + 2);
    setup.wait_alert(&agent, |alert| alert.state == AlertState::Firing);

    let again = alerts(&setup.webhook.requests()[so_far].body);
    let same = again.iter().find(|alert| alert["labels"] == first["labels"]).expect("it has the same labels");
    assert_eq!(same["startsAt"], first["startsAt"]);
    setup.host.change(&agent, "alerts", &host_rule("1e18"));
    agent.logs(HOST_RESOLVED);
    assert_eq!(setup.hears_the_end_of(&first)["startsAt"], first["startsAt"]);
    assert_eq!(agent.logged(HOST_FIRES), 0, "it had fired already");
    wait_until("an empty state", || !alerts_file(&setup.host).contains("hungry"));
}

fn alerts_file(host: &Host) -> String {
    fs::read_to_string(otelet::tell::alerts::path(&host.state_dir())).unwrap_or_default()
}

/// Waits until the file of alerts holds this.
fn kept(host: &Host, what: &str) {
    wait_until("the state of the alerts", || alerts_file(host).contains(what));
}

#[test]
fn an_unsent_resolution_is_sent_by_the_next_agent() {
    let setup = Setup::new("severity: critical");
    let mut agent = setup.agent();
    setup.hold(250);
    let first = setup.hears_it_fires();
    setup.webhook.answer(Answer::status(503));
    setup.hold(0);
    agent.logs(RESOLVED);
    agent.logs("alerts not taken by the webhook: ");
    kept(&setup.host, "resolved_at");

    agent.kill();
    setup.webhook.answer(Answer::status(200));
    let _agent = setup.host.agent().start();

    assert_eq!(setup.hears_the_end_of(&first)["startsAt"], first["startsAt"]);
    wait_until("an empty state", || !alerts_file(&setup.host).contains("resolved_at"));
}

#[test]
fn alerts_work_without_any_server() {
    let setup = Setup::new("severity: critical");
    setup.host.unset("webhook.url");
    setup.host.unset("webhook.every");
    let mut agent = setup.host.agent_running(&setup.config());
    assert_eq!(agent.stop(), 0);
    setup.host.unset("config.url");

    let agent = setup.host.agent().start();
    setup.hold(250);
    agent.logs(FIRES);
    assert_eq!(setup.wait_alert(&agent, |alert| alert.state == AlertState::Firing).name, "hungry");
    setup.hold(0);

    agent.logs(RESOLVED);
    assert_eq!(setup.webhook.requests().len(), 0);
}

/// Kills the collector, and returns the time until the next one has started.
fn restart(host: &Host) -> Duration {
    let count = host.starts().len();
    let killed = wall();
    signal(host.collector(), Signal::KILL);
    host.started(count + 1).at.saturating_sub(killed)
}

fn threads(agent: &Agent) -> usize {
    fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().count()
}

#[test]
fn a_webhook_that_stalls_delays_nothing_and_is_one_thread() {
    let setup = Setup::new("severity: critical");
    setup.host.set("alerts", "[]");
    setup.host.set("config.poll_every", "24h");
    setup.host.set("config.timeout", "600s");
    setup.host.set("collector.probation", "0s");
    let agent = setup.host.agent_running(&setup.config());
    let baseline = restart(&setup.host);
    // Another config, so that the next crash counts as the first one.
    let second = setup.config().replace("{debug: {}", "{debug/second: {}, debug: {}");
    setup.host.server.offer(&*second);
    agent.signal(Signal::HUP);
    agent.applied(&second);
    let before = threads(&agent);

    setup.webhook.answer(Answer::Stall);
    setup.host.change(&agent, "alerts", &host_rule("1"));
    agent.logs(HOST_FIRES);
    setup.webhook.wait_for_requests(1);
    let gap = restart(&setup.host);
    let fired = agent.logged(HOST_FIRES);
    setup.host.change(&agent, "alerts", &host_rule("1e18"));
    agent.logs(HOST_RESOLVED);
    setup.host.change(&agent, "alerts", &host_rule("1"));
    agent.logs_times(HOST_FIRES, fired + 1);

    assert!(gap <= baseline + MOST, "{gap:?}, and {baseline:?} without a webhook");
    assert_eq!(setup.webhook.requests().len(), 1, "never a second one while one is out");
    let few = || (threads(&agent) <= before + 1).then_some(());
    wait_for("one thread more", few, || format!("{before} threads before, {} now", threads(&agent)));
}

#[test]
fn a_webhook_that_refuses_is_logged_once_and_counted_and_leaks_nothing() {
    let setup = Setup::new("severity: critical");
    setup.webhook.answer(Answer::Status(429, vec![("Retry-After".into(), "1".into())], Vec::new()));
    let agent = setup.agent();
    let open = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    let before = open();
    setup.hold(250);

    setup.webhook.wait_for_requests(4);

    let line = agent.logs("alerts not taken by the webhook: ");
    assert!(line.contains("answered 429; check webhook.url and webhook.headers; next try in 1s"), "{line}");
    let status = agent.status(&setup.host);
    assert!(status.webhook.failed >= 3 && status.webhook.sent == 0, "{:?}", status.webhook);
    assert!(status.webhook.last_error.unwrap().contains("answered 429"));
    setup.webhook.answer(Answer::status(202));
    agent.wait_status("no error", |status| status.webhook.last_error.is_none());
    assert_eq!(agent.logged("alerts not taken by the webhook: "), 1);
    wait_for("as few descriptors as before", || (open() <= before).then_some(()), || format!("{before}, {}", open()));
}

#[test]
fn a_secret_header_is_sent_and_never_shown() {
    const SECRETS: [&str; 2] = ["s3cret-hook-header", "s3cret-hook-query"];
    let setup = Setup::new("severity: critical, summary: 'says s3cret-hook-header'");
    setup.host.set("webhook.headers", "{Authorization: Bearer s3cret-hook-header}");
    setup.host.set("webhook.url", &format!("'{}'", setup.webhook.at("/alerts?key=s3cret-hook-query")));
    setup.host.set("log_level", "trace");
    setup.webhook.answer_once(Answer::status(401));
    let agent = setup.agent();
    setup.hold(250);
    agent.logs("alerts not taken by the webhook: ");
    let heard = setup.hears_it_fires();

    let asked = &setup.webhook.requests()[0];
    assert_eq!(asked.header("authorization"), Some("Bearer s3cret-hook-header"));
    assert!(asked.path.ends_with("?key=s3cret-hook-query"), "{}", asked.path);
    assert_eq!(heard["annotations"]["summary"], "says <redacted>");
    let json = serde_json::to_string(&agent.status(&setup.host)).unwrap();
    for (what, text) in [("log", agent.log()), ("status", json), ("batch", heard.to_string())] {
        assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{what}: {text}");
    }
}

#[test]
fn an_alerts_file_that_cannot_be_read_or_written_is_logged_and_stops_nothing() {
    let setup = Setup::new("severity: critical");
    let path = otelet::tell::alerts::path(&setup.host.state_dir());
    fs::create_dir(setup.host.state_dir()).unwrap();
    fs::write(&path, "{\"version\": 1, \"firi").unwrap();
    let mut agent = setup.agent();
    assert!(agent.logs("alerts start anew").contains("alerts.json"));
    agent.kill();

    // A directory in the file's place makes each write fail, as a full disk would.
    fs::create_dir(&path).unwrap();
    let agent = setup.host.agent().start();
    setup.hold(250);
    agent.logs(FIRES);
    setup.hears_it_fires();
    let line = agent.logs("cannot write the state of the alerts: ");
    assert!(line.contains("all goes on from memory"), "{line}");
    fs::remove_dir(&path).unwrap();

    kept(&setup.host, "hungry");
    assert_eq!(agent.logged("cannot write the state of the alerts: "), 1);
}

#[test]
fn another_threshold_takes_effect_without_a_restart() {
    let setup = Setup::new("severity: critical");
    let agent = setup.agent();
    setup.hold(250);
    agent.logs(FIRES);
    let first = setup.hears_it_fires();

    setup.host.change(
        &agent,
        "alerts",
        "[{name: hungry, metric: process.memory.usage, above: 6e8, severity: critical}]",
    );

    agent.logs(RESOLVED);
    assert_eq!(setup.hears_the_end_of(&first)["startsAt"], first["startsAt"]);
    setup.host.change(&agent, "alerts", &format!("[{{{RULE}, severity: critical}}]"));
    agent.logs_times(FIRES, 2);
    setup.host.change(&agent, "alerts", "[]");
    agent.logs("alert hungry resolved, it is no longer in the settings: ");
    assert_eq!(agent.status(&setup.host).alerts, []);
}

/// A real Alertmanager on loopback; dropping it ends it.
struct Alertmanager {
    child: Child,
    address: String,
}

impl Alertmanager {
    /// Returns none if it is not installed.
    fn start(dir: &Path) -> Option<Self> {
        const CONFIG: &str = "route: {receiver: none}\nreceivers: [{name: none}]\n";
        fs::write(dir.join("alertmanager.yml"), CONFIG).unwrap();
        // The port was free a moment ago, and no other program on a machine that runs tests takes it in between.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", dir.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Some(Self { child, address }),
            Err(error) => {
                println!("skipped: prometheus-alertmanager cannot be run: {error}; install the package of that name");
                None
            }
        }
    }

    /// The active alerts, as its API shows them; none if it does not answer.
    fn alerts(&self) -> Option<Vec<Value>> {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET /api/v2/alerts HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.0 200"), "{answer}");
        Some(alerts(body.as_bytes()))
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs a real Alertmanager: cargo xtask check --real"]
fn a_real_alertmanager_accepts_an_alert_and_its_resolution() {
    let setup = Setup::new("severity: critical, summary: too much memory, labels: {team: edge}");
    let Some(alertmanager) = Alertmanager::start(&setup.host.path("")) else { return };
    wait_for("Alertmanager", || alertmanager.alerts(), String::new);
    setup.host.set("webhook.url", &format!("http://{}/api/v2/alerts", alertmanager.address));
    let agent = setup.agent();

    setup.hold(250);
    agent.logs(FIRES);
    let taken =
        wait_for("the alert", || alertmanager.alerts()?.into_iter().next(), || format!("{:?}", alertmanager.alerts()));

    let since = setup.wait_alert(&agent, |alert| alert.state == AlertState::Firing).since.unwrap();
    assert_eq!(taken["status"]["state"], "active", "{taken:#}");
    assert_eq!((&taken["labels"]["alertname"], &taken["labels"]["team"]), (&"hungry".into(), &"edge".into()));
    assert_eq!(taken["annotations"]["summary"], "too much memory");
    assert_eq!(taken["startsAt"].as_str().unwrap()[..19], since[..19]);

    // Repetitions and a restart of the agent leave it one alert.
    agent.wait_status("some repetitions", |_| agent.status(&setup.host).webhook.sent >= 3);
    let fingerprints =
        |alerts: Vec<Value>| alerts.into_iter().map(|one| one["fingerprint"].clone()).collect::<Vec<_>>();
    assert_eq!(fingerprints(alertmanager.alerts().unwrap()), [taken["fingerprint"].clone()]);

    // Without a message from the agent, it would expire four minutes from now.
    setup.host.change(&agent, "webhook.every", "1m");
    let far = || otelet_core::units::rfc3339(SystemTime::now() + PATIENCE * 6);
    wait_until("a later end", || alertmanager.alerts().unwrap()[0]["endsAt"].as_str().unwrap() > far().as_str());
    setup.hold(0);
    agent.logs(RESOLVED);
    // The API lists active alerts only.
    wait_until("an Alertmanager without alerts", || alertmanager.alerts().is_some_and(|alerts| alerts.is_empty()));
    let status = agent.status(&setup.host);
    assert_eq!((status.webhook.failed, status.webhook.last_error), (0, None));
}

#[test]
fn a_rule_that_can_never_fire_is_refused_with_its_place() {
    let host = Host::new();
    host.server.offer(config("good"));
    for (alert, problem) in [
        (
            "name: a, metric: proces.memory.usage, above: 1",
            "alerts[0].metric: unknown metric \"proces.memory.usage\"; did you mean process.memory.usage?",
        ),
        (
            "name: a, metric: process.memory.usage, above: 1, labels: {my-team: a}",
            "alerts[0].labels.my-team: not the name of a label; use letters, digits and _, and no digit first",
        ),
    ] {
        host.set("alerts", &format!("[{{{alert}}}]"));
        let output = host.otelet(&["run"]);
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(problem), "{said}");
    }
}
