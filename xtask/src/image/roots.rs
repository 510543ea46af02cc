//! The public CAs as a file that everything with OpenSSL's habits reads, the Collector among them.

use std::fmt::Write;

/// All of Mozilla's, in PEM (RFC 7468).
pub fn pem() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64(certificate);
        for line in encoded.as_bytes().chunks(64) {
            let line = std::str::from_utf8(line).expect("base64 is ASCII");
            writeln!(text, "{line}").expect("a text takes all");
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * place)) as usize & 63];
            text.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn each_certificate_begins_as_one_does() {
        let text = pem();
        let count = text.matches("-----BEGIN CERTIFICATE-----\nMII").count();
        assert_eq!(count, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len(), "DER sequences of more than 255 bytes");
        assert!(count > 50, "{count}");
    }
}
