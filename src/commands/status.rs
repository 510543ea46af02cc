//! `otelet status`: shows it once, or anew every two seconds, to whatever stdout is.

pub(super) mod screen;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use smol::future::FutureExt as _;

use crate::cli::Invocation;
use crate::exit;
use crate::os::{self, Signal};
use crate::settings::Settings;
use crate::status::{Standby, agent_is_alive, fresh, read, stranger};
use otelet_core::units;
use otelet_wire::status::{AgentState, CollectorState, Status};
pub use screen::{Size, screen};

/// Time between two frames of `--watch`.
const EVERY: Duration = Duration::from_secs(2);

/// What was found, and why it is not fresh.
type Look = Result<(Status, Option<String>), String>;

/// Shows the status as it was asked for. Answers with the exit status.
pub fn show(invocation: &Invocation, settings: &Settings) -> u8 {
    let runtime_dir = &settings.runtime_dir;
    if invocation.watch {
        return watch(invocation.json, runtime_dir);
    }
    // One that stands by is as it should be, and has nothing else to show yet.
    if let Some(standby) = Standby::read(runtime_dir)
        && fresh(runtime_dir, |_| true).is_err()
    {
        println!("{}", standby.describe());
        return exit::OK;
    }
    // A directory that was named on the command line is meant.
    let named = invocation.flags.get("runtime_dir").is_some();
    let stranger = stranger(settings).filter(|_| !named);
    if invocation.healthy {
        // A probe may know less of the settings than the agent: then it has the default.
        if let Some(why) = stranger.filter(|_| settings.state_dir != os::default_state_dir()) {
            println!("{why}");
            return exit::NO;
        }
        let why = match fresh(runtime_dir, |_| true) {
            Ok(status) => match status.complaint() {
                None => return exit::OK,
                Some(why) => format!("{why}; {}", next_step(&status)),
            },
            Err(why) => why,
        };
        println!("{why}");
        return exit::NO;
    }
    if let Some(why) = stranger {
        eprintln!("otelet: {why}");
    }
    let trouble = match look(runtime_dir) {
        Ok((status, trouble)) => {
            let text = match invocation.json {
                true => serde_json::to_string_pretty(&status).expect("maps with string keys and numbers only") + "\n",
                false => Paper::of_stdout().screen(&status, None),
            };
            // A reader that has gone away is no reason to panic.
            let _ = io::stdout().write_all(text.as_bytes());
            trouble
        }
        Err(why) => Some(why),
    };
    match trouble {
        None => exit::OK,
        Some(why) => {
            eprintln!("otelet: {why}");
            exit::NO
        }
    }
}

/// The command that says more about a collector that is not healthy. Installers print it.
fn next_step(status: &Status) -> &'static str {
    match status.collector.state {
        CollectorState::Idle | CollectorState::Held => "next: `otelet validate` tries each step and starts nothing",
        CollectorState::Waiting
        | CollectorState::Starting
        | CollectorState::Up
        | CollectorState::Stopping
        | CollectorState::Unknown => "next: `otelet status` shows more, `otelet diagnose` collects the logs",
    }
}

/// The fresh status, or else what was written last: that still says something.
fn look(runtime_dir: &Path) -> Look {
    match fresh(runtime_dir, |_| true) {
        Ok(status) => Ok((status, None)),
        Err(why) => match read(runtime_dir) {
            Ok(mut status) => {
                if !agent_is_alive(&status) && status.agent.state != AgentState::Stopped {
                    status.agent.state = AgentState::Gone;
                }
                Ok((status, Some(why)))
            }
            Err(_) => Err(why),
        },
    }
}

/// What it is shown on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paper {
    /// Columns and rows, of a terminal.
    pub(super) size: Option<(usize, usize)>,
    /// Whether the cursor can be moved.
    moves: bool,
    pub(super) paint: bool,
}

impl Paper {
    pub(super) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let moves = io::stdout().is_terminal() && is_set("TERM").is_some_and(|term| term != "dumb");
        // Source: no-color.org: set and not empty.
        Self { size: os::terminal(), moves, paint: moves && is_set("NO_COLOR").is_none() }
    }

    /// As much as there is to say, or what fits into so many rows.
    fn screen(&self, status: &Status, rows: Option<usize>) -> String {
        let columns = self.size.map(|(columns, _)| columns);
        screen(status, SystemTime::now(), Size { columns, rows }, self.paint)
    }

    /// The rows of a frame. The cursor is in the one below it.
    fn rows(&self) -> Option<usize> {
        let (_, rows) = self.size.filter(|_| self.moves)?;
        Some(rows.saturating_sub(1).max(1))
    }

    /// The text of a frame of `--watch`.
    fn body(&self, found: Look) -> String {
        let (status, trouble) = match found {
            Ok((status, None)) => return self.screen(&status, self.rows()),
            Ok((status, Some(why))) => (Some(status), format!("otelet: {why}\n")),
            Err(why) => (None, format!("otelet: {why}\n")),
        };
        let columns = self.size.map_or(usize::MAX, |(columns, _)| columns.max(1));
        let taken = trouble.chars().count().div_ceil(columns) + 1;
        let screen =
            status.map(|status| self.screen(&status, self.rows().map(|rows| rows.saturating_sub(taken))) + "\n");
        screen.unwrap_or_default() + &trouble
    }

    /// A frame of `--watch`: over the one before it where that can be done, else under it.
    fn frame(&self, body: &str) -> String {
        let rows = self.rows().unwrap_or(usize::MAX);
        if !self.moves {
            return format!("--- {}\n{body}", units::rfc3339(SystemTime::now()));
        }
        // Sections were shortened to fit. A frame that still is higher than the terminal would scroll, and the next one
        // begin in its middle.
        let all = body.lines().count();
        let mut frame = "\x1b[H".to_owned();
        for line in body.lines().take(if all > rows { rows - 1 } else { all }) {
            frame += &format!("{line}\x1b[K\n");
        }
        if all > rows {
            frame += &format!("… {} more lines\x1b[K\n", all - (rows - 1));
        }
        frame + "\x1b[J"
    }
}

/// Frame after frame, until ^C or until nobody reads them.
fn watch(json: bool, runtime_dir: &Path) -> u8 {
    if let Err(error) = os::catch_signals() {
        eprintln!("otelet: cannot catch signals: {error}");
        return exit::BUG;
    }
    let paper = Paper::of_stdout();
    let mut end = "";
    if paper.moves && !json {
        // No other screen and no hidden cursor: whatever ends this, the terminal is as it was but for colours.
        let _ = io::stdout().write_all(b"\x1b[2J");
        end = "\x1b[0m\n";
    }
    let ended = os::block_on(async {
        let frames = async {
            loop {
                let begun = Instant::now();
                let found = look_aside(runtime_dir).await;
                if write_frame(found, json).is_err() {
                    return;
                }
                os::until(begun + EVERY).await;
            }
        };
        frames.or(asked_to_stop()).await;
    });
    let _ = io::stdout().write_all(end.as_bytes());
    match ended {
        Ok(()) => exit::OK,
        Err(error) => {
            eprintln!("otelet: cannot wait for events: {error}");
            exit::BUG
        }
    }
}

/// An agent that hangs is waited for on another thread, so that ^C ends this at once.
async fn look_aside(runtime_dir: &Path) -> Look {
    let (done, found) = smol::channel::bounded(1);
    let directory = runtime_dir.to_owned();
    let looked = std::thread::Builder::new().name("look".into()).spawn(move || {
        let _ = done.try_send(look(&directory));
    });
    match looked {
        Ok(_) => found.recv().await.unwrap_or_else(|_| Err("the look at the status has failed".into())),
        Err(error) => Err(format!("cannot start a thread: {error}; is a limit on processes reached?")),
    }
}

fn write_frame(found: Look, json: bool) -> io::Result<()> {
    let text = match (found, json) {
        (Ok((status, _)), true) => {
            serde_json::to_string(&status).expect("maps with string keys and numbers only") + "\n"
        }
        (Err(why), true) => {
            eprintln!("otelet: {why}");
            return Ok(());
        }
        (found, false) => {
            let paper = Paper::of_stdout();
            paper.frame(&paper.body(found))
        }
    };
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// ^C, a polite kill, or the end of the terminal.
async fn asked_to_stop() {
    while let Signal::Poke | Signal::ChildEnded = os::signal().await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_scrolls_and_clears_what_was_there() {
        let paper = Paper { size: Some((80, 4)), moves: true, paint: false };
        assert_eq!(paper.frame("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(paper.frame("a\nb\nc\nd\ne\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n… 3 more lines\x1b[K\n\x1b[J");
    }

    #[test]
    fn where_the_cursor_cannot_move_frames_follow_each_other() {
        let paper = Paper { size: None, moves: false, paint: false };
        let frame = paper.frame("a\nb\n");
        assert!(frame.starts_with("--- 20") && frame.ends_with("Z\na\nb\n"), "{frame}");
    }
}
