//! Any bytes from a server, through the HTTP client itself: they give an answer or an error, in time and within the
//! limits, and never a panic, which would end the agent.
//!
//! The input is up to three answers with a byte 0xff between; the last one may be to a redirect.

#![no_main]

#[path = "../report.rs"]
mod report;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use otelet::http::{Client, HttpSettings, Method, Reads, Redirects, Request};
use otelet::settings::WayOut;
use otelet::source::url::Get;
use otelet::source::{Offer, Protocol};

const MAX_SIZE: u64 = 4096;

/// The server's answers to the connections to come.
struct Server {
    url: String,
    answers: Mutex<Sender<Vec<u8>>>,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("it is bound"));
        let (answers, next) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut head: Vec<u8> = Vec::new();
                let mut bytes = [0; 4096];
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut bytes) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => head.extend(&bytes[..read]),
                    }
                }
                // The connection ends when there is no answer left.
                let _ = stream.write_all(&next.try_recv().unwrap_or_default());
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        Server { url, answers: Mutex::new(answers) }
    })
}

fuzz_target!(|data: &[u8]| {
    let server = server();
    let settings = HttpSettings {
        timeout: Duration::from_secs(5),
        max_size: MAX_SIZE,
        ca_file: None,
        fingerprint: None,
        client_cert_file: None,
        client_key_file: None,
        http_proxy: None,
        https_proxy: None,
        no_proxy: String::new(),
    };
    let client = Client::new(&settings).expect("good settings");
    let get = Get::new(&server.url, Vec::new(), None, WayOut::CONFIG).expect("a good URL");
    let report = report::report();
    for part in data.splitn(3, |byte| *byte == 0xff) {
        server.answers.lock().expect("nobody panics").send(part.to_vec()).expect("the server is there");
        let request = get.request(&report, true).expect("it needs no file");
        let begun = Instant::now();
        let answer = client.send(&request);
        assert!(begun.elapsed() < settings.timeout * 2, "{:?}", begun.elapsed());
        match answer {
            Ok(response) => {
                assert!(response.body.len() as u64 <= MAX_SIZE);
                assert!(response.body.is_empty() || (200..300).contains(&response.status));
                if let Ok(Offer::Config { body }) = get.offer(response).map(|answer| answer.offer) {
                    assert!(!body.trim_ascii().is_empty());
                }
            }
            Err(error) => {
                let said = error.to_string();
                let root = server.url.trim_end_matches("v1");
                assert!(said.starts_with(root) && said.len() < 6_000 && !said.contains('\n'), "{said}");
            }
        }
    }
    // An answer that was left over must not serve the next input.
    let drain = Request {
        method: Method::Post,
        url: server.url.clone(),
        headers: Vec::new(),
        body: Vec::new(),
        reads: Reads::Beginning,
        redirects: Redirects::Same,
    };
    let _ = client.send(&drain);
});
