//! Runs a program to its end with its output kept, its progress shown and, where wanted, a time limit.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::console::Progress;

/// The end of a program and its output.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    /// Its stdout and stderr, line by line as they came.
    pub output: String,
    /// Whether it was killed at the limit.
    pub timed_out: bool,
}

impl Ran {
    /// Whether it ended by itself with status 0.
    pub fn ok(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// The last line of output that is not empty, or the exit status if there is none.
    pub fn last_words(&self) -> String {
        if self.timed_out {
            return "no answer in time".to_owned();
        }
        match self.output.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => line.trim().to_owned(),
            None => self.status.to_string(),
        }
    }
}

/// Runs `command` to its end; after two seconds `what` and its last line are shown as progress.
///
/// # Errors
///
/// The program's name and the cause if it cannot be started.
pub fn run(what: &str, command: &mut Command) -> Result<Ran, String> {
    run_within(what, command, None)
}

/// Like [`run`], and kills the program when `limit` has passed.
///
/// # Errors
///
/// The program's name and the cause if it cannot be started.
pub fn run_within(what: &str, command: &mut Command, limit: Option<Duration>) -> Result<Ran, String> {
    let mut progress = Progress::new(what);
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|cause| {
            let program = command.get_program().to_string_lossy().into_owned();
            format!("{program}: cannot be started: {cause}")
        })?;
    let (lines, inbox) = channel();
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let out = lines.clone();
    thread::spawn(move || forward(stdout, true, &out));
    thread::spawn(move || forward(stderr, false, &lines));

    let mut ran = (String::new(), String::new(), false);
    let mut last = String::new();
    loop {
        match inbox.recv_timeout(Duration::from_millis(200)) {
            Ok((from_stdout, line)) => {
                if from_stdout {
                    ran.0.push_str(&line);
                    ran.0.push('\n');
                }
                ran.1.push_str(&line);
                ran.1.push('\n');
                if !line.trim().is_empty() {
                    last = line;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.tick(&last);
        if limit.is_some_and(|limit| started.elapsed() > limit) {
            // Its own children may keep the pipes open: the output so far is enough.
            ran.2 = true;
            child.kill().ok();
            break;
        }
    }
    let status = child.wait().map_err(|cause| format!("cannot wait: {cause}"))?;
    Ok(Ran { status, stdout: ran.0, output: ran.1, timed_out: ran.2 })
}

fn forward(stream: impl Read, from_stdout: bool, lines: &Sender<(bool, String)>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if lines.send((from_stdout, text)).is_err() {
            return;
        }
        line.clear();
    }
}
