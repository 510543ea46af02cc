//! Writes to the state directory, on threads of their own: a slow disk must not stall supervision.

use super::*;

impl Runner {
    pub(super) fn keep(&mut self, hash: ConfigHash) -> Option<Event> {
        let body = match &self.offered {
            Some((offered, Some(body))) if *offered == hash => body.clone(),
            _ => return Some(Event::Kept { hash, result: Err("its body is gone".into()) }),
        };
        let (sender, store) = (self.sender.clone(), self.store.clone());
        let started = work("keep", move || {
            let result = store.keep(hash, &body).map_err(|error| error.chain());
            send(&sender, Message::Event(Event::Kept { hash, result }));
        });
        self.count_write(started).map(|result| Event::Kept { hash, result })
    }

    pub(super) fn record(&mut self, generation: u64, record: otelet_core::decide::Record) -> Option<Event> {
        self.memory.record = record;
        let (memory, sender, store) = (self.memory.clone(), self.sender.clone(), self.store.clone());
        let started = work("record", move || {
            let result = store.save(&memory).map_err(|error| error.chain());
            send(&sender, Message::Event(Event::Recorded { generation, result }));
        });
        self.count_write(started).map(|result| Event::Recorded { generation, result })
    }

    pub(super) fn count_write(&mut self, started: Result<(), String>) -> Option<Result<(), String>> {
        match started {
            Ok(()) => {
                self.writes += 1;
                None
            }
            Err(why) => Some(Err(why)),
        }
    }

    /// What is being written is waited for, but not for ever: the disk may be gone.
    pub(super) async fn finish_writes(&mut self) {
        let limit = Instant::now() + LAST_WRITES;
        while self.writes > 0 {
            let message = async { self.messages.recv().await.ok() }.or(async {
                os::until(limit).await;
                None
            });
            match message.await {
                Some(
                    Message::Event(Event::Kept { .. } | Event::Recorded { .. } | Event::AlertsKept(_))
                    | Message::Docker(_, docker::DockerMessage::Kept(_)),
                ) => self.writes -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }
}
