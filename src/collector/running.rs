//! A collector that runs: what it prints is passed on, and its end is told.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use smol::future::{self, FutureExt as _};

use super::{Prober, describe};
use crate::log::{Relay, Tail};
use crate::os::{self, Output};
use otelet_config::{self as config, Intake};
use otelet_core::decide::{Child, Exit};

/// A collector that runs.
#[derive(Debug)]
pub struct Running {
    /// What the decisions know of it.
    pub child: Child,
    /// How it is probed.
    pub probe: Rc<Prober>,
    /// The last of what it printed.
    pub tail: Rc<RefCell<Tail>>,
    /// What it prints.
    pub relay: Rc<RefCell<Relay>>,
    /// Where it takes what the agent exports.
    pub intake: Intake,
    pub(super) process: os::Child,
    pub(super) output: Output,
    /// Those that were picked for it.
    pub(super) ports: Vec<u16>,
}

impl Running {
    /// Passes on what the collector prints, until it has ended. Completes with its end.
    pub async fn attend(mut self, children: Rc<RefCell<BTreeSet<u32>>>) -> Exit {
        let pid = self.child.pid;
        let (output, tail, relay) = (&self.output, &self.tail, &self.relay);
        let mut buffer = vec![0; 8192];
        let read = async {
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                tail.borrow_mut().add(&buffer[..length]);
                relay.borrow_mut().take(&buffer[..length], Instant::now());
                // Others have their turn, however fast a collector prints.
                future::yield_now().await;
            }
            future::pending::<()>().await;
        };
        let hear = async {
            if let Prober::SdNotify { socket, heard } = &*self.probe {
                while let Ok(message) = socket.receive().await {
                    heard.borrow_mut().take(&message, Instant::now());
                }
            }
            future::pending::<()>().await;
        };
        let status = self
            .process
            .status()
            .or(async {
                future::zip(read, hear).await;
                future::pending().await
            })
            .await;
        // What it printed last is still in the pipe, which holds 64 KiB. Grandchildren may go on printing: not for us.
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
        let how = status.map_or_else(|error| error.to_string(), describe);
        Exit { how, last_words, stolen_port }
    }
}
