//! An OpAMP server manages the agent. The server is the reference library, on which `tests/opamp-server` is built.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use super::host::{Agent, Host, PATIENCE, config, hash, scripted};
use super::tap::Tap;

/// The server's program, or the reason why it cannot be built here. An error of the compiler fails the test.
fn program() -> &'static Result<PathBuf, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/opamp-server");
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("opamp-server");
        let go = |arguments: &[&str]| Command::new("go").args(arguments).current_dir(source).output();
        match go(&["mod", "download"]) {
            Err(error) => return Err(format!("no Go here: {error}")),
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("its modules cannot be had: {}", said.lines().next_back().unwrap_or_default()));
            }
            Ok(_) => {}
        }
        let built = go(&["build", "-o", program.to_str().unwrap(), "."]).unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Ok(program)
    })
}

/// A server, and all messages that it has printed.
struct Server {
    process: Child,
    stdin: ChildStdin,
    heard: Arc<(Mutex<Vec<Value>>, Condvar)>,
    url: String,
}

impl Server {
    fn new() -> Option<Self> {
        let program = match program() {
            Ok(program) => program,
            Err(why) => {
                println!("skipped: tests/opamp-server was not run: {why}");
                return None;
            }
        };
        let mut process = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let heard = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let said = heard.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                said.0.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                said.1.notify_all();
            }
        });
        let mut server = Self { process, stdin, heard, url: String::new() };
        server.url = server.listening(0);
        Some(server)
    }

    /// Gives a command, and waits until the server has confirmed it.
    fn tell(&mut self, command: Value) {
        let event = if command["do"] == "listen" { "listening" } else { "done" };
        let before = self.count(event);
        writeln!(self.stdin, "{command}").unwrap();
        self.wait_for(&format!("{command} to be taken"), |heard| {
            (heard.iter().filter(|said| said["event"] == event).count() > before).then_some(())
        });
    }

    fn offer(&mut self, hash: &str, body: &str) {
        self.tell(json!({"do": "offer", "hash": hash, "files": {"": body}}));
    }

    /// Starts one more listener, and returns its URL.
    fn listen(&mut self, number: usize, command: Value) -> String {
        self.tell(command);
        self.listening(number)
    }

    fn listening(&self, number: usize) -> String {
        self.wait_for("a listener", |heard| {
            let said = heard.iter().find(|said| said["event"] == "listening" && said["listener"] == number)?;
            Some(said["url"].as_str().unwrap().to_owned())
        })
    }

    fn count(&self, event: &str) -> usize {
        self.heard.0.lock().unwrap().iter().filter(|said| said["event"] == event).count()
    }

    fn wait_for<T>(&self, what: &str, look: impl Fn(&[Value]) -> Option<T>) -> T {
        let (mut heard, limit) = (self.heard.0.lock().unwrap(), Instant::now() + PATIENCE);
        loop {
            if let Some(found) = look(&heard) {
                return found;
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last: Vec<String> = heard.iter().rev().take(12).rev().map(Value::to_string).collect();
                drop(heard);
                panic!("waited {PATIENCE:?} in vain for {what}; last:\n{}", last.join("\n"));
            }
            heard = self.heard.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    fn messages(&self) -> Vec<Message> {
        messages(&self.heard.0.lock().unwrap())
    }

    /// Waits for a message like this after so many others, and returns it.
    fn hears_after(&self, before: usize, what: &str, is: impl Fn(&Message) -> bool) -> Message {
        self.wait_for(what, |heard| messages(heard).into_iter().skip(before).find(&is))
    }

    /// Waits for a message like this from now on.
    fn hears(&self, what: &str, is: impl Fn(&Message) -> bool) -> Message {
        self.hears_after(self.messages().len(), what, is)
    }

    /// Waits for this many more messages.
    fn hears_more(&self, count: usize) -> Vec<Message> {
        let before = self.messages().len();
        for so_far in (0..count).step_by(100) {
            let next = before + (so_far + 100).min(count);
            self.wait_for("more messages", |heard| {
                (heard.iter().filter(|said| said["event"] == "message").count() >= next).then_some(())
            });
        }
        self.messages().split_off(before)
    }

    /// Waits until the config with this hash has this status, and returns the agent's error message.
    fn hears_status(&self, hash: &str, status: &str) -> String {
        let message = self.hears_after(0, &format!("{hash} to be {status}"), |message| {
            message.remote() == Some((base64(hash), status.into()))
        });
        message.field("/remoteConfigStatus/errorMessage")
    }

    fn hears_connection_status(&self, hash: &str, status: &str) -> String {
        let is = |message: &Message| {
            let status =
                message.field("/connectionSettingsStatus/status") == format!("ConnectionSettingsStatuses_{status}");
            status && message.field("/connectionSettingsStatus/lastConnectionSettingsHash") == base64(hash)
        };
        let message = self.hears_after(0, &format!("connection settings {hash} to be {status}"), is);
        message.field("/connectionSettingsStatus/errorMessage")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A message of the agent, as the server printed it.
#[derive(Debug, Clone)]
struct Message(Value);

impl Message {
    fn field(&self, pointer: &str) -> String {
        self.0["message"].pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn has(&self, name: &str) -> bool {
        self.0["message"].get(name).is_some()
    }

    fn is_full(&self) -> bool {
        ["agentDescription", "health", "effectiveConfig", "remoteConfigStatus"].iter().all(|name| self.has(name))
    }

    fn bytes(&self) -> u64 {
        self.0["bytes"].as_u64().unwrap()
    }

    fn listener(&self) -> u64 {
        self.0["listener"].as_u64().unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.0["headers"][name].as_str().unwrap_or_default()
    }

    /// Hash and status of the remote config.
    fn remote(&self) -> Option<(String, String)> {
        let hash = self.field("/remoteConfigStatus/lastRemoteConfigHash");
        let status = self.field("/remoteConfigStatus/status");
        self.has("remoteConfigStatus").then(|| (hash, status.replace("RemoteConfigStatuses_", "")))
    }
}

fn messages(heard: &[Value]) -> Vec<Message> {
    heard.iter().filter(|said| said["event"] == "message").cloned().map(Message).collect()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let whole = chunk.iter().fold(0, |whole, byte| whole << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = (0..4).map(|place| char::from(DIGITS[(whole >> (18 - 6 * place)) as usize & 63]));
        text.extend(digits.take(chunk.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    text
}

/// A host that is managed by the server.
fn host(server: &Server) -> Host {
    let host = Host::new();
    host.set("config.url", &server.url);
    host.set("config.protocol", "opamp");
    host
}

/// A server that offers this config, a host, and its agent, which has applied the config and has nothing more to
/// report.
fn managed(body: &str) -> Option<(Server, Host, Agent)> {
    let mut server = Server::new()?;
    server.offer("h-good", body);
    let host = host(&server);
    let agent = host.agent().start();
    agent.applied(body);
    server.hears_status("h-good", "APPLIED");
    Some((server, host, agent))
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn an_offered_config_is_applied_and_reported_step_by_step() {
    let good = config("good");
    let Some((server, host, agent)) = managed(&good) else { return };

    let said = server.messages();
    let first = &said[0];
    assert!(first.is_full(), "{first:?}");
    assert_eq!(first.header("Content-Type"), "application/x-protobuf");
    let uid = agent.status(&host).agent.instance_uid;
    assert_eq!(first.header("Opamp-Instance-Uid"), uid);
    assert_eq!(first.field("/instanceUid"), base64(uuid::Uuid::parse_str(&uid).unwrap()));
    let mut steps: Vec<_> = said.iter().filter_map(Message::remote).map(|(_, status)| status).collect();
    steps.dedup();
    assert!(steps.ends_with(&["APPLYING".into(), "APPLIED".into()]), "{steps:?}");
    let runs = server.hears_after(0, "the effective config", |message| {
        message.field("/effectiveConfig/configMap/configMap//body") == base64(&good)
    });
    assert_eq!(runs.field("/effectiveConfig/configMap/configMap//contentType"), "text/yaml");
    server.hears_after(0, "its components", |message| message.has("availableComponents"));
    assert_eq!(host.validations(&good), 1);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_restarted_agent_reports_the_hash_that_it_has_and_is_not_offered_it_again() {
    let good = config("good");
    let Some((server, host, mut agent)) = managed(&good) else { return };
    agent.stop();
    let before = server.messages().len();

    let agent = host.agent().start();

    let first = server.hears_after(before, "the first message", |_| true);
    assert!(first.is_full());
    assert_eq!(first.remote().unwrap().0, base64("h-good"));
    server.hears_more(3);
    assert_eq!(agent.status(&host).exchanges.offered, 0);
    assert_eq!(host.validations(&good), 1);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_refused_config_is_reported_once_however_often_it_is_offered() {
    let good = config("good");
    let Some((mut server, host, agent)) = managed(&good) else { return };
    let bad = scripted("bad", &["refuse no such receiver: otpl"]);

    server.tell(json!({"do": "offer", "hash": "h-bad", "files": {"": bad}, "always": true}));

    let message = server.hears_status("h-bad", "FAILED");
    assert!(message.contains("no such receiver: otpl"), "{message}");
    assert!(message.ends_with(&format!("; config {} runs", &hash(&good)[..8])), "{message}");
    server.hears_more(20);
    assert_eq!(host.validations(&bad), 1);
    agent.applied_still(&good);
    let failed = server.messages().iter().filter(|message| message.remote().is_some_and(|it| it.1 == "FAILED")).count();
    assert_eq!(failed, 1);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_rolled_back_config_is_applied_once_though_it_is_offered_a_thousand_times() {
    let good = config("good");
    let Some((mut server, host, agent)) = managed(&good) else { return };
    host.change(&agent, "config.poll_every", "10ms");
    let bad = scripted("bad", &["exit 1 after 50ms", "error port is taken"]);
    server.tell(json!({"do": "offer", "hash": "h-bad", "files": {"": bad}, "always": true}));
    server.hears_status("h-bad", "FAILED");
    agent.applied_still(&good);
    let (running, offered) = (host.runs("good"), agent.status(&host).exchanges.offered);

    let said = server.hears_more(1000);

    host.wait("a thousand offers", || {
        let status = agent.status(&host);
        (status.exchanges.offered >= offered + 999).then_some(())
    });
    assert_eq!((host.validations(&bad), host.starts_on(&bad)), (1, 1));
    assert_eq!(host.runs("good"), running, "the good one was left alone");
    let failed = said.iter().filter(|message| message.remote().is_some_and(|it| it.1 == "APPLYING")).count();
    assert_eq!(failed, 0);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_config_that_dies_in_its_probation_is_rolled_back_and_its_hash_stays_failed() {
    let good = config("good");
    let Some((mut server, host, agent)) = managed(&good) else { return };
    let bad = scripted("bad", &["exit 1 after 50ms", "error port is taken"]);

    server.offer("h-bad", &bad);

    let message = server.hears_status("h-bad", "FAILED");
    assert!(message.contains("port is taken"), "{message}");
    // The report of good health may come before the status file shows it.
    let failed = (base64("h-bad"), "FAILED".to_owned());
    let before = server.messages().iter().position(|message| message.remote() == Some(failed.clone())).unwrap();
    agent.applied_still(&good);
    server.hears_after(before, "the good config and good health", |message| {
        message.0["message"].pointer("/health/healthy") == Some(&json!(true))
    });
    let said = server.messages();
    let runs = said.iter().rev().find(|message| message.has("effectiveConfig")).unwrap();
    assert_eq!(runs.field("/effectiveConfig/configMap/configMap//body"), base64(&good));
    let last = said.iter().rev().find_map(Message::remote).unwrap();
    assert_eq!(last, failed);
    assert_eq!(host.starts_on(&bad), 1);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn several_files_are_merged_and_blank_ones_change_nothing() {
    let good = config("good");
    let Some((mut server, host, agent)) = managed(&good) else { return };
    let started = host.starts().len();

    server.tell(json!({"do": "offer", "hash": "h-blank", "files": {"": ""}}));
    server.hears_status("h-blank", "APPLIED");
    server.tell(json!({"do": "offer", "hash": "h-none", "files": {}}));
    server.hears_status("h-none", "FAILED");
    agent.applied_still(&good);
    assert_eq!(host.starts().len(), started);

    let more = "exporters: {debug: {verbosity: detailed}}\n";
    server.tell(json!({"do": "offer", "hash": "h-two", "files": {"a": good, "": more}}));
    server.hears_status("h-two", "APPLIED");
    let effective = agent.status(&host).config.effective_path.unwrap();
    let merged: serde_yaml::Value = serde_yaml::from_str(&std::fs::read_to_string(effective).unwrap()).unwrap();
    assert_eq!(merged["exporters"]["debug"]["verbosity"], "detailed");
    assert!(merged["receivers"]["otlp"].is_mapping());
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_server_can_restart_the_collector() {
    let Some((mut server, host, agent)) = managed(&config("good")) else { return };
    let started = host.starts().len();

    server.tell(json!({"do": "restart"}));

    host.started(started + 1);
    agent.applied_still(&config("good"));
    server.hears_more(10);
    assert_eq!(host.starts().len(), started + 1);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_new_uid_is_adopted_for_good() {
    let Some((mut server, host, mut agent)) = managed(&config("good")) else { return };
    let new = uuid::Uuid::now_v7();

    server.tell(json!({"do": "uid", "uid": new.simple().to_string()}));

    let full = server.hears("the new uid", |message| message.field("/instanceUid") == base64(new));
    assert!(full.is_full());
    assert_eq!(full.header("Opamp-Instance-Uid"), new.to_string());
    agent.wait_status("the new uid", |status| status.agent.instance_uid == new.to_string());
    agent.applied_still(&config("good"));
    agent.stop();
    let before = server.messages().len();
    let agent = host.agent().start();
    assert_eq!(server.hears_after(before, "a message", |_| true).field("/instanceUid"), base64(new));
    drop(agent);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn the_full_state_and_the_components_are_reported_when_asked_for() {
    let Some((mut server, _host, _agent)) = managed(&config("good")) else { return };

    let before = server.messages().len();
    server.tell(json!({"do": "full"}));
    server.hears_after(before, "the full state", Message::is_full);
    let before = server.messages().len();
    server.tell(json!({"do": "components"}));
    let listed = server.hears_after(before, "the components", |message| message.has("availableComponents"));
    let components = &listed.0["message"]["availableComponents"]["components"];
    assert!(components["extensions"].is_object(), "{listed:?}");
    let named = |kind: &str| components.pointer(&format!("/{kind}/subComponentMap")).cloned().unwrap_or_default();
    // The collector's own `components` leaves these out.
    for (kind, name) in [("receivers", "file_log"), ("receivers", "filelog"), ("exporters", "otlphttp")] {
        assert!(named(kind)[name].is_object(), "{kind}: {name}: {listed:?}");
    }
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn the_servers_interval_replaces_that_of_the_settings() {
    let Some(mut server) = Server::new() else { return };
    server.tell(json!({"do": "connection", "hash": "c-1", "heartbeat": 1}));
    let host = host(&server);
    host.set("config.poll_every", "1h");
    let agent = host.agent().start();
    server.hears_connection_status("c-1", "APPLIED");

    // With the agent's own interval none of these would come.
    server.hears_more(3);

    server.tell(json!({"do": "connection", "hash": "c-2"}));
    server.hears_connection_status("c-2", "APPLIED");
    host.wait("our own interval", || {
        let status = agent.status(&host);
        let next = status.exchanges.next_at?;
        (next[..16] > status.written_at[..16]).then_some(())
    });
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn an_unavailable_server_is_left_alone_as_long_as_it_says() {
    let Some((mut server, _host, agent)) = managed(&config("good")) else { return };

    server.tell(json!({"do": "unavailable", "retry_ns": 1_500_000_000u64}));
    let before = server.messages().len();
    let announced = |line: &str| {
        let (_, time) = line.split_once("next try in ").unwrap();
        otelet_core::units::parse_time(time.split(',').next().unwrap()).unwrap()
    };
    let wait = announced(&agent.logs("the server is not available: busy; next try in "));
    assert!(wait >= Duration::from_millis(1500), "{wait:?}");
    server.hears_more(1);
    assert!(server.messages().len() - before <= 3);

    server.tell(json!({"do": "status", "code": 429, "retry_after": "1"}));
    agent.logs("answered 429; next try in ");
    server.hears_more(1);

    server.tell(json!({"do": "status", "code": 503}));
    let line = agent.logs("answered 503; next try in ");
    assert!(announced(&line) >= Duration::from_secs(30), "{line}");
    assert_eq!(agent.logged("collector exited"), 0);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_refused_message_is_not_sent_again() {
    let Some(mut server) = Server::new() else { return };
    let good = config(&format!("good {}", "x".repeat(3000)));
    server.offer("h-good", &good);
    let host = host(&server);
    let mut agent = host.agent().start();
    server.hears_status("h-good", "APPLIED");
    server.hears_after(0, "the effective config", |message| message.has("effectiveConfig") && message.bytes() > 3000);
    agent.stop();
    let before = server.messages().len();

    server.tell(json!({"do": "status", "code": 413}));
    let agent = host.agent().start();

    let first = server.hears_after(before, "a smaller message", |_| true);
    assert!(first.has("agentDescription") && !first.has("effectiveConfig"));
    assert!(first.bytes() < 3000);
    agent.logs("is too large for it, the next message will be shorter");

    // The server has not counted that message and asks for the full state, as it may.
    server.tell(json!({"do": "bad_request"}));
    agent.logs("the server calls it a bad request: not understood");
    server.hears_more(3);
    drop(agent);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn the_last_message_is_a_disconnect() {
    let Some((server, _host, mut agent)) = managed(&config("good")) else { return };

    assert_eq!(agent.stop(), 0);

    let last = server.messages().pop().unwrap();
    assert!(last.has("agentDisconnect"), "{last:?}");
    assert_eq!(server.messages().iter().filter(|message| message.has("agentDisconnect")).count(), 1);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn an_offered_server_is_kept_once_it_has_answered() {
    let Some((mut server, host, mut agent)) = managed(&config("good")) else { return };
    let other = server.listen(1, json!({"do": "listen"}));
    server.tell(json!({"do": "require", "on": 1, "header": "X-Key", "token": "new"}));

    server.tell(json!({"do": "connection", "hash": "c-no", "endpoint": other, "headers": {"X-Key": "wrong"}}));
    let why = server.hears_connection_status("c-no", "FAILED");
    assert!(why.contains("answered 401"), "{why}");
    assert!(server.messages().iter().all(|message| message.listener() == 0));

    server.tell(json!({"do": "connection", "hash": "c-1", "endpoint": other, "headers": {"X-Key": "new"}}));
    server.hears_connection_status("c-1", "APPLIED");
    let said = server.messages();
    let moved = said.iter().position(|message| message.listener() == 1).unwrap();
    assert!(said[moved].is_full(), "{:?}", said[moved]);
    assert!(said[moved - 1].has("agentDisconnect"));
    assert_eq!(said[moved].header("X-Key"), "new");
    assert!(said[moved..].iter().all(|message| message.listener() == 1));

    agent.stop();
    let before = server.messages().len();
    let agent = host.agent().start();
    assert_eq!(server.hears_after(before, "the first message", |_| true).listener(), 1);
    drop(agent);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn an_offered_server_that_does_not_answer_is_given_up_and_tls_never_weakened() {
    let Some((mut server, _host, agent)) = managed(&config("good")) else { return };

    // No program listens on port 1 of loopback.
    server.tell(json!({"do": "connection", "hash": "c-gone", "endpoint": "http://127.0.0.1:1/v1/opamp"}));
    let why = server.hears_connection_status("c-gone", "FAILED");
    assert!(why.contains("127.0.0.1:1"), "{why}");

    server.tell(json!({"do": "connection", "hash": "c-insecure", "insecure": true}));
    let why = server.hears_connection_status("c-insecure", "FAILED");
    assert!(why.starts_with("tls.insecure_skip_verify: "), "{why}");
    agent.applied_still(&config("good"));
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn an_offered_client_certificate_is_shown_once_the_server_has_taken_it() {
    let Some(mut server) = Server::new() else { return };
    let host = Host::new();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let cert = params.signed_by(&key, &ca).unwrap().pem();
        for (kind, text) in [("cert", &cert), ("key", &key.serialize_pem())] {
            std::fs::write(host.path(&format!("{name}.{kind}.pem")), text).unwrap();
        }
        (cert, key.serialize_pem())
    };
    let path = |name: &str| host.path(name).display().to_string();
    std::fs::write(host.path("ca.pem"), ca.pem()).unwrap();
    signed("server");
    let (cert, key) = signed("agent");
    let tls = json!({"do": "listen", "cert": path("server.cert.pem"), "key": path("server.key.pem")});
    let mutual = json!({
        "do": "listen", "cert": path("server.cert.pem"), "key": path("server.key.pem"), "client_ca": path("ca.pem")
    });
    let (url, strict) = (server.listen(1, tls), server.listen(2, mutual));
    server.offer("h-good", &config("good"));
    host.set("config.url", &url);
    host.set("config.protocol", "opamp");
    host.set("config.ca_file", &path("ca.pem"));
    let mut agent = host.agent().start();
    server.hears_status("h-good", "APPLIED");

    server.tell(json!({"do": "connection", "hash": "c-bare", "endpoint": strict}));
    server.hears_connection_status("c-bare", "FAILED");
    server.tell(json!({"do": "connection", "hash": "c-tls", "endpoint": strict, "cert": cert, "key": key}));
    server.hears_connection_status("c-tls", "APPLIED");

    assert!(server.hears_more(3).iter().all(|message| message.listener() == 2));
    agent.stop();
    let before = server.messages().len();
    let agent = host.agent().start();
    assert_eq!(server.hears_after(before, "the first message", |_| true).listener(), 2);
    assert!(!agent.log().contains("PRIVATE KEY"));
}

/// Promised in docs/numbers.md. The agent's message contains the names of the server and the path, so its length
/// depends on them.
const UNCHANGED_SENT: usize = 300;

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn an_unchanged_poll_costs_little() {
    let Some(mut server) = Server::new() else { return };
    server.offer("h-good", &config("good"));
    let (tap, url) = Tap::on(&server.url);
    let host = host(&server);
    host.set("config.url", &url);
    let agent = host.agent().start();
    agent.applied(&config("good"));
    // All pending reports are sent when ten polls in a row have the smallest size.
    host.wait("silence", || tap.more(10).iter().all(|poll| poll.sent <= UNCHANGED_SENT).then_some(()));

    let polls = tap.more(3);

    println!("an unchanged poll by OpAMP: {polls:?}");
    assert!(polls.iter().all(|poll| poll.sent <= UNCHANGED_SENT), "{polls:?}");
    drop(agent);
}

#[test]
#[ignore = "needs Go: cargo xtask check --real"]
fn a_thousand_polls_with_nothing_new_are_26_bytes_at_most() {
    let Some((server, host, agent)) = managed(&config("good")) else { return };
    host.set("config.poll_every", "10ms");
    agent.signal(super::host::Signal::HUP);
    // Pending reports are sent within a second.
    let so_far = server.messages().len();
    server.hears_after(so_far + 100, "a hundred polls", |_| true);

    let polls = server.hears_more(1000);

    let other: Vec<&Message> = polls.iter().filter(|message| !(23..=26).contains(&message.bytes())).collect();
    assert!(other.is_empty(), "{other:?}");
    let sequence: Vec<u64> = polls.iter().map(|message| message.field("/sequenceNum").parse().unwrap()).collect();
    assert!(sequence.windows(2).all(|pair| pair[1] == pair[0] + 1));
}
