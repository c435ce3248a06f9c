//! Runs one command to its end: in the sandbox, with its input, and with a bound on what it prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, ChildStdout};

use crate::compile::text;
use crate::confine::Confine;
use crate::launch::{Launcher, Pipes};
use crate::order::{Ended, How, Order, Tier};
use crate::problem::{Limits, SandboxSettings};
use crate::report::Artifact;
use crate::scratch::Scratch;
use crate::stop::Stop;

/// More standard output than that is a flood, not an answer.
pub(super) const STDOUT_BYTES: u64 = 4 << 20;
const STDERR_BYTES: usize = Artifact::LIMIT;

/// How all commands of one problem are run.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) launcher: Launcher,
    pub(super) scratch: Arc<Scratch>,
    /// `PATH` for the command.
    pub(super) path: String,
    pub(super) limits: Limits,
    pub(super) settings: SandboxSettings,
    /// What the problem adds to the environment.
    pub(super) further: BTreeMap<String, String>,
    pub(super) confine: Confine,
}

/// A finished command.
pub(super) struct Execution {
    pub(super) ended: Ended,
    pub(super) stdout: Stdout,
}

/// What it printed.
pub(super) enum Stdout {
    Whole(Vec<u8>),
    TooMuch,
}

impl Executor {
    /// How well this system shuts commands in, found out by doing it.
    pub(super) async fn tier(&self) -> Result<Tier, Stop> {
        let folder = self.scratch.folder("tier")?;
        let nothing = ["sh", "-c", ":"].map(str::to_owned);
        let order = self.order(&nothing, folder.path(), Vec::new())?;
        let mut running = self.launcher.start(&order, Pipes::None, folder)?;
        let tier = running.tier().await;
        let ended = running.ended().await?;
        match (tier, ended.how) {
            (Some(tier), How::Exited { code: 0 }) => Ok(tier),
            (_, how) => {
                Err(Stop::Broken(format!("a first command {how}; `evolve doctor` examines the sandbox")))
            }
        }
    }

    /// Runs a command with some standard input, or none, and waits for its end. `read` is what it may read.
    pub(super) async fn run(
        &self,
        command: &[String],
        input: Option<&[u8]>,
        read: Vec<PathBuf>,
    ) -> Result<Execution, Stop> {
        let folder = self.scratch.folder("command")?;
        let order = self.order(command, folder.path(), read)?;
        let pipes = if input.is_some() { Pipes::Both } else { Pipes::Output };
        let mut running = self.launcher.start(&order, pipes, folder)?;
        let (stdin, stdout) = (running.stdin.take(), running.stdout.take());
        let ((), stdout) = tokio::join!(feed(stdin, input.unwrap_or_default()), read_capped(stdout));
        let execution = match stdout? {
            Stdout::TooMuch => Execution { ended: running.stop().await?, stdout: Stdout::TooMuch },
            whole @ Stdout::Whole(_) => Execution { ended: running.ended().await?, stdout: whole },
        };
        match &execution.ended.how {
            How::NotStarted { message } => {
                let hint = "name what it needs in problem.yaml under `sandbox: read`, if it isn't found in the sandbox only";
                Err(Stop::Broken(format!(
                    "the problem's command can't be started: {message}\n  hint: {hint}"
                )))
            }
            How::SandboxFailed { message } => {
                Err(Stop::Broken(format!("the sandbox can't be set up: {message}")))
            }
            How::Stopped if matches!(execution.stdout, Stdout::Whole(_)) => {
                Err(Stop::Broken("the command was stopped".to_owned()))
            }
            _ => Ok(execution),
        }
    }

    /// The whole environment of what runs in that folder.
    pub(super) fn environment(&self, folder: &Path) -> Result<BTreeMap<String, String>, Stop> {
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), self.path.clone()),
            ("HOME".to_owned(), text(folder)?.to_owned()),
            ("TMPDIR".to_owned(), text(folder)?.to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        environment.extend(self.further.clone());
        Ok(environment)
    }

    fn order(&self, command: &[String], folder: &Path, read: Vec<PathBuf>) -> Result<Order, Stop> {
        Ok(Order {
            program: PathBuf::from(&command[0]),
            arguments: command[1..].to_vec(),
            environment: self.environment(folder)?,
            directory: folder.to_owned(),
            deadline_seconds: self.limits.trial_seconds,
            memory_bytes: Some(self.limits.memory_bytes),
            stderr_bytes: STDERR_BYTES,
            confinement: self.confine.command(read, &self.settings),
        })
    }
}

/// Writes everything and closes the pipe. A command that doesn't read its input isn't an error here.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
        let _ = stdin.shutdown().await;
    }
}

/// Reads to the end, or until it is too much.
async fn read_capped(stdout: Option<ChildStdout>) -> Result<Stdout, Stop> {
    let mut bytes = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(STDOUT_BYTES + 1).read_to_end(&mut bytes).await?;
    }
    Ok(if bytes.len() as u64 > STDOUT_BYTES { Stdout::TooMuch } else { Stdout::Whole(bytes) })
}
