//! Answers that browsers understand are understood too, within limits: a `Location` that is not escaped, a head that is
//! long, folded or has many fields, and a 203 of a proxy.

use super::host::{Host, config};
use super::server::Answer;

fn raw(head: &str, body: &str) -> Answer {
    Answer::Raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[test]
fn a_location_is_escaped_as_browsers_do() {
    for (location, path) in [
        (&b"/files/site 12.yaml"[..], "/files/site%2012.yaml"),
        ("/files/Werk-S\u{fc}d.yaml".as_bytes(), "/files/Werk-S%C3%BCd.yaml"),
        (b"/files/Werk-S\xfcd.yaml", "/files/Werk-S%FCd.yaml"),
        (b"\"files\"/{site}/../a|b.yaml?x=y z", "/%22files%22/a%7Cb.yaml?x=y%20z"),
    ] {
        let host = Host::new();
        let good = config("good");
        let head = [b"HTTP/1.1 302 Found\r\nLocation: ", location, b"\r\nContent-Length: 0\r\n\r\n"].concat();
        host.server.answer(Answer::Config(good.clone().into_bytes()));
        host.server.answer_once(Answer::Raw(head));
        let agent = host.agent().start();

        agent.applied(&good);

        assert_eq!(host.server.requests()[1].path, path);
        assert_eq!(agent.logged("config poll failed"), 0, "{}", agent.log());
    }
}

#[test]
fn a_location_that_cannot_be_followed_is_shown() {
    let host = Host::new();
    host.server.answer(Answer::RedirectTo("https://u:hunter2@s\u{fc}d.example/a b?key=hunter2".into()));
    let agent = host.agent().start();

    let line = agent.logs("not a usable http:// or https:// URL: ");

    assert!(line.contains("s%C3%BCd.example/a%20b; check config.url"), "{line}");
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());
}

#[test]
fn a_long_or_folded_head_and_a_203_bring_a_config() {
    let policy = format!("Content-Security-Policy: {}\r\n", "default-src 'self'; ".repeat(2000));
    let cookies: String = (0..300).map(|n| format!("Set-Cookie: c{n}=x\r\n")).collect();
    let host = Host::new();
    let agent = host.agent_running(&config("first"));
    for (name, head) in [
        ("long", format!("HTTP/1.1 200 OK\r\n{policy}")),
        ("many", format!("HTTP/1.1 200 OK\r\n{cookies}")),
        ("folded", "HTTP/1.1 200 OK\r\nX-Via: a\r\n b\r\nETag:\r\n\t\"f\"\r\nX-End: a,\r\n  b\r\n".to_owned()),
        ("hinted", format!("HTTP/1.1 103 Early Hints\r\n{policy}\r\nHTTP/1.1 203 Changed\r\n")),
    ] {
        let body = config(name);
        host.server.answer(raw(&head, &body));

        agent.applied(&body);
    }
    host.server.wait_for("the folded ETag to be sent", |asked| {
        asked.iter().any(|one| one.header("if-none-match") == Some("\"f\""))
    });
    assert_eq!(agent.logged("config poll failed"), 0, "{}", agent.log());
}

#[test]
fn a_head_without_end_is_refused() {
    let host = Host::new();
    let good = config("good");
    let agent = host.agent_running(&good);
    host.server.answer(Answer::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n".to_vec()));

    agent.logs("a line or the head of the answer is too large");

    agent.applied_still(&good);
}
