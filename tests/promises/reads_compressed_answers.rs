//! An answer counts whatever its `Content-Encoding` says: gzip and deflate are undone, labels that say nothing about the
//! bytes are ignored, and a body that nobody needs is not judged. An export that was taken is never sent again.

use std::io::Write;

use otelet_wire::otlp::{PartialSuccess, Response};
use prost::Message;

use super::exports_once::{exporting, snapshots, status_when};
use super::host::{Host, config, wait_until};
use super::server::{Answer, Server};

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// An answer with this `Content-Encoding`.
fn encoded(encoding: &str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::Status(200, vec![("Content-Encoding".into(), encoding.into())], body.into())
}

/// Bytes that are no text, as brotli makes them.
const BROTLI: &[u8] = b"\x0b\x06\x80receivers\x03";

#[test]
fn a_config_is_taken_from_servers_that_compress_or_label_it() {
    for (encoding, compressed) in
        [("", false), ("aws-chunked", false), ("utf-8", false), ("br", false), ("gzip", true), ("gzip", false)]
    {
        let host = Host::new();
        let agent = host.agent_running(&config("first"));
        let body = config(&format!("as-{encoding}-{compressed}"));
        host.server.answer(encoded(encoding, if compressed { gzip(&body) } else { body.clone().into_bytes() }));

        agent.applied(&body);
        assert_eq!(agent.logged("config poll failed"), 0, "{}", agent.log());
    }
}

#[test]
fn a_config_that_cannot_be_decompressed_is_refused_with_the_way_out() {
    let host = Host::new();
    host.set("config.max_size", "64KiB");
    let good = config("good");
    let agent = host.agent_running(&good);

    host.server.answer(encoded("br", BROTLI));
    let said = agent.logs("answered with content-encoding br");
    assert!(
        said.contains("only gzip and deflate are read; switch it off at config.url or a proxy before it"),
        "{said}"
    );

    // A few KiB on the wire, a hundred times the limit when decompressed.
    host.server.answer(encoded("gzip", gzip("#".repeat(6 << 20))));
    agent.logs("body is larger than config.max_size 64KiB");

    agent.applied_still(&good);
}

#[test]
fn an_export_that_was_taken_is_not_sent_again_whatever_the_answer_says() {
    for answer in [encoded("gzip", gzip("")), encoded("br", BROTLI), encoded("gzip", &b"\x1f\x8b\x08torn"[..])] {
        let (host, sink) = exporting();
        sink.answer(answer);
        let agent = host.agent_running(&config("good"));

        let asked = sink.wait_for("ten snapshots", |asked| snapshots(asked).len() >= 10);

        let times = snapshots(&asked);
        assert!(times.is_sorted_by(|one, other| one < other), "each once: {times:?}");
        let status = status_when(&host, &agent, |status| status.export.sent > 10);
        assert_eq!(status.export.failed, 0);
        assert_eq!(agent.logged("export failed"), 0);
    }
}

#[test]
fn a_partial_rejection_is_counted_in_a_compressed_answer() {
    let (host, sink) = exporting();
    let partial = PartialSuccess { rejected: 2, error_message: "too old".into() };
    sink.answer(encoded("gzip", gzip(Response { partial_success: Some(partial) }.encode_to_vec())));
    let agent = host.agent_running(&config("good"));

    agent.logs("were rejected: too old");

    status_when(&host, &agent, |status| status.losses.export.refused_points >= 4);
}

#[test]
fn a_report_and_an_alert_count_as_taken_by_their_status_alone() {
    for answer in [encoded("br", BROTLI), Answer::HugeContentLength, Answer::ResetMidBody] {
        let (host, sink) = (Host::new(), Server::new());
        sink.answer(answer);
        host.set("report.url", &sink.at("/report"));
        host.set("host.sample_every", "100ms");
        host.set("alerts", "[{name: always, metric: system.memory.usage, above: 1}]");
        host.set("webhook.url", &sink.at("/alerts"));
        let agent = host.agent_running(&config("good"));

        sink.wait_for("an alert and a report", |asked| {
            ["/report", "/alerts"].iter().all(|path| asked.iter().any(|one| one.path == *path))
        });
        let status = status_when(&host, &agent, |status| status.reports.sent > 0 && status.webhook.sent > 0);

        assert_eq!((status.reports.failed, status.webhook.failed), (0, 0));
    }
}

#[test]
fn a_check_looks_into_a_compressed_page_and_needs_no_body_for_its_status() {
    let host = Host::new();
    let (page, foreign) = (Server::new(), Server::new());
    page.answer(encoded("gzip", gzip(format!("<html>{} all is well</html>", "blah ".repeat(20_000)))));
    foreign.answer(encoded("br", BROTLI));
    host.set(
        "checks",
        &format!(
            "\n  - name: text\n    http: '{0}'\n    body: <html>blah\n    every: 1s\n    timeout: 5s\n  - name: status\n    \
             http: '{1}'\n    every: 1s\n    timeout: 5s\n  - name: foreign\n    http: '{1}'\n    body: x\n    every: 1s\n    timeout: 5s\n",
            page.url(),
            foreign.url()
        ),
    );
    let agent = host.agent_running(&config("good"));

    agent.wait_status("the checks", |status| {
        let ok = |name| status.checks.iter().find(|check| check.name == name).and_then(|check| check.ok);
        (ok("text"), ok("status"), ok("foreign")) == (Some(true), Some(true), Some(false))
    });
    let status = agent.status(&host);
    let said = &status.checks.iter().find(|check| check.name == "foreign").unwrap().message;
    assert!(said.contains("answered with content-encoding br"), "{said}");
    wait_until("the failure to be logged", || agent.logged("check foreign failed") == 1);
}
