//! The hub's clock, random numbers and hashes: what the decisions are given from outside.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use otelet_hub_decide::{Hash, Millis};
use ring::rand::{SecureRandom, SystemRandom};

/// Unix time in milliseconds.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// A number that was not given before: it grows with time, and fits into a number of JSON.
pub fn next_id() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let by_time = now().saturating_mul(1000);
    let next = |last: i64| Some(by_time.max(last + 1));
    match LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) {
        Ok(last) | Err(last) => by_time.max(last + 1),
    }
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// A secret of 256 bits behind a word that tells what it is for, so that a token in a log can be recognised.
pub fn secret(kind: &str) -> String {
    format!("{kind}_{}", URL_SAFE_NO_PAD.encode(random::<32>()))
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Hash {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    Hash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Unix time in milliseconds as RFC 3339, in UTC.
pub fn rfc3339(at: Millis) -> String {
    let (days, millis) = (at.div_euclid(86_400_000), at.rem_euclid(86_400_000));
    // Days to a date: http://howardhinnant.github.io/date_algorithms.html#civil_from_days.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let seconds = millis / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow() {
        let ids: Vec<i64> = (0..1000).map(|_| next_id()).collect();
        assert!(ids.is_sorted_by(|one, two| one < two) && ids[999] < 1 << 53);
    }

    #[test]
    fn times_are_shown_in_utc() {
        for (at, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_456_620_999, "2026-11-23T17:57:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(at), shown);
        }
    }
}
