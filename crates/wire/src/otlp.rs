//! The OTLP messages that the agent uses: an excerpt of opentelemetry-proto v1, by its field numbers.
//!
//! The agent encodes requests without building these types, which would take several times the memory of the encoded
//! bytes. Tests decode requests with these types; the agent decodes answers.

use crate::attributes::{AnyValue, KeyValue};

/// A request with metrics: `ExportMetricsServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct MetricsRequest {
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(string, tag = "3")]
    pub unit: String,
    #[prost(message, optional, tag = "5")]
    pub gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    pub sum: Option<Sum>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct Gauge {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct Sum {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
    /// [`CUMULATIVE`] in all that the agent sends.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: each value counts from its start.
pub const CUMULATIVE: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct NumberDataPoint {
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    pub as_double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    pub as_int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

/// A request with log records: `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct LogsRequest {
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    #[prost(string, tag = "3")]
    pub severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "11")]
    pub observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    pub event_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// The program that wrote the data: `InstrumentationScope`.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

/// The answer to either request: `ExportMetricsServiceResponse` and `ExportLogsServiceResponse` have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Present if the receiver did not accept everything.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// The refused part of a request: `ExportMetricsPartialSuccess` and `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartialSuccess {
    /// The number of refused points or records.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// The reason; a warning if nothing was refused.
    #[prost(string, tag = "2")]
    pub error_message: String,
}
