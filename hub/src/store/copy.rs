//! Copies of the database: backup while the hub runs, restore while it does not.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sqlx::{Connection, Row, SqliteConnection};

use super::open::{lock, options, version};
use super::{MIGRATIONS, Store, StoreError};

/// `hub.db` and `.lock` give `hub.db.lock`.
pub(super) fn file_name_with(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Writes a whole copy of the open database, under another name first, so that a file of the right name is complete.
pub(super) async fn copy_to(connection: &mut SqliteConnection, to: &Path, from: &Path) -> Result<(), StoreError> {
    let unwritable = |error: std::io::Error| StoreError::Unwritable(to.to_owned(), error.to_string());
    let partial = file_name_with(to, ".partial");
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(unwritable)?;
    }
    super::open::private(&mut std::fs::File::options())
        .write(true)
        .create_new(true)
        .open(&partial)
        .map_err(unwritable)?;
    let name = partial.to_str().ok_or_else(|| StoreError::Other(format!("{}: is not UTF-8", to.display())))?;
    let copied = sqlx::query("VACUUM INTO $1").bind(name.to_owned()).execute(connection).await;
    copied.map_err(|error| StoreError::of(from, &error))?;
    std::fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(unwritable)?;
    std::fs::rename(&partial, to).map_err(unwritable)
}

impl Store {
    /// Writes a copy of the database while it is in use.
    ///
    /// # Errors
    ///
    /// An existing file is not replaced; errors of the database.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        if to.exists() {
            return Err(StoreError::Other(format!("{}: is there already; a backup replaces no file", to.display())));
        }
        let mut connection = SqliteConnection::connect_with(&options(self.path()).read_only(true))
            .await
            .map_err(|error| StoreError::of(self.path(), &error))?;
        copy_to(&mut connection, to, self.path()).await
    }
}

/// Puts a backup in the place of the database. The present one is kept as `hub.db.before-restore`.
///
/// # Errors
///
/// A running hub, a damaged backup or one of a newer program; errors of the file system.
pub async fn restore(backup: &Path, path: &Path) -> Result<(), StoreError> {
    let _lock = lock(path)?;
    let wrong = |error: sqlx::Error| StoreError::of(backup, &error);
    if !backup.is_file() {
        return Err(StoreError::Other(format!("{}: there is no such file", backup.display())));
    }
    let unwritable = |error: std::io::Error| StoreError::Unwritable(path.to_owned(), error.to_string());
    let partial = file_name_with(path, ".restoring");
    std::fs::copy(backup, &partial).map_err(unwritable)?;

    let mut connection = SqliteConnection::connect_with(&options(&partial)).await.map_err(wrong)?;
    let checked = sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await;
    let intact = checked.is_ok_and(|row| row.try_get::<String, _>(0).is_ok_and(|word| word == "ok"));
    let found = if intact { version(&mut connection).await.map_err(wrong)? } else { 0 };
    connection.close().await.map_err(wrong)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let refuse = |error| {
        _ = std::fs::remove_file(&partial);
        Err(error)
    };
    if !intact || found == 0 {
        return refuse(StoreError::Other(format!("{}: is no intact backup of otelet-hub", backup.display())));
    }
    if found > known {
        return refuse(StoreError::Newer { path: backup.to_owned(), found, known });
    }
    for end in ["-wal", "-shm"] {
        let side = file_name_with(path, end);
        let old = file_name_with(path, &format!(".before-restore{end}"));
        if side.exists() {
            std::fs::rename(side, old).map_err(unwritable)?;
        } else if old.exists() {
            std::fs::remove_file(old).map_err(unwritable)?;
        }
    }
    if path.exists() {
        std::fs::rename(path, file_name_with(path, ".before-restore")).map_err(unwritable)?;
    }
    std::fs::rename(&partial, path).map_err(unwritable)
}
