//! Writes a run as a checkpoint that OpenEvolve loads and its visualizer shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use program_db::{DbError, Program, ProgramDb, RunId};
use search::{Outcome, ProgramId};
use serde_json::{Map, Value, json};

use super::{Names, name};
use crate::commands::storage;
use crate::exit_code::{ExitCode, Failure};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Programs.
    pub programs: u64,
    /// Proposals without a program, which a checkpoint has no place for.
    pub left_out: u64,
}

/// How a run's programs are called and what they are written in.
#[derive(Debug, Clone)]
pub struct Style {
    /// The ending of the best program's file, with its dot.
    pub extension: String,
    /// OpenEvolve's word for the language.
    pub language: String,
    /// Programs in the archive.
    pub archive: usize,
}

/// What is known of all programs once they are written.
#[derive(Default)]
struct Index {
    islands: BTreeMap<usize, Vec<String>>,
    generations: BTreeMap<usize, u32>,
    /// Score and id of what was measured, by island.
    best: BTreeMap<usize, (f64, String)>,
    ranking: Vec<(f64, String)>,
    ids: BTreeMap<ProgramId, String>,
    metrics: BTreeMap<ProgramId, Value>,
    last: u64,
}

/// Writes run `run` into `folder`, which must be new or empty.
pub async fn write(db: &ProgramDb, run: RunId, folder: &Path, style: &Style) -> Result<Written, Failure> {
    let occupied = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(Failure::usage(format!(
            "{} isn't empty: a checkpoint is written into a folder of its own",
            folder.display()
        )));
    }
    // The visualizer looks for folders of this name.
    if folder.file_name().is_none_or(|name| !name.to_string_lossy().starts_with("checkpoint_")) {
        tracing::info!("OpenEvolve's visualizer finds folders that are called checkpoint_N");
    }
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).map_err(|error| unwritable(&programs, &error))?;
    let mut index = Index::default();
    let mut written = Written { programs: 0, left_out: 0 };
    let mut replay = db.replay(run).await.map_err(storage)?;
    while let Some(stored) = replay.next().await.map_err(storage)? {
        let number = stored.number;
        index.last = number.0;
        let program = match db.program(run, number).await {
            Ok(program) => program,
            Err(DbError::NoProgram { .. }) => {
                written.left_out += 1;
                continue;
            }
            Err(error) => return Err(storage(error)),
        };
        let value = one(db, run, &program, style, &mut index).await?;
        let id = index.ids[&number].clone();
        put(&programs.join(format!("{id}.json")), &value)?;
        written.programs += 1;
    }
    put(&folder.join("metadata.json"), &index.metadata(style))?;
    if let Some(best) = db.best(run, 1).await.map_err(storage)?.into_iter().next() {
        write_best(folder, &best, style, &index)?;
    }
    Ok(written)
}

async fn one(
    db: &ProgramDb,
    run: RunId,
    program: &Program,
    style: &Style,
    index: &mut Index,
) -> Result<Value, Failure> {
    let number = program.number;
    let names = Names::of(db, run, number).await?;
    // An id becomes a file's name.
    let id = if is_plain(&names.id) { names.id } else { name(number) };
    let proposal = db.proposal(run, number).await.map_err(storage)?;
    let artifacts = db.artifacts(run, number).await.map_err(storage)?;
    let artifacts: Map<String, Value> =
        artifacts.into_iter().map(|artifact| (artifact.name, Value::from(artifact.content))).collect();
    let metrics = metrics(program.outcome.as_ref());
    let parent = program.parent.and_then(|parent| index.ids.get(&parent).cloned());
    let parent_metrics = program.parent.and_then(|parent| index.metrics.get(&parent).cloned());
    let generation = names.generation.unwrap_or(program.generation);
    let mut metadata = names.metadata.and_then(|metadata| metadata.as_object().cloned()).unwrap_or_default();
    metadata.insert("island".to_owned(), program.island.into());
    metadata.entry("changes").or_insert_with(|| program.operator.clone().into());
    if let Some(parent_metrics) = parent_metrics {
        metadata.insert("parent_metrics".to_owned(), parent_metrics);
    }
    if let Some(outcome) = program.outcome.as_ref().filter(|outcome| outcome.score().is_none()) {
        metadata.insert("outcome".to_owned(), outcome.to_string().into());
    }
    index.note(program, &id, generation, metrics.clone());
    Ok(json!({
        "id": id,
        "code": program.source,
        "changes_description": "",
        "language": style.language,
        "parent_id": names.parent_id.or(parent),
        "generation": generation,
        "timestamp": program.created_at as f64 / 1000.0,
        "iteration_found": names.iteration.unwrap_or(number.0),
        "metrics": metrics,
        "complexity": program.source.chars().count() as f64,
        "diversity": 0.0,
        "metadata": metadata,
        "prompts": prompts(&program.operator, proposal.prompt, proposal.reply),
        "artifacts_json": (!artifacts.is_empty()).then(|| Value::Object(artifacts).to_string()),
        "artifact_dir": null,
        "embedding": null,
    }))
}

fn is_plain(id: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !id.is_empty() && id.len() < 200 && id.chars().all(fine)
}

/// OpenEvolve ranks by `combined_score`, so the score is called that; a failure has its own metrics there.
fn metrics(outcome: Option<&Outcome>) -> Value {
    match outcome {
        Some(Outcome::Measured(measured)) => {
            let mut metrics: Map<String, Value> =
                measured.metrics.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
            metrics.insert("combined_score".to_owned(), measured.score.get().into());
            metrics.into()
        }
        Some(Outcome::Timeout { .. }) => json!({"error": 0.0, "timeout": true}),
        Some(_) => json!({"error": 0.0}),
        None => json!({}),
    }
}

fn prompts(operator: &str, prompt: Option<String>, reply: Option<String>) -> Value {
    // The visualizer goes through them, so none is an empty map.
    let Some(prompt) = prompt else { return json!({}) };
    let (system, user) =
        match prompt.strip_prefix("[system]\n").and_then(|rest| rest.split_once("\n[user]\n")) {
            Some((system, user)) => (system, user),
            None => ("", prompt.as_str()),
        };
    let template = if operator == "full_rewrite" { "full_rewrite_user" } else { "diff_user" };
    json!({ template: { "system": system, "user": user, "responses": reply.into_iter().collect::<Vec<_>>() } })
}

impl Index {
    fn note(&mut self, program: &Program, id: &str, generation: u32, metrics: Value) {
        self.ids.insert(program.number, id.to_owned());
        self.metrics.insert(program.number, metrics);
        self.islands.entry(program.island).or_default().push(id.to_owned());
        let latest = self.generations.entry(program.island).or_default();
        *latest = generation.max(*latest);
        let Some(score) = program.score().map(search::Score::get) else { return };
        self.ranking.push((score, id.to_owned()));
        let best = self.best.entry(program.island).or_insert_with(|| (score, id.to_owned()));
        if score > best.0 {
            *best = (score, id.to_owned());
        }
    }

    fn metadata(&mut self, style: &Style) -> Value {
        let count = self.islands.keys().max().map_or(1, |last| last + 1);
        let islands: Vec<Vec<String>> =
            (0..count).map(|island| self.islands.remove(&island).unwrap_or_default()).collect();
        let bests: Vec<Option<&String>> =
            (0..count).map(|island| self.best.get(&island).map(|(_, id)| id)).collect();
        let generations: Vec<u32> =
            (0..count).map(|island| self.generations.get(&island).copied().unwrap_or(0)).collect();
        self.ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
        let archive: Vec<&String> = self.ranking.iter().take(style.archive).map(|(_, id)| id).collect();
        let cells: Vec<Value> = (0..count).map(|_| json!({})).collect();
        json!({
            // Filled anew by whoever goes on: cells depend on ranges that OpenEvolve keeps for itself.
            "island_feature_maps": cells,
            "feature_stats": {},
            "islands": islands,
            "archive": archive,
            "best_program_id": archive.first(),
            "island_best_programs": bests,
            "last_iteration": self.last,
            "current_island": 0,
            "island_generations": generations,
            "last_migration_generation": 0,
        })
    }
}

fn write_best(folder: &Path, best: &Program, style: &Style, index: &Index) -> Result<(), Failure> {
    let path = folder.join(format!("best_program{}", style.extension));
    fs::write(&path, &best.source).map_err(|error| unwritable(&path, &error))?;
    put(
        &folder.join("best_program_info.json"),
        &json!({
            "id": index.ids.get(&best.number),
            "generation": best.generation,
            "iteration": best.number,
            "current_iteration": index.last,
            "metrics": index.metrics.get(&best.number),
            "language": style.language,
            "timestamp": best.created_at as f64 / 1000.0,
        }),
    )
}

fn put(path: &PathBuf, value: &Value) -> Result<(), Failure> {
    fs::write(path, value.to_string()).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure { code: ExitCode::Usage, message: format!("{}: can't be written: {error}", path.display()) }
}
