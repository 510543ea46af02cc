//! People: who they are, what they may, and how they come in.

mod sessions;

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use otelet_hub_decide::Millis;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tower_sessions::Session;
use utoipa::ToSchema;

pub use sessions::Sessions;

use crate::clock::{now, secret, sha256};
use crate::store::{Store, StoreError, Write, int, text, write};
use crate::web::App;

/// The key of the name in a session.
const WHO: &str = "who";

/// The least characters of a password.
pub const PASSWORD: usize = 12;

/// The life of the setup link.
const SETUP: Millis = 3_600_000;

/// The role of a person or a token. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees all but secrets.
    Viewer,
    /// Restarts, offers again, lets stopped configs go on.
    Operator,
    /// Changes configs, labels and assignments, and adds agents.
    Editor,
    /// Does everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Editor, Self::Admin];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == word);
        found.ok_or_else(|| format!("{word:?} is none of the roles viewer, operator, editor, admin"))
    }
}

/// The author of an action, and the address.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Actor {
    /// The name of the person or the token.
    pub name: String,
    /// The rights.
    pub role: Role,
    /// The address that it came from.
    pub origin: String,
}

/// Why a person is not let in or may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Wrong name or password; which of them is not said.
    #[error("this name and password do not fit together")]
    Wrong,
    /// Too many tries.
    #[error("too many tries; wait a minute")]
    TooMany,
    /// The setup link is used, expired or wrong.
    #[error("this setup link was used or has expired; start the hub again for a new one")]
    Setup,
    /// Nobody is signed in.
    #[error("sign in, or send a token as Authorization: Bearer TOKEN")]
    Nobody,
    /// Somebody is, but may not.
    #[error("this takes the role {0}, and you are {1}")]
    Role(Role, Role),
    /// The password is too short.
    #[error("a password has at least {PASSWORD} characters")]
    Short,
    /// The name cannot be used.
    #[error("a name has 1 to 64 characters, without spaces")]
    Name,
    /// It is there already, or was changed.
    #[error("{0}")]
    Conflict(String),
    /// The store.
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Conflict("there is one of that name already, or none any more".into()),
            error => Self::Store(error.to_string()),
        }
    }
}

impl AuthError {
    /// The status of an answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Wrong | Self::Nobody => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Setup | Self::Role(..) => StatusCode::FORBIDDEN,
            Self::Short | Self::Name => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Store(_) => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// People and their tokens.
pub struct Auth {
    store: Store,
    /// Argon2 takes 19 MiB each time.
    hashing: Semaphore,
    tries: DefaultKeyedRateLimiter<String>,
    setup: Mutex<Option<(String, Millis)>>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth")
    }
}

impl Auth {
    /// Reads nothing: each request looks into the database, so that a change counts at once.
    pub fn new(store: Store) -> Arc<Self> {
        let tries = Quota::per_minute(NonZeroU32::new(10).expect("ten is not zero"));
        Arc::new(Self { store, hashing: Semaphore::new(2), tries: RateLimiter::keyed(tries), setup: Mutex::new(None) })
    }

    /// A setup link's token, if there is nobody yet.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn open_setup(&self) -> Result<Option<String>, StoreError> {
        let people = self.store.row("SELECT COUNT(*) AS n FROM person", vec![]).await?;
        if people.is_some_and(|row| int(&row, "n") > 0) {
            return Ok(None);
        }
        let token = secret("setup");
        *self.setup.lock().expect("nobody panics while holding this lock") = Some((token.clone(), now() + SETUP));
        Ok(Some(token))
    }

    /// Makes the first admin. The link works once.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn set_up(&self, token: &str, name: &str, password: &str, audit: Write) -> Result<(), AuthError> {
        let fits = |setup: &Option<(String, Millis)>| {
            setup
                .as_ref()
                .is_some_and(|(known, until)| sha256(known.as_bytes()) == sha256(token.as_bytes()) && now() < *until)
        };
        if !fits(&self.setup.lock().expect("nobody panics while holding this lock")) {
            return Err(AuthError::Setup);
        }
        let hash = self.hash(name, password).await?;
        // Checked again: of two who use it at the same time, one is the first.
        let taken = {
            let mut setup = self.setup.lock().expect("nobody panics while holding this lock");
            if fits(&setup) { setup.take() } else { None }
        };
        let Some(taken) = taken else { return Err(AuthError::Setup) };
        let made = self.store.write(vec![person_row(name, &hash, Role::Admin), audit]).await;
        if made.is_err() {
            *self.setup.lock().expect("nobody panics while holding this lock") = Some(taken);
        }
        Ok(made?)
    }

    async fn hash(&self, name: &str, password: &str) -> Result<String, AuthError> {
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AuthError::Name);
        }
        if password.chars().count() < PASSWORD {
            return Err(AuthError::Short);
        }
        let _place = self.hashing.acquire().await.expect("the semaphore is never closed");
        let password = password.to_owned();
        let hashed = tokio::task::spawn_blocking(move || {
            Argon2::default()
                .hash_password(password.as_bytes())
                .map(|hash: argon2::password_hash::phc::PasswordHash| hash.to_string())
        });
        let hashed = hashed.await.map_err(|error| AuthError::Store(error.to_string()))?;
        hashed.map_err(|error| AuthError::Store(error.to_string()))
    }

    /// Adds a person.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn add(&self, name: &str, password: &str, role: Role, audit: Write) -> Result<(), AuthError> {
        let hash = self.hash(name, password).await?;
        Ok(self.store.write(vec![person_row(name, &hash, role), audit]).await?)
    }

    /// Removes a person, unless it is the last admin.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn remove(&self, name: &str, audit: Write) -> Result<(), AuthError> {
        let sql = "DELETE FROM person WHERE name = $1 AND (role <> 'admin' OR \
                   (SELECT COUNT(*) FROM person WHERE role = 'admin') > 1)";
        let removed = self.store.write(vec![write(sql, [name.into()]).must_change(), audit]).await;
        removed.map_err(|error| match error {
            StoreError::Conflict => AuthError::Conflict(format!("{name} is not there, or is the last admin")),
            error => error.into(),
        })
    }

    /// Names and roles.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn people(&self) -> Result<Vec<(String, Role)>, StoreError> {
        let rows = self.store.rows("SELECT name, role FROM person ORDER BY name", vec![]).await?;
        Ok(rows.iter().filter_map(|row| Some((text(row, "name"), text(row, "role").parse().ok()?))).collect())
    }

    /// Checks name and password.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn sign_in(&self, name: &str, password: &str, origin: &str) -> Result<(), AuthError> {
        // The name's limit holds against many addresses, the address's against many names.
        for key in [format!("name {name}"), format!("address {origin}")] {
            self.tries.check_key(&key).map_err(|_| AuthError::TooMany)?;
        }
        if self.tries.len() > 10_000 {
            self.tries.retain_recent();
        }
        let row = self.store.row("SELECT password FROM person WHERE name = $1", vec![name.into()]).await?;
        // A name that is not there costs the same time.
        const NOBODY: &str =
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let hash = row.map_or_else(|| NOBODY.to_owned(), |row| text(&row, "password"));
        let _place = self.hashing.acquire().await.expect("the semaphore is never closed");
        let password = password.to_owned();
        let fits = tokio::task::spawn_blocking(move || {
            let hash = argon2::password_hash::phc::PasswordHash::new(&hash).ok();
            hash.is_some_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        if fits.await.unwrap_or(false) { Ok(()) } else { Err(AuthError::Wrong) }
    }

    async fn role_of(&self, name: &str) -> Result<Option<Role>, StoreError> {
        let row = self.store.row("SELECT role FROM person WHERE name = $1", vec![name.into()]).await?;
        Ok(row.and_then(|row| text(&row, "role").parse().ok()))
    }

    /// Makes an API token and returns it; only its hash is kept.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn make_token(
        &self,
        name: &str,
        role: Role,
        expires: Millis,
        who: &str,
        audit: Write,
    ) -> Result<String, AuthError> {
        if name.is_empty() {
            return Err(AuthError::Name);
        }
        let token = secret("api");
        let row = write(
            "INSERT INTO token (hash, name, role, who, made, expires) VALUES ($1, $2, $3, $4, $5, $6)",
            [
                sha256(token.as_bytes()).to_string().into(),
                name.into(),
                role.word().into(),
                who.into(),
                now().into(),
                expires.into(),
            ],
        );
        self.store.write(vec![row, audit]).await?;
        Ok(token)
    }

    /// Ends an API token.
    ///
    /// # Errors
    ///
    /// [`AuthError`].
    pub async fn revoke_token(&self, name: &str, audit: Write) -> Result<(), AuthError> {
        let delete = write("DELETE FROM token WHERE name = $1", [name.into()]).must_change();
        Ok(self.store.write(vec![delete, audit]).await?)
    }

    /// Names, roles and ends of API tokens.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn tokens(&self) -> Result<Vec<(String, Role, Millis)>, StoreError> {
        let rows = self.store.rows("SELECT name, role, expires FROM token ORDER BY name", vec![]).await?;
        let token = |row| Some((text(row, "name"), text(row, "role").parse().ok()?, int(row, "expires")));
        Ok(rows.iter().filter_map(token).collect())
    }

    async fn by_token(&self, token: &str) -> Result<Option<(String, Role)>, StoreError> {
        let hash = sha256(token.as_bytes()).to_string();
        let sql = "SELECT name, role FROM token WHERE hash = $1 AND expires > $2";
        let row = self.store.row(sql, vec![hash.into(), now().into()]).await?;
        Ok(row.and_then(|row| Some((format!("token {}", text(&row, "name")), text(&row, "role").parse().ok()?))))
    }
}

fn person_row(name: &str, hash: &str, role: Role) -> Write {
    write(
        "INSERT INTO person (name, password, role, made) VALUES ($1, $2, $3, $4)",
        [name.into(), hash.into(), role.word().into(), now().into()],
    )
}

/// Begins a session. Its id is a new one, so that nobody can have planted it.
///
/// # Errors
///
/// Errors of the database.
pub async fn begin(session: &Session, name: &str) -> Result<(), AuthError> {
    let failed = |error: tower_sessions::session::Error| AuthError::Store(error.to_string());
    session.cycle_id().await.map_err(failed)?;
    session.insert(WHO, name).await.map_err(failed)
}

/// The address of a request, without the port.
pub fn origin(parts: &Parts) -> String {
    let peer = parts.extensions.get::<ConnectInfo<std::net::SocketAddr>>();
    peer.map_or_else(|| "unknown".to_owned(), |ConnectInfo(peer)| peer.ip().to_string())
}

/// The author of a request.
///
/// # Errors
///
/// [`AuthError::Nobody`], and errors of the database.
pub async fn actor(parts: &mut Parts, app: &App) -> Result<Actor, AuthError> {
    let origin = origin(parts);
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let (name, role) = app.auth.by_token(token.trim()).await?.ok_or(AuthError::Nobody)?;
        return Ok(Actor { name, role, origin });
    }
    let session = parts.extensions.get::<Session>().cloned().ok_or(AuthError::Nobody)?;
    let name: Option<String> = session.get(WHO).await.map_err(|error| AuthError::Store(error.to_string()))?;
    let name = name.ok_or(AuthError::Nobody)?;
    let role = app.auth.role_of(&name).await?.ok_or(AuthError::Nobody)?;
    Ok(Actor { name, role, origin })
}

/// A request of somebody who has at least this role (the number of its place).
#[derive(Debug)]
pub struct Needs<const ROLE: usize>(pub Actor);

/// At least a viewer.
pub type AsViewer = Needs<0>;
/// At least an operator.
pub type AsOperator = Needs<1>;
/// At least an editor.
pub type AsEditor = Needs<2>;
/// An admin.
pub type AsAdmin = Needs<3>;

/// The refusal of a request: JSON for programs, a page for people.
#[derive(Debug)]
pub struct Refused(AuthError, bool);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error, is_page) = self;
        match (is_page, &error) {
            (true, AuthError::Nobody) => Redirect::to("/login").into_response(),
            (true, error) => crate::web::message(error.status(), &error.to_string()),
            (false, error) => crate::web::api_error(error.status(), &error.to_string()),
        }
    }
}

impl<const ROLE: usize> FromRequestParts<App> for Needs<ROLE> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let is_page = !parts.uri.path().starts_with("/api/");
        let actor = actor(parts, app).await.map_err(|error| Refused(error, is_page))?;
        let needed = Role::ALL[ROLE];
        if actor.role < needed {
            return Err(Refused(AuthError::Role(needed, actor.role), is_page));
        }
        Ok(Self(actor))
    }
}
