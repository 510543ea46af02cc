//! Runs a program as a check: without a shell, in a process group of its own, and for a limited time. No process of it
//! is left after that.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::future::{self, FutureExt as _};

use super::result::{FinishedCheck, HttpDetails, late, tidy};
use crate::collector;
use crate::log::Tail;
use crate::os::{self, Command, Launch};
use crate::settings::Secret;
use otelet_config::redact::Redactor;
use otelet_core::decide::CheckOutcome;

/// The part of a program's output that is kept: its last bytes.
const KEPT: usize = 2 * 1024;

/// Runs the program of a check. Only for the main thread: the child ends with the thread that started it.
pub async fn check(
    command: Vec<Secret>,
    timeout: Duration,
    redactor: Redactor,
    children: Rc<RefCell<BTreeSet<u32>>>,
) -> FinishedCheck {
    let begun = Instant::now();
    let result = run(&command, timeout, &children).await;
    FinishedCheck {
        outcome: CheckOutcome { result: tidy(result, &redactor), took: begun.elapsed() },
        http: HttpDetails::default(),
    }
}

async fn run(command: &[Secret], timeout: Duration, children: &RefCell<BTreeSet<u32>>) -> Result<String, String> {
    let program = command[0].expose();
    let pipe = |error| format!("cannot make a pipe: {error}");
    let (output, ours) = os::output().map_err(pipe)?;
    let theirs = ours.try_clone().map_err(pipe)?;
    let mut child = std::process::Command::new(program);
    child.args(command[1..].iter().map(Secret::expose));
    for name in collector::private_variables() {
        child.env_remove(name);
    }
    let adoption = os::prepare(&mut child, Launch::default());
    let mut child = Command::from(child);
    child.stdin(Stdio::null()).stdout(Stdio::from(ours)).stderr(Stdio::from(theirs));
    let mut process = child.spawn().map_err(|error| os::describe_spawn_error(program.as_ref(), &error))?;
    // The command holds the writing ends of the pipe: without them the pipe ends with the child.
    drop(child);
    adoption.adopt(process.id());
    let _group = Group::new(process.id(), children);

    let mut tail = Tail::new(KEPT);
    let mut buffer = [0; 2048];
    let ended = async {
        let read = async {
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                tail.add(&buffer[..length]);
                // The event loop's other tasks run in between, however fast a program prints.
                future::yield_now().await;
            }
            // A child of the program may keep the pipe open for ever: only the end of the program itself counts.
            future::pending().await
        };
        Some(process.status().or(read).await)
    };
    let too_late = async {
        os::until(Instant::now() + timeout).await;
        None
    };
    let Some(status) = ended.or(too_late).await else {
        os::kill_group(process.id());
        // Reaped, so that no zombie stays. If the kernel does not let the process end, the check counts as stalled.
        let _ = process.status().await;
        return Err(late(timeout));
    };
    // The last output may still be in the pipe.
    for _ in 0..32 {
        match output.read_now(&mut buffer) {
            0 => break,
            length => tail.add(&buffer[..length]),
        }
    }
    let bytes = tail.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let words = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let status = status.map_err(|error| error.to_string())?;
    match (status.success(), words) {
        (true, words) => Ok(words.into()),
        (false, "") => Err(format!("ended with {}", collector::describe(status))),
        (false, words) => Err(format!("ended with {}: {words}", collector::describe(status))),
    }
}

/// The process group of a check. Dropping it kills every process that is left, however the check ended.
struct Group<'a> {
    pid: u32,
    children: &'a RefCell<BTreeSet<u32>>,
}

impl<'a> Group<'a> {
    fn new(pid: u32, children: &'a RefCell<BTreeSet<u32>>) -> Self {
        children.borrow_mut().insert(pid);
        Self { pid, children }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        os::sweep_group(self.pid);
        self.children.borrow_mut().remove(&self.pid);
    }
}
