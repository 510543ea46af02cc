//! Writes the log lines of the agent and of its collector: to stderr, in whole lines and without waiting for a reader,
//! or to a file that limits its own size.

mod file;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use log::{Level, LevelFilter};

use file::LogFile;

use crate::os;
use otelet_core::units;

/// The file that takes the lines instead of stderr, if there is one.
static FILE: Mutex<Option<LogFile>> = Mutex::new(None);

/// Lines that stderr did not accept.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The longest line of the collector that is passed on, in bytes. A longer line is cut.
const LONGEST_LINE: usize = 16 * 1024;

/// Bytes of log that are kept for `otelet diagnose`, of the agent and of its collectors each: some hundred lines.
const LINES_KEPT: usize = 16 * 1024;

static AGENT: Mutex<Tail> = Mutex::new(Tail::new(LINES_KEPT));

/// The last lines of all its collectors, including ended ones, and including lines that were not passed on.
static COLLECTOR: Mutex<Tail> = Mutex::new(Tail::new(LINES_KEPT));

/// Returns the last lines of the agent and of its collectors as printed, secrets included.
pub fn last_lines() -> (String, String) {
    let lines = |kept: &Mutex<Tail>| kept.lock().map_or_else(|_| String::new(), |tail| tail.lines());
    (lines(&AGENT), lines(&COLLECTOR))
}

fn keep(kept: &Mutex<Tail>, line: &[u8]) {
    if let Ok(mut tail) = kept.lock() {
        tail.add(line);
    }
}

/// Writes all lines into this file from now on. Redirects stderr into it too, unless stderr is a terminal, where a
/// person may look for errors.
///
/// # Errors
///
/// The system's error. The lines then go to stderr as before.
pub fn into_file(path: &Path) -> io::Result<()> {
    let mut log = LogFile::open(path, file::LIMIT)?;
    if !io::stderr().is_terminal() {
        log.take_stderr()?;
    }
    *FILE.lock().map_err(|_| io::Error::other("a line of the log was never ended"))? = Some(log);
    Ok(())
}

/// Writes lines to the file or to stderr. Returns whether all of them were written, or will be.
fn write(bytes: &[u8]) -> bool {
    match FILE.lock() {
        Ok(mut file) => match &mut *file {
            Some(file) => file.write(bytes).is_ok(),
            None => os::write_log(bytes),
        },
        Err(_) => false,
    }
}

/// Sets the logger up. Under journald each line gets its priority as `<N>`, and no time: the journal has its own.
pub fn init(level: LevelFilter) {
    let journal = under_journald() && FILE.lock().is_ok_and(|file| file.is_none());
    let logger = env_logger::Builder::new()
        // ureq would print whole requests at these levels, tokens and passwords included.
        .filter_level(LevelFilter::Off)
        .filter_module("otelet", LevelFilter::Trace)
        .target(env_logger::Target::Pipe(Box::new(Stderr)))
        .format(move |buffer, record| {
            let text = record.args().to_string();
            let mut line = String::with_capacity(text.len() + 40);
            if journal {
                let _ = write!(line, "<{}>", priority(record.level()));
            } else {
                let _ = write!(line, "{} {:<5} ", units::rfc3339(SystemTime::now()), record.level());
            }
            // One record is one line, even if a server or a collector put line breaks into its text.
            line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
            line.push('\n');
            buffer.write_all(line.as_bytes())
        })
        .build();
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// Changes the level, after the settings were read again.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Returns the number of lines that stderr did not accept so far, of the agent and of the collector.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// systemd names the file that journald reads. Whether that is this stderr is not checked: a redirection is made on
/// purpose.
fn under_journald() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

/// The priority of syslog, as in sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// stderr as the logger sees it.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        keep(&AGENT, bytes);
        if !write(bytes) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes the collector's lines on, keeps the last of them for reports, and drops what exceeds the rate.
#[derive(Debug)]
pub struct Relay {
    pass: bool,
    /// Bytes per second. A burst may have four times as many.
    rate: u64,
    credit: u64,
    counted: Instant,
    line: Vec<u8>,
    overlong: bool,
    dropped: u64,
    said: u64,
}

impl Relay {
    /// A relay for one run of the collector.
    pub fn new(pass: bool, rate: u64, now: Instant) -> Self {
        let credit = rate.saturating_mul(4);
        Self { pass, rate, credit, counted: now, line: Vec::new(), overlong: false, dropped: 0, said: 0 }
    }

    /// Takes a piece of the collector's output, of any length.
    pub fn take(&mut self, bytes: &[u8], now: Instant) {
        let earned = now.saturating_duration_since(self.counted).as_millis() as u64 * self.rate / 1000;
        if earned > 0 {
            self.credit = (self.credit + earned).min(self.rate.saturating_mul(4));
            self.counted = now;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE - self.line.len().min(LONGEST_LINE);
            self.overlong |= piece.len() > room + 1;
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Passes on a last line that has no line end.
    pub fn finish(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    /// Returns the number of lines that were not passed on.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of lines dropped since the last call, for the log.
    pub fn newly_dropped(&mut self) -> u64 {
        let new = self.dropped - self.said;
        self.said = self.dropped;
        new
    }

    fn end_line(&mut self) {
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.overlong {
            self.line.extend_from_slice(b"...");
        }
        self.line.push(b'\n');
        keep(&COLLECTOR, &self.line);
        if self.pass {
            self.pass_on();
        }
        self.line.clear();
        self.line.shrink_to(1024);
        self.overlong = false;
    }

    fn pass_on(&mut self) {
        let cost = self.line.len() as u64;
        // A line that stderr did not accept counts too, since a part of it may have been written.
        let affordable = cost <= self.credit;
        if affordable {
            self.credit -= cost;
        }
        if !affordable || !write(&self.line) {
            self.dropped += 1;
        }
    }
}

/// The last bytes of an output.
#[derive(Debug)]
pub struct Tail {
    bytes: std::collections::VecDeque<u8>,
    limit: usize,
}

impl Default for Tail {
    fn default() -> Self {
        Self::new(KEPT)
    }
}

/// Bytes of the collector's output that are kept for reports.
const KEPT: usize = 8 * 1024;

impl Tail {
    /// Keeps at most this many bytes.
    pub const fn new(limit: usize) -> Self {
        Self { bytes: std::collections::VecDeque::new(), limit }
    }

    /// Adds bytes and drops the oldest.
    pub fn add(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        if self.bytes.capacity() < self.bytes.len() + bytes.len() {
            // Doubling would end with up to twice the limit.
            let more = self.limit.min(2 * (self.bytes.len() + bytes.len())) - self.bytes.len();
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend(bytes);
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    /// Returns the kept bytes as text, without the rest of a line whose beginning was dropped.
    pub fn lines(&self) -> String {
        let bytes = self.bytes();
        let cut = bytes.len() == self.limit;
        let start = bytes.iter().position(|byte| *byte == b'\n').filter(|_| cut).map_or(0, |end| end + 1);
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_holds_the_last_bytes_only() {
        let mut tail = Tail::default();
        tail.add(&[1; KEPT]);
        tail.add(b"end");
        assert_eq!(tail.bytes().len(), KEPT);
        assert!(tail.bytes().ends_with(b"\x01end"));
        tail.add(&[2; 3 * KEPT]);
        assert_eq!(tail.bytes(), vec![2; KEPT]);
    }

    #[test]
    fn kept_lines_are_whole_and_bounded() {
        let mut tail = Tail::new(64);
        for number in 0..1000 {
            tail.add(format!("line {number}\n").as_bytes());
            assert!(tail.bytes.capacity() <= 64, "{}", tail.bytes.capacity());
        }
        let lines = tail.lines();
        assert!(lines.starts_with("line 99") && lines.ends_with("line 998\nline 999\n"), "{lines}");
        let mut tail = Tail::new(64);
        tail.add(b"first\nsecond\n");
        assert_eq!(tail.lines(), "first\nsecond\n");
    }

    #[test]
    fn a_line_that_is_not_passed_on_is_kept() {
        let mut relay = Relay::new(false, 1, Instant::now());
        relay.take(b"not passed on, but ke", Instant::now());
        relay.take(b"pt\n", Instant::now());
        assert_eq!(relay.dropped(), 0);
        assert!(last_lines().1.contains("not passed on, but kept\n"));
    }

    #[test]
    fn a_flood_is_cut_to_the_rate_and_counted() {
        let t0 = Instant::now();
        let mut relay = Relay::new(true, 1, t0);
        relay.take(b"a\nbbbbbbbbbbbbbbbb\n", t0);
        assert_eq!(relay.newly_dropped(), 1, "the long line exceeds the credit of four bytes");
        assert_eq!(relay.newly_dropped(), 0);
        assert_eq!(relay.dropped(), 1);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let t0 = Instant::now();
        let mut relay = Relay::new(true, 1, t0);
        for _ in 0..1000 {
            relay.take(&[b'x'; 1000], t0);
        }
        assert!(relay.line.capacity() <= 2 * LONGEST_LINE);
        relay.finish();
        assert_eq!(relay.dropped(), 1);
    }
}
