//! The key `proposer`: who proposes, and among several with which weights.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::StrDeserializer;
use serde::de::{self, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::yaml::ConfigError;
use crate::cli::ProposerName;

/// Who proposes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposerChoice {
    /// `llm` if `llm.models` names a model, else `rewrite`.
    #[default]
    Auto,
    /// A language model.
    Llm,
    /// The embedded rewrite rules.
    Rewrite,
    /// Stored replies from a file of JSON lines.
    Replay(PathBuf),
}

impl ProposerChoice {
    /// The word in a configuration, which is also the proposer's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Llm => "llm",
            Self::Rewrite => "rewrite",
            Self::Replay(_) => "replay",
        }
    }
}

/// One of those who propose.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedProposer {
    /// Who.
    pub choice: ProposerChoice,
    /// Its share is its weight over the sum of all, where the bandit is `fixed`.
    pub weight: f64,
}

impl From<ProposerChoice> for WeightedProposer {
    fn from(choice: ProposerChoice) -> Self {
        Self { choice, weight: 1.0 }
    }
}

/// The key as written: one name, a list of names, or a map from names to weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proposers(Vec<WeightedProposer>);

impl Default for Proposers {
    fn default() -> Self {
        Self(vec![ProposerChoice::Auto.into()])
    }
}

impl Proposers {
    /// A language model and nobody else.
    pub(super) fn llm() -> Self {
        Self(vec![ProposerChoice::Llm.into()])
    }

    /// Those that the command line names.
    pub(super) fn named(names: &[ProposerName]) -> Self {
        let choice = |name: &ProposerName| match name {
            ProposerName::Llm => ProposerChoice::Llm,
            ProposerName::Rewrite => ProposerChoice::Rewrite,
        };
        Self(names.iter().map(|name| choice(name).into()).collect())
    }

    /// Those who propose, at least one, none twice, none of them `Auto`. Files are relative to `folder`.
    pub(super) fn check(
        self,
        path: &Path,
        folder: &Path,
        has_model: bool,
    ) -> Result<Vec<WeightedProposer>, ConfigError> {
        let wrong = |what: String, hint: &str| Err(ConfigError::new(path, what).hint(hint));
        let names: Vec<&str> = self.0.iter().map(|proposer| proposer.choice.name()).collect();
        if names.is_empty() {
            return wrong("`proposer` names nobody".into(), "one or more of `llm`, `rewrite`");
        }
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return wrong(format!("`proposer` names `{}` twice", names[twice]), "name each once");
        }
        if names.len() > 1 && names.contains(&"auto") {
            return wrong("`proposer: auto` stands alone".into(), "name them all, such as [llm, rewrite]");
        }
        if names.contains(&"llm") && !has_model {
            let hint = "add `llm: { models: [{ name: ... }] }`, or use `proposer: rewrite`";
            return wrong("`proposer: llm` needs a model".into(), hint);
        }
        let weights = || self.0.iter().map(|proposer| proposer.weight);
        if let Some(weight) = weights().find(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return wrong(format!("`proposer` has the weight {weight}"), "weights are numbers of 0 or more");
        }
        if weights().all(|weight| weight == 0.0) {
            return wrong("`proposer` has no weight above 0".into(), "such as { llm: 3, rewrite: 1 }");
        }
        let choose = |choice| match choice {
            ProposerChoice::Auto if has_model => ProposerChoice::Llm,
            ProposerChoice::Auto => ProposerChoice::Rewrite,
            ProposerChoice::Replay(file) => ProposerChoice::Replay(folder.join(file)),
            other => other,
        };
        Ok(self
            .0
            .into_iter()
            .map(|WeightedProposer { choice, weight }| WeightedProposer { choice: choose(choice), weight })
            .collect())
    }
}

// By hand, because serde's untagged enums only say that "no variant matched".
impl<'de> Deserialize<'de> for Proposers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        fn named<E: de::Error>(name: &str) -> Result<ProposerChoice, E> {
            let name: StrDeserializer<'_, E> = name.into_deserializer();
            ProposerChoice::deserialize(name)
        }

        impl<'de> Visitor<'de> for Names {
            type Value = Proposers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a proposer's name, a list of names, or a map from names to weights")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Proposers, E> {
                Ok(Proposers(vec![named(name)?.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Proposers, A::Error> {
                let mut proposers = Vec::new();
                while let Some(choice) = names.next_element::<ProposerChoice>()? {
                    proposers.push(choice.into());
                }
                Ok(Proposers(proposers))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut weights: A) -> Result<Proposers, A::Error> {
                let mut proposers = Vec::new();
                while let Some(name) = weights.next_key::<String>()? {
                    // Stored replies need a file more than a weight.
                    proposers.push(if name == "replay" {
                        ProposerChoice::Replay(weights.next_value()?).into()
                    } else {
                        WeightedProposer { choice: named(&name)?, weight: weights.next_value()? }
                    });
                }
                Ok(Proposers(proposers))
            }
        }

        deserializer.deserialize_any(Names)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    fn check(yaml: &str, has_model: bool) -> Result<Vec<WeightedProposer>, String> {
        let proposers: Proposers = serde_yaml::from_str(yaml).map_err(|error| error.to_string())?;
        let checked = proposers.check(Path::new("c.yaml"), Path::new("folder"), has_model);
        checked.map_err(|error| error.to_string())
    }

    fn names(yaml: &str, has_model: bool) -> Vec<&'static str> {
        check(yaml, has_model).unwrap().iter().map(|proposer| proposer.choice.name()).collect()
    }

    #[test]
    fn one_name_a_list_and_weights_are_understood() {
        assert_eq!((names("auto", true), names("auto", false)), (vec!["llm"], vec!["rewrite"]));
        assert_eq!(names("[rewrite, llm]", true), ["rewrite", "llm"]);
        assert_eq!(names("[rewrite]", true), ["rewrite"]);
        let weighted = check("{ llm: 3, rewrite: 0.5 }", true).unwrap();
        assert_eq!(weighted.iter().map(|proposer| proposer.weight).collect::<Vec<_>>(), [3.0, 0.5]);
        for yaml in ["replay: r.jsonl", "[replay: r.jsonl, rewrite]", "{ replay: r.jsonl, rewrite: 1 }"] {
            let first = check(yaml, false).unwrap()[0].choice.clone();
            assert_eq!(first, ProposerChoice::Replay("folder/r.jsonl".into()), "{yaml}");
        }
    }

    #[test]
    fn bad_lists_are_told_apart() {
        for (yaml, expected) in [
            ("[]", "`proposer` names nobody"),
            ("{}", "`proposer` names nobody"),
            ("[rewrite, rewrite]", "`proposer` names `rewrite` twice"),
            ("[llm, rewrite]", "`proposer: llm` needs a model"),
            ("{ llm: 1, rewrite: 1 }", "`proposer: llm` needs a model"),
            ("[auto, rewrite]", "`proposer: auto` stands alone"),
            ("{ rewrite: -1 }", "`proposer` has the weight -1"),
            ("{ rewrite: 0 }", "`proposer` has no weight above 0"),
            ("rewrit", "rewrit"),
            ("[rewrit]", "rewrit"),
            ("{ rewrit: 2 }", "rewrit"),
            ("7", "a proposer's name, a list of names"),
        ] {
            let problem = check(yaml, false).unwrap_err();
            assert!(problem.contains(expected), "{yaml}: {problem}");
        }
    }
}
