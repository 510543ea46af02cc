//! The messages of DNS: writes a question, reads an answer (RFC 1035, section 4). Pure.
//!
//! Without EDNS, as the C libraries ask: old name servers in plants refuse what they do not know. So an answer by UDP
//! has at most 512 bytes, and a longer one is asked for again by TCP.

use std::net::IpAddr;

/// The length of the head of a message, in bytes.
const HEAD: usize = 12;

/// The type of a question about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6 (RFC 3596).
    Aaaa,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }
}

/// A server's answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// At least one.
    Addresses(Vec<IpAddr>),
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The name is known and has no address of this kind.
    NoAddress,
    /// The server does not say: SERVFAIL (2), REFUSED (5) and the like.
    Code(u8),
    /// The records cannot be read.
    Garbled,
}

/// An answer, and whether the server left out a part of it for want of room.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) truncated: bool,
}

/// Writes the question for a name without its last dot. Returns `None` if no name can look like this.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEAD + name.len() + 6);
    message.extend(id.to_be_bytes());
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    // RFC 1035, section 2.3.4: a name has at most 255 bytes, the lengths of its labels included.
    if message.len() > HEAD + 255 {
        return None;
    }
    message.extend(kind.number().to_be_bytes());
    message.extend([0, 1]);
    Some(message)
}

/// Reads a message. Returns `None` if it does not answer this question: a stray or forged one.
pub(super) fn reply(message: &[u8], question: &[u8], kind: Kind) -> Option<Reply> {
    let head = message.get(..HEAD)?;
    if head[..2] != question[..2] || head[2] & 0x80 == 0 {
        return None;
    }
    let truncated = head[2] & 2 != 0;
    let code = head[3] & 15;
    let count = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let asked = message.get(HEAD..question.len());
    match count(4) {
        1 if asked.is_some_and(|asked| asked.eq_ignore_ascii_case(&question[HEAD..])) => {}
        // Some servers that refuse leave the question out.
        0 if code != 0 => {}
        _ => return None,
    }
    let answer = match code {
        0 => {
            let (addresses, whole) = addresses(message, question.len(), count(6), kind);
            match (addresses.is_empty(), whole || truncated) {
                (false, _) => Answer::Addresses(addresses),
                (true, true) => Answer::NoAddress,
                (true, false) => Answer::Garbled,
            }
        }
        3 => Answer::NoSuchName,
        code => Answer::Code(code),
    };
    Some(Reply { answer, truncated })
}

/// The addresses among the records, and whether all records could be read. The server has followed the aliases (CNAME): the
/// addresses at their end are taken whatever name they belong to.
fn addresses(message: &[u8], mut at: usize, count: u16, kind: Kind) -> (Vec<IpAddr>, bool) {
    let mut found = Vec::new();
    for _ in 0..count {
        let Some((record, data)) = record(message, at) else {
            return (found, false);
        };
        let address = match (kind, data.len()) {
            (Kind::A, 4) => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            (Kind::Aaaa, 16) => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            _ => None,
        };
        // The class is IN.
        if record == [kind.number(), 1]
            && let Some(address) = address
            && !found.contains(&address)
        {
            found.push(address);
        }
        at = data.as_ptr() as usize - message.as_ptr() as usize + data.len();
    }
    (found, true)
}

/// The type and class of the record that begins here, and its data.
fn record(message: &[u8], mut at: usize) -> Option<([u16; 2], &[u8])> {
    loop {
        match *message.get(at)? {
            0 => break at += 1,
            // A pointer to the rest of the name.
            192.. => break at += 2,
            length => at += 1 + usize::from(length),
        }
    }
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let length = usize::from(word(at + 8)?);
    Some(([word(at)?, word(at + 2)?], message.get(at + 10..at + 10 + length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `question` with this code and these records, each with its type and data.
    fn message(question: &[u8], code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&[0x81, 0x80 | code]);
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn the_addresses_behind_aliases_are_found() {
        let question = question(7, "config.plant.test", Kind::A).unwrap();
        let mut alias = vec![3, b'w', b'w', b'w'];
        alias.extend([0xc0, 19]);
        let records: [(u16, &[u8]); 4] = [(5, &alias), (1, &[10, 0, 0, 1]), (1, &[10, 0, 0, 2]), (1, &[10, 0, 0, 1])];
        let reply = reply(&message(&question, 0, &records), &question, Kind::A).unwrap();
        let found = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        assert_eq!(reply, Reply { answer: Answer::Addresses(found.to_vec()), truncated: false });
    }

    #[test]
    fn each_kind_of_no_is_told_apart() {
        let question = question(7, "a.test", Kind::Aaaa).unwrap();
        let answer = |message: Vec<u8>| reply(&message, &question, Kind::Aaaa).map(|reply| reply.answer);
        assert_eq!(answer(message(&question, 3, &[])), Some(Answer::NoSuchName));
        assert_eq!(answer(message(&question, 0, &[])), Some(Answer::NoAddress));
        assert_eq!(answer(message(&question, 0, &[(1, &[10, 0, 0, 1])])), Some(Answer::NoAddress));
        assert_eq!(answer(message(&question, 2, &[])), Some(Answer::Code(2)));
        let mut bare = message(&question, 5, &[]);
        bare.truncate(HEAD);
        bare[5] = 0;
        assert_eq!(answer(bare), Some(Answer::Code(5)), "without the question");
    }

    #[test]
    fn a_message_that_answers_something_else_is_none() {
        let asked = question(7, "a.test", Kind::A).unwrap();
        let good = message(&asked, 0, &[(1, &[10, 0, 0, 1])]);
        assert!(reply(&good, &asked, Kind::A).is_some());
        for other in [question(8, "a.test", Kind::A), question(7, "b.test", Kind::A), question(7, "a.test", Kind::Aaaa)]
        {
            assert_eq!(reply(&good, &other.unwrap(), Kind::A), None);
        }
        assert_eq!(reply(&asked, &asked, Kind::A), None, "a question is no answer");
        let upper = question(7, "A.Test", Kind::A).unwrap();
        assert!(reply(&good, &upper, Kind::A).is_some(), "the case of letters does not count");
    }

    #[test]
    fn what_is_left_of_a_truncated_answer_is_read() {
        let question = question(7, "a.test", Kind::A).unwrap();
        let mut cut = message(&question, 0, &[(1, &[10, 0, 0, 1]), (1, &[10, 0, 0, 2])]);
        cut.truncate(cut.len() - 3);
        let whole = reply(&cut, &question, Kind::A).unwrap();
        assert_eq!(whole.answer, Answer::Addresses(vec![[10, 0, 0, 1].into()]));
        cut[2] |= 2;
        assert!(reply(&cut, &question, Kind::A).unwrap().truncated);
        cut.truncate(question.len() + 3);
        assert_eq!(reply(&cut, &question, Kind::A).unwrap().answer, Answer::NoAddress);
        cut[2] &= !2;
        assert_eq!(reply(&cut, &question, Kind::A).unwrap().answer, Answer::Garbled);
    }

    #[test]
    fn names_that_cannot_exist_are_not_asked() {
        let long = ["a"; 127].join(".");
        assert!(question(1, &long, Kind::A).is_some());
        for name in ["", "a..b", ".a", &"a".repeat(64), &(long + ".a")] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
    }

    #[test]
    fn no_message_makes_it_panic() {
        let question = question(7, "config.plant.test", Kind::A).unwrap();
        let good = message(&question, 0, &[(5, &[1, b'x', 0]), (1, &[10, 0, 0, 1])]);
        let mut dice = fastrand::Rng::with_seed(15);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..dice.usize(1..5) {
                let at = dice.usize(..bytes.len());
                match dice.u8(..3) {
                    0 => bytes[at] = dice.u8(..),
                    1 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, dice.u8(..)),
                }
            }
            let _ = reply(&bytes, &question, Kind::A);
        }
    }
}
