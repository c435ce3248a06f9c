//! Starts commands through `evolve-launcher` and learns how they ended.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::codec::FramedRead;

use crate::order::{self, Ask, Ended, How, MemoryUse, News, Order, Tier};

/// How a launcher's stdin and stdout, which are its command's, are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipes {
    /// Neither.
    None,
    /// Standard output only.
    Output,
    /// Both.
    Both,
    /// Both to one end of a socket pair. Unlike a pipe it can't be opened a second time by way of `/proc`, so that a process
    /// can keep it from those that it starts.
    Socket,
}

/// A command could not be run, for a reason that is ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("{} can't be started: {source}. Build it with `cargo build --workspace --release`", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("the launcher's control socket failed: {0}")]
    Control(#[from] io::Error),
    #[error(
        "the sandbox was weaker this time ({now} instead of {before}), so the result doesn't count; run `evolve doctor`",
        now = now.as_str(), before = before.as_str()
    )]
    Weaker { before: Tier, now: Tier },
    /// No fault of ours: [`Running::ended`] says how it ended.
    #[error("the command has ended")]
    Gone,
}

/// Starts launchers and keeps account of them.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    program: PathBuf,
    /// Process ids of launchers that are not reaped yet. Also held while one is started, so that a sweep
    /// for strays never takes a new launcher for one.
    live: Arc<Mutex<HashSet<u32>>>,
    /// How well the first sandbox stood; none after it may stand worse.
    tier: Arc<OnceLock<Tier>>,
}

/// A command that runs. Dropping it kills the command and everything that it started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    /// The other end of [`Pipes::Socket`].
    pub(crate) socket: Option<UnixStream>,
    lifeline: OwnedWriteHalf,
    tier: watch::Receiver<Option<Tier>>,
    memory: mpsc::Receiver<MemoryUse>,
    swept: mpsc::Receiver<bool>,
    ended: oneshot::Receiver<Result<Ended, LaunchError>>,
}

impl Launcher {
    pub(crate) fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), live: Arc::default(), tier: Arc::default() }
    }

    /// Starts a command. `keep` is dropped once the command and all that it started are gone: its folder.
    pub(crate) fn start<K: Send + 'static>(
        &self,
        order: &Order,
        pipes: Pipes,
        keep: K,
    ) -> Result<Running, LaunchError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        // Small enough for the socket's buffer, so this can't block.
        trial_protocol::write_frame(&ours, order)?;
        ours.set_nonblocking(true)?;
        let (news, lifeline) = UnixStream::from_std(ours)?.into_split();
        let (socket, inside) = if pipes == Pipes::Socket {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            (Some(UnixStream::from_std(ours)?), Some(OwnedFd::from(theirs)))
        } else {
            (None, None)
        };
        let mut child = self.spawn(pipes, inside, theirs.into())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, ended) = oneshot::channel();
        let (told_tier, tier) = watch::channel(None);
        let (told_memory, memory) = mpsc::channel(1);
        let (told_swept, swept) = mpsc::channel(1);
        let listener = Listener { command: None, tier: told_tier, memory: told_memory, swept: told_swept };
        let launcher = self.clone();
        tokio::spawn(async move {
            let ended = launcher.attend(child, news, listener).await;
            drop(keep);
            // Nobody may be waiting any more.
            let _ = sender.send(ended);
        });
        Ok(Running { stdin, stdout, socket, lifeline, tier, memory, swept, ended })
    }

    /// Waits until every command is gone, at most `patience`. To be called when none is started any more.
    pub(crate) async fn settle(&self, patience: Duration) {
        let all_gone = async {
            while !self.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Whoever is late is killed by its launcher without us.
        let _ = tokio::time::timeout(patience, all_gone).await;
    }

    fn spawn(&self, pipes: Pipes, socket: Option<OwnedFd>, control: OwnedFd) -> Result<Child, LaunchError> {
        let pipe = |wanted| if wanted { Stdio::piped() } else { Stdio::null() };
        let (stdin, stdout) = match socket {
            Some(socket) => (Stdio::from(socket.try_clone()?), Stdio::from(socket)),
            None => (pipe(pipes == Pipes::Both), pipe(pipes != Pipes::None)),
        };
        let mut live = self.lock();
        let child = Command::new(&self.program)
            .env_clear()
            // A signal to our group must leave the launcher alive to clean up.
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::from(control))
            .spawn()
            .map_err(|source| LaunchError::Start { program: self.program.clone(), source })?;
        live.extend(child.id());
        Ok(child)
    }

    /// Reads the launcher's news to the end, then reaps it.
    async fn attend(
        &self,
        mut child: Child,
        news: OwnedReadHalf,
        mut listener: Listener,
    ) -> Result<Ended, LaunchError> {
        let id = child.id();
        let ended = listener.read(news).await;
        let command = listener.command;
        let tier = *listener.tier.borrow();
        drop(listener);
        let is_lost = !matches!(ended, Ok(Some(_)));
        if is_lost {
            // It died without a word, so nobody has killed what it started.
            let _ = child.start_kill();
        }
        let reaped = child.wait().await;
        if is_lost {
            self.sweep(command);
        }
        if let Some(id) = id {
            self.lock().remove(&id);
        }
        reaped?;
        if let Some(now) = tier {
            let before = *self.tier.get_or_init(|| now);
            if before == Tier::Full && now != Tier::Full {
                return Err(LaunchError::Weaker { before, now });
            }
        }
        let lost = Ended { how: How::Lost, wall_seconds: 0.0, peak_bytes: 0, stderr: String::new() };
        Ok(ended?.unwrap_or(lost))
    }

    /// Kills what a dead launcher left behind: its command's group and, where we are the reaper of orphans
    /// (see the evaluator's `main`), every child of ours that is no launcher.
    fn sweep(&self, command: Option<u32>) {
        use rustix::process::{Pid, Signal, kill_process_group};
        if let Some(pid) = command.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{WaitOptions, getpid, kill_process, waitpid};
            let live = self.lock();
            // Killing one makes its children ours, hence several rounds.
            for _ in 0..100 {
                let is_stray = |pid: &Pid| !live.contains(&pid.as_raw_nonzero().get().unsigned_abs());
                let strays: Vec<Pid> =
                    crate::descendants::children(getpid()).into_iter().filter(is_stray).collect();
                if strays.is_empty() {
                    break;
                }
                for stray in strays {
                    let _ = kill_process(stray, Signal::KILL);
                    let _ = waitpid(Some(stray), WaitOptions::NOHANG);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<u32>> {
        // A panic elsewhere leaves a set of numbers in order.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a launcher's news to whom they concern.
struct Listener {
    /// Process id of the command.
    command: Option<u32>,
    tier: watch::Sender<Option<Tier>>,
    memory: mpsc::Sender<MemoryUse>,
    swept: mpsc::Sender<bool>,
}

impl Listener {
    /// The end; `None` if the launcher went without telling.
    async fn read(&mut self, news: OwnedReadHalf) -> io::Result<Option<Ended>> {
        let mut frames = FramedRead::new(news, order::codec());
        while let Some(frame) = frames.next().await {
            match serde_json::from_slice(&frame?)? {
                News::Started { pid, tier } => {
                    self.command = Some(pid);
                    self.tier.send_replace(Some(tier));
                }
                // One that nobody waits for any more would only be in the way.
                News::Memory(memory) => drop(self.memory.try_send(memory)),
                News::Swept { is_clean } => drop(self.swept.try_send(is_clean)),
                News::Ended(ended) => return Ok(Some(ended)),
            }
        }
        Ok(None)
    }
}

/// The task that attends to a launcher sends its end, unless the runtime is shutting down.
fn abandoned() -> LaunchError {
    LaunchError::Control(io::Error::other("the evaluator is ending"))
}

impl Running {
    /// How well the command is shut in, as soon as it has started. None if it never did.
    pub(crate) async fn tier(&mut self) -> Option<Tier> {
        // Closed without a value: it never started.
        self.tier.wait_for(Option::is_some).await.ok().and_then(|tier| *tier)
    }

    /// The command's memory now, and its peak since the last question. Takes well under a millisecond.
    pub(crate) async fn memory(&mut self) -> Result<MemoryUse, LaunchError> {
        // The answer to a question whose asker was cancelled.
        while self.memory.try_recv().is_ok() {}
        let mut question = Vec::new();
        trial_protocol::write_frame(&mut question, &Ask::Memory)?;
        if self.lifeline.write_all(&question).await.is_err() {
            return Err(LaunchError::Gone);
        }
        self.memory.recv().await.ok_or(LaunchError::Gone)
    }

    /// Kills everything that the command has started, and leaves the command alone. Whether nothing of it is left.
    pub(crate) async fn sweep(&mut self) -> Result<bool, LaunchError> {
        while self.swept.try_recv().is_ok() {}
        let mut order = Vec::new();
        trial_protocol::write_frame(&mut order, &Ask::Sweep)?;
        if self.lifeline.write_all(&order).await.is_err() {
            return Err(LaunchError::Gone);
        }
        self.swept.recv().await.ok_or(LaunchError::Gone)
    }

    /// Waits for the command's own end, deadline or limit.
    pub(crate) async fn ended(self) -> Result<Ended, LaunchError> {
        // The lifeline must stay open meanwhile.
        let ended = self.ended.await;
        drop(self.lifeline);
        ended.unwrap_or_else(|_| Err(abandoned()))
    }

    /// Waits a moment for a command that is about to end by itself, then kills it.
    pub(crate) async fn end_within(mut self, patience: Duration) -> Result<Ended, LaunchError> {
        match tokio::time::timeout(patience, &mut self.ended).await {
            Ok(ended) => ended.unwrap_or_else(|_| Err(abandoned())),
            Err(_) => self.stop().await,
        }
    }

    /// Kills the command, unless it has ended already, and says how it ended.
    pub(crate) async fn stop(self) -> Result<Ended, LaunchError> {
        drop(self.lifeline);
        self.ended.await.unwrap_or_else(|_| Err(abandoned()))
    }
}
