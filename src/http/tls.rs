//! The settings of TLS, from the files that the caller names: which CAs are trusted, and which client certificate is
//! shown.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use ureq::tls::PemItem;

use super::error::{HttpError, TlsFile};
use super::files::{Stamp, read_regular, stamp};
use super::request::HttpSettings;
use otelet_core::text::unmarked;

/// The largest file with certificates, in bytes: all public CAs together take 220 KB.
const MAX_PEM: u64 = 2 * 1024 * 1024;

/// The settings from the files, as of the last read.
pub(super) struct Tls {
    crypto: Arc<CryptoProvider>,
    read: Option<Read>,
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
        Self { crypto: Arc::new(rustls::crypto::ring::default_provider()), read: None }
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
        let roots = settings.ca_file.as_ref().map_or_else(|| Ok(public_roots()), |path| roots(path))?;
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
            .with_root_certificates(roots);
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
    let key = unmarked(key).map_err(|why| why.to_string())?;
    let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
        return Err("no private key in PEM; an encrypted one must be decrypted first".into());
    };
    rustls::sign::CertifiedKey::from_der(chain.to_vec(), key.clone_key(), crypto)
        .map_err(|error| format!("does not fit the certificate: {error}"))?;
    Ok((chain.to_vec(), key))
}

/// The CAs of Mozilla's programme, as of the build.
fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Reads the CAs in a file. At least one must be usable.
fn roots(path: &Path) -> Result<RootCertStore, HttpError> {
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(certificates(TlsFile::Ca, path)?);
    if usable == 0 {
        return Err(bad_file(TlsFile::Ca, path, "no certificate in it can be used as a CA"));
    }
    Ok(store)
}

fn certificates(file: TlsFile, path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let pem = read_regular(path, MAX_PEM).map_err(|error| unreadable(file, path, &error))?;
    parse(&pem).map_err(|why| bad_file(file, path, &why))
}

fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = unmarked(pem).map_err(|why| why.to_string())?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate.der().to_vec().into()),
            Ok(_) => {}
            Err(error) => return Err(format!("not valid PEM: {error}")),
        }
    }
    if certificates.is_empty() {
        return Err("has no certificate in PEM".into());
    }
    Ok(certificates)
}

fn bad_file(file: TlsFile, path: &Path, why: &str) -> HttpError {
    HttpError::File { file, path: path.to_owned(), why: why.to_owned() }
}

fn unreadable(file: TlsFile, path: &Path, error: &io::Error) -> HttpError {
    bad_file(file, path, &format!("cannot read: {error}"))
}
