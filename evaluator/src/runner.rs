//! One process of the trial runner: handshake, start signal, reply, and our own clock around it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::process::{ChildStdin, ChildStdout};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use trial_protocol::{Blame, Failure, Go, Harness, Reply, Request};

use crate::compile::text;
use crate::launch::{Launcher, Pipes};
use crate::order::{Confinement, Ended, How, Order};
use crate::scratch::Scratch;
use crate::stop::Stop;

const STDERR_BYTES: usize = 32 * 1024;

/// Starts trial runners.
#[derive(Debug)]
pub(crate) struct Runner {
    harness: Harness,
    launcher: Launcher,
    scratch: Arc<Scratch>,
    path: String,
    model_cache: Option<PathBuf>,
    memory_bytes: u64,
}

/// One request's end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Seconds from writing the start signal to reading the reply; none if it came to no reply.
    pub(crate) wall_seconds: Option<f64>,
    /// Peak resident set of the process tree, in bytes.
    pub(crate) peak_bytes: u64,
    /// What the process wrote to standard error, shortened.
    pub(crate) stderr: String,
    /// The reply, or why there is none.
    pub(crate) result: Result<Reply, Fault>,
}

/// Why there is no usable reply. Any of these may be the candidate's doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The kernel returned an error or panicked, and the runner could tell.
    Kernel(String),
    /// The process died or talked nonsense.
    Crashed(String),
    /// Killed at its deadline.
    Timeout,
    /// Killed at its memory limit.
    Memory,
    /// Somebody else killed it.
    Killed,
}

type Frames = (FramedRead<ChildStdout, LengthDelimitedCodec>, FramedWrite<ChildStdin, LengthDelimitedCodec>);

impl Runner {
    pub(crate) fn new(
        harness: Harness,
        launcher: Launcher,
        scratch: Arc<Scratch>,
        path: String,
        model_cache: Option<PathBuf>,
        memory_bytes: u64,
    ) -> Self {
        Self { harness, launcher, scratch, path, model_cache, memory_bytes }
    }

    /// Runs one request in a process of its own. `Err` means that the set-up is at fault, not the kernel.
    pub(crate) async fn run(&self, request: &Request, deadline_seconds: f64) -> Result<Answer, Stop> {
        let folder = self.scratch.folder("trial")?;
        let order = self.order(&folder, deadline_seconds)?;
        let mut running = self.launcher.start(&order, Pipes::Both, folder)?;
        let (Some(stdin), Some(stdout)) = (running.stdin.take(), running.stdout.take()) else {
            return Err(Stop::Broken("the launcher has no pipes".to_owned()));
        };
        let mut frames = (FramedRead::new(stdout, codec()), FramedWrite::new(stdin, codec()));
        let conversation = converse(&mut frames, request).await;
        let (wall_seconds, ended, result) = match conversation {
            Ok((seconds, reply)) => (seconds, running.stop().await?, Ok(reply)),
            // It stopped answering: it is dead, or dying, or will be at its deadline.
            Err(Silence::Closed) => {
                let ended = running.ended().await?;
                let fault = fault(&ended);
                (None, ended, Err(fault))
            }
            Err(Silence::Nonsense(words)) => (None, running.stop().await?, Err(Fault::Crashed(words))),
        };
        if let Ok(Reply::Failed(Failure { blame: Blame::Setup, message })) = result {
            return Err(Stop::Broken(message));
        }
        if let How::NotStarted { message } = ended.how {
            return Err(Stop::Broken(format!(
                "the trial runner can't be started: {message}; run `make mlx`"
            )));
        }
        let result = match result {
            Ok(Reply::Failed(Failure { blame: Blame::Kernel, message })) => Err(Fault::Kernel(message)),
            other => other,
        };
        Ok(Answer { wall_seconds, peak_bytes: ended.peak_bytes, stderr: ended.stderr, result })
    }

    fn order(&self, folder: &tempfile::TempDir, deadline_seconds: f64) -> Result<Order, Stop> {
        let folder = text(folder.path())?.to_owned();
        let libraries: Result<Vec<&str>, Stop> =
            self.harness.libraries.iter().map(|path| text(path)).collect();
        let search_path = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
        let mut environment = BTreeMap::from([
            (search_path.to_owned(), libraries?.join(":")),
            // MLX loads whatever compiled code lies below it, so nobody else may write there.
            ("TMPDIR".to_owned(), folder.clone()),
            // `mx.compile` calls the system's compiler.
            ("PATH".to_owned(), self.path.clone()),
            ("HOME".to_owned(), folder.clone()),
        ]);
        if let Some(cache) = &self.model_cache {
            environment.insert("HF_HOME".to_owned(), text(cache)?.to_owned());
        }
        Ok(Order {
            program: self.harness.runner.clone(),
            arguments: Vec::new(),
            environment,
            directory: PathBuf::from(folder),
            deadline_seconds,
            memory_bytes: Some(self.memory_bytes),
            stderr_bytes: STDERR_BYTES,
            confinement: Confinement::None,
        })
    }
}

/// Why a conversation ended without a reply.
enum Silence {
    /// The other end closed its pipes.
    Closed,
    /// What came is not a reply.
    Nonsense(String),
}

async fn converse(frames: &mut Frames, request: &Request) -> Result<(Option<f64>, Reply), Silence> {
    let (replies, requests) = frames;
    send(requests, request).await?;
    match receive(replies).await? {
        Reply::Ready => {}
        Reply::Trial(_) => {
            return Err(Silence::Nonsense("the trial runner answered before it was told to go".to_owned()));
        }
        // It failed while loading, or was asked for something without a clock.
        reply => return Ok((None, reply)),
    }
    let started = Instant::now();
    send(requests, &Go {}).await?;
    let frame = next(replies).await?;
    let seconds = started.elapsed().as_secs_f64();
    let reply = match decode(&frame)? {
        Reply::Trained => receive(replies).await?,
        Reply::Trial(_) => {
            return Err(Silence::Nonsense("the trial runner never said when it had trained".to_owned()));
        }
        reply => reply,
    };
    Ok((Some(seconds), reply))
}

async fn send<T: Serialize>(
    requests: &mut FramedWrite<ChildStdin, LengthDelimitedCodec>,
    message: &T,
) -> Result<(), Silence> {
    let body = serde_json::to_vec(message).map_err(|error| Silence::Nonsense(error.to_string()))?;
    requests.send(Bytes::from(body)).await.map_err(|_| Silence::Closed)
}

async fn receive(replies: &mut FramedRead<ChildStdout, LengthDelimitedCodec>) -> Result<Reply, Silence> {
    decode(&next(replies).await?)
}

async fn next(replies: &mut FramedRead<ChildStdout, LengthDelimitedCodec>) -> Result<BytesMut, Silence> {
    match replies.next().await {
        Some(Ok(frame)) => Ok(frame),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Silence::Nonsense(format!("the trial runner's answer is unreadable: {error}")))
        }
        // A frame cut short is what a dying process leaves.
        Some(Err(_)) | None => Err(Silence::Closed),
    }
}

fn decode(frame: &[u8]) -> Result<Reply, Silence> {
    serde_json::from_slice(frame)
        .map_err(|error| Silence::Nonsense(format!("the trial runner's answer is unreadable: {error}")))
}

/// Whose fault a death without a reply is.
fn fault(ended: &Ended) -> Fault {
    match &ended.how {
        How::Deadline => Fault::Timeout,
        How::Memory => Fault::Memory,
        how if how.is_from_outside() => Fault::Killed,
        how => {
            let last_words: Vec<&str> = ended.stderr.trim().lines().rev().take(5).collect();
            let last_words: Vec<&str> = last_words.into_iter().rev().collect();
            Fault::Crashed(format!("the trial runner {how}\n{}", last_words.join("\n")).trim().to_owned())
        }
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .max_frame_length(trial_protocol::MAX_FRAME as usize)
        .new_codec()
}
