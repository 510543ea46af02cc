//! The only writer. It takes whatever waits, commits it together, and only then answers each.

use std::fs::File;
use std::path::PathBuf;

use sqlx::{Connection, Executor, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// The most jobs in one commit.
const GROUP: usize = 512;

/// A value of a statement.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are those of SQL")]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement with its values.
#[derive(Debug, Clone)]
pub struct Write {
    sql: &'static str,
    args: Vec<Value>,
    must_change: bool,
}

/// Makes a statement.
pub fn write<const N: usize>(sql: &'static str, args: [Value; N]) -> Write {
    Write { sql, args: args.into(), must_change: false }
}

impl Write {
    /// The job fails with a conflict if this statement changes no row.
    pub fn must_change(mut self) -> Self {
        self.must_change = true;
        self
    }
}

struct Job {
    writes: Vec<Write>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// A job in the queue.
#[must_use = "it is kept only when this is done"]
pub struct Ticket(oneshot::Receiver<Result<(), StoreError>>);

impl Ticket {
    /// Waits until the job, and each one before it, is on disk.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub async fn done(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or_else(|_| Err(StoreError::Other("the database was closed".into())))
    }
}

/// The writer's queue.
#[derive(Debug, Clone)]
pub struct Writer(mpsc::UnboundedSender<Job>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} statements", self.writes.len())
    }
}

impl Writer {
    /// Starts the writer on its connection.
    pub(super) fn start(connection: SqliteConnection, path: PathBuf, lock: File) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(connection, path, lock, receiver));
        Self(sender)
    }

    /// Puts a job into the queue. An empty job is done when each one before it is.
    pub fn enqueue(&self, writes: Vec<Write>) -> Ticket {
        let (done, ticket) = oneshot::channel();
        // Where the writer has ended, the ticket says so.
        _ = self.0.send(Job { writes, done });
        Ticket(ticket)
    }
}

/// The lock on the file ends with the writer.
async fn run(mut connection: SqliteConnection, path: PathBuf, lock: File, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(first) = queue.recv().await {
        let mut jobs = vec![first];
        while jobs.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        let outcome = commit(&mut connection, &jobs).await;
        let results: Vec<Result<(), StoreError>> = match outcome {
            Ok(results) => results
                .into_iter()
                .map(|result| {
                    result.map_err(|error| error.map_or(StoreError::Conflict, |it| StoreError::of(&path, &it)))
                })
                .collect(),
            Err(error) => {
                // What the transaction still holds must not block the next one.
                _ = connection.execute("ROLLBACK").await;
                let error = StoreError::of(&path, &error);
                jobs.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (job, result) in jobs.into_iter().zip(results) {
            // Who no longer waits has lost nothing: it is kept.
            _ = job.done.send(result);
        }
    }
    _ = connection.close().await;
    drop(lock);
}

/// Each job succeeds or fails alone; `None` is a condition that did not hold.
type Outcome = Result<(), Option<sqlx::Error>>;

async fn commit(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Vec<Outcome>, sqlx::Error> {
    if jobs.iter().all(|job| job.writes.is_empty()) {
        return Ok(jobs.iter().map(|_| Ok(())).collect());
    }
    connection.execute("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.writes.is_empty() {
            outcomes.push(Ok(()));
            continue;
        }
        connection.execute("SAVEPOINT job").await?;
        let outcome = perform(connection, &job.writes).await;
        if outcome.is_err() {
            connection.execute("ROLLBACK TO job").await?;
        }
        connection.execute("RELEASE job").await?;
        outcomes.push(outcome);
    }
    connection.execute("COMMIT").await?;
    Ok(outcomes)
}

async fn perform(connection: &mut SqliteConnection, writes: &[Write]) -> Outcome {
    for write in writes {
        let mut query = sqlx::query(write.sql);
        for arg in &write.args {
            query = match arg {
                Value::Null => query.bind(None::<i64>),
                Value::Int(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.clone()),
            };
        }
        let changed = query.execute(&mut *connection).await.map_err(Some)?.rows_affected();
        if write.must_change && changed == 0 {
            return Err(None);
        }
    }
    Ok(())
}
