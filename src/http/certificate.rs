//! Reads the expiry date of a certificate in DER. Pure.
//!
//! This walks to one field (RFC 5280, 4.1) and is no full parser: rustls has verified the certificate before. A
//! certificate of an unexpected form yields no date.

use std::time::{Duration, SystemTime};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`. A certificate of version 1 lacks this field.
const VERSION: u8 = 0xa0;

/// Returns `tbsCertificate.validity.notAfter`.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (mut tbs, _) = take(certificate, SEQUENCE)?;
    if let Some((_, rest)) = take(tbs, VERSION) {
        tbs = rest;
    }
    // Serial number, algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, tbs) = take(tbs, tag)?;
    }
    let (validity, _) = take(tbs, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    match element(rest)? {
        (UTC_TIME, text, _) => {
            let (year, rest) = digits(text, 2)?;
            // RFC 5280, 4.1.2.5.1.
            time(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (GENERALIZED_TIME, text, _) => {
            let (year, rest) = digits(text, 4)?;
            time(year, rest)
        }
        _ => None,
    }
}

/// The content of an element that must have this tag, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The tag and the content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A length has up to three bytes: no handshake carries more data.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The rest of a time after its year: `MMDDHHMMSSZ`.
fn time(year: u32, text: &[u8]) -> Option<SystemTime> {
    let (month, text) = digits(text, 2)?;
    let (day, text) = digits(text, 2)?;
    let (hour, text) = digits(text, 2)?;
    let (minute, text) = digits(text, 2)?;
    let (second, text) = digits(text, 2)?;
    let known = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if text != b"Z" || !known || year < 1970 {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * month + 2) / 5 + day;
    // Subtracts the days until 1970-01-01, counted in the same way.
    let days = u64::from(days - 719_469);
    let seconds = ((days * 24 + u64::from(hour)) * 60 + u64::from(minute)) * 60 + u64::from(second);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn digits(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let number =
        number.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')));
    Some((number?, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use otelet_core::units::rfc3339;

    fn made(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_expiry_date_is_read_in_both_encodings() {
        for (year, month, day) in
            [(1999, 12, 31), (2000, 2, 29), (2026, 3, 1), (2049, 12, 31), (2050, 1, 1), (2100, 2, 28)]
        {
            let read = not_after(&made(year, month, day)).map(rfc3339);
            assert_eq!(read, Some(format!("{year}-{month:02}-{day:02}T00:00:00Z")));
        }
    }

    #[test]
    fn a_torn_certificate_does_no_harm() {
        let whole = made(2030, 1, 1);
        let read = not_after(&whole);
        assert!(read.is_some());
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None);
        }
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut torn = whole.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..torn.len().min(200));
                torn[at] = rng.u8(..);
            }
            not_after(&torn);
        }
    }

    #[test]
    fn an_invalid_time_yields_no_date() {
        for text in [
            "20300101000000",
            "20301301000000Z",
            "20300100000000Z",
            "2030010124000Z",
            "+0300101000000Z",
            "19690101000000Z",
            "",
        ] {
            let whole = digits(text.as_bytes(), 4).and_then(|(year, rest)| time(year, rest));
            assert_eq!(whole, None, "{text}");
        }
        assert_eq!(digits(b"99", 2).map(|(n, _)| n), Some(99));
    }
}
