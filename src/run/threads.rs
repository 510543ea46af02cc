//! Short-lived threads for work that may block. Jobs that begin in one turn of the loop end within milliseconds of each
//! other; their ends reach the loop together, since each of them alone would wake the main thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::message::{Message, Outbox};
use otelet_core::decide::{Failure, FailureKind};

/// Stack of the short-lived threads, in bytes. The tests of `http` and `config` run on one of this size.
const STACK: usize = 256 * 1024;

/// How long an end waits for others. A job that hangs delays no other for longer.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs a job on a thread of its own.
///
/// # Errors
///
/// In words, if no thread can be started.
pub(super) fn start(name: &str, job: impl FnOnce() + Send + 'static) -> Result<(), String> {
    match std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn(job) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot start a thread: {error}; is a limit on processes reached?")),
    }
}

/// The jobs that run, and the ends that the loop does not know yet.
#[derive(Default)]
pub(super) struct Jobs {
    state: Mutex<Unreported>,
    reported: Condvar,
}

#[derive(Default)]
struct Unreported {
    running: usize,
    ended: Vec<Message>,
    /// How often ends were reported.
    turn: u64,
}

impl Jobs {
    /// Runs a job as [`start`] does. Its message reaches the loop together with those of other jobs.
    pub(super) fn start(
        self: &Arc<Self>,
        name: &str,
        outbox: Outbox,
        job: impl FnOnce() -> Message + Send + 'static,
    ) -> Result<(), Failure> {
        let jobs = self.clone();
        self.lock().running += 1;
        let started = start(name, move || {
            let ended = jobs.end(job());
            if !ended.is_empty() {
                outbox.send(Message::Together(ended));
            }
        });
        if started.is_err() {
            self.lock().running -= 1;
        }
        started.map_err(|why| Failure::new(FailureKind::Thread, why))
    }

    fn lock(&self) -> MutexGuard<'_, Unreported> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an end, and returns the ends that this thread has to report: none, if another thread does.
    fn end(&self, message: Message) -> Vec<Message> {
        let mut state = self.lock();
        state.running -= 1;
        state.ended.push(message);
        let turn = state.turn;
        if state.running > 0 {
            let waited = self.reported.wait_timeout_while(state, PATIENCE, |state| state.turn == turn);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.turn != turn {
                return Vec::new();
            }
        }
        state.turn += 1;
        self.reported.notify_all();
        std::mem::take(&mut state.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otelet_core::decide::Event;

    fn message() -> Message {
        Message::Event(Event::Due)
    }

    #[test]
    fn the_last_job_to_end_reports_all_and_a_single_one_reports_at_once() {
        let jobs = Arc::new(Jobs::default());
        jobs.lock().running = 1;
        assert_eq!(jobs.end(message()).len(), 1);

        for _ in 0..20 {
            jobs.lock().running = 3;
            let ends: Vec<_> = (0..3)
                .map(|_| {
                    let jobs = jobs.clone();
                    std::thread::spawn(move || jobs.end(message()).len())
                })
                .collect();
            let reported: usize = ends.into_iter().map(|end| end.join().unwrap()).sum();
            assert_eq!(reported, 3, "each once");
        }
    }

    #[test]
    fn a_job_that_hangs_delays_no_other_end() {
        let jobs = Jobs::default();
        jobs.lock().running = 2;
        assert_eq!(jobs.end(message()).len(), 1);
        assert_eq!(jobs.end(message()).len(), 1);
    }
}
