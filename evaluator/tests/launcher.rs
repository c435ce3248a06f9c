//! The launcher with real processes.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evaluator::order::{Confinement, Ended, How, News, Order};
use support::{count_processes, eventually, unique_sleep};

fn order(script: &str) -> Order {
    Order {
        program: "sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        directory: "/".into(),
        deadline_seconds: 20.0,
        memory_bytes: None,
        stderr_bytes: 1024,
        confinement: Confinement::None,
    }
}

struct Launched {
    launcher: Child,
    control: UnixStream,
}

impl Launched {
    fn new(order: &Order) -> Self {
        let (control, theirs) = UnixStream::pair().unwrap();
        let launcher = Command::new(env!("CARGO_BIN_EXE_evolve-launcher"))
            .env("A_SECRET", "of the caller")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        trial_protocol::write_frame(&control, order).unwrap();
        Self { launcher, control }
    }

    fn news(&self) -> Option<News> {
        trial_protocol::read_frame(&self.control).unwrap()
    }

    fn ended(mut self) -> Ended {
        loop {
            match self.news().expect("the launcher says how it ended") {
                News::Memory(_) | News::Started { .. } | News::Swept { .. } => {}
                News::Ended(ended) => {
                    assert!(self.launcher.wait().unwrap().success());
                    return ended;
                }
            }
        }
    }
}

#[test]
fn standard_input_and_output_are_the_commands_own() {
    let mut launched = Launched::new(&order("cat; echo to stderr >&2; exit 3"));
    let mut stdin = launched.launcher.stdin.take().unwrap();
    stdin.write_all(b"hello").unwrap();
    drop(stdin);
    let mut output = String::new();
    launched.launcher.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "hello");
    let ended = launched.ended();
    assert_eq!((ended.how, ended.stderr.as_str()), (How::Exited { code: 3 }, "to stderr\n"));
    assert!(ended.peak_bytes > 100_000 && ended.wall_seconds < 5.0);
}

#[test]
fn the_environment_is_exactly_the_orders() {
    let mut launched = Launched::new(&Order {
        program: "/usr/bin/env".into(),
        arguments: Vec::new(),
        environment: BTreeMap::from([("ONLY".to_owned(), "this".to_owned())]),
        ..order("")
    });
    let mut output = String::new();
    launched.launcher.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "ONLY=this\n");
    launched.ended();
}

#[test]
fn a_signal_is_told_from_an_exit() {
    assert_eq!(Launched::new(&order("kill -SEGV $$")).ended().how, How::Signaled { signal: 11 });
}

#[test]
fn what_cannot_be_started_is_said() {
    let missing = Order { program: "/no/such/program".into(), ..order("") };
    let How::NotStarted { message } = Launched::new(&missing).ended().how else { panic!("it was started") };
    assert!(message.starts_with("/no/such/program: No such file"), "{message}");
}

#[test]
fn a_command_past_its_deadline_is_killed_with_its_children() {
    let sleep = unique_sleep();
    let script = format!("trap '' TERM INT HUP; sleep {sleep} & sleep {sleep}; sleep {sleep}");
    let started = Instant::now();
    let ended = Launched::new(&Order { deadline_seconds: 0.3, ..order(&script) }).ended();
    assert_eq!(ended.how, How::Deadline);
    assert!((0.3..5.0).contains(&ended.wall_seconds) && started.elapsed() < Duration::from_secs(5));
    assert_eq!(count_processes(&sleep), 0);
}

#[test]
fn when_the_command_ends_so_do_its_children() {
    let sleep = unique_sleep();
    let ended = Launched::new(&order(&format!("sleep {sleep} & exit 0"))).ended();
    assert_eq!(ended.how, How::Exited { code: 0 });
    assert_eq!(count_processes(&sleep), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_daemon_that_left_the_process_group_is_killed_too() {
    let sleep = unique_sleep();
    let script = format!("(setsid setsid sh -c 'sleep {sleep} & sleep {sleep}' &) ; sleep 0.2");
    let ended = Launched::new(&order(&script)).ended();
    assert_eq!(ended.how, How::Exited { code: 0 });
    assert_eq!(count_processes(&sleep), 0);
}

#[test]
fn when_the_lifeline_closes_everything_is_killed() {
    let sleep = unique_sleep();
    let mut launched = Launched::new(&order(&format!("sleep {sleep} & sleep {sleep}")));
    assert!(matches!(launched.news(), Some(News::Started { .. })));
    eventually("the sleepers run", || count_processes(&sleep) >= 2);
    drop(launched.control);
    launched.launcher.wait().unwrap();
    assert_eq!(count_processes(&sleep), 0);
}

#[test]
fn closing_half_the_lifeline_kills_and_still_tells_the_end() {
    let sleep = unique_sleep();
    let launched = Launched::new(&order(&format!("echo working >&2; sleep {sleep}")));
    assert!(matches!(launched.news(), Some(News::Started { .. })));
    eventually("the sleeper runs", || count_processes(&sleep) >= 2);
    launched.control.shutdown(std::net::Shutdown::Write).unwrap();
    let ended = launched.ended();
    assert_eq!((ended.how, ended.stderr.as_str()), (How::Stopped, "working\n"));
    assert_eq!(count_processes(&sleep), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn kill_9_of_the_launcher_kills_the_command() {
    let sleep = unique_sleep();
    let mut launched = Launched::new(&order(&format!("exec sleep {sleep}")));
    assert!(matches!(launched.news(), Some(News::Started { .. })));
    eventually("the sleeper runs", || count_processes(&sleep) == 1);
    launched.launcher.kill().unwrap();
    launched.launcher.wait().unwrap();
    eventually("the sleeper is gone", || count_processes(&sleep) == 0);
}

#[test]
fn a_flood_on_standard_error_keeps_its_beginning_and_end() {
    let script = "echo first >&2; yes | head -c 5000000 >&2; echo last >&2";
    let ended = Launched::new(&order(script)).ended();
    assert!(ended.stderr.starts_with("first\n") && ended.stderr.ends_with("last\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("bytes left out") && ended.stderr.len() < 1200);
}

#[test]
fn an_endless_flood_still_meets_its_deadline() {
    let ended = Launched::new(&Order { deadline_seconds: 0.3, ..order("yes >&2") }).ended();
    assert_eq!(ended.how, How::Deadline);
}

#[test]
fn a_tree_past_its_memory_limit_is_killed() {
    // Each half is below the limit.
    let half = "x = bytearray(b'x') * 80_000_000; import time; time.sleep(60)";
    let script = format!("python3 -c \"{half}\" & python3 -c \"{half}\"");
    let ended = Launched::new(&Order { memory_bytes: Some(130_000_000), ..order(&script) }).ended();
    assert_eq!(ended.how, How::Memory);
    assert!(ended.peak_bytes > 130_000_000, "{}", ended.peak_bytes);
}

#[test]
fn peak_memory_is_the_commands() {
    let script = "exec python3 -c \"x = bytearray(b'x') * 100_000_000\"";
    let peak = Launched::new(&order(script)).ended().peak_bytes;
    assert!((100_000_000..200_000_000).contains(&peak), "{peak}");
}
