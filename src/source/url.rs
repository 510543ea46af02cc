//! A config by plain GET from a web server. Any server that serves a file will do; a server with ETags answers an
//! unchanged config with a 304 of a few hundred bytes.
//!
//! A server without ETags is asked by HEAD, and its date is compared here. To `If-Modified-Since` most servers answer
//! 304 for any older date too, and would hide an older file that was put back. That header is for servers that do not
//! know HEAD.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use super::{Answer, Failure, FailureKind, Offer, Orders, Protocol, Report, Validators, bad_setting, bad_status};
use crate::http::{
    self, Method, Reads, Redirects, Request, Response, Stamp, USER_AGENT, check_header, parse_url, public,
};
use crate::settings::{PROXY_PASSWORD, WayOut};
use otelet_core::decide::Validator;
use otelet_core::text::unmarked;

/// The preferred content types: YAML under its three names, then anything else.
const ACCEPT: &str = "application/yaml, text/yaml, application/x-yaml, */*;q=0.1";

/// Asks caches on the way to ask the server. Not all of them do.
const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");

/// The largest token file, in bytes; the largest tokens in use, from cloud identities, take about 4 KB.
const MAX_TOKEN: u64 = 8 * 1024;

/// The protocol. Its only state is the validators of the last answer and the token; a restart asks for the body.
pub struct Get {
    url: String,
    /// The URL as it may be printed.
    shown: String,
    headers: Vec<(String, String)>,
    token_file: Option<PathBuf>,
    way_out: WayOut,
    redirects: Redirects,
    state: Mutex<GetState>,
}

#[derive(Default)]
struct GetState {
    validators: Validators,
    pending: Pending,
    /// Whether the server does not answer HEAD as it answers GET.
    no_head: bool,
    /// The other date that HEAD brought, until GET has brought the same one.
    seen: Option<String>,
    /// The value of `Authorization`, and the stamp of the file that it came from.
    token: Option<(Stamp, String)>,
}

/// The request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Pending {
    #[default]
    Body,
    /// A 304 may come instead of the body.
    BodyIfChanged,
    /// Only the date is asked for.
    Date,
}

/// Adds `Cache-Control`, unless the settings have it.
pub(super) fn past_caches(headers: &mut Vec<(String, String)>) {
    let (name, value) = NO_CACHE;
    if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
        headers.push((name.into(), value.into()));
    }
}

impl Get {
    /// Checks everything that can be checked without asking; the token file need not exist yet.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for a URL or header that can never be sent, and for a token file beside a header `Authorization`.
    pub fn new(
        url: &str,
        headers: Vec<(String, String)>,
        token_file: Option<PathBuf>,
        way_out: WayOut,
    ) -> Result<Self, Failure> {
        let shown = public(&parse_url(url).map_err(|error| way_out.failure(&error.into()))?);
        for (name, value) in &headers {
            check_header(name, value).map_err(|error| way_out.failure(&error))?;
        }
        let has = |name| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        if token_file.is_some() && has("authorization") {
            let why = "config.headers has Authorization as well; keep one of them";
            return Err(bad_setting("config.bearer_token_file", why));
        }
        let mut all = Vec::new();
        for (name, value) in [("User-Agent", USER_AGENT), ("Accept", ACCEPT)] {
            if !has(name) {
                all.push((name.to_owned(), value.to_owned()));
            }
        }
        all.extend(headers);
        let redirects = Redirects::Same;
        Ok(Self { url: url.to_owned(), shown, headers: all, token_file, way_out, redirects, state: Mutex::default() })
    }

    /// The same, following these redirects.
    pub fn following(mut self, redirects: Redirects) -> Self {
        if redirects == Redirects::Same {
            self.way_out.redirects = Some("config.redirects");
        }
        self.redirects = redirects;
        self
    }

    /// The request with the headers of the settings and the token.
    pub(super) fn ask(&self, conditional: bool) -> Result<Request, Failure> {
        let mut state = self.lock();
        let mut headers = self.headers.clone();
        if let Some(authorization) = self.token(&mut state)? {
            headers.push(("Authorization".into(), authorization));
        }
        let mut method = Method::Get;
        state.pending = Pending::Body;
        match &state.validators {
            _ if !conditional => {}
            Validators { etag: Some(etag), .. } => {
                headers.push(("If-None-Match".into(), etag.clone()));
                state.pending = Pending::BodyIfChanged;
            }
            Validators { last_modified: Some(date), .. } if state.no_head => {
                headers.push(("If-Modified-Since".into(), date.clone()));
                state.pending = Pending::BodyIfChanged;
            }
            Validators { last_modified: Some(_), .. } => {
                method = Method::Head;
                state.pending = Pending::Date;
            }
            Validators { etag: None, last_modified: None } => {}
        }
        Ok(Request {
            method,
            url: self.url.clone(),
            headers,
            body: Vec::new(),
            reads: Reads::Whole,
            redirects: self.redirects,
        })
    }

    fn read(&self, response: Response) -> Result<Answer, Failure> {
        let mut state = self.lock();
        if let Some(away) = response.away.as_ref().filter(|_| !matches!(response.status, 200 | 203 | 304)) {
            // The settings for the first server are not to blame.
            let advice = format!("; {} redirects to it", self.shown);
            return Err(bad_status(away, response.status, &advice, response.retry_after));
        }
        let pending = std::mem::take(&mut state.pending);
        let by_date = state.validators.etag.is_none();
        let advice = match (pending, response.status) {
            (Pending::Date, 200) if response.last_modified == state.validators.last_modified => {
                return Ok(Offer::Unchanged.into());
            }
            // The body decides. A server that is busy or wants a password would say no more to GET.
            (Pending::Date, 200..=299 | 304 | 400 | 402..=406 | 408..=428 | 430..=499 | 501) => {
                state.no_head = response.status != 200 || response.last_modified.is_none();
                state.seen = response.last_modified;
                return Ok(ask_for_body(&mut state));
            }
            // 203 comes from a proxy that has changed something on the way (RFC 9110, 15.3.4).
            (Pending::Body | Pending::BodyIfChanged, 200 | 203) => {
                let seen = state.seen.take();
                state.no_head |= seen.is_some() && seen != response.last_modified;
                let offer = Offer::of(response.body);
                // A 304 after a blank body would leave the agent without a config.
                state.validators = match offer {
                    Offer::Config { .. } => {
                        Validators { etag: response.etag, last_modified: response.last_modified }.bounded()
                    }
                    Offer::Unchanged | Offer::Empty => Validators::default(),
                };
                return Ok(offer.into());
            }
            // The date of an older file that was put back.
            (Pending::BodyIfChanged, 304)
                if by_date
                    && response.last_modified.is_some()
                    && response.last_modified != state.validators.last_modified =>
            {
                return Ok(ask_for_body(&mut state));
            }
            (Pending::BodyIfChanged, 304) => return Ok(Offer::Unchanged.into()),
            (_, 304) => " although the request had no validator; is there a cache in between?".to_owned(),
            (_, 401 | 403) => self.way_out.wants_credentials(),
            (_, 404 | 410) => format!("; check {}", self.way_out.url),
            (_, 407) => PROXY_PASSWORD.to_owned(),
            (_, 431) => format!("; it takes no headers as large as these{}", self.way_out.wants_credentials()),
            (_, 511) => "; this network wants a login first".to_owned(),
            (_, 100..=399) => "; 200 or 304 were expected".to_owned(),
            (_, _) => String::new(),
        };
        Err(bad_status(&self.shown, response.status, &advice, response.retry_after))
    }

    /// The value of `Authorization`, read again when the file has changed: tokens are short-lived.
    fn token(&self, state: &mut GetState) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let bad = |why: &dyn std::fmt::Display| Failure {
            message: format!("config.bearer_token_file {}: {why}", path.display()),
            kind: FailureKind::Settings,
            retry_after: None,
        };
        let stamp = http::stamp(path).map_err(|error| bad(&error))?;
        if let Some((seen, value)) = &state.token
            && *seen == stamp
        {
            return Ok(Some(value.clone()));
        }
        let bytes = http::read_regular(path, MAX_TOKEN).map_err(|error| bad(&error))?;
        let token = unmarked(&bytes).map_err(|why| bad(&why))?.trim_ascii();
        if token.is_empty() {
            return Err(bad(&"is empty; write the token into it"));
        }
        // RFC 6750 allows no more in a token than graphic ASCII; the token itself is never printed.
        let text = std::str::from_utf8(token).ok();
        // Some programs write the whole value of the header.
        let text = text.map(|text| match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start(),
            Some(_) | None => text,
        });
        let Some(text) = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')) else {
            return Err(bad(
                &"is not one token: it has spaces, line breaks, quotation marks or other characters in it",
            ));
        };
        let value = format!("Bearer {text}");
        state.token = Some((stamp, value.clone()));
        Ok(Some(value))
    }

    fn lock(&self) -> MutexGuard<'_, GetState> {
        self.state.lock().expect("no panic while it is held")
    }
}

/// The next exchange brings the body, at once.
fn ask_for_body(state: &mut GetState) -> Answer {
    state.validators = Validators::default();
    Answer { offer: Offer::Unchanged, orders: Orders { again: true, ..Orders::default() } }
}

impl Protocol for Get {
    /// A plain server learns nothing from the report.
    fn request(&self, _report: &Report, conditional: bool) -> Result<Request, Failure> {
        let mut request = self.ask(conditional)?;
        past_caches(&mut request.headers);
        Ok(request)
    }

    fn offer(&self, response: Response) -> Result<Answer, Failure> {
        self.read(response)
    }

    fn authorization(&self) -> Result<Option<String>, Failure> {
        self.token(&mut self.lock())
    }

    fn way_out(&self) -> WayOut {
        self.way_out
    }

    fn validator(&self) -> Validator {
        match &self.lock().validators {
            Validators { etag: Some(_), .. } => Validator::Tag,
            Validators { last_modified: Some(_), .. } => Validator::Date,
            Validators { etag: None, last_modified: None } => Validator::None,
        }
    }

    fn forget(&self) {
        self.lock().validators = Validators::default();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::http::test_server::{Answer, Server, etag};
    use crate::http::tests::{Dir, settings};

    struct Plain {
        client: http::Client,
        get: Get,
    }

    impl Plain {
        fn of(server: &Server) -> Self {
            Self::with(server, &[], None)
        }

        fn with(server: &Server, headers: &[(&str, &str)], token: Option<&Path>) -> Self {
            let headers = headers.iter().map(|(k, v)| (k.to_string(), v.to_string()));
            Self {
                client: http::Client::new(&settings()).unwrap(),
                get: Get::new(&server.url(), headers.collect(), token.map(Into::into), WayOut::CONFIG).unwrap(),
            }
        }

        fn exchange(&self, conditional: bool) -> Result<Offer, Failure> {
            let mut request = self.get.ask(conditional)?;
            past_caches(&mut request.headers);
            let response = self.client.send(&request);
            let answer = self.get.read(response.map_err(|error| self.get.way_out.failure(&error))?)?;
            if answer.orders.again { self.exchange(conditional) } else { Ok(answer.offer) }
        }
    }

    fn config(body: &[u8]) -> Result<Offer, Failure> {
        Ok(Offer::Config { body: body.into() })
    }

    #[test]
    fn a_config_comes_byte_for_byte_and_its_second_poll_is_a_304() {
        let server = Server::new();
        server.offer("receivers: {}\r\n# \u{fc}\n");
        let plain = Plain::of(&server);

        assert_eq!(plain.exchange(true), config("receivers: {}\r\n# \u{fc}\n".as_bytes()));
        assert_eq!(plain.exchange(true), Ok(Offer::Unchanged));
        let asked = server.requests();
        assert_eq!(asked[0].header("if-none-match"), None);
        assert_eq!(asked[1].header("if-none-match"), Some(&*etag("receivers: {}\r\n# \u{fc}\n".as_bytes())));
        assert_eq!(asked[1].method, "GET");
        assert_eq!(asked[1].header("accept"), Some(ACCEPT));
        assert_eq!(asked[1].header("user-agent"), Some(USER_AGENT));
        assert_eq!(asked[1].header("accept-encoding"), None);
        let traffic = plain.client.traffic();
        assert!((200..1000).contains(&traffic.sent), "{traffic:?}");
        assert!((100..1000).contains(&traffic.received), "{traffic:?}");

        server.offer("receivers: {otlp: {}}");
        assert_eq!(plain.exchange(true), config(b"receivers: {otlp: {}}"));
    }

    #[test]
    fn an_unconditional_exchange_brings_the_body_again() {
        let server = Server::new();
        server.offer("a: 1");
        let plain = Plain::of(&server);
        assert_eq!(plain.exchange(true), config(b"a: 1"));
        assert_eq!(plain.exchange(false), config(b"a: 1"));
    }

    #[test]
    fn a_304_without_a_validator_in_the_request_is_a_failure() {
        let server = Server::new();
        server.answer(Answer::status(304));
        let failure = Plain::of(&server).exchange(true).unwrap_err();
        assert!(failure.message.contains("answered 304 although"), "{failure}");
    }

    /// An answer with these headers.
    fn answered(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Answer::Status(status, headers.collect(), body.into())
    }

    const NOV: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const OCT: &str = "Thu, 06 Oct 1994 08:49:37 GMT";

    #[test]
    fn a_date_beside_an_etag_is_not_sent() {
        let server = Server::new();
        let plain = Plain::of(&server);
        server.answer(answered(200, &[("ETag", "W/\"51c0\""), ("Last-Modified", NOV)], "a: 1"));
        plain.exchange(true).unwrap();
        assert_eq!(plain.get.validator(), Validator::Tag);
        server.answer(Answer::status(304));
        assert_eq!(plain.exchange(true), Ok(Offer::Unchanged));
        let asked = &server.requests()[1];
        assert_eq!((asked.method.as_str(), asked.header("if-none-match")), ("GET", Some("W/\"51c0\"")));
        assert_eq!(asked.header("if-modified-since"), None);
        assert_eq!(asked.header("cache-control"), Some("no-cache"));
    }

    #[test]
    fn a_date_alone_is_compared_here() {
        let server = Server::new();
        let plain = Plain::of(&server);
        server.answer(answered(200, &[("Last-Modified", NOV)], "a: 1"));
        assert_eq!(plain.exchange(true), config(b"a: 1"));
        assert_eq!(plain.get.validator(), Validator::Date);
        assert_eq!(plain.exchange(true), Ok(Offer::Unchanged));
        assert_eq!(server.requests()[1].method, "HEAD");

        // An older file is put back.
        server.answer(answered(200, &[("Last-Modified", OCT)], "a: 0"));
        assert_eq!(plain.exchange(true), config(b"a: 0"));
        assert_eq!(plain.exchange(true), Ok(Offer::Unchanged));
        let methods: Vec<_> = server.requests().iter().map(|asked| asked.method.clone()).collect();
        assert_eq!(methods, ["GET", "HEAD", "HEAD", "GET", "HEAD"]);
        assert_eq!(plain.exchange(false), config(b"a: 0"), "when asked for it again");
    }

    #[test]
    fn a_server_without_head_is_asked_by_if_modified_since() {
        for refuses in [405, 501, 403, 404, 204] {
            let server = Server::new();
            let plain = Plain::of(&server);
            let good = answered(200, &[("Last-Modified", NOV)], "a: 1");
            server.answer(good.clone());
            plain.exchange(true).unwrap();
            server.answer_once(Answer::status(refuses));
            assert_eq!(plain.exchange(true), config(b"a: 1"), "{refuses}");

            server.answer_once(Answer::status(304));
            assert_eq!(plain.exchange(true), Ok(Offer::Unchanged), "{refuses}");
            let asked = server.requests().pop().unwrap();
            assert_eq!((asked.method.as_str(), asked.header("if-modified-since")), ("GET", Some(NOV)));

            // As the file server of Go answers for an older file.
            server.answer_once(answered(304, &[("Last-Modified", OCT)], ""));
            assert_eq!(plain.exchange(true), config(b"a: 1"), "{refuses}");
        }
    }

    #[test]
    fn a_head_that_differs_from_get_is_not_asked_for_again() {
        let server = Server::new();
        let plain = Plain::of(&server);
        server.answer(answered(200, &[("Last-Modified", NOV)], "a: 1"));
        plain.exchange(true).unwrap();
        server.answer_once(answered(200, &[], ""));
        assert_eq!(plain.exchange(true), config(b"a: 1"));
        server.answer(Answer::status(304));
        assert_eq!(plain.exchange(true), Ok(Offer::Unchanged));
    }

    #[test]
    fn a_busy_server_is_not_asked_twice() {
        let server = Server::new();
        let plain = Plain::of(&server);
        server.answer(answered(200, &[("Last-Modified", NOV)], "a: 1"));
        plain.exchange(true).unwrap();
        for status in [401, 407, 429, 500, 503] {
            server.answer(answered(status, &[("Retry-After", "7")], ""));
            let before = server.requests().len();
            let failure = plain.exchange(true).unwrap_err();
            assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
            assert_eq!(server.requests().len(), before + 1, "{status}");
        }
    }

    #[test]
    fn a_blank_body_leaves_no_validators() {
        let server = Server::new();
        server.offer(" \n");
        let plain = Plain::of(&server);
        assert_eq!(plain.exchange(true), Ok(Offer::Empty));
        assert_eq!(plain.get.validator(), Validator::None);
    }

    #[test]
    fn other_statuses_are_failures_with_advice_and_keep_the_validators() {
        let server = Server::new();
        server.offer("a: 1");
        let plain = Plain::of(&server);
        plain.exchange(true).unwrap();

        for (status, advice) in [
            (204, "answered 204; 200 or 304 were expected"),
            (206, "answered 206; 200 or 304 were expected"),
            (401, "answered 401; check config.headers and config.bearer_token_file"),
            (403, "answered 403; check config.headers and config.bearer_token_file"),
            (404, "answered 404; check config.url"),
            (429, "answered 429"),
            (
                431,
                "answered 431; it takes no headers as large as these; check config.headers and config.bearer_token_file",
            ),
            (511, "answered 511; this network wants a login first"),
            (500, "answered 500"),
        ] {
            server.answer(Answer::status(status));
            let failure = plain.exchange(true).unwrap_err();
            assert_eq!(failure.message, format!("{}: {advice}", server.url()));
            assert_eq!(failure.kind.word(), "status");
            assert_eq!(failure.retry_after, None);
        }
        server.offer("a: 1");
        assert_eq!(plain.exchange(true), Ok(Offer::Unchanged));
    }

    #[test]
    fn retry_after_comes_with_the_failure_in_both_forms() {
        let server = Server::new();
        let plain = Plain::of(&server);
        let later = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_090));
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000));
        for (headers, wait) in
            [(vec![("Retry-After", "120")], 120), (vec![("Retry-After", &*later), ("Date", &*date)], 90)]
        {
            let headers = headers.into_iter().map(|(k, v)| (k.into(), v.into()));
            server.answer(Answer::Status(503, headers.collect(), b"busy".to_vec()));
            let failure = plain.exchange(true).unwrap_err();
            assert_eq!(failure.retry_after, Some(Duration::from_secs(wait)));
        }
    }

    #[test]
    fn headers_of_the_settings_are_sent_and_replace_the_agents() {
        let server = Server::new();
        server.offer("a: 1");
        let headers = [("X-Fleet", "edge"), ("user-agent", "theirs")];
        Plain::with(&server, &headers, None).exchange(true).unwrap();
        let asked = &server.requests()[0];
        assert_eq!(asked.header("x-fleet"), Some("edge"));
        assert_eq!(asked.header("user-agent"), Some("theirs"));
    }

    #[test]
    fn settings_that_can_never_work_are_refused_without_their_secrets() {
        let with = |url: &str, name: &str, value: &str| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            Get::new(url, headers, Some("token".into()), WayOut::CONFIG).err().map(|e| e.to_string())
        };
        let good = "https://c.example/v1";
        assert_eq!(with(good, "X-Key", "s3cret"), None);
        for (refused, why) in [
            (with(good, "X-Key", "s3cret\n"), "config.headers.X-Key: its value has a line break"),
            (with(good, "X Key", "s3cret"), "config.headers.X Key: not the name of a header"),
            (with(good, "Content-Length", "s3cret"), "config.headers.Content-Length: is set by the agent"),
            (with(good, "authorization", "s3cret"), "config.bearer_token_file: config.headers has"),
            (with("ftp://c.example", "a", "b"), "config.url: must start with http:// or https://"),
            (with("https://u:s3cret@c.example", "a", "b"), "config.url: has a user or password in it"),
            (with("c.example/v1", "a", "b"), "config.url: not a URL"),
        ] {
            let refused = refused.unwrap();
            assert!(refused.starts_with(why), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn the_bearer_token_is_read_again_when_its_file_changes() {
        let dir = Dir::new();
        let path = dir.path("token");
        let server = Server::new();
        server.offer("a: 1");
        let plain = Plain::with(&server, &[], Some(&path));

        let missing = plain.exchange(true).unwrap_err();
        assert_eq!(missing.kind.word(), "settings");
        assert!(missing.message.starts_with("config.bearer_token_file "), "{missing}");
        assert!(server.requests().is_empty());

        let sent = || {
            plain.exchange(true).unwrap();
            let asked = server.requests().pop().unwrap();
            asked.header("authorization").unwrap().to_owned()
        };
        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(sent(), "Bearer first");
        std::fs::write(&path, "second-token").unwrap();
        assert_eq!(sent(), "Bearer second-token");

        for (content, why) in [
            ("\n", "is empty; write the token into it"),
            ("two words", "is not one token: it has spaces, line breaks, quotation marks or other characters in it"),
            ("\"t\"", "is not one token: it has spaces, line breaks, quotation marks or other characters in it"),
        ] {
            std::fs::write(&path, content).unwrap();
            let failure = plain.exchange(true).unwrap_err();
            let named = format!("config.bearer_token_file {}: {why}", path.display());
            assert_eq!(failure.message, named);
        }
    }
}
