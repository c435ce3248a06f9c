//! Values that make no sense, found before anything runs.

use std::path::PathBuf;

use search::Language;

use super::{CommandProblem, KernelProblem, Limits, Problem, ProtocolSettings, RaceSettings};
use crate::statistics::{e_lond_level, flip_log_factor};

impl Problem {
    /// What is wrong with the values, if anything.
    pub(super) fn validate(&self) -> Result<(), String> {
        self.limits().validate()?;
        match self {
            Self::Kernel(problem) => problem.validate(),
            Self::Command(problem) => problem.validate(),
        }
    }
}

impl KernelProblem {
    fn validate(&self) -> Result<(), String> {
        if self.language != Language::Rust {
            return Err("`language`: kernels are written in Rust; write `language: rust`".to_owned());
        }
        if self.objectives.is_empty() {
            return Err("`objectives` is empty: name at least `tokens_per_second`".to_owned());
        }
        for (index, objective) in self.objectives.iter().enumerate() {
            let metric = objective.metric;
            if self.objectives[..index].iter().any(|other| other.metric == metric) {
                return Err(format!("`objectives`: {metric} is there twice"));
            }
            positive(&format!("objectives: weight of {metric}"), objective.weight)?;
            if !(0.0..1.0).contains(&objective.minimal_effect) {
                return Err(format!("`objectives`: minimal_effect of {metric} must be from 0 to below 1"));
            }
        }
        positive("constraints: loss", self.constraints.loss)?;
        positive("checks: error_budget", f64::from(self.checks.error_budget))?;
        if self.checks.cases.is_empty() {
            return Err("`checks: cases` is empty: leave the key out for the default cases".to_owned());
        }
        if self.checks.secret_cases > 100 {
            return Err("`checks: secret_cases` must be at most 100".to_owned());
        }
        self.protocol.validate()
    }
}

impl ProtocolSettings {
    fn validate(&self) -> Result<(), String> {
        let name = self.name();
        let trials = |trials: u32| {
            let fine = (2..=1000).contains(&trials);
            if fine { Ok(()) } else { Err(format!("`protocol: {name}: trials` must be from 2 to 1000")) }
        };
        match self {
            Self::RaceConfirm(race) => race.validate(),
            Self::Fixed(fixed) => {
                trials(fixed.trials)?;
                probability(&format!("protocol: {name}: alpha"), fixed.alpha)
            }
            Self::FixedSeed7(seed7) => {
                trials(seed7.trials)?;
                positive(&format!("protocol: {name}: threshold"), seed7.threshold)
            }
        }
    }
}

impl RaceSettings {
    fn validate(&self) -> Result<(), String> {
        let key = |key: &str| format!("protocol: race-confirm: {key}");
        let count = |name: &str, value: u32, least: u32, most: u32| {
            let fine = (least..=most).contains(&value);
            if fine { Ok(()) } else { Err(format!("`{}` must be from {least} to {most}", key(name))) }
        };
        count("calibration", self.calibration, 2, 60)?;
        count("reference_age", self.reference_age, 1, 1000)?;
        count("reference_pool", self.reference_pool, 1, 60)?;
        count("screen_trials", self.screen_trials, 1, 100)?;
        count("min_pairs", self.min_pairs, 2, 1000)?;
        count("max_pairs", self.max_pairs, 2, 1000)?;
        count("patience", self.patience, 1, 10_000)?;
        if self.min_pairs > self.max_pairs {
            return Err(format!("`{}` must not be above `max_pairs`", key("min_pairs")));
        }
        probability(&key("alpha"), self.alpha)?;
        positive(&key("bet"), self.bet)?;
        // Pairs that all show the same difference. A larger one counts for more, but at most for twice.
        let evidence = -e_lond_level(self.alpha, self.patience, 1, 0).ln();
        let needed = (evidence / flip_log_factor(&[1.0], self.bet)).ceil();
        if f64::from(self.max_pairs) < needed {
            return Err(format!(
                "`{}` must be at least {needed}: so many pairs a claim takes where all show the same difference",
                key("max_pairs")
            ));
        }
        positive(&key("screen_effect"), self.screen_effect)?;
        positive(&key("confirm_effect"), self.confirm_effect)?;
        positive(&key("screen_loss"), self.screen_loss)?;
        positive(&key("noise_floor"), self.noise_floor)?;
        positive(&key("prior"), self.prior)?;
        probability(&key("screen_miss"), self.screen_miss)?;
        probability(&key("screen_pass"), self.screen_pass)?;
        probability(&key("confirm_miss"), self.confirm_miss)?;
        if self.slow <= 1.0 || self.slow.is_nan() {
            return Err(format!(
                "`{}` must be above 1: it is a multiple of the reference's time",
                key("slow")
            ));
        }
        Ok(())
    }
}

impl CommandProblem {
    fn validate(&self) -> Result<(), String> {
        match (&self.command[..], &self.python) {
            ([], None) => {
                return Err("neither `command` nor `python` says how to evaluate: write for example \
                            `python: {file: evaluator.py}` or `command: [sh, evaluate.sh]`"
                    .to_owned());
            }
            ([first, ..], None) if first.is_empty() => {
                return Err(
                    "`command` is empty: write for example `command: [python3, evaluator.py]`".to_owned()
                );
            }
            ([_, ..], Some(_)) => {
                return Err("`command` and `python` are both there: one of them evaluates".to_owned());
            }
            (_, Some(python)) => python.validate()?,
            _ => {}
        }
        if self.python.is_some() && !self.judge.is_empty() {
            return Err("`judge` is for `command`: an evaluator in Python judges by itself".to_owned());
        }
        if self.judge.first().is_some_and(String::is_empty) {
            return Err("`judge` begins with an empty word: write for example `judge: [python3, judge.py]`"
                .to_owned());
        }
        self.noise.validate()?;
        if self.parallel == 0 {
            return Err("`parallel` must be at least 1".to_owned());
        }
        if self.sandbox.processes == 0 {
            return Err("`sandbox: processes` must be at least 1".to_owned());
        }
        let named = |key, paths: &[PathBuf]| match paths.iter().find(|path| !path.exists()) {
            Some(path) => Err(format!("`sandbox: {key}`: there is no {}", path.display())),
            None => Ok(()),
        };
        named("read", &self.sandbox.read)?;
        named("devices", &self.sandbox.devices)?;
        Ok(())
    }
}

impl Limits {
    fn validate(&self) -> Result<(), String> {
        positive("limits: compile_seconds", self.compile_seconds)?;
        positive("limits: check_seconds", self.check_seconds)?;
        positive("limits: trial_seconds", self.trial_seconds)?;
        if self.memory_bytes < 1 << 20 {
            return Err("`limits: memory_bytes` is below one megabyte: it counts bytes".to_owned());
        }
        if self.program_bytes == 0 {
            return Err("`limits: program_bytes` must be at least 1".to_owned());
        }
        Ok(())
    }
}

fn positive(key: &str, value: f64) -> Result<(), String> {
    let fine = value > 0.0 && value.is_finite();
    if fine { Ok(()) } else { Err(format!("`{key}` must be a number above 0, not {value}")) }
}

fn probability(key: &str, value: f64) -> Result<(), String> {
    let fine = value > 0.0 && value < 1.0;
    if fine { Ok(()) } else { Err(format!("`{key}` must be above 0 and below 1")) }
}
