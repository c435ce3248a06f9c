//! The evaluator process: reads requests, evaluates many jobs at once, writes replies.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use search::Outcome;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::command::CommandEvaluator;
use crate::job::Job;
use crate::kernel::KernelEvaluator;
use crate::launch::Launcher;
use crate::log::{Log, now};
use crate::problem::Problem;
use crate::report::{EvaluationReport, MeasuredBy};
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::wire::{Hello, Reply, Request, codec};

/// The argument by which `evolve-evaluator` is told that one thread is enough.
pub const ONE_THREAD: &str = "one-thread";

/// How long killed processes may take to disappear when we end.
const PATIENCE: Duration = Duration::from_secs(5);

/// One problem's evaluator of either kind.
#[derive(Debug)]
enum Either {
    Kernel(Box<KernelEvaluator>),
    Command(Box<CommandEvaluator>),
}

/// Serves until `input` closes; then kills everything that still runs and removes all temporary folders.
pub async fn serve<R, W>(input: R, output: W) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let mut requests = FramedRead::new(input, codec());
    let (replies, to_write) = unbounded_channel();
    let writer = tokio::spawn(write(FramedWrite::new(output, codec()), to_write));
    let Some(hello) = read_hello(&mut requests).await? else { return Ok(()) };
    let launcher = Launcher::new(&hello.launcher);
    let prepared = tokio::select! {
        prepared = Either::prepare(&hello, launcher.clone()) => Some(prepared),
        // Nothing may follow the hello before our welcome, so this is the end of the input.
        _ = requests.next() => None,
    };
    match prepared {
        Some(Ok(evaluator)) => {
            send(&replies, Reply::Welcome(evaluator.measured_by().clone()));
            work(&mut requests, &Arc::new(evaluator), &replies).await?;
        }
        Some(Err(stop)) => {
            let error = match stop {
                Stop::Broken(error) => error,
                Stop::Outcome(outcome) => outcome.to_string(),
            };
            send(&replies, Reply::Broken { id: None, error });
        }
        None => {}
    }
    launcher.settle(PATIENCE).await;
    drop(replies);
    // Whoever doesn't read our last words has gone.
    let _ = tokio::time::timeout(PATIENCE, writer).await;
    Ok(())
}

type Requests<R> = FramedRead<R, LengthDelimitedCodec>;

async fn read_hello<R: AsyncRead + Unpin>(requests: &mut Requests<R>) -> io::Result<Option<Box<Hello>>> {
    let Some(frame) = requests.next().await else { return Ok(None) };
    match serde_json::from_slice(&frame?)? {
        Request::Hello(hello) => Ok(Some(hello)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the first request has to be the hello")),
    }
}

/// Jobs come and go until the input ends. Dropping the task set kills what the jobs started.
async fn work<R: AsyncRead + Unpin>(
    requests: &mut Requests<R>,
    evaluator: &Arc<Either>,
    replies: &UnboundedSender<Reply>,
) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    let mut handles: HashMap<u64, AbortHandle> = HashMap::new();
    loop {
        let frame = tokio::select! {
            frame = requests.next() => frame,
            Some(ended) = tasks.join_next_with_id() => {
                let (task, panicked) = match &ended {
                    Ok((task, ())) => (*task, None),
                    Err(error) if error.is_panic() => (error.id(), Some(error.to_string())),
                    Err(error) => (error.id(), None),
                };
                let id = handles.iter().find(|(_, handle)| handle.id() == task).map(|(id, _)| *id);
                if let Some(id) = id {
                    handles.remove(&id);
                    if let Some(error) = panicked {
                        send(replies, Reply::Broken { id: Some(id), error: format!("the evaluator has a bug: {error}") });
                    }
                }
                continue;
            }
        };
        let Some(frame) = frame else { return Ok(()) };
        match serde_json::from_slice(&frame?)? {
            Request::Evaluate(job) => {
                let id = job.id;
                let task = run(evaluator.clone(), job, replies.clone());
                handles.insert(id, tasks.spawn(task));
            }
            Request::Cancel { id } => {
                if let Some(handle) = handles.remove(&id) {
                    handle.abort();
                }
            }
            Request::Hello(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a second hello"));
            }
        }
    }
}

async fn run(evaluator: Arc<Either>, job: Job, replies: UnboundedSender<Reply>) {
    let mut log = Log::new(job.id, replies.clone());
    let started_at = now();
    let outcome = match evaluator.evaluate(&job, &mut log).await {
        Ok(outcome) | Err(Stop::Outcome(outcome)) => outcome,
        Err(Stop::Broken(error)) => {
            tracing::warn!(job = job.id, error, "an evaluation could not be done");
            return send(&replies, Reply::Broken { id: Some(job.id), error });
        }
    };
    tracing::debug!(job = job.id, outcome = outcome.kind(), "evaluated");
    let report = Box::new(EvaluationReport {
        outcome,
        trials: log.trials,
        decision: log.decision,
        noise: log.noise,
        artifacts: log.artifacts,
        measured_by: evaluator.measured_by().clone(),
        started_at,
        ended_at: now(),
    });
    send(&replies, Reply::Report { id: job.id, report });
}

fn send(replies: &UnboundedSender<Reply>, reply: Reply) {
    // The writer ends only with the process.
    let _ = replies.send(reply);
}

async fn write<W: AsyncWrite + Unpin>(
    mut frames: FramedWrite<W, LengthDelimitedCodec>,
    mut replies: UnboundedReceiver<Reply>,
) -> io::Result<()> {
    while let Some(reply) = replies.recv().await {
        frames.feed(Bytes::from(serde_json::to_vec(&reply)?)).await?;
        // What has come together goes in one write.
        while let Ok(reply) = replies.try_recv() {
            frames.feed(Bytes::from(serde_json::to_vec(&reply)?)).await?;
        }
        SinkExt::<Bytes>::flush(&mut frames).await?;
    }
    Ok(())
}

impl Either {
    async fn prepare(hello: &Hello, launcher: Launcher) -> Result<Self, Stop> {
        let scratch = Arc::new(Scratch::new(&hello.scratch).map_err(|error| {
            Stop::Broken(format!("no temporary folder can be made in {}: {error}", hello.scratch.display()))
        })?);
        match hello.problem.problem.clone() {
            Problem::Kernel(problem) => {
                let evaluator = KernelEvaluator::prepare(hello, *problem, launcher, scratch).await?;
                Ok(Self::Kernel(Box::new(evaluator)))
            }
            Problem::Command(problem) => {
                let evaluator = CommandEvaluator::prepare(hello, *problem, launcher, scratch).await?;
                Ok(Self::Command(Box::new(evaluator)))
            }
        }
    }

    fn measured_by(&self) -> &MeasuredBy {
        match self {
            Self::Kernel(evaluator) => &evaluator.measured_by,
            Self::Command(evaluator) => &evaluator.measured_by,
        }
    }

    async fn evaluate(&self, job: &Job, log: &mut Log) -> Result<Outcome, Stop> {
        match self {
            Self::Kernel(evaluator) => evaluator.evaluate(job, log).await,
            Self::Command(evaluator) => evaluator.evaluate(job, log).await,
        }
    }
}
