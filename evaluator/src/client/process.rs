//! One evaluator process, from its start to its end.

use std::collections::VecDeque;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use super::{EvaluatorError, EvaluatorOptions};
use crate::problem::Problem;
use crate::report::MeasuredBy;
use crate::serve::ONE_THREAD;
use crate::wire::{Hello, Reply, Request, codec};

/// How long the process may take to end once its input is closed: it waits for its children.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of its log that an error quotes.
const LAST_WORDS: usize = 20;

#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    requests: FramedWrite<ChildStdin, LengthDelimitedCodec>,
    replies: FramedRead<ChildStdout, LengthDelimitedCodec>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    log: JoinHandle<()>,
}

impl Process {
    /// Starts it, says hello and waits for its welcome.
    pub(super) async fn start(options: &EvaluatorOptions) -> Result<(Self, MeasuredBy), EvaluatorError> {
        let mut process = Self::spawn(options)?;
        let hello = Request::Hello(Box::new(Hello {
            problem: options.problem.clone(),
            harness: options.harness.clone(),
            launcher: options.launcher.clone(),
            path: options.path.clone(),
            model_cache: options.model_cache.clone(),
            scratch: options.scratch.clone(),
            hidden: options.hidden.clone(),
            device_lock: options.device_lock.clone(),
            builds: options.builds,
            sandbox: options.sandbox,
            history: options.history.clone(),
        }));
        let answer = match process.send(&hello).await {
            Ok(()) => process.receive().await,
            Err(_) => None,
        };
        match answer {
            Some(Reply::Welcome(measured_by)) => Ok((process, measured_by)),
            Some(Reply::Broken { error, .. }) => Err(EvaluatorError::Setup(error)),
            _ => Err(EvaluatorError::GaveUp { tries: 1, last_words: process.end().await }),
        }
    }

    fn spawn(options: &EvaluatorOptions) -> Result<Self, EvaluatorError> {
        let failed = |message: String| EvaluatorError::Start { program: options.program.clone(), message };
        let is_command = matches!(options.problem.problem, Problem::Command(_));
        let mut child = Command::new(&options.program)
            .args(is_command.then_some(ONE_THREAD))
            .env_clear()
            // Ctrl-C in the terminal is for `evolve`, which then closes our input.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let last_words = Arc::default();
        let log = tokio::spawn(forward(stderr, Arc::clone(&last_words)));
        let (requests, replies) = (FramedWrite::new(stdin, codec()), FramedRead::new(stdout, codec()));
        Ok(Self { child, requests, replies, last_words, log })
    }

    /// An error means that it is dead or dying: [`Self::receive`] will tell.
    pub(super) async fn send(&mut self, request: &Request) -> std::io::Result<()> {
        self.requests.send(Bytes::from(serde_json::to_vec(request)?)).await
    }

    /// The next reply; `None` once it has died or talks nonsense. Cancel safe.
    pub(super) async fn receive(&mut self) -> Option<Reply> {
        let frame = self.replies.next().await?.ok()?;
        serde_json::from_slice(&frame).ok()
    }

    /// Closes its input and waits until it is gone; the end of its log.
    pub(super) async fn end(self) -> String {
        let Self { mut child, requests, replies, last_words, log } = self;
        drop((requests, replies));
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            // Its launchers notice, and kill what they started.
            let _ = child.kill().await;
        }
        let _ = tokio::time::timeout(PATIENCE, log).await;
        let lines = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Passes the process's log on to ours, line by line.
async fn forward(stderr: ChildStderr, last_words: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(target: "evaluator", "{line}");
        let mut last_words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if last_words.len() == LAST_WORDS {
            last_words.pop_front();
        }
        last_words.push_back(line);
    }
}
