//! A hub on a port of its own, and agents that talk to it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use otelet_hub::auth::Auth;
use otelet_hub::configs::{self, Row};
use otelet_hub::hub::{Hub, audit_row};
use otelet_hub::store::Store;
use otelet_hub::web::App;
use otelet_hub_decide::{Labels, Member, Uid};
use otelet_wire::KeyValue;
use otelet_wire::opamp::{
    AgentDescription, AgentToServer, ComponentHealth, OfferStatus, RemoteConfigStatus, ServerToAgent,
};
use prost::Message;

pub const CONFIG: &str = "receivers:\n  otlp:\n    protocols: {http: {endpoint: \"127.0.0.1:0\"}}\nexporters:\n  debug:\nservice:\n  telemetry: {metrics: {level: none}}\n  pipelines:\n    metrics: {receivers: [otlp], exporters: [debug]}\n";

pub fn other(n: u8) -> String {
    format!("# {n}\n{CONFIG}")
}

pub struct TestHub {
    pub runtime: tokio::runtime::Runtime,
    pub hub: Arc<Hub>,
    pub auth: Arc<Auth>,
    pub address: SocketAddr,
    pub dir: PathBuf,
}

impl TestHub {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("otelet-hub-promise-{}-{number}", std::process::id()));
        _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self::at(dir)
    }

    /// A hub on what another one has left.
    pub fn at(dir: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (hub, auth, address) = runtime.block_on(async {
            let store = Store::open(&dir.join("hub.db")).await.unwrap();
            let hub = Hub::start(store).await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let auth = Auth::new(hub.store.clone());
            let app = App { hub: Arc::clone(&hub), auth: Arc::clone(&auth), keys: Arc::new(Vec::new()), secure: false };
            let router = otelet_hub::router(app);
            tokio::spawn(otelet_hub::serve::serve(listener, None, router, std::future::pending()));
            let ticking = Arc::clone(&hub);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    _ = ticking.tick(false).await;
                }
            });
            (hub, auth, address)
        });
        Self { runtime, hub, auth, address, dir }
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Ends and keeps its directory.
    pub fn leave(mut self) {
        self.dir = PathBuf::new();
    }

    pub fn enrolment(&self, uses: i64) -> String {
        let labels = Labels::from([("site".to_owned(), "line-3".to_owned())]);
        let name = format!("t{uses}");
        let made = self.hub.make_enrolment(&name, uses, i64::MAX, labels, "anna", audit());
        self.run(made).unwrap().1
    }

    pub fn save(&self, name: &str, base: i64, body: &str) -> i64 {
        self.run(configs::save(&self.hub, name, base, body, "", "anna", audit())).unwrap()
    }

    pub fn assign(&self, rows: &[(&str, &str, i64)]) {
        let rows: Vec<Row> = rows
            .iter()
            .map(|(selector, config, version)| Row {
                selector: (*selector).to_owned(),
                config: Some((*config).to_owned()),
                version: Some(*version),
            })
            .collect();
        self.run(configs::assign(&self.hub, &rows, audit())).unwrap();
    }

    pub fn member(&self, uid: Uid) -> Member {
        self.hub.fleet(|fleet| fleet.member(uid).cloned()).unwrap_or_else(|| panic!("{uid} is not in the fleet"))
    }

    pub fn events(&self, uid: Uid) -> Vec<String> {
        let sql = "SELECT name FROM event WHERE uid = $1 ORDER BY id";
        let rows = self.run(self.hub.store.rows(sql, vec![uid.to_string().into()])).unwrap();
        rows.iter().map(|row| otelet_hub::store::text(row, "name")).collect()
    }

    /// Sends a request and reads the whole answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(self.address, method, path, headers, body)
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn audit() -> otelet_hub::store::Write {
    audit_row("anna", "test", "test", "", "")
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    ask_if_there(address, method, path, headers, body).unwrap_or_else(|| panic!("{method} {path}: no answer"))
}

/// The same where the server may be gone.
pub fn ask_if_there(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    stream.set_nodelay(true).ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    // A server that refuses early reads no more.
    _ = stream.write_all(body);
    let mut bytes = Vec::new();
    _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|it| it == "chunked") {
        body = unchunk(&body);
    }
    Some(Answer { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// An agent that talks OpAMP by HTTP and believes each config.
pub struct Agent {
    pub uid: Uid,
    pub token: String,
    pub hash: Option<Vec<u8>>,
    pub status: OfferStatus,
    pub message: String,
    pub healthy: bool,
}

impl Agent {
    pub fn new(n: u8, token: &str) -> Self {
        let (status, message) = (OfferStatus::Unset, String::new());
        Self { uid: Uid([n; 16]), token: token.to_owned(), hash: None, status, message, healthy: true }
    }

    pub fn says(&self) -> AgentToServer {
        AgentToServer {
            instance_uid: self.uid.0.to_vec(),
            capabilities: 0xBD07,
            agent_description: Some(AgentDescription {
                identifying: vec![
                    KeyValue::new("service.name", "otelcol"),
                    KeyValue::new("service.version", "0.149.0"),
                ],
                non_identifying: vec![
                    KeyValue::new("host.name", format!("press-{}", self.uid.0[0])),
                    KeyValue::new("agent.name", "otelet"),
                    KeyValue::new("agent.version", "0.1.0"),
                    KeyValue::new("role", "press"),
                ],
            }),
            health: Some(ComponentHealth {
                healthy: self.healthy,
                status: "up".into(),
                last_error: if self.healthy { String::new() } else { "no such port".into() },
                ..ComponentHealth::default()
            }),
            remote_config_status: self.hash.as_ref().map(|hash| RemoteConfigStatus {
                last_remote_config_hash: hash.clone(),
                status: self.status.into(),
                error_message: self.message.clone(),
            }),
            ..AgentToServer::default()
        }
    }

    /// Sends a message; returns the status and the answer.
    pub fn send(&self, hub: &TestHub, message: &AgentToServer) -> (u16, ServerToAgent) {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/x-protobuf")];
        let answer = hub.ask("POST", "/v1/opamp", &headers, &message.encode_to_vec());
        let message =
            if answer.status == 200 { ServerToAgent::decode(&*answer.body).unwrap() } else { ServerToAgent::default() };
        (answer.status, message)
    }

    /// Polls, takes what it is given, and says that it works.
    pub fn poll(&mut self, hub: &TestHub) -> ServerToAgent {
        let (status, answer) = self.send(hub, &self.says());
        assert_eq!(status, 200);
        if let Some(settings) = answer.connection_settings.as_ref().and_then(|it| it.opamp.as_ref()) {
            let header = &settings.headers.as_ref().unwrap().headers[0];
            self.token = header.value.strip_prefix("Bearer ").unwrap().to_owned();
        }
        if let Some(offer) = &answer.remote_config {
            self.hash = Some(offer.config_hash.clone());
            self.status = OfferStatus::Applied;
        }
        answer
    }
}

/// Waits until something holds.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}: not within two minutes");
}
