//! Certificates: those of the user, or a CA and a certificate of the hub's own, made at its first start.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An error of a certificate.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct TlsError {
    path: PathBuf,
    why: String,
}

fn wrong(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> TlsError + '_ {
    move |why| TlsError { path: path.to_owned(), why: why.to_string() }
}

/// Where the hub's own certificates are.
#[derive(Debug, Clone)]
pub struct Own {
    /// The certificate of the CA, for agents and browsers.
    pub ca: PathBuf,
    /// The certificate of the hub.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Makes a CA and a certificate for these names, unless they are there.
///
/// # Errors
///
/// Files that cannot be written.
pub fn own(dir: &Path, names: &[String]) -> Result<Own, TlsError> {
    let own = Own { ca: dir.join("ca.pem"), cert: dir.join("hub.pem"), key: dir.join("hub.key") };
    if own.cert.exists() && own.key.exists() && own.ca.exists() {
        return Ok(own);
    }
    let failed = wrong(dir);
    let failed = |error: rcgen::Error| failed(&error);
    let ca_key = KeyPair::generate().map_err(failed)?;
    let mut ca = CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "otelet-hub CA");
    let ca_cert = ca.self_signed(&ca_key).map_err(failed)?;
    let issuer = Issuer::new(ca, &ca_key);

    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "otelet-hub");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, &issuer).map_err(failed)?;

    // The CA's key is not kept: it could sign for any name, and a new pair is made in a second.
    for (path, text) in [(&own.key, key.serialize_pem()), (&own.cert, cert.pem()), (&own.ca, ca_cert.pem())] {
        write_private(path, &text).map_err(|error| wrong(path)(&error))?;
    }
    Ok(own)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The SHA-256 of the first certificate of a file, as `openssl x509 -fingerprint -sha256` shows it.
///
/// # Errors
///
/// A file that is no certificate.
pub fn fingerprint(path: &Path) -> Result<String, TlsError> {
    let cert = CertificateDer::from_pem_file(path).map_err(|error| wrong(path)(&error))?;
    let bytes = crate::clock::sha256(&cert).0;
    Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
}

/// Reads a certificate and its key.
///
/// # Errors
///
/// Files that cannot be read or do not fit together.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(|error| wrong(cert)(&error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key)(&error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| wrong(cert)(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
