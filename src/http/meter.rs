//! Counts and limits the bytes and the time of an exchange, over all its connections.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use ureq::unversioned::transport::{NextTimeout, time};

/// Bytes on the wire, TLS and proxy included, TCP's own headers not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub sent: u64,
    pub received: u64,
}

/// The counts and limits of the current exchange. ureq's connections share it.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<MeterState>);

#[derive(Debug, Default)]
struct MeterState {
    traffic: Traffic,
    deadline: Option<Instant>,
    /// The bytes that the peers may still send.
    allowance: u64,
    /// The expiry date of the certificate that a server showed last in this exchange.
    certificate_until: Option<SystemTime>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, MeterState> {
        self.0.lock().expect("no panic while it is held")
    }

    /// The bytes of all exchanges so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// Begins an exchange, with its limits of time and of received bytes.
    pub(super) fn begin(&self, timeout: Duration, allowance: u64) {
        let mut state = self.lock();
        state.deadline = Instant::now().checked_add(timeout);
        state.allowance = allowance;
        state.certificate_until = None;
    }

    /// Counts bytes that the agent sends.
    pub(super) fn sent(&self, bytes: usize) {
        self.lock().traffic.sent += bytes as u64;
    }

    /// Counts bytes that the peer sent.
    ///
    /// # Errors
    ///
    /// [`Misbehaviour::Flood`] if they exceed the limit of the exchange.
    pub(super) fn received(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.lock();
        state.traffic.received += bytes as u64;
        state.allowance =
            state.allowance.checked_sub(bytes as u64).ok_or_else(|| io::Error::other(Misbehaviour::Flood))?;
        Ok(())
    }

    /// Notes the expiry date of a certificate that was verified.
    pub(super) fn note_certificate(&self, until: Option<SystemTime>) {
        self.lock().certificate_until = until;
    }

    /// The expiry date of the certificate that was shown last in this exchange.
    pub(super) fn certificate_until(&self) -> Option<SystemTime> {
        self.lock().certificate_until
    }

    /// Shortens ureq's time limit, which may be for a single step, to the time left for the exchange.
    pub(super) fn within(&self, mut limit: NextTimeout) -> Result<NextTimeout, ureq::Error> {
        if let Some(deadline) = self.lock().deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ureq::Error::Timeout(ureq::Timeout::Global));
            }
            limit.after = limit.after.min(time::Duration::Exact(left));
        }
        Ok(limit)
    }
}

/// A peer sent something that no honest peer sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misbehaviour {
    /// Far more bytes around the body than any body may have.
    #[error("sends without end")]
    Flood,
    #[error("{0}")]
    Otherwise(&'static str),
}
