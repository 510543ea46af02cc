//! KloudMate's protocol: the request, and the answers with the config in them as YAML.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The part of an answer that is meant for this agent. For a cluster, an answer has two configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The whole config, outside of clusters.
    Whole,
    /// The config for the pods on each node.
    DaemonSet,
    /// The config for the one pod of the cluster.
    Deployment,
}

/// The request. It always has all nine keys.
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

/// The instruction to the agent in an answer.
#[derive(Debug, PartialEq)]
pub enum Instruction {
    /// A config to run, as YAML.
    Config(String),
    /// Restart the collector.
    Restart,
    /// Nothing has changed.
    Nothing,
}

/// The answer. A null counts as a missing key; unknown keys are ignored.
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
/// A description of the unexpected answer, to be put behind "answered". It repeats nothing of the answer.
pub fn instruction(body: &[u8], part: Part) -> Result<Instruction, String> {
    let text = std::str::from_utf8(body).map_err(|_| "with something that is not UTF-8".to_owned())?;
    // serde's own message would repeat parts of the answer.
    let wrong = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                format!("with JSON of another form, at line {line} column {column}; see restart_required and config")
            }
            _ => format!("with something that is not JSON, at line {line} column {column}"),
        }
    };
    let reply: Reply = serde_json::from_str(text).map_err(wrong)?;
    let restart = reply.restart_required.unwrap_or(false);
    let Some(config) = reply.config else {
        return Ok(if restart { Instruction::Restart } else { Instruction::Nothing });
    };
    let config = match part {
        Part::Whole => Some(config),
        Part::DaemonSet => parts(config)?.daemonset_config,
        Part::Deployment => parts(config)?.deployment_config,
    };
    match config {
        // Without `restart_required`, only the config for the other part of the cluster may have changed.
        Some(config) if restart => Ok(Instruction::Config(yaml(object(config)?))),
        Some(_) | None => Ok(Instruction::Nothing),
    }
}

fn parts(config: &RawValue) -> Result<Parts<'_>, String> {
    let wrong = |_| "with a config that does not have the form for Kubernetes".to_owned();
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

/// Returns JSON as YAML. Nearly all JSON is valid YAML and stays as it is, byte for byte, so that `10485760` stays
/// `10485760`. But some JSON libraries write things that YAML parsers, the Collector's among them (observed with
/// 0.149.0), refuse: `\/`, a character outside of the basic plane as two escapes, half of such a pair, characters that
/// YAML forbids or takes for line breaks, and space before a colon. These are rewritten.
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
                // In well-formed JSON an ASCII character follows each backslash.
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
                    // Go, and so KloudMate's own agent, reads half a pair as U+FFFD.
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
