//! Each answer of a server becomes a response or an error of a known kind, within the time limit.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::super::head::TOO_LONG;
use super::super::test_server::{Answer, Server};
use super::super::wire::CUT;
use super::*;

/// The kind of the error that an answer leads to, and its message without the URL.
fn failure_of(settings: &HttpSettings, answer: Answer) -> (&'static str, String) {
    let server = Server::new();
    server.answer(answer);
    let error = fetch(settings, server.url()).unwrap_err();
    let message = error.to_string();
    let why = message.strip_prefix(&format!("{}: ", server.url()));
    (error.kind().word(), why.expect("an error names its URL").to_owned())
}

fn raw(answer: &str) -> Answer {
    Answer::Raw(answer.as_bytes().to_vec())
}

fn endless(start: &str, again: &str) -> Answer {
    Answer::Endless(start.into(), again.into())
}

#[test]
fn an_answer_has_its_body_and_the_headers_that_are_read() {
    let server = Server::new();
    let headers = [
        ("ETag", "\"7f3a\""),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Retry-After", "3"),
        ("Set-Cookie", "a=b"),
    ];
    let headers = headers.map(|(k, v)| (k.to_owned(), v.to_owned()));
    server.answer(Answer::Status(200, headers.to_vec(), vec![b'#'; 64 * 1024]));
    let client = Client::new(&settings()).unwrap();
    let mut response = send(&client, &get(server.url())).unwrap();
    assert_eq!(response.traffic, client.traffic());
    assert!((65_600..66_000).contains(&response.traffic.received), "{:?}", response.traffic);
    response.traffic = Traffic::default();
    assert_eq!(
        response,
        Response {
            unread: None,
            away: None,
            status: 200,
            etag: Some("\"7f3a\"".into()),
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".into()),
            retry_after: Some(Duration::from_secs(3)),
            location: None,
            date: None,
            body: vec![b'#'; 64 * 1024],
            traffic: Traffic::default(),
        }
    );
    send(&client, &get(server.url())).unwrap();
    let asked = server.requests();
    assert_eq!(asked[1].header("cookie"), None);
    assert_eq!(asked[1].header("connection"), Some("close"));
    assert_eq!(asked[1].headers.len(), 4, "Host and User-Agent besides: {asked:#?}");
}

#[test]
fn a_post_carries_its_body() {
    let server = Server::new();
    server.answer(Answer::Status(200, vec![], b"{}".to_vec()));
    let request = Request { method: Method::Post, body: b"\x0a\x00binary".to_vec(), ..get(server.url()) };
    let client = Client::new(&settings()).unwrap();
    assert_eq!(send(&client, &request).unwrap().body, b"{}");
    let asked = &server.requests()[0];
    assert_eq!((&*asked.method, &*asked.body), ("POST", &request.body[..]));
}

#[test]
fn any_status_is_an_answer_and_only_2xx_has_a_body() {
    let server = Server::new();
    for status in [204, 304, 404, 500, 503] {
        server.answer(Answer::Status(status, vec![], vec![b'#'; 1_000_000]));
        let response = fetch(&settings(), server.url()).unwrap();
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
}

#[test]
fn a_slow_server_ends_in_a_timeout() {
    for answer in [
        Answer::Stall,
        Answer::Trickle(Duration::from_millis(20)),
        Answer::Delay(Duration::from_secs(60), Answer::status(200).into()),
        // Early hints without end.
        endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        let started = Instant::now();
        let patient = HttpSettings { max_size: 1 << 40, ..impatient() };
        let named = format!("{answer:?}");
        assert_eq!(failure_of(&patient, answer), ("timeout", "did not answer within 400ms".into()), "{named}");
        assert!(started.elapsed() < SHORT * 10, "{named}: {:?}", started.elapsed());
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_at_once() {
    let large = ("size", "body is larger than 64KiB".to_owned());
    assert_eq!(failure_of(&settings(), Answer::NeverEnding), large);
    assert_eq!(failure_of(&settings(), Answer::HugeContentLength), large);
    assert_eq!(failure_of(&settings(), endless("HTTP/1.1 200 OK\r\n\r\n", "#")), large);
    let one_more = Answer::Status(200, vec![], vec![b'#'; 64 * 1024 + 1]);
    assert_eq!(failure_of(&settings(), one_more), large);
}

#[test]
fn a_flood_around_the_body_is_cut_off() {
    let flood = "sends far more than a body of 64KiB takes";
    for (answer, why) in [
        (endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), flood),
        (endless("", "HTTP/1.1 100 Continue\r\n\r\n"), flood),
        (endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n"), flood),
        (endless("HTTP/1.1 200 OK\r\nA: ", "#"), TOO_LONG),
        (endless("HTTP/1.1 200 OK\r\n", "a: b\r\n"), TOO_LONG),
        (endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "#"), TOO_LONG),
    ] {
        let (kind, said) = failure_of(&settings(), answer);
        assert_eq!(kind, "protocol", "{said}");
        assert!(said.starts_with(why), "{said}");
    }
}

#[test]
fn half_an_answer_is_an_error() {
    let cut = ("protocol", CUT.to_owned());
    for answer in [
        Answer::ResetMidBody,
        raw(""),
        raw("HTTP/1.1 200 OK\r\nContent-Le"),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nreceivers:\n"),
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"),
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ] {
        let named = format!("{answer:?}");
        assert_eq!(failure_of(&settings(), answer), cut, "{named}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_refused() {
    for (answer, why) in [
        (Answer::Garbage, "answer is not valid HTTP: "),
        // The first frames of a server for gRPC.
        (Answer::Raw(b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0".to_vec()), HTTP_2),
        (raw("HTTP/1.1 099 Odd\r\n\r\n"), "answer is not valid HTTP: "),
        (raw("HTTP/9.9 200 OK\r\n\r\n"), "answer is not valid HTTP: "),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "answer is not valid HTTP: "),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "answer is not valid HTTP: "),
        (raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"), "answer is not valid HTTP: "),
        (
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"),
            "answer is not valid HTTP: ",
        ),
    ] {
        let (kind, said) = failure_of(&settings(), answer);
        assert_eq!(kind, "protocol", "{said}");
        assert!(said.starts_with(why), "{said}");
    }
}

/// An answer with these headers and this body.
fn answer(headers: &[&str], body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\n{}Content-Length: {}\r\n\r\n", headers.concat(), body.len());
    Answer::Raw([head.as_bytes(), body].concat())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_body_is_taken_whatever_its_label_says_about_it() {
    let (server, plain) = (Server::new(), "receivers: {}\n# \u{fc}\n".as_bytes());
    let zlib = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    };
    for (headers, body) in [
        (&["Content-Encoding: \r\n"][..], plain.to_vec()),
        (&["Content-Encoding: identity\r\n"], plain.to_vec()),
        (&["Content-Encoding: aws-chunked\r\n"], plain.to_vec()),
        (&["Content-Encoding: aws-chunked,\r\n"], plain.to_vec()),
        (&["Content-Encoding: utf-8\r\n"], plain.to_vec()),
        (&["Content-Encoding: UTF-8, none\r\n"], b"\0\xff".to_vec()),
        (&["Content-Encoding: \u{fc}\r\n"], plain.to_vec()),
        // Labelled, and not compressed.
        (&["Content-Encoding: gzip\r\n"], plain.to_vec()),
        (&["Content-Encoding: gzip\r\n"], Vec::new()),
        (&["Content-Encoding: deflate\r\n"], plain.to_vec()),
        (&["Content-Encoding: br\r\n"], plain.to_vec()),
        (&["Content-Encoding: zstd\r\n"], Vec::new()),
        // Compressed.
        (&["Content-Encoding: gzip\r\n"], gzip(plain)),
        (&["Content-Encoding: X-GZip\r\n"], gzip(plain)),
        (&["Content-Encoding: aws-chunked, gzip\r\n"], gzip(plain)),
        (&["Content-Encoding: gzip\r\n", "Content-Encoding: gzip\r\n"], gzip(&gzip(plain))),
        (&["Content-Encoding: deflate\r\n"], zlib),
        (&["Content-Encoding: gzip\r\n"], gzip(&[b'#'; 64 * 1024])),
    ] {
        let named = format!("{headers:?} {}", String::from_utf8_lossy(&body));
        let mut inner = body.clone();
        while inner.starts_with(b"\x1f\x8b") {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(&inner[..]).read_to_end(&mut out).unwrap();
            inner = out;
        }
        let expected = if body.starts_with(b"\x78") { plain.to_vec() } else { inner };
        server.answer(answer(headers, &body));
        assert_eq!(fetch(&settings(), server.url()).unwrap().body, expected, "{named}");
    }
}

#[test]
fn a_compression_that_cannot_be_undone_is_refused_and_a_bomb_is_bounded() {
    let gzipped = gzip(b"receivers: {}\n");
    let bomb = gzip(&[b'#'; 64 * 1024 + 1]);
    assert!(bomb.len() < 1024);
    let chunked = [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        format!("{:x}\r\n", gzip(&vec![0; 20 << 20]).len()).into_bytes(),
        gzip(&vec![0; 20 << 20]),
        b"\r\n0\r\n\r\n".to_vec(),
    ];
    for (answer, kind, said) in [
        (
            answer(&["Content-Encoding: br\r\n"], b"\x0b\x06\x80"),
            "protocol",
            "answered with content-encoding br, which",
        ),
        (
            answer(&["Content-Encoding: zstd\r\n"], b"\x28\xb5\x2f\xfd"),
            "protocol",
            "answered with content-encoding zstd",
        ),
        (answer(&["Content-Encoding: gzip, br\r\n"], b"\x0b\x06\x80"), "protocol", "answered with content-encoding br"),
        (answer(&["Content-Encoding: gzip, gzip, gzip\r\n"], b"\0"), "protocol", "answered with content-encoding gzip"),
        (answer(&["Content-Encoding: gzip\r\n"], &gzipped[..20]), "protocol", inflate::DAMAGED),
        (answer(&["Content-Encoding: gzip\r\n"], &bomb), "size", "body is larger than 64KiB"),
        (Answer::Raw(chunked.concat()), "size", "body is larger than 64KiB"),
    ] {
        let (found, message) = failure_of(&settings(), answer);
        assert_eq!((found, message.starts_with(said)), (kind, true), "{message}");
    }
}

#[test]
fn a_body_that_nobody_depends_on_is_read_as_far_as_it_goes() {
    let server = Server::new();
    for (answer, body, unread) in [
        (answer(&[], b"whole"), "whole", None),
        (answer(&["Content-Encoding: gzip\r\n"], &gzip(b"whole")), "whole", None),
        (answer(&["Content-Encoding: br\r\n"], b"\x0b\x80"), "", Some("protocol")),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "half", Some("protocol")),
        (Answer::HugeContentLength, "####", Some("size")),
        (Answer::Trickle(SHORT / 4), "", Some("timeout")),
    ] {
        let named = format!("{answer:?}");
        server.answer(answer);
        let client = Client::new(&impatient()).unwrap();
        let response = send(&client, &Request { reads: Reads::Beginning, ..get(server.url()) });
        let Ok(response) = response else {
            assert_eq!(unread, Some("timeout"), "the head itself took too long: {named}");
            continue;
        };
        assert_eq!(response.status, 200);
        assert!(response.body.starts_with(body.as_bytes()), "{named}");
        assert_eq!(response.unread.map(|error| error.kind().word()), unread, "{named}");
    }
}

#[test]
fn bytes_after_a_whole_answer_are_ignored() {
    let server = Server::new();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nHTTP/1.1 666",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.0 200 OK\r\n\r\nab",
    ] {
        server.answer(raw(answer));
        assert_eq!(fetch(&settings(), server.url()).unwrap().body, b"ab", "{answer}");
    }
}

/// Any bytes lead to an answer or an error: a panic would end the agent.
#[test]
fn mangled_answers_never_panic_and_never_hang() {
    let whole = [
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 20\r\n\r\nreceivers: {otlp: {}}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n1\r\nf\r\n0\r\nT: r\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /else?a=b#c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 12\r\n\r\nno",
    ];
    let server = Server::new();
    let client = Client::new(&impatient()).unwrap();
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..400 {
        let mut bytes = dice.choice(whole).unwrap().as_bytes().to_vec();
        for _ in 0..dice.usize(1..6) {
            let at = dice.usize(..bytes.len());
            match dice.u8(..4) {
                0 => bytes[at] = dice.u8(..),
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, dice.choice(*b"\r\n:; 0f\xff").unwrap()),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        server.answer(Answer::Raw(bytes));
        let _ = send(&client, &get(server.url()));
    }
}

#[test]
fn an_unreachable_server_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fetch(&settings(), format!("http://127.0.0.1:{port}/v1?key=s3cret")).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("http://127.0.0.1:{port}/v1: ")), "{said}");
    assert_eq!(error.kind().word(), "connect");

    // A label of 64 letters is too long, so the resolver refuses it without a query.
    let host = format!("{}.example", "a".repeat(64));
    let error = fetch(&settings(), format!("http://{host}/v1")).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with(&format!("http://{host}/v1: name {host} does not resolve: ")), "{said}");
    assert_eq!(error.kind().word(), "resolve");
}

#[test]
fn redirects_are_followed_on_the_same_server_only() {
    let (server, other) = (Server::new(), Server::new());
    server.offer("a: 1");
    server.answer_once(Answer::RedirectTo("/else?a=b#c".into()));
    assert_eq!(fetch(&settings(), server.url()).unwrap().body, b"a: 1");
    let asked = server.requests();
    assert_eq!(asked[1].path, "/else?a=b");
    assert_eq!(asked[1].header("x-token"), Some("s3cret"));

    server.answer(Answer::RedirectTo(other.url() + "?key=s3cret"));
    let error = fetch(&settings(), server.url()).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: redirects to {}, another port", server.url(), other.url()));
    assert_eq!(error.kind().word(), "redirect");
    assert!(other.requests().is_empty());
}

#[test]
fn a_loop_of_redirects_ends_after_five() {
    let server = Server::new();
    server.answer(Answer::RedirectLoop);
    let said = fetch(&settings(), server.url()).unwrap_err().to_string();
    assert!(said.contains("redirects more than 5 times, at last to http://127.0.0.1"), "{said}");
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn all_redirects_together_have_one_time_limit() {
    let slow = Answer::Delay(SHORT / 2, Answer::RedirectTo("/again".into()).into());
    let server = Server::new();
    server.answer(slow);
    let started = Instant::now();
    let error = fetch(&impatient(), server.url()).unwrap_err();
    assert_eq!(error.kind().word(), "timeout", "{error}");
    assert!(started.elapsed() < SHORT * 4, "{:?}", started.elapsed());
}

#[test]
fn an_address_with_a_zone_is_reached_by_its_link() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let answer = fetch(&settings(), format!("http://[::1%251]:{port}/")).unwrap();
    assert_eq!(answer.body, b"ok");
    server.join().unwrap();
}
