//! Structural rewrite rules in ast-grep's YAML: a pattern and the text that takes its place.

use std::collections::BTreeMap;
use std::path::Path;

use ast_grep_config::{GlobalRules, RuleConfig, from_yaml_string};
use ast_grep_language::SupportLang;
use include_dir::{Dir, include_dir};
use search::Language;
use serde::Deserialize;

use super::Edit;
use super::tree::{Parsed, grammar};
use crate::proposer::ProposerError;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../prompts/rules");

/// All rules by name.
pub(super) struct Rules(BTreeMap<String, Rule>);

/// One rule.
pub(super) struct Rule {
    config: RuleConfig<SupportLang>,
}

/// What must be known of a rule before it may be parsed: a grammar that isn't built in would end the program.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    id: String,
    language: String,
    #[serde(default)]
    fix: Option<serde::de::IgnoredAny>,
}

impl Rules {
    /// The built-in rules and the `*.yml` files of a folder; a rule of the same `id` goes before a built-in one.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self, ProposerError> {
        let mut rules = BTreeMap::new();
        for file in embedded(&EMBEDDED) {
            let text = file.contents_utf8().unwrap_or_default();
            add(&mut rules, &format!("prompts/rules/{}", file.path().display()), text)?;
        }
        if let Some(folder) = folder {
            let unreadable = |path: &Path, error: std::io::Error| {
                ProposerError::setup(
                    format!("{} can't be read: {error}", path.display()),
                    "it must hold *.yml files",
                )
            };
            let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
            let mut own = BTreeMap::new();
            for entry in entries {
                let path = entry.map_err(|error| unreadable(folder, error))?.path();
                if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
                    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
                    add(&mut own, &path.display().to_string(), &text)?;
                }
            }
            rules.extend(own);
        }
        Ok(Self(rules))
    }

    /// Those of a language, by name.
    pub(super) fn of(&self, language: Language) -> impl Iterator<Item = &Rule> {
        let grammar = grammar(language);
        self.0.values().filter(move |rule| Some(rule.config.language) == grammar)
    }
}

/// The names of the rules for a language, in order: the built-in ones and those in `folder`.
pub fn rule_names(folder: Option<&Path>, language: Language) -> Result<Vec<String>, ProposerError> {
    Ok(Rules::load(folder)?.of(language).map(|rule| rule.name().to_owned()).collect())
}

fn embedded<'a>(folder: &'a Dir<'a>) -> Vec<&'a include_dir::File<'a>> {
    let below = folder.dirs().flat_map(embedded);
    folder.files().filter(|file| file.path().extension().is_some_and(|e| e == "yml")).chain(below).collect()
}

fn add(rules: &mut BTreeMap<String, Rule>, file: &str, text: &str) -> Result<(), ProposerError> {
    let wrong = |what: String| {
        ProposerError::setup(
            format!("{file}: {what}"),
            "a rule is YAML with id, language (Rust or Python), rule and fix, as https://ast-grep.github.io describes",
        )
    };
    let heads: Vec<Head> = ast_grep_config::from_multiple(text).map_err(|error| wrong(error.to_string()))?;
    for head in &heads {
        if !["rust", "python"].contains(&head.language.to_ascii_lowercase().as_str()) {
            return Err(wrong(format!("there are no rules for the language `{}`", head.language)));
        }
        if head.id.is_empty() || head.fix.is_none() {
            return Err(wrong("a rule needs an `id` and a `fix`".to_owned()));
        }
    }
    let configs = from_yaml_string::<SupportLang>(text, &GlobalRules::default())
        .map_err(|error| wrong(causes(&error)))?;
    for config in configs {
        let id = config.id.clone();
        if rules.insert(id.clone(), Rule { config }).is_some() {
            return Err(wrong(format!("there is another rule with the id `{id}`")));
        }
    }
    Ok(())
}

/// An error with its causes: ast-grep's own text says only that something is wrong.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        words = format!("{words} {cause}");
        inner = cause.source();
    }
    words
}

impl Rule {
    pub(super) fn name(&self) -> &str {
        &self.config.id
    }

    /// What it would do at each place, in the order of the source; only within blocks, and only real changes.
    pub(super) fn edits(&self, parsed: &Parsed<'_>) -> Vec<Edit> {
        let Some(tree) = &parsed.tree else { return Vec::new() };
        let root = tree.root();
        let mut edits = Vec::new();
        for found in root.find_all(&self.config.matcher) {
            for fixer in &self.config.fixer {
                let edit = found.make_edit(&self.config.matcher, fixer);
                let range = edit.position..edit.position + edit.deleted_length;
                let Ok(text) = String::from_utf8(edit.inserted_text) else { continue };
                if parsed.may_change(&range)
                    && parsed.source.get(range.clone()).is_some_and(|old| old != text)
                {
                    edits.push(Edit { range, text });
                }
            }
        }
        edits
    }
}
