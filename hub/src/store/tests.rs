//! What the store promises, on a real file.

use std::path::PathBuf;

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otelet-hub-store-{}-{name}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn db(&self) -> PathBuf {
        self.0.join("hub.db")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn audit(id: i64, object: &str) -> Write {
    write(
        "INSERT INTO audit (id, at, who, origin, action, object, detail) VALUES ($1, 1, 'anna', 'cli', 'test', $2, '')",
        [id.into(), object.into()],
    )
}

async fn objects(store: &Store) -> Vec<String> {
    let rows = store.rows("SELECT object FROM audit ORDER BY id", vec![]).await.unwrap();
    rows.iter().map(|row| text(row, "object")).collect()
}

#[tokio::test]
async fn jobs_of_one_commit_fail_alone_and_whole() {
    let dir = Dir::new("alone");
    let store = Store::open(&dir.db()).await.unwrap();
    let jobs: Vec<_> = [
        vec![audit(1, "one"), audit(2, "two")],
        vec![audit(3, "three"), audit(1, "again")],
        vec![write("UPDATE audit SET object = 'x' WHERE id = $1", [99.into()]).must_change(), audit(4, "four")],
        vec![audit(5, "five")],
    ]
    .into_iter()
    .map(|writes| store.writer().enqueue(writes))
    .collect();
    let mut results = Vec::new();
    for job in jobs {
        results.push(job.done().await.is_ok());
    }
    assert_eq!(results, [true, false, false, true]);
    assert_eq!(objects(&store).await, ["one", "two", "five"]);
}

#[tokio::test]
async fn an_empty_job_waits_for_those_before_it() {
    let dir = Dir::new("order");
    let store = Store::open(&dir.db()).await.unwrap();
    let first = store.writer().enqueue((0..200).map(|id| audit(id, "x")).collect());
    store.write(vec![]).await.unwrap();
    assert_eq!(objects(&store).await.len(), 200);
    first.done().await.unwrap();
}

#[tokio::test]
async fn a_second_hub_on_the_file_is_refused() {
    let dir = Dir::new("second");
    let _store = Store::open(&dir.db()).await.unwrap();
    let error = Store::open(&dir.db()).await.unwrap_err().to_string();
    assert_eq!(error, format!("{}: another otelet-hub uses it", dir.db().display()));
}

#[tokio::test]
async fn a_migration_copies_the_file_first_and_runs_once() {
    let dir = Dir::new("migrate");
    let path = dir.db();
    migrate_only(&path, &["CREATE TABLE a (x BIGINT); INSERT INTO a VALUES (7);"]).await.unwrap();
    assert!(!dir.0.join("hub.db.before-1").exists(), "a new file needs no copy");
    let two: &[Migration] = &["never again", "CREATE TABLE b (y BIGINT); INSERT INTO b SELECT x FROM a;"];
    migrate_only(&path, two).await.unwrap();
    migrate_only(&path, two).await.unwrap();
    let copy = dir.0.join("hub.db.before-2");
    assert!(copy.exists());
    // The copy is the file of before: the program before takes it.
    migrate_only(&copy, &["one step"]).await.unwrap();
    let error = migrate_only(&path, &["one step"]).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}: is of version 2, this program knows 1 at most; use the program that wrote it", path.display())
    );
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let dir = Dir::new("broken");
    let path = dir.db();
    migrate_only(&path, &["CREATE TABLE a (x BIGINT)"]).await.unwrap();
    migrate_only(&path, &["", "CREATE TABLE b (x BIGINT); CREATE TABLE a (x BIGINT);"]).await.unwrap_err();
    // Had it left `b` behind, this would fail.
    migrate_only(&path, &["", "CREATE TABLE b (x BIGINT)"]).await.unwrap();
}

#[tokio::test]
async fn a_backup_is_taken_while_the_hub_runs_and_restored_while_it_does_not() {
    let dir = Dir::new("backup");
    let store = Store::open(&dir.db()).await.unwrap();
    store.write(vec![audit(1, "kept")]).await.unwrap();
    let backup = dir.0.join("monday.db");
    store.backup(&backup).await.unwrap();
    let again = store.backup(&backup).await.unwrap_err().to_string();
    assert!(again.ends_with("is there already; a backup replaces no file"), "{again}");
    store.write(vec![audit(2, "later")]).await.unwrap();
    assert!(matches!(restore(&backup, &dir.db()).await, Err(StoreError::InUse(_))));

    let elsewhere = dir.0.join("other.db");
    restore(&backup, &elsewhere).await.unwrap();
    let restored = Store::open(&elsewhere).await.unwrap();
    assert_eq!(objects(&restored).await, ["kept"]);

    let torn = dir.0.join("torn.db");
    let bytes = std::fs::read(&backup).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    let error = restore(&torn, &dir.0.join("third.db")).await.unwrap_err().to_string();
    assert!(error.contains("torn.db"), "{error}");
    assert!(!dir.0.join("third.db").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_readable_by_their_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new("mode");
    let store = Store::open(&dir.db()).await.unwrap();
    store.write(vec![audit(1, "x")]).await.unwrap();
    store.backup(&dir.0.join("b.db")).await.unwrap();
    for file in std::fs::read_dir(&dir.0).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}
