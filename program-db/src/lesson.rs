//! Lessons: what a model made of a run's outcomes for later prompts, one version after another.

use std::time::Duration;

use sqlx::{FromRow, SqliteConnection};

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// An attempt at lessons that has just been answered.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLesson {
    /// Its version in the run, from 1.
    pub version: u32,
    /// It was made from the outcomes of the numbers below this.
    pub told: u64,
    /// The model that answered.
    pub model: Option<String>,
    /// Tokens sent.
    pub tokens_in: Option<u64>,
    /// Tokens received.
    pub tokens_out: Option<u64>,
    /// Price, in the currency of the configured prices.
    pub cost: Option<f64>,
    /// From asking to the end of the reply.
    pub latency: Duration,
    /// Requests made for it, failed ones included.
    pub requests: u32,
    /// The text that was sent.
    pub prompt: String,
    /// The text that came back.
    pub reply: Option<String>,
    /// The lessons, a sentence or two each; or why there are none.
    pub lessons: Result<Vec<String>, String>,
}

/// A stored attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonAttempt {
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// All of it.
    pub attempt: NewLesson,
}

/// Lessons that prompts can show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// Which version.
    pub version: u32,
    /// The sentences.
    pub lessons: Vec<String>,
}

#[derive(FromRow)]
struct Row {
    created_at: i64,
    version: u32,
    told: i64,
    model: Option<String>,
    tokens_in: Option<i64>,
    tokens_out: Option<i64>,
    cost: Option<f64>,
    latency_ms: i64,
    requests: u32,
    lessons: Option<String>,
    failure: Option<String>,
    prompt: String,
    reply: Option<String>,
}

impl ProgramDb {
    /// Stores an attempt at lessons.
    ///
    /// # Errors
    /// [`DbError::AlreadyStored`] if the run has this version.
    pub async fn store_lesson(&self, run: RunId, lesson: &NewLesson) -> Result<(), DbError> {
        let mut write = self.begin().await?;
        insert_lesson(self, write.connection(), run, lesson).await?;
        write.commit().await
    }

    /// All attempts of a run, oldest first.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`].
    pub async fn lessons(&self, run: RunId) -> Result<Vec<LessonAttempt>, DbError> {
        self.run(run).await?;
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM lesson WHERE run_id = ? ORDER BY version")
            .bind(run)
            .fetch_all(self.readers())
            .await
            .map_err(self.error())?;
        rows.into_iter().map(|row| self.read_lesson(run, row)).collect()
    }

    fn read_lesson(&self, run: RunId, row: Row) -> Result<LessonAttempt, DbError> {
        let version = row.version;
        let lessons = match row.lessons {
            Some(lessons) => Ok(serde_json::from_str(&lessons).map_err(|error| {
                self.unreadable(format!("version {version} of the lessons of run {run}"), &error)
            })?),
            None => Err(row.failure.unwrap_or_default()),
        };
        Ok(LessonAttempt {
            created_at: row.created_at,
            attempt: NewLesson {
                version,
                told: row.told.cast_unsigned(),
                model: row.model,
                tokens_in: row.tokens_in.map(i64::cast_unsigned),
                tokens_out: row.tokens_out.map(i64::cast_unsigned),
                cost: row.cost,
                latency: Duration::from_millis(row.latency_ms.cast_unsigned()),
                requests: row.requests,
                prompt: row.prompt,
                reply: row.reply,
                lessons,
            },
        })
    }
}

/// Inserts an attempt at lessons.
pub(crate) async fn insert_lesson(
    db: &ProgramDb,
    connection: &mut SqliteConnection,
    run: RunId,
    lesson: &NewLesson,
) -> Result<(), DbError> {
    let lessons = lesson.lessons.as_ref().ok().map(|lessons| serde_json::json!(lessons).to_string());
    sqlx::query(
        "INSERT INTO lesson (run_id, version, told, model, tokens_in, tokens_out, cost, latency_ms, requests,
                             lessons, failure, prompt, reply)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run)
    .bind(lesson.version)
    .bind(lesson.told.cast_signed())
    .bind(&lesson.model)
    .bind(lesson.tokens_in.map(u64::cast_signed))
    .bind(lesson.tokens_out.map(u64::cast_signed))
    .bind(lesson.cost)
    .bind(lesson.latency.as_millis() as i64)
    .bind(lesson.requests)
    .bind(lessons)
    .bind(lesson.lessons.as_ref().err())
    .bind(&lesson.prompt)
    .bind(&lesson.reply)
    .execute(connection)
    .await
    .map_err(db.stored_twice(|| format!("version {} of the lessons of run {run}", lesson.version)))?;
    Ok(())
}
