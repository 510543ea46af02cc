//! The section `config`: where configs come from, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use otelet_config::signature::PublicKey;

use super::kloudmate::KloudMateSettings;
use crate::http::{self, HttpSettings, Redirects};
use crate::os::{self, Environment};
use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::layers::Raw;
use crate::settings::location::{Location, location};
use crate::settings::schema::ValueKind::{Choice, List, Map, Size, Text, Time};
use crate::settings::schema::{HOSTS, KIB, MIB, Row, file_only, hours, ms, secs, setting};
use crate::settings::secret::Secret;
use crate::settings::way_out::credentials;

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    setting("config.url", Text("URL"), "", "Where configs come from: http://, https://, file:// or a path. An unchanged config costs one 304; a file is watched, not polled. Without it: the built-in config for the environment."),
    setting("config.protocol", Choice("get|kloudmate|opamp"), "get", "The protocol of the server at config.url: a plain GET, KloudMate's config-check, or OpAMP over HTTP."),
    setting("config.role", Choice("host|docker|daemonset|deployment"), "host", "With KloudMate: the role that the agent names in its requests. In a pod it takes the part of the answer for that role."),
    setting("config.cluster", Text("NAME"), "", "With KloudMate in a pod: the name of the cluster."),
    file_only("config.fallback", List, "Files and URLs, tried in turn with plain GET while this host has no config of config.url, or it has brought none for config.fallback_after."),
    setting("config.fallback_after", Time(ms(0), hours(24)), "10m", "How long config.url may bring no config before config.fallback is tried."),
    setting("config.public_key", Text("KEY"), "", "A minisign public key. A config is accepted only with a signature by this key beside it (.minisig), and only if it was not signed before the newest accepted one."),
    file_only("config.secrets", List, "Parts of URLs that are secret: `url_path`, the path of each URL, in messages, reports and shown configs. A part of a path that looks like a token is hidden without it."),
    setting("config.poll_every", Time(ms(10), hours(24)), "30s", "Time between polls."),
    setting("config.redirects", Choice("same|any"), "same", "Redirects of configs by plain GET that are followed: those on the same server, or any: also to other servers, over https:// and 3 times at most, such as signed URLs of object stores. These get no headers, token or client certificate."),
    setting("config.timeout", Time(secs(1), secs(600)), "30s", "Time limit for one exchange with the source."),
    setting("config.max_size", Size(KIB, 64 * MIB), "4MiB", "A larger config is refused."),
    file_only("config.headers", Map, "Headers sent with each request to the server of config.url, by name."),
    file_only("config.fallback_headers", Map, "Headers sent with each request to the servers of config.fallback, by name. Those of config.url get config.headers and the token as well."),
    setting("config.bearer_token_file", Text("PATH"), "", "A file with a token to send to the server of config.url as `Authorization: Bearer`. Read again when it changes."),
    setting("config.ca_file", Text("PATH"), "", "Certificate authorities to trust, in PEM, instead of the built-in ones."),
    setting("config.client_cert_file", Text("PATH"), "", "The client certificate to show to the server, in PEM. Needs the key."),
    setting("config.client_key_file", Text("PATH"), "", "The private key of the client certificate, in PEM."),
    setting("config.http_proxy", Text("URL"), "", "Proxy for http://. Without it: http_proxy, HTTP_PROXY."),
    setting("config.https_proxy", Text("URL"), "", "Proxy for https://. Without it: https_proxy, HTTPS_PROXY."),
    setting("config.no_proxy", Text(HOSTS), "", "Hosts to reach without a proxy, separated by commas, or a list of them. Without it: no_proxy, NO_PROXY."),
];

#[derive(Debug, Clone, PartialEq)]
pub struct ConfigSettings {
    /// Where configs come from. `None`: the built-in config.
    pub url: Option<Location>,
    /// The environment whose built-in config is used.
    pub environment: Environment,
    /// The protocol of the server.
    pub protocol: ProtocolName,
    /// The role that the agent names in requests to KloudMate's server.
    pub role: Environment,
    /// The name of the cluster in requests to KloudMate's server.
    pub cluster: Option<String>,
    /// Further settings for KloudMate's protocol, if that is used.
    pub kloudmate: Option<KloudMateSettings>,
    /// The sources that are tried while the server is silent, in this order.
    pub fallback: Vec<Location>,
    /// How long the server may be silent.
    pub fallback_after: Duration,
    /// A public key in minisign's form.
    pub public_key: Option<String>,
    /// Whether the path of each URL is a secret.
    pub hide_url_paths: bool,
    pub poll_every: Duration,
    /// The redirects of configs that are followed.
    pub redirects: Redirects,
    /// Time for one exchange in all.
    pub timeout: Duration,
    /// The largest config accepted, in bytes.
    pub max_size: u64,
    /// Headers for the server of `url`; names are valid and differ, values have no line breaks.
    pub headers: Vec<(String, Secret)>,
    /// Headers for the servers of `fallback`, likewise.
    pub fallback_headers: Vec<(String, Secret)>,
    /// A file with a bearer token. Never set together with an `Authorization` header.
    pub bearer_token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// Client certificate, in PEM. Set if and only if the key is.
    pub client_cert_file: Option<PathBuf>,
    /// Private key of the client certificate, in PEM.
    pub client_key_file: Option<PathBuf>,
    /// Proxy for `http://`. Its URL may hold a password.
    pub http_proxy: Option<Secret>,
    /// Proxy for `https://`. Its URL may hold a password.
    pub https_proxy: Option<Secret>,
    /// Hosts to reach without a proxy, separated by commas.
    pub no_proxy: String,
}

/// The protocol of a server of configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolName {
    Get,
    KloudMate,
    OpAmp,
}

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::KloudMate => "kloudmate",
            Self::OpAmp => "opamp",
        })
    }
}

impl ConfigSettings {
    /// Returns the settings of an HTTP client. All clients use the CA, proxies and time limit of the section `config`.
    pub fn http(&self) -> HttpSettings {
        let exposed = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        HttpSettings {
            timeout: self.timeout,
            max_size: self.max_size,
            ca_file: self.ca_file.clone(),
            fingerprint: None,
            client_cert_file: self.client_cert_file.clone(),
            client_key_file: self.client_key_file.clone(),
            http_proxy: exposed(&self.http_proxy),
            https_proxy: exposed(&self.https_proxy),
            no_proxy: self.no_proxy.clone(),
        }
    }

    /// Reads the section. `kloudmate` is filled in later, since it depends on the settings of KloudMate's agent.
    pub(crate) fn read(layers: &Layers) -> Result<Self, SettingsError> {
        Ok(Self {
            url: layers.location("config.url")?,
            environment: environment(layers)?,
            protocol: protocol(layers)?,
            role: role(layers)?,
            cluster: layers.optional("config.cluster", |text| Ok(text.to_owned()))?,
            kloudmate: None,
            fallback: locations(layers, "config.fallback")?,
            fallback_after: layers.time("config.fallback_after")?,
            public_key: public_key(layers, "config.public_key")?,
            hide_url_paths: hide_url_paths(layers, "config.secrets")?,
            poll_every: layers.time("config.poll_every")?,
            redirects: layers.choice("config.redirects", [Redirects::Same, Redirects::Any])?,
            timeout: layers.time("config.timeout")?,
            max_size: layers.size("config.max_size")?,
            headers: layers.headers("config.headers")?,
            fallback_headers: layers.headers("config.fallback_headers")?,
            bearer_token_file: layers.path("config.bearer_token_file")?,
            ca_file: layers.path("config.ca_file")?,
            client_cert_file: layers.path("config.client_cert_file")?,
            client_key_file: layers.path("config.client_key_file")?,
            http_proxy: proxy(layers, "config.http_proxy")?,
            https_proxy: proxy(layers, "config.https_proxy")?,
            no_proxy: layers.raw("config.no_proxy")?.map_or(String::new(), |raw| raw.text),
        })
    }
}

/// Reads the setting `environment`. It stands in no section, but it decides which built-in config is used.
fn environment(layers: &Layers) -> Result<Environment, SettingsError> {
    use Environment::{DaemonSet, Deployment, Docker, Host};
    let given = layers.choice("environment", [None, Some(Host), Some(Docker), Some(DaemonSet), Some(Deployment)])?;
    Ok(given.unwrap_or_else(os::environment))
}

fn protocol(layers: &Layers) -> Result<ProtocolName, SettingsError> {
    use ProtocolName::{Get, KloudMate, OpAmp};
    layers.choice("config.protocol", [Get, KloudMate, OpAmp])
}

fn role(layers: &Layers) -> Result<Environment, SettingsError> {
    use Environment::{DaemonSet, Deployment, Docker, Host};
    layers.choice("config.role", [Host, Docker, DaemonSet, Deployment])
}

fn locations(layers: &Layers, key: &str) -> Result<Vec<Location>, SettingsError> {
    let raws = layers.list(key).map(|raw| {
        let mut raw = raw?;
        raw.shown &= !raw.text.contains(['@', '?']);
        layers.parsed(key, &raw, |text| location(text, &credentials(key), layers.world))
    });
    raws.collect()
}

/// Reads the list of what is secret.
fn hide_url_paths(layers: &Layers, key: &str) -> Result<bool, SettingsError> {
    let known = |text: &str| match text {
        "url_path" => Ok(()),
        _ => Err("the only one is url_path".to_owned()),
    };
    let mut any = false;
    for raw in layers.list(key) {
        layers.parsed(key, &raw?, known)?;
        any = true;
    }
    Ok(any)
}

/// Reads a proxy. Its URL may hold a password, so it is never shown.
fn proxy(layers: &Layers, key: &str) -> Result<Option<Secret>, SettingsError> {
    let raw = layers.raw(key)?.filter(|raw| !raw.text.is_empty());
    let Some(raw) = raw.map(|raw| Raw { shown: false, ..raw }) else {
        return Ok(None);
    };
    let scheme = if key.ends_with("https_proxy") { "https" } else { "http" };
    if let Some(name) = raw.common_variable()
        && let Err(error) = http::parse_proxy(scheme, &raw.text)
    {
        // It was not set for this agent, and perhaps no request needs it. A request that does, fails.
        layers.note(format!(
            "{name} cannot be used: {}; requests for {scheme}:// that need a proxy fail until {key} is set (empty: no proxy)",
            error.why()
        ));
        return Ok(Some(Secret::from(raw.text)));
    }
    let checked = |text: &str| match http::parse_proxy(scheme, text) {
        Ok(_) => Ok(Secret::from(text.to_owned())),
        Err(error) => Err(error.why()),
    };
    layers.parsed(key, &raw, checked).map(Some)
}

/// Reads a public key. It is never shown, since it may be the secret key by mistake.
fn public_key(layers: &Layers, key: &str) -> Result<Option<String>, SettingsError> {
    let raw = layers.raw(key)?.filter(|raw| !raw.text.is_empty());
    let Some(raw) = raw.map(|raw| Raw { shown: false, ..raw }) else {
        return Ok(None);
    };
    layers.parsed(key, &raw, |text| PublicKey::parse(text).map(|_| text.to_owned())).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::settings::tests::loaded;

    #[test]
    fn hosts_without_a_proxy_are_a_text_or_a_list() {
        for text in ["a.example,10.0.0.0/8", "[a.example, 10.0.0.0/8]"] {
            assert_eq!(loaded(&format!("config:\n  no_proxy: {text}\n")).config.no_proxy, "a.example,10.0.0.0/8");
        }
    }
}
