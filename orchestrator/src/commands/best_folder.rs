//! The folder `best` that OpenEvolve's users look into: kept current while a search runs, where OpenEvolve writes it at the end.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use program_db::{Program, ProgramDb, RunId};
use search::Outcome;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::checkpoint::{Names, extension, name};
use crate::event::Event;
use crate::exit_code::Failure;

/// Writes the best program of a run whenever there is a new one, until the run's events end.
pub(super) fn keep(
    db: ProgramDb,
    run: RunId,
    output: &Path,
    initial: &Path,
    mut events: Receiver<Event>,
) -> JoinHandle<()> {
    let folder = BestFolder { folder: output.join("best"), extension: extension(initial) };
    tokio::spawn(async move {
        loop {
            let is_news = match events.recv().await {
                Ok(Event::Finished { is_best, .. }) => is_best,
                Ok(Event::RunEnded { .. }) | Err(RecvError::Lagged(_)) => true,
                Ok(_) => false,
                Err(RecvError::Closed) => break,
            };
            // What is written here is a copy of what the database has, so failing to write it must not end a run.
            if is_news && let Err(failure) = folder.update(&db, run).await {
                tracing::warn!("{failure}");
            }
        }
    })
}

struct BestFolder {
    folder: PathBuf,
    extension: String,
}

impl BestFolder {
    async fn update(&self, db: &ProgramDb, run: RunId) -> Result<(), Failure> {
        let Some(best) = super::browse::best_of(db, run).await? else { return Ok(()) };
        let failed = |error: std::io::Error| {
            Failure::usage(format!("{}: can't be written: {error}", self.folder.display()))
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        replace(&self.folder.join(format!("best_program{}", self.extension)), &best.source)
            .map_err(failed)?;
        let info = info(db, run, &best).await?;
        let text = serde_json::to_string_pretty(&info).unwrap_or_default() + "\n";
        replace(&self.folder.join("best_program_info.json"), &text).map_err(failed)
    }
}

/// What OpenEvolve's `best_program_info.json` holds, and where the program is in the database.
async fn info(db: &ProgramDb, run: RunId, best: &Program) -> Result<Value, Failure> {
    let names = Names::of(db, run, best.number).await?;
    let metrics = best.outcome.as_ref().and_then(Outcome::measured).map(|measured| &measured.metrics);
    Ok(json!({
        "id": names.id,
        "generation": names.generation.unwrap_or(best.generation),
        "iteration": names.iteration.unwrap_or(best.number.0),
        "timestamp": best.created_at as f64 / 1000.0,
        "parent_id": names.parent_id.or_else(|| best.parent.map(name)),
        "metrics": metrics,
        "score": best.score().map(search::Score::get),
        "run": run,
        "number": best.number,
        "database": db.path(),
    }))
}

/// A reader sees the old file or the new one, never half of one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(permissions()).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// As for any other new file, where temporary ones are for their owner only.
fn permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o666)
}
