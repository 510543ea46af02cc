//! Work off the main thread whose ends come together: what was begun in one turn ends within milliseconds of each other, and
//! each end by itself would wake the main thread.

use std::sync::{Condvar, MutexGuard, PoisonError};

use super::*;

/// How long an end waits for others. What stalls keeps nobody longer.
const PATIENCE: Duration = Duration::from_millis(50);

/// What runs, and what has ended and is not told yet.
#[derive(Default)]
pub(super) struct Gather {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    ended: Vec<Message>,
    /// How often ends were told.
    turn: u64,
}

impl Gather {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an end, and returns those that this thread has to tell: none, if another one does.
    fn end(&self, message: Message) -> Vec<Message> {
        let mut state = self.lock();
        state.running -= 1;
        state.ended.push(message);
        let turn = state.turn;
        if state.running > 0 {
            let waited = self.told.wait_timeout_while(state, PATIENCE, |state| state.turn == turn);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.turn != turn {
                return Vec::new();
            }
        }
        state.turn += 1;
        self.told.notify_all();
        std::mem::take(&mut state.ended)
    }
}

impl Runner {
    /// Does something that may block, as [`work`] does, and takes its end together with those of others.
    pub(super) fn work_along(&self, name: &str, job: impl FnOnce() -> Message + Send + 'static) -> Result<(), Failure> {
        let (gather, sender) = (self.gather.clone(), self.sender.clone());
        gather.lock().running += 1;
        let started = work(name, move || {
            let ended = gather.end(job());
            if !ended.is_empty() {
                send(&sender, Message::Ended(ended));
            }
        });
        if started.is_err() {
            self.gather.lock().running -= 1;
        }
        started.map_err(|why| Failure::new(FailureKind::Thread, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::Event(Event::Due)
    }

    #[test]
    fn who_ends_last_tells_of_all_and_who_is_alone_tells_at_once() {
        let gather = Arc::new(Gather::default());
        gather.lock().running = 1;
        assert_eq!(gather.end(message()).len(), 1);

        for _ in 0..20 {
            gather.lock().running = 3;
            let ends: Vec<_> = (0..3)
                .map(|_| {
                    let gather = gather.clone();
                    std::thread::spawn(move || gather.end(message()).len())
                })
                .collect();
            let told: usize = ends.into_iter().map(|end| end.join().unwrap()).sum();
            assert_eq!(told, 3, "each once");
        }
    }

    #[test]
    fn what_stalls_keeps_no_end_from_being_told() {
        let gather = Gather::default();
        gather.lock().running = 2;
        assert_eq!(gather.end(message()).len(), 1);
        assert_eq!(gather.end(message()).len(), 1);
    }
}
