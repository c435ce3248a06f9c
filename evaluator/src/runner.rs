//! One process of the trial runner, which holds a candidate: what we ask, what comes back, and our own clock around it.
//!
//! Nothing here believes a word of what the process says about itself. What counts is bytes of the expected length, when they
//! came, and how the process ended.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{ChildStdin, ChildStdout};
use trial_protocol::{
    AnswerLayout, Blame, COMPILED_KERNELS, Challenge, CheckRequest, CompiledFile, Failure, Go, Harness,
    KERNEL_CACHE, Reply, Request, TrialReport, TrialRequest, WarmRequest,
};

use crate::compile::{Compiled, text};
use crate::confine::Confine;
use crate::frames::{Frames, Silence};
use crate::gpu::{Gpu, Watch};
use crate::initial_kernels::{InitialKernels, joined};
use crate::launch::{Launcher, Pipes, Running};
use crate::order::{Confinement, Ended, How, MemoryUse, Order};
use crate::scratch::Scratch;
use crate::stop::Stop;

const STDERR_BYTES: usize = 32 * 1024;
/// In a process's own folder: kernels that MLX compiled in it.
pub(crate) const KERNELS: &str = "kernels";
/// For compiling them.
const WARMING_SECONDS: f64 = 1800.0;
/// Most that a program's process may hand over of what MLX compiled in it.
const HANDED_OVER_BYTES: u64 = 64 << 20;
/// What the launcher allows a check beyond the candidate's own time, for we judge each answer before asking on.
const JUDGING_SECONDS: f64 = 600.0;

/// Starts trial runners.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) harness: Harness,
    pub(crate) launcher: Launcher,
    pub(crate) scratch: Arc<Scratch>,
    pub(crate) path: String,
    pub(crate) memory_bytes: u64,
    pub(crate) confine: Confine,
    pub(crate) gpu: Option<Gpu>,
    /// What a trial reads beside the harness and its plugin: the model, and the texts to train on.
    pub(crate) read: Vec<PathBuf>,
    pub(crate) initial: InitialKernels,
}

/// One trial's end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Peak resident set of the process tree, in bytes.
    pub(crate) peak_bytes: u64,
    /// What the process wrote to standard error, shortened.
    pub(crate) stderr: String,
    /// What it trained, or why there is nothing.
    pub(crate) result: Result<Trained, Fault>,
}

/// What a trial leaves behind.
#[derive(Debug)]
pub(crate) struct Trained {
    /// From writing the start signal to the last byte of the adapters, by our clock.
    pub(crate) seconds: f64,
    /// All adapters, of the expected length and otherwise unseen.
    pub(crate) adapters: Vec<u8>,
    /// What the operating system counted meanwhile.
    pub(crate) outside: MemoryUse,
    /// The most that was in use on the whole GPU meanwhile, as its driver says, in bytes.
    pub(crate) device_bytes: Option<u64>,
    /// What the runner says of itself.
    pub(crate) report: TrialReport,
    /// What MLX compiled in the process, names and contents, if that was asked for.
    pub(crate) compiled: Vec<(String, Vec<u8>)>,
}

/// Why there is no usable answer. Any of these may be the candidate's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The kernel returned an error or panicked, and the runner could tell.
    Kernel(String),
    /// The runner says that model, data or settings are wrong. With a candidate in it that may be a lie.
    Setup(String),
    /// The process died or talked nonsense.
    Crashed(String),
    /// It was killed for what the sandbox forbids.
    Forbidden(String),
    /// Killed at its deadline.
    Timeout,
    /// Killed at its memory limit.
    Memory,
    /// Somebody else killed it.
    Killed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel(message)
            | Self::Setup(message)
            | Self::Crashed(message)
            | Self::Forbidden(message) => message,
            Self::Timeout => "killed at its time limit",
            Self::Memory => "killed at its memory limit",
            Self::Killed => "killed from outside",
        })
    }
}

/// A runner that has loaded a kernel and waits to be asked.
pub(crate) struct Session {
    running: Running,
    frames: Frames<ChildStdout, ChildStdin>,
    /// What is left of the time for all answers together. Ours doesn't count.
    patience: Duration,
}

/// Why a session gives no more answers.
#[derive(Debug)]
pub(crate) enum Break {
    Silence(Silence),
    Failed(Failure),
    Late,
}

impl From<Silence> for Break {
    fn from(silence: Silence) -> Self {
        Self::Silence(silence)
    }
}

impl Runner {
    /// Starts a runner that computes what it is challenged to; `seconds` are for loading and all answers.
    pub(crate) async fn check(
        &self,
        kernel: &Compiled,
        seconds: f64,
    ) -> Result<(Session, Result<(), Break>), Stop> {
        let request =
            Request::Check(CheckRequest { plugin: kernel.plugin.clone(), lock: self.confine.sandbox });
        let mut session = self.start(Some(kernel), Vec::new(), seconds, JUDGING_SECONDS)?;
        let ready = session.begin(&request).await;
        Ok((session, ready))
    }

    /// One trial in a process of its own; without a kernel it is MLX-LM's own layer. `adapter_bytes` is how long its answer has to be.
    pub(crate) async fn trial(
        &self,
        kernel: Option<&Compiled>,
        request: TrialRequest,
        seed: u64,
        adapter_bytes: u64,
        seconds: f64,
    ) -> Result<Answer, Stop> {
        let mut session = self.start(kernel, self.read.clone(), seconds, 0.0)?;
        let hand_over = request.hand_over;
        let result = match session.begin(&Request::Trial(request)).await {
            Ok(()) => session.train(seed, adapter_bytes, self.gpu.as_ref(), hand_over).await,
            Err(silent) => Err(silent),
        };
        let (ended, result) = match result {
            Ok(trained) => (session.close().await?, Ok(trained)),
            Err(silent) => {
                let (ended, fault) = session.fault(silent).await?;
                (ended, Err(fault))
            }
        };
        if let (true, Ok(Trained { compiled, .. })) = (hand_over, &result) {
            self.initial.keep(&self.scratch, compiled);
        }
        Ok(Answer { peak_bytes: ended.peak_bytes, stderr: ended.stderr, result })
    }

    /// Lets a process without a candidate compute, and returns the folder of what MLX compiled for it. In no sandbox: what it compiles
    /// is for others.
    pub(crate) async fn warm(&self, request: &WarmRequest) -> Result<TempDir, Stop> {
        let folder = self.scratch.folder("warm")?;
        let mut order = self.order(folder.path(), None, Vec::new(), WARMING_SECONDS)?;
        order.confinement = Confinement::None;
        let own = folder.path().join(KERNELS);
        let mut session = self.launch(&order, WARMING_SECONDS, ())?;
        match session.begin(&Request::Warm(request.clone())).await {
            Ok(()) => drop(session.close().await?),
            Err(silent) => {
                let (_, fault) = session.fault(silent).await?;
                return Err(Stop::Broken(format!(
                    "MLX can't compile its kernels on this device, see `evolve doctor`: {fault}"
                )));
            }
        }
        // Nothing to compile, nothing left.
        std::fs::create_dir_all(&own)?;
        Ok(folder)
    }

    fn start(
        &self,
        kernel: Option<&Compiled>,
        read: Vec<PathBuf>,
        seconds: f64,
        spare_seconds: f64,
    ) -> Result<Session, Stop> {
        let folder = self.scratch.folder("trial")?;
        let order = self.order(folder.path(), kernel, read, seconds + spare_seconds)?;
        self.launch(&order, seconds, folder)
    }

    fn launch<K: Send + 'static>(&self, order: &Order, seconds: f64, keep: K) -> Result<Session, Stop> {
        let mut running = self.launcher.start(order, Pipes::Both, keep)?;
        let (Some(stdin), Some(stdout)) = (running.stdin.take(), running.stdout.take()) else {
            return Err(Stop::Broken("the launcher has no pipes".to_owned()));
        };
        let frames = Frames::new(stdout, stdin);
        Ok(Session { running, frames, patience: Duration::from_secs_f64(seconds) })
    }

    fn order(
        &self,
        folder: &Path,
        kernel: Option<&Compiled>,
        mut read: Vec<PathBuf>,
        deadline_seconds: f64,
    ) -> Result<Order, Stop> {
        let harness = &self.harness;
        read.extend(harness_files(harness));
        read.push(harness.runner.clone());
        read.extend(kernel.map(|kernel| kernel.folder().to_owned()));
        let mut environment = environment(harness, &self.path, folder)?;
        if let (Some(common), Some(_)) = (&harness.compiled, kernel)
            && let Some(initial) = self.initial.folder()
        {
            read.push(initial.to_owned());
            environment.insert(COMPILED_KERNELS.to_owned(), joined([common, initial])?);
        }
        Ok(Order {
            program: harness.runner.clone(),
            arguments: Vec::new(),
            environment,
            directory: folder.to_owned(),
            deadline_seconds,
            memory_bytes: Some(self.memory_bytes),
            stderr_bytes: STDERR_BYTES,
            confinement: self.confine.runner(read, &harness.description.backend),
        })
    }
}

/// What a program of the harness reads besides itself.
pub(crate) fn harness_files(harness: &Harness) -> impl Iterator<Item = PathBuf> + '_ {
    harness.libraries.iter().chain(&harness.headers).chain(&harness.compiled).cloned()
}

/// With MLX 0.32.2's CUDA graphs one gradient in a hundred of a quantized model in half precision is wrong (`bench/mlx_repeats.py`), so
/// honest trials would be refused, and a wrong reference would let others through. Without them a step takes about as long.
const NO_CUDA_GRAPHS: (&str, &str) = ("MLX_USE_CUDA_GRAPHS", "0");

/// What a program of the harness needs to find MLX, and to compute the same each time.
pub(crate) fn environment(
    harness: &Harness,
    path: &str,
    folder: &Path,
) -> Result<BTreeMap<String, String>, Stop> {
    let libraries: Result<Vec<&str>, Stop> = harness.libraries.iter().map(|path| text(path)).collect();
    let search_path = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let kernels = match &harness.compiled {
        Some(compiled) => vec![
            (COMPILED_KERNELS.to_owned(), text(compiled)?.to_owned()),
            (KERNEL_CACHE.to_owned(), text(&folder.join(KERNELS))?.to_owned()),
        ],
        None => Vec::new(),
    };
    let folder = text(folder)?.to_owned();
    let always = BTreeMap::from([
        (search_path.to_owned(), libraries?.join(":")),
        // MLX loads whatever compiled code lies below it, so nobody else may write there.
        ("TMPDIR".to_owned(), folder.clone()),
        // `mx.compile` calls the system's compiler.
        ("PATH".to_owned(), path.to_owned()),
        ("HOME".to_owned(), folder),
    ]);
    let is_cuda = harness.description.backend == "cuda";
    let (name, value) = NO_CUDA_GRAPHS;
    let graphs = is_cuda.then(|| (name.to_owned(), value.to_owned()));
    Ok(always.into_iter().chain(kernels).chain(graphs).collect())
}

impl Session {
    /// Sends the request and waits until the kernel is loaded.
    async fn begin(&mut self, request: &Request) -> Result<(), Break> {
        self.send(request).await?;
        match self.receive().await? {
            Reply::Ready => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// What the kernel computes, of the expected length and otherwise unseen.
    pub(crate) async fn answer(&mut self, challenge: &Challenge) -> Result<Vec<u8>, Break> {
        self.be_first().await?;
        self.send(challenge).await?;
        let expected = AnswerLayout::of(&challenge.case).bytes() as u64;
        match self.receive().await? {
            Reply::Answer { bytes } => self.receive_raw(bytes, expected).await,
            other => Err(unexpected(other)),
        }
    }

    /// Gives the start signal and stops the time until the last byte of the adapters is here.
    async fn train(
        &mut self,
        seed: u64,
        adapter_bytes: u64,
        gpu: Option<&Gpu>,
        hand_over: bool,
    ) -> Result<Trained, Break> {
        self.be_first().await?;
        self.memory().await?;
        let watch = gpu.map(Gpu::watch);
        let started = Instant::now();
        self.send(&Go { seed }).await?;
        let adapters = match self.receive().await? {
            Reply::Trained { bytes } => self.receive_raw(bytes, adapter_bytes).await?,
            other => return Err(unexpected(other)),
        };
        let seconds = started.elapsed().as_secs_f64();
        let device_bytes = watch.and_then(Watch::peak_bytes);
        let outside = self.memory().await?;
        let compiled = if hand_over { self.receive_compiled().await? } else { Vec::new() };
        match self.receive().await? {
            Reply::Trial(report) => {
                Ok(Trained { seconds, adapters, outside, device_bytes, report, compiled })
            }
            other => Err(unexpected(other)),
        }
    }

    async fn receive_compiled(&mut self) -> Result<Vec<(String, Vec<u8>)>, Break> {
        let files = match self.receive().await? {
            Reply::Compiled { files } => files,
            other => return Err(unexpected(other)),
        };
        let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        if bytes > HANDED_OVER_BYTES {
            return Err(nonsense(&format!("it hands over {bytes} bytes of compiled kernels")));
        }
        let mut raw = in_time(&mut self.patience, self.frames.receive_raw(bytes)).await?;
        let mut cut = |CompiledFile { name, bytes }| {
            // Their sum is what came, so each is at most that.
            let rest = raw.split_off(bytes as usize);
            (name, std::mem::replace(&mut raw, rest))
        };
        Ok(files.into_iter().map(&mut cut).collect())
    }

    /// Who answers before being asked has not computed what was asked for.
    async fn be_first(&mut self) -> Result<(), Break> {
        if self.frames.has_unasked().await {
            return Err(nonsense("it answered before it was asked"));
        }
        Ok(())
    }

    /// Whoever doesn't listen any more may have left a word why, so only reading shows the end.
    async fn send<T: serde::Serialize + Sync>(&mut self, message: &T) -> Result<(), Break> {
        match in_time(&mut self.patience, self.frames.send(message)).await {
            Err(Break::Silence(Silence::Closed)) => Ok(()),
            sent => sent,
        }
    }

    async fn receive(&mut self) -> Result<Reply, Break> {
        match in_time(&mut self.patience, self.frames.receive()).await? {
            Reply::Failed(failure) => Err(Break::Failed(failure)),
            reply => Ok(reply),
        }
    }

    async fn receive_raw(&mut self, announced: u64, expected: u64) -> Result<Vec<u8>, Break> {
        if announced != expected {
            return Err(nonsense(&format!("it announces {announced} bytes instead of {expected}")));
        }
        in_time(&mut self.patience, self.frames.receive_raw(expected)).await
    }

    /// The process's memory as the operating system counts it, with the peak since the last time this was asked.
    /// Who goes before it was asked has something to hide.
    async fn memory(&mut self) -> Result<MemoryUse, Break> {
        self.running.memory().await.map_err(|_| Break::Silence(Silence::Closed))
    }

    /// Ends a session that has answered everything.
    pub(crate) async fn close(self) -> Result<Ended, Stop> {
        let ended = self.running.stop().await?;
        match ended.how {
            How::NotStarted { message } => Err(not_started(&message)),
            How::SandboxFailed { message } => Err(Stop::sandbox(&message)),
            _ => Ok(ended),
        }
    }

    /// Ends a session that gives no more answers, and says why it doesn't.
    pub(crate) async fn fault(self, silent: Break) -> Result<(Ended, Fault), Stop> {
        let ended = match silent {
            // It is dead, or dying, or will be at its deadline.
            Break::Silence(Silence::Closed) => self.running.ended().await?,
            _ => self.running.stop().await?,
        };
        let fault = match silent {
            Break::Failed(Failure { blame: Blame::Kernel, message }) => Fault::Kernel(message),
            Break::Failed(Failure { blame: Blame::Setup, message }) => Fault::Setup(message),
            Break::Silence(Silence::Nonsense(words)) => Fault::Crashed(format!("the trial runner's {words}")),
            Break::Late => Fault::Timeout,
            Break::Silence(Silence::Closed) => match &ended.how {
                How::NotStarted { message } => return Err(not_started(message)),
                How::SandboxFailed { message } => return Err(Stop::sandbox(message)),
                _ => died(&ended),
            },
        };
        Ok((ended, fault))
    }
}

/// Waits for an answer as long as there is patience left, and takes the waiting off it.
async fn in_time<T>(
    patience: &mut Duration,
    answer: impl Future<Output = Result<T, Silence>>,
) -> Result<T, Break> {
    let started = Instant::now();
    let answered = tokio::time::timeout(*patience, answer).await;
    *patience = patience.saturating_sub(started.elapsed());
    Ok(answered.map_err(|_| Break::Late)??)
}

fn unexpected(reply: Reply) -> Break {
    let what = match reply {
        Reply::Ready => "it says twice that it is ready",
        Reply::Answer { .. }
        | Reply::Trained { .. }
        | Reply::Compiled { .. }
        | Reply::Trial(_)
        | Reply::Description(_) => "it is not the one that was asked for",
        Reply::Failed(failure) => return Break::Failed(failure),
    };
    nonsense(what)
}

fn nonsense(words: &str) -> Break {
    Break::Silence(Silence::Nonsense(format!("answer is nonsense: {words}")))
}

fn not_started(words: &str) -> Stop {
    Stop::Broken(format!("the trial runner can't be started: {words}; run `make mlx`"))
}

/// Whose fault a death without an answer is.
fn died(ended: &Ended) -> Fault {
    match &ended.how {
        How::Deadline => Fault::Timeout,
        How::Memory => Fault::Memory,
        how @ How::Signaled { signal: libc::SIGSYS } => Fault::Forbidden(with_last_words(how, &ended.stderr)),
        how if how.is_from_outside() => Fault::Killed,
        how => Fault::Crashed(with_last_words(how, &ended.stderr)),
    }
}

fn with_last_words(how: &How, stderr: &str) -> String {
    let lines: Vec<&str> = stderr.trim().lines().collect();
    let last_words = lines[lines.len().saturating_sub(5)..].join("\n");
    format!("the trial runner {how}\n{last_words}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment_of(backend: &str, compiled: Option<&str>) -> BTreeMap<String, String> {
        let harness = serde_json::json!({
            "runner": "/harness/trial-runner", "grader": "/harness/grader", "kernel_api": "/harness/libkernel_api.so",
            "dependencies": [], "libraries": ["/harness/lib", "/mlx/lib"], "compiled": compiled,
            "rustc": "/rust/bin/rustc", "rustc_version": "rustc 1", "reference": "/harness/kernel-api.md",
            "description": { "harness": "1", "mlx": "0.32.2", "backend": backend, "device": "a device" },
        });
        let harness: Harness = serde_json::from_value(harness).unwrap();
        environment(&harness, "/usr/bin", Path::new("/own")).unwrap()
    }

    #[test]
    fn on_cuda_grader_and_trials_compute_without_cuda_graphs_which_give_other_gradients_from_run_to_run() {
        let environment = environment_of("cuda", Some("/kernels"));
        assert_eq!(environment["MLX_USE_CUDA_GRAPHS"], "0");
        assert_eq!(environment[KERNEL_CACHE], "/own/kernels");
    }

    #[test]
    fn elsewhere_a_runner_has_only_what_it_needs_to_find_mlx() {
        let environment = environment_of("cpu", None);
        let names: Vec<&str> = environment.keys().map(String::as_str).collect();
        let search_path = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
        let mut expected = ["HOME", search_path, "PATH", "TMPDIR"];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(environment[search_path], "/harness/lib:/mlx/lib");
    }
}
