//! Owns the evaluator process and the jobs in flight; starts a new process when it dies.

use std::collections::BTreeMap;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{broadcast, oneshot};

use super::process::Process;
use super::{EvaluatorError, EvaluatorOptions};
use crate::job::Job;
use crate::report::EvaluationReport;
use crate::wire::{Event, Progress, Reply, Request};

type Answer = oneshot::Sender<Result<EvaluationReport, EvaluatorError>>;

/// One call of [`super::Evaluator::evaluate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) number: u64,
}

/// What handles ask of the supervisor.
#[derive(Debug)]
pub(super) enum Command {
    Evaluate { job: Box<Job>, ticket: Ticket, reply: Answer },
    Cancel { ticket: Ticket },
    Shutdown { done: oneshot::Sender<()> },
}

#[derive(Debug)]
struct InFlight {
    job: Job,
    ticket: Ticket,
    reply: Answer,
    /// How often it was sent.
    tries: u32,
}

pub(super) struct Supervisor {
    options: EvaluatorOptions,
    /// None after a death without jobs in flight: the next job starts another.
    process: Option<Process>,
    commands: UnboundedReceiver<Command>,
    events: broadcast::Sender<Progress>,
    jobs: BTreeMap<u64, InFlight>,
}

enum Next {
    Command(Option<Command>),
    Reply(Option<Reply>),
}

impl Supervisor {
    pub(super) fn new(
        options: EvaluatorOptions,
        process: Process,
        commands: UnboundedReceiver<Command>,
        events: broadcast::Sender<Progress>,
    ) -> Self {
        Self { options, process: Some(process), commands, events, jobs: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        let done = loop {
            match self.next().await {
                Next::Command(None) => break None,
                Next::Command(Some(Command::Shutdown { done })) => break Some(done),
                Next::Command(Some(Command::Evaluate { job, ticket, reply })) => {
                    self.begin(*job, ticket, reply).await;
                }
                Next::Command(Some(Command::Cancel { ticket })) => self.cancel(ticket).await,
                Next::Reply(Some(reply)) => self.answer(reply),
                Next::Reply(None) => self.recover().await,
            }
        };
        self.fail_all(&EvaluatorError::Shutdown);
        if let Some(process) = self.process.take() {
            process.end().await;
        }
        if let Some(done) = done {
            // The caller may have lost patience.
            let _ = done.send(());
        }
    }

    async fn next(&mut self) -> Next {
        let Some(process) = &mut self.process else { return Next::Command(self.commands.recv().await) };
        tokio::select! {
            command = self.commands.recv() => Next::Command(command),
            reply = process.receive() => Next::Reply(reply),
        }
    }

    async fn begin(&mut self, job: Job, ticket: Ticket, reply: Answer) {
        if self.jobs.contains_key(&job.id) {
            let _ = reply.send(Err(EvaluatorError::Job(format!("job {} is in flight already", job.id))));
            return;
        }
        let request = Request::Evaluate(job.clone());
        self.jobs.insert(job.id, InFlight { job, ticket, reply, tries: 1 });
        match &mut self.process {
            // If it is dead, `next` is about to tell, and the job is sent again.
            Some(process) => drop(process.send(&request).await),
            None => self.restart().await,
        }
    }

    async fn cancel(&mut self, ticket: Ticket) {
        let is_it = self.jobs.get(&ticket.id).is_some_and(|job| job.ticket == ticket);
        if is_it {
            self.jobs.remove(&ticket.id);
            if let Some(process) = &mut self.process {
                let _ = process.send(&Request::Cancel { id: ticket.id }).await;
            }
        }
    }

    fn answer(&mut self, reply: Reply) {
        match reply {
            Reply::Progress(progress) => {
                // Nobody needs to listen.
                let _ = self.events.send(progress);
            }
            Reply::Report { id, report } => self.finish(id, Ok(*report)),
            Reply::Broken { id: Some(id), error } => self.finish(id, Err(EvaluatorError::Job(error))),
            Reply::Broken { id: None, error } => self.fail_all(&EvaluatorError::Setup(error)),
            // Only the first reply is one, and `Process::start` has read it.
            Reply::Welcome(_) => {}
        }
    }

    fn finish(&mut self, id: u64, result: Result<EvaluationReport, EvaluatorError>) {
        // A cancelled job's report may still have been under way.
        if let Some(job) = self.jobs.remove(&id) {
            if let Ok(report) = &result {
                // A process that takes this one's place has to know.
                self.options.history.add(&job.job, &self.options.problem.initial, report);
            }
            let _ = job.reply.send(result);
        }
    }

    fn fail_all(&mut self, error: &EvaluatorError) {
        for (_, job) in std::mem::take(&mut self.jobs) {
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    /// The process is dead: give up the jobs that were sent too often, and start another for the rest.
    async fn recover(&mut self) {
        let Some(process) = self.process.take() else { return };
        let last_words = process.end().await;
        tracing::warn!(jobs = self.jobs.len(), "the evaluator died");
        self.count_death(&last_words);
        if !self.jobs.is_empty() {
            self.restart().await;
        }
    }

    fn count_death(&mut self, last_words: &str) {
        let limit = self.options.tries;
        let given_up: Vec<u64> =
            self.jobs.iter().filter(|(_, job)| job.tries >= limit).map(|(id, _)| *id).collect();
        for id in given_up {
            self.finish(id, Err(EvaluatorError::GaveUp { tries: limit, last_words: last_words.to_owned() }));
        }
        for job in self.jobs.values_mut() {
            job.tries += 1;
        }
    }

    /// Starts a process, as often as the jobs may be sent, and sends them all.
    async fn restart(&mut self) {
        while !self.jobs.is_empty() {
            match Process::start(&self.options).await {
                Ok((process, _)) => {
                    self.resend(process).await;
                    return;
                }
                Err(EvaluatorError::GaveUp { last_words, .. }) => self.count_death(&last_words),
                Err(error) => self.fail_all(&error),
            }
        }
    }

    async fn resend(&mut self, mut process: Process) {
        for (id, job) in &self.jobs {
            if job.tries > 1 {
                let _ = self.events.send(Progress { id: *id, event: Event::Resent { tries: job.tries } });
            }
            // If it is dead again, `next` tells.
            let _ = process.send(&Request::Evaluate(job.job.clone())).await;
        }
        self.process = Some(process);
    }
}
