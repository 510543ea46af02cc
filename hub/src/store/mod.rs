//! Keeps everything in one SQLite file: one writer with group commit, readers beside it.
//!
//! The SQL is the subset that PostgreSQL takes too; what is SQLite's own is in `open.rs` and `copy.rs`.

mod copy;
mod open;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, SqlitePool as Pool};

pub use copy::restore;
pub use open::{MIGRATIONS, Migration, migrate_only};
pub use writer::{Value, Write, Writer, write};

/// An error of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A condition of the write did not hold, or the row is there already.
    #[error("it has changed in the meantime, or is there already")]
    Conflict,
    /// The file or its file system takes no writes.
    #[error("{0}: cannot write: {1}; nothing is kept until there is space and permission again")]
    Unwritable(PathBuf, String),
    /// The file was written by a newer program.
    #[error("{path}: is of version {found}, this program knows {known} at most; use the program that wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known version.
        known: i64,
    },
    /// Another hub has the file.
    #[error("{0}: another otelet-hub uses it")]
    InUse(PathBuf),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl StoreError {
    fn of(path: &Path, error: &sqlx::Error) -> Self {
        if let sqlx::Error::Database(cause) = error {
            if cause.is_unique_violation() || cause.is_foreign_key_violation() {
                return Self::Conflict;
            }
            // The low byte is the kind: https://www.sqlite.org/rescode.html.
            let code = cause.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
            const READONLY: i32 = 8;
            const IOERR: i32 = 10;
            const FULL: i32 = 13;
            const CANTOPEN: i32 = 14;
            if [READONLY, IOERR, FULL, CANTOPEN].contains(&(code & 0xff)) {
                return Self::Unwritable(path.to_owned(), cause.message().to_owned());
            }
        }
        Self::Other(format!("{}: {error}", path.display()))
    }
}

/// The open database.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    readers: SqlitePool,
    writer: Writer,
}

impl Store {
    /// Keeps all of these, or none of them. They are on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if a condition does not hold; other errors of the database.
    pub async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.writer.enqueue(writes).done().await
    }

    /// The writer, for those who must put their writes in order before they wait.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Reads rows.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn rows(&self, sql: &'static str, args: Vec<Value>) -> Result<Vec<SqliteRow>, StoreError> {
        rows(&self.readers, sql, args).await.map_err(|error| StoreError::of(&self.path, &error))
    }

    /// Reads at most one row.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn row(&self, sql: &'static str, args: Vec<Value>) -> Result<Option<SqliteRow>, StoreError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

async fn rows(pool: &Pool, sql: &'static str, args: Vec<Value>) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut query = sqlx::query(sql);
    for arg in args {
        query = match arg {
            Value::Null => query.bind(None::<i64>),
            Value::Int(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        };
    }
    query.fetch_all(pool).await
}

/// A text column of a row that our own SQL names.
pub fn text(row: &SqliteRow, column: &str) -> String {
    row.try_get(column).unwrap_or_default()
}

/// A text column that may be NULL.
pub fn maybe_text(row: &SqliteRow, column: &str) -> Option<String> {
    row.try_get(column).ok().flatten()
}

/// A number column of a row that our own SQL names.
pub fn int(row: &SqliteRow, column: &str) -> i64 {
    row.try_get(column).unwrap_or_default()
}

/// A number column that may be NULL.
pub fn maybe_int(row: &SqliteRow, column: &str) -> Option<i64> {
    row.try_get(column).ok().flatten()
}
