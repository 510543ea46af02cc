//! What agents say, and what they are answered: bytes in, facts to the hub, answer out.

mod enrol;
mod get;
mod kloudmate;
mod logs;
mod opamp;
mod report;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt as _;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::timeout::TimeoutLayer;

use crate::hub::{Holder, Hub, Refusal};
use crate::store::StoreError;

/// The most bytes of a message, after decompression.
pub const MESSAGE_LIMIT: usize = 4 << 20;
const REPORT_LIMIT: usize = 2 << 20;

/// The time for a whole request with its body.
const TIME: Duration = Duration::from_secs(30);

/// The paths of agents.
pub fn router(hub: Arc<Hub>) -> Router {
    // The limits count what comes out of the decompression.
    let limits = ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIME))
        .layer(RequestDecompressionLayer::new())
        .map_request_body(Body::new);
    Router::new()
        .route("/v1/opamp", post(opamp::post))
        .route("/agents/config-check", post(kloudmate::check))
        .route("/v1/logs", post(logs::post))
        .route("/v1/enrol", post(enrol::post))
        .layer(DefaultBodyLimit::max(MESSAGE_LIMIT))
        .merge(Router::new().route("/v1/reports", post(report::post)).layer(DefaultBodyLimit::max(REPORT_LIMIT)))
        .layer(limits)
        // A standing connection has clocks of its own.
        .route("/v1/opamp", get(socket::upgrade))
        .route("/v1/config", get(get::config))
        .route("/v1/config.yaml", get(get::config))
        .route("/v1/config.minisig", get(get::signature))
        .route("/v1/config.yaml.minisig", get(get::signature))
        .with_state(hub)
}

/// The token of a request: `Authorization: Bearer TOKEN`, or the raw token as KloudMate's agents send it.
fn holder(hub: &Hub, headers: &HeaderMap) -> Result<Holder, Refusal> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(value) = value else {
        return Err(Refusal::Unauthorized("there is no token; send it as Authorization: Bearer TOKEN"));
    };
    let token = value.strip_prefix("Bearer ").unwrap_or(value).trim();
    hub.holder(token).ok_or(Refusal::Unauthorized("this token is unknown or was revoked"))
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let words = match self {
            Self::Unauthorized(words) | Self::Forbidden(words) => words.to_owned(),
            Self::Unavailable(words) => {
                tracing::error!("an agent was sent away: {words}");
                return (status, [(header::RETRY_AFTER, "30")], "the hub cannot keep anything now\n").into_response();
            }
        };
        (status, words + "\n").into_response()
    }
}

impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        Refusal::from(self).into_response()
    }
}
