//! The reasons for a failed request, as facts. The caller knows the settings of its client and adds the way out.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::{AlertDescription, InvalidMessage, PeerIncompatible};

use super::answer::RedirectError;
use super::meter::Misbehaviour;
use super::request::HttpSettings;
use super::url::UrlError;
use super::verify::Refusal;
use super::wire::{CUT, ResolveError};
use otelet_core::decide::FailureKind;
use otelet_core::units::{format_size, format_time};

/// The files with the settings of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    Ca,
    ClientCert,
    ClientKey,
}

/// Why a request failed. URLs in it have neither query nor user, and header values are left out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be requested.
    #[error("URL {0}")]
    Url(#[from] UrlError),
    /// A header of the request cannot be sent.
    #[error("header {name}: {why}")]
    Header { name: String, why: &'static str },
    /// A proxy cannot be used. Its URL is left out, since it may hold a password.
    #[error("proxy for {scheme}://: {why}")]
    Proxy {
        /// The scheme of the URLs that it serves: `http` or `https`.
        scheme: &'static str,
        why: &'static str,
    },
    /// The settings have a client certificate without its key, or a key without its certificate.
    #[error("client certificate: only one of certificate and key is set")]
    Unpaired {
        /// The one that is set.
        set: TlsFile,
    },
    /// A file with certificates or a key cannot be used.
    #[error("{}: {why}", path.display())]
    File { file: TlsFile, path: PathBuf, why: String },
    /// A client certificate that a server sent cannot be used.
    #[error("client certificate from the server: {why}")]
    Identity { why: String },
    /// TLS cannot be set up.
    #[error("TLS: {why}")]
    Setup { why: String },
    /// The name of the host does not resolve.
    #[error("{url}: name {host} does not resolve: {why}")]
    Resolve {
        url: String,
        /// The server's name, or the proxy's.
        host: String,
        why: String,
    },
    /// The connection could not be made, or broke.
    #[error("{url}: {why}")]
    Connect {
        url: String,
        /// The message of the system or of the proxy.
        why: String,
    },
    /// The proxy wants a user and password before it opens a tunnel for https://.
    #[error("{url}: {why}")]
    ProxyPassword {
        /// The URL, and the proxy.
        url: String,
        why: String,
    },
    /// No trusted CA has signed the server's certificate.
    #[error("{url}: certificate is not trusted: {why}")]
    Untrusted {
        url: String,
        /// The reason that rustls gives.
        why: String,
        /// The file with the trusted CAs; `None` for the public ones.
        ca_file: Option<PathBuf>,
    },
    /// The server ended TLS, and no client certificate was shown. The server does not say whether that is the reason.
    #[error("{url}: server ended TLS")]
    NoClientCertificate { url: String },
    /// TLS failed for another reason.
    #[error("{url}: {why}")]
    Tls { url: String, why: String },
    #[error("{url}: did not answer within {}", format_time(*limit))]
    Timeout { url: String, limit: Duration },
    /// The status is not the expected one. The callers of this room use it when they judge a
    /// [`Response`](super::Response).
    #[error("{url}: answered {status}")]
    Status { url: String, status: u16 },
    /// The body is larger than [`HttpSettings::max_size`].
    #[error("{url}: body is larger than {}", format_size(*limit))]
    TooLarge { url: String, limit: u64 },
    /// The server sent far more bytes around the body than any body may have.
    #[error("{url}: sends far more than a body of {} takes", format_size(*limit))]
    Flood { url: String, limit: u64 },
    /// The answer is a redirect that is not followed.
    #[error("{url}: {why}")]
    Redirect {
        url: String,
        /// The target, and why it is not followed.
        why: RedirectError,
    },
    /// The body is compressed in a way that is not understood; no compression was asked for.
    #[error(
        "{url}: answered with content-encoding {encoding}, which was not asked for; only gzip and deflate are read"
    )]
    Encoded { url: String, encoding: String },
    /// The answer is not valid HTTP.
    #[error("{url}: {why}")]
    Protocol { url: String, why: String },
}

impl HttpError {
    /// The kind under which this failure is counted.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Url(_)
            | Self::Header { .. }
            | Self::Proxy { .. }
            | Self::Unpaired { .. }
            | Self::File { .. }
            | Self::Identity { .. }
            | Self::Setup { .. } => FailureKind::Settings,
            Self::Resolve { .. } => FailureKind::Resolve,
            Self::Connect { .. } | Self::ProxyPassword { .. } => FailureKind::Connect,
            Self::Untrusted { .. } | Self::NoClientCertificate { .. } | Self::Tls { .. } => FailureKind::Tls,
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::Status { .. } => FailureKind::Status,
            Self::TooLarge { .. } => FailureKind::Size,
            Self::Redirect { .. } => FailureKind::Redirect,
            Self::Flood { .. } | Self::Encoded { .. } | Self::Protocol { .. } => FailureKind::Protocol,
        }
    }

    /// Returns the reason without the name of the thing, for a caller that names it itself.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Url(why) => why.to_string(),
            Self::Header { why, .. } | Self::Proxy { why, .. } => why.to_owned(),
            other => other.to_string(),
        }
    }

    /// Turns an error of ureq into one of these.
    pub(super) fn explain(error: ureq::Error, url: String, settings: &HttpSettings, handshake: Handshake) -> Self {
        let protocol = |url, why: &dyn std::fmt::Display| Self::Protocol { url, why: why.to_string() };
        match error {
            ureq::Error::Timeout(_) => Self::Timeout { url, limit: settings.timeout },
            ureq::Error::Other(error) => match error.downcast::<ResolveError>() {
                Ok(unresolved) => Self::Resolve { url, host: unresolved.host, why: unresolved.why },
                Err(other) => protocol(url, &other),
            },
            ureq::Error::Io(error) => {
                let inner = error.get_ref();
                if let Some(tls) = inner.and_then(|e| e.downcast_ref()) {
                    explain_tls(tls, url, settings, handshake)
                } else if let Some(misbehaved) = inner.and_then(|e| e.downcast_ref()) {
                    match misbehaved {
                        Misbehaviour::Flood => Self::Flood { url, limit: settings.max_size },
                        Misbehaviour::Otherwise(why) => protocol(url, why),
                    }
                } else if error.kind() == io::ErrorKind::UnexpectedEof {
                    protocol(url, &CUT)
                } else {
                    Self::Connect { url, why: error.to_string() }
                }
            }
            ureq::Error::Rustls(error) => explain_tls(&error, url, settings, handshake),
            ureq::Error::Tls(why) => Self::Tls { url, why: why.to_owned() },
            ureq::Error::ConnectProxyFailed(why) if why.contains("407") => Self::ProxyPassword { url, why },
            ureq::Error::ConnectProxyFailed(why) => Self::Connect { url, why },
            ureq::Error::Protocol(error) => protocol(url, &format_args!("answer is not valid HTTP: {error}")),
            other => protocol(url, &other),
        }
    }
}

/// The facts about a handshake that failed.
pub(super) struct Handshake {
    /// Whether the client could show a certificate.
    pub(super) certified: bool,
    /// Whether the server showed a certificate that was accepted.
    pub(super) saw_certificate: bool,
    /// Why its certificate was not accepted.
    pub(super) refusal: Option<Refusal>,
}

/// Turns an error of rustls into one of these.
fn explain_tls(error: &rustls::Error, url: String, settings: &HttpSettings, handshake: Handshake) -> HttpError {
    use AlertDescription as A;
    let Handshake { certified, saw_certificate, refusal } = handshake;
    let why = match error {
        rustls::Error::InvalidCertificate(other) => match refusal {
            Some(Refusal::Untrusted(why)) => {
                return HttpError::Untrusted { url, why, ca_file: settings.ca_file.clone() };
            }
            Some(Refusal::Unusable(why)) => why,
            None => format!("certificate is not trusted: {other}"),
        },
        rustls::Error::AlertReceived(A::CertificateRequired) if !certified => {
            return HttpError::NoClientCertificate { url };
        }
        // Before TLS 1.3, servers use these two for it.
        rustls::Error::AlertReceived(A::HandshakeFailure | A::BadCertificate) if !certified && saw_certificate => {
            return HttpError::NoClientCertificate { url };
        }
        rustls::Error::AlertReceived(A::ProtocolVersion)
        | rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "server and agent have no TLS version in common; the server has to speak TLS 1.2 or 1.3".to_owned()
        }
        rustls::Error::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity) if !saw_certificate => {
            "server and agent have no cipher in common; the server needs one with ECDHE (not RSA key exchange), and a \
             key of RSA 2048, P-256 or P-384 (not P-521)"
                .to_owned()
        }
        rustls::Error::AlertReceived(A::UnrecognisedName) => {
            "server ended TLS: it serves no host of that name; check the name in the URL".to_owned()
        }
        rustls::Error::AlertReceived(alert) if certified && saw_certificate => {
            format!("server ended TLS: it does not accept the client certificate ({alert:?})")
        }
        rustls::Error::AlertReceived(alert) => format!("server ended TLS: {alert:?}; its log may say why"),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "answer is not TLS; is this an http:// server?".to_owned()
        }
        other => format!("TLS failed: {other}"),
    };
    HttpError::Tls { url, why }
}
