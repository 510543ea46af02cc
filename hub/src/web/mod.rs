//! The side of people: pages, API, and what both show.

mod api;
mod pages;
mod query;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use otelet_config::signature::PublicKey;
use otelet_hub_decide::{Fleet, Labels, Member, Millis, State, Target, Turn, Uid};
use serde::Serialize;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_sessions::cookie::SameSite;
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, SessionManagerLayer};
use utoipa::ToSchema;

pub use api::openapi;
pub use pages::rows_of;

use crate::auth::{Auth, Sessions};
use crate::clock::{now, rfc3339};
use crate::hub::Hub;

/// All that a request of people needs.
#[derive(Debug, Clone)]
pub struct App {
    /// The hub.
    pub hub: Arc<Hub>,
    /// People and tokens.
    pub auth: Arc<Auth>,
    /// The keys that sign configs.
    pub keys: Arc<Vec<PublicKey>>,
    /// People come by HTTPS, so the cookie is for HTTPS only.
    pub secure: bool,
}

/// The paths of people.
pub fn router(app: App) -> Router {
    let sessions = SessionManagerLayer::new(Sessions(app.hub.store.clone()))
        // The prefix makes browsers insist on Secure and on this very host.
        .with_name(if app.secure { "__Host-otelet" } else { "otelet" })
        .with_secure(app.secure)
        .with_http_only(true)
        .with_same_site(SameSite::Strict)
        .with_expiry(Expiry::OnInactivity(Duration::hours(12)));
    let set = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    pages::router()
        .merge(api::router())
        .with_state(app)
        .layer(sessions)
        .layer(CsrfLayer::new())
        .layer(set(
            "content-security-policy",
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ))
        .layer(set("x-content-type-options", "nosniff"))
        .layer(set("referrer-policy", "same-origin"))
        .layer(set("cache-control", "no-store"))
}

/// An error of the API.
pub fn api_error(status: StatusCode, words: &str) -> Response {
    (status, axum::Json(serde_json::json!({"error": words}))).into_response()
}

/// A page with nothing but a message.
pub fn message(status: StatusCode, words: &str) -> Response {
    (status, Html(pages::message(words))).into_response()
}

/// An agent as pages and API show it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentView {
    /// The instance uid.
    pub uid: String,
    /// The name that was set here, else the host's, else the uid.
    pub name: String,
    /// The host.
    pub host: String,
    /// new, carried, gone, silent, collector down, config failed, unhealthy, alerting, rolling, drifted, healthy.
    pub state: String,
    /// Why it is not healthy, in one line.
    pub trouble: Option<String>,
    /// The labels of both sides.
    pub labels: Labels,
    /// The config that it is meant to run, as `edge@12`.
    pub config: Option<String>,
    /// The config that it waits for.
    pub next: Option<String>,
    /// The hash of the config that it runs.
    pub running: Option<String>,
    /// The protocol.
    pub protocol: String,
    /// The agent's version.
    pub agent_version: String,
    /// The collector's name and version.
    pub collector_version: String,
    /// The operating system.
    pub os: String,
    /// Restarts of the collector since the agent started.
    pub restarts: u64,
    /// The last end of the collector that nobody asked for.
    pub last_exit: Option<String>,
    /// Failed checks and alerts.
    pub alerts: Vec<String>,
    /// The configs that it refused, with the reasons.
    pub refused: Vec<RefusedView>,
    /// The row of the assignment that matches it, from 1.
    pub rule: Option<usize>,
    /// Unix time in milliseconds.
    pub last_seen: Option<i64>,
}

/// A config that an agent refused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefusedView {
    /// Its hash.
    pub hash: String,
    /// The reason.
    pub why: String,
}

fn shown(target: &Target) -> String {
    format!("{}@{}", target.config, target.version)
}

fn view(fleet: &Fleet, uid: Uid, member: &Member, now: Millis) -> AgentView {
    let agent = &member.agent;
    let desired = member.desired.as_ref().map(|target| target.hash);
    AgentView {
        uid: uid.to_string(),
        name: agent.shown().map_or_else(|| uid.to_string(), str::to_owned),
        host: agent.host.clone(),
        state: agent.state(desired, now).word().to_owned(),
        trouble: agent.trouble(desired, now),
        labels: agent.labels(),
        config: member.desired.as_ref().map(shown),
        next: match member.turn {
            Turn::Joined | Turn::Moved => member.target.as_ref().map(shown),
            Turn::Settled | Turn::Trial { .. } => None,
        },
        running: agent.running.map(|hash| hash.to_string()),
        protocol: agent.protocol.clone(),
        agent_version: agent.agent_version.clone(),
        collector_version: agent.collector_version.clone(),
        os: agent.os.clone(),
        restarts: agent.restarts,
        last_exit: agent.last_exit.clone(),
        alerts: agent.alerts.clone(),
        refused: agent
            .refused
            .iter()
            .map(|(hash, refusal)| RefusedView { hash: hash.to_string(), why: refusal.why.clone() })
            .collect(),
        rule: fleet.row_for(&agent.labels()).map(|row| row + 1),
        last_seen: agent.heard,
    }
}

/// The agents that a query matches, by name.
fn agents(hub: &Hub, query: &query::Query) -> Vec<AgentView> {
    let at = now();
    let mut found: Vec<AgentView> = hub.fleet(|fleet| {
        let all = fleet.members().iter().map(|(uid, member)| view(fleet, *uid, member, at));
        all.filter(|agent| query.matches(agent)).collect()
    });
    found.sort_by(|one, other| one.name.cmp(&other.name).then_with(|| one.uid.cmp(&other.uid)));
    found
}

fn agent(hub: &Hub, uid: Uid) -> Option<AgentView> {
    hub.fleet(|fleet| fleet.member(uid).map(|member| view(fleet, uid, member, now())))
}

/// The number of agents in each state.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Count {
    /// The state.
    pub state: String,
    /// The agents.
    pub agents: usize,
}

fn counts(hub: &Hub) -> Vec<Count> {
    let at = now();
    let mut numbers = [0; State::ALL.len()];
    hub.fleet(|fleet| {
        for member in fleet.members().values() {
            let state = member.agent.state(member.desired.as_ref().map(|target| target.hash), at);
            let place = State::ALL.iter().position(|it| *it == state).expect("it is one of all");
            numbers[place] += 1;
        }
    });
    State::ALL.iter().zip(numbers).map(|(state, agents)| Count { state: state.word().to_owned(), agents }).collect()
}

/// A line of a timeline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventView {
    /// Grows with time.
    pub id: i64,
    /// The agent, if it is of one.
    pub uid: Option<String>,
    /// Unix time in milliseconds.
    pub at: i64,
    /// In dotted words.
    pub name: String,
    /// info, warn, error.
    pub severity: String,
    /// In one line.
    pub text: String,
    /// hub, agent, person.
    pub source: String,
}

impl EventView {
    fn of(row: &sqlx::sqlite::SqliteRow) -> Self {
        use crate::store::{int, maybe_text, text};
        Self {
            id: int(row, "id"),
            uid: maybe_text(row, "uid"),
            at: int(row, "at"),
            name: text(row, "name"),
            severity: text(row, "severity"),
            text: text(row, "text"),
            source: text(row, "source"),
        }
    }

    fn when(&self) -> String {
        rfc3339(self.at)
    }
}

/// The newest events, of one agent or of all.
async fn events(hub: &Hub, uid: Option<Uid>, limit: i64) -> Result<Vec<EventView>, crate::store::StoreError> {
    let rows = match uid {
        Some(uid) => {
            let sql = "SELECT * FROM event WHERE uid = $1 ORDER BY id DESC LIMIT $2";
            hub.store.rows(sql, vec![uid.to_string().into(), limit.into()]).await?
        }
        None => hub.store.rows("SELECT * FROM event ORDER BY id DESC LIMIT $1", vec![limit.into()]).await?,
    };
    Ok(rows.iter().map(EventView::of).collect())
}

/// A config that goes to no more agents.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StopView {
    /// The hash.
    pub hash: String,
    /// The agent on which it failed.
    pub uid: String,
    /// That agent's name.
    pub agent: String,
    /// Its words.
    pub why: String,
    /// Unix time in milliseconds.
    pub at: i64,
    /// The agents that wait for it.
    pub waiting: usize,
}

fn stops(hub: &Hub) -> Vec<StopView> {
    hub.fleet(|fleet| {
        let stops = fleet.stops().iter().map(|(hash, stop)| StopView {
            hash: hash.to_string(),
            uid: stop.uid.to_string(),
            agent: fleet
                .member(stop.uid)
                .and_then(|member| member.agent.shown().map(str::to_owned))
                .unwrap_or_else(|| stop.uid.to_string()),
            why: stop.why.clone(),
            at: stop.at,
            waiting: fleet.progress(*hash).0,
        });
        stops.collect()
    })
}

/// The age of a time, in words.
fn ago(at: Option<Millis>) -> String {
    let Some(at) = at else { return "never".into() };
    match (now() - at).max(0) / 1000 {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// The type of the style sheet.
const CSS: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
