//! The problem's own command: started afresh for every program, it prints the metrics.

use std::path::PathBuf;

use search::{Outcome, Stage};

use super::execute::{Execution, Executor, STDOUT_BYTES, Stdout};
use super::judge::Judge;
use super::metrics::{self, Rule};
use super::{last_lines, measured};
use crate::bundle;
use crate::compile::text;
use crate::job::Job;
use crate::log::{Log, now};
use crate::order::How;
use crate::problem::CommandProblem;
use crate::scratch::{write_shared, write_shared_within};
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::Event;

/// Runs a command on each program.
#[derive(Debug)]
pub(super) struct External {
    pub(super) command: Vec<String>,
    pub(super) executor: Executor,
    /// What the command may read besides the candidate.
    pub(super) places: Vec<PathBuf>,
    pub(super) judge: Option<Judge>,
}

impl External {
    /// One program's way, once.
    pub(super) async fn evaluate(
        &self,
        problem: &CommandProblem,
        job: &Job,
        stage: &str,
        log: &mut Log,
    ) -> Result<Outcome, Stop> {
        let challenge = match &self.judge {
            Some(judge) => Some(judge.challenge(&self.executor).await?),
            None => None,
        };
        let run = self.run(problem, job, stage, challenge.as_deref(), log).await?;
        let outcome = match self.answer(problem, &run, log) {
            Ok(answer) => self.score(challenge.as_deref(), answer, &run, log).await?,
            Err(failure) => failure,
        };
        log.artifact("stderr", &run.ended.stderr);
        Ok(outcome)
    }

    /// Runs the command, again if somebody killed it from outside.
    async fn run(
        &self,
        problem: &CommandProblem,
        job: &Job,
        stage: &str,
        challenge: Option<&[u8]>,
        log: &mut Log,
    ) -> Result<Execution, Stop> {
        let run = self.run_once(problem, job, stage, challenge, log).await?;
        if run.ended.how.is_from_outside() {
            return self.run_once(problem, job, stage, challenge, log).await;
        }
        Ok(run)
    }

    async fn run_once(
        &self,
        problem: &CommandProblem,
        job: &Job,
        stage: &str,
        challenge: Option<&[u8]>,
        log: &mut Log,
    ) -> Result<Execution, Stop> {
        let folder = self.executor.scratch.shared_folder("program")?;
        let program = folder.path().join(super::file_name(problem));
        match bundle::split(&job.program) {
            Some(files) => {
                for (name, text) in files {
                    write_shared_within(&program, name, text.as_bytes())?;
                }
            }
            None => write_shared(&program, job.program.as_bytes())?,
        }
        let mut command = self.command.clone();
        command.push(text(&program)?.to_owned());
        let mut places = self.places.clone();
        places.push(folder.path().to_owned());
        log.event(Event::TrialStarted { arm: Arm::Candidate, number: 1, of: 1 });
        let mut record = TrialRecord::begin(log.trials.len() as u32, stage, Arm::Candidate, 0, now());
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
    fn answer<'run>(
        &self,
        problem: &CommandProblem,
        run: &'run Execution,
        log: &mut Log,
    ) -> Result<&'run [u8], Outcome> {
        let stage = Stage::Trial;
        let Stdout::Whole(stdout) = &run.stdout else {
            if let Some(record) = log.trials.last_mut() {
                record.exit = Exit::Invalid;
            }
            let reason = format!("the command printed more than {} MiB", STDOUT_BYTES >> 20);
            return Err(Outcome::Rejected { reason });
        };
        let limits = &problem.limits;
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
            _ => (metrics::read(&String::from_utf8_lossy(answer), &Rule::default()), "command"),
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
