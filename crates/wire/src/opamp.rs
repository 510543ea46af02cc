//! OpAMP's messages as they go over the wire: the fields that are used, by their numbers in opamp.proto (v0.20). Other
//! fields are skipped when a message is decoded.

use std::collections::BTreeMap;

use prost::bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::attributes::KeyValue;

/// The agent's capabilities, as bits of [`AgentToServer::capabilities`]: status, remote config, effective config, OpAMP
/// connection settings, restart, health, remote config status, heartbeats, connection settings status.
pub const CAPABILITIES: u64 = 0xBD07;

/// One more of these bits, set once the collector has listed its components.
pub const REPORTS_AVAILABLE_COMPONENTS: u64 = 0x4000;

/// Bit of [`ServerToAgent::capabilities`]: the server offers configs.
pub const OFFERS_REMOTE_CONFIG: u64 = 0x2;
/// Bit of [`ServerToAgent::capabilities`]: the server takes the effective config.
pub const ACCEPTS_EFFECTIVE_CONFIG: u64 = 0x4;

/// Bit of [`ServerToAgent::flags`]: the next message must hold the full state.
pub const REPORT_FULL_STATE: u64 = 0x1;
/// Bit of [`ServerToAgent::flags`]: the next message must list the collector's components.
pub const REPORT_AVAILABLE_COMPONENTS: u64 = 0x2;

/// The status of a remote config or of connection settings that the server offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum OfferStatus {
    /// No offer was received.
    Unset = 0,
    /// The offer is in use.
    Applied = 1,
    /// The offer is being checked.
    Applying = 2,
    /// The offer was refused; a message says why.
    Failed = 3,
}

/// The agent's message to the server.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AgentToServer {
    #[prost(bytes = "vec", tag = "1")]
    pub instance_uid: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub sequence_num: u64,
    #[prost(message, optional, tag = "3")]
    pub agent_description: Option<AgentDescription>,
    #[prost(uint64, tag = "4")]
    pub capabilities: u64,
    #[prost(message, optional, tag = "5")]
    pub health: Option<ComponentHealth>,
    #[prost(message, optional, tag = "6")]
    pub effective_config: Option<EffectiveConfig>,
    #[prost(message, optional, tag = "7")]
    pub remote_config_status: Option<RemoteConfigStatus>,
    #[prost(message, optional, tag = "9")]
    pub agent_disconnect: Option<Nothing>,
    #[prost(message, optional, tag = "14")]
    pub available_components: Option<AvailableComponents>,
    #[prost(message, optional, tag = "15")]
    pub connection_settings_status: Option<ConnectionSettingsStatus>,
}

/// An empty message; its presence is the information.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AgentDescription {
    #[prost(message, repeated, tag = "1")]
    pub identifying: Vec<KeyValue>,
    #[prost(message, repeated, tag = "2")]
    pub non_identifying: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ComponentHealth {
    #[prost(bool, tag = "1")]
    pub healthy: bool,
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    #[prost(string, tag = "3")]
    pub last_error: String,
    #[prost(string, tag = "4")]
    pub status: String,
    #[prost(fixed64, tag = "5")]
    pub status_time_unix_nano: u64,
    #[prost(btree_map = "string, message", tag = "6")]
    pub components: BTreeMap<String, ComponentHealth>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct EffectiveConfig {
    #[prost(message, optional, tag = "1")]
    pub config_map: Option<AgentConfigMap>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct RemoteConfigStatus {
    #[prost(bytes = "vec", tag = "1")]
    pub last_remote_config_hash: Vec<u8>,
    #[prost(enumeration = "OfferStatus", tag = "2")]
    pub status: i32,
    #[prost(string, tag = "3")]
    pub error_message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ConnectionSettingsStatus {
    #[prost(bytes = "vec", tag = "1")]
    pub last_connection_settings_hash: Vec<u8>,
    #[prost(enumeration = "OfferStatus", tag = "2")]
    pub status: i32,
    #[prost(string, tag = "3")]
    pub error_message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AvailableComponents {
    #[prost(btree_map = "string, message", tag = "1")]
    pub components: BTreeMap<String, ComponentDetails>,
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ComponentDetails {
    #[prost(message, repeated, tag = "1")]
    pub metadata: Vec<KeyValue>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub sub_components: BTreeMap<String, ComponentDetails>,
}

/// The server's message to the agent.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ServerToAgent {
    #[prost(bytes = "vec", tag = "1")]
    pub instance_uid: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub error_response: Option<ServerErrorResponse>,
    #[prost(message, optional, tag = "3")]
    pub remote_config: Option<AgentRemoteConfig>,
    #[prost(message, optional, tag = "4")]
    pub connection_settings: Option<ConnectionSettingsOffers>,
    #[prost(uint64, tag = "6")]
    pub flags: u64,
    #[prost(uint64, tag = "7")]
    pub capabilities: u64,
    #[prost(message, optional, tag = "8")]
    pub agent_identification: Option<AgentIdentification>,
    #[prost(message, optional, tag = "9")]
    pub command: Option<ServerToAgentCommand>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ServerErrorResponse {
    #[prost(enumeration = "ErrorType", tag = "1")]
    pub kind: i32,
    #[prost(string, tag = "2")]
    pub error_message: String,
    #[prost(message, optional, tag = "3")]
    pub retry_info: Option<RetryInfo>,
}

/// Why the server did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ErrorType {
    /// The server gives no reason.
    Unknown = 0,
    /// The server found the message malformed.
    BadRequest = 1,
    /// The server is overloaded for now.
    Unavailable = 2,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct RetryInfo {
    #[prost(uint64, tag = "1")]
    pub retry_after_nanoseconds: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AgentRemoteConfig {
    #[prost(message, optional, tag = "1")]
    pub config: Option<AgentConfigMap>,
    #[prost(bytes = "vec", tag = "2")]
    pub config_hash: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AgentConfigMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub config_map: BTreeMap<String, AgentConfigFile>,
}

/// The body of a decoded file shares the memory of the answer.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AgentConfigFile {
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    #[prost(string, tag = "2")]
    pub content_type: String,
    #[prost(string, tag = "3")]
    pub role: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct AgentIdentification {
    #[prost(bytes = "vec", tag = "1")]
    pub new_instance_uid: Vec<u8>,
}

/// The kind 0 is a restart; opamp.proto has no other.
#[derive(Clone, Copy, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ServerToAgentCommand {
    #[prost(int32, tag = "1")]
    pub kind: i32,
}

/// The agent accepts no settings for its own telemetry or other destinations, so their fields are left out.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ConnectionSettingsOffers {
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub opamp: Option<OpAmpConnectionSettings>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct OpAmpConnectionSettings {
    #[prost(string, tag = "1")]
    pub destination_endpoint: String,
    #[prost(message, optional, tag = "2")]
    pub headers: Option<Headers>,
    #[prost(message, optional, tag = "3")]
    pub certificate: Option<TlsCertificate>,
    #[prost(uint64, tag = "4")]
    pub heartbeat_interval_seconds: u64,
    #[prost(message, optional, tag = "5")]
    pub tls: Option<TlsConnectionSettings>,
    #[prost(message, optional, tag = "6")]
    pub proxy: Option<ProxyConnectionSettings>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct Headers {
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct Header {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The agent does not use `ca_cert`, so it is left out.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct TlsCertificate {
    #[prost(bytes = "vec", tag = "1")]
    pub cert: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub private_key: Vec<u8>,
}

/// `cipher_suites` holds only the last entry of the list: the agent checks only whether there is one.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct TlsConnectionSettings {
    #[prost(string, tag = "1")]
    pub ca_pem_contents: String,
    #[prost(bool, tag = "2")]
    pub include_system_ca_certs_pool: bool,
    #[prost(bool, tag = "3")]
    pub insecure_skip_verify: bool,
    #[prost(string, tag = "4")]
    pub min_version: String,
    #[prost(string, tag = "5")]
    pub max_version: String,
    #[prost(string, optional, tag = "6")]
    pub cipher_suites: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ProxyConnectionSettings {
    #[prost(string, tag = "1")]
    pub url: String,
}

/// Counts the fields of an encoded message at this path of field numbers.
///
/// An entry of a map or list may take two bytes on the wire and a hundred in memory, so entries are counted before the
/// message is decoded. A malformed message ends the count: decoding will refuse it.
pub fn count(mut message: &[u8], path: &[u32]) -> usize {
    let Some((first, rest)) = path.split_first() else { return 1 };
    let mut found = 0;
    while !message.is_empty() {
        let Ok((tag, kind)) = decode_key(&mut message) else { return found };
        if kind != WireType::LengthDelimited || tag != *first {
            if skip_field(kind, tag, &mut message, DecodeContext::default()).is_err() {
                return found;
            }
            continue;
        }
        let Some(inner) = decode_varint(&mut message).ok().and_then(|length| {
            let (inner, after) = message.split_at_checked(usize::try_from(length).ok()?)?;
            message = after;
            Some(inner)
        }) else {
            return found;
        };
        found += count(inner, rest);
    }
    found
}
