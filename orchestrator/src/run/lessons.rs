//! The run's lessons while it runs: who waits for which version, and what is still to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use program_db::{Descent, LessonAttempt, NewLesson, ProgramDb, RunId};
use search::{Language, Outcome, ProgramId};
use similar::TextDiff;
use tokio::sync::watch;

use crate::commands::storage;
use crate::config::Config;
use crate::exit_code::Failure;
use crate::lessons::{self, LessonSettings};
use crate::prompt::{Material, Tried};
use crate::proposer::{Condensed, Exhibit, Lessons, ProblemText};

/// What came of each version that was tried.
type Attempts = BTreeMap<u32, Option<Vec<String>>>;

/// Which lessons there are, shared with the proposals that wait for one.
#[derive(Debug)]
pub(super) struct LessonBook {
    settings: LessonSettings,
    slack: u64,
    /// The version that the run's last proposal shows; later ones nobody would read.
    last: u32,
    attempts: watch::Sender<Option<Attempts>>,
    /// Versions that are being written.
    under_way: BTreeSet<u32>,
}

/// A proposal's claim to some version.
pub(super) struct Wanted {
    version: u32,
    attempts: watch::Receiver<Option<Attempts>>,
}

/// The run ends: nobody waits for lessons any more.
#[derive(Debug)]
pub(super) struct Closed;

impl LessonBook {
    /// With what earlier sessions stored. Only a model can write lessons.
    pub(super) fn new(config: &Config, stored: Vec<LessonAttempt>) -> Self {
        let mut settings = config.lessons.clone();
        if !config.asks_model() && !config.replays() {
            settings.every = 0;
        }
        let attempts = stored.into_iter().map(|stored| (stored.attempt.version, stored.attempt.lessons.ok()));
        let attempts = watch::Sender::new(Some(attempts.collect()));
        let slack = config.lookahead;
        let last = settings.shown((config.max_iterations + 1).saturating_sub(slack), slack);
        Self { settings, slack, last, attempts, under_way: BTreeSet::new() }
    }

    /// The version that a proposal asked for now shows, and whether somebody has to write it first.
    pub(super) fn wanted(&mut self, outcomes: u64) -> (Wanted, Option<u32>) {
        let version = self.settings.shown(outcomes, self.slack);
        let missing = self.missing(version);
        (Wanted { version, attempts: self.attempts.subscribe() }, missing)
    }

    /// The version to be written now that so many outcomes are told, if one is just due.
    pub(super) fn due(&mut self, outcomes: u64) -> Option<u32> {
        let version = self.settings.due(outcomes);
        let is_due = self.settings.range(version).end == outcomes && version <= self.last;
        if is_due { self.missing(version) } else { None }
    }

    /// Takes the writing of a version on, if nobody has.
    fn missing(&mut self, version: u32) -> Option<u32> {
        let is_known = self.attempts.borrow().as_ref().is_none_or(|attempts| attempts.contains_key(&version));
        (version > 0 && !is_known && self.under_way.insert(version)).then_some(version)
    }

    /// A version is stored: those who waited for it go on.
    pub(super) fn written(&mut self, version: u32, lessons: Option<Vec<String>>) {
        self.under_way.remove(&version);
        self.attempts.send_modify(|attempts| {
            if let Some(attempts) = attempts {
                attempts.insert(version, lessons);
            }
        });
    }

    /// Lets all who wait go home: what they wait for would be asked of a model when the run is to end.
    pub(super) fn close(&self) {
        self.attempts.send_replace(None);
    }

    /// What a version is made from; a function of what is stored of the numbers told then.
    pub(super) fn order(&self, version: u32) -> Order {
        let attempts = self.attempts.borrow();
        let before =
            attempts.iter().flatten().rfind(|(known, lessons)| **known < version && lessons.is_some());
        Order {
            version,
            numbers: self.settings.range(version),
            before: before.and_then(|(_, lessons)| lessons.clone()).unwrap_or_default(),
            most: self.settings.most,
            model: self.settings.model.clone(),
        }
    }
}

impl Wanted {
    /// Waits for the version; what there is by then.
    pub(super) async fn get(mut self) -> Result<Option<Lessons>, Closed> {
        if self.version == 0 {
            return Ok(None);
        }
        let version = self.version;
        let ready = |attempts: &Option<Attempts>| {
            attempts.as_ref().is_none_or(|attempts| attempts.contains_key(&version))
        };
        let attempts = self.attempts.wait_for(ready).await.map_err(|_| Closed)?;
        let attempts = attempts.as_ref().ok_or(Closed)?;
        // An attempt that came to nothing leaves the lessons as they were.
        let latest = attempts
            .range(..=version)
            .rev()
            .find_map(|(version, lessons)| Some((*version, lessons.clone()?)));
        Ok(latest.map(|(version, items)| Lessons { version, items }))
    }
}

/// A version to be written.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) version: u32,
    numbers: std::ops::Range<u64>,
    before: Vec<String>,
    most: usize,
    pub(super) model: Option<String>,
}

impl Order {
    /// For whatever a proposer draws.
    pub(super) fn seed(&self, run_seed: u64) -> u64 {
        run_seed ^ (u64::from(self.version) << 32)
    }

    /// What the model is shown, from the database.
    pub(super) async fn material(
        &self,
        db: &ProgramDb,
        run: RunId,
        language: Language,
        problem: &Arc<ProblemText>,
    ) -> Result<Material, Failure> {
        // One query for all of them: a running search waits for this.
        let descents =
            db.descents(run, self.numbers.start.max(1)..self.numbers.end).await.map_err(storage)?;
        // What was never read says nothing about programs.
        let read = descents.into_iter().filter(|it| !matches!(it.outcome, Outcome::NoProposal { .. }));
        let tried = read.map(tried).collect();
        let best = db.best_below(run, ProgramId(self.numbers.end)).await.map_err(storage)?;
        let best = best.map(|program| Exhibit::new(program.number, program.source, program.outcome));
        let (version, most) = (self.version, self.most);
        let (problem, before) = (problem.clone(), self.before.clone());
        Ok(Material { language, problem, version, before, most, best, tried })
    }

    /// The row that keeps what came of it.
    pub(super) fn row(&self, condensed: Condensed) -> NewLesson {
        NewLesson {
            version: self.version,
            told: self.numbers.end,
            model: condensed.model,
            tokens_in: condensed.tokens_in,
            tokens_out: condensed.tokens_out,
            cost: condensed.cost,
            latency: condensed.latency,
            requests: condensed.requests,
            prompt: condensed.prompt,
            reply: condensed.reply,
            lessons: condensed.text.and_then(|text| lessons::read(&text, self.most)),
        }
    }
}

/// A proposal with the lines that it changed.
fn tried(descent: Descent) -> Tried {
    let change = descent
        .parent_source
        .zip(descent.source)
        .map(|(old, new)| TextDiff::from_lines(&old, &new).unified_diff().context_radius(0).to_string());
    Tried {
        id: descent.number.0,
        operator: descent.operator,
        outcome: descent.outcome,
        parent: descent.parent_outcome,
        change,
    }
}
