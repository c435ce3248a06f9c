//! Structural rewrite rules in ast-grep's YAML: a pattern and the text that takes its place.

use std::collections::BTreeMap;
use std::path::Path;

use ast_grep_config::{GlobalRules, RuleConfig, from_yaml_string};
use ast_grep_core::Matcher;
use ast_grep_core::matcher::MatcherExt;
use ast_grep_language::SupportLang;
use include_dir::{Dir, include_dir};
use search::Language;
use serde::Deserialize;

use super::tree::{Kinded, Parsed, grammar};
use super::{Change, Edit};
use crate::proposer::ProposerError;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../prompts/rules");

/// All rules by language and name.
pub(super) struct Rules(RuleMap);

type RuleMap = BTreeMap<(String, String), Rule>;

/// One rule: a file. Several documents in it are parts that go together, as when a field changes its type
/// and every use of it must follow.
pub(super) struct Rule {
    name: String,
    language: SupportLang,
    parts: Vec<RuleConfig<SupportLang>>,
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
        self.0.values().filter(move |rule| Some(rule.language) == grammar)
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

fn add(rules: &mut RuleMap, file: &str, text: &str) -> Result<(), ProposerError> {
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
    let Some(first) = configs.first() else { return Err(wrong("it holds no rule".to_owned())) };
    let (name, language) = (first.id.clone(), first.language);
    if configs.iter().any(|part| part.id != name || part.language != language) {
        return Err(wrong("the parts of a rule must have the same `id` and `language`".to_owned()));
    }
    if rules
        .insert((language.to_string(), name.clone()), Rule { name: name.clone(), language, parts: configs })
        .is_some()
    {
        return Err(wrong(format!("there is another rule with the id `{name}`")));
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
        &self.name
    }

    /// What it would do, each way once: a rule of one part at any one of its places; a rule of several parts
    /// at all places of all parts together. Only within blocks, and only real changes. `nodes` are those of `parsed`.
    pub(super) fn changes(&self, nodes: &[Kinded<'_>], parsed: &Parsed<'_>) -> Vec<Change> {
        let mut parts = Vec::new();
        for part in &self.parts {
            match edits(part, nodes, parsed) {
                edits if edits.is_empty() => return Vec::new(),
                edits => parts.push(edits),
            }
        }
        if let [edits] = &mut parts[..] {
            return std::mem::take(edits).into_iter().map(|edit| vec![edit]).collect();
        }
        let mut change: Change = parts.concat();
        change.sort_by_key(|edit| (edit.range.start, edit.range.end));
        // Where one place lies within another, both can't be done.
        let apart = change.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start);
        if apart { vec![change] } else { Vec::new() }
    }
}

/// What one part would do at each place, in the order of the source.
fn edits(part: &RuleConfig<SupportLang>, nodes: &[Kinded<'_>], parsed: &Parsed<'_>) -> Vec<Edit> {
    let kinds = part.matcher.potential_kinds();
    let candidates =
        nodes.iter().filter(|(kind, _)| kinds.as_ref().is_none_or(|kinds| kinds.contains(*kind)));
    let mut edits = Vec::new();
    for found in candidates.filter_map(|(_, node)| part.matcher.match_node(node.clone())) {
        for fixer in &part.fixer {
            let edit = found.make_edit(&part.matcher, fixer);
            let range = edit.position..edit.position + edit.deleted_length;
            let Ok(text) = String::from_utf8(edit.inserted_text) else { continue };
            if parsed.may_change(&range) && parsed.source.get(range.clone()).is_some_and(|old| old != text) {
                edits.push(Edit { range, text });
            }
        }
    }
    edits
}
