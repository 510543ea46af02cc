//! Any answers of an OpAMP server, several in turn: each is accepted or refused without a panic, and every stored value
//! can be sent with the next request.

#![no_main]

#[path = "../report.rs"]
mod report;

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use otelet::http::{Response, check_header};
use otelet::source::opamp::OpAmp;
use otelet::source::{Answer, Offer, Orders, Protocol};
use ureq::http::HeaderMap;

const URL: &str = "https://opamp.example/v1/opamp";

fuzz_target!(|data: &[u8]| {
    let settings = report::settings(&["--config-url=https://opamp.example/v1/opamp", "--config-protocol=opamp"]);
    let opamp = OpAmp::new(URL, &settings.config, None).expect("a good URL");
    let report = report::report();
    for (number, part) in data.splitn(4, |byte| *byte == 0xff).enumerate() {
        let request = opamp.request(&report, number % 2 == 0).expect("it needs no file");
        for (name, value) in &request.headers {
            check_header(name, value).expect("what was kept can be sent");
        }
        let status = match part.first() {
            Some(0) => 413,
            Some(1) => 429,
            Some(2) => 503,
            _ => 200,
        };
        let head = Response::head(status, &HeaderMap::new(), SystemTime::UNIX_EPOCH);
        let response = Response { body: part.to_vec(), ..head };
        if let Ok(answer) = opamp.offer(response) {
            // Any answer to a goodbye counts: the agent then reports its full state to another server.
            let nothing = Answer { offer: Offer::Unchanged, orders: Orders { again: true, ..Orders::default() } };
            assert!(status == 200 || answer == nothing, "{status} brought {answer:?}");
            if let Offer::Config { body } = answer.offer {
                assert!(!body.trim_ascii().is_empty(), "a blank config is none");
            }
        }
        opamp.has_news(&report);
    }
    opamp.goodbye(&report);
});
