//! Evaluates a program of any language: runs the problem's command on it and reads the metrics it prints.
//!
//! With a judge the command only answers a challenge, and the judge, which never meets the candidate, prints the metrics.

mod execute;
mod judge;
mod metrics;
mod places;

use std::path::PathBuf;
use std::sync::Arc;

use search::{Measured, Outcome, Stage, Verdict};
use serde_json::json;

use self::execute::{Execution, Executor, STDOUT_BYTES, Stdout};
use self::judge::Judge;
use self::metrics::Printed;
use crate::compile::text;
use crate::confine::Confine;
use crate::device::{Building, Device, Measuring};
use crate::gate::Gate;
use crate::job::Job;
use crate::launch::Launcher;
use crate::log::{Log, now};
use crate::order::How;
use crate::problem::CommandProblem;
use crate::report::MeasuredBy;
use crate::scratch::{Scratch, write_shared};
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::{Event, Hello};

/// The protocol's name in the database.
const PROTOCOL: &str = "command";

/// Everything that all evaluations of one command problem share.
#[derive(Debug)]
pub(crate) struct CommandEvaluator {
    problem: CommandProblem,
    gate: Gate,
    executor: Executor,
    /// What the command may read besides the candidate.
    places: Vec<PathBuf>,
    judge: Option<Judge>,
    device: Device,
    pub(crate) measured_by: MeasuredBy,
}

impl CommandEvaluator {
    pub(crate) async fn prepare(
        hello: &Hello,
        problem: CommandProblem,
        launcher: Launcher,
        scratch: Arc<Scratch>,
    ) -> Result<Self, Stop> {
        let limit = problem.limits.program_bytes;
        let gate = Gate::new(&hello.problem.initial, problem.language, limit, false).map_err(|refusal| {
            let path = problem.initial_program.display();
            Stop::Broken(format!("{path}: the initial program is refused itself: {refusal}"))
        })?;
        let judge = (!problem.judge.is_empty()).then(|| Judge {
            command: problem.judge.clone(),
            places: places::needed(
                &[&problem.judge],
                &hello.path,
                std::slice::from_ref(&hello.problem.folder),
            ),
        });
        // What the judge knows is none of the candidate's business.
        let mut further = problem.sandbox.read.clone();
        if judge.is_none() {
            further.push(hello.problem.folder.clone());
        }
        let executor = Executor {
            launcher,
            scratch,
            path: hello.path.clone(),
            limits: problem.limits.clone(),
            settings: problem.sandbox.clone(),
            environment: problem.environment.clone(),
            confine: Confine { sandbox: hello.sandbox },
        };
        let measured_by = MeasuredBy {
            evaluator: env!("CARGO_PKG_VERSION").to_owned(),
            harness: None,
            mlx: None,
            backend: None,
            device: None,
            sandbox: executor.tier().await?,
            protocol: PROTOCOL.to_owned(),
            parameters: json!({
                "command": problem.command,
                "judge": problem.judge,
                "parallel": problem.parallel,
                "network": problem.sandbox.network,
            }),
        };
        let places = places::needed(&[&problem.command], &hello.path, &further);
        let device = Device::new(problem.parallel, hello.device_lock.clone());
        Ok(Self { problem, gate, executor, places, judge, device, measured_by })
    }

    /// The whole way of one candidate.
    pub(crate) async fn evaluate(&self, job: &Job, log: &mut Log) -> Result<Outcome, Stop> {
        self.gate.pass(&job.program).map_err(Outcome::from)?;
        let _turn = self.turn().await?;
        log.event(Event::Entered { stage: Stage::Trial });
        let challenge = match &self.judge {
            Some(judge) => Some(judge.challenge(&self.executor).await?),
            None => None,
        };
        let run = self.run(job, challenge.as_deref(), log).await?;
        let outcome = match self.answer(&run, log) {
            Ok(answer) => self.score(challenge.as_deref(), answer, &run, log).await?,
            Err(failure) => failure,
        };
        log.artifact("stderr", &run.ended.stderr);
        Ok(outcome)
    }

    /// A single command may be timing something, so then nothing of ours runs beside it.
    async fn turn(&self) -> Result<Turn<'_>, Stop> {
        if self.problem.parallel > 1 {
            return Ok(Turn::Shared { _building: self.device.build().await? });
        }
        let series = self.device.series().await;
        Ok(Turn::Alone { _measuring: series.measure().await? })
    }

    /// Runs the command, again if somebody killed it from outside.
    async fn run(&self, job: &Job, challenge: Option<&[u8]>, log: &mut Log) -> Result<Execution, Stop> {
        let run = self.run_once(job, challenge, log).await?;
        if run.ended.how.is_from_outside() {
            return self.run_once(job, challenge, log).await;
        }
        Ok(run)
    }

    async fn run_once(&self, job: &Job, challenge: Option<&[u8]>, log: &mut Log) -> Result<Execution, Stop> {
        let mut name = "program".to_owned();
        if let Some(extension) = self.problem.initial_program.extension() {
            name = format!("{name}.{}", extension.to_string_lossy());
        }
        let folder = self.executor.scratch.shared_folder("program")?;
        let program = folder.path().join(name);
        write_shared(&program, job.program.as_bytes())?;
        let mut command = self.problem.command.clone();
        command.push(text(&program)?.to_owned());
        let mut places = self.places.clone();
        places.push(folder.path().to_owned());
        log.event(Event::TrialStarted { arm: Arm::Candidate, number: 1, of: 1 });
        let mut record = TrialRecord::begin(log.trials.len() as u32, PROTOCOL, Arm::Candidate, 0, now());
        let run = self.executor.run(&command, challenge, places).await?;
        record.ended_at = now();
        record.wall_seconds = Some(run.ended.wall_seconds);
        record.process_peak_bytes = Some(run.ended.peak_bytes);
        record.exit = match &run.ended.how {
            How::Exited { code: 0 } => Exit::Ok,
            How::Deadline => Exit::Timeout,
            How::Memory => Exit::OutOfMemory,
            how if how.is_from_outside() => Exit::Killed,
            _ => Exit::Crashed,
        };
        if record.exit != Exit::Ok {
            record.message = Some(format!("the command {}", run.ended.how));
        }
        let ended = Event::TrialEnded {
            arm: Arm::Candidate,
            number: 1,
            of: 1,
            exit: record.exit,
            tokens_per_second: None,
        };
        log.event(ended);
        log.trials.push(record);
        Ok(run)
    }

    /// What a command that ended well has printed, or the outcome of one that didn't.
    fn answer<'run>(&self, run: &'run Execution, log: &mut Log) -> Result<&'run [u8], Outcome> {
        let stage = Stage::Trial;
        let Stdout::Whole(stdout) = &run.stdout else {
            if let Some(record) = log.trials.last_mut() {
                record.exit = Exit::Invalid;
            }
            let reason = format!("the command printed more than {} MiB", STDOUT_BYTES >> 20);
            return Err(Outcome::Rejected { reason });
        };
        let limits = &self.problem.limits;
        match &run.ended.how {
            How::Exited { code: 0 } => Ok(stdout),
            How::Deadline => Err(Outcome::Timeout { stage, limit_seconds: limits.trial_seconds }),
            How::Memory => Err(Outcome::OutOfMemory { stage, limit_bytes: limits.memory_bytes }),
            How::Signaled { signal: libc::SIGSYS } if self.executor.confine.sandbox => {
                let reason = format!("sandbox: the command {}", run.ended.how);
                Err(Outcome::Rejected { reason })
            }
            how => {
                let words = last_lines(&run.ended.stderr, 10);
                let message = format!("the command {how}\n{words}").trim().to_owned();
                Err(Outcome::Crash { stage, message })
            }
        }
    }

    /// The judge's metrics, or without one what the command printed about itself.
    async fn score(
        &self,
        challenge: Option<&[u8]>,
        answer: &[u8],
        run: &Execution,
        log: &mut Log,
    ) -> Result<Outcome, Stop> {
        let (printed, source) = match (&self.judge, challenge) {
            (Some(judge), Some(challenge)) => {
                let seconds = run.ended.wall_seconds;
                let verdict = judge.score(&self.executor, challenge, answer, seconds).await?;
                (verdict.map_err(|reason| format!("judge: {reason}")), "judge")
            }
            _ => (metrics::read(&String::from_utf8_lossy(answer)), "command"),
        };
        let printed = match printed {
            Ok(printed) => printed,
            Err(reason) => {
                log.artifact("stdout", &String::from_utf8_lossy(answer));
                if let Some(record) = log.trials.last_mut() {
                    record.exit = Exit::Invalid;
                    record.message = Some(reason.clone());
                }
                return Ok(Outcome::Rejected { reason });
            }
        };
        Ok(measured(printed, source, log))
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
