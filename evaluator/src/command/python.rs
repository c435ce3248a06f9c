//! An evaluator in Python: a warmed interpreter that has loaded the evaluator's module, and evaluates each program in a fork.
//!
//! One such server runs in a sandbox of its own and evaluates one program at a time, so that whatever is alive or lies about
//! when an evaluation is over is that evaluation's, and goes. What can't be contained in the fork takes the server with it; the
//! next evaluation has a new one.

mod interpreter;
mod result;
mod server;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use search::{Outcome, Stage};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::interpreter::Interpreter;
use self::result::{Returned, Words};
use self::server::{Answer, Evaluated, Program, Server, Setup};
use super::execute::Executor;
use super::metrics::Rule;
use super::places;
use crate::ambient::Ambient;
use crate::bundle;
use crate::job::Job;
use crate::log::{Log, now};
use crate::order::{How, Tier};
use crate::problem::{CommandProblem, PythonEvaluator};
use crate::scratch::write_shared;
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::{Event, Hello};

/// What is put beside an interpreter: our side of the conversation, and a stand-in for `OpenEvolve`.
const FILES: [(&str, &str); 4] = [
    ("server.py", include_str!("python/server.py")),
    ("contract.py", include_str!("python/contract.py")),
    ("stand_in/openevolve/__init__.py", include_str!("python/openevolve/__init__.py")),
    ("stand_in/openevolve/evaluation_result.py", include_str!("python/openevolve/evaluation_result.py")),
];

/// How old a look at the machine may be: looking takes longer than many an evaluation.
const AMBIENT_AGE: Duration = Duration::from_secs(1);

/// One evaluator file, with as many servers as evaluations run at once.
#[derive(Debug)]
pub(super) struct Python {
    settings: PythonEvaluator,
    interpreter: Interpreter,
    executor: Executor,
    setup: Setup,
    rule: Rule,
    /// The program's name in its folder.
    file_name: String,
    idle: Mutex<Vec<Server>>,
    ambient: Mutex<Option<(Instant, Ambient)>>,
    pub(super) tier: Tier,
    /// Why its evaluations load the module themselves, if they do.
    cold: Option<String>,
    /// Our files; the folder goes with us.
    _files: TempDir,
}

impl Python {
    /// Finds the interpreter, and loads the evaluator for the first time.
    pub(super) async fn prepare(
        hello: &Hello,
        settings: PythonEvaluator,
        problem: &CommandProblem,
        executor: Executor,
    ) -> Result<Self, Stop> {
        let interpreter = Interpreter::find(&settings.interpreter, &hello.path).await?;
        let files = executor.scratch.shared_folder("python")?;
        for (name, content) in FILES {
            let path = files.path().join(name);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            write_shared(&path, content.as_bytes())?;
        }
        let folder = settings.file.parent().unwrap_or(&hello.problem.folder).to_owned();
        if !settings.file.is_file() {
            return Err(Stop::Broken(format!(
                "{}: there is no such file; `python: file` in problem.yaml names the evaluator",
                settings.file.display()
            )));
        }
        let beside: Vec<PathBuf> = places::entries(&folder, &hello.hidden);
        let mut read = vec![files.path().to_owned()];
        read.extend(beside.iter().cloned());
        read.extend(problem.sandbox.read.iter().cloned());
        read.extend(interpreter.places());
        let setup = Setup::new(
            &settings,
            &interpreter,
            files.path(),
            &folder,
            beside,
            places::needed(&[], "", &read),
        )?;
        let mut first = Server::start(&executor, &interpreter, &setup).await?;
        let (tier, cold) = (first.tier, first.cold.take());
        let rule = Rule { scores: settings.scores.clone(), unscored: settings.unscored.clone() };
        Ok(Self {
            settings,
            interpreter,
            executor,
            setup,
            rule,
            file_name: super::file_name(problem),
            idle: Mutex::new(vec![first]),
            ambient: Mutex::default(),
            tier,
            cold,
            _files: files,
        })
    }

    /// For the record of who measured.
    pub(super) fn described(&self) -> Value {
        json!({
            "evaluator": self.settings.file,
            "interpreter": self.interpreter.executable,
            "version": self.interpreter.version,
            "cascade": self.settings.cascade,
            "thresholds": self.settings.thresholds,
            "cold": self.cold,
        })
    }

    /// One program's way, once; again if somebody killed it from outside.
    pub(super) async fn evaluate(&self, job: &Job, stage: &str, log: &mut Log) -> Result<Outcome, Stop> {
        let (outcome, is_from_outside) = self.evaluate_once(job, stage, log).await?;
        if is_from_outside {
            return Ok(self.evaluate_once(job, stage, log).await?.0);
        }
        Ok(outcome)
    }

    async fn evaluate_once(&self, job: &Job, stage: &str, log: &mut Log) -> Result<(Outcome, bool), Stop> {
        let mut server = match self.take() {
            Some(server) => server,
            None => Server::start(&self.executor, &self.interpreter, &self.setup).await?,
        };
        let seconds = self.executor.limits.trial_seconds;
        let number = log.trials.len() as u32;
        log.event(Event::TrialStarted { arm: Arm::Candidate, number: 1, of: 1 });
        let ambient = self.ambient();
        let mut record = TrialRecord::begin_in(ambient, number, stage, Arm::Candidate, 0, now());
        let clock = Instant::now();
        let name = &self.file_name;
        let files = match bundle::split(&job.program) {
            Some(files) => files.into_iter().map(|(inner, text)| (format!("{name}/{inner}"), text)).collect(),
            None => vec![(name.clone(), job.program.as_str())],
        };
        let program = Program { name, files: &files, seconds };
        let evaluated = server.evaluate(&program).await?;
        record.wall_seconds = Some(clock.elapsed().as_secs_f64());
        record.ended_at = now();
        let (outcome, is_from_outside) = match evaluated {
            Evaluated::Answered(answer) => {
                record.process_peak_bytes = Some(answer.peak_bytes);
                let is_from_outside = answer.how.is_from_outside();
                if answer.is_clean {
                    self.idle().push(server);
                }
                (self.judge(answer, &mut record, log), is_from_outside)
            }
            Evaluated::Died(server) => {
                let ended = server.stop().await?;
                record.process_peak_bytes = Some(ended.peak_bytes);
                log.artifact("stderr", &ended.stderr);
                (self.buried(&ended.how)?, ended.how.is_from_outside())
            }
        };
        record.exit = match &outcome {
            Outcome::Measured(_) => Exit::Ok,
            Outcome::Timeout { .. } => Exit::Timeout,
            Outcome::OutOfMemory { .. } => Exit::OutOfMemory,
            Outcome::Rejected { .. } => Exit::Invalid,
            _ if is_from_outside => Exit::Killed,
            _ => Exit::Crashed,
        };
        match &outcome {
            Outcome::Measured(measured) => record.metrics.clone_from(&measured.metrics),
            failure => record.message = Some(failure.to_string()),
        }
        let exit = record.exit;
        log.event(Event::TrialEnded { arm: Arm::Candidate, number: 1, of: 1, exit, tokens_per_second: None });
        log.trials.push(record);
        Ok((outcome, is_from_outside))
    }

    /// What a fork's end means.
    fn judge(&self, answer: Answer, record: &mut TrialRecord, log: &mut Log) -> Outcome {
        let stage = Stage::Trial;
        let limits = &self.executor.limits;
        let outcome = match &answer.how {
            server::How::Result => match result::read(&answer.result, &self.rule) {
                Ok(returned) => {
                    let Returned { metrics, texts, verdict } = returned;
                    record.metrics = metrics;
                    for (name, content) in &texts {
                        log.artifact(name, content);
                    }
                    match verdict {
                        Ok(score) => return result::measured(score, record.metrics.clone()),
                        Err(Words::Memory) => {
                            Outcome::OutOfMemory { stage, limit_bytes: limits.memory_bytes }
                        }
                        Err(Words::Crash(message)) => Outcome::Crash { stage, message },
                        Err(Words::Rejected(reason)) => Outcome::Rejected { reason },
                    }
                }
                Err(reason) => Outcome::Rejected { reason },
            },
            server::How::Timeout => Outcome::Timeout { stage, limit_seconds: limits.trial_seconds },
            server::How::Nonsense => Outcome::Rejected {
                reason: "the program wrote into the pipe on which the evaluator answers".to_owned(),
            },
            server::How::TooMuch => {
                Outcome::Rejected { reason: "the evaluator returned more than 16 MiB".to_owned() }
            }
            server::How::Signaled { signal: libc::SIGSYS } if self.executor.confine.sandbox => {
                Outcome::Rejected {
                    reason: "sandbox: the program asked the system for something that is forbidden"
                        .to_owned(),
                }
            }
            how => {
                let words = super::last_lines(&answer.stderr, 10);
                let message = format!("the evaluation {} before it returned a result\n{words}", how.words());
                Outcome::Crash { stage, message: message.trim().to_owned() }
            }
        };
        log.artifact("stdout", &answer.stdout);
        log.artifact("stderr", &answer.stderr);
        outcome
    }

    /// What it means that the server itself is gone.
    fn buried(&self, how: &How) -> Result<Outcome, Stop> {
        let stage = Stage::Trial;
        let limits = &self.executor.limits;
        Ok(match how {
            How::Memory => Outcome::OutOfMemory { stage, limit_bytes: limits.memory_bytes },
            How::Deadline | How::Stopped => Outcome::Timeout { stage, limit_seconds: limits.trial_seconds },
            How::NotStarted { message } | How::SandboxFailed { message } => {
                return Err(Stop::sandbox(message));
            }
            how => {
                Outcome::Crash { stage, message: format!("the interpreter that holds the evaluator {how}") }
            }
        })
    }

    /// The machine's surroundings, not older than they may be.
    fn ambient(&self) -> Ambient {
        let mut known = self.ambient.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((at, ambient)) if at.elapsed() < AMBIENT_AGE => ambient,
            _ => known.insert((Instant::now(), Ambient::read())).1,
        }
    }

    fn take(&self) -> Option<Server> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Server>> {
        // A panic elsewhere leaves a list of servers in order.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
