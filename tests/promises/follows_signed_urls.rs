//! With `config.redirects: any` a config may come from a bucket behind a signed URL: over https:// only, three servers
//! away at most, and without anything that was set for the first server.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::host::{Host, config, wait_until};
use super::server::{Answer, Server};

/// An https:// server that answers each request with this, and keeps the heads of the requests. Dropping it ends it.
struct Bucket {
    addr: SocketAddr,
    answer: Arc<Mutex<String>>,
    heads: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// An authority, in PEM, and the settings of servers that it has signed.
fn authority() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(cert.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    (issuer.pem(), Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

impl Bucket {
    fn new(tls: &Arc<ServerConfig>, answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (answer, heads) = (Arc::new(Mutex::new(answer)), Arc::<Mutex<Vec<String>>>::default());
        let stopping = Arc::<AtomicBool>::default();
        let accepting = thread::spawn({
            let (tls, answer, heads, stopping) = (tls.clone(), answer.clone(), heads.clone(), stopping.clone());
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    // A client may break off.
                    let _ = serve(stream, &tls, &answer, &heads);
                }
            }
        });
        Self { addr, answer, heads, stopping, accepting: Some(accepting) }
    }

    fn url(&self) -> String {
        format!("https://{}/bucket/site.yaml?X-Amz-Signature=hunter2", self.addr)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        let _ = self.accepting.take().unwrap().join();
    }
}

fn serve(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
    answer: &Mutex<String>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut tls = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tls.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    let answer = answer.lock().unwrap().clone();
    tls.write_all(answer.as_bytes())?;
    tls.conn.send_close_notify();
    tls.flush()?;
    tls.sock.shutdown(Shutdown::Write)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nETag: \"b\"\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// A host whose settings have credentials for its own server, and which trusts the authority.
fn host_trusting(authority: &str) -> Host {
    let host = Host::new();
    for (name, text) in [("ca.pem", authority), ("token", "hunter2-token")] {
        fs::write(host.path(name), text).unwrap();
    }
    host.set("config.ca_file", &host.path("ca.pem").display().to_string());
    host.set("config.bearer_token_file", &host.path("token").display().to_string());
    host.set("config.headers", "{X-Key: hunter2-key, Accept: hunter2-type}");
    host
}

#[test]
fn a_config_comes_from_a_signed_url_without_credentials() {
    let (authority, tls) = authority();
    let good = config("good");
    let bucket = Bucket::new(&tls, ok(&good));
    let host = host_trusting(&authority);
    host.set("config.redirects", "any");
    host.server.answer(Answer::RedirectTo(bucket.url()));
    let agent = host.agent().start();

    agent.applied(&good);

    let first = &bucket.heads()[0];
    assert!(first.starts_with("GET /bucket/site.yaml?X-Amz-Signature=hunter2 HTTP/1.1\r\n"), "{first}");
    assert!(!first.contains("hunter2-"), "{first}");
    assert_eq!(host.server.requests()[0].header("x-key"), Some("hunter2-key"));

    // The bucket gets its own validator back, and an unchanged config costs no body.
    *bucket.answer.lock().unwrap() = "HTTP/1.1 304 Not Modified\r\n\r\n".into();
    wait_until("a conditional request", || {
        bucket.heads().last().unwrap().to_lowercase().contains("\r\nif-none-match: \"b\"\r\n")
    });
    host.more_polls(2);
    agent.applied_still(&good);

    *bucket.answer.lock().unwrap() = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into();
    let line = agent.logs("answered 403");
    let place =
        format!("https://{}/bucket/site.yaml: answered 403; {} redirects to it", bucket.addr, host.server.url());
    assert!(line.contains(&place), "{line}");
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());
}

#[test]
fn a_signature_comes_from_a_signed_url_without_credentials() {
    let (authority, tls) = authority();
    let bucket = Bucket::new(&tls, ok("no signature"));
    let host = host_trusting(&authority);
    host.set("config.redirects", "any");
    host.set("config.public_key", include_str!("../../crates/config/tests/signed/key.pub").trim());
    host.server.answer(Answer::RedirectTo(bucket.url()));
    host.server.answer_once(Answer::Config(config("good").into_bytes()));
    let agent = host.agent().start();

    agent.logs("config refused: ");

    let asked = host.server.requests();
    let signature = asked.iter().find(|request| request.path.ends_with(".minisig")).expect("it was asked for");
    assert_eq!(
        signature.header("authorization"),
        Some("Bearer hunter2-token"),
        "the server of the config gets the token"
    );
    assert!(bucket.heads().iter().all(|head| !head.contains("hunter2-")), "{:?}", bucket.heads());
    assert!(!bucket.heads().is_empty() && !agent.log().contains("hunter2"), "{}", agent.log());
}

#[test]
fn without_the_setting_the_message_names_it_and_nobody_else_is_asked() {
    let (authority, tls) = authority();
    let bucket = Bucket::new(&tls, ok(&config("foreign")));
    let host = host_trusting(&authority);
    host.server.answer(Answer::RedirectTo(bucket.url()));
    let agent = host.agent().start();

    let line = agent.logs("redirects to ");

    assert!(
        line.contains("another port; set config.url to it if that is right; or set config.redirects to any"),
        "{line}"
    );
    assert!(bucket.heads().is_empty());
}

#[test]
fn an_unencrypted_target_and_a_fourth_server_are_not_followed() {
    let (authority, tls) = authority();
    let plain = Server::new();
    plain.offer(config("foreign"));
    let host = host_trusting(&authority);
    host.set("config.redirects", "any");
    host.server.answer(Answer::RedirectTo(plain.url()));
    let agent = host.agent().start();
    agent.logs("another server, which is not encrypted; set config.url to it if that is right");
    assert!(plain.requests().is_empty());

    let fourth = Bucket::new(&tls, ok(&config("foreign")));
    let third = Bucket::new(&tls, redirect(&fourth.url()));
    let second = Bucket::new(&tls, redirect(&third.url()));
    let first = Bucket::new(&tls, redirect(&second.url()));
    host.server.answer(Answer::RedirectTo(first.url()));
    agent.logs("another server for the fourth time");
    assert!(fourth.heads().is_empty());

    let good = config("good");
    *third.answer.lock().unwrap() = ok(&good);
    agent.applied(&good);
    // Back at a server that has seen the credentials before: still without.
    let all = [first.heads(), second.heads(), third.heads()].concat();
    assert!(all.iter().all(|head| !head.contains("hunter2-")), "{all:?}");
}
