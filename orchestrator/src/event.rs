//! What happens in a run, as one stream for many readers: terminal, JSON lines, later the dashboard.
//! A reader that falls behind loses events; it can't slow a run down or stop it.

use serde::Serialize;
use tokio::sync::broadcast;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A kernel problem's evaluator is being made ready, before there is a run: with a big model it takes minutes.
    Preparing {
        /// The problem's title.
        title: String,
    },
    /// A run begins or goes on.
    RunStarted {
        /// The run's id in the database.
        run: i64,
        /// The problem's title.
        title: String,
        /// Who proposes.
        proposer: String,
        /// The run's seed.
        seed: u64,
        /// Proposals this run makes in all.
        max_iterations: u64,
        /// Outcomes that were in the database already.
        resumed: u64,
        /// Where everything is kept.
        database: String,
        /// How well candidates are shut in: `full`, `reduced`, `none`.
        sandbox: &'static str,
    },
    /// A proposal arrived and is stored.
    Proposed {
        /// The proposal's number.
        number: u64,
        /// The program it was made from.
        parent: u64,
        /// The island.
        island: usize,
        /// Who proposed.
        proposer: String,
        /// How: edit, rewrite, crossover, a rule's name, ...
        operator: String,
        /// The language model, if any.
        model: Option<String>,
        /// The failed proposal that it mends.
        repairs: Option<u64>,
        /// What its prompt left out for length, in words.
        left_out: Vec<String>,
        /// Seconds it took.
        seconds: f64,
    },
    /// An evaluation moves on.
    Evaluating {
        /// The proposal's number.
        number: u64,
        /// `compile`, `check`, `trial`.
        stage: String,
        /// Whose code a trial runs: `baseline` or `candidate`.
        arm: Option<&'static str>,
        /// Which trial and of how many, from 1.
        trial: Option<(u32, u32)>,
    },
    /// A proposal has its outcome; it is stored and search knows it.
    Finished {
        /// The proposal's number.
        number: u64,
        /// [`search::Outcome::kind`].
        kind: &'static str,
        /// The score, if measured.
        score: Option<f64>,
        /// The verdict, if measured.
        verdict: Option<&'static str>,
        /// One line in plain words.
        summary: String,
        /// Best score so far.
        best: Option<f64>,
        /// Whether this one is the new best.
        is_best: bool,
    },
    /// A model wrote down what the search teaches so far, or failed to; it is stored.
    Lessons {
        /// Which version.
        version: u32,
        /// Outcomes that it was made from.
        told: u64,
        /// The lessons.
        lessons: Vec<String>,
        /// Why there are none.
        failure: Option<String>,
    },
    /// The run's champion is measured against an opponent on fresh seeds.
    Comparing {
        /// The champion's number.
        number: u64,
        /// `baseline` or `mlx_lm`.
        opponent: &'static str,
    },
    /// That is done, and stored.
    Compared {
        /// The champion's number.
        number: u64,
        /// `baseline` or `mlx_lm`.
        opponent: &'static str,
        /// One line in plain words.
        summary: String,
    },
    /// Something a user should know that doesn't stop the run.
    Warning {
        /// In plain words.
        message: String,
    },
    /// The run pauses to end: no new work is begun.
    Stopping {
        /// Why.
        reason: String,
    },
    /// The loop has ended.
    RunEnded {
        /// The run's id.
        run: i64,
        /// Why.
        reason: StopReason,
        /// Outcomes in the database.
        outcomes: u64,
        /// Best score.
        best: Option<f64>,
    },
}

impl Event {
    /// The evaluator's progress as an event, where it is worth one.
    pub fn from_progress(progress: &evaluator::Progress) -> Option<Self> {
        let number = progress.id;
        Some(match &progress.event {
            evaluator::Event::Entered { stage } => {
                Self::Evaluating { number, stage: stage.to_string(), arm: None, trial: None }
            }
            evaluator::Event::TrialStarted { arm, number: index, of } => Self::Evaluating {
                number,
                stage: "trial".into(),
                arm: Some(arm.as_str()),
                trial: Some((*index, *of)),
            },
            evaluator::Event::TrialEnded { .. } => return None,
            evaluator::Event::Resent { tries } => Self::Warning {
                message: format!(
                    "the evaluator died while it evaluated program {number}; a new one was started (try {tries})"
                ),
            },
        })
    }
}

/// Why a run's loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All iterations are done.
    Iterations,
    /// The wall-time budget is spent.
    WallTime,
    /// The target score is reached.
    Target,
    /// Nothing has improved for as long as `early_stopping` allows.
    NoImprovement,
    /// The budget of money doesn't allow another request.
    Cost,
    /// The budget of tokens doesn't allow another request.
    Tokens,
    /// A recording has no further reply.
    RecordingEnds,
    /// Ctrl-C.
    Interrupted,
}

impl StopReason {
    /// In plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Iterations => "all iterations are done",
            Self::WallTime => "the wall-time budget is spent",
            Self::Target => "the target score is reached",
            Self::NoImprovement => "nothing improved for as long as early_stopping allows",
            Self::Cost => "llm.max_cost is spent",
            Self::Tokens => "llm.max_total_tokens are spent",
            Self::RecordingEnds => "the recording has no further reply",
            Self::Interrupted => "interrupted",
        }
    }
}

impl std::str::FromStr for StopReason {
    type Err = ();

    /// From its [`StopReason::words`], as sessions keep them. Anything else a session ended with is a failure's message.
    fn from_str(words: &str) -> Result<Self, ()> {
        let all = [
            Self::Iterations,
            Self::WallTime,
            Self::Target,
            Self::NoImprovement,
            Self::Cost,
            Self::Tokens,
            Self::RecordingEnds,
            Self::Interrupted,
        ];
        all.into_iter().find(|reason| reason.words() == words).ok_or(())
    }
}

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(4096).0)
    }
}

impl Events {
    /// Tells every reader. Without readers it does nothing.
    pub fn send(&self, event: Event) {
        // The only error is "nobody listens", which is fine.
        let _ = self.0.send(event);
    }

    /// A new reader; it sees what is sent from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
