//! Counts and limits the bytes and the time of an exchange, for all its connections.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use ureq::unversioned::transport::{NextTimeout, time};

/// Bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// From us.
    pub sent: u64,
    /// To us.
    pub received: u64,
}

/// What is counted and limited for the exchange at hand, shared with what ureq calls.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<MeterState>);

#[derive(Debug, Default)]
struct MeterState {
    traffic: Traffic,
    deadline: Option<Instant>,
    /// Bytes that may still come.
    allowance: u64,
    /// Until when the certificate is valid that the server showed last in this exchange.
    certificate_until: Option<SystemTime>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, MeterState> {
        self.0.lock().expect("no panic while it is held")
    }

    /// What has passed so far, in all exchanges.
    pub(super) fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// Begins an exchange: from now on there is so much time, and so many bytes may come.
    pub(super) fn begin(&self, timeout: Duration, allowance: u64) {
        let mut state = self.lock();
        state.deadline = Instant::now().checked_add(timeout);
        state.allowance = allowance;
        state.certificate_until = None;
    }

    /// Counts bytes that go out.
    pub(super) fn sent(&self, bytes: usize) {
        self.lock().traffic.sent += bytes as u64;
    }

    /// Counts bytes that came in.
    ///
    /// # Errors
    ///
    /// [`Misbehaved::Flood`] if more came than may come.
    pub(super) fn received(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.lock();
        state.traffic.received += bytes as u64;
        state.allowance =
            state.allowance.checked_sub(bytes as u64).ok_or_else(|| io::Error::other(Misbehaved::Flood))?;
        Ok(())
    }

    /// A server has shown a certificate that is valid until then, and it was found good.
    pub(super) fn saw_certificate(&self, until: Option<SystemTime>) {
        self.lock().certificate_until = until;
    }

    /// Until when the certificate is valid that was shown last in this exchange.
    pub(super) fn certificate_until(&self) -> Option<SystemTime> {
        self.lock().certificate_until
    }

    /// Shortens a time limit of ureq's, which may be that of a single step, to what is left of the whole.
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

/// The peer did something that no honest one does.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misbehaved {
    /// It sent far more around the body than any body may have.
    #[error("sends without end")]
    Flood,
    #[error("{0}")]
    Otherwise(&'static str),
}
