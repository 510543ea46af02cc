//! A server that gets reports, alerts or exports by POST: the client, the headers, and the meaning of a failure. The
//! message of a failure names the settings of the sender's own section.

use std::time::Duration;

use crate::http::{
    Client, HttpError, HttpSettings, Method, Reads, Redirects, Request, Response, USER_AGENT, check_header, parse_url,
    public,
};
use crate::settings::{Secret, WayOut};
use otelet_core::decide::Failure;

/// The most that is read of an answer, in bytes: it only says how much was rejected, if anything.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// The server of one sender.
pub struct Destination {
    client: Client,
    headers: Vec<(String, String)>,
    way_out: WayOut,
}

impl Destination {
    /// Makes the client and checks the headers. Sends nothing.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if a header, a proxy or the client certificate can never work.
    pub fn new(
        http: &HttpSettings,
        content_type: &str,
        headers: &[(String, Secret)],
        way_out: WayOut,
    ) -> Result<Self, Failure> {
        let bad = |error: HttpError| way_out.failure(&error);
        let mut all = vec![
            ("User-Agent".to_owned(), USER_AGENT.to_owned()),
            ("Content-Type".to_owned(), content_type.to_owned()),
        ];
        for (name, value) in headers {
            check_header(name, value.expose()).map_err(bad)?;
            all.push((name.clone(), value.expose().to_owned()));
        }
        let client = Client::new(&HttpSettings { max_size: LARGEST_ANSWER, ..http.clone() }).map_err(bad)?;
        Ok(Self { client, headers: all, way_out })
    }

    /// Checks a URL for [`post`](Self::post).
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the URL can never be used.
    pub fn check(&self, url: &str) -> Result<(), Failure> {
        parse_url(url).map(drop).map_err(|error| self.failure(&error.into()))
    }

    /// Sends a body, and blocks for up to the client's time limit: it is called on a thread of its own. The status of the
    /// answer decides: what was taken must not be sent again because of the words behind it.
    ///
    /// # Errors
    ///
    /// An [`HttpError`] if there is no valid answer; [`failure`](Self::failure) explains it.
    pub fn post(&self, url: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        let (url, headers) = (url.to_owned(), self.headers.clone());
        self.client.send(&Request {
            method: Method::Post,
            url,
            headers,
            body,
            reads: Reads::Beginning,
            redirects: Redirects::Same,
        })
    }

    /// The failure for an error, with the settings to check.
    pub fn failure(&self, error: &HttpError) -> Failure {
        self.way_out.failure(error)
    }

    /// Judges an answer for a sender that only needs a status of 2xx.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for every other status.
    pub fn check_status(&self, url: &str, response: &Response) -> Result<(), Failure> {
        match response.status {
            200..=299 => Ok(()),
            status => Err(self.refusal(url, status, response.retry_after)),
        }
    }

    /// The failure for a status other than 2xx.
    pub fn refusal(&self, url: &str, status: u16, retry_after: Option<Duration>) -> Failure {
        Failure { retry_after, ..self.failure(&HttpError::Status { url: Self::shown(url), status }) }
    }

    /// A URL as it may be printed.
    pub fn shown(url: &str) -> String {
        parse_url(url).map(|url| public(&url)).unwrap_or_default()
    }
}
