//! Verifies signed configs: whether the owner of a key signed this body, and whether it is no older config that is
//! played back. Pure: the caller fetches the signature and remembers the newest accepted one.
//!
//! The format is minisign's, with the detached signature in a file beside the config: `minisign -Sm config.yaml` writes
//! `config.yaml.minisig`. `minisign_verify` decides; `ring` only helps to find the reason for a refusal.
//!
//! Only prehashed signatures (`ED`) are accepted, minisign's default since 0.10 (2021). In the older form (`Ed`) the
//! key signs the text itself. So a signature of one form, relabelled, is a valid signature of the other form for
//! another text. Accepting one form only rules that out.

use crate::{Refusal, markup};
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error as VerifyError, Signature};
use ring::signature::{ED25519, UnparsedPublicKey};

use otelet_core::decide::ConfigHash;
use otelet_core::text::{NotText, decode, without_blank_end};
use otelet_core::units;

use crate::hash::hash;

/// The largest signature file that is read, in bytes; minisign writes about 300.
pub const SIGNATURE_LIMIT: usize = 4096;

/// The suffix that turns the name of a config into the name of its signature.
pub const SUFFIX: &str = ".minisig";

/// How far a signer's clock may be ahead of this host's, in seconds: a day, so that a wrong time zone or a clock set by
/// hand does no harm.
const AHEAD: u64 = 24 * 60 * 60;

/// The latest time that a signature may name, in Unix seconds: the end of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// The public key of the signer.
#[derive(Clone, PartialEq)]
pub struct PublicKey {
    verifier: minisign_verify::PublicKey,
    id: KeyId,
    point: [u8; 32],
}

/// The number of a key, as minisign prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl PublicKey {
    /// Reads the setting `config.public_key`: the line of base64 in `minisign.pub`, or the whole content of that file.
    ///
    /// # Errors
    ///
    /// A message with the fault and the way out. It repeats nothing of the text, which may be a secret key by mistake.
    pub fn parse(text: &str) -> Result<Self, String> {
        let comment = |line: &&str| line.starts_with("untrusted comment:");
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !comment(line));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err("not one key; write the line of minisign.pub that begins with RW".to_owned());
        };
        let bytes = STANDARD.decode(line).unwrap_or_default();
        // A secret key begins like a public one, with `Ed`; its kind of encryption follows.
        if bytes.len() == 158 {
            return Err(
                "this is the secret key, and no longer secret; make a new pair, and write the line of its .pub file"
                    .to_owned(),
            );
        }
        let verifier = minisign_verify::PublicKey::from_base64(line)
            .map_err(|_| "not a key of minisign; write the line of minisign.pub that begins with RW".to_owned())?;
        let parts = bytes.split_first_chunk::<2>().and_then(|(_, rest)| rest.split_first_chunk::<8>());
        let Some((id, point)) = parts.and_then(|(id, point)| Some((id, <[u8; 32]>::try_from(point).ok()?))) else {
            return Err("not a key of minisign; is it written without its = at the end?".to_owned());
        };
        Ok(Self { verifier, id: KeyId(u64::from_le_bytes(*id)), point })
    }

    /// Returns the number of the key, as minisign prints it.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

/// An accepted signature. The caller remembers it, since the next one is compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedSignature {
    /// When the config was signed, in Unix seconds, by the signer's clock.
    pub signed_at: u64,
    /// The hash of the signed config.
    pub hash: ConfigHash,
}

/// Why a config is not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// The signature is missing.
    #[error("config is not signed; minisign -Sm CONFIG writes the .minisig file to put beside it")]
    Unsigned,

    /// The signature is longer than [`SIGNATURE_LIMIT`].
    #[error("signature is {size} bytes, the most read is {SIGNATURE_LIMIT}; is it the .minisig file?")]
    TooLarge {
        /// The size of the part that was read, in bytes.
        size: usize,
    },

    /// The signature is not the four lines that minisign writes.
    #[error(
        "signature is not in minisign's format; minisign -Sm CONFIG writes the .minisig file to put beside the config"
    )]
    Malformed,

    /// Something else came, such as the page of a login.
    #[error("in place of the signature {0}")]
    Foreign(Refusal),

    /// The signature was saved by an editor that writes two bytes a character.
    #[error("signature {}", NotText::Utf16)]
    Utf16,

    /// The signature has the form of minisign before 0.10.
    #[error("signature has the legacy form; sign with minisign 0.10 or later, or with -H")]
    Legacy,

    /// The signature was made with another key.
    #[error("config is signed with key {found}, config.public_key is {expected}; sign it with {expected}")]
    OtherKey {
        /// The key that signed the config.
        found: KeyId,
        /// The key in `config.public_key`.
        expected: KeyId,
    },

    /// The signature is intact, but belongs to another text.
    #[error(
        "config is not what was signed with key {key}: its body was changed, or the signature is of another config"
    )]
    Body {
        /// The key that made the signature.
        key: KeyId,
    },

    /// The trusted comment, which holds the time, or the signature itself was changed.
    #[error("signature is not what key {key} made: its trusted comment or the signature itself was changed")]
    Comment {
        /// The key that the signature names.
        key: KeyId,
    },

    /// The trusted comment has no time, so an old config cannot be told from a new one.
    #[error("signature has no timestamp in its trusted comment; sign without -t, or with timestamp:SECONDS in it")]
    NoTimestamp,

    /// The config is older than the newest accepted one: it may be played back.
    #[error(
        "config was signed at {}, before the newest accepted one of {}; sign it again to go back to it, or, if the \
         signer's clock was ahead, forget that time with `otelet rollback --clear-signed`",
        time(*signed_at), time(*newest)
    )]
    Older {
        /// When it was signed, in Unix seconds.
        signed_at: u64,
        /// When the newest accepted config was signed, in Unix seconds.
        newest: u64,
    },

    /// The signer's clock is ahead. Once accepted, such a config would block all others until that time has come.
    #[error(
        "config was signed at {}, more than a day after this host's time of {}; set the signer's clock, and \
         sign it again, or set that of this host",
        time(*signed_at), time(*now)
    )]
    Ahead {
        /// When it was signed, in Unix seconds.
        signed_at: u64,
        /// This host's time, in Unix seconds.
        now: u64,
    },

    /// Another config was signed in the same second, so the newer one of the two is not known.
    #[error("config was signed in the same second as another one, {}; sign it again", time(*signed_at))]
    SameTime {
        /// When both were signed, in Unix seconds.
        signed_at: u64,
    },
}

/// Checks that the owner of the key signed this body, and not before the newest accepted config.
///
/// An empty `signature` stands for a missing file. The same config with the same time is accepted again. `now` is this
/// host's time in Unix seconds, `None` if its clock is unreliable. A config signed more than a day after `now` is
/// refused, since it would block every config that is signed after it. Without `now` it is accepted, and then the block
/// ends only when the caller forgets `newest`. The clock never lifts the block: an attacker who could set the clock
/// back could have older configs accepted.
///
/// # Errors
///
/// [`SignatureError`] says why the config is refused.
pub fn verify(
    key: &PublicKey,
    body: &[u8],
    signature: &[u8],
    newest: Option<AcceptedSignature>,
    now: Option<u64>,
) -> Result<AcceptedSignature, SignatureError> {
    if signature.is_empty() {
        return Err(SignatureError::Unsigned);
    }
    if let Some(page) = markup(signature) {
        return Err(SignatureError::Foreign(page));
    }
    if signature.len() > SIGNATURE_LIMIT {
        return Err(SignatureError::TooLarge { size: signature.len() });
    }
    let text = decode(signature.to_vec()).map_err(|why| match why {
        NotText::Utf16 => SignatureError::Utf16,
        NotText::NotUtf8 { .. } => SignatureError::Malformed,
    })?;
    let text = without_blank_end(&text);
    let signature = Signature::decode(text).map_err(|_| SignatureError::Malformed)?;
    match key.verifier.verify(body, &signature, false) {
        Ok(()) => {}
        Err(VerifyError::UnexpectedKeyId) => {
            let found = parts(text).map_or(key.id, |(found, _)| found);
            return Err(SignatureError::OtherKey { found, expected: key.id });
        }
        Err(VerifyError::UnexpectedAlgorithm) => return Err(SignatureError::Legacy),
        Err(_) if comment_is_whole(key, text, &signature) => return Err(SignatureError::Body { key: key.id }),
        Err(_) => return Err(SignatureError::Comment { key: key.id }),
    }
    let signed_at = timestamp(signature.trusted_comment()).ok_or(SignatureError::NoTimestamp)?;
    if let Some(now) = now.filter(|now| signed_at > now.saturating_add(AHEAD)) {
        return Err(SignatureError::Ahead { signed_at, now });
    }
    let hash = hash(body);
    match newest {
        Some(newest) if signed_at < newest.signed_at => {
            Err(SignatureError::Older { signed_at, newest: newest.signed_at })
        }
        Some(newest) if signed_at == newest.signed_at && hash != newest.hash => {
            Err(SignatureError::SameTime { signed_at })
        }
        Some(_) | None => Ok(AcceptedSignature { signed_at, hash }),
    }
}

/// The URL of the signature of the config at `url`: [`SUFFIX`] is added to the path, the query stays.
pub fn url_beside(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, query) = url.split_at(end);
    format!("{path}{SUFFIX}{query}")
}

/// Whether the second half of a refused signature is valid. It covers the first half and the trusted comment, so if it
/// is valid, only the body can be wrong.
fn comment_is_whole(key: &PublicKey, text: &str, signature: &Signature) -> bool {
    let Some((_, first)) = parts(text) else { return false };
    let Some(second) = text.lines().nth(3).and_then(|line| STANDARD.decode(line).ok()) else { return false };
    let signed = [&first[..], signature.trusted_comment().as_bytes()].concat();
    UnparsedPublicKey::new(&ED25519, &key.point).verify(&signed, &second).is_ok()
}

/// The number of the key and the first half of a signature. The line holds two bytes of algorithm, eight of number, 64
/// of signature.
fn parts(text: &str) -> Option<(KeyId, [u8; 64])> {
    let bytes = STANDARD.decode(text.lines().nth(1)?).ok()?;
    let (_, rest) = bytes.split_first_chunk::<2>()?;
    let (id, signature) = rest.split_first_chunk::<8>()?;
    Some((KeyId(u64::from_le_bytes(*id)), signature.try_into().ok()?))
}

/// The time in a trusted comment: fields separated by tabs, one of them `timestamp:SECONDS`.
fn timestamp(comment: &str) -> Option<u64> {
    let seconds = comment.split(['\t', ' ']).find_map(|field| field.strip_prefix("timestamp:"))?;
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| seconds.parse().ok()).flatten().filter(|seconds| *seconds <= LATEST)
}

fn time(seconds: u64) -> String {
    units::rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LATEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two pairs of keys made by minisign 0.11 for these tests and nothing else, without a password (`-G -W`); the
    // signatures were made with `-S -m config.yaml -t 'timestamp:1700000000	file:config.yaml	hashed'`.
    const KEY: &str = include_str!("../tests/signed/key.pub").trim_ascii();
    const OTHER_KEY: &str = "RWSmjGfKiH1WtBeSA7uo1VqGQUpaR0ZJ1UsUpaDuIcP8RhEvD0q0XM2E";
    const BODY: &[u8] = include_bytes!("../tests/signed/config.yaml");
    const GOOD: &str = include_str!("../tests/signed/config.yaml.minisig");
    const OLDER: &str = include_str!("../tests/signed/older.minisig");
    const UNTIMED: &str = "untrusted comment: signature from minisign secret key\n\
        RUREku3J4iZ/rnWoYjAtcLFNf12g8/SjsTZYlJqTtoiLRwiOLwESw3dfZo1JG2HBaGb0rAQixVKdHcF9y8bLUluNk96Zt3P4dQs=\n\
        trusted comment: made by hand\n\
        w81M9eD1LewW+XJWH6Tp7s8KFsyplXzaY1y8gxwIvxjI8TqJmNwBL8Bx1yReZNPyh4AIMgHoaw12B/NVOjD3Ag==\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
        RWREku3J4iZ/rkUMp+FL0Neu09WGf1H6bnm/ZIWW2uLCFFQkVng8BKhbid6XkoJjWzlIfP2aiy7xzb+On2sDrn/NRCmO58BNvQY=\n\
        trusted comment: timestamp:1700000000\tfile:config.yaml\n\
        cwI1b5envTQxXeGtRXKatIBy0CC3olnjkZMKYxPs29F3deNCXNV/6d8cmluaT8AZIoJK05SrqnoFtcVhLY7gDg==\n";
    const OTHER: &str = "untrusted comment: signature from minisign secret key\n\
        RUSmjGfKiH1WtCSX0ijBf3pqLXwKJ63kbN/To7DVbE3fKvwKwcfcd4UWLyJWSpIK2407MLgswhDYsFqShANYIl0cbjSuXy3evQY=\n\
        trusted comment: timestamp:1700000000\tfile:config.yaml\thashed\n\
        OdCcTz8PWOCI+XV3+ljVhMy0Mj0nzU8vMJ+WFxbtB5N/Nu1M73e8igqIbyVwJIP3xUmo8J2XeC8zwTR6WQw1CQ==\n";

    fn key() -> PublicKey {
        PublicKey::parse(KEY).unwrap()
    }

    fn refused(body: &[u8], signature: &str, newest: Option<AcceptedSignature>) -> String {
        verify(&key(), body, signature.as_bytes(), newest, None).unwrap_err().to_string()
    }

    fn accepted(signed_at: u64) -> AcceptedSignature {
        AcceptedSignature { signed_at, hash: hash(BODY) }
    }

    #[test]
    fn a_good_signature_is_accepted_again() {
        let first = verify(&key(), BODY, GOOD.as_bytes(), None, None);
        assert_eq!(first, Ok(accepted(1_700_000_000)));
        assert_eq!(verify(&key(), BODY, GOOD.as_bytes(), first.clone().ok(), None), first);
        assert_eq!(verify(&key(), BODY, GOOD.as_bytes(), Some(accepted(1_699_999_999)), None), first);
        assert_eq!(verify(&key(), BODY, GOOD.replace('\n', "\r\n").as_bytes(), None, None), first);
        let edited = format!("\u{feff}{GOOD}\n\n").replace('\n', "\r\n");
        assert_eq!(verify(&key(), BODY, edited.as_bytes(), None, None), first);
        assert_eq!(verify(&key(), BODY, GOOD.replace("signature from", "whatever").as_bytes(), None, None), first);
    }

    #[test]
    fn each_refusal_names_its_reason() {
        let other_body = b"receivers: {evil: {}}\n";
        let comment = GOOD.replace("1700000000", "1700000001");
        let signature = GOOD.replace("nWoYjAtc", "nWoYjAtd");
        let both = signature.replace("1700000000", "1700000001");
        let changed = "signature is not what key AE7F26E2C9ED9244 made: its trusted comment or the signature itself \
                       was changed";
        let body = "config is not what was signed with key AE7F26E2C9ED9244: its body was changed, or the signature \
                    is of another config";
        let malformed = "signature is not in minisign's format; minisign -Sm CONFIG writes the .minisig file to put \
                         beside the config";
        for (name, refused, why) in [
            (
                "missing",
                refused(BODY, "", None),
                "config is not signed; minisign -Sm CONFIG writes the .minisig file to put beside it",
            ),
            ("body", refused(other_body, GOOD, None), body),
            ("empty body", refused(b"", GOOD, None), body),
            ("comment", refused(BODY, &comment, None), changed),
            ("signature", refused(BODY, &signature, None), changed),
            ("everything", refused(other_body, &both, None), changed),
            (
                "other key",
                refused(BODY, OTHER, None),
                "config is signed with key B4567D88CA678CA6, config.public_key is AE7F26E2C9ED9244; sign it with \
                 AE7F26E2C9ED9244",
            ),
            (
                "legacy",
                refused(BODY, LEGACY, None),
                "signature has the legacy form; sign with minisign 0.10 or later, or with -H",
            ),
            (
                "no time",
                refused(BODY, UNTIMED, None),
                "signature has no timestamp in its trusted comment; sign without -t, or with timestamp:SECONDS in it",
            ),
            (
                "huge",
                refused(BODY, &format!("{GOOD}{}", " ".repeat(4096)), None),
                &format!("signature is {} bytes, the most read is 4096; is it the .minisig file?", GOOD.len() + 4096),
            ),
            ("not minisign", refused(BODY, "404 page not found\n", None), malformed),
            (
                "a page",
                refused(BODY, &format!("<html><title>Sign in</title>{}", " ".repeat(4096)), None),
                "in place of the signature a web page came, not a config, its title is \"Sign in\"; is a login page, a \
                 captive portal or an error page in the way? Open the address in a browser, or with `curl -i`",
            ),
            ("half", refused(BODY, &GOOD[..GOOD.len() / 2], None), malformed),
            (
                "older",
                refused(BODY, OLDER, Some(accepted(1_700_000_000))),
                "config was signed at 2023-11-14T22:13:19Z, before the newest accepted one of 2023-11-14T22:13:20Z; \
                 sign it again to go back to it, or, if the signer's clock was ahead, forget that time with \
                 `otelet rollback --clear-signed`",
            ),
            (
                "same time",
                refused(BODY, GOOD, Some(AcceptedSignature { hash: hash(other_body), ..accepted(1_700_000_000) })),
                "config was signed in the same second as another one, 2023-11-14T22:13:20Z; sign it again",
            ),
        ] {
            assert_eq!(refused, why, "{name}");
        }
        let binary = verify(&key(), BODY, b"\xe4\xff", None, None);
        assert_eq!(binary, Err(SignatureError::Malformed));
        let wide: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = verify(&key(), BODY, &wide, None, None).unwrap_err().to_string();
        assert!(wide.starts_with("signature is UTF-16, as PowerShell"), "{wide}");
    }

    #[test]
    fn a_signers_clock_may_be_a_day_ahead_of_a_reliable_clock() {
        let signed_at = 1_700_000_000;
        let verify = |now| verify(&key(), BODY, GOOD.as_bytes(), None, now);
        for now in [None, Some(u64::MAX), Some(signed_at), Some(signed_at - AHEAD)] {
            assert_eq!(verify(now), Ok(accepted(signed_at)), "{now:?}");
        }
        let now = signed_at - AHEAD - 1;
        let refused = verify(Some(now)).unwrap_err();
        assert_eq!(refused, SignatureError::Ahead { signed_at, now });
        assert_eq!(
            refused.to_string(),
            "config was signed at 2023-11-14T22:13:20Z, more than a day after this host's time of \
             2023-11-13T22:13:19Z; set the signer's clock, and sign it again, or set that of this host"
        );
        // A reliable clock does not lift the block by a newest signature that is ahead of it.
        let ahead = Some(AcceptedSignature { hash: hash(b"other"), ..accepted(LATEST) });
        let older = super::verify(&key(), BODY, GOOD.as_bytes(), ahead, Some(signed_at));
        assert_eq!(older, Err(SignatureError::Older { signed_at, newest: LATEST }));
    }

    #[test]
    fn no_changed_bit_is_accepted() {
        let good = verify(&key(), BODY, GOOD.as_bytes(), None, None);
        // The first line is the untrusted comment: anything may stand there.
        let start = GOOD.find('\n').unwrap() + 1;
        for at in start..GOOD.len() - 1 {
            for bit in 0..8 {
                let mut changed = GOOD.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                let verdict = verify(&key(), BODY, &changed, None, None);
                assert_ne!(verdict, good, "byte {at}, bit {bit}");
            }
        }
        for at in 0..BODY.len() {
            let mut changed = BODY.to_vec();
            changed[at] ^= 1;
            assert_eq!(
                verify(&key(), &changed, GOOD.as_bytes(), None, None),
                Err(SignatureError::Body { key: key().id() })
            );
        }
    }

    #[test]
    fn a_key_is_a_line_or_a_file() {
        let file = format!("untrusted comment: minisign public key AE7F26E2C9ED9244\r\n{KEY}\r\n");
        for text in [KEY, &format!("  {KEY}\n"), &file] {
            let key = PublicKey::parse(text).unwrap();
            assert_eq!(key, self::key(), "{text}");
            assert_eq!(format!("{key:?}"), "PublicKey(AE7F26E2C9ED9244)");
        }
        assert_ne!(PublicKey::parse(OTHER_KEY).unwrap(), key());
        // As long as a secret key, and with the same beginning.
        let secret = &format!("RWQAAEIy{}=", "A".repeat(203));
        for (text, why) in [
            ("", "not one key; "),
            (&format!("{KEY}\n{OTHER_KEY}"), "not one key; "),
            ("untrusted comment: nothing below", "not one key; "),
            ("hunter2", "not a key of minisign; "),
            (&KEY[..KEY.len() - 4], "not a key of minisign; "),
            (&KEY.replacen("RW", "QU", 1), "not a key of minisign; "),
            (secret, "this is the secret key, and no longer secret; make a new pair"),
        ] {
            let refused = PublicKey::parse(text).unwrap_err();
            assert!(refused.starts_with(why), "{text}: {refused}");
            assert!(text.is_empty() || !refused.contains(text), "{refused}");
        }
    }

    #[test]
    fn a_time_is_digits_in_a_field_of_its_own() {
        for (comment, seconds) in [
            ("timestamp:1\tfile:a", Some(1)),
            ("file:a\ttimestamp:2", Some(2)),
            ("site north, timestamp:3", Some(3)),
            ("timestamp:253402300799", Some(LATEST)),
            ("timestamp:253402300800", None),
            ("timestamp:99999999999999999999", None),
            ("timestamp:-1", None),
            ("timestamp:+1", None),
            ("timestamp:", None),
            ("timestamp: 1", None),
            ("mytimestamp:1", None),
            ("", None),
        ] {
            assert_eq!(timestamp(comment), seconds, "{comment:?}");
        }
    }

    #[test]
    fn the_signature_stands_beside_the_config() {
        assert_eq!(url_beside("https://c.example/a/config.yaml"), "https://c.example/a/config.yaml.minisig");
        assert_eq!(url_beside("https://c.example/v1?site=4"), "https://c.example/v1.minisig?site=4");
    }

    #[test]
    #[ignore = "needs the minisign program: cargo xtask check --real"]
    fn a_signature_of_the_real_minisign_is_accepted() {
        use std::process::Command;

        if Command::new("minisign").arg("-v").output().is_err() {
            println!("skipped: the minisign program is not installed; apt-get install minisign");
            return;
        }
        let dir = std::env::temp_dir().join(format!("otelet-minisign-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let minisign = |arguments: &[&str]| {
            let output = Command::new("minisign").args(arguments).current_dir(&dir).output().unwrap();
            assert!(output.status.success(), "minisign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
        let sign = |body: &[u8], more: &[&str]| {
            std::fs::write(dir.join("config.yaml"), body).unwrap();
            minisign(&[&["-S", "-s", "key", "-m", "config.yaml"], more].concat());
            read("config.yaml.minisig")
        };
        minisign(&["-G", "-W", "-p", "key.pub", "-s", "key"]);
        let key = PublicKey::parse(&String::from_utf8(read("key.pub")).unwrap()).unwrap();
        let large: Vec<u8> = (0..4 << 20).map(|number| (number % 251) as u8).collect();
        let mut newest = None;
        for body in [BODY, b"", &large] {
            let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let at = newest.map_or(before, |newest: AcceptedSignature| newest.signed_at + 1).max(before);
            let signature = match newest {
                // With minisign's own timestamp.
                None => sign(body, &[]),
                // One second later, without waiting.
                Some(_) => sign(body, &["-t", &format!("timestamp:{at}")]),
            };
            let accepted = verify(&key, body, &signature, newest, Some(before)).unwrap();
            assert!((at..at + 60).contains(&accepted.signed_at));
            newest = Some(accepted);

            let changed = [body, b"#"].concat();
            assert_eq!(verify(&key, &changed, &signature, None, None), Err(SignatureError::Body { key: key.id() }));
        }
        let old = sign(BODY, &["-t", "timestamp:1700000000"]);
        let newest = newest.unwrap();
        let older = SignatureError::Older { signed_at: 1_700_000_000, newest: newest.signed_at };
        assert_eq!(verify(&key, BODY, &old, Some(newest), None), Err(older));
        assert_eq!(verify(&key, BODY, &sign(BODY, &["-l"]), None, None), Err(SignatureError::Legacy));
        minisign(&["-G", "-W", "-f", "-p", "key.pub", "-s", "key"]);
        let other = verify(&key, BODY, &sign(BODY, &[]), None, None);
        assert!(matches!(other, Err(SignatureError::OtherKey { .. })), "{other:?}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
