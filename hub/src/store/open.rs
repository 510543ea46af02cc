//! Opens the file: one hub at a time, migrations forward in one transaction after a copy, a newer file refused.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor, Row, SqliteConnection};

use super::copy::{copy_to, file_name_with};
use super::{Store, StoreError, Writer};

/// A step of the schema.
pub type Migration = &'static str;

/// The schema, step by step. A step is never changed once it was released.
pub const MIGRATIONS: &[Migration] = &[include_str!("../../migrations/0001_first.sql")];

/// Held while a hub has the file open.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let lock = file_name_with(path, ".lock");
    let other = |error: std::io::Error| StoreError::Unwritable(lock.clone(), error.to_string());
    let file = private(&mut File::options()).write(true).create(true).truncate(false).open(&lock).map_err(other)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(other(error)),
    }
}

/// Files of the hub are its own user's only.
#[cfg(unix)]
pub(super) fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

/// On Windows the directory's own rights count.
#[cfg(not(unix))]
pub(super) fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    options
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
}

impl Store {
    /// Opens the file, makes it if it is missing, and brings it up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`], [`StoreError::InUse`], and errors of the database.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, MIGRATIONS).await
    }

    pub(super) async fn open_with(path: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let wrong = |error: sqlx::Error| StoreError::of(path, &error);
        private(&mut File::options())
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| StoreError::Unwritable(path.to_owned(), error.to_string()))?;
        let mut connection = SqliteConnection::connect_with(&options(path)).await.map_err(wrong)?;
        migrate(&mut connection, path, migrations).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .min_connections(0)
            .connect_with(options(path).read_only(true))
            .await
            .map_err(wrong)?;
        let writer = Writer::start(connection, path.to_owned(), lock);
        Ok(Self { path: path.to_owned(), readers, writer })
    }
}

impl Store {
    /// Opens the file of a hub that may run: for single acts of the command line, which the hub then finds there.
    ///
    /// # Errors
    ///
    /// A file that is not of this program's version; errors of the database.
    pub async fn open_beside(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Other(format!("{}: there is no such file; name the hub's --data", path.display())));
        }
        let wrong = |error: sqlx::Error| StoreError::of(path, &error);
        let mut connection = SqliteConnection::connect_with(&options(path)).await.map_err(wrong)?;
        let (found, known) = (version(&mut connection).await.map_err(wrong)?, MIGRATIONS.len());
        let known = i64::try_from(known).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        if found < known {
            return Err(StoreError::Other(format!(
                "{}: is of version {found}; start the hub once first",
                path.display()
            )));
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options(path).read_only(true))
            .await
            .map_err(wrong)?;
        let nothing = File::open(path).map_err(|error| StoreError::Unwritable(path.to_owned(), error.to_string()))?;
        Ok(Self { path: path.to_owned(), readers, writer: Writer::start(connection, path.to_owned(), nothing) })
    }
}

/// Brings a file up to date and closes it, so that a test or a person can look at it.
///
/// # Errors
///
/// The same as [`Store::open`].
pub async fn migrate_only(path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let _lock = lock(path)?;
    let wrong = |error: sqlx::Error| StoreError::of(path, &error);
    let mut connection = SqliteConnection::connect_with(&options(path).create_if_missing(true)).await.map_err(wrong)?;
    migrate(&mut connection, path, migrations).await?;
    connection.close().await.map_err(wrong)
}

/// The version of the schema; 0 for a new file.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
    let row = connection.fetch_optional("SELECT version FROM schema_version").await?;
    row.map_or(Ok(0), |row| row.try_get(0))
}

async fn migrate(connection: &mut SqliteConnection, path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let wrong = |error: sqlx::Error| StoreError::of(path, &error);
    let found = version(connection).await.map_err(wrong)?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        let copy: PathBuf = file_name_with(path, &format!(".before-{known}"));
        copy_to(connection, &copy, path).await?;
        tracing::info!("{}: was copied to {} before the change to version {known}", path.display(), copy.display());
    }
    connection.execute("BEGIN IMMEDIATE").await.map_err(wrong)?;
    let from = usize::try_from(found).unwrap_or_default();
    for migration in &migrations[from..] {
        let done = connection.execute(sqlx::raw_sql(*migration)).await;
        if let Err(error) = done {
            _ = connection.execute("ROLLBACK").await;
            return Err(wrong(error));
        }
    }
    let steps = async |connection: &mut SqliteConnection| {
        connection.execute("DELETE FROM schema_version").await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)").bind(known).execute(&mut *connection).await?;
        connection.execute("COMMIT").await
    };
    steps(connection).await.map(|_| ()).map_err(wrong)
}
