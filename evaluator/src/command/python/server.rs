//! One warmed interpreter in its sandbox, and the conversation with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::interpreter::Interpreter;
use crate::command::execute::Executor;
use crate::compile::text;
use crate::frames::{Frames, Silence};
use crate::launch::{Pipes, Running};
use crate::order::{Confinement, Ended, Order, Tier};
use crate::problem::PythonEvaluator;
use crate::stop::Stop;

/// How long an evaluator's module may take to load.
const LOADING: Duration = Duration::from_mins(5);

/// How much later than a fork's own time limit we take it that the server itself is stuck.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a server that has closed its socket may take to end. It tells more than that we killed it.
const LAST_WORDS: Duration = Duration::from_secs(2);

const STDERR_BYTES: usize = 32 * 1024;

/// Longest that anything may be that a server sends.
const LONGEST: u64 = 32 << 20;

/// What all servers of one evaluator have in common.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// Our `server.py`.
    server: PathBuf,
    /// What the sandbox shows.
    read: Vec<PathBuf>,
    /// Stages that one evaluation may have.
    stages: u32,
    told: ToldSetup,
}

/// The same as the server is told.
#[derive(Debug, Clone, Serialize)]
struct ToldSetup {
    evaluator: PathBuf,
    path: Vec<PathBuf>,
    beside: Vec<PathBuf>,
    cascade: bool,
    thresholds: Vec<f64>,
    arguments: BTreeMap<String, Value>,
    /// Whether nobody but the server and its evaluations is in its namespace of processes.
    alone: bool,
    /// System calls that a fork may not use against the server.
    calls: Option<Calls>,
}

/// Their numbers on this machine.
#[derive(Debug, Clone, Serialize)]
struct Calls {
    /// Those that name a process or thread first.
    signals: Vec<i64>,
    fcntl: i64,
}

impl Setup {
    pub(super) fn new(
        settings: &PythonEvaluator,
        interpreter: &Interpreter,
        files: &Path,
        folder: &Path,
        beside: Vec<PathBuf>,
        read: Vec<PathBuf>,
    ) -> Result<Self, Stop> {
        // The evaluator's folder first, as OpenEvolve has it, and our own files where they are in nobody's way.
        let mut path = vec![folder.to_owned()];
        path.extend(interpreter.path.iter().cloned());
        path.push(files.join("stand_in"));
        for path in &path {
            text(path)?;
        }
        let told = ToldSetup {
            evaluator: settings.file.clone(),
            path,
            beside,
            cascade: settings.cascade,
            thresholds: settings.thresholds.clone(),
            arguments: settings.arguments.clone(),
            alone: false,
            calls: None,
        };
        let stages = if settings.cascade { 3 } else { 1 };
        Ok(Self { server: files.join("server.py"), read, stages, told })
    }
}

/// One evaluation, as the server is told.
#[derive(Debug, Serialize)]
pub(super) struct Program<'a> {
    /// What the evaluator is given: a file's name, or that of a folder.
    pub(super) name: &'a str,
    /// Names and texts of all files.
    pub(super) files: &'a [(String, &'a str)],
    /// For each stage.
    pub(super) seconds: f64,
}

#[derive(Deserialize)]
struct Ready {
    loaded: bool,
    #[serde(default)]
    cold: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    traceback: String,
}

/// How a fork ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub(super) enum How {
    /// With a result.
    Result,
    /// It ended by itself, without one.
    Exited { code: i32 },
    /// A signal that isn't the server's.
    Signaled { signal: i32 },
    /// The server killed it at its time limit.
    Timeout,
    /// What came isn't a result.
    Nonsense,
    /// Its result is too long.
    TooMuch,
}

impl How {
    /// As [`crate::order::How::is_from_outside`].
    pub(super) fn is_from_outside(&self) -> bool {
        *self == Self::Signaled { signal: libc::SIGKILL }
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Exited { code } => crate::order::How::Exited { code: *code }.to_string(),
            Self::Signaled { signal } => crate::order::How::Signaled { signal: *signal }.to_string(),
            Self::Timeout => crate::order::How::Deadline.to_string(),
            Self::Result | Self::Nonsense | Self::TooMuch => "ended".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    how: How,
    peak_bytes: u64,
    result_bytes: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
    clean: bool,
}

/// One evaluation's end. The bytes are the program's.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) how: How,
    pub(super) peak_bytes: u64,
    pub(super) result: Vec<u8>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Whether nothing is left of it, so that the server may be used again.
    pub(super) is_clean: bool,
}

/// What became of an evaluation.
#[derive(Debug)]
pub(super) enum Evaluated {
    Answered(Answer),
    /// The server has gone, or doesn't answer.
    Died(Dying),
}

/// A server that is of no use any more.
#[derive(Debug)]
pub(super) struct Dying(Running);

impl Dying {
    /// Makes sure that it is gone, and says how it ended.
    pub(super) async fn stop(self) -> Result<Ended, Stop> {
        Ok(self.0.end_within(LAST_WORDS).await?)
    }
}

/// A warmed interpreter. Dropping it ends it with everything in its sandbox.
#[derive(Debug)]
pub(super) struct Server {
    running: Option<Running>,
    frames: Frames<BufReader<OwnedReadHalf>, OwnedWriteHalf>,
    stages: u32,
    /// Whether it can leave nothing of an evaluation alive by itself.
    alone: bool,
    pub(super) tier: Tier,
    /// Why evaluations load the module themselves, if they do.
    pub(super) cold: Option<String>,
}

impl Server {
    /// Starts one and waits until it has loaded the evaluator.
    pub(super) async fn start(
        executor: &Executor,
        interpreter: &Interpreter,
        setup: &Setup,
    ) -> Result<Self, Stop> {
        let folder = executor.scratch.folder("evaluations")?;
        let order = order(executor, interpreter, setup, folder.path())?;
        let mut running = executor.launcher.start(&order, Pipes::Socket, folder)?;
        let socket = running.socket.take().ok_or_else(|| Stop::Broken("no socket to talk by".to_owned()))?;
        let Some(tier) = running.tier().await else {
            let how = running.ended().await?.how;
            return Err(Stop::Broken(format!(
                "the Python evaluator {how}; `evolve doctor` examines the sandbox"
            )));
        };
        let (from, to) = socket.into_split();
        let mut frames = Frames::new(BufReader::new(from), to);
        let is_confined = matches!(order.confinement, Confinement::Sandbox(_));
        let alone = is_confined && tier == Tier::Full && cfg!(target_os = "linux");
        let told = ToldSetup { alone, calls: is_confined.then(calls).flatten(), ..setup.told.clone() };
        let conversation = async {
            frames.send(&told).await?;
            frames.receive::<Ready>().await
        };
        let ready = tokio::time::timeout(LOADING, conversation).await;
        let evaluator = setup.told.evaluator.display();
        match ready {
            Ok(Ok(ready)) if ready.loaded => {
                for warning in &ready.warnings {
                    tracing::warn!("{evaluator}: {warning}");
                }
                let cold = ready.cold;
                Ok(Self { running: Some(running), frames, stages: setup.stages, alone, tier, cold })
            }
            Ok(Ok(ready)) => Err(Stop::Broken(format!(
                "{evaluator} can't be loaded by {} (Python {}): {}\n{}\n  hint: {}",
                interpreter.executable.display(),
                interpreter.version,
                ready.error,
                super::super::last_lines(&ready.traceback, 8),
                hint(&ready.error),
            ))),
            Ok(Err(silence)) => {
                let ended = running.end_within(LAST_WORDS).await?;
                let why = match silence {
                    Silence::Closed => format!("the interpreter {}", ended.how),
                    Silence::Nonsense(words) => format!("its {words}"),
                };
                let words = super::super::last_lines(&ended.stderr, 8);
                Err(Stop::Broken(format!("{evaluator} can't be loaded: {why}\n{words}")))
            }
            Err(_) => Err(Stop::Broken(format!(
                "{evaluator} is still not loaded after {} minutes: what takes so long belongs into `evaluate`",
                LOADING.as_secs() / 60
            ))),
        }
    }

    /// Evaluates one program. Whoever drops this future gives up the server.
    pub(super) async fn evaluate(&mut self, program: &Program<'_>) -> Result<Evaluated, Stop> {
        let limit =
            Duration::try_from_secs_f64(program.seconds * f64::from(self.stages)).unwrap_or(Duration::MAX);
        let conversation = async {
            self.frames.send(program).await?;
            let header: Header = self.frames.receive().await?;
            let bytes = [header.result_bytes, header.stdout_bytes, header.stderr_bytes];
            if bytes.iter().any(|bytes| *bytes > LONGEST) {
                return Err(Silence::Nonsense("answer is too long".to_owned()));
            }
            let result = self.frames.receive_raw(header.result_bytes).await?;
            let stdout = self.frames.receive_raw(header.stdout_bytes).await?;
            let stderr = self.frames.receive_raw(header.stderr_bytes).await?;
            Ok(Answer {
                how: header.how,
                peak_bytes: header.peak_bytes,
                result,
                stdout: String::from_utf8_lossy(&stdout).into_owned(),
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
                is_clean: header.clean,
            })
        };
        match tokio::time::timeout(limit.saturating_add(PATIENCE), conversation).await {
            Ok(Ok(mut answer)) => {
                if let Some(running) = self.running.as_mut().filter(|_| !self.alone) {
                    // Without a clean end it won't be used again.
                    answer.is_clean &= running.sweep().await.unwrap_or(false);
                }
                Ok(Evaluated::Answered(answer))
            }
            Ok(Err(_)) | Err(_) => {
                let running =
                    self.running.take().ok_or_else(|| Stop::Broken("a server was used twice".to_owned()))?;
                Ok(Evaluated::Died(Dying(running)))
            }
        }
    }
}

fn order(
    executor: &Executor,
    interpreter: &Interpreter,
    setup: &Setup,
    folder: &Path,
) -> Result<Order, Stop> {
    let mut environment = executor.environment(folder)?;
    for (name, value) in [
        // Sets and dictionaries of texts have the same order in every evaluation.
        ("PYTHONHASHSEED", "0"),
        // Nothing can be written beside modules.
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONNOUSERSITE", "1"),
        ("PYTHONIOENCODING", "utf-8:backslashreplace"),
    ] {
        environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    Ok(Order {
        program: interpreter.executable.clone(),
        arguments: vec![text(&setup.server)?.to_owned()],
        environment,
        directory: folder.to_owned(),
        // Evaluations have their own limits; a server stays as long as it is needed.
        deadline_seconds: 1e9,
        memory_bytes: Some(executor.limits.memory_bytes),
        stderr_bytes: STDERR_BYTES,
        confinement: executor.confine.command(setup.read.clone(), &executor.settings),
    })
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
fn calls() -> Option<Calls> {
    Some(Calls {
        signals: vec![
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_pidfd_open,
            libc::SYS_sched_setaffinity,
        ],
        fcntl: libc::SYS_fcntl,
    })
}

#[cfg(not(target_os = "linux"))]
fn calls() -> Option<Calls> {
    None
}

/// What to do about an evaluator that can't be loaded.
fn hint(error: &str) -> &'static str {
    if error.starts_with("ModuleNotFoundError") || error.starts_with("ImportError") {
        "install the package there, or name another interpreter in problem.yaml (`python: {interpreter: .venv}`); what lies outside of \
         its folders has to be named under `sandbox: read`"
    } else if error.contains("No such file")
        || error.contains("Permission denied")
        || error.contains("Read-only")
    {
        "in the sandbox it sees its own folder and its packages, read-only; name more under `sandbox: read`"
    } else {
        "mend it, then run again"
    }
}
