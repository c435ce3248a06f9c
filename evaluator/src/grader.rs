//! The grader: a trusted process with the reference kernel, the model and the held-out texts, which never loads a candidate.
//! It lives as long as the evaluator and answers one question at a time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use trial_protocol::{
    AdapterKind, Challenge, Comparison, GradeCheck, GradeReply, GradeRequest, GradeTrial, Harness, Model,
    PrepareRequest, Prepared, TrialGrade,
};

use crate::compile::text;
use crate::confine::Confine;
use crate::frames::{Frames, Silence};
use crate::launch::{Launcher, Pipes, Running};
use crate::order::{Confinement, How, Order};
use crate::runner::{environment, harness_files};
use crate::scratch::Scratch;
use crate::stop::Stop;

const STDERR_BYTES: usize = 32 * 1024;
/// It lives as long as we do; the launcher wants a number.
const LIFETIME_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
/// A question that takes longer has hung it.
const ANSWER_TIME: Duration = Duration::from_secs(1800);

/// How to start a grader.
#[derive(Debug)]
pub(crate) struct GraderOptions {
    pub(crate) harness: Harness,
    pub(crate) launcher: Launcher,
    pub(crate) scratch: Arc<Scratch>,
    pub(crate) path: String,
    /// `HF_HOME`, for a model that is named by its hub id.
    pub(crate) model_cache: Option<PathBuf>,
    pub(crate) confine: Confine,
}

/// Judges what candidates computed.
#[derive(Debug)]
pub(crate) struct Grader {
    options: GraderOptions,
    prepare: PrepareRequest,
    /// What the sandbox shows it.
    read: Vec<PathBuf>,
    /// None while somebody's question is being answered, and after a death. An evaluation that is given up in the middle of
    /// an answer takes the process with it.
    process: Mutex<Option<Process>>,
}

struct Process {
    frames: Frames<ChildStdout, ChildStdin>,
    running: Running,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

impl Grader {
    /// Lets a first process load everything. The texts that come back are for training.
    pub(crate) async fn prepare(
        options: GraderOptions,
        mut prepare: PrepareRequest,
    ) -> Result<(Self, Prepared, Vec<u8>), Stop> {
        if matches!(prepare.model, Model::Hub(_)) {
            // The one thing that needs the network, and a cache to write to. There is no candidate yet.
            let (process, prepared, _) = options.start(&prepare, Confinement::None).await?;
            process.running.stop().await?;
            prepare.model = prepared.model;
        }
        let mut read = vec![prepare.training.data.clone(), options.harness.grader.clone()];
        read.extend(harness_files(&options.harness));
        if let Model::Folder(folder) = &prepare.model {
            read.push(folder.clone());
        }
        let confinement = options.confine.grader(read.clone(), &options.harness.description.backend);
        let (process, prepared, texts) = options.start(&prepare, confinement).await?;
        let grader = Self { options, prepare, read, process: Mutex::new(Some(process)) };
        Ok((grader, prepared, texts))
    }

    /// All comparisons of one challenge's answer with the reference.
    pub(crate) async fn check(&self, challenge: &Challenge, answer: &[u8]) -> Result<Vec<Comparison>, Stop> {
        let request = GradeRequest::Check(GradeCheck { challenge: challenge.clone() });
        match self.ask(&request, answer).await? {
            GradeReply::Checked { comparisons } => Ok(comparisons),
            other => Err(unexpected(other)),
        }
    }

    /// What the adapters of a trial are worth.
    pub(crate) async fn trial(
        &self,
        seed: u64,
        iterations: u32,
        fine_tune_type: AdapterKind,
        adapters: &[u8],
    ) -> Result<TrialGrade, Stop> {
        let request = GradeRequest::Trial(GradeTrial { seed, iterations, fine_tune_type });
        match self.ask(&request, adapters).await? {
            GradeReply::Trial(grade) => Ok(grade),
            other => Err(unexpected(other)),
        }
    }

    /// Asks once more if the process dies of it. Twice is no accident.
    async fn ask(&self, request: &GradeRequest, answer: &[u8]) -> Result<GradeReply, Stop> {
        let mut slot = self.process.lock().await;
        let mut deaths = Vec::new();
        while deaths.len() < 2 {
            let mut process = match slot.take() {
                Some(process) => process,
                None => self.start_again().await?,
            };
            match process.ask(request, answer).await {
                Ok(reply) => {
                    *slot = Some(process);
                    return Ok(reply);
                }
                Err(silence) => deaths.push(process.last_words(silence).await?),
            }
        }
        Err(Stop::Broken(format!(
            "the grader died twice over the same question; run `make mlx` again, see `evolve doctor`: {}",
            deaths.join("; then ")
        )))
    }

    /// Ends the process; the next question starts another. MLX's CUDA backend looks for compiled kernels when a process starts, so what
    /// was compiled since is nothing to one that runs already, and it would compile all of that again in the midst of a check.
    pub(crate) async fn renew(&self) -> Result<(), Stop> {
        if let Some(process) = self.process.lock().await.take() {
            process.running.stop().await?;
        }
        Ok(())
    }

    async fn start_again(&self) -> Result<Process, Stop> {
        let backend = &self.options.harness.description.backend;
        let confinement = self.options.confine.grader(self.read.clone(), backend);
        let (process, _, _) = self.options.start(&self.prepare, confinement).await?;
        Ok(process)
    }
}

impl GraderOptions {
    async fn start(
        &self,
        prepare: &PrepareRequest,
        confinement: Confinement,
    ) -> Result<(Process, Prepared, Vec<u8>), Stop> {
        let mut process = self.launch(confinement)?;
        let request = GradeRequest::Prepare(prepare.clone());
        match process.prepare(&request).await {
            Ok((GradeReply::Prepared(prepared), texts)) => Ok((process, prepared, texts)),
            Ok((other, _)) => Err(unexpected(other)),
            Err(silence) => {
                let words = process.last_words(silence).await?;
                Err(Stop::Broken(format!("the grader {words}; run `make mlx` again, see `evolve doctor`")))
            }
        }
    }

    fn launch(&self, confinement: Confinement) -> Result<Process, Stop> {
        let folder: TempDir = self.scratch.folder("grader")?;
        let mut environment = environment(&self.harness, &self.path, folder.path())?;
        if let Some(cache) = &self.model_cache {
            environment.insert("HF_HOME".to_owned(), text(cache)?.to_owned());
        }
        let order = Order {
            program: self.harness.grader.clone(),
            arguments: Vec::new(),
            environment,
            directory: folder.path().to_owned(),
            deadline_seconds: LIFETIME_SECONDS,
            memory_bytes: None,
            stderr_bytes: STDERR_BYTES,
            confinement,
        };
        let mut running = self.launcher.start(&order, Pipes::Both, folder)?;
        let (Some(stdin), Some(stdout)) = (running.stdin.take(), running.stdout.take()) else {
            return Err(Stop::Broken("the launcher has no pipes".to_owned()));
        };
        Ok(Process { frames: Frames::new(stdout, stdin), running })
    }
}

impl Process {
    async fn prepare(&mut self, request: &GradeRequest) -> Result<(GradeReply, Vec<u8>), Silence> {
        self.frames.send(request).await?;
        let reply = self.frames.receive().await?;
        let texts = match &reply {
            GradeReply::Prepared(prepared) => self.frames.receive_raw(prepared.train_bytes).await?,
            _ => Vec::new(),
        };
        Ok((reply, texts))
    }

    async fn ask(&mut self, request: &GradeRequest, answer: &[u8]) -> Result<GradeReply, Silence> {
        let asked = async {
            self.frames.send(request).await?;
            self.frames.send_raw(answer).await?;
            self.frames.receive().await
        };
        let late = |_| Silence::Nonsense(format!("answer didn't come within {} s", ANSWER_TIME.as_secs()));
        tokio::time::timeout(ANSWER_TIME, asked).await.map_err(late)?
    }

    /// How it ended, as a predicate of the grader.
    async fn last_words(self, silence: Silence) -> Result<String, Stop> {
        if let Silence::Nonsense(words) = silence {
            self.running.stop().await?;
            return Ok(format!("talked nonsense: its {words}"));
        }
        let ended = self.running.ended().await?;
        match &ended.how {
            How::NotStarted { message } => {
                Err(Stop::Broken(format!("the grader can't be started: {message}; run `make mlx`")))
            }
            How::SandboxFailed { message } => Err(Stop::sandbox(message)),
            how => Ok(format!("{how} {}", ended.stderr.trim()).trim_end().to_owned()),
        }
    }
}

fn unexpected(reply: GradeReply) -> Stop {
    match reply {
        GradeReply::Failed { message } => Stop::Broken(message),
        _ => Stop::Broken("the grader gave another answer than asked for; run `make mlx` again".to_owned()),
    }
}
