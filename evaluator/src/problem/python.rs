//! An evaluator in Python: the keys below `python:`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A file with `evaluate(program_path)`, by `OpenEvolve`'s contract. How long it may take and how much memory it may use is in the
/// problem's `limits`, what it may reach in `sandbox`, how many run at once in `parallel`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonEvaluator {
    /// The evaluator, relative to the problem's folder. It can read the files beside it.
    pub file: PathBuf,
    /// Whose packages it uses: an interpreter, or the folder of a virtual environment; a name without `/` is looked up in `PATH`, where
    /// an environment that is active comes first.
    #[serde(default = "python3")]
    pub interpreter: PathBuf,
    /// Whether `evaluate_stage1` to `evaluate_stage3` are used where they are defined, each with the whole time limit.
    #[serde(default = "yes")]
    pub cascade: bool,
    /// What the score has to reach for the second stage, and for the third.
    #[serde(default = "thresholds")]
    pub thresholds: Vec<f64>,
    /// Further keyword arguments for `evaluate`.
    #[serde(default)]
    pub arguments: BTreeMap<String, Value>,
    /// Metrics that are the score; the first one that is there counts. If none is, it is the mean of all numbers.
    #[serde(default = "scores")]
    pub scores: Vec<String>,
    /// Metrics that are left out of that mean: features of MAP-Elites, say.
    #[serde(default)]
    pub unscored: Vec<String>,
}

fn python3() -> PathBuf {
    PathBuf::from("python3")
}

fn yes() -> bool {
    true
}

fn thresholds() -> Vec<f64> {
    vec![0.5, 0.75, 0.9]
}

fn scores() -> Vec<String> {
    ["combined_score", "score"].map(str::to_owned).to_vec()
}

impl PythonEvaluator {
    /// This file, and the default for everything else.
    pub fn new(file: PathBuf) -> Self {
        Self {
            file,
            interpreter: python3(),
            cascade: true,
            thresholds: thresholds(),
            arguments: BTreeMap::new(),
            scores: scores(),
            unscored: Vec::new(),
        }
    }

    pub(super) fn make_absolute(&mut self, folder: &Path) {
        self.file = folder.join(&self.file);
        if self.interpreter.components().count() > 1 || folder.join(&self.interpreter).is_dir() {
            self.interpreter = folder.join(&self.interpreter);
        }
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        if self.file.as_os_str().is_empty() {
            return Err(
                "`python: file` is empty: write for example `python: {file: evaluator.py}`".to_owned()
            );
        }
        if self.interpreter.as_os_str().is_empty() {
            return Err(
                "`python: interpreter` is empty: leave the key out for the `python3` in PATH".to_owned()
            );
        }
        if self.cascade && self.thresholds.is_empty() {
            return Err(
                "`python: thresholds` is empty: write `cascade: false` to do without stages".to_owned()
            );
        }
        match self.thresholds.iter().find(|threshold| !threshold.is_finite()) {
            Some(threshold) => Err(format!("`python: thresholds` must be finite numbers, not {threshold}")),
            None => Ok(()),
        }
    }
}
