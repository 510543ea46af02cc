//! What was answered is kept: the program is killed at random moments under messages and edits, and started again.
//!
//! `KILLS=100` for the long run.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use otelet_wire::KeyValue;
use prost::Message;

use crate::kit::{Agent, CONFIG, TestHub, ask_if_there, audit};

struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(dir: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_otelet-hub"))
            .args(["serve", "--tls=none", "--listen=127.0.0.1:0"])
            .arg(format!("--data={}", dir.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?}"));
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn all_that_was_answered_is_there_after_each_kill() {
    let kills: u64 = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    // The first hub makes tokens, then leaves the file to the program.
    let mut hub = TestHub::new();
    let editor = hub.run(hub.auth.make_token("ci", otelet_hub::auth::Role::Editor, i64::MAX, "anna", audit())).unwrap();
    let enrolment = hub.enrolment(3);
    let mut agents: Vec<Agent> = (1..=3).map(|n| Agent::new(n, &enrolment)).collect();
    for _ in 0..2 {
        agents.iter_mut().for_each(|agent| _ = agent.poll(&hub));
    }
    let dir = std::mem::take(&mut hub.dir);
    drop(hub);

    let mut rng = fastrand::Rng::with_seed(7);
    // By agent: the newest value that was answered. And the newest version that was.
    let told = Mutex::new([0_u64; 3]);
    let saved = Mutex::new(0_i64);
    for round in 0..kills {
        let program = Program::start(&dir);
        let address = program.address;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (place, agent) in agents.iter().enumerate() {
                let (told, stop) = (&told, &stop);
                scope.spawn(move || {
                    let mut value = told.lock().unwrap()[place];
                    while !stop.load(Ordering::Relaxed) {
                        value += 1;
                        let mut message = agent.says();
                        let description = message.agent_description.as_mut().unwrap();
                        description.non_identifying.push(KeyValue::new("count", value.to_string()));
                        let bearer = format!("Bearer {}", agent.token);
                        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/x-protobuf")];
                        let answer = ask_if_there(address, "POST", "/v1/opamp", &headers, &message.encode_to_vec());
                        if answer.is_some_and(|answer| answer.status == 200) {
                            told.lock().unwrap()[place] = value;
                        }
                    }
                });
            }
            let (saved, stop_too, editor) = (&saved, &stop, &editor);
            scope.spawn(move || {
                while !stop_too.load(Ordering::Relaxed) {
                    let base = *saved.lock().unwrap();
                    let (bearer, tag) = (format!("Bearer {editor}"), format!("\"{base}\""));
                    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                    if base > 0 {
                        headers.push(("If-Match", &tag));
                    }
                    let body = serde_json::json!({"text": format!("# {base}\n{CONFIG}")}).to_string();
                    match ask_if_there(address, "PUT", "/api/v1/configs/edge", &headers, body.as_bytes()) {
                        Some(answer) if answer.status == 201 => *saved.lock().unwrap() += 1,
                        // The answer of the one before was lost; it was kept, which is allowed.
                        Some(answer) if answer.status == 412 => *saved.lock().unwrap() += 1,
                        Some(answer) => panic!("{}: {}", answer.status, answer.text()),
                        None => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(rng.u64(30..400)));
            program.kill();
            stop.store(true, Ordering::Relaxed);
        });

        let hub = TestHub::at(dir.clone());
        let versions = hub.run(otelet_hub::configs::versions(&hub.hub, Some("edge"))).unwrap();
        let newest = versions.first().map_or(0, |version| version.number);
        let answered = *saved.lock().unwrap();
        assert!(newest >= answered, "round {round}: version {answered} was answered, {newest} is there");
        *saved.lock().unwrap() = newest;
        for (place, agent) in agents.iter().enumerate() {
            let count = hub.member(agent.uid).agent.local.get("count").and_then(|count| count.parse().ok());
            let answered = told.lock().unwrap()[place];
            assert!(count.unwrap_or(0) >= answered, "round {round}: {answered} was answered, {count:?} is there");
        }
        // The directory is for the next round.
        hub.leave();
    }
    println!(
        "{kills} kills: {} messages and {} versions",
        told.lock().unwrap().iter().sum::<u64>(),
        saved.lock().unwrap()
    );
    std::fs::remove_dir_all(dir).unwrap();
}
