//! The agent as the demo sees it: a program that is built, started, asked for its status and asked to stop.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{run, run_within};
use crate::{console, places};

/// How long the agent may take to end: the collector's 35 s to drain, and a margin.
const STOP_LIMIT: Duration = Duration::from_secs(45);

/// The binary that `OTELET_BINARY` names, or else a release that is built now.
///
/// # Errors
///
/// The output of cargo.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(binary) = std::env::var_os("OTELET_BINARY") {
        return Ok(binary.into());
    }
    let built = run(
        "building otelet",
        places::cargo().args(["build", "--release", "--locked", "--package", "otelet"]).args(["--bin", "otelet"]),
    )?;
    if !built.ok() {
        return Err(format!("otelet cannot be built\n{}", built.output));
    }
    let binary = places::target().join("release").join(places::program("otelet"));
    // Pages of a file that is not on disk yet would be counted as memory that the agent has written to.
    fs::File::open(&binary)
        .and_then(|file| file.sync_all())
        .map_err(|cause| format!("{}: cannot sync: {cause}", binary.display()))?;
    Ok(binary)
}

/// Characters of a log line that are shown: two lines of a usual terminal.
const WIDEST: usize = 150;
/// The same where whole lines are wanted; nothing is that long.
const WHOLE: usize = 100_000;

/// A running agent.
pub struct Agent {
    binary: PathBuf,
    folders: [String; 3],
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    /// Starts the agent on the config at `url`, with all it keeps inside `folder`; its log is shown as it comes.
    pub fn start(
        binary: &Path,
        collector: &Path,
        url: &str,
        folder: &Path,
        whole_lines: bool,
    ) -> Result<Agent, String> {
        // A settings file of the host must not reach into the demo.
        let settings = folder.join("otelet.yaml");
        fs::write(&settings, "log_level: info\n")
            .map_err(|cause| format!("{}: cannot write: {cause}", settings.display()))?;
        let folders = [
            format!("--settings={}", settings.display()),
            format!("--state-dir={}", folder.join("state").display()),
            format!("--runtime-dir={}", folder.join("run").display()),
        ];
        let mut command = plain(binary);
        command
            .arg("run")
            .args(&folders)
            .arg(format!("--config-url={url}"))
            .arg(format!("--collector-path={}", collector.display()))
            .args(["--config-poll-every=1s", "--collector-probation=3s"])
            .arg("--log-level=info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| format!("{}: cannot be started: {cause}", binary.display()))?;
        let log = Arc::default();
        let widest = if whole_lines { WHOLE } else { WIDEST };
        show(child.stdout.take().expect("stdout is piped"), &log, widest);
        show(child.stderr.take().expect("stderr is piped"), &log, widest);
        Ok(Agent { binary: binary.to_path_buf(), folders, child, log })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The output of `otelet status --json`.
    pub fn status(&self) -> Result<Value, String> {
        let mut command = plain(&self.binary);
        command.args(["status", "--json"]).args(&self.folders);
        let ran = run_within("status", &mut command, Some(Duration::from_secs(10)))?;
        serde_json::from_str(&ran.stdout)
            .map_err(|cause| format!("otelet status --json: {cause}: {}", ran.last_words()))
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The newest of the lines that were shown.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let log = self.log.lock().expect("no holder panics");
        log[log.len().saturating_sub(count)..].to_vec()
    }

    /// Asks it to stop, unless it is stopping already, and waits for its end.
    ///
    /// # Errors
    ///
    /// If it does not end; it is killed then.
    pub fn stop(&mut self, already: bool) -> Result<ExitStatus, String> {
        if !already && self.ended().is_none() {
            signal("TERM", self.pid().into())?;
        }
        let deadline = Instant::now() + STOP_LIMIT;
        let mut progress = console::Progress::new("the agent stops");
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            progress.tick("");
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
        Err(format!("the agent did not end within {}", console::seconds(STOP_LIMIT)))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.stop(false).ok();
        }
    }
}

/// Sends a signal by name. Where there are no signals, ends the process whatever the name.
///
/// # Errors
///
/// If `pid` is none, or there is no such process.
pub fn signal(name: &str, pid: u64) -> Result<(), String> {
    // To kill(1), 0 is the whole group of whoever calls it.
    if pid == 0 {
        return Err("the status has no process id to signal".to_owned());
    }
    let mut command = if std::env::consts::OS == "windows" {
        let mut command = Command::new("taskkill");
        command.args(["/F", "/PID"]);
        command
    } else {
        let mut command = Command::new("kill");
        command.arg(format!("-{name}"));
        command
    };
    let ran = run("signal", command.arg(pid.to_string()))?;
    if ran.ok() { Ok(()) } else { Err(format!("process {pid} cannot be signalled: {}", ran.last_words())) }
}

/// The agent's program without what the environment could add: its own variables, proxies that loopback has no use
/// for, and whatever service manager runs this.
fn plain(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("OTELET_")
            || text.ends_with("_PROXY")
            || text == "NOTIFY_SOCKET"
            || text == "JOURNAL_STREAM"
        {
            command.env_remove(&name);
        }
    }
    command
}

fn show(stream: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>, widest: usize) {
    let log = log.clone();
    thread::spawn(move || {
        let paint = console::stdout();
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if let Some(shown) = shown(&line, widest) {
                console::say(&paint.dim(&format!("     {shown}")));
                log.lock().expect("no holder panics").push(shown);
            }
        }
    });
}

/// How a line is shown: the agent's own without its time, the collector's only where something failed. The agent
/// begins each line with time and level; whatever else comes is the collector's, with tabs between the fields.
fn shown(line: &str, widest: usize) -> Option<String> {
    let own = line
        .split_once("Z ")
        .map(|(_, rest)| rest)
        .filter(|rest| ["ERROR ", "WARN ", "INFO ", "DEBUG "].iter().any(|level| rest.starts_with(level)));
    let (who, text) = match (own, line.split('\t').nth(1)) {
        (Some(rest), _) => ("agent", rest.to_owned()),
        (None, Some("debug" | "info" | "warn")) => return None,
        (None, _) => ("collector", line.replace('\t', "  ")),
    };
    let cut = if text.chars().count() > widest { " ..." } else { "" };
    let text: String = text.chars().take(widest).collect();
    Some(format!("{who} | {text}{cut}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_is_heard_when_something_failed() {
        assert_eq!(shown("2026-11-23T18:00:00.000Z\tinfo\tservice.go\tReady", WIDEST), None);
        assert_eq!(
            shown("2026-11-23T18:00:00.000Z\terror\tgone", WIDEST).as_deref(),
            Some("collector | 2026-11-23T18:00:00.000Z  error  gone")
        );
        assert_eq!(shown("Error: no", WIDEST).as_deref(), Some("collector | Error: no"));
        assert_eq!(shown("2026-11-23T18:00:00Z INFO  up", WIDEST).as_deref(), Some("agent | INFO  up"));
    }
}
