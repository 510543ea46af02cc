//! Why there is no answer: facts alone. The caller knows which settings its client was made from, and adds the way out.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::answer::RedirectError;
use super::meter::Misbehaved;
use super::request::HttpSettings;
use super::url::UrlError;
use super::wire::{CUT, Unresolved};
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use otelet_core::decide::FailureKind;
use otelet_core::units::{format_size, format_time};

/// The files that TLS is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    /// [`HttpSettings::ca_file`].
    Ca,
    /// [`HttpSettings::client_cert_file`].
    ClientCert,
    /// [`HttpSettings::client_key_file`].
    ClientKey,
}

/// Why there is no answer, or none that serves. URLs in it have neither query nor user, and header values are left out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be asked.
    #[error("URL {0}")]
    Url(#[from] UrlError),
    /// A header of the request cannot be sent.
    #[error("header {name}: {why}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A proxy cannot be used. It is not repeated: it may hold a password.
    #[error("proxy for {scheme}://: {why}")]
    Proxy {
        /// For which URLs it is: `http` or `https`.
        scheme: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A client certificate was given without its key, or a key without its certificate.
    #[error("client certificate: only one of certificate and key is given")]
    Unpaired {
        /// The one that is given.
        given: TlsFile,
    },
    /// A file with certificates or a key cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// What it is for.
        file: TlsFile,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A client certificate that came from a server cannot be used.
    #[error("client certificate from the server: {why}")]
    Identity {
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up at all.
    #[error("TLS: {why}")]
    Setup {
        /// The library's words.
        why: String,
    },
    /// The host is not known.
    #[error("{url}: name {host} does not resolve: {why}")]
    Resolve {
        /// Where to.
        url: String,
        /// The server's name, or the proxy's.
        host: String,
        /// The system's words.
        why: String,
    },
    /// No connection.
    #[error("{url}: {why}")]
    Connect {
        /// Where to.
        url: String,
        /// The system's words, or the proxy's.
        why: String,
    },
    /// The proxy wants a user and password before it makes a tunnel for https://.
    #[error("{url}: {why}")]
    ProxyPassword {
        /// Where to, and by which proxy.
        url: String,
        /// The proxy's words.
        why: String,
    },
    /// The server's certificate is of no CA that is trusted.
    #[error("{url}: certificate is not trusted: {why}")]
    Untrusted {
        /// Where to.
        url: String,
        /// What the library says of it.
        why: String,
        /// The file with the CAs that are trusted; none for the public ones.
        ca_file: Option<PathBuf>,
    },
    /// The server ended TLS when it was shown no client certificate. It does not say whether that is the reason.
    #[error("{url}: server ended TLS")]
    NoClientCertificate {
        /// Where to.
        url: String,
    },
    /// TLS did not come about for another reason.
    #[error("{url}: {why}")]
    Tls {
        /// Where to.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The time is up.
    #[error("{url}: did not answer within {}", format_time(*limit))]
    Timeout {
        /// Where to.
        url: String,
        /// [`HttpSettings::timeout`].
        limit: Duration,
    },
    /// An answer, but not the one that was asked for. For those who judge a [`Response`](super::Response).
    #[error("{url}: answered {status}")]
    Status {
        /// Where to.
        url: String,
        /// Its status.
        status: u16,
    },
    /// A body larger than allowed.
    #[error("{url}: body is larger than {}", format_size(*limit))]
    TooLarge {
        /// Where to.
        url: String,
        /// [`HttpSettings::max_size`].
        limit: u64,
    },
    /// Far more around the body than any body may have.
    #[error("{url}: sends far more than a body of {} takes", format_size(*limit))]
    Flood {
        /// Where to.
        url: String,
        /// [`HttpSettings::max_size`].
        limit: u64,
    },
    /// A redirect that is not followed.
    #[error("{url}: {why}")]
    Redirect {
        /// Where to.
        url: String,
        /// Where it points, and why that is not followed.
        why: RedirectError,
    },
    /// The body is compressed or otherwise encoded, which was not asked for.
    #[error("{url}: answered with content-encoding {encoding:.20}, which was not asked for")]
    Encoded {
        /// Where to.
        url: String,
        /// The header's value.
        encoding: String,
    },
    /// What came is not an answer in HTTP.
    #[error("{url}: {why}")]
    Protocol {
        /// Where to.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl HttpError {
    /// What a failure by it is counted as.
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

    /// What is wrong, for those who know already with what.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Url(why) => why.to_string(),
            Self::Header { why, .. } | Self::Proxy { why, .. } => why.to_owned(),
            other => other.to_string(),
        }
    }

    /// Judges an error of ureq's. `certified`: a client certificate was at hand, should the server want one.
    pub(super) fn explain(error: ureq::Error, url: String, settings: &HttpSettings, certified: bool) -> Self {
        let protocol = |url, why: &dyn std::fmt::Display| Self::Protocol { url, why: why.to_string() };
        match error {
            ureq::Error::Timeout(_) => Self::Timeout { url, limit: settings.timeout },
            ureq::Error::Other(error) => match error.downcast::<Unresolved>() {
                Ok(unresolved) => Self::Resolve { url, host: unresolved.host, why: unresolved.why },
                Err(other) => protocol(url, &other),
            },
            ureq::Error::Io(error) => {
                let inner = error.get_ref();
                if let Some(tls) = inner.and_then(|e| e.downcast_ref()) {
                    explain_tls(tls, url, settings, certified)
                } else if let Some(misbehaved) = inner.and_then(|e| e.downcast_ref()) {
                    match misbehaved {
                        Misbehaved::Flood => Self::Flood { url, limit: settings.max_size },
                        Misbehaved::Otherwise(why) => protocol(url, why),
                    }
                } else if error.kind() == io::ErrorKind::UnexpectedEof {
                    protocol(url, &CUT)
                } else {
                    Self::Connect { url, why: error.to_string() }
                }
            }
            ureq::Error::Rustls(error) => explain_tls(&error, url, settings, certified),
            ureq::Error::Tls(why) => Self::Tls { url, why: why.to_owned() },
            ureq::Error::ConnectProxyFailed(why) if why.contains("407") => Self::ProxyPassword { url, why },
            ureq::Error::ConnectProxyFailed(why) => Self::Connect { url, why },
            ureq::Error::Protocol(error) => protocol(url, &format_args!("answer is not valid HTTP: {error}")),
            other => protocol(url, &other),
        }
    }
}

/// Why TLS did not come about. `certified`: a client certificate was at hand, should the server want one.
fn explain_tls(error: &rustls::Error, url: String, settings: &HttpSettings, certified: bool) -> HttpError {
    use CertificateError as C;
    let why = match error {
        // A private CA that was made anew under its old name shows as a bad signature.
        rustls::Error::InvalidCertificate(trust @ (C::UnknownIssuer | C::BadSignature)) => {
            return HttpError::Untrusted { url, why: format!("{trust:?}"), ca_file: settings.ca_file.clone() };
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "certificate has expired; if not, this host's clock is wrong".to_owned()
        }
        rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "certificate is not valid yet; if it is, this host's clock is wrong".to_owned()
        }
        rustls::Error::InvalidCertificate(C::NotValidForNameContext { presented, .. }) => {
            format!("certificate is for another name: {}", presented.join(", "))
        }
        rustls::Error::InvalidCertificate(other) => {
            format!("certificate is not trusted: {other}")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure)
            if !certified =>
        {
            return HttpError::NoClientCertificate { url };
        }
        rustls::Error::AlertReceived(alert) => format!("server ended TLS: {alert:?}"),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "answer is not TLS; is this an http:// server?".to_owned()
        }
        other => format!("TLS failed: {other}"),
    };
    HttpError::Tls { url, why }
}
