//! The run loop, which is the main path: ask, propose, store, admit, evaluate, store, tell.
//!
//! Store before tell: what search knows is in the database already, so a killed run loses nothing, and a resumed one
//! is the same loop, fed from the database until that ends.

mod champion;
mod ending;
mod measurement;
mod seen;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use evaluator::{EvaluationReport, Evaluator, EvaluatorError, Job, Purpose};
use search::{CodeHash, Outcome, Program, ProgramId, Search, Stage, token_hash};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::champion::compare;
use self::ending::Ending;
pub use self::measurement::{history, stored_decision, stored_trial};
use self::seen::SeenCodes;
pub use self::store::Store;
use crate::config::Config;
use crate::event::{Event, Events, StopReason};
use crate::exit_code::{ExitCode, Failure};
use crate::pipeline::{Pipeline, Step};
use crate::proposer::{ProblemText, Proposal, Proposer, ProposerError, Request};

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
}

/// Where a proposal comes from: what is left of an ask when the reply is there.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The program it was made from.
    pub parent: ProgramId,
    /// The island it was asked for.
    pub island: usize,
}

/// A proposal on its way to admission; it is stored already.
struct Proposed {
    /// None for the initial program.
    origin: Option<Origin>,
    /// The program that it led to, if it did.
    program: Option<Program>,
    /// Its outcome, where that is known already: it led to no program, or it was told in an earlier session.
    outcome: Option<Outcome>,
    /// Stored in an earlier session with its outcome: nobody needs to hear of it again.
    replayed: bool,
}

/// An outcome on its way to being told.
struct Finished {
    origin: Option<Origin>,
    program: Option<Program>,
    outcome: Outcome,
    /// As in [`Proposed`].
    replayed: bool,
}

/// What a task brings back to the loop.
enum Done {
    Proposed(u64, Origin, Vec<ProgramId>, Box<Result<Proposal, ProposerError>>),
    Evaluated(u64, Option<Origin>, Program, Box<Result<EvaluationReport, EvaluatorError>>),
}

/// The loop's own state.
struct Loop {
    run: Run,
    search: Search,
    pipeline: Pipeline<Proposed, Finished>,
    seen: SeenCodes,
    tasks: JoinSet<Done>,
    proposing: usize,
    ending: Option<Ending>,
    outcomes: u64,
}

impl Run {
    /// Drives the run to its end. Whatever it returns, everything that was reported is in the database.
    pub async fn drive(mut self) -> Result<StopReason, Failure> {
        let search = Search::new(
            self.config.search.clone(),
            self.config.problem.problem.language(),
            self.config.random_seed,
        )
        .map_err(|error| Failure::usage(format!("{}: search: {error}", self.config.path.display())))?;
        let deadline = self.config.max_wall_seconds.map(|s| Instant::now() + Duration::from_secs_f64(s));
        let mut pipeline = Pipeline::new(self.config.lookahead, self.config.max_iterations);
        let initial = self.store.prior(0).await?.ok_or_else(|| internal("the run has no initial program"))?;
        pipeline.proposed(0, initial);
        let mut state = Loop {
            run: self,
            search,
            pipeline,
            seen: SeenCodes::default(),
            tasks: JoinSet::new(),
            proposing: 0,
            ending: None,
            outcomes: 0,
        };
        state.forward_progress();
        let reason = state.drive(deadline).await?;
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
                && ending.is_over(self.proposing, self.pipeline.in_flight())
            {
                break;
            }
            match self.pipeline.next_step() {
                Step::Ask(number) => self.ask(number).await?,
                Step::Admit(number, proposed) => self.admit(number, proposed).await?,
                Step::Tell(number, finished) => self.tell(number, finished)?,
                Step::Wait => self.wait(deadline).await?,
                Step::Done => break,
            }
        }
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
        if let Some(message) = ending.announcement(self.proposing) {
            self.run.events.send(Event::Stopping { reason: message });
        }
        self.ending = Some(ending);
    }

    /// Asks search for a number; if its proposal isn't stored already, starts proposing.
    async fn ask(&mut self, number: u64) -> Result<(), Failure> {
        if let Some(prior) = self.run.store.prior(number).await? {
            self.pipeline.proposed(number, prior);
            return Ok(());
        }
        let ask = self.search.ask(number).ok_or_else(|| internal("search has no parent to offer"))?;
        let exhibit = async |id: ProgramId| self.run.store.exhibit(id).await;
        let mut exhibits = Vec::new();
        for id in &ask.inspirations {
            exhibits.push(exhibit(*id).await?);
        }
        let count = self.run.config.prompt.num_failures;
        let mut failed: Vec<ProgramId> = self.search.failures_of(ask.parent).rev().take(count).collect();
        failed.reverse();
        let request = Request {
            number: ProgramId(number),
            seed: ask.seed,
            language: self.run.config.problem.problem.language(),
            problem: self.run.problem.clone(),
            parent: exhibit(ask.parent).await?,
            inspirations: exhibits,
            failures: self.run.store.failures(&failed).await?,
            seen: self.seen.as_of(self.outcomes, self.run.config.problem.problem.language()),
        };
        let origin = Origin { parent: ask.parent, island: ask.island };
        let proposer = self.run.proposer.clone();
        let inspirations = ask.inspirations;
        self.proposing += 1;
        self.tasks.spawn(async move {
            Done::Proposed(number, origin, inspirations, Box::new(proposer.propose(request).await))
        });
        Ok(())
    }

    /// Decides, in order of numbers, whether a proposal is evaluated; if so, starts that.
    async fn admit(&mut self, number: u64, proposed: Proposed) -> Result<(), Failure> {
        let Proposed { origin, program, outcome, replayed } = proposed;
        let earlier =
            program.as_ref().and_then(|program| self.seen.register(self.hash(&program.source), number));
        let outcome = match (outcome, earlier, origin) {
            (None, Some(of), Some(origin)) => {
                let same = if of == origin.parent { Outcome::NoChange } else { Outcome::Duplicate { of } };
                self.run.store.outcome(number, &same).await?;
                Some(same)
            }
            (outcome, _, _) => outcome,
        };
        match (outcome, program) {
            (Some(outcome), program) => {
                self.pipeline.finished(number, Finished { origin, program, outcome, replayed });
            }
            (None, Some(program)) => self.evaluate(number, origin, program),
            (None, None) => return Err(internal("a stored proposal has neither program nor outcome")),
        }
        Ok(())
    }

    fn hash(&self, source: &str) -> CodeHash {
        token_hash(source, self.run.config.problem.problem.language())
    }

    fn evaluate(&mut self, number: u64, origin: Option<Origin>, program: Program) {
        if self.ending.as_ref().is_some_and(Ending::drops_evaluations) {
            return;
        }
        let evaluator = self.run.evaluator.clone();
        let kernel = self.hash(&program.source).to_string();
        let job = Job { id: number, program: program.source.clone(), kernel, purpose: Purpose::Search };
        self.tasks.spawn(async move {
            let report = evaluator.evaluate(job).await;
            Done::Evaluated(number, origin, program, Box::new(report))
        });
    }

    /// Waits for a task, an interrupt or the deadline, and stores what a task brings.
    async fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
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
        match done {
            Some(Ok(Done::Proposed(number, origin, inspirations, proposal))) => {
                self.proposing -= 1;
                match *proposal {
                    Ok(proposal) => self.keep(number, origin, inspirations, proposal).await?,
                    Err(error) => self.end(Ending::proposer(&error)),
                }
            }
            Some(Ok(Done::Evaluated(number, origin, program, report))) => {
                let outcome = match *report {
                    Ok(report) => {
                        self.run.store.evaluation(number, &report).await?;
                        report.outcome
                    }
                    // Other programs pass while this one kills the evaluator each time it is sent: its own doing, and
                    // without an outcome every resume would meet it again.
                    Err(error @ EvaluatorError::GaveUp { .. }) if number > 0 => {
                        let outcome = Outcome::Crash { stage: Stage::Trial, message: error.to_string() };
                        self.run.store.outcome(number, &outcome).await?;
                        outcome
                    }
                    Err(error) => {
                        self.end(Ending::evaluator(&error));
                        return Ok(());
                    }
                };
                self.pipeline
                    .finished(number, Finished { origin, program: Some(program), outcome, replayed: false });
            }
            Some(Err(error)) => return Err(internal(&format!("a task of the run loop failed: {error}"))),
            None => return Err(internal("the run loop waits for nothing")),
        }
        Ok(())
    }

    /// Stores a proposal the moment it is there: a model's reply is paid for.
    async fn keep(
        &mut self,
        number: u64,
        origin: Origin,
        inspirations: Vec<ProgramId>,
        proposal: Proposal,
    ) -> Result<(), Failure> {
        let hash = proposal.change.as_ref().ok().map(|source| self.hash(source));
        self.run.store.proposal(number, origin, inspirations, &proposal, hash).await?;
        self.run.events.send(Event::Proposed {
            number,
            parent: origin.parent.0,
            island: origin.island,
            proposer: proposal.proposer.to_owned(),
            operator: proposal.operator.clone(),
            model: proposal.model.clone(),
            seconds: proposal.latency.as_secs_f64(),
        });
        let (program, outcome) = match proposal.change {
            Ok(source) => (Some(self.program(number, origin, source)), None),
            Err(outcome) => (None, Some(outcome)),
        };
        self.pipeline.proposed(number, Proposed { origin: Some(origin), program, outcome, replayed: false });
        Ok(())
    }

    fn program(&self, number: u64, origin: Origin, source: String) -> Program {
        let generation = self.search.get(origin.parent).map_or(1, |parent| parent.generation + 1);
        Program {
            id: ProgramId(number),
            parent: Some(origin.parent),
            island: origin.island,
            generation,
            source,
        }
    }

    /// Tells search, in order of numbers, and everybody else.
    fn tell(&mut self, number: u64, finished: Finished) -> Result<(), Failure> {
        let Finished { origin, program, outcome, replayed } = finished;
        let before = self.search.best().map(|best| best.id);
        match &program {
            Some(program) => drop(self.search.tell(program, &outcome)),
            None => {
                if let Some(origin) = origin {
                    self.search.tell_without_program(
                        ProgramId(number),
                        origin.parent,
                        origin.island,
                        &outcome,
                    );
                }
            }
        }
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
