//! Shows a run's events: a progress bar on a terminal, plain lines in a pipe, JSON lines with `--json`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this module and the command line are where we print"
)]

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::JoinHandle;

use crate::event::Event;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar with lines above it, on standard error.
    Bar,
    /// One line an event, no colour, on standard error.
    Plain,
    /// One JSON object an event, on standard output.
    Json,
    /// Warnings only, on standard error.
    Quiet,
}

impl Style {
    /// JSON if asked for, else a bar where a person looks at standard error.
    pub fn choose(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) => Self::Bar,
            (false, false) => Self::Plain,
        }
    }
}

/// Shows events until the stream ends. On a thread of its own: who reads a pipe slowly holds up nobody else.
pub fn show(style: Style, mut events: Receiver<Event>) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        let mut screen = Screen::new(style);
        loop {
            match events.blocking_recv() {
                Ok(event) => screen.show(&event),
                Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "progress fell behind"),
                Err(RecvError::Closed) => break,
            }
            if events.is_empty() || screen.lines.len() > 1 << 16 {
                screen.flush();
            }
        }
        screen.finish();
    })
}

struct Screen {
    style: Style,
    bar: Option<ProgressBar>,
    /// Lines that are still to be written: one write takes all that have come together.
    lines: String,
}

impl Screen {
    fn new(style: Style) -> Self {
        Self { style, bar: None, lines: String::new() }
    }

    fn show(&mut self, event: &Event) {
        match self.style {
            Style::Json => {
                if let Ok(line) = serde_json::to_string(event) {
                    self.lines.push_str(&line);
                    self.lines.push('\n');
                }
            }
            Style::Plain => {
                if let Some(line) = line(event) {
                    self.lines.push_str(&line);
                    self.lines.push('\n');
                }
            }
            Style::Quiet => {
                if let (Event::Warning { .. }, Some(line)) = (event, line(event)) {
                    self.lines.push_str(&line);
                    self.lines.push('\n');
                }
            }
            Style::Bar => self.show_bar(event),
        }
    }

    fn show_bar(&mut self, event: &Event) {
        if let (Event::Preparing { .. }, Some(line)) = (event, line(event)) {
            eprintln!("{line}");
        }
        if let Event::RunStarted { max_iterations, resumed, .. } = event {
            let bar = ProgressBar::new(max_iterations + 1).with_position(*resumed);
            if let Ok(style) = ProgressStyle::with_template(
                "{bar:30.green} {pos}/{len}  {elapsed} elapsed, {eta} left  {wide_msg}",
            ) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(std::time::Duration::from_millis(250));
            self.bar = Some(bar);
        }
        let Some(bar) = &self.bar else { return };
        match event {
            Event::Evaluating { number, stage, arm, trial } => {
                bar.set_message(format!("program {number}: {}", step(stage, *arm, *trial)));
            }
            Event::Finished { .. } => bar.inc(1),
            _ => {}
        }
        if !matches!(event, Event::Evaluating { .. } | Event::Proposed { .. })
            && let Some(line) = line(event)
        {
            bar.println(line);
        }
    }

    /// A closed pipe must not stop the run.
    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let _ = match self.style {
            Style::Json => {
                std::io::stdout().write_all(lines.as_bytes()).and_then(|()| std::io::stdout().flush())
            }
            Style::Plain | Style::Quiet => std::io::stderr().write_all(lines.as_bytes()),
            Style::Bar => Ok(()),
        };
    }

    fn finish(&mut self) {
        self.flush();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// One step of an evaluation, such as `baseline trial 3 of 5`.
pub fn step(stage: &str, arm: Option<&str>, trial: Option<(u32, u32)>) -> String {
    let arm = arm.map(|arm| format!("{arm} ")).unwrap_or_default();
    let count = trial.map(|(index, of)| format!(" {index} of {of}")).unwrap_or_default();
    format!("{arm}{stage}{count}")
}

fn opponent_words(opponent: &str) -> &str {
    match opponent {
        "baseline" => "the initial program",
        "mlx_lm" => "MLX-LM's own layer",
        "plain_lora" => "plain LoRA on the same model",
        other => other,
    }
}

/// An event as one plain line; none for those that would only scroll by.
pub fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Preparing { title } => format!(
            "preparing {title}: the initial program is built, checked and trained, and a sabotaged copy of it must fail; \
             seconds with a small model, minutes with a big one"
        ),
        Event::RunStarted { run, title, proposer, seed, max_iterations, resumed, database, .. } => {
            let verb = if *resumed == 0 { "starts" } else { "goes on" };
            let stored = if *resumed == 0 { String::new() } else { format!(", {resumed} outcomes stored") };
            format!(
                "run {run} {verb}: {title} (proposer {proposer}, seed {seed}, {max_iterations} iterations{stored})\n\
                 everything is kept in {database}; Ctrl-C stops, `evolve resume` goes on"
            )
        }
        Event::Proposed { number, parent, island, proposer, operator, model, repairs, left_out, seconds } => {
            let by = model.as_deref().unwrap_or(proposer);
            let of = repairs.map_or_else(String::new, |failed| format!(" mends {failed}, a child"));
            let short = if left_out.is_empty() { "" } else { ", prompt shortened" };
            format!(
                "proposal {number}: {operator}{of} of program {parent} by {by} (island {island}, {seconds:.1} s{short})"
            )
        }
        Event::Evaluating { .. } => return None,
        Event::Finished { number, summary, best, is_best, .. } => {
            let mark = if *is_best { "  <- best so far" } else { "" };
            match best {
                Some(best) if !is_best => format!("program {number}: {summary}  (best {best:.4})"),
                _ => format!("program {number}: {summary}{mark}"),
            }
        }
        Event::Lessons { version, lessons, failure: None, .. } => {
            format!("lessons {version}: {} points; `evolve lessons` prints them", lessons.len())
        }
        Event::Lessons { version, failure: Some(failure), .. } => {
            format!("lessons {version}: none, {failure}; the search goes on with those before")
        }
        Event::Comparing { number, opponent } => {
            format!(
                "final report: program {number} against {}, pairs on fresh seeds",
                opponent_words(opponent)
            )
        }
        Event::Compared { number, opponent, summary } => {
            format!("final report: program {number} against {}: {summary}", opponent_words(opponent))
        }
        Event::Warning { message } => format!("warning: {message}"),
        Event::Stopping { reason } => format!("stopping: {reason}"),
        Event::RunEnded { run, reason, outcomes, .. } => {
            format!("run {run} ended: {} ({outcomes} outcomes stored)", reason.words())
        }
    })
}
