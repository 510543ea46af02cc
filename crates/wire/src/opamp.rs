//! OpAMP's messages as they go over the wire: the fields that are used, by their numbers in opamp.proto (v0.20). What is
//! not named here is skipped when it comes.

use std::collections::BTreeMap;

use prost::bytes::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::attributes::KeyValue;

/// What the agent can do, as bits of [`AgentToServer::capabilities`]: status, remote config, effective config, OpAMP
/// connection settings, restart, health, remote config status, heartbeats, connection settings status.
pub const CAPABILITIES: u64 = 0xBD07;

/// One more of these bits, once the collector has said of which components it is made.
pub const REPORTS_AVAILABLE_COMPONENTS: u64 = 0x4000;

/// Bits of [`ServerToAgent::capabilities`] that change what is sent.
pub const OFFERS_REMOTE_CONFIG: u64 = 0x2;
/// Likewise.
pub const ACCEPTS_EFFECTIVE_CONFIG: u64 = 0x4;

/// Bits of [`ServerToAgent::flags`].
pub const REPORT_FULL_STATE: u64 = 0x1;
/// Likewise.
pub const REPORT_AVAILABLE_COMPONENTS: u64 = 0x2;

/// Of remote configs and of connection settings alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// Nothing was received.
    Unset = 0,
    /// In use.
    Applied = 1,
    /// Being checked.
    Applying = 2,
    /// Not in use, for a reason.
    Failed = 3,
}

/// What the agent says.
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

/// A message whose presence says it all.
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
    #[prost(enumeration = "Status", tag = "2")]
    pub status: i32,
    #[prost(string, tag = "3")]
    pub error_message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ConnectionSettingsStatus {
    #[prost(bytes = "vec", tag = "1")]
    pub last_connection_settings_hash: Vec<u8>,
    #[prost(enumeration = "Status", tag = "2")]
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

/// What the server says.
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
    /// It does not say.
    Unknown = 0,
    /// The message is malformed.
    BadRequest = 1,
    /// It is overloaded.
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

/// The body of a decoded one shares the memory of the answer.
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

/// Restart is 0, and there is no other.
#[derive(Clone, Copy, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct ServerToAgentCommand {
    #[prost(int32, tag = "1")]
    pub kind: i32,
}

/// Settings for own telemetry and other destinations are not taken, so their fields are not here.
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

/// `ca_cert` is for others than the agent, so it is not here.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opamp.proto")]
pub struct TlsCertificate {
    #[prost(bytes = "vec", tag = "1")]
    pub cert: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub private_key: Vec<u8>,
}

/// Of the list of cipher suites, only whether there is one matters.
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

/// How many fields an encoded message has at this path of field numbers.
///
/// Each entry of a map or list costs two bytes on the wire and a hundred in memory, so they are counted before anything
/// is decoded. What is malformed ends the count: decoding finds it too.
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
