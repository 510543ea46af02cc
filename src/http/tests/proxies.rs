//! Requests through a proxy and past it.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::test_server::{Answer, Server};
use super::trust::{Authority, tls_server, trusting};
use super::*;

/// A proxy that connects every tunnel to `backend` and records the requests. It answers CONNECT with `answer`, and
/// other requests with a body of its own.
pub(crate) fn proxy(backend: SocketAddr, answer: &'static str) -> (Listening, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = asked.clone();
    let listening = Listening::new(move |mut client| {
        let head = read_head(&mut client)?;
        let tunnel = head.starts_with("CONNECT ");
        heads.lock().unwrap().push(head);
        if !tunnel {
            return client.write_all(GOOD.as_bytes());
        }
        client.write_all(answer.as_bytes())?;
        let server = TcpStream::connect(backend)?;
        let (mut to, mut from) = (server.try_clone()?, client.try_clone()?);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let _ = io::copy(&mut &server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        });
        Ok(())
    });
    (listening, asked)
}

pub(crate) const CONNECTED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[test]
fn https_is_tunnelled_and_http_is_forwarded_by_a_proxy() {
    let dir = Dir::new();
    let authority = Authority::new();
    let server = tls_server(&authority.sign(|_| ()), None, GOOD, false);
    let (proxy, asked) = proxy(server.addr, CONNECTED);
    let url = format!("http://us%40er:pa%3Ass@{}", proxy.addr);
    let settings = HttpSettings {
        http_proxy: Some(url.clone()),
        https_proxy: Some(url),
        ..trusting(dir.write("ca.pem", &authority.pem()))
    };
    let client = Client::new(&settings).unwrap();

    // Only the proxy can resolve these names.
    let response = send(&client, &get("https://server.test/v1?a=b")).unwrap();
    assert_eq!(response.body, b"ok");
    assert!((500..10_000).contains(&response.traffic.received), "once: {:?}", response.traffic);
    assert_eq!(send(&client, &get("http://server.test:81/v1?a=b")).unwrap().body, b"ok");

    let asked = asked.lock().unwrap();
    assert!(asked[0].starts_with("CONNECT server.test:443 HTTP/1.1\r\n"), "{asked:?}");
    assert!(!asked[0].contains("s3cret"), "{asked:?}");
    assert!(asked[1].starts_with("GET http://server.test:81/v1?a=b HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[1].to_lowercase().contains("\r\nhost: server.test:81\r\n"), "{asked:?}");
    for head in asked.iter() {
        let credentials = STANDARD.encode("us@er:pa:ss");
        let line = format!("\r\nproxy-authorization: basic {}\r\n", credentials.to_lowercase());
        assert!(head.to_lowercase().contains(&line), "{head}");
    }
}

#[test]
fn loopback_and_no_proxy_hosts_bypass_the_proxy() {
    let server = Server::new();
    server.offer("a: 1");
    let nobody =
        HttpSettings { http_proxy: Some("http://127.0.0.1:1".into()), no_proxy: "server.test".into(), ..settings() };
    assert_eq!(fetch(&nobody, server.url()).unwrap().body, b"a: 1");
    let client = Client::new(&nobody).unwrap();
    let route = |url: &str| client.route(&url.parse().unwrap());
    assert_eq!(route("http://server.test/"), Route { tls: false, proxied: false });
    assert_eq!(route("http://other.test/"), Route { tls: false, proxied: true });
    assert_eq!(route("https://other.test/"), Route { tls: true, proxied: false }, "each scheme has its own");
}

#[test]
fn a_proxy_that_fails_is_named() {
    let through = |answer| {
        let (proxy, _) = proxy("127.0.0.1:1".parse().unwrap(), answer);
        let settings = HttpSettings { https_proxy: Some(format!("http://u:s3cret@{}", proxy.addr)), ..settings() };
        let error = fetch(&settings, "https://server.test/v1").unwrap_err();
        let start = format!("https://server.test/v1 by proxy {}: ", proxy.addr);
        (error.kind().word(), error.to_string().strip_prefix(&start).unwrap().to_owned())
    };
    let (kind, said) = through("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    assert_eq!(kind, "connect");
    assert!(said.contains("407"), "{said}");
    assert_eq!(through("").0, "connect");
    assert_eq!(through("SSH-2.0-OpenSSH_9.2p1\r\n\r\n").0, "protocol");

    // ureq restarts the whole timeout at each byte of a proxy's answer.
    let server = Server::new();
    server.answer(Answer::Trickle(Duration::from_millis(20)));
    let settings = HttpSettings { https_proxy: Some(format!("http://{}", server.addr())), ..impatient() };
    let started = Instant::now();
    let error = fetch(&settings, "https://server.test/v1").unwrap_err();
    assert_eq!(error.kind().word(), "timeout", "{error}");
    assert!(started.elapsed() < SHORT * 10);
}

#[test]
fn settings_that_can_never_work_are_refused_without_their_secrets() {
    let refused = |settings| match Client::new(&settings) {
        Err(error) => error,
        Ok(client) => panic!("taken: {:?}", client.settings.https_proxy),
    };
    let https_proxy = |proxy: &str| HttpSettings { https_proxy: Some(proxy.into()), ..settings() };
    assert!(Client::new(&https_proxy("")).is_ok(), "empty means none");
    assert!(Client::new(&https_proxy("proxy.example:3128")).is_ok());
    let server = Server::new();
    for proxy in ["socks5://u:s3cret@h:1", "https://u:s3cret@h", "http://u:s3cret@h:port", "::"] {
        let settings = HttpSettings { no_proxy: "direct.invalid".into(), ..https_proxy(proxy) };
        let said = fetch(&settings, "https://server.test/").unwrap_err().to_string();
        assert!(said.starts_with("proxy for https://: "), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        // A request that does not need it does not fail by it.
        assert!(fetch(&settings, server.url()).is_ok());
        assert_eq!(fetch(&settings, "https://direct.invalid/").unwrap_err().kind().word(), "resolve");
    }
    let half = HttpSettings { client_key_file: Some("key.pem".into()), ..settings() };
    assert_eq!(refused(half), HttpError::Unpaired { set: TlsFile::ClientKey });
}
