//! Output for a terminal: colours where there is one, and a line of progress for work of more than two seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time that work may take before its progress is shown.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two lines of progress where there is no terminal to overwrite.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Columns of a terminal that does not tell them.
const COLUMNS: usize = 80;

/// Colours for one output stream, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

/// Colours for stdout: only on a terminal, and never with `NO_COLOR` set (no-color.org).
pub fn stdout() -> Paint {
    paint(std::io::stdout().is_terminal())
}

/// Colours for stderr, by the same rule.
pub fn stderr() -> Paint {
    paint(std::io::stderr().is_terminal())
}

fn paint(terminal: bool) -> Paint {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    Paint { on: terminal && !unwanted && !dumb }
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For text of less weight.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For success.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// For skipped work.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// For failures.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }
}

/// Shows progress on stderr for work of more than two seconds.
///
/// On a terminal it is one line that is overwritten and removed at the end; in a log, a line every ten seconds.
pub struct Progress {
    what: String,
    since: Instant,
    next: Instant,
    overwrite: bool,
    shown: bool,
}

impl Progress {
    /// Begins to count.
    pub fn new(what: &str) -> Progress {
        let now = Instant::now();
        Progress {
            what: what.to_owned(),
            since: now,
            next: now + PATIENCE,
            overwrite: std::io::stderr().is_terminal(),
            shown: false,
        }
    }

    /// Call this a few times a second; `detail` is the progress so far.
    pub fn tick(&mut self, detail: &str) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let seconds = (now - self.since).as_secs();
        let line = line(&self.what, seconds, detail, self.overwrite.then(columns));
        if self.overwrite {
            eprint!("\r\x1b[K{line}");
            std::io::stderr().flush().ok();
            self.next = now + Duration::from_millis(500);
        } else {
            eprintln!("{}", line.trim_end());
            self.next = now + LOG_EVERY;
        }
        self.shown = true;
    }
}

/// A line of progress. On a terminal it never wraps; a log has room for all of it.
fn line(what: &str, seconds: u64, detail: &str, columns: Option<usize>) -> String {
    let line = format!("   {what}: {seconds} s  {}", detail.trim());
    let most = columns.map_or(usize::MAX, |columns| columns.saturating_sub(2));
    line.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// The columns of the terminal, which stty asks for.
fn columns() -> usize {
    let mut stty = std::process::Command::new("stty");
    let asked = stty.arg("size").stdin(std::process::Stdio::inherit()).output();
    let size = asked.map(|asked| String::from_utf8_lossy(&asked.stdout).into_owned()).unwrap_or_default();
    size.split_whitespace().nth(1).and_then(|columns| columns.parse().ok()).filter(|&it| it > 0).unwrap_or(COLUMNS)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.overwrite && self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// Prints a line on stdout, over a line of progress if one stands there.
pub fn say(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    println!("{line}");
}

/// A duration as people say it: `740 ms`, `3.2 s`, `4 min 10 s`.
pub fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else if time < Duration::from_secs(100) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// Bytes as people say them: `812 bytes`, `2.1 KiB`, `1.43 MiB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..=1023 => format!("{count} bytes"),
        1024..=1_048_575 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.2} MiB", count as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_cut_by_a_terminal_only() {
        let long = "  Compiling a-crate-with-a-rather-long-name-that-says-what-it-is-for v1.2.3";
        let what = "building otelet for aarch64-unknown-linux-musl";
        assert!(line(what, 7, long, None).ends_with("what-it-is-for v1.2.3"));
        assert_eq!(line(what, 7, long, Some(80)).chars().count(), 78);
        assert_eq!(line("a", 7, " b ", Some(80)), "   a: 7 s  b");
    }

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(seconds(Duration::from_millis(740)), "740 ms");
        assert_eq!(seconds(Duration::from_millis(3_210)), "3.2 s");
        assert_eq!(seconds(Duration::from_secs(250)), "4 min 10 s");
        assert_eq!(bytes(812), "812 bytes");
        assert_eq!(bytes(2_150), "2.1 KiB");
        assert_eq!(bytes(1_500_000), "1.43 MiB");
    }
}
