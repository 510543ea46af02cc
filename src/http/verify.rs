//! Decides whether a server's certificate is trusted, and says in words why it is not.
//!
//! rustls decides, with two exceptions, both at a person's word: a certificate that is itself in the file of CAs, and one
//! whose fingerprint the settings name. That the server has the certificate's key is verified in any case.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::{Certificate, KeyKind};
use otelet_core::units::rfc3339;

/// The SHA-256 of a certificate.
pub type Fingerprint = [u8; 32];

/// Why a certificate was refused, in words.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// Its CA is not known.
    Untrusted(String),
    /// For another reason, with the way out.
    Unusable(String),
}

/// The last refusal of a client, for its error.
pub(super) type LastRefusal = Arc<Mutex<Option<Refusal>>>;

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) chain: Arc<WebPkiServerVerifier>,
    /// The certificates in the file of CAs.
    pub(super) own: Vec<CertificateDer<'static>>,
    /// The only certificate that is accepted.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) last: LastRefusal,
}

impl Verifier {
    fn refuse(&self, error: Error, refusal: Option<Refusal>) -> Error {
        *self.last.lock().expect("no panic while it is held") = refusal;
        error
    }

    /// A certificate that a person has put into the file itself, such as openssl makes it by default, which says that
    /// it is a CA. Name and dates count for it as for any other.
    fn own_certificate(
        &self,
        shown: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(shown)?;
        let known = Certificate::read(shown).ok_or(CertificateError::BadEncoding)?;
        match rustls::client::verify_server_name(&parsed, name) {
            // As in curl: without any alternative name, the common name counts.
            Err(_) if !known.has_alternative_name && known.is_called(&name.to_str()) => {}
            other => other?,
        }
        match at(now) {
            now if known.not_before.is_some_and(|from| now < from) => Err(CertificateError::NotValidYet.into()),
            now if known.not_after.is_none_or(|until| now > until) => Err(CertificateError::Expired.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(wanted) = &self.fingerprint {
            let found = fingerprint(shown);
            if found == *wanted {
                return Ok(ServerCertVerified::assertion());
            }
            let why = format!(
                "certificate has the SHA-256 fingerprint {}, and {} is wanted; if the server was given a new one, write \
                 that one",
                hex(&found),
                hex(wanted)
            );
            return Err(self.refuse(CertificateError::UnknownIssuer.into(), Some(Refusal::Unusable(why))));
        }
        let verified = self.chain.verify_server_cert(shown, intermediates, name, ocsp, now).or_else(|error| {
            if self.own.iter().any(|own| own == shown) { self.own_certificate(shown, name, now) } else { Err(error) }
        });
        verified.map_err(|error| {
            let refusal = explain(&error, shown, intermediates.len(), &name.to_str(), at(now));
            self.refuse(error, refusal)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.chain.verify_tls12_signature(message, shown, signed);
        verified.map_err(|error| self.refuse(error, explain_key(shown)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = self.chain.verify_tls13_signature(message, shown, signed);
        verified.map_err(|error| self.refuse(error, explain_key(shown)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn at(now: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs())
}

/// Returns the SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
pub(super) fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

pub(super) fn hex(fingerprint: &Fingerprint) -> String {
    let bytes: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Says why a certificate is refused, and what to do about it. `None` if rustls' own words have to do.
fn explain(error: &Error, shown: &[u8], intermediates: usize, name: &str, now: SystemTime) -> Option<Refusal> {
    use CertificateError as C;
    let Error::InvalidCertificate(error) = error else { return None };
    let known = Certificate::read(shown)?;
    let unusable = |why: String| Some(Refusal::Unusable(why));
    let called =
        |words: &str, name: &Option<String>| name.as_ref().map_or(String::new(), |it| format!("{words}{it:?}"));
    if known.version < 3 {
        return unusable(
            "certificate is of X.509 version 1, which has no names of servers; make one of version 3, with openssl x509 \
             -req -extfile FILE and subjectAltName in that file"
                .to_owned(),
        );
    }
    if let Some(refusal) = explain_key(shown) {
        return Some(refusal);
    }
    let is_unknown = matches!(error, C::UnknownIssuer | C::BadSignature | C::Other(_));
    if known.is_self_signed && is_unknown {
        return Some(Refusal::Untrusted(format!("it is self-signed{}", called(", by ", &known.issuer_name))));
    }
    match error {
        C::UnknownIssuer => {
            let alone = if intermediates == 0 { ", and the server sends no intermediate certificate" } else { "" };
            Some(Refusal::Untrusted(format!("its CA{} is unknown{alone}", called(" ", &known.issuer_name))))
        }
        C::BadSignature => Some(Refusal::Untrusted(format!(
            "its CA{} has another key than the trusted one of that name",
            called(" ", &known.issuer_name)
        ))),
        C::NotValidForName | C::NotValidForNameContext { .. } if !known.has_alternative_name => {
            let kind = if name.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
            unusable(format!(
                "certificate has no subject alternative name{}; make one with -addext subjectAltName={kind}:{name}",
                called(", and its common name does not count: ", &known.subject_name)
            ))
        }
        C::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().map(|name| plain(name)).collect();
            if names.iter().any(|it| it == name) {
                return unusable(format!(
                    "certificate is for another name: it has {name} as a name, and not as an address; make one with \
                     -addext subjectAltName=IP:{name}"
                ));
            }
            unusable(format!("certificate is for another name: {}; use a URL with that name", names.join(", ")))
        }
        C::Expired | C::ExpiredContext { .. } => unusable(format!(
            "certificate has expired, or this host's clock is wrong{}",
            dates("it was valid until", known.not_after, now)
        )),
        C::NotValidYet | C::NotValidYetContext { .. } => unusable(format!(
            "certificate is not valid yet, or this host's clock is wrong{}",
            dates("it is valid from", known.not_before, now)
        )),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => unusable(
            "certificate is not for servers: its extended key usage lacks serverAuth; make one with \
             extendedKeyUsage=serverAuth"
                .to_owned(),
        ),
        C::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => unusable(
            "certificate is that of a CA (CA:TRUE), and no CA may be a server; make one with -addext \
             basicConstraints=critical,CA:FALSE"
                .to_owned(),
        ),
        C::UnsupportedSignatureAlgorithmContext { .. } | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            unusable(
                "certificate has a key or a signature that is not accepted; use RSA of 2048 bits or ECDSA P-256"
                    .to_owned(),
            )
        }
        _ => None,
    }
}

/// Whether the key or the signature of a certificate is the reason.
fn explain_key(shown: &[u8]) -> Option<Refusal> {
    let known = Certificate::read(shown)?;
    let why = match known.key {
        KeyKind::Rsa { bits } if bits < 2048 => {
            format!(
                "certificate has an RSA key of {bits} bits, and at least 2048 are needed; make a new key and certificate"
            )
        }
        KeyKind::P521 => "certificate has a P-521 key, which is not accepted; use P-256, P-384 or RSA".to_owned(),
        KeyKind::Rsa { .. } | KeyKind::Other if known.is_signed_with_sha1 && !known.is_self_signed => {
            "certificate is signed with SHA-1, which is no longer accepted; have it signed anew with SHA-256".to_owned()
        }
        KeyKind::Rsa { .. } | KeyKind::Other => return None,
    };
    Some(Refusal::Unusable(why))
}

fn dates(words: &str, date: Option<SystemTime>, now: SystemTime) -> String {
    date.map_or(String::new(), |date| format!(": {words} {}, and here it is {}", rfc3339(date), rfc3339(now)))
}

/// `DnsName("a.test")` without its kind.
fn plain(presented: &str) -> String {
    presented.split_once('(').map_or(presented, |(_, name)| name.trim_end_matches(')')).trim_matches('"').to_owned()
}
