//! Sessions in the database, found by the hash of their id.

use std::collections::HashMap;

use serde_json::Value as Json;
use tower_sessions::cookie::time::OffsetDateTime;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result, SessionStore};

use crate::clock::{now, sha256};
use crate::store::{Store, int, text, write};

/// The store of sessions.
#[derive(Debug, Clone)]
pub struct Sessions(pub Store);

fn key(id: &Id) -> String {
    sha256(id.to_string().as_bytes()).to_string()
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait::async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        // An id has 128 random bits: it is not there already.
        self.save(record).await
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let data = serde_json::to_string(&record.data).map_err(|error| Error::Encode(error.to_string()))?;
        let expires = record.expiry_date.unix_timestamp().saturating_mul(1000);
        let row = write(
            "INSERT INTO session (hash, data, expires) VALUES ($1, $2, $3) \
             ON CONFLICT (hash) DO UPDATE SET data = excluded.data, expires = excluded.expires",
            [key(&record.id).into(), data.into(), expires.into()],
        );
        self.0.write(vec![row]).await.map_err(failed)
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let sql = "SELECT data, expires FROM session WHERE hash = $1 AND expires > $2";
        let Some(row) = self.0.row(sql, vec![key(id).into(), now().into()]).await.map_err(failed)? else {
            return Ok(None);
        };
        let data: HashMap<String, Json> =
            serde_json::from_str(&text(&row, "data")).map_err(|error| Error::Decode(error.to_string()))?;
        let expiry_date = OffsetDateTime::from_unix_timestamp(int(&row, "expires") / 1000).map_err(failed)?;
        Ok(Some(Record { id: *id, data: data.into_iter().collect(), expiry_date }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.0.write(vec![write("DELETE FROM session WHERE hash = $1", [key(id).into()])]).await.map_err(failed)
    }
}
