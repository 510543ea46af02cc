//! The settings of TLS, from the files that the caller names: which CAs are trusted, and which client certificate is
//! shown.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use ureq::tls::PemItem;

use super::error::{HttpError, TlsFile};
use super::files::{Stamp, read_regular, stamp};
use super::request::HttpSettings;
use super::verify::{LastRefusal, Verifier};
use otelet_core::text::unmarked;

/// The largest file with certificates, in bytes: all public CAs together take 220 KB.
const MAX_PEM: u64 = 2 * 1024 * 1024;

/// The settings from the files, as of the last read.
pub(super) struct Tls {
    crypto: Arc<CryptoProvider>,
    read: Option<Read>,
    pub(super) last: LastRefusal,
}

/// The stamps of the files, the identity, and the settings that were made from both.
type Read = ([Option<Stamp>; 3], Option<Identity>, Arc<ClientConfig>);

/// A client certificate with its intermediates, and its private key.
type ClientCert = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A client certificate that a server sent, so it is in no file. Neither part may be printed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate and its intermediates, in PEM.
    pub cert: String,
    /// Its key, in PEM, not encrypted.
    pub key: String,
}

impl Identity {
    /// Whether it can be used.
    ///
    /// # Errors
    ///
    /// A message, if it is no PEM or the key does not belong to the certificate.
    pub fn check(&self) -> Result<(), String> {
        self.client_cert(&rustls::crypto::ring::default_provider()).map(|_| ())
    }

    fn client_cert(&self, crypto: &CryptoProvider) -> Result<ClientCert, String> {
        let chain = parse(self.cert.as_bytes()).map_err(|why| format!("cert: {why}"))?;
        client_cert(&chain, self.key.as_bytes(), crypto).map_err(|why| format!("key: {why}"))
    }
}

impl Tls {
    pub(super) fn new() -> Self {
        Self { crypto: Arc::new(rustls::crypto::ring::default_provider()), read: None, last: LastRefusal::default() }
    }

    /// Returns the settings for connections. [`refresh`](Self::refresh) must have succeeded before.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let (_, _, made) = self.read.as_ref().expect("it was refreshed before");
        made.clone()
    }

    /// Reads the certificates and the key again if one of the files has changed. Returns whether it did.
    ///
    /// # Errors
    ///
    /// [`HttpError::File`] for a file that cannot be used, [`HttpError::Identity`] for a certificate that a server
    /// sent.
    pub(super) fn refresh(&mut self, settings: &HttpSettings, identity: Option<&Identity>) -> Result<bool, HttpError> {
        let files = [
            (TlsFile::Ca, &settings.ca_file),
            (TlsFile::ClientCert, &settings.client_cert_file),
            (TlsFile::ClientKey, &settings.client_key_file),
        ];
        let mut stamps = [None; 3];
        for ((file, path), seen) in files.into_iter().zip(&mut stamps) {
            // With a certificate from a server, the files of the settings may be missing.
            if let Some(path) = path.as_ref().filter(|_| identity.is_none() || file == TlsFile::Ca) {
                *seen = Some(stamp(path).map_err(|error| unreadable(file, path, &error))?);
            }
        }
        if self.read.as_ref().is_some_and(|(seen, by, _)| *seen == stamps && by.as_ref() == identity) {
            return Ok(false);
        }
        let (roots, own) =
            settings.ca_file.as_ref().map_or_else(|| Ok((public_roots(), Vec::new())), |path| roots(path))?;
        let client = match (identity, &settings.client_cert_file, &settings.client_key_file) {
            (Some(identity), _, _) => {
                Some(identity.client_cert(&self.crypto).map_err(|why| HttpError::Identity { why })?)
            }
            (None, Some(cert), Some(key)) => Some(self.client_cert(cert, key)?),
            (None, _, _) => None,
        };
        let broken = |error: rustls::Error| HttpError::Setup { why: error.to_string() };
        let builder = ClientConfig::builder_with_provider(self.crypto.clone())
            .with_safe_default_protocol_versions()
            .map_err(broken)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier {
                chain: WebPkiServerVerifier::builder_with_provider(roots.into(), self.crypto.clone())
                    .build()
                    .map_err(|error| HttpError::Setup { why: error.to_string() })?,
                own,
                fingerprint: settings.fingerprint,
                last: self.last.clone(),
            }));
        let config = match client {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(broken)?,
            None => builder.with_no_client_auth(),
        };
        self.read = Some((stamps, identity.cloned(), Arc::new(config)));
        Ok(true)
    }

    /// Reads the client certificate and checks that the key belongs to it.
    fn client_cert(&self, cert: &Path, key: &Path) -> Result<ClientCert, HttpError> {
        let chain = certificates(TlsFile::ClientCert, cert)?;
        let pem = read_regular(key, MAX_PEM).map_err(|error| unreadable(TlsFile::ClientKey, key, &error))?;
        client_cert(&chain, &pem, &self.crypto).map_err(|why| {
            bad_file(TlsFile::ClientKey, key, &why.replace("the certificate", &cert.display().to_string()))
        })
    }
}

/// Checks that the key belongs to the certificate.
fn client_cert(chain: &[CertificateDer<'static>], key: &[u8], crypto: &CryptoProvider) -> Result<ClientCert, String> {
    let key = readable(key)?;
    let Ok(key) = PrivateKeyDer::from_pem_slice(&key) else {
        return Err(match key.first() {
            Some(0x30) => "is in DER; openssl pkey -inform der -in FILE writes the key as PEM".into(),
            _ => "no private key in PEM; an encrypted one must be decrypted first: openssl pkey -in FILE".into(),
        });
    };
    rustls::sign::CertifiedKey::from_der(chain.to_vec(), key.clone_key(), crypto)
        .map_err(|error| format!("does not fit the certificate: {error}"))?;
    Ok((chain.to_vec(), key))
}

/// The CAs of Mozilla's programme, as of the build.
fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Reads the CAs in a file, and returns all certificates too. At least one must be usable.
fn roots(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), HttpError> {
    let mut store = RootCertStore::empty();
    let own = certificates(TlsFile::Ca, path)?;
    let (usable, _) = store.add_parsable_certificates(own.iter().cloned());
    if usable == 0 {
        return Err(bad_file(TlsFile::Ca, path, "no certificate in it can be used as a CA"));
    }
    Ok((store, own))
}

fn certificates(file: TlsFile, path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let pem = read_regular(path, MAX_PEM).map_err(|error| unreadable(file, path, &error))?;
    parse(&pem).map_err(|why| bad_file(file, path, &why))
}

fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = &*readable(pem)?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate.der().to_vec().into()),
            Ok(_) => {}
            // The parser's own message would show the text, which may be a key.
            Err(_) => {
                let why = "not valid PEM: -----BEGIN and -----END need a line each, with whole base64 in between";
                return Err(why.to_owned());
            }
        }
    }
    if certificates.is_empty() {
        return Err(other_form(pem).into());
    }
    Ok(certificates)
}

/// PEM without a byte order mark, and without the indentation that it has when it was taken out of YAML.
fn readable(pem: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let pem = unmarked(pem).map_err(|why| why.to_string())?;
    let is_indented = [&b" -----BEGIN "[..], b"\t-----BEGIN "];
    if !is_indented.iter().any(|start| pem.windows(start.len()).any(|window| window == *start)) {
        return Ok(pem.into());
    }
    let lines: Vec<&[u8]> = pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start).collect();
    Ok(lines.join(&b'\n').into())
}

/// The kind of a file without a certificate in PEM, and how to make one of it.
fn other_form(bytes: &[u8]) -> &'static str {
    /// The type of a PKCS#7 bundle: 1.2.840.113549.1.7.2.
    const SIGNED_DATA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    let starts = &bytes[..bytes.len().min(32)];
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    if bytes.first() == Some(&0x30) && starts.windows(SIGNED_DATA.len()).any(|window| window == SIGNED_DATA) {
        "is a PKCS#7 bundle in DER; openssl pkcs7 -inform der -print_certs -in FILE writes it as PEM"
    } else if bytes.first() == Some(&0x30) && starts.windows(3).any(|window| window == [2, 1, 3]) {
        "is PKCS#12 (.p12, .pfx); openssl pkcs12 -nokeys -in FILE writes its certificates as PEM"
    } else if bytes.first() == Some(&0x30) {
        "is in DER; openssl x509 -inform der -in FILE writes it as PEM"
    } else if holds(b"-----BEGIN PKCS7-----") {
        "is a PKCS#7 bundle; openssl pkcs7 -print_certs -in FILE writes its certificates"
    } else if holds(b"-----BEGIN TRUSTED CERTIFICATE-----") {
        "has openssl's own form of a certificate; openssl x509 -in FILE writes the common one"
    } else if holds(b"PRIVATE KEY-----") {
        "has a private key and no certificate in PEM; is it the file of the key?"
    } else {
        "has no certificate in PEM"
    }
}

fn bad_file(file: TlsFile, path: &Path, why: &str) -> HttpError {
    HttpError::File { file, path: path.to_owned(), why: why.to_owned() }
}

fn unreadable(file: TlsFile, path: &Path, error: &io::Error) -> HttpError {
    bad_file(file, path, &format!("cannot read: {error}"))
}
