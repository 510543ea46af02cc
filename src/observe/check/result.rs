//! The result of a check: what the decisions and the metrics need of it, and its message.

use std::time::{Duration, SystemTime};

use otelet_config::redact::Redactor;
use otelet_core::decide::CheckOutcome;
use otelet_core::units;

/// The longest message of a result, in characters.
const LONGEST_MESSAGE: usize = 300;

/// The result of a check, with the details that only its metrics need.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedCheck {
    /// The result as the decisions get it.
    pub outcome: CheckOutcome,
    /// The details of a check of a URL.
    pub http: HttpDetails,
}

/// The details of the answer of a URL, whether the check passed or not.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HttpDetails {
    /// The status code of the last answer.
    pub code: Option<u16>,
    /// The end of validity of the certificate that the server showed last.
    pub certificate_until: Option<SystemTime>,
}

/// Cuts the message to one line of bounded length, without secrets.
pub(crate) fn tidy(result: Result<String, String>, redactor: &Redactor) -> Result<String, String> {
    let tidy = |text: String| {
        let line: String = redactor.line(&text).chars().filter(|it| !it.is_control()).take(LONGEST_MESSAGE).collect();
        line
    };
    result.map(tidy).map_err(tidy)
}

pub(super) fn late(limit: Duration) -> String {
    format!("took longer than its timeout of {}", units::format_time(limit))
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
