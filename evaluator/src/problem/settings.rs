//! How to decide whether a candidate is better: the `protocol` key of `problem.yaml`.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A protocol and its parameters. In YAML either a name alone (`protocol: fixed`) or a name with what differs from
/// its defaults (`protocol: {fixed: {trials: 7}}`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ProtocolSettings {
    /// Screened in at most three trials, confirmed by randomised pairs, at a level that counts all claims of the run.
    #[serde(rename = "race-confirm")]
    RaceConfirm(RaceSettings),
    /// A fixed number of trials an arm, all baseline trials first, then Welch's t-test.
    #[serde(rename = "fixed")]
    Fixed(FixedSettings),
    /// What the seed document's own code does: as `fixed`, but called better or worse from |t| > 1.6.
    #[serde(rename = "fixed-seed7")]
    FixedSeed7(Seed7Settings),
}

const NAMES: &[&str] = &["race-confirm", "fixed", "fixed-seed7"];

impl ProtocolSettings {
    /// The protocol's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RaceConfirm(_) => "race-confirm",
            Self::Fixed(_) => "fixed",
            Self::FixedSeed7(_) => "fixed-seed7",
        }
    }
}

impl Default for ProtocolSettings {
    fn default() -> Self {
        Self::RaceConfirm(RaceSettings::default())
    }
}

impl<'de> Deserialize<'de> for ProtocolSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrMap)
    }
}

struct NameOrMap;

impl<'de> Visitor<'de> for NameOrMap {
    type Value = ProtocolSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a protocol's name ({}), or one with its parameters", NAMES.join(", "))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ProtocolSettings, E> {
        match name {
            "race-confirm" => Ok(ProtocolSettings::RaceConfirm(RaceSettings::default())),
            "fixed" => Ok(ProtocolSettings::Fixed(FixedSettings::default())),
            "fixed-seed7" => Ok(ProtocolSettings::FixedSeed7(Seed7Settings::default())),
            other => Err(E::unknown_variant(other, NAMES)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ProtocolSettings, A::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(de::Error::custom("`protocol` is empty: write for example `protocol: race-confirm`"));
        };
        let settings = match name.as_str() {
            "race-confirm" => ProtocolSettings::RaceConfirm(map.next_value()?),
            "fixed" => ProtocolSettings::Fixed(map.next_value()?),
            "fixed-seed7" => ProtocolSettings::FixedSeed7(map.next_value()?),
            other => return Err(de::Error::unknown_variant(other, NAMES)),
        };
        match map.next_key::<String>()? {
            Some(second) => Err(de::Error::custom(format!("`protocol` names two: {name} and {second}"))),
            None => Ok(settings),
        }
    }
}

/// The parameters of `race-confirm`. Effects and deviations are on natural logarithms: 0.01 is 1 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaceSettings {
    /// Reference trials before the first candidate, at least 2: they tell the noise.
    pub calibration: u32,
    /// A screening runs a fresh reference trial when the last one ended this many trials ago.
    pub reference_age: u32,
    /// Last reference trials whose median a screening compares with.
    pub reference_pool: u32,
    /// Candidate trials of a screening, at most.
    pub screen_trials: u32,
    /// Effect that the screening looks for, in standard deviations of a trial.
    pub screen_effect: f64,
    /// Probability to reject a candidate that has this effect.
    pub screen_miss: f64,
    /// Probability to pass a candidate that has no effect.
    pub screen_pass: f64,
    /// |Δ ln loss| above which a screening rejects.
    pub screen_loss: f64,
    /// Effect that the pairs look for, in standard deviations of a pair.
    pub confirm_effect: f64,
    /// Probability to give up on a candidate that has this effect.
    pub confirm_miss: f64,
    /// Steepness of the bet on each pair's sign.
    pub bet: f64,
    /// Pairs before any claim, at least 2.
    pub min_pairs: u32,
    /// Pairs of a confirmation, at most.
    pub max_pairs: u32,
    /// Largest expected share of false claims among the claims of a run.
    pub alpha: f64,
    /// How slowly the level falls with the number of confirmations: larger keeps more for later ones.
    pub patience: u32,
    /// Smallest standard deviation of a trial that is believed.
    pub noise_floor: f64,
    /// Standard deviation of true effects, for shrinking measured ones.
    pub prior: f64,
    /// A candidate's trial that takes more than this multiple of the reference's median time counts as failed.
    pub slow: f64,
    /// Whether a claim makes the candidate the new reference. If not, all are compared with the baseline.
    pub promote: bool,
}

/// The seed document's protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FixedSettings {
    /// Trials in each arm, at least 2.
    pub trials: u32,
    /// Level of the two-sided test.
    pub alpha: f64,
    /// Trial i of the baseline has this seed plus i.
    pub baseline_seed: u64,
    /// Trial i of the candidate has this seed plus i.
    pub candidate_seed: u64,
}

/// The protocol of the seed document's code, which isn't the one of its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seed7Settings {
    /// Trials in each arm, at least 2.
    pub trials: u32,
    /// A larger |t| counts as a difference.
    pub threshold: f64,
    /// Trial i of the baseline has this seed plus i.
    pub baseline_seed: u64,
    /// Trial i of the candidate has this seed plus i.
    pub candidate_seed: u64,
}
