//! The final report of a run: its champion, what it is worth on fresh pairs, and how steady the machine was.

use std::fmt::Write as _;

use program_db::view::{FailureKind, Maker, Series, Step};
use search::Effect;
use serde::Serialize;

use super::evaluation::effect;
use super::judgement::Judgement;
use super::numbers::count;
use super::pairs::{self, Pair};
use super::trace::Trace;
use crate::plot::{self, Drawing, Strip};

/// Everything that the report says, whatever its form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The run.
    pub run: i64,
    /// The problem's name.
    pub title: String,
    /// Proposals, the initial program not counted.
    pub proposals: u64,
    /// Programs that were evaluated.
    pub evaluated: u64,
    /// Time worked on it.
    pub seconds: f64,
    /// How results were measured without the full sandbox, if any were.
    pub alarm: Option<String>,
    /// What the search found.
    pub champion: Option<Champion>,
    /// The champion against others, one for each opponent; none for problems that aren't kernels.
    pub comparisons: Vec<Against>,
    /// The reference over the run.
    pub trace: Trace,
    /// What happened on the way.
    pub course: Course,
}

/// A run as its pages show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Scores over the numbers.
    pub scores: Series,
    /// Every program that was better than all before it.
    pub steps: Vec<Step>,
    /// How proposals ended.
    pub endings: Vec<FailureKind>,
    /// Who made them.
    pub makers: Vec<Maker>,
}

/// The best program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Champion {
    /// Its number.
    pub number: u64,
    /// Its score in the search.
    pub score: f64,
    /// Whether it is better than the initial program beyond chance, by the search's own trials.
    pub is_improved: bool,
    /// Lineage depth.
    pub generation: u32,
    /// Its proposer, or the model.
    pub by: String,
    /// What made it.
    pub operator: String,
    /// From the initial program to itself.
    pub lineage: Vec<Ancestor>,
    /// What the search said of it.
    pub verdict: String,
    /// Whether a command gave its score, so that there is nothing to pair.
    pub is_command: bool,
}

/// One step of a lineage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ancestor {
    /// Its number.
    pub number: u64,
    /// What made it.
    pub operator: String,
    /// Its score.
    pub score: Option<f64>,
}

/// Whom the champion is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Opponent {
    /// The initial program of the problem.
    Baseline,
    /// MLX-LM's own layer.
    MlxLm,
    /// MLX-LM's own LoRA layer, where the problem trains DoRA.
    PlainLora,
}

impl Opponent {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::MlxLm, Self::PlainLora];

    /// The word used in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::MlxLm => "mlx_lm",
            Self::PlainLora => "plain_lora",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Baseline => "the original baseline",
            Self::MlxLm => "MLX-LM's own layer",
            Self::PlainLora => "plain LoRA on the same model",
        }
    }
}

/// One opponent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// Who.
    pub opponent: Opponent,
    /// The latest comparison; none if it wasn't measured.
    pub measured: Option<Compared>,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// `2026-01-31T12:00:00Z`.
    pub at: String,
    /// The processor's or GPU's name.
    pub device: Option<String>,
    /// What the protocol made of it; none if it came to no end.
    pub judgement: Option<Judgement>,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

impl Compared {
    /// The effects, none if it came to no end.
    pub fn effects(&self) -> &[Effect] {
        self.judgement.as_ref().map_or(&[], |judgement| &judgement.effects)
    }

    /// For the drawing.
    pub fn strips(&self) -> Vec<Strip> {
        let strip = |effect: &Effect| Strip {
            metric: effect.metric.clone(),
            changes: self
                .pairs
                .iter()
                .filter_map(|pair| Some((pair.change(&effect.metric)?, pair.reference_first.unwrap_or(true))))
                .collect(),
            effect: Some(effect.change),
            interval: effect.interval,
        };
        self.effects().iter().map(strip).collect()
    }

    /// The drawing, if there are pairs to draw.
    pub fn drawing(&self, champion: u64, opponent: Opponent) -> Option<Drawing> {
        let strips = self.strips();
        let title = format!("Program {champion} against {}", opponent.words());
        strips.iter().any(|strip| !strip.changes.is_empty()).then(|| plot::pairs(&title, &strips))
    }

    /// What it says, a line each.
    pub fn lines(&self) -> Vec<String> {
        let Some(judgement) = &self.judgement else {
            return vec!["it came to no end: too many trials failed".to_owned()];
        };
        let mut lines: Vec<String> = judgement.effects.iter().map(effect).collect();
        lines.extend(judgement.loss.as_ref().map(super::judgement::Loss::words));
        if !judgement.reason.is_empty() {
            lines.push(judgement.reason.clone());
        }
        lines
    }
}

impl RunReport {
    /// What isn't measured yet.
    pub fn missing(&self) -> Vec<Opponent> {
        self.comparisons.iter().filter(|against| against.measured.is_none()).map(|it| it.opponent).collect()
    }

    /// How to measure what is missing.
    pub fn command(&self) -> String {
        format!("evolve report {} --measure", self.run)
    }

    /// The heading's line.
    pub fn summary(&self) -> String {
        format!(
            "run {}: {}, {}, {} evaluated in {:.0} s",
            self.run,
            self.title,
            count(self.proposals as usize, "proposal"),
            self.evaluated,
            self.seconds
        )
    }

    /// For the terminal, without the alarm.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.summary());
        let Some(champion) = &self.champion else {
            text.push_str("champion: none; no program was measured\n");
            return text;
        };
        for line in champion.lines(self.run) {
            let _ = writeln!(text, "{line}");
        }
        for against in &self.comparisons {
            let _ = write!(text, "\nagainst {}", against.opponent.words());
            let Some(compared) = &against.measured else {
                let _ = writeln!(text, ": not measured yet; `{}` does", self.command());
                continue;
            };
            let complete =
                compared.pairs.iter().filter(|pair| pair.reference.is_some() && pair.candidate.is_some());
            let on = compared.device.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
            let _ = writeln!(
                text,
                ", {} with fresh seeds, {}{on}:",
                count(complete.count(), "pair"),
                compared.at
            );
            for line in compared.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        if !self.trace.trials.is_empty() {
            text.push_str("\nthe machine over the run, by the reference's own speed:\n");
            for line in self.trace.words().lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }

    /// The pairs of each comparison, for those who want to see them on the terminal.
    pub fn pairs(&self) -> String {
        let measured = self.comparisons.iter().filter_map(|against| against.measured.as_ref());
        measured.map(|compared| pairs::table(&compared.pairs)).collect::<Vec<_>>().join("\n")
    }
}

impl Champion {
    /// Who it is, a line each.
    pub fn lines(&self, run: i64) -> Vec<String> {
        if self.lineage.len() < 2 {
            return vec![
                "champion: none; nothing better than the initial program was found beyond chance".to_owned(),
            ];
        }
        let beyond = match (self.is_improved, self.is_command) {
            (true, _) => "",
            (false, true) => "; a command gave the scores, so nothing is said about chance",
            (false, false) => "; NOT better beyond chance",
        };
        let steps: Vec<String> = self
            .lineage
            .iter()
            .map(|ancestor| match ancestor.number {
                0 => "0".to_owned(),
                number => format!("{number} ({})", ancestor.operator),
            })
            .collect();
        vec![
            format!(
                "champion: program {run}/{}, {} by {}, generation {}",
                self.number, self.operator, self.by, self.generation
            ),
            format!("  in the search: {}{beyond}", self.verdict),
            format!("  lineage: {}", steps.join(" -> ")),
        ]
    }
}
