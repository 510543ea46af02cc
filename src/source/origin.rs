//! One place that configs come from: the built-in config, a file, or a server with one of the protocols.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{
    Answer, Failure, FailureKind, Offer, Protocol, Report, bad_setting, builtin, file, inbox, kloudmate, opamp, url,
};
use crate::http::{Client, HttpError, Method, Reads, Redirects, Request, parse_url, public, read_regular};
use crate::os::Environment;
use crate::settings::{ConfigSettings, Location, ProtocolName, Target, WayOut};
use otelet_config::signature;
use otelet_config::signature::{AcceptedSignature, PublicKey};
use otelet_core::decide::{Freshness, Validator};

pub(super) struct Origin {
    pub(super) kind: Kind,
    pub(super) key: Option<PublicKey>,
}

pub(super) enum Kind {
    BuiltIn(builtin::BuiltIn),
    File(file::ConfigFile),
    Server {
        client: Box<Client>,
        protocol: Box<dyn Protocol>,
        /// The URL as it may be printed.
        shown: String,
        /// The URL and the headers of the signature of a plain config.
        signature: Option<(String, Vec<(String, String)>)>,
        /// The redirects that its signature follows.
        redirects: Redirects,
    },
}

impl Origin {
    pub(super) fn new(
        location: &Location,
        protocol: ProtocolName,
        settings: &ConfigSettings,
        state_dir: &Path,
        mut way_out: WayOut,
    ) -> Result<Self, Failure> {
        let key = match &settings.public_key {
            Some(text) => Some(PublicKey::parse(text).map_err(|error| bad_setting("config.public_key", error))?),
            None => None,
        };
        let url = match location {
            Location::File(path) => {
                return Ok(Self { kind: Kind::File(file::ConfigFile::new(path.clone(), settings.max_size)), key });
            }
            Location::Url(url) => url,
        };
        // Credentials go to the server that they were set for.
        let is_first = settings.url.as_ref() == Some(location) && way_out == WayOut::CONFIG;
        let is_same = is_first || matches!(&settings.url, Some(Location::Url(first)) if is_same_server(first, url));
        let mut headers: Vec<(String, String)> = Vec::new();
        let own = [(!is_first, &settings.fallback_headers), (is_same, &settings.headers)];
        for (name, value) in own.into_iter().filter(|(sent, _)| *sent).flat_map(|(_, headers)| headers) {
            if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                headers.push((name.clone(), value.expose().to_owned()));
            }
        }
        let has_own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let token = settings.bearer_token_file.clone().filter(|_| is_first || is_same && !has_own);
        if !is_first && is_same {
            way_out.credentials = &["config.fallback_headers", "config.headers", "config.bearer_token_file"];
        }
        if key.is_some() && protocol != ProtocolName::Get {
            let why = format!(
                "a signature is a file beside the config's file or URL; the protocol {protocol} has no place for it"
            );
            return Err(bad_setting("config.public_key", why));
        }
        let signature = key.is_some().then(|| {
            let mut headers = headers.clone();
            // A signature of yesterday would refuse the config of today.
            url::past_caches(&mut headers);
            (signature::url_beside(url), headers)
        });
        let protocol: Box<dyn Protocol> = match protocol {
            ProtocolName::Get => Box::new(url::Get::new(url, headers, token, way_out)?.following(settings.redirects)),
            ProtocolName::KloudMate => Box::new(new_kloudmate(url, headers, settings, state_dir)?),
            ProtocolName::OpAmp => Box::new(opamp::OpAmp::new(url, settings, Some(state_dir.join("opamp.json")))?),
        };
        let bad = |error: HttpError| way_out.failure(&error);
        let client = Box::new(Client::new(&settings.http()).map_err(bad)?);
        let shown = public(&parse_url(url).map_err(|error| bad(error.into()))?);
        let redirects = settings.redirects;
        Ok(Self { kind: Kind::Server { client, protocol, shown, signature, redirects }, key })
    }

    pub(super) fn exchange(&self, report: &Report, conditional: bool) -> Result<(Answer, Freshness), Failure> {
        let (client, protocol) = match &self.kind {
            Kind::BuiltIn(built_in) => return Ok((built_in.read(conditional).into(), Freshness::Fresh)),
            Kind::File(file) => return Ok((file.read(conditional)?.into(), Freshness::Fresh)),
            Kind::Server { client, protocol, .. } => (client, protocol),
        };
        if let Some(answer) = protocol.waiting(report, conditional) {
            return Ok((answer, Freshness::Cached));
        }
        let request = protocol.request(report, conditional)?;
        let response = client.send_as(&request, protocol.identity().as_ref());
        let response = response.map_err(|error| protocol.way_out().failure(&error));
        let answer = protocol.offer(response.inspect_err(|failure| protocol.unanswered(failure))?)?;
        Ok((answer, Freshness::Fresh))
    }

    /// Verifies the signature of the config of an answer, if there is a config and a key.
    pub(super) fn verify(
        &self,
        answer: &Answer,
        newest: Option<AcceptedSignature>,
        now: Option<SystemTime>,
    ) -> Result<Option<AcceptedSignature>, Failure> {
        let (Some(key), Offer::Config { body }) = (&self.key, &answer.offer) else {
            return Ok(None);
        };
        let now = now.map(|now| now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs());
        let verified = self.signature().and_then(|signature| {
            let verified = signature::verify(key, body, &signature, newest, now);
            verified.map_err(|error| Failure {
                message: format!("{}: config refused: {error}", self.describe()),
                kind: FailureKind::Signature,
                retry_after: None,
            })
        });
        // The server may publish the signature after the config. So the next exchange reads both again.
        verified.map(Some).inspect_err(|_| self.forget())
    }

    /// Fetches the detached signature beside the config; empty if there is none.
    fn signature(&self) -> Result<Vec<u8>, Failure> {
        match &self.kind {
            Kind::BuiltIn(_) => Ok(Vec::new()),
            Kind::File(file) => {
                let path = signature_path(file.path());
                match read_regular(&path, signature::SIGNATURE_LIMIT as u64) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                    Err(error) => Err(Failure {
                        message: format!("{}: {error}", path.display()),
                        kind: FailureKind::Signature,
                        retry_after: None,
                    }),
                    Ok(bytes) => Ok(bytes),
                }
            }
            Kind::Server { client, protocol, signature, redirects, .. } => {
                let (url, mut headers) = signature.clone().expect("made together with the key");
                // It is beside the config: on the server that the token was set for.
                headers.extend(protocol.authorization()?.map(|value| ("Authorization".to_owned(), value)));
                let way_out = WayOut { target: Target::Without(&[signature::SUFFIX]), ..protocol.way_out() };
                let response = client.send(&Request {
                    method: Method::Get,
                    url,
                    headers,
                    body: Vec::new(),
                    reads: Reads::Whole,
                    redirects: *redirects,
                });
                let response = response.map_err(|error| way_out.failure(&error))?;
                match response.status {
                    200 | 203 => Ok(response.body),
                    404 | 410 => Ok(Vec::new()),
                    status => Err(Failure {
                        message: match status {
                            401 | 403 => {
                                format!("{}.minisig: answered {status}{}", self.describe(), way_out.wants_credentials())
                            }
                            _ => format!("{}.minisig: answered {status}", self.describe()),
                        },
                        kind: FailureKind::Signature,
                        retry_after: response.retry_after,
                    }),
                }
            }
        }
    }

    pub(super) fn forget(&self) {
        match &self.kind {
            Kind::BuiltIn(_) => {}
            Kind::File(file) => file.forget(),
            Kind::Server { protocol, .. } => protocol.forget(),
        }
    }

    pub(super) fn validator(&self) -> Validator {
        match &self.kind {
            Kind::BuiltIn(_) => Validator::None,
            // The time of a file and its size are known.
            Kind::File(_) => Validator::Date,
            Kind::Server { protocol, .. } => protocol.validator(),
        }
    }

    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::BuiltIn(built_in) => built_in.describe(),
            Kind::File(file) => file.path().display().to_string(),
            Kind::Server { shown, .. } => shown.clone(),
        }
    }
}

/// Whether two URLs have scheme, host and port in common.
fn is_same_server(one: &str, other: &str) -> bool {
    let server = |url| {
        let url = parse_url(url).ok()?;
        let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
        Some((url.scheme_str()?.to_ascii_lowercase(), url.host()?.to_ascii_lowercase(), port))
    };
    server(one).is_some_and(|one| server(other) == Some(one))
}

/// KloudMate's protocol, with the config that was announced to an earlier agent.
fn new_kloudmate(
    url: &str,
    headers: Vec<(String, String)>,
    settings: &ConfigSettings,
    state_dir: &Path,
) -> Result<kloudmate::KloudMate, Failure> {
    let shown = parse_url(url).map_err(|error| kloudmate::WAY_OUT.failure(&error.into()))?;
    let (inbox, complaint) = inbox::Inbox::open(state_dir, &public(&shown));
    if let Some(complaint) = complaint {
        log::warn!("{complaint}");
    }
    let own = settings.kloudmate.as_ref();
    let cluster = settings.cluster.clone().unwrap_or_default();
    let environment = match settings.role {
        Environment::Host if own.is_some_and(|own| own.docker) => Environment::Docker,
        other => other,
    };
    let role = kloudmate::Role { environment, cluster };
    let key = own.and_then(|own| own.api_key.as_ref());
    let first = own.and_then(|own| own.first_config.clone());
    kloudmate::KloudMate::new(url, headers, key, role, inbox, first, settings.max_size)
}

/// `config.yaml.minisig`, as the minisign program names it.
pub(super) fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(signature::SUFFIX);
    name.into()
}
