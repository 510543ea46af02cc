//! The version and the one time that everything in a release bears, so that two runs give the same bytes.

use std::process::Command;
use std::time::{Duration, SystemTime};

use otelet_core::units::rfc3339;

use crate::command::run;
use crate::places;

/// A version and a time.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Of otelet.
    pub version: &'static str,
    /// Seconds since 1970.
    pub time: u64,
}

impl Stamp {
    /// `SOURCE_DATE_EPOCH` (reproducible-builds.org), else the time of the commit, else the beginning of 1980, before which
    /// some archivers cannot count.
    ///
    /// # Errors
    ///
    /// A `SOURCE_DATE_EPOCH` that is no number.
    pub fn now() -> Result<Stamp, String> {
        let version = env!("CARGO_PKG_VERSION");
        if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
            let time = text.parse().map_err(|_| format!("SOURCE_DATE_EPOCH={text}: give seconds since 1970"))?;
            return Ok(Stamp { version, time });
        }
        let mut git = Command::new("git");
        git.current_dir(places::root()).args(["log", "-1", "--format=%ct"]);
        let committed = run("asking git", &mut git).ok().filter(|ran| ran.ok());
        let time = committed.and_then(|ran| ran.stdout.trim().parse().ok()).unwrap_or(315_532_800);
        Ok(Stamp { version, time })
    }

    /// The time as RFC 3339 has it, in UTC.
    pub fn rfc3339(&self) -> String {
        rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(self.time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_date_prints() {
        // date -u -d @N +%FT%TZ
        for (time, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_795_564_800, "2026-11-25T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Stamp { version: "", time }.rfc3339(), text);
        }
    }
}
