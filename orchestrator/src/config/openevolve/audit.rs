//! Looks at every key of OpenEvolve's configuration: unknown ones are errors, and what has another effect here is said.

use std::path::Path;

use super::keys::{self, Fate, IGNORED_THERE, Key, MODELS, SECTIONS};
use super::tree::{Entry, Node};
use crate::config::yaml::{self, ConfigError};

/// What a user should know of a configuration: said once, when a run begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Keys that mean here what they mean there.
    pub used: usize,
    /// Keys with another effect, and what happens instead.
    pub instead: Vec<(String, String)>,
    /// Keys that OpenEvolve never reads, and what would be right.
    pub unread: Vec<(String, String)>,
    /// Sections that OpenEvolve doesn't know: the evaluator's own.
    pub own: Vec<String>,
    /// What else the configuration makes of the run.
    pub remarks: Vec<String>,
}

/// Checks all keys.
pub(super) fn audit(path: &Path, tree: &Node) -> Result<Notes, ConfigError> {
    let mut notes = Notes::default();
    if !tree.is_mapping() && tree.scalar().is_none_or(|text| text != "null") {
        return Err(ConfigError::new(path, "isn't a configuration: it has to be keys with values")
            .hint("such as `max_iterations: 100`"));
    }
    for entry in tree.entries() {
        let Some(key) = find("", &entry.key) else {
            unknown_at_the_top(path, entry, &mut notes)?;
            continue;
        };
        if SECTIONS.contains(&entry.key.as_str()) {
            section(path, key.name, entry, &mut notes)?;
        } else {
            notes.take(key, &entry.value);
        }
    }
    Ok(notes)
}

fn section(path: &Path, name: &'static str, section: &Entry, notes: &mut Notes) -> Result<(), ConfigError> {
    if !section.value.is_mapping() && section.value.scalar().is_none_or(|text| text != "null") {
        return Err(at(path, section, format!("`{name}` is a section: it holds keys with values")));
    }
    for entry in section.value.entries() {
        let key = find(name, &entry.key).ok_or_else(|| unknown(path, name, entry))?;
        let models = matches!(key.path().as_str(), MODELS | "llm.evaluator_models");
        if models {
            for model in entry.value.items().iter().flat_map(Node::entries) {
                let key = find(MODELS, &model.key).ok_or_else(|| unknown(path, MODELS, model))?;
                // Nothing asks the models that would judge programs, whatever they are told.
                if key.section == MODELS && entry.key == "models" {
                    notes.take(key, &model.value);
                }
            }
        }
        notes.take(key, &entry.value);
    }
    Ok(())
}

fn find(section: &str, name: &str) -> Option<&'static Key> {
    keys::of(section).find(|key| key.name == name)
}

/// OpenEvolve ignores what it doesn't know. A misspelt key is an error here; a section of the evaluator's own isn't.
fn unknown_at_the_top(path: &Path, entry: &Entry, notes: &mut Notes) -> Result<(), ConfigError> {
    if let Some((name, words)) = IGNORED_THERE.iter().find(|(name, _)| *name == entry.key) {
        notes.unread.push(((*name).to_owned(), (*words).to_owned()));
        return Ok(());
    }
    let error = unknown(path, "", entry);
    let is_misspelt = error.hint.as_ref().is_some_and(|hint| hint.starts_with("did you mean"));
    if entry.value.is_mapping() && !is_misspelt {
        notes.own.push(entry.key.clone());
        return Ok(());
    }
    Err(error)
}

fn unknown(path: &Path, section: &str, entry: &Entry) -> ConfigError {
    let here = yaml::nearest(&entry.key, keys::of(section).map(|key| key.name));
    // A right key in a wrong place is the likelier slip.
    let elsewhere = keys::KEYS.iter().find(|key| key.name == entry.key && key.section != section);
    let hint = match elsewhere {
        Some(key) if !here.starts_with("did you mean") && key.section.is_empty() => {
            format!("`{}` belongs to the top level", entry.key)
        }
        Some(key) if !here.starts_with("did you mean") => {
            format!("`{}` belongs into `{}`", entry.key, key.section)
        }
        _ => here,
    };
    at(path, entry, format!("unknown key `{}`", entry.key)).hint(hint)
}

fn at(path: &Path, entry: &Entry, what: String) -> ConfigError {
    ConfigError { place: Some(entry.place), ..ConfigError::new(path, what) }
}

impl Notes {
    fn take(&mut self, key: &Key, value: &Node) {
        if key.is_silent(value) {
            self.used += 1;
            return;
        }
        match key.fate {
            Fate::Used(_) => self.used += 1,
            Fate::Instead(words) => self.put_instead(key.path(), words),
            Fate::Unread(words) => self.unread.push((key.path(), words.to_owned())),
        }
    }

    fn put_instead(&mut self, path: String, words: &str) {
        if !self.instead.iter().any(|(other, _)| *other == path) {
            self.instead.push((path, words.to_owned()));
        }
    }

    /// All of it as one block of text; none if there is nothing to say.
    pub fn text(&self, path: &Path) -> Option<String> {
        let others = self.instead.len() + self.unread.len();
        if others == 0 && self.own.is_empty() && self.remarks.is_empty() {
            return None;
        }
        let mut text =
            format!("{}: an OpenEvolve configuration; {} keys have their effect", path.display(), self.used);
        if others > 0 {
            text.push_str(&format!(", {others} another or none (docs/openevolve.md)"));
        }
        let grouped = grouped(&self.instead);
        text.push_str(&listed("  has another effect here:", &grouped));
        let unread = self::grouped(&self.unread);
        text.push_str(&listed("  OpenEvolve doesn't read it either:", &unread));
        if !self.own.is_empty() {
            let names: Vec<String> = self.own.iter().map(|name| format!("`{name}`")).collect();
            text.push_str(&format!("\n  taken for the evaluator's own: {}", names.join(", ")));
        }
        for remark in &self.remarks {
            text.push_str(&format!("\n  {remark}"));
        }
        Some(text)
    }
}

/// Keys with the same words stand together.
fn grouped(notes: &[(String, String)]) -> Vec<(String, &str)> {
    let mut groups: Vec<(String, &str)> = Vec::new();
    for (key, words) in notes {
        match groups.iter_mut().find(|(_, other)| other == words) {
            Some((keys, _)) => keys.push_str(&format!(", {key}")),
            None => groups.push((key.clone(), words)),
        }
    }
    groups
}

fn listed(title: &str, groups: &[(String, &str)]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = groups.iter().map(|(keys, words)| format!("    {keys}: {words}")).collect();
    format!("\n{title}\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audited(yaml: &str) -> Result<Notes, String> {
        let tree: Node = serde_yaml::from_str(yaml).unwrap();
        audit(Path::new("c.yaml"), &tree).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_keys_are_errors_with_their_place_and_the_nearest_right_one() {
        let mut text = String::new();
        for yaml in [
            "max_iteration: 3",
            "max_iterations: 3\ndatabase:\n  num_iland: 2",
            "llm:\n  models:\n    - name: a\n      wieght: 1",
            "llm:\n  evaluator_models:\n    - nam: a",
            "databse:\n  num_islands: 3",
            "num_islands: 3",
            "evaluator:\n  max_iterations: 3",
            "prompt:\n  colour: red",
            "colour: red",
            "database: 3",
            "- a",
        ] {
            text.push_str(&format!("{}\n\n", audited(yaml).unwrap_err()));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_said_of_a_configuration_is_one_block() {
        let notes = audited(
            "max_iterations: 3\ncheckpoint_interval: 5\nallow_full_rewrites: true\nalgotune: { size: 3 }\n\
             llm: { system_message: hello, models: [{ name: a, random_seed: 3 }, { name: b, random_seed: 3 }] }\n\
             prompt: { use_meta_prompting: true, include_artifacts: true, template_dir: null }\n\
             database: { in_memory: true, log_prompts: false, artifact_size_threshold: 3, artifacts_base_path: x }\n\
             evaluator: { use_llm_feedback: false, timeout: 3 }\nevolution_trace: { enabled: false }",
        );
        insta::assert_snapshot!(notes.unwrap().text(Path::new("c.yaml")).unwrap());
    }

    #[test]
    fn a_configuration_without_surprises_needs_no_words() {
        assert_eq!(
            audited("max_iterations: 3\nllm: { primary_model: a }").unwrap().text(Path::new("c")),
            None
        );
        assert_eq!(audited("null").unwrap(), Notes::default());
    }
}
