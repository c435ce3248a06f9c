//! A process that was started for a run.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use program_db::{ProgramDb, RunId};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::config;

/// How often it is looked whether the run is there.
const LOOK: Duration = Duration::from_millis(100);

/// What of a log is shown when something went wrong.
const LAST_WORDS: i64 = 4096;

/// One process that was started from here.
#[derive(Debug)]
pub struct Start {
    /// Its number in this server.
    pub id: u64,
    /// Its process id.
    pub pid: u32,
    /// What it runs.
    pub config: String,
    /// Milliseconds since the Unix epoch.
    pub started_at: i64,
    /// Where its words go.
    pub log: PathBuf,
    state: watch::Receiver<StartState>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartState {
    /// It sets up what it needs; it is not at work on a run yet.
    Starting,
    /// It works on this run.
    Running {
        /// The run.
        run: RunId,
    },
    /// It has ended.
    Ended {
        /// The run, if it came to one.
        run: Option<RunId>,
        /// Its exit code; none if a signal ended it.
        code: Option<i32>,
    },
}

impl Start {
    /// How far it has come.
    pub fn state(&self) -> StartState {
        *self.state.borrow()
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.state(), StartState::Ended { .. })
    }

    /// Waits until it works, or has ended, or the time is up.
    pub(super) async fn settled(&self, patience: Duration) {
        let mut state = self.state.clone();
        // Either error says that there is nothing more to wait for.
        let _ = tokio::time::timeout(patience, state.wait_for(|state| *state != StartState::Starting)).await;
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
    if length > LAST_WORDS {
        file.seek(SeekFrom::End(-LAST_WORDS))?;
    }
    let mut bytes = Vec::new();
    file.take(LAST_WORDS.unsigned_abs()).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Starts it. `run` is known of one that is resumed.
pub(super) fn spawn(
    program: &Path,
    arguments: &[OsString],
    config: String,
    run: Option<RunId>,
    db: &ProgramDb,
) -> io::Result<Arc<Start>> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let started_at =
        UNIX_EPOCH.elapsed().map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let (log, words) = log(db.path(), started_at, id)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(words.try_clone()?)
        .stderr(words)
        // What lets clients in here is nothing to it.
        .env_remove(config::SERVICE_TOKEN)
        // Ctrl-C in the server's terminal is meant for the server alone.
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    let pid = child.id().unwrap_or_default();
    let (sender, state) = watch::channel(StartState::Starting);
    let start = Arc::new(Start { id, pid, config, started_at, log, state });
    tokio::spawn(follow(child, pid, started_at, run, db.clone(), sender));
    Ok(start)
}

/// A file beside the database: its folder is one that runs write to anyway.
fn log(db: &Path, started_at: i64, id: u64) -> io::Result<(PathBuf, File)> {
    let mut folder = db.as_os_str().to_owned();
    folder.push("-logs");
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{started_at}-{}-{id}.log", std::process::id()));
    let file = File::options().append(true).create_new(true).open(&path)?;
    Ok((path, file))
}

/// Notes when it comes to its run, and when it ends.
async fn follow(
    mut child: Child,
    pid: u32,
    since: i64,
    resumed: Option<RunId>,
    db: ProgramDb,
    state: watch::Sender<StartState>,
) {
    let find = async || match db.run_of_process(pid, since).await {
        Ok(run) => run.filter(|run| resumed.is_none_or(|resumed| resumed == *run)),
        Err(error) => {
            tracing::warn!(%error, pid, "whether a run has begun can't be seen");
            None
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = tokio::time::sleep(LOOK), if *state.borrow() == StartState::Starting => {
                if let Some(run) = find().await {
                    state.send_replace(StartState::Running { run });
                }
            }
        }
    };
    let run = find().await;
    let code = status.ok().and_then(|status| status.code());
    state.send_replace(StartState::Ended { run, code });
}
