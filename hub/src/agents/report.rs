//! Plain reports: the status of an agent as JSON, with the config that runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::{Happened, Health, Labels, OfferState, Report, Uid};
use otelet_wire::status::{AgentState, AlertState, CollectorState, RemoteConfigStatus, Status};
use serde::Deserialize;

use super::holder;
use super::opamp::{cut, effective_row, news};
use crate::clock::now;
use crate::hub::{Hub, Refusal};
use crate::store::write;

#[derive(Deserialize)]
struct Body {
    #[serde(flatten)]
    status: Status,
    effective_config: Option<String>,
}

/// Takes a report.
pub async fn post(State(hub): State<Arc<Hub>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let holder = holder(&hub, &headers)?;
        let body: Body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(error) => {
                let words = format!("this is no report, at line {} column {}\n", error.line(), error.column());
                return Ok((StatusCode::BAD_REQUEST, words).into_response());
            }
        };
        let Ok(uid) = body.status.agent.instance_uid.parse::<Uid>() else {
            return Ok((StatusCode::BAD_REQUEST, "agent.instance_uid is no UUID\n").into_response());
        };
        if !hub.may_report(holder, uid) {
            return Err(Refusal::Forbidden("this token does not speak for that instance uid"));
        }
        let status = serde_json::to_string(&body.status).unwrap_or_default();
        let mut rows = vec![write(
            "INSERT INTO status (uid, at, body) VALUES ($1, $2, $3) \
             ON CONFLICT (uid) DO UPDATE SET at = excluded.at, body = excluded.body",
            [uid.to_string().into(), now().into(), status.into()],
        )];
        rows.extend(body.effective_config.map(|text| effective_row(uid, text)));
        let report = news(&hub, uid, report_of(&body.status));
        hub.tell(Happened::Heard { uid, report }, rows).await?;
        Ok::<_, Refusal>(StatusCode::NO_CONTENT.into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// The facts of a status.
pub fn report_of(status: &Status) -> Report {
    let (agent, collector, config, host) = (&status.agent, &status.collector, &status.config, &status.host);
    let hash = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let up = matches!(collector.state, CollectorState::Up | CollectorState::Starting);
    let state = match config.remote_config_status {
        RemoteConfigStatus::Applied => Some(OfferState::Applied),
        RemoteConfigStatus::Applying => Some(OfferState::Applying),
        RemoteConfigStatus::Failed => Some(OfferState::Failed),
        RemoteConfigStatus::Unset | RemoteConfigStatus::Unknown => None,
    };
    let firing = status.alerts.iter().filter(|alert| alert.state == AlertState::Firing);
    let alerts = firing.map(|alert| {
        let value = alert.value.map(|value| format!(": {value}")).unwrap_or_default();
        cut(&format!(
            "{} {}{}",
            alert.name,
            alert.threshold,
            if alert.severity == "critical" { value } else { String::new() }
        ))
    });
    // The first checks are those of the agent and the collector themselves, which the health has.
    let checks = status.checks.iter().filter(|check| check.ok == Some(false) && check.kind != "collector");
    let checks = checks.map(|check| cut(&format!("check {}: {}", check.name, check.message)));
    Report {
        goodbye: matches!(agent.state, AgentState::Stopped | AgentState::Stopping),
        local: Some(agent.attributes.iter().map(|(name, value)| (cut(name), cut(value))).collect::<Labels>()),
        host: Some(cut(&host.name)),
        os: Some(cut(format!("{} {} {}", host.os_type, host.os_version, host.arch).trim())),
        agent_version: Some(cut(&format!("otelet {}", agent.version))),
        collector_version: Some(cut(format!("{} {}", collector.name, collector.version).trim())),
        health: Some(Health {
            up,
            healthy: collector.healthy,
            trouble: status.complaint().map(|complaint| cut(&complaint)).unwrap_or_default(),
        }),
        offer: hash(&config.remote_hash).zip(state).map(|(hash, state)| (hash, state, cut(&config.message))),
        running: hash(&config.effective_hash),
        barred: config
            .refused
            .iter()
            .filter(|refused| refused.barred)
            .filter_map(|refused| Some((refused.hash.parse().ok()?, cut(&refused.reason))))
            .collect(),
        alerts: Some(alerts.chain(checks).take(50).collect()),
        restarts: Some(collector.restarts),
        last_exit: Some(collector.last_exit.as_ref().map(|exit| {
            cut(&[exit.how.as_str(), exit.last_words.as_str()].join(if exit.last_words.is_empty() { "" } else { ": " }))
        })),
        ..Report::default()
    }
}
