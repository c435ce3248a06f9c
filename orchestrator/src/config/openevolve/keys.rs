//! Every key of OpenEvolve's configuration, as of 0.3.2 and 0.4.0, and what becomes of it here.
//!
//! `docs/openevolve.md` shows this table; a test keeps the two the same.

use super::tree::Node;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It means here what it means there; the words say how it is called here.
    Used(&'static str),
    /// It has no effect of its own here; the words say what happens instead.
    Instead(&'static str),
    /// OpenEvolve itself never reads it; the words say what would be right.
    Unread(&'static str),
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Its section; empty for the top level.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    pub(super) fate: Fate,
    /// Values that need no words, because what they ask for is what happens anyway.
    silent: &'static [&'static str],
}

impl Key {
    /// As people write it: `database.num_islands`.
    pub(super) fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// Whether a value asks for nothing but what happens anyway.
    pub(super) fn is_silent(&self, value: &Node) -> bool {
        value.scalar().is_some_and(|text| self.silent.contains(&text.as_str()))
            || (value.is_empty() && self.silent.contains(&"[]"))
    }
}

const fn used(section: &'static str, name: &'static str, words: &'static str) -> Key {
    Key { section, name, fate: Fate::Used(words), silent: &[] }
}

const fn instead(
    section: &'static str,
    name: &'static str,
    silent: &'static [&'static str],
    words: &'static str,
) -> Key {
    Key { section, name, fate: Fate::Instead(words), silent }
}

const fn unread(section: &'static str, name: &'static str, words: &'static str) -> Key {
    Key { section, name, fate: Fate::Unread(words), silent: &[] }
}

/// Sections, and the lists of models within `llm`, which take the keys of `llm.models`.
pub(super) const SECTIONS: [&str; 5] = ["llm", "prompt", "database", "evaluator", "evolution_trace"];
pub(super) const MODELS: &str = "llm.models";

const TRACE: &str =
    "everything is in the database; `evolve export --format json`, `csv` or `parquet` writes it out";
const CLI_ONLY: &str = "belongs to the command line providers, which aren't asked here";
const BUDGET: &str = "there the most for one call of `claude_code`, read by nobody else; `--max-cost` limits the run here, and `max_tokens` a call";
const WORDS_OF_CODE: &str = "prompts show the change itself and say nothing of its length";

/// All keys, section by section.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    used("", "max_iterations", "`max_iterations`; with --checkpoint so many more, as there"),
    instead("", "checkpoint_interval", &[], "nothing to set: every program is durable when it is reported; `evolve export --format openevolve` writes a checkpoint at any time"),
    used("", "log_level", "WARNING and above show only warnings; more is `-v` and `-vv`"),
    instead("", "log_dir", &["null"], "no log files: the database has everything, and `--json` prints events as lines"),
    used("", "random_seed", "`random_seed`; null draws one, which the run keeps"),
    used("", "language", "the program's language; without it the file's ending decides"),
    used("", "file_suffix", "the ending of the files that the evaluator gets"),
    used("", "diff_based_evolution", "`diff_based_evolution`"),
    used("", "max_code_length", "`limits.program_bytes`, counted in bytes; a longer program is refused"),
    unread("", "diff_pattern", "its workers never get it; edits have the usual SEARCH/REPLACE form"),
    used("", "early_stopping_patience", "`search.early_stopping.patience`; below 0 the threshold becomes the target"),
    used("", "convergence_threshold", "`search.early_stopping.min_improvement`"),
    instead("", "early_stopping_metric", &["combined_score", "score"], "the score is watched, whatever other metrics do"),
    instead("", "max_tasks_per_child", &["null"], "every evaluation has a process of its own"),
    instead("", "enforce_evolve_blocks", &["true"], "always on: code outside the EVOLVE-BLOCK can't change (there its workers never get the key)"),
    used("", "llm", ""),
    used("", "prompt", ""),
    used("", "database", ""),
    used("", "evaluator", ""),
    used("", "evolution_trace", ""),

    used("llm", "api_base", "`llm.api_base`"),
    used("llm", "api_key", "`llm.api_key`; without one OPENAI_API_KEY is sent to `api_base`, as there"),
    unread("llm", "name", "name models under `llm.models`"),
    used("llm", "provider", "`openai` only; `claude_code` and `copilot_cli` stop a run with advice"),
    instead("llm", "init_client", &["null"], "a Python object can't be written in YAML"),
    unread("llm", "weight", "weights belong to the entries of `llm.models`"),
    unread("llm", "system_message", "no prompt shows it; write it as `prompt.system_message`"),
    used("llm", "temperature", "`llm.temperature`"),
    used("llm", "top_p", "`llm.top_p`"),
    used("llm", "max_tokens", "`llm.max_tokens`"),
    used("llm", "timeout", "`llm.timeout`"),
    used("llm", "retries", "`llm.retries`: so many in all, where OpenEvolve's nest"),
    used("llm", "retry_delay", "`llm.retry_delay`"),
    instead("llm", "random_seed", &["null"], "no seed is sent: a stored reply is never asked for again"),
    used("llm", "reasoning_effort", "`llm.reasoning_effort`"),
    instead("llm", "max_budget_usd", &["null"], BUDGET),
    instead("llm", "max_ai_credits", &["null"], CLI_ONLY),
    instead("llm", "allow_all_tools", &["null", "false"], CLI_ONLY),
    instead("llm", "manual_mode", &["null", "false"], "a run can't wait for answers typed by hand, and stops with advice"),
    used("llm", "models", "`llm.models`"),
    instead("llm", "evaluator_models", &["[]", "null"], "no model judges programs; the evaluator does"),
    used("llm", "primary_model", "an entry of `llm.models`"),
    used("llm", "primary_model_weight", "its weight"),
    used("llm", "secondary_model", "an entry of `llm.models`"),
    used("llm", "secondary_model_weight", "its weight"),

    used(MODELS, "name", "`llm.models.name`"),
    used(MODELS, "weight", "`llm.models.weight`"),
    used(MODELS, "api_base", "`llm.models.api_base`"),
    used(MODELS, "api_key", "`llm.models.api_key`"),
    used(MODELS, "provider", "as `llm.provider`"),
    instead(MODELS, "init_client", &["null"], "a Python object can't be written in YAML"),
    unread(MODELS, "system_message", "no prompt shows it; write it as `prompt.system_message`"),
    used(MODELS, "temperature", "`llm.models.temperature`"),
    used(MODELS, "top_p", "`llm.models.top_p`"),
    used(MODELS, "max_tokens", "`llm.models.max_tokens`"),
    used(MODELS, "timeout", "`llm.models.timeout`"),
    used(MODELS, "retries", "`llm.models.retries`"),
    used(MODELS, "retry_delay", "`llm.models.retry_delay`"),
    instead(MODELS, "random_seed", &["null"], "no seed is sent: a stored reply is never asked for again"),
    used(MODELS, "reasoning_effort", "`llm.models.reasoning_effort`"),
    instead(MODELS, "max_budget_usd", &["null"], BUDGET),
    instead(MODELS, "max_ai_credits", &["null"], CLI_ONLY),
    instead(MODELS, "allow_all_tools", &["null", "false"], CLI_ONLY),
    instead(MODELS, "manual_mode", &["null", "false"], "as `llm.manual_mode`"),

    instead("prompt", "template_dir", &["null"], "OpenEvolve's templates are Python format strings and aren't used; evolve's are prompts/*.md.j2"),
    used("prompt", "system_message", "what every prompt says of the task"),
    instead("prompt", "evaluator_system_message", &[], "no model judges programs; the evaluator does"),
    instead("prompt", "programs_as_changes_description", &["false"], "prompts show programs as code"),
    instead("prompt", "system_message_changes_description", &["null", ""], "prompts show programs as code"),
    instead("prompt", "initial_changes_description", &[""], "prompts show programs as code"),
    used("prompt", "num_top_programs", "the best among `search.num_inspirations`"),
    used("prompt", "num_diverse_programs", "the others among `search.num_inspirations`"),
    instead("prompt", "use_template_stochasticity", &["false"], "prompts of one kind have one wording"),
    instead("prompt", "template_variations", &["[]", "null"], "prompts of one kind have one wording"),
    unread("prompt", "use_meta_prompting", "it is not implemented there"),
    unread("prompt", "meta_prompt_weight", "it is not implemented there"),
    used("prompt", "include_artifacts", "whether prompts show what the parent's evaluation left; false is `prompt.max_artifact_bytes: 0`"),
    used("prompt", "max_artifact_bytes", "`prompt.max_artifact_bytes`: of each artifact so much, beginning and end; 32768 at most, and 0 shows none"),
    instead("prompt", "artifact_security_filter", &[], "no filter is needed: an evaluation never sees a key"),
    instead("prompt", "suggest_simplification_after_chars", &[], WORDS_OF_CODE),
    instead("prompt", "include_changes_under_chars", &[], WORDS_OF_CODE),
    instead("prompt", "concise_implementation_max_lines", &[], WORDS_OF_CODE),
    instead("prompt", "comprehensive_implementation_min_lines", &[], WORDS_OF_CODE),
    instead("prompt", "code_length_threshold", &["null"], WORDS_OF_CODE),
    instead("prompt", "diff_summary_max_line_len", &[], "failed attempts are shown to 40 lines and 3000 characters"),
    instead("prompt", "diff_summary_max_lines", &[], "failed attempts are shown to 40 lines and 3000 characters"),

    instead("database", "db_path", &["null"], "the database is evolve.db in the output folder, or what `--db` names"),
    unread("database", "in_memory", "the database is a file"),
    instead("database", "log_prompts", &["true"], "prompts and replies are always kept"),
    used("database", "population_size", "`search.population_size`: programs that parents are drawn from; the database keeps all"),
    used("database", "archive_size", "`search.archive_size`, divided among the islands"),
    used("database", "num_islands", "`search.num_islands`"),
    instead("database", "elite_selection_ratio", &[], "the share of the best follows from `prompt.num_top_programs` and `num_diverse_programs`"),
    used("database", "exploration_ratio", "`search.exploration_ratio`, and `selection: mixture`"),
    used("database", "exploitation_ratio", "`search.exploitation_ratio`, and `selection: mixture`"),
    unread("database", "diversity_metric", "diversity is a distance of token sketches here"),
    used("database", "feature_dimensions", "`search.feature_dimensions`"),
    used("database", "feature_bins", "`search.feature_bins`"),
    used("database", "diversity_reference_size", "`search.diversity_reference_size`"),
    used("database", "migration_interval", "`search.exchange_interval`"),
    used("database", "migration_rate", "`search.exchange_rate`"),
    instead("database", "random_seed", &[], "the run has one seed: `random_seed`"),
    instead("database", "artifacts_base_path", &["null"], "artifacts are in the database"),
    instead("database", "artifact_size_threshold", &[], "artifacts are in the database"),
    instead("database", "cleanup_old_artifacts", &[], "artifacts are in the database and stay"),
    instead("database", "artifact_retention_days", &[], "artifacts are in the database and stay"),
    instead("database", "max_snapshot_artifacts", &[], "a prompt shows its parent's artifacts however old they are"),
    instead("database", "novelty_llm", &["null"], "a Python object can't be written in YAML"),
    instead("database", "embedding_model", &["null"], "likeness is measured on tokens, without a model"),
    instead("database", "embedding_api_base", &["null"], "likeness is measured on tokens, without a model"),
    instead("database", "similarity_threshold", &["0.99"], "likeness is measured on tokens: a program with the tokens of an earlier one isn't evaluated again"),

    used("evaluator", "timeout", "`limits.trial_seconds`: the process is ended, with all that it started"),
    instead("evaluator", "max_retries", &[], "an exception is the program's outcome and isn't tried again"),
    unread("evaluator", "memory_limit_mb", "here a limit holds: 16 GiB an evaluation"),
    unread("evaluator", "cpu_limit", "here the time limit holds"),
    used("evaluator", "cascade_evaluation", "stages of the evaluator"),
    used("evaluator", "cascade_thresholds", "scores that stages 1 and 2 must reach"),
    used("evaluator", "parallel_evaluations", "evaluations at once"),
    unread("evaluator", "distributed", "it is not implemented there"),
    instead("evaluator", "use_llm_feedback", &["false"], "no model judges programs: the score is the evaluator's alone"),
    instead("evaluator", "llm_feedback_weight", &[], "no model judges programs"),
    unread("evaluator", "enable_artifacts", "artifacts are always kept (there the variable ENABLE_ARTIFACTS decides)"),
    unread("evaluator", "max_artifact_storage", "artifacts are kept in the database"),

    instead("evolution_trace", "enabled", &["false"], TRACE),
    instead("evolution_trace", "format", &[], TRACE),
    instead("evolution_trace", "include_code", &[], TRACE),
    instead("evolution_trace", "include_prompts", &[], TRACE),
    instead("evolution_trace", "output_path", &["null"], TRACE),
    instead("evolution_trace", "buffer_size", &[], TRACE),
    instead("evolution_trace", "compress", &[], TRACE),
];

/// Keys that OpenEvolve doesn't have but that its own examples write at the top level, where it ignores them.
pub(super) const IGNORED_THERE: &[(&str, &str)] = &[
    ("allow_full_rewrites", "`diff_based_evolution: false` asks for whole programs"),
    ("parallel_evaluations", "it belongs into `evaluator:`"),
    ("max_program_length", "`max_code_length` limits a program"),
];

/// The keys of a section, in order.
pub(super) fn of(section: &str) -> impl Iterator<Item = &'static Key> + Clone {
    let section = if section == "llm.evaluator_models" { MODELS } else { section };
    KEYS.iter().filter(move |key| key.section == section)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the documentation.
    fn table() -> String {
        let mut text = String::from("| key | here |\n|---|---|\n");
        for key in KEYS.iter().filter(|key| !(key.section.is_empty() && SECTIONS.contains(&key.name))) {
            let words = match key.fate {
                Fate::Used(words) => format!("used: {words}"),
                Fate::Instead(words) => format!("instead: {words}"),
                Fate::Unread(words) => format!("read by nobody there: {words}"),
            };
            text.push_str(&format!("| `{}` | {words} |\n", key.path()));
        }
        text
    }

    #[test]
    fn the_documentation_shows_this_table() {
        let documented = include_str!("../../../../docs/openevolve.md");
        let table = table();
        assert!(documented.contains(&table), "docs/openevolve.md must hold this table as it is:\n{table}");
    }

    #[test]
    fn no_key_is_there_twice() {
        for (index, key) in KEYS.iter().enumerate() {
            let twice = KEYS[..index].iter().any(|other| other.path() == key.path());
            assert!(!twice, "{}", key.path());
        }
    }
}
