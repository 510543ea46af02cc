//! Requests of people: read from the runtime directory, answered in the status.

use std::fs;

use super::context::Context;
use super::message::Message;
use super::threads;
use crate::status::{self, Diagnosis, Request, Verb};
use otelet_core::decide::ConfigHash;
use otelet_wire::status::Answer;

#[derive(Default)]
pub(super) struct Answers {
    /// The request that the decisions have yet to answer.
    pending: Option<(String, Verb)>,
    pub(super) answer: Option<Answer>,
}

impl Answers {
    /// Keeps a request until the decisions answer it.
    pub(super) fn begin(&mut self, id: String, verb: Verb) {
        self.pending = Some((id, verb));
    }

    /// Takes the answer of the decisions.
    pub(super) fn finish(&mut self, answer: Result<String, String>) {
        if let Some((id, verb)) = self.pending.take() {
            let done = answer.is_ok();
            let text = answer.map_or_else(|why| why, |text| text + verb.more());
            self.answer = Some(Answer { id, done, text });
        }
    }

    /// Leaves the last lines of the log. Taking the secrets out takes a while, so a thread does it and answers at its end.
    pub(super) fn leave_logs(&mut self, context: &Context, id: String, effective: Option<ConfigHash>) {
        let (runtime_dir, store, outbox) = (context.runtime_dir.clone(), context.store.clone(), context.outbox.clone());
        let secrets = context.settings.secrets();
        let name = id.clone();
        let answer_with = |id: String, result: Result<String, String>| {
            let done = result.is_ok();
            Answer { id, done, text: result.unwrap_or_else(|why| why) }
        };
        let started = threads::start("diagnose", move || {
            let config = effective.and_then(|hash| store.verify(hash).ok());
            let result = Diagnosis::leave(&runtime_dir, secrets, config.as_deref());
            outbox.send(Message::Answered(answer_with(id, result)));
        });
        if let Err(why) = started {
            self.answer = Some(answer_with(name, Err(why)));
        }
    }
}

/// Takes a request from the runtime directory, if there is one.
pub(super) fn take_request(context: &Context) -> Option<Request> {
    let path = status::request_path(&context.runtime_dir);
    let text = fs::read(&path).ok()?;
    let _ = fs::remove_file(&path);
    serde_json::from_slice(&text).map_err(|error| log::warn!("{}: not a request: {error}", path.display())).ok()
}
