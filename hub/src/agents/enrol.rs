//! Enrolment by installers: an enrolment token becomes a credential of the agent's own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::Uid;
use serde::Deserialize;
use serde_json::json;

use super::holder;
use crate::hub::{Holder, Hub, Refusal};

#[derive(Deserialize)]
pub(super) struct Body {
    instance_uid: String,
}

/// Gives a credential for an instance uid.
pub async fn post(State(hub): State<Arc<Hub>>, headers: HeaderMap, Json(body): Json<Body>) -> Response {
    let answer = async {
        let holder = holder(&hub, &headers)?;
        if let Holder::Agent(_) = holder {
            return Err(Refusal::Forbidden("this is no enrolment token"));
        }
        let Ok(uid) = body.instance_uid.parse::<Uid>() else {
            return Ok((StatusCode::BAD_REQUEST, "instance_uid is no UUID\n").into_response());
        };
        let token = hub.admit(holder, uid).await?;
        Ok::<_, Refusal>(Json(json!({"instance_uid": uid.to_string(), "token": token})).into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}
