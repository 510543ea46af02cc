//! Adds the settings to change to the message about a failed request. `http` reports facts; each caller has a
//! [`WayOut`] with the names of its own settings.

use crate::http::{HTTP_2, HttpError, RedirectError, TlsFile, UrlError};
use otelet_core::decide::Failure;
use otelet_core::units::format_size;

/// The names of the settings that one client and its requests are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayOut {
    /// The setting that holds the URL, in words that fit "check …".
    pub url: &'static str,
    /// How a redirect's target can be written into that setting.
    pub target: Target,
    /// The setting that holds the headers.
    pub headers: &'static str,
    /// The settings that hold credentials.
    pub credentials: &'static [&'static str],
    /// The setting that limits the body of an answer. `None` if the limit is a constant.
    pub max_size: Option<&'static str>,
    /// Whether the caller needs the body of the answer. Otherwise only the status matters, and a large or garbled
    /// answer is a sign of a wrong URL.
    pub wants_body: bool,
    /// The setting that allows redirects to other servers, where that would help.
    pub redirects: Option<&'static str>,
    /// How to trust a server's certificate, if not by `config.ca_file`.
    pub trust: Option<&'static str>,
    /// Why no client certificate is shown where the settings have one.
    pub no_certificate: Option<&'static str>,
}

/// The way out of the status 407. Only a proxy that receives the request itself answers so, and that is the proxy for
/// http://.
pub const PROXY_PASSWORD: &str =
    "; the proxy wants a user and password: set config.http_proxy to http://user:password@host:port";

/// The way out where an export goes to the port of OTLP over gRPC, which may close the connection without a word.
const GRPC_PORT: &str = "; port 4317 is usually for gRPC, and otelet sends OTLP over HTTP, usually to port 4318";

/// How the setting relates to the URL of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The setting is the URL.
    Whole,
    /// The setting is the URL without one of these ends.
    Without(&'static [&'static str]),
    /// The URL comes from a server, so no setting holds it.
    Elsewhere,
}

impl WayOut {
    /// For the server that `config.url` names.
    pub const CONFIG: Self = Self {
        url: "config.url",
        target: Target::Whole,
        headers: "config.headers",
        credentials: &["config.headers", "config.bearer_token_file"],
        max_size: Some("config.max_size"),
        wants_body: true,
        redirects: None,
        trust: None,
        no_certificate: None,
    };

    /// Returns the failure of a request that brought no usable answer.
    pub fn failure(&self, error: &HttpError) -> Failure {
        Failure::new(error.kind(), self.tell(error))
    }

    /// The message about an error: what happened, and the way out.
    pub fn tell(&self, error: &HttpError) -> String {
        let told = self.tell_fact(error);
        let may_be_grpc = match error {
            HttpError::Protocol { why, .. } => why != HTTP_2,
            HttpError::Connect { .. }
            | HttpError::Tls { .. }
            | HttpError::NoClientCertificate { .. }
            | HttpError::Timeout { .. }
            | HttpError::Status { .. } => true,
            _ => false,
        };
        // The path is that of OTLP over HTTP.
        if may_be_grpc && told.contains(":4317/v1/") { told + GRPC_PORT } else { told }
    }

    fn tell_fact(&self, error: &HttpError) -> String {
        match error {
            HttpError::Url(why) => format!("{}: {}", self.url, bad_url(why, &self.credentials.join(" or "))),
            HttpError::Header { name, why } => format!("{}.{name}: {why}", self.headers),
            HttpError::Proxy { scheme, why } => {
                format!(
                    "config.{scheme}_proxy, or the variable {scheme}_proxy: {why}; set config.{scheme}_proxy, to nothing for none"
                )
            }
            HttpError::Unpaired { set } => {
                let other = if *set == TlsFile::ClientKey { TlsFile::ClientCert } else { TlsFile::ClientKey };
                format!("{}: needs {} as well", name_of(*set), name_of(other))
            }
            HttpError::File { file: TlsFile::Ca, .. } if self.trust.is_some() => {
                format!("checks[].ca_file or config.ca_file {error}")
            }
            HttpError::File { file, .. } => format!("{} {error}", name_of(*file)),
            HttpError::ProxyPassword { .. } => {
                format!(
                    "{error}; it wants a user and password: set config.https_proxy to http://user:password@host:port"
                )
            }
            HttpError::Untrusted { ca_file, .. } => match (self.trust, ca_file) {
                (Some(trust), _) => format!("{error}; to trust it, {trust}"),
                (None, Some(path)) => format!("{error}; to trust it, add it to config.ca_file {}", path.display()),
                (None, None) => format!("{error}; to trust it, set config.ca_file to a file with it in PEM"),
            },
            HttpError::NoClientCertificate { .. } => {
                let way_out = self.no_certificate.unwrap_or("set config.client_cert_file and config.client_key_file");
                format!("{error}; if it wants a client certificate, {way_out}")
            }
            HttpError::TooLarge { url, limit } => {
                format!("{url}: body is larger than {}{}", self.limit(*limit), self.wrong_server())
            }
            HttpError::Flood { url, limit } => {
                format!("{url}: sends far more than {} allows{}", self.limit(*limit), self.wrong_server())
            }
            HttpError::Redirect { why, .. } => format!("{error}; {}", self.redirected(why)),
            HttpError::Encoded { .. } => format!("{error}; switch it off at {} or a proxy before it", self.url),
            HttpError::Status { status, .. } => format!("{error}{}", self.after(*status)),
            HttpError::Protocol { .. } => format!("{error}{}", self.wrong_server()),
            HttpError::Tls { why, .. } if self.trust.is_some() && is_about_names(why) => {
                format!("{error}, or set checks[].fingerprint to accept this one as it is")
            }
            HttpError::Identity { .. }
            | HttpError::Setup { .. }
            | HttpError::Resolve { .. }
            | HttpError::Connect { .. }
            | HttpError::Tls { .. }
            | HttpError::Timeout { .. } => error.to_string(),
        }
    }

    /// The way out if credentials are missing or wrong, with its separator.
    pub fn wants_credentials(&self) -> String {
        match self.credentials {
            [more @ .., last] if !more.is_empty() => format!("; check {} and {last}", more.join(", ")),
            all => format!("; check {}", all.join("")),
        }
    }

    /// The way out of a status about which nothing else is known, with its separator.
    fn after(&self, status: u16) -> String {
        match status {
            407 => PROXY_PASSWORD.to_owned(),
            _ if self.target == Target::Elsewhere => String::new(),
            _ => format!("; check {} and {}", self.url, self.headers),
        }
    }

    /// The way out of an answer that the right server would not send, with its separator.
    fn wrong_server(&self) -> String {
        if self.wants_body { String::new() } else { format!("; check {}", self.url) }
    }

    fn limit(&self, limit: u64) -> String {
        let size = format_size(limit);
        self.max_size.map_or(size.clone(), |setting| format!("{setting} {size}"))
    }

    fn redirected(&self, why: &RedirectError) -> String {
        let to = match why {
            RedirectError::Elsewhere { to, .. } | RedirectError::LosesBody { to, .. } => to,
            RedirectError::Unusable { .. } | RedirectError::Loop { .. } => return format!("check {}", self.url),
        };
        let short = |ends: &[&str]| ends.iter().find_map(|end| to.strip_suffix(end)).map(str::to_owned);
        match self.target {
            Target::Whole => {
                let or =
                    self.redirects.map(|it| format!("; or set {it} to any: https:// is followed, without credentials"));
                format!("set {} to it if that is right{}", self.url, or.unwrap_or_default())
            }
            Target::Without(ends) => match short(ends) {
                Some(short) => format!("set {} to {short} if that is right", self.url),
                None if self.redirects.is_some() => {
                    format!("check {}, or set {} to any", self.url, self.redirects.unwrap_or_default())
                }
                None => format!("check {}", self.url),
            },
            Target::Elsewhere => format!("check {}", self.url),
        }
    }
}

fn name_of(file: TlsFile) -> &'static str {
    match file {
        TlsFile::Ca => "config.ca_file",
        TlsFile::ClientCert => "config.client_cert_file",
        TlsFile::ClientKey => "config.client_key_file",
    }
}

/// The settings where a user and password belong, if they are in the URL of this setting.
pub(super) fn credentials(key: &str) -> String {
    match key.rsplit_once('.') {
        Some(("config", _)) => WayOut::CONFIG.credentials.join(" or "),
        Some((section, _)) => format!("{section}.headers"),
        None => "headers".to_owned(),
    }
}

/// Whether only another certificate would help, which nobody can make for a device.
fn is_about_names(why: &str) -> bool {
    ["certificate is for another name", "certificate has no subject"].iter().any(|start| why.starts_with(start))
}

/// The fault of the URL in a setting, for a message that begins with the setting's name.
pub(super) fn bad_url(error: &UrlError, credentials: &str) -> String {
    match error {
        UrlError::HasUser => format!("{error}; use {credentials}"),
        UrlError::Invalid(_) | UrlError::Scheme | UrlError::NoHost | UrlError::HostAndPort => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBHOOK: WayOut = WayOut {
        url: "webhook.url",
        headers: "webhook.headers",
        credentials: &["webhook.headers"],
        max_size: None,
        wants_body: false,
        ..WayOut::CONFIG
    };

    fn url() -> String {
        "https://a.example/x".to_owned()
    }

    fn redirect(why: RedirectError) -> HttpError {
        HttpError::Redirect { url: url(), why }
    }

    #[test]
    fn a_message_has_the_facts_and_the_settings_to_change() {
        let elsewhere = |to: &str| redirect(RedirectError::Elsewhere { to: to.to_owned(), why: "another host" });
        let size = || HttpError::TooLarge { url: url(), limit: 65_536 };
        let garbled = || HttpError::Protocol { url: url(), why: "answer is not valid HTTP".to_owned() };
        let by_url = WayOut { url: "export.to", target: Target::Without(&["/v1/logs"]), ..WEBHOOK };
        for (way_out, error, message) in [
            (
                WayOut::CONFIG,
                elsewhere("https://b.example/"),
                "redirects to https://b.example/, another host; set config.url to it if that is right",
            ),
            (
                WEBHOOK,
                elsewhere("https://b.example/"),
                "redirects to https://b.example/, another host; set webhook.url to it if that is right",
            ),
            (
                by_url,
                elsewhere("https://b.example/v1/logs"),
                "redirects to https://b.example/v1/logs, another host; set export.to to https://b.example if that is right",
            ),
            (
                by_url,
                elsewhere("https://b.example/login"),
                "redirects to https://b.example/login, another host; check export.to",
            ),
            (
                WEBHOOK,
                redirect(RedirectError::Unusable { to: "ftp://b.example/".to_owned() }),
                "redirects to something that is not a usable http:// or https:// URL: ftp://b.example/; check webhook.url",
            ),
            (WayOut::CONFIG, size(), "body is larger than config.max_size 64KiB"),
            (WEBHOOK, size(), "body is larger than 64KiB; check webhook.url"),
            (
                WayOut { max_size: WayOut::CONFIG.max_size, ..WEBHOOK },
                size(),
                "body is larger than config.max_size 64KiB; check webhook.url",
            ),
            (
                WEBHOOK,
                HttpError::Flood { url: url(), limit: 65_536 },
                "sends far more than 64KiB allows; check webhook.url",
            ),
            (
                WEBHOOK,
                HttpError::Encoded { url: url(), encoding: "br".to_owned() },
                "answered with content-encoding br, which was not asked for; only gzip and deflate are read; switch it off at webhook.url or a proxy before it",
            ),
            (WayOut::CONFIG, garbled(), "answer is not valid HTTP"),
            (WEBHOOK, garbled(), "answer is not valid HTTP; check webhook.url"),
            (
                WEBHOOK,
                HttpError::Status { url: url(), status: 404 },
                "answered 404; check webhook.url and webhook.headers",
            ),
            (
                WayOut { target: Target::Elsewhere, ..WEBHOOK },
                HttpError::Status { url: url(), status: 404 },
                "answered 404",
            ),
        ] {
            let told = way_out.tell(&error);
            assert_eq!(told.strip_prefix("https://a.example/x: "), Some(message), "{told}");
        }
    }

    #[test]
    fn the_port_of_grpc_is_named() {
        let by_url = WayOut { url: "export.to", ..WEBHOOK };
        let at =
            |port: u16| HttpError::Connect { url: format!("https://a.example:{port}/v1/logs"), why: "gone".into() };
        let told = by_url.tell(&at(4317));
        assert!(
            told.ends_with(
                "gone; port 4317 is usually for gRPC, and otelet sends OTLP over HTTP, usually to port 4318"
            )
        );
        assert!(!by_url.tell(&at(4318)).contains("gRPC"));
        let said = HttpError::Protocol { url: "http://a.example:4317/v1/logs".into(), why: HTTP_2.into() };
        assert_eq!(by_url.tell(&said).matches("4318").count(), 1);
    }

    #[test]
    fn a_check_names_its_own_ca_file() {
        let gone = || HttpError::File { file: TlsFile::Ca, path: "/a.pem".into(), why: "cannot read: gone".to_owned() };
        let check = WayOut { trust: Some("set checks[].ca_file"), ..WEBHOOK };
        assert!(check.tell(&gone()).starts_with("checks[].ca_file or config.ca_file /a.pem: cannot read"));
        assert!(WEBHOOK.tell(&gone()).starts_with("config.ca_file /a.pem: cannot read"));
    }

    #[test]
    fn shared_settings_are_named_by_their_own_section() {
        let untrusted = |ca_file: Option<&str>| HttpError::Untrusted {
            url: url(),
            why: "UnknownIssuer".to_owned(),
            ca_file: ca_file.map(Into::into),
        };
        let check = WayOut { no_certificate: Some("checks show none"), ..WEBHOOK };
        for (way_out, error, end) in [
            (WEBHOOK, untrusted(None), "; to trust it, set config.ca_file to a file with it in PEM"),
            (WEBHOOK, untrusted(Some("/ca.pem")), "; to trust it, add it to config.ca_file /ca.pem"),
            (
                WEBHOOK,
                HttpError::NoClientCertificate { url: url() },
                "if it wants a client certificate, set config.client_cert_file and config.client_key_file",
            ),
            (
                check,
                HttpError::NoClientCertificate { url: url() },
                "server ended TLS; if it wants a client certificate, checks show none",
            ),
            (
                WEBHOOK,
                HttpError::ProxyPassword { url: url(), why: "proxy says 407".to_owned() },
                "it wants a user and password: set config.https_proxy to http://user:password@host:port",
            ),
            (
                WEBHOOK,
                HttpError::Status { url: url(), status: 407 },
                "the proxy wants a user and password: set config.http_proxy to http://user:password@host:port",
            ),
            (
                WEBHOOK,
                HttpError::Proxy { scheme: "https", why: "not a proxy" },
                "config.https_proxy, or the variable https_proxy: not a proxy; set config.https_proxy, to nothing for none",
            ),
            (
                WEBHOOK,
                HttpError::Unpaired { set: TlsFile::ClientKey },
                "config.client_key_file: needs config.client_cert_file as well",
            ),
            (
                WEBHOOK,
                HttpError::Unpaired { set: TlsFile::ClientCert },
                "config.client_cert_file: needs config.client_key_file as well",
            ),
            (
                WEBHOOK,
                HttpError::File { file: TlsFile::Ca, path: "/ca.pem".into(), why: "cannot read: gone".to_owned() },
                "config.ca_file /ca.pem: cannot read: gone",
            ),
            (
                WEBHOOK,
                HttpError::Header { name: "X-A".to_owned(), why: "not the name of a header" },
                "webhook.headers.X-A: not the name of a header",
            ),
            (WEBHOOK, UrlError::HasUser.into(), "webhook.url: has a user or password in it; use webhook.headers"),
            (WEBHOOK, UrlError::NoHost.into(), "webhook.url: has no host"),
        ] {
            let told = way_out.tell(&error);
            assert!(told.ends_with(end), "{told}");
        }
    }

    #[test]
    fn each_named_setting_exists() {
        let WayOut { url, headers, credentials, max_size, .. } = WayOut::CONFIG;
        let shared = ["config.ca_file", "config.client_cert_file", "config.client_key_file"];
        let proxies = ["config.http_proxy", "config.https_proxy"];
        let own = [url, headers].into_iter().chain(credentials.iter().copied()).chain(max_size);
        for key in own.chain(shared).chain(proxies) {
            assert!(crate::settings::SCHEMA.row(key).is_some(), "{key}");
        }
    }
}
