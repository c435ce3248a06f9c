//! Artifacts: texts that an evaluation leaves for people and for the next prompt. Long ones are compressed.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use search::ProgramId;
use sqlx::{FromRow, SqliteConnection};

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// Longest text, in bytes, that is stored as it is.
const PLAIN: usize = 4096;
/// How much of a longer one can be read with SQL alone, in bytes.
const EXCERPT: usize = 1024;
/// More than any artifact has, so that a forged row can't fill the memory, in bytes.
const LONGEST: u64 = 64 << 20;

/// A named text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is, e.g. `compiler`, `comparisons`, `stderr`.
    pub name: String,
    /// The text.
    pub content: String,
}

#[derive(FromRow)]
struct Row {
    name: String,
    content: String,
    compressed: Option<Vec<u8>>,
}

impl ProgramDb {
    /// What the evaluation behind a number's outcome left, in its order; none if it wasn't evaluated.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn artifacts(&self, run: RunId, number: ProgramId) -> Result<Vec<Artifact>, DbError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT name, content, compressed FROM outcome JOIN artifact USING (evaluation_id)
             WHERE run_id = ? AND number = ? ORDER BY idx",
        )
        .bind(run)
        .bind(number.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        if rows.is_empty() {
            self.outcome(run, number).await?;
        }
        rows.into_iter().map(|row| self.read_artifact(run, number, row)).collect()
    }

    fn read_artifact(&self, run: RunId, number: ProgramId, row: Row) -> Result<Artifact, DbError> {
        let Row { name, content, compressed } = row;
        let content = match compressed {
            None => content,
            Some(bytes) => decompressed(&bytes).map_err(|error| DbError::Unreadable {
                path: self.path().to_path_buf(),
                what: format!("the artifact `{name}` of program {number} of run {run}"),
                reason: error.to_string(),
            })?,
        };
        Ok(Artifact { name, content })
    }
}

pub(crate) async fn insert_artifact(
    connection: &mut SqliteConnection,
    evaluation: i64,
    index: i64,
    artifact: &Artifact,
) -> Result<(), sqlx::Error> {
    let whole = artifact.content.as_str();
    let (content, compressed) = if whole.len() > PLAIN {
        (&whole[..whole.floor_char_boundary(EXCERPT)], Some(compressed(whole).map_err(sqlx::Error::Io)?))
    } else {
        (whole, None)
    };
    sqlx::query(
        "INSERT INTO artifact (evaluation_id, idx, name, content, compressed) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(evaluation)
    .bind(index)
    .bind(&artifact.name)
    .bind(content)
    .bind(compressed)
    .execute(connection)
    .await?;
    Ok(())
}

fn compressed(text: &str) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

fn decompressed(bytes: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    ZlibDecoder::new(bytes).take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_and_repetitions_take_no_room() {
        let text = "Überraschung \u{1F40D} \0 line\n".repeat(50_000);
        let bytes = compressed(&text).unwrap();
        assert!(bytes.len() < text.len() / 50, "{} bytes of {}", bytes.len(), text.len());
        assert_eq!(decompressed(&bytes).unwrap(), text);
        assert!(decompressed(b"no such thing").is_err());
        assert!(decompressed(&bytes[..bytes.len() / 2]).is_err());
    }
}
