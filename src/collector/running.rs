//! A collector that runs: passes its output on, and reports its end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use smol::future::{self, FutureExt as _};

use super::{Prober, advised, describe};
use crate::log::{Relay, Tail};
use crate::os::{self, Output};
use crate::store::LocalFile;
use otelet_config::{self as config, Intake};
use otelet_core::decide::{Child, Exit};

#[derive(Debug)]
pub struct Running {
    /// The collector as the decisions know it.
    pub child: Child,
    pub probe: Rc<Prober>,
    /// The end of its output.
    pub tail: Rc<RefCell<Tail>>,
    /// Passes its output on.
    pub relay: Rc<RefCell<Relay>>,
    /// The addresses at which it takes the agent's exports.
    pub intake: Intake,
    /// The files of the host that it was given.
    pub files: Vec<LocalFile>,
    /// An entry of its environment, which no other run has: what it starts is known by it.
    pub mark: String,
    pub(super) process: os::Child,
    pub(super) output: Output,
    /// The ports that the agent picked for it.
    pub(super) ports: Vec<u16>,
}

impl Running {
    /// Passes the output on until the collector and everything that it started have ended. Completes with its exit.
    /// `leader_ended` is called if its first process ends before the others.
    pub async fn attend(mut self, children: Rc<RefCell<BTreeSet<u32>>>, leader_ended: impl FnOnce()) -> Exit {
        let pid = self.child.pid;
        let (output, tail, relay) = (&self.output, &self.tail, &self.relay);
        let mut buffer = vec![0; 8192];
        let read = async {
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                tail.borrow_mut().add(&buffer[..length]);
                relay.borrow_mut().take(&buffer[..length], Instant::now());
                // Other tasks have their turn, however fast a collector prints.
                future::yield_now().await;
            }
            future::pending::<()>().await;
        };
        let hear = async {
            if let Prober::SdNotify { socket, state } = &*self.probe {
                while let Ok(message) = socket.receive().await {
                    state.borrow_mut().take(&message, Instant::now());
                }
            }
            future::pending::<()>().await;
        };
        let ended = async {
            let status = self.process.status().await;
            // A collector behind a script prints while it drains, and would wait for ever for a reader.
            if os::has_family(pid, &self.mark) {
                leader_ended();
                os::family_gone(pid, &self.mark).await;
            }
            status
        };
        let status = ended
            .or(async {
                future::zip(read, hear).await;
                future::pending().await
            })
            .await;
        // The last output is still in the pipe, which holds 64 KiB. Somebody may go on printing, so the loop is bounded.
        let mut rest = [0; 4096];
        for _ in 0..32 {
            match self.output.read_now(&mut rest) {
                0 => break,
                length => {
                    self.tail.borrow_mut().add(&rest[..length]);
                    self.relay.borrow_mut().take(&rest[..length], Instant::now());
                }
            }
        }
        self.relay.borrow_mut().finish();
        os::sweep_group(pid);
        children.borrow_mut().remove(&pid);
        let last_words = config::last_words(&self.tail.borrow().bytes());
        let named = |port: &u16| last_words.contains(&format!(":{port}"));
        let stolen_port = self.ports.iter().any(named) && os::says_port_is_taken(&last_words);
        let (code, signal) = status.as_ref().map_or((None, None), |it| (it.code(), os::ending_signal(*it)));
        let how = status.map_or_else(|error| error.to_string(), describe);
        // Another port is taken the next time, so there is nothing to do.
        let last_words = if stolen_port { last_words } else { advised(last_words) };
        Exit { how, code, signal, last_words, stolen_port }
    }
}
