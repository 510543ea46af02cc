//! `cargo xtask demo`: the agent with a real Collector, on loopback, through what happens on edge hosts: good configs,
//! bad ones, a killed collector, a server that is away. Each step is told, and counts only once it was observed, through
//! `otelet status --json` and through the telemetry that arrives at a sink.

pub mod agent;
mod configs;
mod http;
mod measure;
mod server;
mod sink;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::console::{self, Paint, Progress};
use crate::demo::agent::Agent;
use crate::demo::server::Server;
use crate::demo::sink::Sink;
use crate::{Failure, Flags, collector, places};

/// How long the demo waits for something to be observed. Generous: it also has to hold on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let (mut exit, mut whole_lines) = (false, false);
    let mut flags = Flags::new("demo", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--exit" => exit = true,
            "--whole-lines" => whole_lines = true,
            _ => return Err(flags.unknown(name)),
        }
    }

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone())
            .map_err(|cause| format!("cannot listen for Ctrl-C: {cause}"))?;
    }
    let paint = console::stdout();
    console::say(&paint.bold("otelet demo: a small agent keeps a real Collector running, whatever comes"));
    let collector = collector::find()?;
    let binary = agent::binary()?;

    let folder = std::env::temp_dir().join(format!("otelet-demo-{}", std::process::id()));
    let done = Stage::set(&folder, collector, binary, interrupted.clone()).and_then(|mut stage| {
        stage.whole_lines = whole_lines;
        stage.play(exit).map_err(|reason| stage.explain(reason))
    });
    match done {
        Ok(()) => {
            fs::remove_dir_all(&folder).ok();
            Ok(())
        }
        Err(reason) if interrupted.load(Relaxed) => {
            fs::remove_dir_all(&folder).ok();
            Err(Failure::Failed(reason))
        }
        Err(reason) => Err(Failure::Failed(format!("{reason}\nthe files of the run are in {}", folder.display()))),
    }
}

/// All that takes part.
struct Stage {
    paint: Paint,
    interrupted: Arc<AtomicBool>,
    collector: PathBuf,
    binary: PathBuf,
    folder: PathBuf,
    /// The file that the server serves.
    served: PathBuf,
    server: Server,
    sink: Sink,
    agent: Option<Agent>,
    whole_lines: bool,
    /// The collector's process id, as last seen.
    child: u64,
    /// The SHA-256 of the config that should be running.
    good: String,
    /// Rows of the summary that the steps found out.
    found: Vec<(&'static str, String)>,
}

impl Stage {
    fn set(folder: &Path, collector: PathBuf, binary: PathBuf, interrupted: Arc<AtomicBool>) -> Result<Stage, String> {
        let served = folder.join("served");
        fs::create_dir_all(&served).map_err(|cause| format!("{}: cannot create: {cause}", served.display()))?;
        let no_port = |cause| format!("127.0.0.1: cannot listen: {cause}");
        Ok(Stage {
            paint: console::stdout(),
            interrupted,
            collector,
            binary,
            folder: folder.to_path_buf(),
            server: Server::new(&served).map_err(no_port)?,
            served: served.join("config.yaml"),
            sink: Sink::new().map_err(no_port)?,
            agent: None,
            whole_lines: false,
            child: 0,
            good: String::new(),
            found: Vec::new(),
        })
    }

    fn play(&mut self, exit: bool) -> Result<(), String> {
        let size = fs::metadata(&self.binary).map_or(0, |file| file.len());
        self.tell(&format!("agent      {}, {}", self.binary.display(), console::bytes(size)));
        self.tell(&format!("collector  {}", self.collector.display()));
        self.tell(&format!("served     {} as {}", self.served.display(), self.server.url("config.yaml")));
        self.tell(&format!("sink       {}: takes OTLP/JSON and counts", self.sink.endpoint("")));
        for (number, (name, step)) in story::STEPS.into_iter().enumerate() {
            let number = number + 1;
            console::say("");
            console::say(&self.paint.bold(&format!("{number}. {name}")));
            step(self).map_err(|reason| format!("step {number}, {name}: {reason}"))?;
        }
        console::say("");
        console::say(&self.paint.bold("Summary"));
        self.summary()?;
        if !exit {
            self.stay()?;
        }
        self.end().map_err(|reason| format!("the end: {reason}"))
    }

    /// Adds the agent's last lines to the reason of a failure, and ends the agent.
    fn explain(&mut self, reason: String) -> String {
        let lines = self.agent.as_ref().map_or_else(Vec::new, |agent| agent.last_lines(12));
        let already = self.told_to_stop();
        if let Some(mut agent) = self.agent.take() {
            agent.stop(already).ok();
        }
        if lines.is_empty() || self.interrupted.load(Relaxed) {
            return reason;
        }
        format!("{reason}\nthe agent's last lines:\n  {}", lines.join("\n  "))
    }

    /// Stays until Ctrl-C and tells each change.
    fn stay(&mut self) -> Result<(), String> {
        self.offer(&configs::better(&self.sink.endpoint("better")))?;
        console::say("");
        console::say(&self.paint.bold("Everything keeps running: edit the served file and watch; Ctrl-C stops it"));
        self.tell(&format!("{}", self.served.display()));
        self.tell(&format!("{} status --runtime-dir={}", self.binary.display(), self.folder.join("run").display()));
        let mut told = String::new();
        while !self.interrupted.load(Relaxed) {
            if let Some(status) = self.agent.as_mut().and_then(Agent::ended) {
                return Err(format!("the agent ended with {status}"));
            }
            if let Ok(status) = self.status() {
                self.child = number(&status, "/collector/pid");
                let now = format!(
                    "{}, running {}",
                    text(&status, "/config/remote_config_status"),
                    short(&text(&status, "/config/effective_hash"))
                );
                if now != told {
                    self.seen(&format!("{now}; {} data points so far", self.sink.points()));
                    told = now;
                }
            }
            thread::sleep(Duration::from_millis(300));
        }
        console::say("");
        Ok(())
    }

    /// Whether the agent got the Ctrl-C too, as in a terminal: a second signal would hurry it.
    fn told_to_stop(&mut self) -> bool {
        let patience = Instant::now() + Duration::from_secs(1);
        while self.interrupted.load(Relaxed) && Instant::now() < patience {
            let Some(agent) = self.agent.as_mut() else {
                return false;
            };
            let stopping = |status: Value| text(&status, "/agent/state") == "stopping";
            if agent.ended().is_some() || agent.status().is_ok_and(stopping) {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Ends the agent, and the collector by it.
    fn end(&mut self) -> Result<(), String> {
        let already = self.told_to_stop();
        let mut agent = self.agent.take().ok_or("the agent is not running")?;
        if let Ok(status) = agent.status() {
            self.child = number(&status, "/collector/pid");
        }
        let asked = Instant::now();
        let status = agent.stop(already)?;
        if !status.success() {
            return Err(format!("the agent ended with {status}, expected 0"));
        }
        if measure::exists(self.child) == Some(true) {
            return Err(format!("the collector, pid {}, outlived the agent", self.child));
        }
        let time = match already {
            true => String::new(),
            false => format!(", {} after it was asked", console::seconds(asked.elapsed())),
        };
        self.seen(&format!("agent and collector ended in order{time}"));
        Ok(())
    }

    /// Puts a config where the server finds it, whole at once; returns its SHA-256.
    fn offer(&self, config: &str) -> Result<String, String> {
        let cannot = |cause| format!("{}: cannot write: {cause}", self.served.display());
        let new = self.folder.join("config.new");
        fs::write(&new, config).map_err(cannot)?;
        let hash = places::sha256_of_file(&new)?;
        fs::rename(&new, &self.served).map_err(cannot)?;
        Ok(hash)
    }

    /// Waits until the config with this hash is applied and is the last good one.
    fn applied(&mut self, hash: &str) -> Result<Value, String> {
        self.wait_for("the config applied and through its probation", |stage| {
            let status = stage.status()?;
            let done = text(&status, "/config/remote_config_status") == "applied"
                && text(&status, "/config/last_good_hash") == hash
                && stage.up(&status, hash);
            Ok(done.then_some(status))
        })
    }

    /// Waits until the config with this hash is refused and the good one runs; returns the reason as well.
    fn refused(&mut self, hash: &str) -> Result<(Value, String), String> {
        self.wait_for("the config refused and the one before it running", |stage| {
            let status = stage.status()?;
            let refused = status
                .pointer("/config/refused")
                .and_then(Value::as_array)
                .and_then(|all| all.iter().find(|one| text(one, "/hash") == hash))
                .map(|one| text(one, "/reason"));
            let failed = text(&status, "/config/remote_config_status") == "failed";
            let back = failed && stage.up(&status, &stage.good);
            Ok(refused.filter(|_| back).map(|reason| (status, reason)))
        })
    }

    /// Waits for `count` exports of the better config after `then`.
    fn flows_since(&mut self, then: Instant, count: usize) -> Result<(), String> {
        self.wait_for("data at the sink", |stage| Ok((stage.sink.seen("better").since(then) >= count).then_some(())))
    }

    /// Whether the collector is up and healthy on the config with this hash.
    fn up(&self, status: &Value, hash: &str) -> bool {
        text(status, "/collector/state") == "up"
            && status.pointer("/collector/healthy") == Some(&Value::Bool(true))
            && text(status, "/config/effective_hash") == hash
    }

    /// The status, as soon as there is one.
    fn status_now(&mut self) -> Result<Value, String> {
        self.wait_for("a status", |stage| stage.status().map(Some))
    }

    fn status(&self) -> Result<Value, String> {
        self.agent.as_ref().ok_or("the agent is not running")?.status()
    }

    /// Waits until `look` finds something; while the agent has no status yet, it has found nothing.
    fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Stage) -> Result<Option<T>, String>,
    ) -> Result<T, String> {
        let mut progress = Progress::new(&format!("waiting for {what}"));
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = look(self);
            if let Ok(Some(found)) = found {
                return Ok(found);
            }
            if self.interrupted.load(Relaxed) {
                return Err("interrupted".to_owned());
            }
            if let Some(status) = self.agent.as_mut().and_then(Agent::ended) {
                return Err(format!("the agent ended with {status}"));
            }
            if Instant::now() > deadline {
                let last = match (found, self.status()) {
                    (Err(reason), _) | (_, Err(reason)) => reason,
                    (Ok(_), Ok(status)) => status.to_string(),
                };
                return Err(format!("not seen within {}: {what}\nlast status: {last}", console::seconds(LIMIT)));
            }
            progress.tick("");
            thread::sleep(Duration::from_millis(30));
        }
    }

    fn tell(&self, line: &str) {
        console::say(&format!("   {line}"));
    }

    fn seen(&self, line: &str) {
        console::say(&format!("   {} {line}", self.paint.green("seen:")));
    }
}

fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// A hash as the log prints it.
fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}
