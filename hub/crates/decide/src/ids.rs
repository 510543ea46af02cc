//! The identities of agents and configs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Unix time in milliseconds, by the hub's clock.
pub type Millis = i64;

/// The instance uid of an agent. It is shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(pub [u8; 16]);

/// The SHA-256 of a config.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub [u8; 32]);

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |digit: u8| (digit as char).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut from = 0;
        for (part, length) in [4, 2, 2, 2, 6].into_iter().enumerate() {
            if part > 0 {
                f.write_str("-")?;
            }
            hex(&self.0[from..from + length], f)?;
            from += length;
        }
        Ok(())
    }
}

impl FromStr for Uid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        unhex(&digits).map(Self).ok_or_else(|| format!("{text:?} is no UUID of 32 hex digits"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        unhex(text).map(Self).ok_or_else(|| format!("{text:?} is no SHA-256 of 64 hex digits"))
    }
}

impl Hash {
    /// Reads the hash of an OpAMP message: the 32 bytes, or their hex digits.
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        match bytes.try_into() {
            Ok(bytes) => Some(Self(bytes)),
            Err(_) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        }
    }

    /// The first eight digits, enough for a person.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    )*};
}
as_text!(Uid Hash);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_read_back_from_what_is_shown() {
        let uid = Uid([0x01, 0x9a, 0xff, 0, 1, 2, 0x70, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(uid.to_string(), "019aff00-0102-7004-0506-0708090a0b0c");
        assert_eq!(uid.to_string().parse(), Ok(uid));
        assert_eq!("x".parse::<Uid>().unwrap_err(), "\"x\" is no UUID of 32 hex digits");
    }

    #[test]
    fn a_hash_is_read_as_bytes_and_as_digits() {
        let hash = Hash([0xab; 32]);
        assert_eq!(Hash::from_wire(&[0xab; 32]), Some(hash));
        assert_eq!(Hash::from_wire(hash.to_string().as_bytes()), Some(hash));
        assert_eq!(Hash::from_wire(b"v7"), None);
        assert_eq!("ab".parse::<Hash>().unwrap_err(), "\"ab\" is no SHA-256 of 64 hex digits");
    }
}
