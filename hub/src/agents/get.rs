//! Configs by plain GET: the ETag is the hash, an unchanged config is a 304, the signature lies beside it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::{Happened, Hash, OfferState, Report, Uid};

use super::{holder, opamp};
use crate::hub::{Holder, Hub, Refusal};

/// The agent that asks, and the config for it: the desired one, or the running one where the desired one was refused.
async fn wanted(hub: &Hub, headers: &HeaderMap) -> Result<(Uid, Option<Hash>), Refusal> {
    let Holder::Agent(uid) = holder(hub, headers)? else {
        return Err(Refusal::Forbidden("an enrolment token gets no config; get a credential from /v1/enrol first"));
    };
    hub.admit(Holder::Agent(uid), uid).await?;
    let hash = hub.fleet(|fleet| {
        let member = fleet.member(uid)?;
        let desired = member.desired.as_ref()?.hash;
        if member.agent.refused.contains_key(&desired) { member.agent.running } else { Some(desired) }
    });
    Ok((uid, hash))
}

/// The hash in `If-None-Match`.
fn known(headers: &HeaderMap) -> Option<Hash> {
    let value = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    value.trim().trim_start_matches("W/").trim_matches('"').parse().ok()
}

/// The config of the agent that asks.
pub async fn config(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    let answer = async {
        let (uid, _) = wanted(&hub, &headers).await?;
        let known = known(&headers);
        let report = Report {
            protocol: Some("get".into()),
            // That it names the hash shows that the config is on its disk.
            offer: known.map(|hash| (hash, OfferState::Fetched, String::new())),
            ..Report::default()
        };
        let report = opamp::news(&hub, uid, report);
        let told_more = hub.fleet(|fleet| {
            let agent = fleet.member(uid).map(|member| &member.agent);
            agent.is_some_and(|agent| known.is_some_and(|hash| agent.outcome(hash).is_some()))
        });
        let report = Report { offer: report.offer.filter(|_| !told_more), ..report };
        hub.tell(Happened::Heard { uid, report }, vec![]).await?;

        let (_, hash) = wanted(&hub, &headers).await?;
        let Some(hash) = hash else {
            return Ok((
                StatusCode::NOT_FOUND,
                "there is no config for this agent: none is assigned, or it refused the one that is\n",
            )
                .into_response());
        };
        let tag = format!("\"{hash}\"");
        if known == Some(hash) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
        }
        let Some((body, _)) = hub.text_of(hash).await? else {
            return Ok((StatusCode::NOT_FOUND, "the config of this agent is not known here\n").into_response());
        };
        hub.store.write(vec![]).await?;
        hub.tell(Happened::Offered { uid, hash }, vec![]).await?;
        let headers = [
            (header::ETAG, tag),
            (header::CONTENT_TYPE, "text/yaml; charset=utf-8".to_owned()),
            (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        ];
        Ok::<_, Refusal>((headers, body).into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// The signature of the same config.
pub async fn signature(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    let answer = async {
        let (_, hash) = wanted(&hub, &headers).await?;
        let text = match hash {
            Some(hash) => hub.text_of(hash).await?,
            None => None,
        };
        let Some(signature) = text.and_then(|(_, signature)| signature) else {
            return Ok((StatusCode::NOT_FOUND, "this config is not signed\n").into_response());
        };
        Ok::<_, Refusal>(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], signature).into_response())
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}
