//! Results that were measured without the sandbox say so, in red, wherever they are shown.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use program_db::{ProgramDb, RunId};

use super::open::storage;
use crate::exit_code::Failure;

/// One warning, or none if every evaluation ran in the full sandbox. `counts` is by sandbox.
pub(crate) fn words(counts: &BTreeMap<String, u64>) -> Option<String> {
    let count = |sandbox| counts.get(sandbox).copied().unwrap_or_default();
    let of = counts.values().sum::<u64>();
    match (count("none"), count("reduced")) {
        (0, 0) => None,
        (0, reduced) => Some(format!(
            "REDUCED SANDBOX: {reduced} of {of} evaluations ran without namespaces (see `evolve doctor`)"
        )),
        (none, _) => Some(format!(
            "NOT SANDBOXED: {none} of {of} evaluations ran code with nothing between it and this machine; \
             don't trust these results"
        )),
    }
}

/// The same for one evaluation.
pub(crate) fn of_one(sandbox: Option<&str>) -> Option<String> {
    match sandbox {
        Some("full") => None,
        Some("reduced") => {
            Some("REDUCED SANDBOX: measured without namespaces (see `evolve doctor`)".to_owned())
        }
        _ => Some(
            "NOT SANDBOXED: measured with nothing between the program and this machine; don't trust it"
                .to_owned(),
        ),
    }
}

/// What a run's results, or those of all runs, have to be shown with.
pub(super) async fn of_runs(db: &ProgramDb, run: Option<RunId>) -> Result<Option<String>, Failure> {
    Ok(words(&db.sandboxes(run).await.map_err(storage)?))
}

/// For text on standard output: red where a person reads it.
pub(super) fn on_stdout(alarm: &str) -> String {
    coloured(alarm, std::io::stdout().is_terminal())
}

/// Says it on standard error, beside results that other programs may read.
pub(super) fn say(alarm: Option<String>) {
    if let Some(alarm) = alarm {
        eprintln!("{}", coloured(&alarm, std::io::stderr().is_terminal()));
    }
}

fn coloured(text: &str, is_terminal: bool) -> String {
    if is_terminal { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(sandbox, count)| ((*sandbox).to_owned(), *count)).collect()
    }

    #[test]
    fn one_evaluation_without_the_sandbox_is_enough_for_a_warning() {
        assert_eq!(words(&counts(&[("full", 30)])), None);
        assert_eq!(words(&BTreeMap::new()), None);
        let words = words(&counts(&[("full", 29), ("reduced", 2), ("none", 1)])).unwrap();
        assert!(words.starts_with("NOT SANDBOXED: 1 of 32"), "{words}");
    }

    #[test]
    fn the_warning_is_red_only_for_people() {
        assert_eq!(coloured("x", false), "x");
        assert_eq!(coloured("x", true), "\x1b[1;31mx\x1b[0m");
    }
}
