//! What the sandbox costs, bare and shut in side by side and in turn. `cargo bench -p evaluator --bench sandbox` prints:
//!
//! - the time from starting a launcher to its word that everything is over, for a command that does nothing;
//! - the time to compile one small library.

#![allow(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use evaluator::order::{Confinement, Ended, Export, How, News, Order, Profile, Sandbox, Tier};

const STARTS: usize = 100;
const COMPILES: usize = 20;

const SOURCE: &str = "
#[unsafe(no_mangle)]
pub extern \"C\" fn dot(left: &[f32; 64], right: &[f32; 64]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}
";

fn main() -> Result<()> {
    // `cargo test --all-targets` runs benchmarks too, with this argument and only to see that they work.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let folder = tempfile::tempdir()?;
    let bench = Bench { folder: folder.path().to_owned() };
    for name in ["scratch", "source", "out"] {
        fs::create_dir(bench.at(name))?;
    }
    starts(&bench, if is_test { 1 } else { STARTS })?;
    compiles(&bench, if is_test { 1 } else { COMPILES })
}

/// The tiers that this system has.
fn tiers() -> &'static [Tier] {
    if cfg!(target_os = "linux") {
        &[Tier::None, Tier::Full, Tier::Reduced]
    } else {
        &[Tier::None, Tier::Full]
    }
}

fn starts(bench: &Bench, count: usize) -> Result<()> {
    let what = |tier: Tier| format!("launcher, start to end of /bin/true, sandbox {}", tier.as_str());
    let medians =
        in_turn(tiers(), count, what, |tier| Bench::run(&bench.order(tier, "/bin/true".into()), tier))?;
    println!("a full sandbox costs {:.1} ms a start", (medians[1] - medians[0]) * 1000.0);
    Ok(())
}

fn compiles(bench: &Bench, count: usize) -> Result<()> {
    let sysroot =
        Command::new("rustc").args(["--print", "sysroot"]).output().context("is rustc installed?")?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout)?.trim());
    let source = bench.at("source").join("kernel.rs");
    fs::write(&source, SOURCE)?;
    let tiers = [Tier::None, Tier::Full];
    let what = |tier: Tier| format!("rustc, one library, sandbox {}", tier.as_str());
    let medians = in_turn(&tiers, count, what, |tier| {
        let mut order = bench.order(tier, sysroot.join("bin/rustc"));
        let arguments = ["-O", "--crate-type=cdylib", "-Clinker=/usr/bin/cc", "-o", "kernel.so"];
        order.arguments = arguments.map(str::to_owned).to_vec();
        order.arguments.push(source.display().to_string());
        if let Confinement::Sandbox(sandbox) = &mut order.confinement {
            sandbox.read.extend([sysroot.clone(), bench.at("source")]);
            let to = bench.at("out").join("kernel.so");
            sandbox.export = Some(Export { from: "kernel.so".to_owned(), to, bytes: 32 << 20 });
        }
        Bench::run(&order, tier)
    })?;
    println!("a sandboxed compile takes {:.2} times the bare one", medians[1] / medians[0]);
    Ok(())
}

/// Times each tier `count` times, in turn; prints and returns the medians.
fn in_turn(
    tiers: &[Tier],
    count: usize,
    what: impl Fn(Tier) -> String,
    mut run: impl FnMut(Tier) -> Result<f64>,
) -> Result<Vec<f64>> {
    let mut times = vec![Vec::new(); tiers.len()];
    for _ in 0..count {
        for (tier, times) in tiers.iter().zip(&mut times) {
            times.push(run(*tier)?);
        }
    }
    let mut medians = Vec::new();
    for (tier, times) in tiers.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize] * 1000.0;
        println!("{}: median {:.2}, 10 % {:.2}, 90 % {:.2} ms", what(*tier), at(0.5), at(0.1), at(0.9));
        medians.push(at(0.5) / 1000.0);
    }
    // Nothing is lost if the reader has gone.
    let _ = std::io::stdout().flush();
    Ok(medians)
}

struct Bench {
    folder: PathBuf,
}

impl Bench {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn order(&self, tier: Tier, program: PathBuf) -> Order {
        let sandbox = Sandbox {
            profile: Profile::Tool,
            read: evaluator::sandbox::system(),
            devices: Vec::new(),
            scratch_bytes: 256 << 20,
            scratch_files: 4096,
            processes: 64,
            network: false,
            export: None,
        };
        let scratch = self.at("scratch");
        Order {
            program,
            arguments: Vec::new(),
            environment: BTreeMap::from([
                ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
                ("TMPDIR".to_owned(), scratch.display().to_string()),
            ]),
            directory: scratch,
            deadline_seconds: 60.0,
            memory_bytes: Some(3 << 30),
            stderr_bytes: 4096,
            confinement: match tier {
                Tier::None => Confinement::None,
                Tier::Full | Tier::Reduced => Confinement::Sandbox(Box::new(sandbox)),
            },
        }
    }

    /// Seconds from starting the launcher to the command's end.
    fn run(order: &Order, expected: Tier) -> Result<f64> {
        let clock = Instant::now();
        let (control, theirs) = UnixStream::pair()?;
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_evolve-launcher")));
        if expected == Tier::Reduced {
            command.arg("--reduced");
        }
        let mut launcher = command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        // The command's own copy of our end of the socket.
        drop(command);
        trial_protocol::write_frame(&control, order)?;
        let mut tier = None;
        let ended: Ended = loop {
            match trial_protocol::read_frame(&control)?.context("the launcher died")? {
                News::Started { tier: started, .. } => tier = Some(started),
                News::Memory(_) | News::Swept { .. } => {}
                News::Ended(ended) => break ended,
            }
        };
        let seconds = clock.elapsed().as_secs_f64();
        launcher.wait()?;
        if tier != Some(expected) || ended.how != (How::Exited { code: 0 }) {
            bail!("sandbox {}: {}: {}", expected.as_str(), ended.how, ended.stderr);
        }
        Ok(seconds)
    }
}
