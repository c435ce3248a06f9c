//! The run loop, which is the main path: ask, propose, store, admit, evaluate, store, tell.
//!
//! Store before tell: what search knows is in the database already, so a killed run loses nothing, and a resumed one
//! is the same loop, fed from the database until that ends.

mod arrivals;
mod champion;
mod ending;
mod exhibits;
mod lessons;
mod measurement;
mod request;
mod seen;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use evaluator::{Evaluator, EvaluatorError, Job, Purpose};
use search::{Arm, Ask, Language, Outcome, PROBE, ProgramId, Search, Stage, TUNE};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use self::arrivals::{Arrivals, Arrived, Done, Evaluated};
pub use self::champion::compare;
use self::ending::Ending;
use self::lessons::LessonBook;
pub use self::measurement::{history, stored_decision, stored_trial};
pub(crate) use self::request::request;
use self::seen::SeenCodes;
pub use self::store::Store;
use crate::config::{Config, ProposerChoice, WeightedProposer};
use crate::event::{Event, Events, StopReason};
use crate::exit_code::{ExitCode, Failure};
use crate::pipeline::{Pipeline, Step};
use crate::proposer::{ProblemText, Proposer, tune};

/// What a run works with.
pub struct Run {
    /// The checked configuration.
    pub config: Config,
    /// The run's rows in the database.
    pub store: Store,
    /// Who proposes.
    pub proposer: Arc<dyn Proposer>,
    /// The problem in words, for the proposer.
    pub problem: Arc<ProblemText>,
    /// Who evaluates.
    pub evaluator: Evaluator,
    /// Who is told what happens.
    pub events: Events,
    /// Cancelled by the first Ctrl-C.
    pub interrupt: CancellationToken,
    /// Cancelled once no new work is begun, for whatever reason: proposers stop waiting for what isn't paid for yet.
    pub stopping: CancellationToken,
}

/// Where a proposal comes from: what is left of an ask when the reply is there.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The program it was made from.
    pub parent: ProgramId,
    /// The island it was asked for.
    pub island: usize,
    /// The failed proposal that it mends.
    pub repairs: Option<ProgramId>,
    /// The version of the lessons that it was shown.
    pub lesson: Option<u32>,
}

/// A proposal on its way to admission; it is stored already.
struct Proposed {
    /// As search will be told of it.
    told: search::Proposal,
    /// The program that it led to, if it did.
    source: Option<String>,
    /// Its outcome, where that is known already: it led to no program, or it was told in an earlier session.
    outcome: Option<Outcome>,
    /// Stored in an earlier session with its outcome: nobody needs to hear of it again.
    replayed: bool,
}

/// An outcome on its way to being told.
struct Finished {
    told: search::Proposal,
    outcome: Outcome,
    /// As in [`Proposed`].
    replayed: bool,
}

/// The loop's own state.
struct Loop {
    run: Run,
    search: Search,
    pipeline: Pipeline<Proposed, Finished>,
    seen: SeenCodes,
    lessons: LessonBook,
    tasks: JoinSet<Done>,
    arrivals: Arrivals,
    proposing: usize,
    ending: Option<Ending>,
    outcomes: u64,
}

impl Run {
    /// Drives the run to its end. Whatever it returns, everything that was reported is in the database.
    pub async fn drive(mut self) -> Result<StopReason, Failure> {
        let search = new_search(&self.config)?;
        let deadline = self.config.max_wall_seconds.map(|s| Instant::now() + Duration::from_secs_f64(s));
        let mut pipeline = Pipeline::new(self.config.lookahead, self.config.max_iterations);
        let language = self.config.problem.problem.language();
        let initial =
            self.store.prior(0, language).await?.ok_or_else(|| internal("the run has no initial program"))?;
        pipeline.proposed(0, initial);
        let lessons = LessonBook::new(&self.config, self.store.lessons().await?);
        let max_similarity = self.config.search.novelty.max_similarity;
        let mut state = Loop {
            run: self,
            search,
            pipeline,
            seen: SeenCodes::new(max_similarity),
            lessons,
            tasks: JoinSet::new(),
            arrivals: Arrivals::default(),
            proposing: 0,
            ending: None,
            outcomes: 0,
        };
        state.forward_progress();
        let span = tracing::info_span!("run", run = state.run.store.run());
        let reason = state.drive(deadline).instrument(span).await?;
        if reason != StopReason::Interrupted && state.run.config.final_report {
            let Run { store, evaluator, config, events, interrupt, .. } = &state.run;
            champion::compare(store, evaluator, config, events, interrupt).await?;
        }
        state.run.events.send(Event::RunEnded {
            run: state.run.store.run(),
            reason,
            outcomes: state.outcomes,
            best: state.search.best().map(|best| best.score.get()),
        });
        Ok(reason)
    }
}

impl Loop {
    async fn drive(&mut self, deadline: Option<Instant>) -> Result<StopReason, Failure> {
        loop {
            self.check_budgets(deadline);
            if let Some(ending) = &self.ending
                && ending.is_over(self.proposing, self.pipeline.in_flight(), self.pipeline.is_stuck())
            {
                break;
            }
            match self.pipeline.next_step() {
                Step::Ask(number) => self.ask(number).await?,
                Step::Admit(number, proposed) => self.admit(number, proposed)?,
                Step::Tell(number, finished) => self.tell(number, finished).await?,
                Step::Done if self.proposing == 0 => break,
                // All is told, but lessons are still being written: they are paid for.
                Step::Wait | Step::Done => {
                    let waited = self.wait(deadline).await;
                    self.store_arrivals().await?;
                    waited?;
                }
            }
        }
        self.store_arrivals().await?;
        self.ending.take().map_or(Ok(StopReason::Iterations), Ending::result)
    }

    /// Sees whether the run should end, and begins to end it.
    fn check_budgets(&mut self, deadline: Option<Instant>) {
        if self.run.interrupt.is_cancelled() {
            self.end(Ending::interrupted());
        } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.end(Ending::budget(StopReason::WallTime));
        }
    }

    /// Begins no new work. The first reason stands, but an interrupt goes before a budget.
    fn end(&mut self, ending: Ending) {
        if self.ending.as_ref().is_some_and(|current| !ending.overrides(current)) {
            return;
        }
        self.pipeline.stop_asking();
        self.run.stopping.cancel();
        if let Some(message) = ending.announcement(self.proposing) {
            self.run.events.send(Event::Stopping { reason: message });
        }
        if ending.drops_evaluations() {
            self.lessons.close();
        }
        self.ending = Some(ending);
    }

    /// Asks search for a number; if its proposal isn't stored already, starts proposing.
    async fn ask(&mut self, number: u64) -> Result<(), Failure> {
        if let Some(prior) = self.run.store.prior(number, self.language()).await? {
            self.pipeline.proposed(number, prior);
            return Ok(());
        }
        let ask = self.search.ask(number).ok_or_else(|| internal("search has no parent to offer"))?;
        let mut origin = Origin { parent: ask.parent, island: ask.island, repairs: ask.repair, lesson: None };
        let language = self.language();
        let seen = self.seen.as_of(self.outcomes, language);
        let Run { store, config, problem, .. } = &mut self.run;
        let mut request = request(store, &self.search, config, problem, &ask, seen).await?;
        let inspirations = request::shown(&ask);
        let proposer = self.run.proposer.clone();
        let Ask { tune, probe, proposer: named, .. } = ask;
        let reads = tune.is_none() && !probe && named.as_deref() != Some(ProposerChoice::Rewrite.name());
        let lessons = if reads { Some(self.wanted_lessons().await?) } else { None };
        self.proposing += 1;
        let propose = async move {
            if let Some(lessons) = lessons {
                let Ok(lessons) = lessons.get().await else { return Done::Abandoned };
                origin.lesson = lessons.as_ref().map(|lessons| lessons.version);
                request.lessons = lessons;
            }
            let proposal = match tune {
                Some(values) => Ok(tune::propose(&request.parent, &values)),
                None if probe => Ok(tune::probe(&request)),
                None => proposer.propose(request).await,
            };
            Done::proposed(number, origin, inspirations, proposal, language)
        };
        self.tasks.spawn(propose.instrument(tracing::info_span!("propose", number)));
        Ok(())
    }

    /// The lessons that a proposal asked for now is shown; has them written, if they are missing.
    async fn wanted_lessons(&mut self) -> Result<lessons::Wanted, Failure> {
        let (wanted, missing) = self.lessons.wanted(self.outcomes);
        if let Some(version) = missing {
            self.write_lessons(version).await?;
        }
        Ok(wanted)
    }

    /// Starts writing a version of the lessons.
    async fn write_lessons(&mut self, version: u32) -> Result<(), Failure> {
        let order = self.lessons.order(version);
        let material = self.run.store.material(&order, self.language(), &self.run.problem).await?;
        let proposer = self.run.proposer.clone();
        let seed = order.seed(self.run.config.random_seed);
        self.proposing += 1;
        self.tasks.spawn(async move {
            let condensed = proposer.condense(material, order.model.clone(), seed).await;
            Done::Condensed(order, Box::new(condensed))
        });
        Ok(())
    }

    /// Decides, in order of numbers, whether a proposal is evaluated; if so, starts that.
    fn admit(&mut self, number: u64, proposed: Proposed) -> Result<(), Failure> {
        let Proposed { told, source, outcome, replayed } = proposed;
        let is_tuning = told.operator == TUNE || told.operator == PROBE;
        let may_be_near = outcome.is_some() || is_tuning || told.parent.is_none();
        let refusal = told.code.as_ref().and_then(|code| self.seen.register(code, number, may_be_near));
        match (outcome, refusal, source) {
            (Some(outcome), ..) => self.pipeline.finished(number, Finished { told, outcome, replayed }),
            (None, Some(refusal), _) if told.parent.is_some() => {
                let same_as_parent = matches!(refusal, Outcome::Duplicate { of } if Some(of) == told.parent);
                let outcome = if same_as_parent { Outcome::NoChange } else { refusal };
                self.arrivals.outcome(told, outcome);
            }
            (None, _, Some(source)) => self.evaluate(told, source),
            (None, _, None) => {
                return Err(internal("a stored proposal has neither program nor outcome"));
            }
        }
        Ok(())
    }

    fn language(&self) -> Language {
        self.run.config.problem.problem.language()
    }

    fn evaluate(&mut self, told: search::Proposal, source: String) {
        if self.ending.as_ref().is_some_and(Ending::drops_evaluations) {
            return;
        }
        let evaluator = self.run.evaluator.clone();
        let kernel = told.code.as_ref().map_or_else(String::new, |code| code.hash.to_string());
        let shown = source.as_str().into();
        let job = Job { id: told.id.0, program: source, kernel, purpose: Purpose::Search };
        let span = tracing::info_span!("evaluate", number = job.id);
        let evaluate = async move {
            let report = evaluator.evaluate(job).await;
            Done::Evaluated(Box::new(Evaluated { told, source: shown, report }))
        };
        self.tasks.spawn(evaluate.instrument(span));
    }

    /// Waits for a task, an interrupt or the deadline, unless something is there to be stored; and takes in what all
    /// tasks have brought that have ended by now.
    async fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        if self.arrivals.is_empty() {
            let interrupted = self.run.interrupt.clone();
            // Once nothing but proposals is waited for, an interrupt changes nothing more; it would only be met again and again.
            let stopping = self.ending.as_ref().is_some_and(Ending::drops_evaluations);
            let watching = self.ending.is_none();
            let deadline = deadline.filter(|_| watching);
            let pause = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                biased;
                () = interrupted.cancelled(), if !stopping => return Ok(()),
                () = pause => return Ok(()),
                done = self.tasks.join_next() => done,
            };
            let done = done.ok_or_else(|| internal("the run loop waits for nothing"))?;
            self.take(done)?;
        }
        while let Some(done) = self.tasks.try_join_next() {
            self.take(done)?;
        }
        Ok(())
    }

    /// Takes in what a task has brought; it is still to be stored.
    fn take(&mut self, done: Result<Done, JoinError>) -> Result<(), Failure> {
        match done.map_err(|error| internal(&format!("a task of the run loop failed: {error}")))? {
            Done::Proposed(answer) => {
                self.proposing -= 1;
                match *answer {
                    Ok(answer) => {
                        // As the database counts it.
                        let parent = self.search.get(answer.origin.parent);
                        let generation = parent.map_or(1, |parent| parent.generation + 1);
                        self.arrivals.proposal(answer, generation);
                    }
                    Err(error) => {
                        if let Some(ending) = Ending::proposer(&error) {
                            self.end(ending);
                        }
                    }
                }
            }
            Done::Condensed(order, condensed) => {
                self.proposing -= 1;
                match *condensed {
                    Ok(Some(condensed)) => self.arrivals.lesson(order.row(condensed)),
                    Ok(None) => self.lessons.written(order.version, None),
                    Err(error) => {
                        // They won't come any more: those who wait for them ask nobody.
                        self.lessons.close();
                        if let Some(ending) = Ending::proposer(&error) {
                            self.end(ending);
                        }
                    }
                }
            }
            Done::Abandoned => self.proposing -= 1,
            Done::Evaluated(evaluated) => {
                let Evaluated { told, source, report } = *evaluated;
                match report {
                    Ok(report) => self.arrivals.evaluation(told, source, report),
                    // Other programs pass while this one kills the evaluator each time it is sent: its own doing, and
                    // without an outcome every resume would meet it again.
                    Err(error @ EvaluatorError::GaveUp { .. }) if told.parent.is_some() => {
                        let outcome = Outcome::Crash { stage: Stage::Trial, message: error.to_string() };
                        self.arrivals.outcome(told, outcome);
                    }
                    Err(error) => self.end(Ending::evaluator(&error)),
                }
            }
        }
        Ok(())
    }

    /// Stores what has come, in one transaction, and only then lets anybody know of it.
    async fn store_arrivals(&mut self) -> Result<(), Failure> {
        let (records, arrived) = self.arrivals.take();
        let span = tracing::info_span!("store", records = records.len());
        self.run.store.records(&records).instrument(span).await?;
        for arrived in arrived {
            match arrived {
                Arrived::Proposed(proposed, event) => {
                    self.run.events.send(event);
                    self.pipeline.proposed(proposed.told.id.0, proposed);
                }
                Arrived::Lesson(version, lessons, event) => {
                    self.run.events.send(event);
                    self.lessons.written(version, lessons);
                }
                Arrived::Finished(finished) => self.pipeline.finished(finished.told.id.0, finished),
                Arrived::Evaluated(finished, exhibit) => {
                    self.run.store.remember(exhibit);
                    self.pipeline.finished(finished.told.id.0, finished);
                }
            }
        }
        Ok(())
    }

    /// Tells search, in order of numbers, and everybody else.
    async fn tell(&mut self, number: u64, finished: Finished) -> Result<(), Failure> {
        let Finished { told, outcome, replayed } = finished;
        let before = self.search.best().map(|best| best.id);
        self.search.tell_proposal(told, &outcome);
        self.outcomes = number + 1;
        if number == 0 && outcome.score().is_none() {
            return Err(initial_program_failed(&self.run.config, &outcome));
        }
        let best = self.search.best();
        if !replayed {
            self.run.events.send(Event::Finished {
                number,
                kind: outcome.kind(),
                score: outcome.score().map(search::Score::get),
                verdict: outcome.measured().map(|measured| measured.verdict.as_str()),
                summary: outcome.to_string(),
                best: best.map(|best| best.score.get()),
                is_best: best.map(|best| best.id) != before,
            });
        }
        if let (Some(best), Some(target)) = (best, self.run.config.target_score)
            && best.score.get() >= target
        {
            self.end(Ending::budget(StopReason::Target));
        }
        if self.search.should_stop() {
            self.end(Ending::budget(StopReason::NoImprovement));
        }
        // In a replay nobody may need them any more; then who does has them written.
        if !replayed
            && self.ending.is_none()
            && let Some(version) = self.lessons.due(self.outcomes)
        {
            self.write_lessons(version).await?;
        }
        Ok(())
    }

    /// Passes the evaluator's progress on as events.
    fn forward_progress(&self) {
        let mut progress = self.run.evaluator.events();
        let events = self.run.events.clone();
        tokio::spawn(async move {
            loop {
                match progress.recv().await {
                    Ok(progress) => {
                        if let Some(event) = Event::from_progress(&progress) {
                            events.send(event);
                        }
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                }
            }
        });
    }
}

/// A search that knows nothing yet.
pub(crate) fn new_search(config: &Config) -> Result<Search, Failure> {
    let language = config.problem.problem.language();
    let search = Search::new(config.search.clone(), language, config.random_seed)
        .map_err(|error| Failure::usage(format!("{}: search: {error}", config.path.display())))?;
    Ok(search.with_models(models(config)).with_proposers(proposers(config)))
}

/// The models that a bandit may choose among.
fn models(config: &Config) -> Vec<Arm> {
    let llm = config.llm.as_ref().filter(|_| config.asks_model() || config.replays());
    let models = llm.and_then(|llm| llm.checked_models().ok()).unwrap_or_default();
    models.into_iter().map(|model| Arm { name: model.name, weight: model.weight }).collect()
}

/// The proposers that search chooses among.
fn proposers(config: &Config) -> Vec<Arm> {
    let arm = |proposer: &WeightedProposer| Arm {
        name: proposer.choice.name().to_owned(),
        weight: proposer.weight,
    };
    config.proposers.iter().map(arm).collect()
}

fn internal(what: &str) -> Failure {
    Failure {
        code: ExitCode::Internal,
        message: format!("{what}. This is a fault of evolve; nothing is lost: `evolve resume` goes on."),
    }
}

fn initial_program_failed(config: &Config, outcome: &Outcome) -> Failure {
    let initial = config.problem.problem.initial_program().display();
    Failure::usage(format!(
        "the initial program {initial} doesn't pass its own evaluation, so nothing can be compared with it:\n  {outcome}\n  \
         hint: `evolve evaluate {initial} --config {}` shows all of it",
        config.path.display()
    ))
}
