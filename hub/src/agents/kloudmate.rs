//! KloudMate's config check: the request is poll, heartbeat and status at once; a config is announced once, as JSON.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::{Happened, Health, OfferState, Report};
use serde::Deserialize;
use serde_json::{Value, json};

use super::holder;
use super::opamp::{cut, news};
use crate::hub::{Holder, Hub, Refusal};

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Poll {
    hostname: String,
    platform: String,
    architecture: String,
    agent_version: String,
    collector_version: String,
    collector_status: String,
    last_error_message: String,
}

/// One config check.
pub async fn check(State(hub): State<Arc<Hub>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let Holder::Agent(uid) = holder(&hub, &headers)? else {
            return Err(Refusal::Forbidden(
                "KloudMate's protocol cannot enrol; make an agent in the hub and use its key",
            ));
        };
        let Ok(poll) = serde_json::from_slice::<Poll>(&body) else {
            return Ok((StatusCode::BAD_REQUEST, "this is no config check\n").into_response());
        };
        hub.admit(Holder::Agent(uid), uid).await?;
        let (running, error) = (poll.collector_status == "Running", cut(&poll.last_error_message));
        let announced = hub.fleet(|fleet| fleet.member(uid).and_then(|member| member.agent.offer.clone()));
        // The protocol has no acknowledgement: the poll after an announcement is its outcome.
        let offer = announced.as_ref().map(|offer| match (running, error.is_empty()) {
            (_, false) => (offer.hash, OfferState::Failed, error.clone()),
            (true, true) => (offer.hash, OfferState::Applied, String::new()),
            (false, true) => (offer.hash, offer.state, offer.message.clone()),
        });
        let report = Report {
            protocol: Some("kloudmate".into()),
            host: Some(cut(&poll.hostname)),
            os: Some(cut(format!("{} {}", poll.platform, poll.architecture).trim())),
            agent_version: Some(cut(&poll.agent_version)),
            collector_version: Some(cut(&poll.collector_version)),
            health: Some(Health { up: running, healthy: running && error.is_empty(), trouble: error.clone() }),
            running: offer.as_ref().filter(|(_, state, _)| *state == OfferState::Applied).map(|(hash, _, _)| *hash),
            offer,
            ..Report::default()
        };
        hub.tell(Happened::Heard { uid, report: news(&hub, uid, report) }, vec![]).await?;
        if hub.take_restart(uid).await? {
            return Ok(Json(json!({"restart_required": true, "config": null})).into_response());
        }
        let nothing = || Json(json!({"restart_required": false, "config": null})).into_response();
        let Some(offer) = hub.fleet(|fleet| fleet.offer(uid).cloned()) else { return Ok(nothing()) };
        let Some((text, _)) = hub.text_of(offer.hash).await? else { return Ok(nothing()) };
        let config = serde_yaml::from_str::<Value>(&text);
        let (state, message) = match &config {
            Ok(_) => (OfferState::Applying, String::new()),
            Err(error) => (OfferState::Failed, format!("it has no form in JSON, which this protocol needs: {error}")),
        };
        hub.tell(Happened::Offered { uid, hash: offer.hash }, vec![]).await?;
        let report = Report { offer: Some((offer.hash, state, message)), ..Report::default() };
        hub.tell(Happened::Heard { uid, report }, vec![]).await?;
        let Ok(config) = config else { return Ok(nothing()) };
        Ok::<_, Refusal>(Json(json!({"restart_required": true, "config": config})).into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}
