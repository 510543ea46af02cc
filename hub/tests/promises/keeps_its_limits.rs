//! No client can make the hub wait, hold or compute without a bound.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::kit::{Agent, TestHub};

fn post(hub: &TestHub, token: &str, more: &[(&str, &str)], body: &[u8]) -> u16 {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/x-protobuf")];
    headers.extend(more);
    hub.ask("POST", "/v1/opamp", &headers, body).status
}

#[test]
fn a_body_of_five_mebibytes_is_refused() {
    let hub = TestHub::new();
    let token = hub.enrolment(1);
    assert_eq!(post(&hub, &token, &[], &vec![0; 5 << 20]), 413);
}

#[test]
fn a_gzip_bomb_is_refused_after_four_mebibytes() {
    let hub = TestHub::new();
    let token = hub.enrolment(1);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..1024 {
        bomb.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 2 << 20);
    let begun = Instant::now();
    assert_eq!(post(&hub, &token, &[("Content-Encoding", "gzip")], &bomb), 413);
    assert!(begun.elapsed() < Duration::from_secs(20), "it was not inflated to the end");
}

#[test]
fn a_compressed_message_is_taken_and_an_unknown_compression_refused() {
    use prost::Message;
    let hub = TestHub::new();
    let agent = Agent::new(1, &hub.enrolment(1));
    let mut body = GzEncoder::new(Vec::new(), Compression::fast());
    body.write_all(&agent.says().encode_to_vec()).unwrap();
    let body = body.finish().unwrap();
    assert_eq!(post(&hub, &agent.token, &[("Content-Encoding", "gzip")], &body), 200);
    assert_eq!(post(&hub, &agent.token, &[("Content-Encoding", "zstd")], &body), 415);
}

#[test]
fn rubbish_is_refused_in_words() {
    let hub = TestHub::new();
    let token = hub.enrolment(1);
    assert_eq!(post(&hub, &token, &[], b"\xff\xff"), 400);
    assert_eq!(post(&hub, &token, &[], b""), 400);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/plain")];
    assert_eq!(hub.ask("POST", "/v1/opamp", &headers, b"x").status, 415);
}

/// How long a connection lives that has sent only this.
fn lifetime(hub: &TestHub, sent: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(hub.address).unwrap();
    stream.write_all(sent).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap_or_else(|_| panic!("open after a minute: {sent:?}"));
    begun.elapsed()
}

#[test]
fn silence_half_a_head_and_half_a_body_end() {
    let hub = TestHub::new();
    let token = hub.enrolment(1);
    let body = format!(
        "POST /v1/opamp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\nhalf"
    );
    std::thread::scope(|scope| {
        for (what, sent, limit) in
            [("nothing", "", 20), ("half a head", "POST /v1/opamp HT", 20), ("half a body", body.as_str(), 50)]
        {
            let hub = &hub;
            scope.spawn(move || {
                let lived = lifetime(hub, sent.as_bytes());
                assert!(lived < Duration::from_secs(limit), "{what}: {lived:?}");
            });
        }
    });
}
