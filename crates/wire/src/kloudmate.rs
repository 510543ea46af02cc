//! KloudMate's protocol: the request, and the answers with the config in them as YAML.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The part of an answer that is meant for the agent: in a cluster it has two configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The config for the pods on each node.
    DaemonSet,
    /// The config for the one pod of the cluster.
    Deployment,
}

/// The request: all nine keys, always.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are those of KloudMate's API")]
pub struct Poll<'a> {
    pub is_docker: bool,
    pub hostname: &'a str,
    pub platform: &'a str,
    pub architecture: &'a str,
    pub agent_version: &'a str,
    pub collector_version: String,
    pub agent_status: &'static str,
    pub collector_status: &'static str,
    pub last_error_message: String,
}

/// What an answer means for the agent.
#[derive(Debug, PartialEq)]
pub enum Announced {
    /// A config to run, as YAML.
    Config(String),
    /// The collector is to be started anew.
    Restart,
    /// Go on.
    Nothing,
}

/// The answer. Missing keys and nulls are the same, unknown keys are ignored.
#[derive(Deserialize)]
struct Reply<'a> {
    restart_required: Option<bool>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
}

/// The config in the Kubernetes form of the answer.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    daemonset_config: Option<&'a RawValue>,
    #[serde(borrow)]
    deployment_config: Option<&'a RawValue>,
}

/// Reads an answer. Pure.
///
/// # Errors
///
/// What it is instead, to follow "answered"; it repeats nothing of it.
pub fn announced(body: &[u8], part: Part) -> Result<Announced, String> {
    let text = std::str::from_utf8(body).map_err(|_| "with something that is not UTF-8".to_owned())?;
    // serde's own words repeat what they do not understand.
    let wrong = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                format!("with JSON that it should not, at line {line} column {column}; see restart_required and config")
            }
            _ => format!("with something that is not JSON, at line {line} column {column}"),
        }
    };
    let reply: Reply = serde_json::from_str(text).map_err(wrong)?;
    let restart = reply.restart_required.unwrap_or(false);
    let Some(config) = reply.config else {
        return Ok(if restart { Announced::Restart } else { Announced::Nothing });
    };
    let config = match part {
        Part::Whole => Some(config),
        Part::DaemonSet => parts(config)?.daemonset_config,
        Part::Deployment => parts(config)?.deployment_config,
    };
    match config {
        // Of a cluster, the other half may have changed alone.
        Some(config) if restart => Ok(Announced::Config(yaml(object(config)?))),
        Some(_) | None => Ok(Announced::Nothing),
    }
}

fn parts(config: &RawValue) -> Result<Parts<'_>, String> {
    let wrong = |_| "with a config that has not the form for Kubernetes".to_owned();
    serde_json::from_str(object(config)?).map_err(wrong)
}

fn object(config: &RawValue) -> Result<&str, String> {
    let kind = match config.get().as_bytes().first() {
        Some(b'{') => return Ok(config.get()),
        Some(b'"') => "a text",
        Some(b'[') => "a list",
        Some(_) | None => "a single value",
    };
    Err(format!("with a config that is {kind}; a JSON object is expected"))
}

/// JSON as YAML. Nearly all of it is that already, byte for byte, and so `10485760` stays what it is; but the YAML parsers in
/// use, the Collector's among them (seen on 0.149.0), do not take what a few JSON libraries write: `\/`, a character
/// outside of the basic plane as two escapes, half of such a pair, characters that YAML forbids or takes for line
/// breaks, and space before a colon. Those are written in the way that YAML takes.
pub fn yaml(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let mut in_text = false;
    while let Some(c) = rest.chars().next() {
        let (part, after) = rest.split_at(c.len_utf8());
        rest = after;
        match c {
            '"' => {
                in_text = !in_text;
                out.push('"');
            }
            ':' if !in_text => {
                out.truncate(out.trim_ascii_end().len());
                out.push(':');
            }
            '\\' => {
                // JSON that was parsed has an ASCII character behind each backslash.
                let (escape, after) = rest.split_at(1);
                let pair = (escape == "u").then(|| surrogates(after)).flatten();
                let half = pair.is_none() && escape == "u" && after.get(..4).and_then(unit).is_some_and(is_surrogate);
                rest = match (&pair, half) {
                    (Some(_), _) => &after[10..],
                    (None, true) => &after[4..],
                    (None, false) => after,
                };
                match (escape, pair) {
                    ("/", _) => out.push('/'),
                    (_, Some(c)) => out.push(c),
                    // What Go makes of half a character, and so KloudMate's own agent.
                    _ if half => out.push_str("\\ufffd"),
                    _ => out.extend(["\\", escape]),
                }
            }
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out += &format!("\\u{:04x}", c as u32);
            }
            _ => out.push_str(part),
        }
    }
    out
}

fn unit(digits: &str) -> Option<u16> {
    u16::from_str_radix(digits, 16).ok()
}

fn is_surrogate(unit: u16) -> bool {
    (0xd800..=0xdfff).contains(&unit)
}

/// The character that two escapes stand for: `D83D\uDE00` behind the first `\u`.
fn surrogates(text: &str) -> Option<char> {
    let (high, low) = (text.get(..4)?, text.get(4..10)?.strip_prefix("\\u")?);
    char::decode_utf16([unit(high)?, unit(low)?]).next()?.ok().filter(|c| c.len_utf16() == 2)
}
