//! The story of the demo, step by step: what is done, and what has to be seen for it to count; then what it all cost.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::run_within;
use crate::console::{self, Progress};
use crate::demo::agent::{self, Agent};
use crate::demo::{LIMIT, Stage, configs, measure, number, sink, text};

/// Time over which the agent's wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// A step: what happens, and the code that does and observes it.
pub type Step = (&'static str, fn(&mut Stage) -> Result<(), String>);

/// The steps in their order; each builds on those before it.
pub const STEPS: [Step; 6] = [
    ("a good config is applied, and data flows", Stage::good),
    ("a better config is applied, and other data flows", Stage::better),
    ("a broken config is refused; nothing stops", Stage::broken),
    ("a config that validates and then dies is rolled back", Stage::doomed),
    ("the collector is killed with -9, and comes back", Stage::killed),
    ("the config server goes away; telemetry does not", Stage::away),
];

impl Stage {
    fn good(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let hash = self.offer(&configs::good(&self.sink.endpoint("good")))?;
        self.tell("the agent is started; it fetches the config, validates it and starts the collector");
        let url = self.server.url("config.yaml");
        self.agent = Some(Agent::start(&self.binary, &self.collector, &url, &self.folder, self.whole_lines)?);
        let status = self.applied(&hash)?;
        self.seen(&format!(
            "applied, and the last good config after {}: collector pid {}, watched by {}",
            console::seconds(started.elapsed()),
            number(&status, "/collector/pid"),
            text(&status, "/collector/witness"),
        ));
        let data = self.wait_for("two exports at the sink", |stage| {
            let data = stage.sink.seen("good");
            Ok((data.arrivals.len() >= 2 && data.memory_used.is_some()).then_some(data))
        })?;
        self.seen(&format!(
            "{} data points, one export each {}; memory in use on this host: {}",
            data.points,
            gap(&data),
            memory(&data)
        ));
        self.good = hash;
        Ok(())
    }

    fn better(&mut self) -> Result<(), String> {
        let hash = self.offer(&configs::better(&self.sink.endpoint("better")))?;
        self.tell("served: one second instead of five, and the load of this host besides");
        self.applied(&hash)?;
        let data = self.wait_for("an export each second with the load in it", |stage| {
            let data = stage.sink.seen("better");
            let quick = data.last_gap().is_some_and(|gap| gap < Duration::from_secs(3));
            Ok((data.arrivals.len() >= 3 && quick && data.load.is_some()).then_some(data))
        })?;
        let names: Vec<&str> = data.names.iter().map(String::as_str).collect();
        self.seen(&format!(
            "applied; one export each {} now; load {:.2}, memory in use {}",
            gap(&data),
            data.load.unwrap_or_default(),
            memory(&data)
        ));
        self.tell(&format!("metrics: {}", names.join(", ")));
        self.good = hash;
        Ok(())
    }

    fn broken(&mut self) -> Result<(), String> {
        let before = self.status_now()?;
        let hash = self.offer(&configs::broken(&self.sink.endpoint("broken")))?;
        self.tell("served: a config that names a receiver `hostmetricz`");
        let (status, reason) = self.refused(&hash)?;
        self.seen(&format!("refused, in the collector's own words: {reason}"));
        let (old, new) = (number(&before, "/collector/pid"), number(&status, "/collector/pid"));
        if old != new {
            return Err(format!("the collector was restarted: pid {old}, now {new}"));
        }
        self.flows_since(Instant::now(), 2)?;
        self.seen(&format!("pid {new} runs on, and its data keeps coming"));
        Ok(())
    }

    fn doomed(&mut self) -> Result<(), String> {
        let thief = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|cause| format!("127.0.0.1: cannot listen: {cause}"))?;
        let port = thief.local_addr().map_err(|cause| format!("no address: {cause}"))?.port();
        let config = configs::doomed(&self.sink.endpoint("doomed"), port);
        self.validates(&config)?;
        self.seen(&format!("`validate` has nothing against a receiver on port {port}, which is taken"));
        let offered = Instant::now();
        let hash = self.offer(&config)?;
        let (_, reason) = self.refused(&hash)?;
        self.seen(&format!("rolled back after {}: {reason}", console::seconds(offered.elapsed())));
        self.flows_since(Instant::now(), 2)?;
        let silence = self.sink.seen("better").longest_gap_since(offered);
        self.seen(&format!(
            "the better config runs again; its data, due each second, paused for {}",
            console::seconds(silence)
        ));
        self.found.push(("longest pause of data in a rollback", console::seconds(silence)));
        Ok(())
    }

    fn killed(&mut self) -> Result<(), String> {
        let before = self.status_now()?;
        let old = number(&before, "/collector/pid");
        self.tell(&format!("kill -9 {old}"));
        let killed = Instant::now();
        agent::signal("KILL", old)?;
        let status = self.wait_for("another collector up and healthy", |stage| {
            let status = stage.status()?;
            let other = number(&status, "/collector/pid") != old && stage.up(&status, &stage.good);
            Ok(other.then_some(status))
        })?;
        let up = killed.elapsed();
        self.flows_since(killed, 1)?;
        let data = self.sink.seen("better").first_after(killed).unwrap_or(killed);
        self.seen(&format!(
            "pid {} is up and healthy after {}; data again after {}",
            number(&status, "/collector/pid"),
            console::seconds(up),
            console::seconds(data - killed)
        ));
        self.found.push(("collector killed, healthy again after", console::seconds(up)));
        Ok(())
    }

    fn away(&mut self) -> Result<(), String> {
        let before = self.status_now()?;
        let failed = number(&before, "/exchanges/failed");
        self.tell("the config server is taken down");
        let gone = Instant::now();
        self.server.down();
        let status = self.wait_for("two failed polls", |stage| {
            let status = stage.status()?;
            Ok((number(&status, "/exchanges/failed") >= failed + 2).then_some(status))
        })?;
        self.flows_since(gone, 3)?;
        if !self.up(&status, &self.good) {
            return Err("the collector did not stay up on its config".to_owned());
        }
        self.seen(&format!(
            "{} polls failed ({}); {} exports came meanwhile",
            number(&status, "/exchanges/failed") - failed,
            text(&status, "/exchanges/last_error"),
            self.sink.seen("better").since(gone)
        ));
        let unchanged = number(&self.status_now()?, "/exchanges/unchanged");
        let back = Instant::now();
        self.server.up().map_err(|cause| format!("the server cannot come back: {cause}"))?;
        self.wait_for("an answered poll", |stage| {
            let status = stage.status()?;
            Ok((number(&status, "/exchanges/unchanged") > unchanged).then_some(()))
        })?;
        self.seen(&format!("the server is back; the agent asked again after {}", console::seconds(back.elapsed())));
        Ok(())
    }

    /// Counts wake-ups for a while and prints all the numbers.
    pub fn summary(&mut self) -> Result<(), String> {
        let agent = u64::from(self.agent.as_ref().ok_or("the agent is not running")?.pid());
        let traffic = self.server.traffic();
        let (before, polls) = (measure::cost(agent), traffic.unchanged.load(Relaxed));
        let until = Instant::now() + WINDOW;
        let mut progress = Progress::new("counting the agent's wake-ups");
        while Instant::now() < until && !self.interrupted.load(Relaxed) {
            progress.tick("");
            thread::sleep(Duration::from_millis(100));
        }
        drop(progress);
        if self.interrupted.load(Relaxed) {
            return Err("interrupted".to_owned());
        }
        let (after, polls) = (measure::cost(agent), traffic.unchanged.load(Relaxed) - polls);
        let status = self.status_now()?;
        let child = number(&status, "/collector/pid");

        let unknown = || "not measured on this system".to_owned();
        let bytes = |count: Option<u64>| count.map_or_else(unknown, console::bytes);
        let plain = |count: Option<u64>| count.map_or_else(unknown, |count| count.to_string());
        let wakes = match (before.sleeps, after.sleeps) {
            (Some(before), Some(after)) => format!(
                "{} a minute, with {} polls in it",
                after.saturating_sub(before) * 60 / WINDOW.as_secs(),
                polls * 60 / WINDOW.as_secs()
            ),
            _ => unknown(),
        };
        let size = fs::metadata(&self.binary).map_or(0, |file| file.len());
        let mut rows = vec![
            ("agent's binary", console::bytes(size)),
            ("agent's memory, resident", bytes(after.resident)),
            ("agent's memory, private and dirty", bytes(after.private_dirty)),
            ("agent's threads", plain(after.threads)),
            ("agent's descriptors", plain(after.descriptors)),
            ("agent's wake-ups", wakes),
            ("one poll without news, HTTP both ways", console::bytes(traffic.unchanged_bytes.load(Relaxed))),
            ("collector's memory, resident", bytes(measure::cost(child).resident)),
        ];
        rows.append(&mut self.found);
        rows.push((
            "polls with news, without",
            format!("{}, {}", traffic.bodies.load(Relaxed), traffic.unchanged.load(Relaxed)),
        ));
        rows.push(("data points at the sink", self.sink.points().to_string()));
        for (name, value) in rows {
            console::say(&format!("   {name:<38} {value}"));
        }
        Ok(())
    }

    /// Whether the collector itself accepts `config`.
    fn validates(&self, config: &str) -> Result<(), String> {
        let file = self.folder.join("validated.yaml");
        fs::write(&file, config).map_err(|cause| format!("{}: cannot write: {cause}", file.display()))?;
        let ran = run_within(
            "validate",
            Command::new(&self.collector).arg("validate").arg(format!("--config={}", file.display())),
            Some(LIMIT),
        )?;
        if ran.ok() { Ok(()) } else { Err(format!("`validate` refused it already: {}", ran.last_words())) }
    }
}

fn gap(data: &sink::Deliveries) -> String {
    data.last_gap().map_or_else(String::new, console::seconds)
}

fn memory(data: &sink::Deliveries) -> String {
    let bytes = data.memory_used.unwrap_or_default();
    format!("{:.2} GiB", bytes / f64::from(1 << 30))
}
