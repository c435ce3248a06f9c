//! `evolve watch`: on a terminal a screen, elsewhere a line for each change.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use program_db::{Changes, DbError, ProgramDb, RunId};
use ratatui::crossterm::event as keys;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::Instant;

use super::open::{reading, run_of, storage};
use crate::cli::WatchArgs;
use crate::config;
use crate::exit_code::{ExitCode, Failure};
use crate::pause;
use crate::text::on_one_line;
use crate::watch::state::{Effect, Event, State};
use crate::watch::terminal::Screen;
use crate::watch::{Reader, Status, detail, pace, view};

pub(super) async fn watch(db: Option<&Path>, arguments: &WatchArgs) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let run = run_of(&db, arguments.run).await?;
    let mut reader = Reader::new(db.clone(), run).await.map_err(storage)?;
    let is_screen = io::stdout().is_terminal() && io::stdin().is_terminal() && config::has_screen();
    if arguments.once {
        say(reader.read().await.map_err(storage)?, arguments.json);
        Ok(ExitCode::Success)
    } else if arguments.json || !is_screen {
        lines(db, reader, arguments.json).await
    } else {
        screen(db, run, reader).await
    }
}

/// Sends the run, whenever it has changed, until nobody listens.
async fn follow(db: ProgramDb, mut reader: Reader, events: Sender<Event>) -> Result<(), DbError> {
    let mut changes = db.changes().await?;
    let mut activity = None;
    loop {
        let begun = Instant::now();
        let event = match news(&mut changes, &mut reader, &mut activity).await {
            Ok(None) => {
                tokio::time::sleep(pace::LOOK).await;
                if events.is_closed() {
                    return Ok(());
                }
                continue;
            }
            Ok(Some(status)) => Event::Read(status),
            Err(error) => {
                // So that it is tried again, whether or not anything changes meanwhile.
                activity = None;
                Event::Failed(error.to_string())
            }
        };
        let pause = pace::pause_after(begun.elapsed());
        if events.send(event).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
    }
}

/// The run, if it has changed, or the process that works on it has.
async fn news(
    changes: &mut Changes,
    reader: &mut Reader,
    activity: &mut Option<crate::watch::status::Activity>,
) -> Result<Option<Box<Status>>, DbError> {
    let is_new = changes.look().await?;
    let now = Some(reader.activity().await?);
    if !is_new && *activity == now {
        return Ok(None);
    }
    *activity = now;
    Ok(Some(Box::new(reader.read().await?)))
}

/// Failures in a row after which a line for each change is given up.
const FAILURES: u32 = 5;

/// A line for each change, until nobody works on the run any more, or nobody reads.
async fn lines(db: ProgramDb, reader: Reader, json: bool) -> Result<ExitCode, Failure> {
    let (sender, mut events) = mpsc::channel(1);
    let follower = tokio::spawn(follow(db, reader, sender));
    let mut last = String::new();
    let mut failures = 0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Read(status) => {
                let is_over = !status.activity.is_running();
                let line = status.line();
                // The time in it is no change.
                let words = line.split_once(' ').map_or(&*line, |(_, words)| words).to_owned();
                if words != last && !say(*status, json) {
                    break;
                }
                last = words;
                failures = 0;
                if is_over {
                    break;
                }
            }
            Event::Failed(message) => {
                failures += 1;
                if failures == FAILURES {
                    return Err(Failure { code: ExitCode::Storage, message });
                }
                eprintln!("warning: {}; trying again", on_one_line(&message));
            }
            _ => {}
        }
    }
    drop(events);
    ended(follower).await
}

/// Prints it; no if nobody reads any more.
fn say(status: Status, json: bool) -> bool {
    let line = if json {
        serde_json::to_string(&status.brief()).unwrap_or_default()
    } else {
        on_one_line(&status.line())
    };
    writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()).is_ok()
}

async fn ended(follower: tokio::task::JoinHandle<Result<(), DbError>>) -> Result<ExitCode, Failure> {
    if follower.is_finished() {
        if let Ok(result) = follower.await {
            result.map_err(storage)?;
        }
    } else {
        follower.abort();
    }
    Ok(ExitCode::Success)
}

/// The screen, until somebody ends it.
async fn screen(db: ProgramDb, run: RunId, reader: Reader) -> Result<ExitCode, Failure> {
    let gone = |error: io::Error| Failure {
        code: ExitCode::Internal,
        message: format!("the terminal can't be used: {error}; `evolve watch --once` prints a line"),
    };
    let (sender, mut events) = mpsc::channel(64);
    let mut ends = ends().map_err(gone)?;
    let mut screen = Screen::take().map_err(gone)?;
    let follower = tokio::spawn(follow(db.clone(), reader, sender.clone()));
    listen(sender.clone());
    let mut state = State::new(!config::no_color());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        let drawn = screen.draw(|frame| {
            state.on(Event::Height(frame.area().height));
            view::draw(&state, frame);
        });
        if drawn.is_err() {
            break;
        }
        let event = tokio::select! {
            event = events.recv() => event,
            _ = second.tick() => Some(Event::Clock(crate::watch::now())),
            _ = ends.recv() => break,
        };
        // All senders are gone: the terminal hung up.
        let Some(event) = event else { break };
        match state.on(event) {
            Some(Effect::Quit) => break,
            Some(Effect::Open(number)) => {
                let (db, sender) = (db.clone(), sender.clone());
                tokio::spawn(async move {
                    let event = match detail::detail(&db, run, number).await {
                        Ok(detail) => Event::Opened(detail),
                        Err(error) => Event::Said(error.to_string()),
                    };
                    sender.send(event).await
                });
            }
            Some(Effect::Pause) => {
                let (db, sender) = (db.clone(), sender.clone());
                tokio::spawn(async move {
                    let words = match pause::pause(&db, run).await {
                        Ok(pause) => pause.words(run),
                        Err(error) => error.to_string(),
                    };
                    sender.send(Event::Said(words)).await
                });
            }
            None => {}
        }
    }
    drop(screen);
    drop(events);
    ended(follower).await
}

/// Reads keys on a thread of its own, which ends with the process; when the terminal is gone, it says so by Ctrl-C.
fn listen(events: Sender<Event>) {
    std::thread::spawn(move || {
        loop {
            let event = match keys::read() {
                Ok(keys::Event::Key(key)) => Event::Key(key),
                Ok(keys::Event::Resize(_, rows)) => Event::Height(rows),
                Ok(_) => continue,
                Err(_) => {
                    Event::Key(keys::KeyEvent::new(keys::KeyCode::Char('c'), keys::KeyModifiers::CONTROL))
                }
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    });
}

/// Is told when the process should end: a polite kill, a hangup, or Ctrl-C from outside.
fn ends() -> io::Result<Receiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::channel(1);
    for kind in [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()] {
        let mut signal = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            signal.recv().await;
            sender.send(()).await
        });
    }
    Ok(receiver)
}
