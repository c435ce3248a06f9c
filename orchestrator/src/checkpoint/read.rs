//! Reads a checkpoint as far as it is readable: what is missing or broken is said, the rest is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// A checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// Its programs by id.
    pub programs: BTreeMap<String, Saved>,
    /// The island of each program that is on one.
    pub islands: BTreeMap<String, usize>,
    /// Names of feature dimensions that were seen.
    pub features: BTreeSet<String>,
    /// The iteration it was written at.
    pub last_iteration: u64,
    /// What is missing or broken, one line each.
    pub problems: Vec<String>,
}

/// A program as it is saved. Keys that later versions may add are left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// Its name.
    pub id: String,
    /// Its text.
    pub code: String,
    /// Its language, in lower case.
    pub language: Option<String>,
    /// What it was made from.
    pub parent_id: Option<String>,
    /// Lineage depth.
    pub generation: u32,
    /// Seconds since the Unix epoch.
    pub timestamp: f64,
    /// The iteration that found it.
    pub iteration_found: u64,
    /// Whatever the evaluator returned.
    pub metrics: Map<String, Value>,
    /// Whatever was noted of it.
    pub metadata: Value,
    /// By template: what the model was sent and answered.
    pub prompts: Option<BTreeMap<String, Exchange>>,
    /// Small artifacts as a JSON object.
    pub artifacts_json: Option<String>,
    /// A folder with the large ones.
    pub artifact_dir: Option<PathBuf>,
}

/// One exchange with a model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Exchange {
    /// The system message.
    pub system: String,
    /// The user message.
    pub user: String,
    /// The answers.
    pub responses: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    islands: Vec<Vec<String>>,
    feature_stats: Map<String, Value>,
    last_iteration: u64,
    best_program_id: Option<String>,
}

/// Reads a checkpoint's folder. `Err` says why there is nothing to read at all.
pub fn read(folder: &Path) -> Result<Checkpoint, String> {
    let programs = folder.join("programs");
    if !programs.is_dir() {
        return Err(match newest_below(folder) {
            Some(newest) => format!("{} is no checkpoint, but {} is", folder.display(), newest.display()),
            None => format!(
                "{} is no OpenEvolve checkpoint: it has no folder `programs`\n  hint: name a folder such as \
                 openevolve_output/checkpoints/checkpoint_100",
                folder.display()
            ),
        });
    }
    let mut checkpoint = Checkpoint::default();
    let metadata = metadata(folder, &mut checkpoint.problems);
    read_programs(&programs, &mut checkpoint)?;
    for (island, ids) in metadata.islands.iter().enumerate() {
        let mut missing = 0;
        for id in ids {
            if checkpoint.programs.contains_key(id) {
                checkpoint.islands.entry(id.clone()).or_insert(island);
            } else {
                missing += 1;
            }
        }
        if missing > 0 {
            checkpoint.problems.push(format!("island {island}: no file for {missing} of its programs"));
        }
    }
    checkpoint.features = metadata.feature_stats.keys().cloned().collect();
    checkpoint.last_iteration = metadata.last_iteration;
    rescue_best(folder, metadata.best_program_id.as_deref(), &mut checkpoint);
    if checkpoint.programs.is_empty() {
        return Err(format!("{} holds no program that can be read", programs.display()));
    }
    Ok(checkpoint)
}

/// The newest checkpoint in an output folder.
pub fn newest_below(folder: &Path) -> Option<PathBuf> {
    let within = [folder.to_owned(), folder.join("checkpoints")];
    let entries = within.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let number = |path: &Path| -> Option<u64> {
        path.file_name()?.to_str()?.strip_prefix("checkpoint_")?.parse().ok()
    };
    let found = entries.map(|entry| entry.path()).filter(|path| path.join("programs").is_dir());
    found.filter_map(|path| Some((number(&path)?, path))).max().map(|(_, path)| path)
}

fn metadata(folder: &Path, problems: &mut Vec<String>) -> Metadata {
    let read = |path: &Path| -> Result<Metadata, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        parse(&text)
    };
    read(&folder.join("metadata.json")).unwrap_or_else(|reason| {
        problems.push(format!(
            "metadata.json can't be read ({reason}): islands are those that the programs name"
        ));
        Metadata::default()
    })
}

fn read_programs(folder: &Path, checkpoint: &mut Checkpoint) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("{} can't be read: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| parse::<Saved>(&text))
        {
            Ok(mut program) => {
                if program.id.is_empty() {
                    program.id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                }
                checkpoint.programs.insert(program.id.clone(), program);
            }
            Err(reason) => checkpoint.problems.push(format!("programs/{name} can't be read: {reason}")),
        }
    }
    Ok(())
}

/// The best program lies beside the others as well; its file may be there where the other one isn't.
fn rescue_best(folder: &Path, id: Option<&str>, checkpoint: &mut Checkpoint) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Info {
        id: String,
        generation: u32,
        iteration: u64,
        timestamp: f64,
        metrics: Map<String, Value>,
        language: Option<String>,
    }
    let info = fs::read_to_string(folder.join("best_program_info.json")).ok();
    let info: Option<Info> = info.and_then(|text| parse(&text).ok());
    let Some(id) = id.map(str::to_owned).or_else(|| info.as_ref().map(|info| info.id.clone())) else {
        return;
    };
    if id.is_empty() || checkpoint.programs.contains_key(&id) {
        return;
    }
    let code =
        fs::read_dir(folder).ok().into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| {
            path.file_stem().is_some_and(|stem| stem == "best_program")
                && path.extension().is_some_and(|ending| ending != "json")
        });
    let code = code.and_then(|path| fs::read_to_string(path).ok());
    match (code, info) {
        (Some(code), Some(info)) if info.id == id => {
            let Info { id, generation, iteration, timestamp, metrics, language } = info;
            checkpoint.problems.push(format!(
                "the best program {id} is taken from best_program_info.json: its own file is missing"
            ));
            let iteration_found = iteration;
            let saved = Saved {
                id: id.clone(),
                code,
                generation,
                iteration_found,
                timestamp,
                metrics,
                language,
                ..Saved::default()
            };
            checkpoint.programs.insert(id, saved);
        }
        _ => checkpoint.problems.push(format!("the best program {id} is missing")),
    }
}

/// JSON as Python writes it: `NaN` and infinities, which JSON doesn't have, become null.
pub(super) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let first = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    serde_json::from_str(&without_nan(text)).map_err(|_| first.to_string())
}

fn without_nan(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let word =
            ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            result.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        if character == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = in_string && character == '\\' && !escaped;
        result.push(character);
        rest = &rest[character.len_utf8()..];
    }
    result
}
