//! Any status with any headers and any body from a config server: only a 200 brings a config, only an expected 304
//! or the known date means "unchanged", and every stored value can be sent with the next request.

#![no_main]

#[path = "../report.rs"]
mod report;

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use otelet::http::{Method, Response, check_header};
use otelet::settings::WayOut;
use otelet::source::url::Get;
use otelet::source::{Offer, Protocol};
use otelet_core::decide::Validator;
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

fuzz_target!(|data: &[u8]| {
    let get = Get::new("https://config.example/v1", Vec::new(), None, WayOut::CONFIG).expect("a good URL");
    let report = report::report();
    // Three answers in turn; each may depend on values that the one before left behind.
    for (number, part) in data.splitn(3, |byte| *byte == 0xff).enumerate() {
        let conditional = number < 2;
        let before = get.validator();
        let request = get.request(&report, conditional).expect("it needs no file");
        for (name, value) in &request.headers {
            check_header(name, value).expect("what was kept can be sent");
        }
        let by_date = request.method == Method::Head;
        let asked = by_date || request.headers.iter().any(|(name, _)| name.starts_with("If-"));
        assert_eq!(asked, conditional && before != Validator::None);

        let response = response(part);
        let (status, body) = (response.status, response.body.clone());
        match get.offer(response).map(|answer| answer.offer) {
            Ok(Offer::Config { body: offered }) => {
                assert!(matches!(status, 200 | 203) && *offered == *body && !body.trim_ascii().is_empty());
            }
            Ok(Offer::Empty) => assert!(matches!(status, 200 | 203) && get.validator() == Validator::None),
            Ok(Offer::Unchanged) => assert!(asked && (by_date || status == 304)),
            Err(failure) => {
                assert!(!matches!(status, 200 | 203) && failure.message.contains(&status.to_string()), "{failure}");
                assert_eq!(get.validator(), before, "a failure forgets nothing");
            }
        }
    }
});

/// Two bytes of status, lines of headers up to an empty one, a body.
fn response(part: &[u8]) -> Response {
    let (status, rest) = part.split_at_checked(2).unwrap_or((&[0, 200], part));
    let status = u16::from_be_bytes([status[0], status[1]]);
    let mut headers = HeaderMap::new();
    let mut rest = rest;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..at], &rest[at + 1..]);
        rest = after;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    Response { body: rest.to_vec(), ..Response::head(status, &headers, SystemTime::UNIX_EPOCH) }
}
