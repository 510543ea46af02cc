//! OTLP/HTTP logs: the events of agents go onto their timelines.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::Uid;
use otelet_wire::otlp::{LogsRequest, PartialSuccess, Response as Answer};
use prost::Message;

use super::holder;
use super::opamp::cut;
use crate::clock::now;
use crate::hub::{Hub, Refusal, event_row};

const PROTOBUF: &str = "application/x-protobuf";

/// The most records of one request that are kept.
const MAX_RECORDS: usize = 2000;

/// Severity numbers of OTLP from which a record is a warning, and an error.
const WARN: i32 = 13;
const ERROR: i32 = 17;

/// Takes a batch.
pub async fn post(State(hub): State<Arc<Hub>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let holder = holder(&hub, &headers)?;
        if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != PROTOBUF) {
            let words = format!("Content-Type must be {PROTOBUF}\n");
            return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, words).into_response());
        }
        let Ok(request) = LogsRequest::decode(body) else {
            return Ok((StatusCode::BAD_REQUEST, "this is no ExportLogsServiceRequest\n").into_response());
        };
        let (at, mut rows, mut left_out, mut foreign) = (now(), Vec::new(), 0, 0);
        for resource in request.resource_logs {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let uid = attributes.iter().find(|pair| pair.key == "service.instance.id");
            let uid = uid.and_then(|pair| pair.value.as_ref()?.string_value.as_deref()?.parse::<Uid>().ok());
            let Some(uid) = uid.filter(|uid| hub.may_report(holder, *uid)) else {
                foreign += resource.scope_logs.iter().map(|scope| scope.log_records.len()).sum::<usize>();
                continue;
            };
            for record in resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                if rows.len() == MAX_RECORDS {
                    left_out += 1;
                    continue;
                }
                let severity = match record.severity_number {
                    ERROR.. => "error",
                    WARN.. => "warn",
                    _ => "info",
                };
                let words = record.body.and_then(|body| body.string_value).unwrap_or_default();
                let name = if record.event_name.is_empty() { "log" } else { &record.event_name };
                rows.push(event_row(Some(uid), at, &cut(name), severity, &cut(&words), "agent"));
            }
        }
        hub.store.write(rows).await?;
        let refused = left_out + foreign;
        let partial_success = (refused > 0).then(|| PartialSuccess {
            rejected: i64::try_from(refused).unwrap_or(i64::MAX),
            error_message: format!(
                "{foreign} records have no service.instance.id that this token speaks for, {left_out} are over {MAX_RECORDS}"
            ),
        });
        let answer = Answer { partial_success }.encode_to_vec();
        Ok::<_, Refusal>(([(header::CONTENT_TYPE, PROTOBUF)], answer).into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}
