//! Reads some fields of a certificate in DER, for messages. Pure.
//!
//! This walks to the fields (RFC 5280, 4.1) and is no full parser: rustls decides about trust. A certificate of an
//! unexpected form yields nothing.

use std::time::{Duration, SystemTime};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`. A certificate of version 1 lacks this field.
const VERSION: u8 = 0xa0;
/// `[3] EXPLICIT`.
const EXTENSIONS: u8 = 0xa3;

// Object identifiers. Sources: RFC 5280, 3279 and 5480.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const RSA_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P521: &[u8] = &[0x2b, 0x81, 4, 0, 0x23];
/// With RSA, and with ECDSA.
const SHA1: [&[u8]; 2] = [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]];

/// The parts of a certificate that messages show.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Certificate {
    /// 1 to 3.
    pub(super) version: u8,
    /// Whether subject and issuer are the same.
    pub(super) is_self_signed: bool,
    pub(super) issuer_name: Option<String>,
    /// The common name, or else the organisation.
    pub(super) subject_name: Option<String>,
    pub(super) not_before: Option<SystemTime>,
    pub(super) not_after: Option<SystemTime>,
    pub(super) key: KeyKind,
    pub(super) has_alternative_name: bool,
    pub(super) is_signed_with_sha1: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa { bits: usize },
    P521,
    Other,
}

impl Certificate {
    pub(super) fn read(certificate: &[u8]) -> Option<Self> {
        let (certificate, _) = take(certificate, SEQUENCE)?;
        let (mut tbs, _) = take(certificate, SEQUENCE)?;
        let mut version = 1;
        if let Some((number, rest)) = take(tbs, VERSION) {
            let (number, _) = take(number, INTEGER)?;
            version = number.last()?.saturating_add(1);
            tbs = rest;
        }
        let (_, tbs) = take(tbs, INTEGER)?;
        let (algorithm, tbs) = take(tbs, SEQUENCE)?;
        let (issuer, tbs) = take(tbs, SEQUENCE)?;
        let (validity, tbs) = take(tbs, SEQUENCE)?;
        let (subject, tbs) = take(tbs, SEQUENCE)?;
        let (key, extensions) = take(tbs, SEQUENCE)?;
        let (_, _, until) = element(validity)?;
        let (signature, _) = take(algorithm, OID)?;
        Some(Self {
            version,
            is_self_signed: issuer == subject,
            issuer_name: name(issuer),
            subject_name: name(subject),
            not_before: date(validity),
            not_after: date(until),
            key: key_kind(key).unwrap_or(KeyKind::Other),
            has_alternative_name: holds(extensions, ALTERNATIVE_NAME),
            is_signed_with_sha1: SHA1.contains(&signature),
        })
    }

    /// Whether the common name is this name of a server.
    pub(super) fn is_called(&self, server: &str) -> bool {
        self.subject_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(server.trim_end_matches('.')))
    }
}

/// Returns `tbsCertificate.validity.notAfter`.
pub(super) fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    Certificate::read(certificate)?.not_after
}

/// The last common name in a name, or else its last organisation.
fn name(mut rest: &[u8]) -> Option<String> {
    let (mut common, mut organisation) = (None, None);
    while let Some((set, next)) = take(rest, SET) {
        rest = next;
        let (pair, _) = take(set, SEQUENCE)?;
        let (kind, value) = take(pair, OID)?;
        let (_, text, _) = element(value)?;
        let text: String = String::from_utf8_lossy(text).chars().take(80).collect();
        match kind {
            COMMON_NAME => common = Some(text),
            ORGANISATION => organisation = Some(text),
            _ => {}
        }
    }
    common.or(organisation)
}

fn key_kind(info: &[u8]) -> Option<KeyKind> {
    let (algorithm, rest) = take(info, SEQUENCE)?;
    let (kind, parameters) = take(algorithm, OID)?;
    if kind == EC_KEY && take(parameters, OID).is_some_and(|(curve, _)| curve == P521) {
        return Some(KeyKind::P521);
    }
    if kind != RSA_KEY {
        return Some(KeyKind::Other);
    }
    let (bits, _) = take(rest, BIT_STRING)?;
    // The first byte counts the unused bits.
    let (key, _) = take(bits.get(1..)?, SEQUENCE)?;
    let (modulus, _) = take(key, INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = &modulus[zeros..];
    Some(KeyKind::Rsa { bits: modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize) })
}

/// Whether there is an extension of this kind.
fn holds(mut rest: &[u8], wanted: &[u8]) -> bool {
    while let Some((tag, content, next)) = element(rest) {
        rest = next;
        if tag != EXTENSIONS {
            continue;
        }
        let Some((mut list, _)) = take(content, SEQUENCE) else { return false };
        while let Some((extension, next)) = take(list, SEQUENCE) {
            list = next;
            if take(extension, OID).is_some_and(|(kind, _)| kind == wanted) {
                return true;
            }
        }
    }
    false
}

/// The first of the times in `validity`.
fn date(times: &[u8]) -> Option<SystemTime> {
    match element(times)? {
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
