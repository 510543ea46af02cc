//! Asks a URL by GET, and judges what comes back.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use super::Answered;
use crate::http::{Client, HttpSettings, Method, Request};
use crate::settings::Secret;

/// The most of a body that is read, in bytes.
const MOST: u64 = 64 * 1024;

/// What is asked, and what is good.
pub(super) struct Wanted<'a> {
    pub url: &'a str,
    pub status: &'a [RangeInclusive<u16>],
    pub body: Option<&'a str>,
    pub headers: &'a [(String, Secret)],
}

pub(super) fn check(
    wanted: &Wanted<'_>,
    timeout: Duration,
    http: &HttpSettings,
    answered: &mut Answered,
) -> Result<String, String> {
    // The client certificate is for the config's server alone.
    let settings =
        HttpSettings { timeout, max_size: MOST, client_cert_file: None, client_key_file: None, ..http.clone() };
    let client = Client::new(&settings).map_err(|error| error.to_string())?.for_checks();
    let headers = wanted.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let request = Request { method: Method::Get, url: wanted.url.into(), headers, body: Vec::new() };
    let response = client.send(&request);
    answered.certificate_until = client.certificate_until();
    let response = response.map_err(|error| error.to_string())?;
    answered.code = Some(response.status);
    if !wanted.status.iter().any(|range| range.contains(&response.status)) {
        return Err(format!("answered {}", response.status));
    }
    match wanted.body {
        Some(_) if !(200..300).contains(&response.status) => {
            Err(format!("answered {}, the body of which is not read", response.status))
        }
        Some(text) if !holds(&response.body, text.as_bytes()) => {
            Err(format!("answered {}, and the text of checks[].body is not in the first 64KiB", response.status))
        }
        Some(_) | None => Ok(format!("answered {}{}", response.status, valid(answered.certificate_until))),
    }
}

/// How long a certificate is still valid, as the end of a sentence.
fn valid(until: Option<SystemTime>) -> String {
    let Some(until) = until else { return String::new() };
    let left = until.duration_since(SystemTime::now()).unwrap_or_default();
    format!(", certificate valid for {} days", left.as_secs() / (24 * 60 * 60))
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}
