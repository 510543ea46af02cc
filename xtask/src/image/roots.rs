//! The public CAs as a file that everything with OpenSSL's habits reads, the Collector among them.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// All of Mozilla's, in PEM (RFC 7468).
pub fn pem() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            let line = std::str::from_utf8(line).expect("base64 is ASCII");
            writeln!(text, "{line}").expect("a text takes all");
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_begins_as_one_does() {
        let text = pem();
        let count = text.matches("-----BEGIN CERTIFICATE-----\nMII").count();
        assert_eq!(count, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len(), "DER sequences of more than 255 bytes");
        assert!(count > 50, "{count}");
    }
}
