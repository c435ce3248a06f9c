//! `evolve watch` on a real terminal (a pty), beside real runs.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Project, text, wait};
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use serde_json::Value;

/// A program on a terminal of 80 by 24, and what a person would see there.
struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Option<Box<dyn std::io::Write + Send>>,
    parser: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn watch(project: &Project, environment: &[(&str, &str)]) -> Self {
        let mut command = CommandBuilder::new(common::evolve());
        command.arg("watch");
        command.cwd(project.folder.path());
        command.env_remove("NO_COLOR");
        for (name, value) in environment {
            command.env(name, value);
        }
        Self::open(command)
    }

    fn open(mut command: CommandBuilder) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (rows, columns) = (24.try_into().unwrap(), 80.try_into().unwrap());
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let mut output = pair.master.try_clone_reader().unwrap();
        let keys = Some(pair.master.take_writer().unwrap());
        std::thread::spawn({
            let parser = parser.clone();
            move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = output.read(&mut bytes) {
                    parser.lock().unwrap().process(&bytes[..count]);
                }
            }
        });
        Self { child, master: Some(pair.master), keys, parser }
    }

    fn screen(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    #[track_caller]
    fn wait_for(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(words) {
                return screen;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "`{words}` never came:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn press(&mut self, keys: &str) {
        let writer = self.keys.as_mut().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Waits for the end; the terminal must be as it was: the main screen, the cursor shown.
    #[track_caller]
    fn assert_given_back(&mut self) {
        let status = wait(|| self.child.try_wait().unwrap());
        assert!(status.success(), "{status:?}: {}", self.screen());
        wait(|| (!self.parser.lock().unwrap().screen().alternate_screen()).then_some(()));
        assert!(!self.parser.lock().unwrap().screen().hide_cursor());
        assert!(!self.is_raw(), "keys are lines again");
    }

    /// Whether the terminal hands on keys one by one.
    fn is_raw(&self) -> bool {
        let modes = self.master.as_ref().unwrap().get_termios().unwrap();
        !format!("{:?}", modes.local_flags).contains("ICANON")
    }

    fn pid(&self) -> i32 {
        self.child.process_id().unwrap().cast_signed()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A project whose evaluations take a while.
fn slow_project(iterations: u32) -> Project {
    let project = Project::new("");
    project.write(
        "config.yaml",
        &format!("problem: problem\nproposer: rewrite\nmax_iterations: {iterations}\n"),
    );
    let slowly = format!("BEGIN {{ system(\"sleep 0.2\") }}\n{}", common::EVALUATOR);
    project.write("problem/evaluate.awk", &slowly);
    project
}

/// A run under way, which is killed with the test.
struct Searching(Child);

impl Searching {
    fn start(project: &Project) -> Self {
        let mut command = project.command(&["run"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait(|| {
            let known = project.run(&["watch", "--once"]);
            (known.status.success() && text(&known.stdout).contains("running")).then_some(())
        });
        Self(child)
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_run_of_another_process_is_watched_looked_into_and_paused() {
    let project = slow_project(500);
    let mut searching = Searching::start(&project);
    let mut terminal = Terminal::watch(&project, &[]);
    terminal.wait_for("running (process");
    assert!(terminal.is_raw());
    // It moves on.
    let proposals = |screen: &str| -> Option<u64> {
        let (before, _) = screen.split_once(" of 500 proposals")?;
        before.rsplit(' ').next()?.parse().ok()
    };
    let first = wait(|| proposals(&terminal.screen()));
    wait(|| proposals(&terminal.screen()).filter(|now| *now > first + 2));
    terminal.wait_for("best ");

    // The initial program is the last in the list.
    terminal.press("G\r");
    let opened = terminal.wait_for("program 1/0");
    assert!(opened.contains("outcome") || opened.contains("verdict"), "{opened}");
    terminal.press("G");
    terminal.wait_for("EVOLVE-BLOCK-END");
    terminal.press("q");
    terminal.wait_for("last proposals");

    terminal.press("?");
    terminal.wait_for("any key closes");
    terminal.press("x\t");
    terminal.wait_for("since better");

    terminal.press("p");
    terminal.wait_for("pause run 1?");
    terminal.press("n");
    std::thread::sleep(Duration::from_millis(300));
    assert!(searching.0.try_wait().unwrap().is_none(), "it goes on without a yes");
    terminal.press("p");
    terminal.wait_for("pause run 1?");
    terminal.press("y");
    assert_eq!(wait(|| searching.0.try_wait().unwrap()).code(), Some(130));
    terminal.wait_for("ended: interrupted");
    terminal.press("q");
    terminal.assert_given_back();
    // And nothing is lost.
    project.succeed(&["resume", "--iterations", "3"]);
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let project = Project::new("");
    project.succeed(&["run"]);
    for how in ["q", "\x03"] {
        let mut terminal = Terminal::watch(&project, &[]);
        terminal.wait_for("12 of 12 proposals");
        terminal.press(how);
        terminal.assert_given_back();
    }
    for signal in ["-TERM", "-INT", "-HUP"] {
        let mut terminal = Terminal::watch(&project, &[]);
        terminal.wait_for("12 of 12 proposals");
        let pid = terminal.pid().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        terminal.assert_given_back();
    }
    // The other end of the line is gone.
    let mut terminal = Terminal::watch(&project, &[]);
    terminal.wait_for("12 of 12 proposals");
    terminal.keys = None;
    let process = std::path::PathBuf::from(format!("/proc/{}", terminal.pid()));
    // The thread that reads holds the terminal, too, so a hangup is sent as sshd's kernel would.
    std::process::Command::new("kill").args(["-HUP", &terminal.pid().to_string()]).status().unwrap();
    terminal.master = None;
    wait(|| terminal.child.try_wait().unwrap());
    assert!(!process.exists());
}

#[test]
#[ignore = "run as a process by a_panic_is_told_on_the_terminal_as_it_was"]
fn a_process_that_panics_on_its_screen() {
    let mut screen = orchestrator::watch::terminal::Screen::take().unwrap();
    screen.draw(|frame| frame.render_widget("all is well", frame.area())).unwrap();
    panic!("a fault of ours");
}

#[test]
fn a_panic_is_told_on_the_terminal_as_it_was() {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "a_process_that_panics_on_its_screen"]);
    // A backtrace is longer than the terminal.
    command.env("RUST_BACKTRACE", "0");
    let mut terminal = Terminal::open(command);
    let status = wait(|| terminal.child.try_wait().unwrap());
    assert!(!status.success());
    terminal.wait_for("a fault of ours");
    assert!(!terminal.is_raw());
    let parser = terminal.parser.lock().unwrap();
    assert!(!parser.screen().alternate_screen() && !parser.screen().hide_cursor());
}

#[test]
fn without_colours_there_are_none() {
    let project = Project::new("");
    project.succeed(&["run"]);
    for (environment, coloured) in [(&[("NO_COLOR", "1")][..], false), (&[], true)] {
        let terminal = Terminal::watch(&project, environment);
        terminal.wait_for("12 of 12 proposals");
        let parser = terminal.parser.lock().unwrap();
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut colours =
            cells.filter_map(|(row, column)| parser.screen().cell(row, column).map(vt100::Cell::fgcolor));
        assert_eq!(colours.any(|colour| colour != vt100::Color::Default), coloured);
    }
}

#[test]
fn elsewhere_a_line_is_printed_for_each_change_until_the_run_ends() {
    let project = slow_project(12);
    let mut searching = Searching::start(&project);
    let watching = project.command(&["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = project.command(&["watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let ended = searching.0.wait().unwrap();
    let plain = text(&watching.wait_with_output().unwrap().stdout);
    assert!(ended.success());
    assert!(plain.lines().count() >= 2, "{plain}");
    assert!(plain.lines().last().unwrap().contains("12 of 12 proposals"), "{plain}");
    let json = text(&lines.wait_with_output().unwrap().stdout);
    let values: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(values.len() >= 2, "{json}");
    assert_eq!(values[0]["activity"]["state"], "running");
    let last = values.last().unwrap();
    assert_eq!((&last["proposals"], &last["activity"]["state"]), (&12.into(), &"ended".into()));
    assert_eq!(last["budgets"]["iterations"], 12);

    // Of a run that nobody works on there is one line.
    let once = project.succeed(&["watch", "--once"]);
    assert_eq!(once.lines().count(), 1, "{once}");
    let once = project.succeed(&["watch", "--once", "--json"]);
    let islands = &serde_json::from_str::<Value>(&once).unwrap()["islands"]["each"];
    // As many outcomes as were told, the initial program's on top.
    assert_eq!(islands[0]["told"], 13, "{once}");
    assert!(islands[0]["elites"].as_u64().unwrap() >= 1);
    assert!(project.fail(2, &["watch", "7"]).contains("there is no run 7"));
}

#[test]
fn who_stops_reading_the_lines_ends_it() {
    let project = slow_project(500);
    let _searching = Searching::start(&project);
    let mut watching =
        project.command(&["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(watching.stdout.take());
    let status = wait(|| watching.try_wait().unwrap());
    let mut words = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(status.success() && words.is_empty(), "{status}: {words}");
}
