//! Evaluates a program of any language: runs the problem's command on it and reads the metrics it prints.

mod metrics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use search::{Measured, Outcome, Stage, Verdict};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use crate::compile::text;
use crate::device::{Building, Device, Measuring};
use crate::gate::Gate;
use crate::job::Job;
use crate::launch::{Launcher, Pipes};
use crate::log::{Log, now};
use crate::order::{Confinement, Ended, How, Order, Tier};
use crate::problem::CommandProblem;
use crate::report::MeasuredBy;
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::trial::{Arm, Exit, TrialRecord};
use crate::wire::{Event, Hello};

/// The protocol's name in the database.
const PROTOCOL: &str = "command";
/// More standard output than that is a flood, not metrics.
const STDOUT_BYTES: u64 = 4 << 20;
const STDERR_BYTES: usize = 32 * 1024;

/// Everything that all evaluations of one command problem share.
#[derive(Debug)]
pub(crate) struct CommandEvaluator {
    problem: CommandProblem,
    gate: Gate,
    launcher: Launcher,
    scratch: Arc<Scratch>,
    path: String,
    device: Device,
    pub(crate) measured_by: MeasuredBy,
}

/// A finished command.
struct Run {
    ended: Ended,
    stdout: Stdout,
}

enum Stdout {
    Whole(Vec<u8>),
    TooMuch,
}

impl CommandEvaluator {
    pub(crate) fn prepare(
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
        let measured_by = MeasuredBy {
            evaluator: env!("CARGO_PKG_VERSION").to_owned(),
            harness: None,
            mlx: None,
            backend: None,
            device: None,
            sandbox: Tier::None,
            protocol: PROTOCOL.to_owned(),
            parameters: json!({ "command": problem.command, "parallel": problem.parallel }),
        };
        let device = Device::new(problem.parallel, hello.device_lock.clone());
        Ok(Self { problem, gate, launcher, scratch, path: hello.path.clone(), device, measured_by })
    }

    /// The whole way of one candidate.
    pub(crate) async fn evaluate(&self, job: &Job, log: &mut Log) -> Result<Outcome, Stop> {
        self.gate.pass(&job.program).map_err(Outcome::from)?;
        let run = self.run(job, log).await?;
        let outcome = self.judge(&run, log)?;
        log.artifact("stderr", &run.ended.stderr);
        Ok(outcome)
    }

    /// Runs the command, again if somebody killed it from outside.
    async fn run(&self, job: &Job, log: &mut Log) -> Result<Run, Stop> {
        let _turn = self.turn().await?;
        log.event(Event::Entered { stage: Stage::Trial });
        let run = self.run_once(job, log).await?;
        if run.ended.how.is_from_outside() {
            return self.run_once(job, log).await;
        }
        Ok(run)
    }

    /// A single command may be timing something, so then nothing of ours runs beside it.
    async fn turn(&self) -> Result<Turn<'_>, Stop> {
        if self.problem.parallel > 1 {
            return Ok(Turn::Shared { _building: self.device.build().await? });
        }
        let series = self.device.series().await;
        Ok(Turn::Alone { _measuring: series.measure().await? })
    }

    async fn run_once(&self, job: &Job, log: &mut Log) -> Result<Run, Stop> {
        let folder = self.scratch.folder("command")?;
        let order = self.order(job, folder.path())?;
        log.event(Event::TrialStarted { arm: Arm::Candidate, number: 1, of: 1 });
        let mut record = TrialRecord::begin(log.trials.len() as u32, PROTOCOL, Arm::Candidate, 0, now());
        let mut running = self.launcher.start(&order, Pipes::Output, folder)?;
        let stdout = running.stdout.take();
        let run = match read_capped(stdout).await? {
            Stdout::TooMuch => Run { ended: running.stop().await?, stdout: Stdout::TooMuch },
            whole @ Stdout::Whole(_) => Run { ended: running.ended().await?, stdout: whole },
        };
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

    fn order(&self, job: &Job, folder: &Path) -> Result<Order, Stop> {
        let mut name = "program".to_owned();
        if let Some(extension) = self.problem.initial_program.extension() {
            name = format!("{name}.{}", extension.to_string_lossy());
        }
        let program = folder.join(name);
        std::fs::write(&program, &job.program)?;
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), self.path.clone()),
            ("HOME".to_owned(), text(folder)?.to_owned()),
            ("TMPDIR".to_owned(), text(folder)?.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        environment.extend(self.problem.environment.clone());
        let mut arguments = self.problem.command[1..].to_vec();
        arguments.push(text(&program)?.to_owned());
        Ok(Order {
            program: PathBuf::from(&self.problem.command[0]),
            arguments,
            environment,
            directory: folder.to_owned(),
            deadline_seconds: self.problem.limits.trial_seconds,
            memory_bytes: Some(self.problem.limits.memory_bytes),
            stderr_bytes: STDERR_BYTES,
            confinement: Confinement::None,
        })
    }

    fn judge(&self, run: &Run, log: &mut Log) -> Result<Outcome, Stop> {
        let stage = Stage::Trial;
        let stdout = match &run.stdout {
            Stdout::Whole(bytes) => String::from_utf8_lossy(bytes),
            Stdout::TooMuch => {
                let reason = format!("the command printed more than {} MiB", STDOUT_BYTES >> 20);
                return Ok(Outcome::Rejected { reason });
            }
        };
        let limits = &self.problem.limits;
        match &run.ended.how {
            How::Exited { code: 0 } => {}
            How::Deadline => return Ok(Outcome::Timeout { stage, limit_seconds: limits.trial_seconds }),
            How::Memory => return Ok(Outcome::OutOfMemory { stage, limit_bytes: limits.memory_bytes }),
            How::NotStarted { message } => {
                return Err(Stop::Broken(format!("the problem's command can't be started: {message}")));
            }
            How::SandboxFailed { message } => {
                return Err(Stop::Broken(format!("the sandbox can't be set up: {message}")));
            }
            How::Stopped => return Err(Stop::Broken("the command was stopped".to_owned())),
            how @ (How::Exited { .. } | How::Signaled { .. } | How::NotExported { .. } | How::Lost) => {
                let words = last_lines(&run.ended.stderr, 10);
                let message = format!("the command {how}\n{words}").trim().to_owned();
                return Ok(Outcome::Crash { stage, message });
            }
        }
        let printed = match metrics::read(&stdout) {
            Ok(printed) => printed,
            Err(reason) => {
                log.artifact("stdout", &stdout);
                return Ok(Outcome::Rejected { reason });
            }
        };
        for (name, content) in &printed.texts {
            log.artifact(name, content);
        }
        if let Some(record) = log.trials.last_mut() {
            record.metrics.clone_from(&printed.metrics);
        }
        Ok(Outcome::Measured(Measured {
            score: printed.score,
            verdict: Verdict::Inconclusive,
            metrics: printed.metrics,
            effects: Vec::new(),
            reason: format!("score {} as the problem's command reported it", printed.score),
        }))
    }
}

/// The right to run a command now.
enum Turn<'a> {
    Alone { _measuring: Measuring<'a> },
    Shared { _building: Building<'a> },
}

/// Reads to the end, or until it is too much.
async fn read_capped(stdout: Option<ChildStdout>) -> Result<Stdout, Stop> {
    let mut bytes = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(STDOUT_BYTES + 1).read_to_end(&mut bytes).await?;
    }
    Ok(if bytes.len() as u64 > STDOUT_BYTES { Stdout::TooMuch } else { Stdout::Whole(bytes) })
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
