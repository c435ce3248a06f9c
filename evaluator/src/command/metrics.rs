//! What a command printed: the last JSON object on its standard output.
//!
//! `OpenEvolve`'s contract: `score` or `combined_score`, else the mean of all numbers. Its holes are closed: a score that
//! is text, NaN or absent is a reason, never a number.

use std::collections::BTreeMap;

use search::Score;
use serde_json::{Map, Value};

/// A nested object of texts for the next prompt.
const ARTIFACTS: &str = "artifacts";
/// Bytes that parsing attempts may read in all: output made of half objects must not cost us minutes.
const PATIENCE: usize = 64 << 20;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Printed {
    pub(super) score: Score,
    /// All finite.
    pub(super) metrics: BTreeMap<String, f64>,
    /// Everything else that was printed, as text.
    pub(super) texts: Vec<(String, String)>,
}

/// Which of the metrics is the score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The first one of these that is there; else the mean of all numbers.
    pub(super) scores: Vec<String>,
    /// What that mean leaves out.
    pub(super) unscored: Vec<String>,
}

impl Default for Rule {
    fn default() -> Self {
        Self { scores: ["score", "combined_score"].map(str::to_owned).to_vec(), unscored: Vec::new() }
    }
}

impl Rule {
    pub(super) fn is_score(&self, name: &str) -> bool {
        self.scores.iter().any(|score| score == name)
    }

    /// The score of finite metrics.
    pub(super) fn score(&self, metrics: &BTreeMap<String, f64>) -> Result<Score, String> {
        if let Some(score) = self.scores.iter().find_map(|name| metrics.get(name)) {
            return Score::new(*score).map_err(|error| error.to_string());
        }
        let scored = metrics.iter().filter(|(name, _)| !self.unscored.contains(name));
        let mut numbers: Vec<f64> = scored.map(|(_, number)| *number).collect();
        if numbers.is_empty() {
            numbers = metrics.values().copied().collect();
        }
        if numbers.is_empty() {
            return Err("there is no number: it needs `score` or other numeric metrics".to_owned());
        }
        Score::new(numbers.iter().sum::<f64>() / numbers.len() as f64).map_err(|error| error.to_string())
    }
}

/// `Err` is the reason why there is no score.
pub(super) fn read(stdout: &str, rule: &Rule) -> Result<Printed, String> {
    let object = last_object(stdout).ok_or_else(|| {
        let hint = "print one such as {\"score\": 1.5}";
        if stdout.trim().is_empty() {
            format!("the command printed nothing; it has to print a JSON object of metrics: {hint}")
        } else {
            format!("the command printed no JSON object of metrics: {hint}")
        }
    })?;
    let mut metrics = BTreeMap::new();
    let mut texts = Vec::new();
    for (name, value) in object {
        let is_score = rule.is_score(&name);
        match value {
            Value::Number(number) => {
                let number = number.as_f64().filter(|number| number.is_finite());
                metrics.insert(name.clone(), number.ok_or_else(|| not_finite(&name))?);
            }
            // `NaN` has become null, see `last_object`.
            Value::Null => return Err(not_finite(&name)),
            other if is_score => return Err(format!("`{name}` has to be a number, not {}", kind(&other))),
            Value::Object(artifacts) if name == ARTIFACTS => {
                texts.extend(artifacts.into_iter().map(|(name, value)| (name, plain(value))));
            }
            other => texts.push((name, plain(other))),
        }
    }
    let score = rule.score(&metrics)?;
    Ok(Printed { score, metrics, texts })
}

fn not_finite(name: &str) -> String {
    format!("`{name}` is not a finite number (NaN, infinity or null)")
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The last object that begins at the start of a line, over one or several lines.
fn last_object(stdout: &str) -> Option<Map<String, Value>> {
    // Python prints NaN, which isn't JSON.
    let text = without_nan(stdout);
    let mut found = None;
    let mut patience = PATIENCE;
    let mut position = 0;
    while let Some(line) = text.get(position..).filter(|rest| !rest.is_empty()) {
        let mut next = position + line.find('\n').map_or(line.len(), |end| end + 1);
        if line.trim_start().starts_with('{') && patience > 0 {
            let mut objects = serde_json::Deserializer::from_str(line).into_iter::<Map<String, Value>>();
            if let Some(Ok(object)) = objects.next() {
                found = Some(object);
                // Go on behind it, at the next line.
                let end = position + objects.byte_offset();
                next = end + text[end..].find('\n').map_or(text.len() - end, |end| end + 1);
            } else {
                patience = patience.saturating_sub(line.len());
            }
        }
        position = next;
    }
    found
}

/// `NaN`, `Infinity` and `-Infinity` outside of strings become `null`.
fn without_nan(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if !in_string {
            let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word));
            if let Some(word) = word {
                result.push_str("null");
                rest = &rest[word.len()..];
                continue;
            }
        }
        match character {
            // A line end closes a string that prose left open: JSON strings don't span lines.
            '\n' => (in_string, escaped) = (false, false),
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && character == '\\' && !escaped;
        result.push(character);
        rest = &rest[character.len_utf8()..];
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(stdout: &str) -> f64 {
        read(stdout, &Rule::default()).unwrap().score.get()
    }

    #[test]
    fn the_last_object_counts_and_score_comes_before_combined_score() {
        assert!(
            (score("{\"score\": 1}\nnoise\n{\"score\": 2, \"combined_score\": 3}\nbye\n") - 2.0).abs()
                < 1e-12
        );
        assert!((score("warming up {not json}\n{\"combined_score\": 3}") - 3.0).abs() < 1e-12);
        assert!((score("{\n  \"score\": 4,\n  \"list\": [\n{\"score\": 5}\n]\n}\n") - 4.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_score_it_is_the_mean_of_the_numbers() {
        let printed =
            read("{\"speed\": 1, \"size\": 2.0, \"note\": \"fast\", \"ok\": true}", &Rule::default())
                .unwrap();
        assert!((printed.score.get() - 1.5).abs() < 1e-12);
        assert_eq!(printed.metrics.len(), 2);
        assert_eq!(
            printed.texts,
            [("note".to_owned(), "fast".to_owned()), ("ok".to_owned(), "true".to_owned())]
        );
    }

    #[test]
    fn artifacts_are_texts_not_metrics() {
        let printed =
            read("{\"score\": 1, \"artifacts\": {\"log\": \"line\\nNaN\", \"n\": 3}}", &Rule::default())
                .unwrap();
        assert_eq!(printed.metrics.len(), 1);
        assert_eq!(
            printed.texts,
            [("log".to_owned(), "line\nNaN".to_owned()), ("n".to_owned(), "3".to_owned())]
        );
    }

    #[test]
    fn whatever_is_no_score_has_its_reason() {
        for (stdout, words) in [
            ("", "printed nothing"),
            ("score: 3", "no JSON object"),
            ("[1, 2]", "no JSON object"),
            ("{\"score\": ", "no JSON object"),
            ("{}", "no number"),
            ("{\"note\": \"x\"}", "no number"),
            ("{\"score\": \"0.9\"}", "`score` has to be a number, not text"),
            ("{\"combined_score\": true}", "`combined_score` has to be a number"),
            ("{\"score\": NaN}", "`score` is not a finite number"),
            ("{\"score\": 1, \"speed\": Infinity}", "`speed` is not a finite number"),
            ("{\"score\": -Infinity}", "not a finite number"),
            ("{\"score\": null}", "not a finite number"),
            ("{\"score\": 1e999}", "no JSON object"),
        ] {
            let reason = read(stdout, &Rule::default()).unwrap_err();
            assert!(reason.contains(words), "{stdout}: {reason}");
        }
    }

    #[test]
    fn malicious_output_is_read_in_bounded_time() {
        let stdout = "{\"a\n".repeat(500_000);
        assert!(read(&stdout, &Rule::default()).is_err());
        let nested = "{\"a\":".repeat(100_000);
        assert!(read(&nested, &Rule::default()).is_err());
    }
}
