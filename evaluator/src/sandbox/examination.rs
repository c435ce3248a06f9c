//! Does the sandbox hold? Each probe really tries, inside, what a candidate might.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::launch::{LaunchError, Launcher, Pipes, Running};
use crate::order::{Confinement, Ended, How, Order, Profile, Sandbox, Tier};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// How well this system can shut a command in; none if it can't start any, in which case the probes say why.
    pub tier: Option<Tier>,
    /// One for each kind of attempt.
    pub probes: Vec<Probe>,
}

impl Examination {
    /// Whether every attempt failed.
    pub fn held(&self) -> bool {
        self.tier.is_some() && self.probes.iter().all(|probe| probe.held)
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What must hold: "reads no file outside".
    pub name: &'static str,
    /// Whether it does.
    pub held: bool,
    /// What the attempt met with, or got.
    pub detail: String,
}

/// The sandbox could not be examined, for a reason that is ours.
#[derive(Debug, thiserror::Error)]
pub enum ExaminationError {
    /// The launcher can't be used.
    #[error("{0}")]
    Launch(String),
    /// A folder or file of the examination's own.
    #[error("the examination's own files in {}: {source}", folder.display())]
    Files {
        /// Where they are.
        folder: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl From<LaunchError> for ExaminationError {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error.to_string())
    }
}

const MEBIBYTE: u64 = 1 << 20;
const MEMORY: u64 = 256 * MEBIBYTE;
const SCRATCH: u64 = 16 * MEBIBYTE;
const PROCESSES: u32 = 32;

/// An attempt: which one, with what arguments, and what has to come of it.
struct Attempt {
    name: &'static str,
    probe: Vec<String>,
    profile: Profile,
    deadline_seconds: f64,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It says itself that it got nothing.
    Refusal,
    /// It is killed, or can't get that much.
    OutOfMemory,
    /// It is killed for asking.
    Killed,
    /// It is killed at its deadline.
    Deadline,
    /// It ends well, and then nothing of it is left.
    NothingLeft,
}

/// Tries everything with `launcher`, the program `evolve-launcher`. Its files lie in a folder of their own below `scratch`.
pub async fn examine(launcher: &Path, scratch: &Path) -> Result<Examination, ExaminationError> {
    let files = |source| ExaminationError::Files { folder: scratch.to_owned(), source };
    let folder = tempfile::Builder::new().prefix("evolve-examination-").tempdir_in(scratch).map_err(files)?;
    let lair = Lair::new(launcher, folder).map_err(files)?;
    let launcher = Launcher::new(launcher);
    let mut examination = Examination { tier: None, probes: Vec::new() };
    for attempt in lair.attempts() {
        let probe = lair.attempt(&launcher, &attempt, &mut examination.tier).await?;
        examination.probes.push(probe);
        // Without a sandbox there is nothing to try.
        if examination.tier.is_none() {
            return Ok(examination);
        }
    }
    examination.probes.push(lair.memory(&launcher).await?);
    Ok(examination)
}

/// The examination's own things, outside the sandbox.
struct Lair {
    folder: TempDir,
    /// The probing program, where anybody may read it.
    program: PathBuf,
    listener: TcpListener,
    /// A process of ours with a secret in its environment.
    decoy: std::process::Child,
}

const SECRET: &str = "evolve-examination-secret";

impl Drop for Lair {
    fn drop(&mut self) {
        // It may have died already.
        let _ = self.decoy.kill();
        let _ = self.decoy.wait();
    }
}

impl Lair {
    fn new(launcher: &Path, folder: TempDir) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let open_to_all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        open_to_all(folder.path())?;
        // Readable for everybody, so that it is the sandbox that keeps it away.
        fs::write(folder.path().join("decoy"), "a secret")?;
        let inside = folder.path().join("program");
        fs::create_dir(&inside)?;
        let program = inside.join("probe");
        fs::copy(launcher, &program)?;
        open_to_all(&program)?;
        let decoy = std::process::Command::new(&program)
            .args(["--probe", "hold", "0"])
            .env_clear()
            .env("SECRET", SECRET)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?;
        Ok(Self { program, listener: TcpListener::bind("127.0.0.1:0")?, decoy, folder })
    }

    fn attempts(&self) -> Vec<Attempt> {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let address = self.listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let decoy = self.decoy.id().to_string();
        let tool = |name, probe: &[&str], expected| Attempt {
            name,
            probe: probe.iter().map(|word| (*word).to_owned()).collect(),
            profile: Profile::Tool,
            deadline_seconds: 20.0,
            expected,
        };
        let trial = |name, probe: &[&str], expected| Attempt {
            profile: Profile::Trial,
            ..tool(name, probe, expected)
        };
        let mut attempts = vec![
            tool("reads no file outside", &["read", &at("decoy")], Expected::Refusal),
            tool("writes no file outside", &["write", &at("written")], Expected::Refusal),
            tool("sees no environment but its own", &["environment", SECRET, &decoy], Expected::Refusal),
            tool("reaches no network", &["connect", &address], Expected::Refusal),
            tool(
                "starts no more processes than allowed",
                &["threads", &PROCESSES.to_string()],
                Expected::Refusal,
            ),
            tool("fills no more disk than allowed", &["fill", &SCRATCH.to_string()], Expected::Refusal),
            tool(
                "uses no more memory than allowed",
                &["memory", &(4 * MEMORY).to_string()],
                Expected::OutOfMemory,
            ),
            Attempt {
                deadline_seconds: 0.3,
                ..tool("runs no longer than allowed", &["spin"], Expected::Deadline)
            },
            tool("leaves nothing running", &["daemon"], Expected::NothingLeft),
            trial("a locked trial computes and starts nothing", &["lock"], Expected::Refusal),
        ];
        if cfg!(target_os = "linux") {
            attempts.extend([
                tool("sees no processes outside", &["processes", &decoy], Expected::Refusal),
                tool("a forbidden system call kills it", &["call"], Expected::Killed),
                trial("a locked trial that starts a program dies", &["start-after-lock"], Expected::Killed),
            ]);
        }
        attempts
    }

    fn start(
        &self,
        launcher: &Launcher,
        profile: Profile,
        probe: &[String],
        deadline_seconds: f64,
        pipes: Pipes,
    ) -> Result<Running, ExaminationError> {
        let files = |source| ExaminationError::Files { folder: self.folder.path().to_owned(), source };
        let scratch =
            tempfile::Builder::new().prefix("scratch-").tempdir_in(self.folder.path()).map_err(files)?;
        let mut arguments = vec!["--probe".to_owned()];
        arguments.extend(probe.iter().cloned());
        let sandbox = Sandbox {
            profile,
            read: super::system().into_iter().chain(self.program.parent().map(Path::to_owned)).collect(),
            devices: Vec::new(),
            scratch_bytes: SCRATCH,
            scratch_files: 256,
            processes: PROCESSES,
            network: false,
            export: None,
        };
        let order = Order {
            program: self.program.clone(),
            arguments,
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            directory: scratch.path().to_owned(),
            deadline_seconds,
            memory_bytes: Some(MEMORY),
            stderr_bytes: 4096,
            confinement: Confinement::Sandbox(Box::new(sandbox)),
        };
        Ok(launcher.start(&order, pipes, scratch)?)
    }

    async fn attempt(
        &self,
        launcher: &Launcher,
        attempt: &Attempt,
        tier: &mut Option<Tier>,
    ) -> Result<Probe, ExaminationError> {
        let Attempt { name, profile, ref probe, deadline_seconds, expected } = *attempt;
        let mut running = self.start(launcher, profile, probe, deadline_seconds, Pipes::Output)?;
        if let Some(started) = running.tier().await {
            *tier = Some(started);
        }
        let mut said = String::new();
        let mut stdout = running.stdout.take();
        // Whoever is left running keeps this pipe open.
        let listening = async {
            match &mut stdout {
                Some(stdout) => stdout.read_to_string(&mut said).await.is_ok(),
                None => false,
            }
        };
        let (ended, closed) = tokio::join!(running.ended(), tokio::time::timeout(PATIENCE, listening));
        let ended = ended?;
        let held = match (&ended.how, expected) {
            (How::Exited { code: 0 }, Expected::Refusal)
            | (How::Memory, Expected::OutOfMemory)
            | (How::Deadline, Expected::Deadline) => true,
            // The allocator's own way of giving up.
            (How::Signaled { signal }, Expected::OutOfMemory) => *signal == libc::SIGABRT,
            (How::Signaled { signal }, Expected::Killed) => *signal == libc::SIGSYS,
            (How::Exited { code: 0 }, Expected::NothingLeft) => closed.is_ok(),
            _ => false,
        };
        Ok(Probe { name, held, detail: detail(&ended, &said) })
    }

    /// Whether the system tells how much memory a command uses: what it says of itself is not to be believed.
    async fn memory(&self, launcher: &Launcher) -> Result<Probe, ExaminationError> {
        const HELD: u64 = 64 * MEBIBYTE;
        let name = "its memory is counted from outside";
        let probe = ["hold".to_owned(), HELD.to_string()];
        let mut running = self.start(launcher, Profile::Trial, &probe, 20.0, Pipes::Both)?;
        let mut line = String::new();
        if let Some(stdout) = &mut running.stdout {
            // If nothing comes, there is no memory to be asked for either.
            let _ = BufReader::new(stdout).read_line(&mut line).await;
        }
        let probe = match running.memory().await {
            Ok(used) => Probe {
                name,
                held: used.resident_bytes.min(used.peak_bytes) >= HELD && used.peak_bytes < MEMORY,
                detail: format!("{} MiB where it held {}", used.resident_bytes / MEBIBYTE, HELD / MEBIBYTE),
            },
            Err(LaunchError::Gone) => {
                let ended = running.ended().await?;
                return Ok(Probe { name, held: false, detail: detail(&ended, &line) });
            }
            Err(error) => return Err(error.into()),
        };
        running.stop().await?;
        Ok(probe)
    }
}

/// How long a pipe may stay open after everything in the sandbox is dead, and the longest probe besides.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the probe said, or else how it ended.
fn detail(ended: &Ended, said: &str) -> String {
    let said = said.trim();
    match &ended.how {
        How::Exited { .. } if !said.is_empty() => said.to_owned(),
        how => how.to_string(),
    }
}
