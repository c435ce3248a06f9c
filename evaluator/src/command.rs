//! Evaluates a program of any language: by a command of the problem that prints metrics, or by an evaluator in Python.
//!
//! With a judge a command only answers a challenge, and the judge, which never meets the candidate, prints the metrics.

mod execute;
mod external;
mod judge;
mod metrics;
mod places;
mod python;
mod repeats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use search::{Measured, Outcome, Stage, Verdict};
use serde_json::json;

use self::execute::Executor;
use self::external::External;
use self::judge::Judge;
use self::metrics::Printed;
use self::python::Python;
use self::repeats::Repeats;
use crate::confine::Confine;
use crate::device::{Building, Device, Measuring};
use crate::gate::Gate;
use crate::job::{Job, Purpose};
use crate::launch::Launcher;
use crate::log::Log;
use crate::noise::{Standing, Step};
use crate::problem::CommandProblem;
use crate::report::MeasuredBy;
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::wire::{Event, Hello};

/// The protocol's name in the database, and the stage of the evaluations that every program has.
const PROTOCOL: &str = "command";
/// The stage of further evaluations of a program that would be the best.
const CONFIRM: &str = "confirm";

/// Everything that all evaluations of one command problem share.
#[derive(Debug)]
pub(crate) struct CommandEvaluator {
    problem: CommandProblem,
    gate: Gate,
    method: Method,
    device: Device,
    /// What the scores of this run have taught.
    standing: Mutex<Standing>,
    pub(crate) measured_by: MeasuredBy,
}

/// How a program gets its metrics.
#[derive(Debug)]
enum Method {
    External(Box<External>),
    Python(Box<Python>),
}

impl CommandEvaluator {
    pub(crate) async fn prepare(
        hello: &Hello,
        problem: CommandProblem,
        launcher: Launcher,
        scratch: Arc<Scratch>,
    ) -> Result<Self, Stop> {
        let limit = problem.limits.program_bytes;
        let initial = &hello.problem.initial;
        let gate = Gate::for_command(initial, problem.language, limit, problem.frame).map_err(|refusal| {
            let path = problem.initial_program.display();
            Stop::Broken(format!("{path}: the initial program is refused itself: {refusal}"))
        })?;
        let executor = Executor {
            launcher,
            scratch,
            path: hello.path.clone(),
            limits: problem.limits.clone(),
            settings: problem.sandbox.clone(),
            further: problem.environment.clone(),
            confine: Confine { sandbox: hello.sandbox },
        };
        let mut parameters = json!({
            "parallel": problem.parallel,
            "network": problem.sandbox.network,
            "noise": problem.noise,
        });
        let (method, sandbox) = match &problem.python {
            Some(settings) => {
                let python = Python::prepare(hello, settings.clone(), &problem, executor).await?;
                parameters["python"] = python.described();
                let tier = python.tier;
                (Method::Python(Box::new(python)), tier)
            }
            None => {
                parameters["command"] = json!(problem.command);
                parameters["judge"] = json!(problem.judge);
                let tier = executor.tier().await?;
                (Method::External(Box::new(external(hello, &problem, executor))), tier)
            }
        };
        let measured_by = MeasuredBy {
            evaluator: env!("CARGO_PKG_VERSION").to_owned(),
            harness: None,
            mlx: None,
            backend: None,
            device: None,
            sandbox,
            protocol: PROTOCOL.to_owned(),
            parameters,
        };
        let device = Device::new(problem.parallel, hello.device_lock.clone());
        let standing = Mutex::new(Standing::new(problem.noise.clone(), &hello.history.noise));
        Ok(Self { problem, gate, method, device, standing, measured_by })
    }

    /// The whole way of one candidate.
    pub(crate) async fn evaluate(&self, job: &Job, log: &mut Log) -> Result<Outcome, Stop> {
        self.gate.pass(&job.program).map_err(Outcome::from)?;
        let _turn = self.turn().await?;
        log.event(Event::Entered { stage: Stage::Trial });
        let mut repeats = Repeats::default();
        loop {
            let stage = match self.next(job, &repeats, log) {
                Step::First => PROTOCOL,
                Step::Fresh => CONFIRM,
                Step::Done(conclusion) => return repeats.measured(conclusion),
            };
            let kept = log.artifacts.len();
            match self.once(job, stage, log).await? {
                Outcome::Measured(measured) => {
                    if repeats.count() > 0 {
                        // They say what those of the first time say.
                        log.artifacts.truncate(kept);
                    }
                    repeats.add(stage == CONFIRM, measured);
                }
                failure => return Ok(repeats.failed(failure)),
            }
        }
    }

    /// What to do with a program that has been evaluated so often. Its end is known to whoever comes next.
    fn next(&self, job: &Job, repeats: &Repeats, log: &mut Log) -> Step {
        let mut standing = self.standing();
        if job.purpose != Purpose::Search {
            return standing.step_alone(&repeats.draws);
        }
        let step = standing.step(&repeats.draws);
        if let Step::Done(conclusion) = &step
            && let Some(record) = &conclusion.record
        {
            standing.add(record);
            log.noise = Some(record.clone());
        }
        step
    }

    async fn once(&self, job: &Job, stage: &str, log: &mut Log) -> Result<Outcome, Stop> {
        match &self.method {
            Method::External(external) => external.evaluate(&self.problem, job, stage, log).await,
            Method::Python(python) => python.evaluate(job, stage, log).await,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // A panic elsewhere leaves what was added before it.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A single command may be timing something, so then nothing of ours runs beside it.
    async fn turn(&self) -> Result<Turn<'_>, Stop> {
        if self.problem.parallel > 1 {
            return Ok(Turn::Shared { _building: self.device.build().await? });
        }
        let series = self.device.series().await;
        Ok(Turn::Alone { _measuring: series.measure().await? })
    }
}

fn external(hello: &Hello, problem: &CommandProblem, executor: Executor) -> External {
    let judge = (!problem.judge.is_empty()).then(|| Judge {
        command: problem.judge.clone(),
        places: places::needed(&[&problem.judge], &hello.path, std::slice::from_ref(&hello.problem.folder)),
    });
    // What the judge knows is none of the candidate's business.
    let mut further = problem.sandbox.read.clone();
    if judge.is_none() {
        further.extend(places::folder(&hello.problem.folder, &hello.hidden));
    }
    let places = places::needed(&[&problem.command], &hello.path, &further);
    External { command: problem.command.clone(), executor, places, judge }
}

/// What a program's file is called: it has the initial program's extension.
fn file_name(problem: &CommandProblem) -> String {
    match problem.initial_program.extension() {
        Some(extension) => format!("program.{}", extension.to_string_lossy()),
        None => "program".to_owned(),
    }
}

fn measured(printed: Printed, source: &str, log: &mut Log) -> Outcome {
    for (name, content) in &printed.texts {
        log.artifact(name, content);
    }
    if let Some(record) = log.trials.last_mut() {
        record.metrics.clone_from(&printed.metrics);
    }
    Outcome::Measured(Measured {
        score: printed.score,
        verdict: Verdict::Inconclusive,
        metrics: printed.metrics,
        effects: Vec::new(),
        reason: format!("score {} as the problem's {source} reported it", printed.score),
        score_error: None,
    })
}

/// The right to run a command now.
enum Turn<'a> {
    Alone { _measuring: Measuring<'a> },
    Shared { _building: Building<'a> },
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
