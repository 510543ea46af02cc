//! Asks a URL by GET, and decides from status and body whether the check passes.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use super::result::HttpDetails;
use crate::http::{Client, HttpError, HttpSettings, Method, Reads, Redirects, Request};
use crate::settings::{CheckTrust, Secret, Target, WayOut};
use otelet_core::units::counted;

/// The most that is read of a body, in bytes.
const LARGEST_BODY: u64 = 64 * 1024;

/// The settings behind a request, for error messages.
const WAY_OUT: WayOut = WayOut {
    url: "checks[].http",
    target: Target::Whole,
    headers: "checks[].headers",
    credentials: &["checks[].headers"],
    max_size: None,
    wants_body: true,
    redirects: None,
    trust: Some("set checks[].ca_file to a file with it in PEM, or checks[].fingerprint to its SHA-256"),
    no_certificate: Some("checks show none"),
};

/// The URL of a check, and the answer that passes.
pub(super) struct HttpCheck<'a> {
    pub url: &'a str,
    pub status: &'a [RangeInclusive<u16>],
    pub body: Option<&'a str>,
    pub headers: &'a [(String, Secret)],
    pub trust: &'a CheckTrust,
}

pub(super) fn check(
    wanted: &HttpCheck<'_>,
    timeout: Duration,
    http: &HttpSettings,
    details: &mut HttpDetails,
) -> Result<String, String> {
    // The client certificate is only for the config's server.
    let settings = HttpSettings {
        timeout,
        max_size: LARGEST_BODY,
        ca_file: wanted.trust.ca_file.clone().or_else(|| http.ca_file.clone()),
        fingerprint: wanted.trust.fingerprint,
        client_cert_file: None,
        client_key_file: None,
        ..http.clone()
    };
    let client = Client::new(&settings).map_err(|error| WAY_OUT.tell(&error))?.for_checks();
    let headers = wanted.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let request = Request {
        method: Method::Get,
        url: wanted.url.into(),
        headers,
        body: Vec::new(),
        reads: Reads::Beginning,
        redirects: Redirects::Same,
    };
    let response = client.send(&request);
    details.certificate_until = client.certificate_until();
    let response = response.map_err(|error| WAY_OUT.tell(&error))?;
    details.code = Some(response.status);
    match &response.unread {
        // The beginning is enough.
        None | Some(HttpError::TooLarge { .. }) => {}
        Some(HttpError::Encoded { .. }) if wanted.body.is_none() => {}
        Some(error) => return Err(WAY_OUT.tell(error)),
    }
    if !wanted.status.iter().any(|range| range.contains(&response.status)) {
        return Err(format!("answered {}", response.status));
    }
    match wanted.body {
        Some(_) if !(200..300).contains(&response.status) => {
            Err(format!("answered {}; checks[].body is looked for only in an answer of 2xx", response.status))
        }
        Some(text) if !holds(&response.body, text.as_bytes()) => {
            Err(format!("answered {}, and the text of checks[].body is not in the first 64KiB", response.status))
        }
        Some(_) | None => Ok(format!("answered {}{}", response.status, valid(details.certificate_until))),
    }
}

/// The days for which a certificate is still valid, as the end of the message.
fn valid(until: Option<SystemTime>) -> String {
    let Some(until) = until else { return String::new() };
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    format!(", certificate valid for {}", counted(left.as_secs() / (24 * 60 * 60), "day"))
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::proxies::{CONNECTED, proxy};
    use crate::http::tests::trust::{Authority, tls_server, trusting};
    use crate::http::tests::{Dir, GOOD};
    use crate::settings::{CheckSettings, CheckTarget};

    #[test]
    fn a_check_uses_the_proxy_and_shows_how_long_the_certificate_is_valid() {
        let dir = Dir::new();
        let authority = Authority::new();
        // A fixed date, far away from the time of any run.
        let identity = authority.sign(|params| params.not_after = rcgen::date_time_ymd(2099, 12, 31));
        let server = tls_server(&identity, None, GOOD, false);
        let (proxy, asked) = proxy(server.addr, CONNECTED);
        let settings = HttpSettings {
            http_proxy: Some(format!("http://{}", proxy.addr)),
            https_proxy: Some(format!("http://{}", proxy.addr)),
            // Checks ignore these two: the files do not exist.
            client_cert_file: Some(dir.path("none.pem")),
            client_key_file: Some(dir.path("none.pem")),
            ..trusting(dir.write("ca.pem", &authority.pem()))
        };
        let trust = CheckTrust::default();
        let check = |url: &str, http: &HttpSettings| {
            let (status, headers) = (vec![200..=299], Vec::new());
            let target = CheckTarget::Http { url: url.into(), status, body: None, headers, trust: trust.clone() };
            let (every, timeout) = (Duration::from_secs(30), Duration::from_secs(10));
            let wanted = CheckSettings { name: "web".into(), target, every, timeout };
            super::super::check(&wanted, http, &otelet_config::redact::Redactor::default())
        };

        let checked = check("https://server.test/v1", &settings);

        let said = checked.outcome.result.unwrap();
        assert!(said.starts_with("answered 200, certificate valid for ") && said.ends_with(" days"), "{said}");
        let until = checked.http.certificate_until.map(otelet_core::units::rfc3339);
        assert_eq!(until.as_deref(), Some("2099-12-31T00:00:00Z"));
        assert!(asked.lock().unwrap()[0].starts_with("CONNECT server.test:443 "));
        assert_eq!(check("http://server.test:81/", &settings).http.certificate_until, None);

        let picky = tls_server(&authority.sign(|_| ()), Some(&authority), GOOD, false);
        let url = format!("https://{}/", picky.addr);
        let why = check(&url, &trusting(dir.path("ca.pem"))).outcome.result.unwrap_err();
        assert!(why.ends_with("; if it wants a client certificate, checks show none"), "{why}");
    }
}
