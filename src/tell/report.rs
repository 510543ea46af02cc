//! Plain reports: everything that `otelet status --json` shows, and the config that runs, by POST to `report.url`.

use crate::http::{Client, HttpError, Method, Request, USER_AGENT};
use crate::settings::Settings;
use crate::source::{Failure, Report, http_settings};

/// Where reports go.
pub struct Reporter {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
}

impl Reporter {
    /// Makes it without asking the server. None if the settings name none.
    ///
    /// # Errors
    ///
    /// [`HttpError::Settings`] if the URL, a header or a proxy can never work.
    pub fn new(settings: &Settings) -> Result<Option<Self>, HttpError> {
        let Some(url) = &settings.report.url else { return Ok(None) };
        crate::http::parse_url(url)?;
        let mut headers =
            vec![("User-Agent".to_owned(), USER_AGENT.to_owned()), ("Content-Type".into(), "application/json".into())];
        for (name, value) in &settings.report.headers {
            crate::http::check_header(name, value.expose())?;
            headers.push((name.clone(), value.expose().to_owned()));
        }
        let client = Client::new(&http_settings(&settings.config))?;
        Ok(Some(Self { client, url: url.clone(), headers }))
    }

    /// Sends one, and blocks for up to `config.timeout`: it is called on a thread of its own.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it was not taken: any status but 2xx.
    pub fn send(&self, report: &Report) -> Result<(), Failure> {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            status: &'a crate::status::Status,
            effective_config: Option<&'a str>,
        }
        let body = Body { status: &report.status, effective_config: report.effective_config.as_deref() };
        let body = serde_json::to_vec(&body).expect("maps with string keys and numbers only");
        let request = Request { method: Method::Post, url: self.url.clone(), headers: self.headers.clone(), body };
        let response = self.client.send(&request)?;
        match response.status {
            200..=299 => Ok(()),
            status => {
                let shown = crate::http::public(&crate::http::parse_url(&self.url)?);
                let error = HttpError::Status { url: shown, status, advice: "; check report.url and report.headers" };
                Err(Failure { retry_after: response.retry_after, ..error.into() })
            }
        }
    }
}
