//! The pages. Each form has a call of the API that does the same, and calls the same function.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{Form, FromRequest as _, Path, Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use otelet_hub_decide::Labels;
use serde::Deserialize;
use tower_sessions::Session;

use super::api::{self, Answer, Failed};
use super::query::Query;
use super::{AgentView, App, CSS, Count, EventView, StopView};
use crate::auth::{self, Actor, AsEditor, AsOperator, AsViewer, Needs};
use crate::clock::rfc3339;
use crate::configs::{self, Problem, Row, Version};
use crate::hub::audit_row;
use crate::store::text;

/// The pages and their forms.
pub fn router() -> Router<App> {
    Router::new()
        .route("/", get(fleet))
        .route("/agents", get(agents))
        .route("/agents/{uid}", get(agent))
        .route("/agents/{uid}/restart", post(restart))
        .route("/agents/{uid}/offer", post(offer))
        .route("/agents/{uid}/labels", post(labels))
        .route("/configs", get(all_configs))
        .route("/configs/{name}", get(config).post(save))
        .route("/assignments", post(assign))
        .route("/stops/{hash}/resume", post(resume))
        .route("/login", get(login).post(sign_in))
        .route("/logout", post(sign_out))
        .route("/setup", get(setup).post(set_up))
        .route("/hub.css", get(|| async { (CSS, include_str!("../../assets/hub.css")) }))
}

fn page(template: impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => super::message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    who: Option<&'a Actor>,
    words: &'a str,
}

/// A page with a message.
pub fn message(words: &str) -> String {
    Message { who: None, words }.render().unwrap_or_else(|_| "the page cannot be shown".to_owned())
}

/// An error of a form, as a page.
struct PageError(Failed);

impl<E: Into<Failed>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, words) = self.0.parts();
        super::message(status, &words)
    }
}

type Page = Result<Response, PageError>;

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    who: Option<Actor>,
    counts: Vec<Count>,
    total: usize,
    troubles: Vec<(usize, String, String)>,
    stops: Vec<StopView>,
    events: Vec<EventView>,
}

async fn fleet(Needs(who): AsViewer, State(app): State<App>) -> Page {
    let counts = super::counts(&app.hub);
    let total = counts.iter().map(|count| count.agents).sum();
    // What is wrong, grouped by equal words.
    let mut groups: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for agent in super::agents(&app.hub, &Query::default()) {
        if let Some(trouble) = agent.trouble {
            let group = groups.entry(trouble).or_insert((0, agent.state));
            group.0 += 1;
        }
    }
    let mut troubles: Vec<_> = groups.into_iter().map(|(words, (number, state))| (number, words, state)).collect();
    troubles.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    troubles.truncate(20);
    let events = super::events(&app.hub, None, 12).await?;
    Ok(page(FleetPage { who: Some(who), counts, total, troubles, stops: super::stops(&app.hub), events }))
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    who: Option<Actor>,
    query: String,
    agents: Vec<AgentView>,
    total: usize,
    first: usize,
    next: Option<usize>,
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    from: usize,
}

/// The agents on a page.
const ON_A_PAGE: usize = 50;

async fn agents(Needs(who): AsViewer, State(app): State<App>, UrlQuery(list): UrlQuery<ListQuery>) -> Response {
    let all = super::agents(&app.hub, &Query::new(&list.q));
    let total = all.len();
    let agents: Vec<AgentView> = all.into_iter().skip(list.from).take(ON_A_PAGE).collect();
    let next = (list.from + agents.len() < total).then_some(list.from + agents.len());
    page(AgentsPage { who: Some(who), query: list.q, agents, total, first: list.from + 1, next })
}

#[derive(Template)]
#[template(path = "agent.html")]
struct AgentPage {
    who: Option<Actor>,
    agent: AgentView,
    seen: String,
    desired: Option<Version>,
    effective: Option<String>,
    events: Vec<EventView>,
    labels: String,
    can_restart: bool,
}

async fn agent(Needs(who): AsViewer, State(app): State<App>, Path(uid): Path<String>) -> Page {
    let uid = api::known(&app, &uid)?;
    let Some(agent) = super::agent(&app.hub, uid) else {
        return Ok(super::message(StatusCode::NOT_FOUND, "there is no such agent"));
    };
    let (target, set) = app.hub.fleet(|fleet| {
        fleet.member(uid).map(|member| (member.desired.clone(), member.agent.set.clone())).unwrap_or_default()
    });
    let desired = match target {
        Some(target) => Some(configs::version(&app.hub, &target.config, target.version).await?),
        None => None,
    };
    let row = app.hub.store.row("SELECT body FROM effective WHERE uid = $1", vec![uid.to_string().into()]).await?;
    let labels: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(page(AgentPage {
        who: Some(who),
        seen: super::ago(agent.last_seen),
        can_restart: agent.protocol != "get",
        agent,
        desired,
        effective: row.map(|row| text(&row, "body")),
        events: super::events(&app.hub, Some(uid), 100).await?,
        labels: labels.join(" "),
    }))
}

fn back(path: &str) -> Response {
    Redirect::to(path).into_response()
}

async fn restart(who: AsOperator, app: State<App>, Path(uid): Path<String>) -> Page {
    let path = format!("/agents/{uid}");
    api::restart(who, app, Path(uid)).await?;
    Ok(back(&path))
}

async fn offer(who: AsOperator, app: State<App>, Path(uid): Path<String>, Form(form): Form<api::OfferAgain>) -> Page {
    let path = format!("/agents/{uid}");
    api::offer_again(who, app, Path(uid), axum::Json(form)).await?;
    Ok(back(&path))
}

#[derive(Deserialize)]
struct LabelForm {
    name: String,
    labels: String,
}

async fn labels(who: AsEditor, app: State<App>, Path(uid): Path<String>, Form(form): Form<LabelForm>) -> Page {
    let pairs = form.labels.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let Some(labels) = pairs.collect::<Option<Labels>>() else {
        let words = "labels are written as name=value, with spaces between them";
        return Ok(super::message(StatusCode::UNPROCESSABLE_ENTITY, words));
    };
    let name = Some(form.name.trim().to_owned()).filter(|name| !name.is_empty());
    let path = format!("/agents/{uid}");
    api::change_agent(who, app, Path(uid), axum::Json(api::AgentChange { name, labels })).await?;
    Ok(back(&path))
}

#[derive(Template)]
#[template(path = "configs.html")]
struct ConfigsPage {
    who: Option<Actor>,
    /// Name, newest version, its note, the agents that have a version of it.
    configs: Vec<(String, i64, String, usize)>,
    rows: Vec<Row>,
    rows_text: String,
    stops: Vec<StopView>,
}

async fn all_configs(Needs(who): AsViewer, State(app): State<App>) -> Page {
    let mut configs: Vec<(String, i64, String, usize)> = Vec::new();
    for version in configs::versions(&app.hub, None).await? {
        if configs.last().is_none_or(|(name, ..)| *name != version.config) {
            let agents = app.hub.fleet(|fleet| {
                let has = |member: &&otelet_hub_decide::Member| {
                    member.desired.as_ref().is_some_and(|target| target.config == version.config)
                };
                fleet.members().values().filter(has).count()
            });
            configs.push((version.config, version.number, version.note, agents));
        }
    }
    let rows = configs::rows(&app.hub);
    let rows_text = rows.iter().map(|row| {
        let config =
            row.config.as_ref().zip(row.version).map_or_else(|| "none".to_owned(), |(name, n)| format!("{name}@{n}"));
        format!("{} -> {config}\n", row.selector)
    });
    let rows_text = rows_text.collect();
    Ok(page(ConfigsPage { who: Some(who), configs, rows, rows_text, stops: super::stops(&app.hub) }))
}

#[derive(Deserialize)]
struct AssignForm {
    rows: String,
}

/// Reads `site=line-3 -> edge@12`, a row a line.
///
/// # Errors
///
/// The line that cannot be read.
pub fn rows_of(written: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (number, line) in written.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || format!("line {}: write SELECTOR -> NAME@VERSION, or SELECTOR -> none", number + 1);
        let (selector, target) = line.split_once("->").ok_or_else(wrong)?;
        let selector = selector.trim().to_owned();
        if target.trim() == "none" {
            rows.push(Row { selector, config: None, version: None });
            continue;
        }
        let (name, version) = target.trim().split_once('@').ok_or_else(wrong)?;
        let version = version.parse().map_err(|_| wrong())?;
        rows.push(Row { selector, config: Some(name.to_owned()), version: Some(version) });
    }
    Ok(rows)
}

async fn assign(Needs(who): AsEditor, State(app): State<App>, Form(form): Form<AssignForm>) -> Page {
    let rows = match rows_of(&form.rows) {
        Ok(rows) => rows,
        Err(words) => return Ok(super::message(StatusCode::UNPROCESSABLE_ENTITY, &words)),
    };
    let detail = serde_json::to_string(&rows).unwrap_or_default();
    configs::assign(&app.hub, &rows, api::audit(&who, "assignment", "", &detail)).await?;
    Ok(back("/configs"))
}

async fn resume(who: AsOperator, app: State<App>, hash: Path<String>) -> Page {
    api::resume(who, app, hash).await?;
    Ok(back("/configs"))
}

#[derive(Template)]
#[template(path = "config.html")]
struct ConfigPage {
    who: Option<Actor>,
    name: String,
    base: i64,
    draft: String,
    note: String,
    problems: Vec<Problem>,
    lacking: Vec<api::Lacking>,
    versions: Vec<Version>,
    error: Option<String>,
}

impl ConfigPage {
    fn when(version: &Version) -> String {
        rfc3339(version.at)
    }
}

async fn config_page(app: &App, who: Actor, name: String) -> Answer<ConfigPage> {
    let versions = configs::versions(&app.hub, Some(&name)).await?;
    let (base, draft) = versions.first().map(|it| (it.number, it.text.clone())).unwrap_or_default();
    let lacking = api::lacking(app, &draft);
    let problems = if draft.is_empty() { Vec::new() } else { configs::check(&draft) };
    Ok(ConfigPage { who: Some(who), name, base, draft, note: String::new(), problems, lacking, versions, error: None })
}

async fn config(Needs(who): AsViewer, State(app): State<App>, Path(name): Path<String>) -> Page {
    Ok(page(config_page(&app, who, name).await?))
}

#[derive(Deserialize)]
struct SaveForm {
    base: i64,
    text: String,
    #[serde(default)]
    note: String,
    /// The button: save, or check only.
    #[serde(default)]
    act: String,
}

async fn save(
    Needs(who): AsEditor,
    State(app): State<App>,
    Path(name): Path<String>,
    Form(form): Form<SaveForm>,
) -> Page {
    // A form sends CRLF; a config is kept as it was written.
    let body = form.text.replace("\r\n", "\n");
    let mut shown = config_page(&app, who.clone(), name.clone()).await?;
    (shown.problems, shown.lacking) = (configs::check(&body), api::lacking(&app, &body));
    (shown.base, shown.note) = (form.base, form.note.clone());
    if form.act == "check" {
        shown.draft = body;
        return Ok(page(shown));
    }
    let row = api::audit(&who, "config.save", &format!("{name}@{}", form.base + 1), &form.note);
    match configs::save(&app.hub, &name, form.base, &body, &form.note, &who.name, row).await {
        Ok(_) => Ok(back(&format!("/configs/{name}"))),
        Err(error) => {
            shown.error = Some(error.to_string());
            shown.draft = body;
            let (status, _) = Failed::from(error).parts();
            Ok((status, page(shown)).into_response())
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    who: Option<Actor>,
    error: Option<String>,
    /// The setup link's token, on the first run.
    setup: Option<String>,
}

async fn login() -> Response {
    page(LoginPage { who: None, error: None, setup: None })
}

#[derive(Deserialize)]
struct LoginForm {
    name: String,
    password: String,
    #[serde(default)]
    token: String,
}

async fn sign_in(State(app): State<App>, session: Session, request: axum::extract::Request) -> Page {
    let (parts, body) = request.into_parts();
    let origin = auth::origin(&parts);
    let form = Form::<LoginForm>::from_request(axum::extract::Request::from_parts(parts, body), &()).await;
    let Ok(Form(form)) = form else { return Ok(super::message(StatusCode::BAD_REQUEST, "this is no sign-in form")) };
    match app.auth.sign_in(&form.name, &form.password, &origin).await {
        Ok(()) => {
            auth::begin(&session, &form.name).await?;
            app.hub.store.write(vec![audit_row(&form.name, &origin, "sign-in", "", "")]).await?;
            Ok(back("/"))
        }
        Err(error) => {
            let shown = LoginPage { who: None, error: Some(error.to_string()), setup: None };
            Ok((error.status(), page(shown)).into_response())
        }
    }
}

async fn sign_out(session: Session) -> Page {
    session.flush().await.map_err(|error| auth::AuthError::Store(error.to_string()))?;
    Ok(back("/login"))
}

#[derive(Deserialize)]
struct SetupQuery {
    #[serde(default)]
    token: String,
}

async fn setup(UrlQuery(query): UrlQuery<SetupQuery>) -> Response {
    page(LoginPage { who: None, error: None, setup: Some(query.token) })
}

async fn set_up(State(app): State<App>, session: Session, Form(form): Form<LoginForm>) -> Page {
    let row = audit_row(&form.name, "setup link", "person.add", &form.name, "admin");
    match app.auth.set_up(&form.token, &form.name, &form.password, row).await {
        Ok(()) => {
            auth::begin(&session, &form.name).await?;
            Ok(back("/"))
        }
        Err(error) => {
            let shown = LoginPage { who: None, error: Some(error.to_string()), setup: Some(form.token) };
            Ok((error.status(), page(shown)).into_response())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assignment_is_read_as_it_is_shown() {
        let rows = rows_of("site=line-3,!retired -> edge@12\r\n\n -> none\n").unwrap();
        let row = |selector: &str, config: Option<&str>, version| Row {
            selector: selector.into(),
            config: config.map(str::to_owned),
            version,
        };
        assert_eq!(rows, [row("site=line-3,!retired", Some("edge"), Some(12)), row("", None, None)]);
        assert_eq!(rows_of("a=b edge").unwrap_err(), "line 1: write SELECTOR -> NAME@VERSION, or SELECTOR -> none");
    }
}
