//! The API: JSON over `/api/v1`, described by OpenAPI from this code.

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::{Happened, Hash, Labels, Uid};
use serde::{Deserialize, Serialize};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::query::Query;
use super::{AgentView, App, Count, EventView, StopView, api_error};
use crate::auth::{Actor, AsAdmin, AsEditor, AsOperator, AsViewer, AuthError, Needs, Role};
use crate::clock::{next_id, now};
use crate::configs::{self, ConfigError, Problem, Row, Version};
use crate::hub::{audit_row, event_row};
use crate::store::{StoreError, Write, int, text};

/// An error in JSON.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorBody {
    /// In words.
    error: String,
}

/// An answer that is an error.
pub(super) struct Failed(StatusCode, String);

impl Failed {
    /// Status and words.
    pub(super) fn parts(self) -> (StatusCode, String) {
        (self.0, self.1)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        api_error(self.0, &self.1)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Conflict => StatusCode::CONFLICT,
            StoreError::Unwritable(..) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<AuthError> for Failed {
    fn from(error: AuthError) -> Self {
        Self(error.status(), error.to_string())
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        let status = match &error {
            ConfigError::Faulty(_) | ConfigError::Name(_) | ConfigError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ConfigError::Outdated(_) => StatusCode::PRECONDITION_FAILED,
            ConfigError::Missing(_) => StatusCode::NOT_FOUND,
            ConfigError::Store(error) => return error.clone().into(),
        };
        Self(status, error.to_string())
    }
}

pub(super) type Answer<T> = Result<T, Failed>;

/// The uid of a path, if there is such an agent.
pub(super) fn known(app: &App, uid: &str) -> Answer<Uid> {
    let found = uid.parse::<Uid>().ok().filter(|uid| app.hub.fleet(|fleet| fleet.member(*uid).is_some()));
    found.ok_or_else(|| Failed(StatusCode::NOT_FOUND, format!("{uid}: there is no such agent")))
}

/// The audit row of an act.
pub(super) fn audit(actor: &Actor, action: &str, object: &str, detail: &str) -> Write {
    audit_row(&actor.name, &actor.origin, action, object, detail)
}

/// Who I am.
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Actor), (status = 401, body = ErrorBody)))]
async fn me(Needs(actor): AsViewer) -> Json<Actor> {
    Json(actor)
}

/// How many agents are in each state.
#[utoipa::path(get, path = "/api/v1/fleet", responses((status = 200, body = [Count]), (status = 401, body = ErrorBody)))]
async fn fleet(_: AsViewer, State(app): State<App>) -> Json<Vec<Count>> {
    Json(super::counts(&app.hub))
}

#[derive(Deserialize, IntoParams)]
pub(super) struct Search {
    /// Words, `state:failed`, `config:edge@12`, `label:site=line-3`, `not:…`.
    #[serde(default)]
    pub q: String,
}

/// The agents that match a query.
#[utoipa::path(get, path = "/api/v1/agents", params(Search), responses((status = 200, body = [AgentView]), (status = 401, body = ErrorBody)))]
async fn list_agents(_: AsViewer, State(app): State<App>, UrlQuery(search): UrlQuery<Search>) -> Json<Vec<AgentView>> {
    Json(super::agents(&app.hub, &Query::new(&search.q)))
}

#[derive(Deserialize, ToSchema)]
struct NewAgent {
    /// The name that is shown.
    name: Option<String>,
    /// Labels.
    #[serde(default)]
    labels: Labels,
}

#[derive(Serialize, ToSchema)]
struct MadeAgent {
    /// The instance uid.
    uid: String,
    /// The credential; it is shown once.
    token: String,
}

/// Makes an agent with a credential, for plain GET and KloudMate's protocol.
#[utoipa::path(post, path = "/api/v1/agents", request_body = NewAgent, responses((status = 201, body = MadeAgent), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
async fn make_agent(Needs(actor): AsEditor, State(app): State<App>, Json(new): Json<NewAgent>) -> Answer<Response> {
    let object = new.name.clone().unwrap_or_default();
    let (uid, token) = app.hub.make_agent(new.name, new.labels, audit(&actor, "agent.make", &object, "")).await?;
    Ok((StatusCode::CREATED, Json(MadeAgent { uid: uid.to_string(), token })).into_response())
}

/// One agent.
#[utoipa::path(get, path = "/api/v1/agents/{uid}", params(("uid" = String, Path)), responses((status = 200, body = AgentView), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn one_agent(_: AsViewer, State(app): State<App>, Path(uid): Path<String>) -> Answer<Json<AgentView>> {
    let uid = known(&app, &uid)?;
    super::agent(&app.hub, uid).map(Json).ok_or_else(|| Failed(StatusCode::NOT_FOUND, "it was just forgotten".into()))
}

#[derive(Deserialize, ToSchema)]
pub(super) struct AgentChange {
    /// The name that is shown; none: that of the host.
    pub name: Option<String>,
    /// The labels of the hub. Those of the host stay beside them.
    pub labels: Labels,
}

/// Sets name and labels.
#[utoipa::path(patch, path = "/api/v1/agents/{uid}", params(("uid" = String, Path)), request_body = AgentChange, responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn change_agent(
    Needs(actor): AsEditor,
    State(app): State<App>,
    Path(uid): Path<String>,
    Json(change): Json<AgentChange>,
) -> Answer<StatusCode> {
    let uid = known(&app, &uid)?;
    let detail = serde_json::to_string(&change.labels).unwrap_or_default();
    let row = audit(&actor, "agent.label", &uid.to_string(), &detail);
    app.hub.tell(Happened::Labelled { uid, set: change.labels, name: change.name }, vec![row]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets an agent and revokes its credential.
#[utoipa::path(delete, path = "/api/v1/agents/{uid}", params(("uid" = String, Path)), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn forget(
    Needs(actor): AsAdmin,
    State(app): State<App>,
    Path(uid): Path<String>,
) -> Answer<StatusCode> {
    let uid = known(&app, &uid)?;
    app.hub.forget(uid, audit(&actor, "agent.forget", &uid.to_string(), "")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The newest events of an agent.
#[utoipa::path(get, path = "/api/v1/agents/{uid}/events", params(("uid" = String, Path)), responses((status = 200, body = [EventView]), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn agent_events(_: AsViewer, State(app): State<App>, Path(uid): Path<String>) -> Answer<Json<Vec<EventView>>> {
    let uid = known(&app, &uid)?;
    Ok(Json(super::events(&app.hub, Some(uid), 500).await?))
}

/// The config that an agent runs, as it told it: without secrets.
#[utoipa::path(get, path = "/api/v1/agents/{uid}/effective", params(("uid" = String, Path)), responses((status = 200, body = String, content_type = "text/yaml"), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn effective(_: AsViewer, State(app): State<App>, Path(uid): Path<String>) -> Answer<Response> {
    let uid = known(&app, &uid)?;
    let row = app.hub.store.row("SELECT body FROM effective WHERE uid = $1", vec![uid.to_string().into()]).await?;
    let Some(row) = row else { return Err(Failed(StatusCode::NOT_FOUND, "it has not told its config".into())) };
    Ok(([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], text(&row, "body")).into_response())
}

/// Restarts the collector of an agent.
#[utoipa::path(post, path = "/api/v1/agents/{uid}/restart", params(("uid" = String, Path)), responses((status = 202), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
pub(super) async fn restart(
    Needs(actor): AsOperator,
    State(app): State<App>,
    Path(uid): Path<String>,
) -> Answer<StatusCode> {
    let uid = known(&app, &uid)?;
    if super::agent(&app.hub, uid).is_some_and(|agent| agent.protocol == "get") {
        let words = "this agent asks by plain GET, which has no commands; use OpAMP for restarts";
        return Err(Failed(StatusCode::CONFLICT, words.into()));
    }
    app.hub.ask_restart(uid, &actor.name, audit(&actor, "agent.restart", &uid.to_string(), "")).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, ToSchema)]
pub(super) struct OfferAgain {
    /// The hash of the config that it refused.
    pub hash: String,
}

fn hash_of(text: &str) -> Answer<Hash> {
    text.parse().map_err(|words| Failed(StatusCode::UNPROCESSABLE_ENTITY, words))
}

/// Offers a config again that an agent refused.
#[utoipa::path(post, path = "/api/v1/agents/{uid}/offer", params(("uid" = String, Path)), request_body = OfferAgain, responses((status = 202), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn offer_again(
    Needs(actor): AsOperator,
    State(app): State<App>,
    Path(uid): Path<String>,
    Json(body): Json<OfferAgain>,
) -> Answer<StatusCode> {
    let (uid, hash) = (known(&app, &uid)?, hash_of(&body.hash)?);
    let words = format!("{} wants config {} offered again", actor.name, hash.short());
    let rows = vec![
        audit(&actor, "agent.offer", &uid.to_string(), &body.hash),
        event_row(Some(uid), now(), "command.offer", "info", &words, "person"),
    ];
    app.hub.tell(Happened::OfferAgain { uid, hash }, rows).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The newest events of the fleet.
#[utoipa::path(get, path = "/api/v1/events", responses((status = 200, body = [EventView]), (status = 401, body = ErrorBody)))]
async fn all_events(_: AsViewer, State(app): State<App>) -> Answer<Json<Vec<EventView>>> {
    Ok(Json(super::events(&app.hub, None, 500).await?))
}

/// All versions of all configs.
#[utoipa::path(get, path = "/api/v1/configs", responses((status = 200, body = [Version]), (status = 401, body = ErrorBody)))]
async fn list_configs(_: AsViewer, State(app): State<App>) -> Answer<Json<Vec<Version>>> {
    Ok(Json(configs::versions(&app.hub, None).await?))
}

/// The versions of a config, the newest first.
#[utoipa::path(get, path = "/api/v1/configs/{name}", params(("name" = String, Path)), responses((status = 200, body = [Version]), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn one_config(_: AsViewer, State(app): State<App>, Path(name): Path<String>) -> Answer<Response> {
    let versions = configs::versions(&app.hub, Some(&name)).await?;
    let Some(newest) = versions.first() else { return Err(ConfigError::Missing(name).into()) };
    let tag = format!("\"{}\"", newest.number);
    Ok(([(header::ETAG, tag)], Json(versions)).into_response())
}

#[derive(Deserialize, ToSchema)]
struct NewVersion {
    /// The whole config.
    text: String,
    /// Why it is made.
    #[serde(default)]
    note: String,
}

#[derive(Serialize, ToSchema)]
struct Saved {
    /// The number of the new version.
    version: i64,
    /// Warnings.
    problems: Vec<Problem>,
    /// Agents that lack a component that the config names.
    lacking: Vec<Lacking>,
}

/// An agent that lacks components.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lacking {
    /// The agent.
    pub uid: String,
    /// Its name.
    pub agent: String,
    /// Such as `receiver journald`.
    pub lacks: Vec<String>,
}

pub(super) fn lacking(app: &App, body: &str) -> Vec<Lacking> {
    let found = app.hub.fleet(|fleet| configs::lacking(body, fleet.members().iter()));
    found.into_iter().map(|(uid, agent, lacks)| Lacking { uid: uid.to_string(), agent, lacks }).collect()
}

/// Saves a new version. `If-Match` names the version that it was made from; without it the config is new.
#[utoipa::path(put, path = "/api/v1/configs/{name}", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = NewVersion, responses((status = 201, body = Saved), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 412, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn save_config(
    Needs(actor): AsEditor,
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(new): Json<NewVersion>,
) -> Answer<Response> {
    let base = match headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim_matches('"')) {
        None => 0,
        Some(number) => number
            .parse()
            .map_err(|_| Failed(StatusCode::UNPROCESSABLE_ENTITY, "If-Match must be the number of a version".into()))?,
    };
    let row = audit(&actor, "config.save", &format!("{name}@{}", base + 1), &new.note);
    let version = configs::save(&app.hub, &name, base, &new.text, &new.note, &actor.name, row).await?;
    let body = Saved { version, problems: configs::check(&new.text), lacking: lacking(&app, &new.text) };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// One version.
#[utoipa::path(get, path = "/api/v1/configs/{name}/versions/{number}", params(("name" = String, Path), ("number" = i64, Path)), responses((status = 200, body = Version), (status = 401, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn one_version(
    _: AsViewer,
    State(app): State<App>,
    Path((name, number)): Path<(String, i64)>,
) -> Answer<Json<Version>> {
    Ok(Json(configs::version(&app.hub, &name, number).await?))
}

/// Adds the signature of a version: the content of the `.minisig`.
#[utoipa::path(put, path = "/api/v1/configs/{name}/versions/{number}/signature", params(("name" = String, Path), ("number" = i64, Path)), request_body(content = String, content_type = "text/plain"), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn sign(
    Needs(actor): AsEditor,
    State(app): State<App>,
    Path((name, number)): Path<(String, i64)>,
    minisig: String,
) -> Answer<StatusCode> {
    let row = audit(&actor, "config.sign", &format!("{name}@{number}"), "");
    configs::sign(&app.hub, &name, number, &minisig, &app.keys, row).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
struct Draft {
    /// The whole config.
    text: String,
}

#[derive(Serialize, ToSchema)]
struct Checked {
    /// Errors and warnings.
    problems: Vec<Problem>,
    /// Agents that lack a component that the config names.
    lacking: Vec<Lacking>,
}

/// Checks a config without saving it.
#[utoipa::path(post, path = "/api/v1/validate", request_body = Draft, responses((status = 200, body = Checked), (status = 401, body = ErrorBody)))]
async fn validate(_: AsViewer, State(app): State<App>, Json(draft): Json<Draft>) -> Json<Checked> {
    Json(Checked { problems: configs::check(&draft.text), lacking: lacking(&app, &draft.text) })
}

/// The assignment: the first row that matches an agent gives it its config.
#[utoipa::path(get, path = "/api/v1/assignments", responses((status = 200, body = [Row]), (status = 401, body = ErrorBody)))]
async fn assignments(_: AsViewer, State(app): State<App>) -> Json<Vec<Row>> {
    Json(configs::rows(&app.hub))
}

/// Replaces the assignment. It goes to the agents one at a time and stops at the first that fails.
#[utoipa::path(put, path = "/api/v1/assignments", request_body = [Row], responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn assign(Needs(actor): AsEditor, State(app): State<App>, Json(rows): Json<Vec<Row>>) -> Answer<StatusCode> {
    let detail = serde_json::to_string(&rows).unwrap_or_default();
    configs::assign(&app.hub, &rows, audit(&actor, "assignment", "", &detail)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The configs that were stopped.
#[utoipa::path(get, path = "/api/v1/stops", responses((status = 200, body = [StopView]), (status = 401, body = ErrorBody)))]
async fn list_stops(_: AsViewer, State(app): State<App>) -> Json<Vec<StopView>> {
    Json(super::stops(&app.hub))
}

/// Lets a stopped config go on.
#[utoipa::path(post, path = "/api/v1/stops/{hash}/resume", params(("hash" = String, Path)), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn resume(
    Needs(actor): AsOperator,
    State(app): State<App>,
    Path(hash): Path<String>,
) -> Answer<StatusCode> {
    let known = hash_of(&hash)?;
    if !app.hub.fleet(|fleet| fleet.stops().contains_key(&known)) {
        return Err(Failed(StatusCode::NOT_FOUND, format!("{hash} is not stopped")));
    }
    app.hub.tell(Happened::Resumed { hash: known }, vec![audit(&actor, "stop.resume", &hash, "")]).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct EnrolmentView {
    name: String,
    uses_left: i64,
    /// Unix time in milliseconds.
    expires: i64,
    labels: Labels,
}

/// The enrolment tokens, without the tokens.
#[utoipa::path(get, path = "/api/v1/enrolments", responses((status = 200, body = [EnrolmentView]), (status = 401, body = ErrorBody)))]
async fn enrolments(_: AsViewer, State(app): State<App>) -> Json<Vec<EnrolmentView>> {
    let all = app.hub.enrolments().into_iter().map(|it| EnrolmentView {
        name: it.name,
        uses_left: it.uses_left,
        expires: it.expires,
        labels: it.labels,
    });
    Json(all.collect())
}

#[derive(Deserialize, ToSchema)]
struct NewEnrolment {
    name: String,
    /// The agents that it may enrol, 1 to 100,000.
    #[serde(default = "one")]
    uses: i64,
    /// Days that it is good, 1 to 365.
    #[serde(default = "week")]
    days: i64,
    #[serde(default)]
    labels: Labels,
}

fn one() -> i64 {
    1
}

fn week() -> i64 {
    7
}

const DAY: i64 = 86_400_000;

#[derive(Serialize, ToSchema)]
struct Token {
    /// It is shown once.
    token: String,
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/api/v1/enrolments", request_body = NewEnrolment, responses((status = 201, body = Token), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn make_enrolment(
    Needs(actor): AsEditor,
    State(app): State<App>,
    Json(new): Json<NewEnrolment>,
) -> Answer<Response> {
    if new.name.is_empty() || !(1..=100_000).contains(&new.uses) || !(1..=365).contains(&new.days) {
        let words = "an enrolment has a name, 1 to 100000 uses and 1 to 365 days";
        return Err(Failed(StatusCode::UNPROCESSABLE_ENTITY, words.into()));
    }
    let row = audit(&actor, "enrolment.make", &new.name, &format!("{} uses, {} days", new.uses, new.days));
    let expires = now() + new.days * DAY;
    let made = app.hub.make_enrolment(&new.name, new.uses, expires, new.labels, &actor.name, row).await?;
    Ok((StatusCode::CREATED, Json(Token { token: made.1 })).into_response())
}

/// Ends an enrolment token. Its agents stay.
#[utoipa::path(delete, path = "/api/v1/enrolments/{name}", params(("name" = String, Path)), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn revoke_enrolment(
    Needs(actor): AsEditor,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    app.hub.revoke_enrolment(&name, audit(&actor, "enrolment.revoke", &name, "")).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct TokenView {
    name: String,
    role: Role,
    /// Unix time in milliseconds.
    expires: i64,
}

/// The API tokens, without the tokens.
#[utoipa::path(get, path = "/api/v1/tokens", responses((status = 200, body = [TokenView]), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
async fn tokens(_: AsAdmin, State(app): State<App>) -> Answer<Json<Vec<TokenView>>> {
    let all = app.auth.tokens().await?.into_iter();
    Ok(Json(all.map(|(name, role, expires)| TokenView { name, role, expires }).collect()))
}

#[derive(Deserialize, ToSchema)]
struct NewToken {
    name: String,
    role: Role,
    /// Days that it is good, 1 to 3650.
    #[serde(default = "week")]
    days: i64,
}

/// Makes an API token.
#[utoipa::path(post, path = "/api/v1/tokens", request_body = NewToken, responses((status = 201, body = Token), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody)))]
async fn make_token(Needs(actor): AsAdmin, State(app): State<App>, Json(new): Json<NewToken>) -> Answer<Response> {
    if !(1..=3650).contains(&new.days) {
        return Err(Failed(StatusCode::UNPROCESSABLE_ENTITY, "a token is good for 1 to 3650 days".into()));
    }
    let row = audit(&actor, "token.make", &new.name, new.role.word());
    let token = app.auth.make_token(&new.name, new.role, now() + new.days * DAY, &actor.name, row).await?;
    Ok((StatusCode::CREATED, Json(Token { token })).into_response())
}

/// Ends an API token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", params(("name" = String, Path)), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn revoke_token(Needs(actor): AsAdmin, State(app): State<App>, Path(name): Path<String>) -> Answer<StatusCode> {
    app.auth.revoke_token(&name, audit(&actor, "token.revoke", &name, "")).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct PersonView {
    name: String,
    role: Role,
}

/// The people.
#[utoipa::path(get, path = "/api/v1/people", responses((status = 200, body = [PersonView]), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
async fn people(_: AsAdmin, State(app): State<App>) -> Answer<Json<Vec<PersonView>>> {
    Ok(Json(app.auth.people().await?.into_iter().map(|(name, role)| PersonView { name, role }).collect()))
}

#[derive(Deserialize, ToSchema)]
struct NewPerson {
    name: String,
    /// At least 12 characters.
    password: String,
    role: Role,
}

/// Adds a person.
#[utoipa::path(post, path = "/api/v1/people", request_body = NewPerson, responses((status = 201), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn add_person(Needs(actor): AsAdmin, State(app): State<App>, Json(new): Json<NewPerson>) -> Answer<StatusCode> {
    let row = audit(&actor, "person.add", &new.name, new.role.word());
    app.auth.add(&new.name, &new.password, new.role, row).await?;
    Ok(StatusCode::CREATED)
}

/// Removes a person; its sessions end at once. The last admin stays.
#[utoipa::path(delete, path = "/api/v1/people/{name}", params(("name" = String, Path)), responses((status = 204), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn remove_person(Needs(actor): AsAdmin, State(app): State<App>, Path(name): Path<String>) -> Answer<StatusCode> {
    app.auth.remove(&name, audit(&actor, "person.remove", &name, "")).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, ToSchema)]
struct AuditView {
    id: i64,
    /// Unix time in milliseconds.
    at: i64,
    who: String,
    /// The address.
    origin: String,
    action: String,
    object: String,
    detail: String,
}

#[derive(Deserialize, IntoParams)]
struct Before {
    /// Only entries before this id.
    before: Option<i64>,
}

/// The audit log, the newest 500 first.
#[utoipa::path(get, path = "/api/v1/audit", params(Before), responses((status = 200, body = [AuditView]), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
async fn audit_log(
    _: AsAdmin,
    State(app): State<App>,
    UrlQuery(page): UrlQuery<Before>,
) -> Answer<Json<Vec<AuditView>>> {
    let sql = "SELECT * FROM audit WHERE id < $1 ORDER BY id DESC LIMIT 500";
    let rows = app.hub.store.rows(sql, vec![page.before.unwrap_or_else(next_id).into()]).await?;
    let all = rows.iter().map(|row| AuditView {
        id: int(row, "id"),
        at: int(row, "at"),
        who: text(row, "who"),
        origin: text(row, "origin"),
        action: text(row, "action"),
        object: text(row, "object"),
        detail: text(row, "detail"),
    });
    Ok(Json(all.collect()))
}

fn build() -> OpenApiRouter<App> {
    #[derive(OpenApi)]
    #[openapi(info(
        title = "otelet-hub",
        description = "Agents, configs, people. Send a token as Authorization: Bearer TOKEN."
    ))]
    struct Api;
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(me))
        .routes(routes!(fleet))
        .routes(routes!(list_agents, make_agent))
        .routes(routes!(one_agent, change_agent, forget))
        .routes(routes!(agent_events))
        .routes(routes!(effective))
        .routes(routes!(restart))
        .routes(routes!(offer_again))
        .routes(routes!(all_events))
        .routes(routes!(list_configs))
        .routes(routes!(one_config, save_config))
        .routes(routes!(one_version))
        .routes(routes!(sign))
        .routes(routes!(validate))
        .routes(routes!(assignments, assign))
        .routes(routes!(list_stops))
        .routes(routes!(resume))
        .routes(routes!(enrolments, make_enrolment))
        .routes(routes!(revoke_enrolment))
        .routes(routes!(tokens, make_token))
        .routes(routes!(revoke_token))
        .routes(routes!(people, add_person))
        .routes(routes!(remove_person))
        .routes(routes!(audit_log))
}

/// The description of the API.
pub fn openapi() -> String {
    let (_, mut api) = build().split_for_parts();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    api.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    api.to_pretty_json().expect("a description has no maps with other keys than texts")
}

/// The calls, and their description.
pub fn router() -> Router<App> {
    let (router, _) = build().split_for_parts();
    let json = [(header::CONTENT_TYPE, "application/json")];
    router
        .route("/api/v1/openapi.json", axum::routing::get(move || async move { (json, openapi()) }))
        .layer(axum::extract::DefaultBodyLimit::max(crate::agents::MESSAGE_LIMIT))
}
