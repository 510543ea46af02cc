use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

fn inflated(bytes: &[u8], container: Container) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Inflate::new(bytes, container).read_to_end(&mut out).map(|_| out)
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Texts with few, many and no repetitions, longer than the window.
fn samples() -> Vec<Vec<u8>> {
    let mut dice = fastrand::Rng::with_seed(3);
    let config: String = (0..4000).map(|n| format!("  otlp/{n}:\n    endpoint: host-{}:4317\n", n * n % 977)).collect();
    vec![
        Vec::new(),
        b"a".to_vec(),
        b"receivers: {otlp: {}}\n".repeat(3),
        config.into_bytes(),
        vec![b'x'; 200_000],
        std::iter::repeat_with(|| dice.u8(..)).take(100_000).collect(),
        std::iter::repeat_with(|| dice.choice(*b"ab \n").unwrap()).take(100_000).collect(),
    ]
}

#[test]
fn what_was_compressed_comes_back_whatever_the_level() {
    for sample in samples() {
        for level in [0, 1, 6, 9] {
            assert!(inflated(&gzip(&sample, level), Container::Gzip).unwrap() == sample, "gzip {level}");
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&sample).unwrap();
            let bytes = encoder.finish().unwrap();
            assert!(inflated(&bytes, Container::Zlib).unwrap() == sample, "zlib {level}");
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&sample).unwrap();
            let bytes = encoder.finish().unwrap();
            if !is_text(&bytes[..bytes.len().min(INPUT)]) {
                assert!(inflated(&bytes, Container::Zlib).unwrap() == sample, "raw {level}");
            }
        }
    }
}

#[test]
fn a_header_may_have_all_fields_and_members_may_follow_one_another() {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(b"abc").unwrap();
    let plain = gzip(b"abc", 9);
    let mut whole = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x03\0xyzname\0comment\0\x12\x34".to_vec();
    whole.extend(encoder.finish().unwrap());
    whole.extend(&plain[plain.len() - 8..]);
    assert_eq!(inflated(&whole, Container::Gzip).unwrap(), b"abc");
    whole.extend(gzip(b"def", 0));
    assert_eq!(inflated(&whole, Container::Gzip).unwrap(), b"abcdef");
    whole.extend([0; 100]);
    assert_eq!(inflated(&whole, Container::Gzip).unwrap(), b"abcdef", "padding is ignored");
}

#[test]
fn bytes_that_are_not_compressed_pass() {
    for plain in [&b""[..], b"r", b"re", b"receivers: {}\n", b"\x1f", b"\x1f\x8c ", &[b'#'; 10_000]] {
        for container in [Container::Gzip, Container::Zlib] {
            if container == Container::Zlib && plain.len() > 1 && !is_text(plain) {
                // That may be deflate without container.
                continue;
            }
            assert_eq!(inflated(plain, container).unwrap(), plain, "{container:?}");
            let mut one = [0];
            let mut small = Inflate::new(plain, container);
            let mut out = Vec::new();
            while small.read(&mut one).unwrap() == 1 {
                out.push(one[0]);
            }
            assert_eq!(out, plain, "byte by byte");
        }
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let mut dice = fastrand::Rng::with_seed(5);
    for sample in samples().into_iter().filter(|sample| !sample.is_empty()) {
        for level in [0, 9] {
            let whole = gzip(&sample, level);
            for cut in [3, 11, whole.len() / 2, whole.len() - 1] {
                assert_eq!(inflated(&whole[..cut], Container::Gzip).unwrap_err().to_string(), DAMAGED, "{cut}");
            }
            for _ in 0..20 {
                let mut bytes = whole.clone();
                for _ in 0..dice.usize(1..4) {
                    let at = dice.usize(10..bytes.len());
                    bytes[at] ^= 1 << dice.u8(0..8);
                }
                let mut read = Vec::new();
                let result = Inflate::new(&bytes[..], Container::Gzip).take(1 << 20).read_to_end(&mut read);
                assert!(result.is_err() || read.len() == 1 << 20 || read == sample, "taken, and is another");
            }
        }
    }
    for _ in 0..4_000 {
        let mut bytes = b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec();
        let more = dice.usize(0..200);
        bytes.extend(std::iter::repeat_with(|| dice.u8(..)).take(more));
        let _ = Inflate::new(&bytes[..], Container::Gzip).take(1 << 16).read_to_end(&mut Vec::new());
    }
}
