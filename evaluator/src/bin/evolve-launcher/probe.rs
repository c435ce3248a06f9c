//! What a candidate might try, tried by ourselves: the launcher starts itself in its own sandbox, with `--probe` and the
//! name of an attempt. See `evaluator::sandbox::examine`, which judges the results. Prints what it got; exits with 1 if it got
//! what it should not, with 0 otherwise.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Got what it should not.
struct Broken(String);

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["read", path] => read(path),
        ["write", path] => write(path),
        ["environment", secret, process] => environment(secret, process),
        ["processes", process] => processes(process),
        ["connect", address] => connect(address),
        ["threads", limit] => threads(limit.parse().unwrap_or(0)),
        ["memory", bytes] => memory(bytes.parse().unwrap_or(0)),
        ["hold", bytes] => Ok(hold(bytes.parse().unwrap_or(0))),
        ["fill", limit] => fill(limit.parse().unwrap_or(0)),
        ["daemon"] => daemon(),
        ["spin"] => spin(),
        ["call"] => call(),
        ["lock"] => lock(),
        ["start-after-lock"] => start_after_lock(),
        _ => Err(Broken("there is no such probe".to_owned())),
    };
    let (Ok(text) | Err(Broken(text))) = &result;
    say(text);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) {
    // If nobody listens the exit code still tells.
    let mut output = io::stdout();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

fn read(path: &str) -> Result<String, Broken> {
    match fs::read(path) {
        Ok(bytes) => Err(Broken(format!("read {} bytes of {path}", bytes.len()))),
        Err(error) => Ok(error.to_string()),
    }
}

fn write(path: &str) -> Result<String, Broken> {
    match fs::write(path, "a candidate was here") {
        Ok(()) => Err(Broken(format!("wrote {path}"))),
        Err(error) => Ok(error.to_string()),
    }
}

/// `secret` is in the environment of `process` and in that of nobody in here.
fn environment(secret: &str, process: &str) -> Result<String, Broken> {
    let is_secret = |text: &[u8]| text.windows(secret.len()).any(|window| window == secret.as_bytes());
    for (name, value) in std::env::vars_os() {
        if is_secret(value.as_encoded_bytes()) {
            return Err(Broken(format!("found the secret in {}", name.display())));
        }
    }
    let own = ["1", "self", process].map(str::to_owned);
    for process in own.into_iter().chain((2..50).map(|number: u32| number.to_string())) {
        if fs::read(format!("/proc/{process}/environ")).is_ok_and(|text| is_secret(&text)) {
            return Err(Broken(format!("found the secret in /proc/{process}/environ")));
        }
    }
    Ok("only what was given to it".to_owned())
}

fn processes(process: &str) -> Result<String, Broken> {
    match fs::metadata(format!("/proc/{process}")) {
        Ok(_) => Err(Broken(format!("saw process {process}"))),
        Err(error) => Ok(error.to_string()),
    }
}

fn connect(address: &str) -> Result<String, Broken> {
    let address: SocketAddr = address.parse().map_err(|_| Broken(format!("{address} is no address")))?;
    match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
        Ok(_) => Err(Broken(format!("connected to {address}"))),
        Err(error) => Ok(error.to_string()),
    }
}

fn threads(limit: usize) -> Result<String, Broken> {
    for count in 1..limit + 50 {
        let started = std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(|| std::thread::sleep(Duration::from_secs(60)));
        if let Err(error) = started {
            return Ok(format!("{count} at once, then: {error}"));
        }
    }
    Err(Broken(format!("started {} threads where {limit} are allowed", limit + 50)))
}

fn memory(bytes: usize) -> Result<String, Broken> {
    let mut blocks = Vec::new();
    while blocks.len() << 20 < bytes {
        blocks.push(vec![1_u8; 1 << 20]);
    }
    // So that it can be seen.
    std::thread::sleep(Duration::from_millis(500));
    Err(Broken(format!("got {} MiB", blocks.len())))
}

/// Uses memory until standard input closes.
fn hold(bytes: usize) -> String {
    let block = vec![1_u8; bytes];
    say("ready");
    let _ = io::stdin().read(&mut [0]);
    format!("held {} bytes", std::hint::black_box(&block).len())
}

fn fill(limit: u64) -> Result<String, Broken> {
    let block = vec![1_u8; 1 << 20];
    let mut written = 0;
    for number in 0.. {
        let result = fs::write(number.to_string(), &block);
        if let Err(error) = result {
            return Ok(format!("{} MiB, then: {error}", written >> 20));
        }
        written += 1 << 20;
        if written > limit + (8 << 20) {
            break;
        }
    }
    Err(Broken(format!("wrote {} MiB where {} are allowed", written >> 20, limit >> 20)))
}

/// Leaves a process behind that keeps our standard output.
fn daemon() -> Result<String, Broken> {
    let spawned = Command::new("/bin/sh")
        .args(["-c", "(trap '' HUP TERM; sleep 600 & sleep 600) &"])
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(Stdio::null())
        .status();
    match spawned {
        Ok(status) if status.success() => Ok("left a process behind".to_owned()),
        other => Err(Broken(format!("couldn't start one: {other:?}"))),
    }
}

fn spin() -> Result<String, Broken> {
    loop {
        std::hint::spin_loop();
    }
}

/// Asks for something that no honest program asks for.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no safe way to do the forbidden")]
fn call() -> Result<String, Broken> {
    // SAFETY: a request to be traced by one's parent, without arguments.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0) };
    Err(Broken(format!("ptrace came back with {result}")))
}

#[cfg(not(target_os = "linux"))]
fn call() -> Result<String, Broken> {
    Ok("not on this system".to_owned())
}

/// What a trial does: locks itself, and still has threads, memory and files, but no processes.
fn lock() -> Result<String, Broken> {
    let scratch = |what: &str, error: io::Error| Broken(format!("{what}: {error}"));
    // A thread from before is locked too.
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let earlier = std::thread::spawn(move || {
        let _ = receiver.recv();
        Command::new("/bin/sh").arg("-c").arg("true").status().is_err()
    });
    trial_lock::lock().map_err(|error| scratch("can't lock", error))?;
    let sum = std::thread::spawn(|| vec![1_u64; 1 << 22].iter().sum::<u64>()).join();
    if sum.ok() != Some(1 << 22) {
        return Err(Broken("a locked process can't compute".to_owned()));
    }
    fs::write("file", "text").map_err(|error| scratch("can't write", error))?;
    fs::read("file").map_err(|error| scratch("can't read", error))?;
    drop(sender);
    let refused = Command::new("/bin/sh").arg("-c").arg("true").status().is_err();
    if !refused || !earlier.join().unwrap_or(false) {
        return Err(Broken("a locked process started another".to_owned()));
    }
    Ok("threads, memory and files, but no processes".to_owned())
}

/// Replaces itself by another program, as only an attack does.
fn start_after_lock() -> Result<String, Broken> {
    use std::os::unix::process::CommandExt;
    trial_lock::lock().map_err(|error| Broken(format!("can't lock: {error}")))?;
    let error = Command::new("/bin/sh").arg("-c").arg("true").exec();
    Ok(error.to_string())
}
