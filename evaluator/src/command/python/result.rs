//! What the evaluator returned, once its side has written it down.

use std::collections::BTreeMap;

use search::{Measured, Outcome, Score, Verdict};
use serde::Deserialize;
use serde_json::Value;

use super::super::metrics::{Rule, kind, plain};

/// As `contract.py` writes it.
#[derive(Deserialize)]
struct Written {
    metrics: serde_json::Map<String, Value>,
    artifacts: serde_json::Map<String, Value>,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    traceback: String,
    /// What was returned breaks the contract, rather than something having been raised.
    contract: bool,
    /// The stage's function, in a cascade.
    function: Option<String>,
}

/// What a result holds.
#[derive(Debug)]
pub(super) struct Returned {
    /// All finite.
    pub(super) metrics: BTreeMap<String, f64>,
    /// Artifacts, and whatever among the metrics is no number.
    pub(super) texts: Vec<(String, String)>,
    pub(super) verdict: Result<Score, Words>,
}

/// Why there is no score.
#[derive(Debug, PartialEq)]
pub(super) enum Words {
    /// It ran out of memory, and noticed.
    Memory,
    Crash(String),
    Rejected(String),
}

/// `Err` only if it isn't what our side writes: the program wrote it.
pub(super) fn read(bytes: &[u8], rule: &Rule) -> Result<Returned, String> {
    let written: Written = serde_json::from_slice(bytes).map_err(|error| {
        format!("the program wrote into the pipe on which the evaluator answers: {error}")
    })?;
    let mut metrics = BTreeMap::new();
    let mut texts: Vec<(String, String)> =
        written.artifacts.into_iter().map(|(name, value)| (name, plain(legible(value)))).collect();
    let mut wrong = None;
    for (name, value) in written.metrics {
        let number = match &value {
            Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
            Value::Bool(is_so) if !rule.is_score(&name) => Some(f64::from(u8::from(*is_so))),
            _ => None,
        };
        match number {
            Some(number) => drop(metrics.insert(name, number)),
            None => {
                if rule.is_score(&name) {
                    wrong.get_or_insert_with(|| wrong_score(&name, &value));
                }
                texts.push((name, plain(legible(value))));
            }
        }
    }
    let verdict = match (written.failure, wrong) {
        (Some(failure), _) => Err(failed(failure, &mut texts)),
        (None, Some(reason)) => Err(Words::Rejected(reason)),
        (None, None) => rule.score(&metrics).map_err(Words::Rejected),
    };
    Ok(Returned { metrics, texts, verdict })
}

fn failed(failure: Failure, texts: &mut Vec<(String, String)>) -> Words {
    let Failure { kind, message, traceback, contract, function } = failure;
    if let Some(function) = &function {
        texts.push(("failure_stage".to_owned(), function.clone()));
    }
    if contract {
        return Words::Rejected(message);
    }
    texts.push(("traceback".to_owned(), traceback));
    let place = function.map_or_else(String::new, |function| format!(" in {function}"));
    match kind.as_str() {
        "MemoryError" => Words::Memory,
        "SystemExit" => Words::Crash(format!("SystemExit: {message}{place} (sys.exit is no way to return)")),
        _ => Words::Crash(format!("{kind}: {message}{place}")),
    }
}

fn wrong_score(name: &str, value: &Value) -> String {
    match not_finite(value) {
        Some(number) => format!("`{name}` is not a finite number but {number}"),
        None => format!("`{name}` has to be a number, not {}", kind(value)),
    }
}

/// What `contract.py` writes for a number that JSON doesn't have.
fn not_finite(value: &Value) -> Option<&str> {
    value.as_object().filter(|object| object.len() == 1)?.get("not finite")?.as_str()
}

fn legible(value: Value) -> Value {
    match not_finite(&value) {
        Some(number) => Value::from(number),
        None => value,
    }
}

pub(super) fn measured(score: Score, metrics: BTreeMap<String, f64>) -> Outcome {
    Outcome::Measured(Measured {
        score,
        verdict: Verdict::Inconclusive,
        metrics,
        effects: Vec::new(),
        reason: format!("score {score} as the problem's evaluator returned it"),
        score_error: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule { scores: vec!["combined_score".to_owned()], unscored: vec!["length".to_owned()] }
    }

    fn returned(metrics: &str) -> Returned {
        let text = format!(
            "{{\"metrics\": {metrics}, \"artifacts\": {{\"a\": 1}}, \"failure\": null, \"stage\": 1}}"
        );
        read(text.as_bytes(), &rule()).unwrap()
    }

    #[test]
    fn the_score_is_combined_score_else_the_mean_without_features_and_truth_values_count_as_numbers_only_for_people()
     {
        let score = |metrics| returned(metrics).verdict.unwrap().get();
        assert!((score("{\"combined_score\": 3, \"x\": 9}") - 3.0).abs() < 1e-12);
        assert!((score("{\"x\": 1, \"y\": 2.0, \"length\": 100, \"note\": \"n\"}") - 1.5).abs() < 1e-12);
        assert_eq!(returned("{\"x\": 1, \"ok\": true}").metrics["ok"].to_bits(), 1f64.to_bits());
    }

    #[test]
    fn what_is_no_score_has_its_reason_and_what_is_no_number_is_kept_as_text() {
        for (metrics, words) in [
            ("{\"combined_score\": \"0.9\"}", "has to be a number, not text"),
            ("{\"combined_score\": {\"not finite\": \"nan\"}}", "not a finite number but nan"),
            ("{\"combined_score\": null, \"x\": 1}", "has to be a number, not null"),
            ("{\"combined_score\": true}", "has to be a number, not true or false"),
            ("{}", "no number"),
        ] {
            let Err(Words::Rejected(reason)) = returned(metrics).verdict else {
                panic!("{metrics} has a score")
            };
            assert!(reason.contains(words), "{metrics}: {reason}");
        }
        let odd =
            returned("{\"combined_score\": 1, \"x\": {\"not finite\": \"inf\"}, \"inner\": {\"y\": 2}}");
        assert!(odd.verdict.is_ok());
        let texts: Vec<(&str, &str)> = odd.texts.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
        assert_eq!(texts, [("a", "1"), ("x", "inf"), ("inner", "{\"y\":2}")]);
    }

    #[test]
    fn a_forged_result_is_no_error_of_ours() {
        assert!(read(b"{}", &rule()).unwrap_err().contains("wrote into the pipe"));
        assert!(read(b"\xff", &rule()).is_err());
    }
}
