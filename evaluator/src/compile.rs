//! From source text to a plugin: one direct call of `rustc`, through the launcher.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use search::{Outcome, Stage};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use trial_protocol::{Harness, Plugin};

use crate::launch::{Launcher, Pipes};
use crate::order::{Confinement, Ended, How, Order};
use crate::problem::Limits;
use crate::report::{Artifact, shorten};
use crate::scratch::Scratch;
use crate::stop::Stop;

/// The candidate's file, which error messages name.
const CANDIDATE: &str = "candidate.rs";
const WRAPPER: &str = "plugin.rs";
/// Our crate around the candidate: it alone exports anything, and it forbids `unsafe` below it.
const WRAPPER_SOURCE: &str = include_str!("compile/plugin.rs");
/// Beyond that many errors the rest is consequence.
const ERRORS_SHOWN: usize = 5;
const MESSAGE_BYTES: usize = 6 * 1024;
const STDERR_BYTES: usize = 64 * 1024;
/// Compiled programs that are kept; each is some 20 KB on disk.
const CACHED: usize = 256;

/// A compiled program. Its file is there for as long as this is.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) plugin: Plugin,
    _folder: Arc<TempDir>,
}

/// What the compiler makes of a program.
type Verdict = Result<Arc<Compiled>, (Outcome, Artifact)>;

/// Compiles, each source at most once.
#[derive(Debug)]
pub(crate) struct Compiler {
    harness: Harness,
    launcher: Launcher,
    scratch: Arc<Scratch>,
    path: String,
    limits: Limits,
    cache: Mutex<HashMap<String, Arc<OnceCell<Verdict>>>>,
}

impl Compiler {
    pub(crate) fn new(
        harness: Harness,
        launcher: Launcher,
        scratch: Arc<Scratch>,
        path: String,
        limits: Limits,
    ) -> Self {
        Self { harness, launcher, scratch, path, limits, cache: Mutex::default() }
    }

    /// The plugin for a source, `kernel` being the name its report will echo. A refused program's outcome comes
    /// with the compiler's words as an artifact.
    pub(crate) async fn compile(&self, source: &str, kernel: &str) -> Result<Verdict, Stop> {
        // The whole source is the key, not its hash from outside: nobody can be given another's plugin.
        let cell = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= CACHED && !cache.contains_key(source) {
                cache.clear();
            }
            cache.entry(format!("{kernel}\n{source}")).or_default().clone()
        };
        cell.get_or_try_init(|| self.run(source, kernel)).await.cloned()
    }

    async fn run(&self, source: &str, kernel: &str) -> Result<Verdict, Stop> {
        let folder = Arc::new(self.scratch.folder("compile")?);
        std::fs::write(folder.path().join(CANDIDATE), source)?;
        std::fs::write(folder.path().join(WRAPPER), WRAPPER_SOURCE)?;
        let plugin = folder.path().join(format!(
            "{}plugin{}",
            std::env::consts::DLL_PREFIX,
            std::env::consts::DLL_SUFFIX
        ));
        let order = self.order(folder.path(), &plugin)?;
        let launch = || self.launcher.start(&order, Pipes::None, folder.clone());
        let mut ended = launch()?.ended().await?;
        if ended.how.is_from_outside() {
            ended = launch()?.ended().await?;
        }
        let refused = |outcome, words: &str| Ok(Err((outcome, Artifact::new("compiler", words))));
        let words = trim(&ended.stderr, folder.path());
        match ended.how {
            How::Exited { code: 0 } => Ok(Ok(Arc::new(Compiled {
                plugin: Plugin { path: plugin, kernel: kernel.to_owned() },
                _folder: folder,
            }))),
            // 1 is rustc's word for a program that isn't right.
            How::Exited { code: 1 } => refused(Outcome::Compile { message: words.clone() }, &words),
            How::NotStarted { message } => {
                Err(Stop::Broken(format!("rustc can't be started: {message}; run `make mlx`")))
            }
            How::Stopped => Err(Stop::Broken("the compiler was stopped".to_owned())),
            ref how => refused(died(how, &ended, &self.limits), &ended.stderr),
        }
    }

    fn order(&self, folder: &Path, plugin: &Path) -> Result<Order, Stop> {
        let harness = &self.harness;
        let mut arguments: Vec<String> = [
            "--edition=2024",
            "--crate-name=plugin",
            "--crate-type=dylib",
            "-O",
            "-Cprefer-dynamic",
            // One small module: more units only cost threads.
            "-Ccodegen-units=1",
            "-Cstrip=debuginfo",
            // Warnings are noise here. (Not --cap-lints, which would lift the ban on unsafe code.)
            "-Awarnings",
            "--color=never",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--remap-path-prefix={}=", text(folder)?));
        arguments.push(format!("--extern=kernel_api={}", text(&harness.kernel_api)?));
        for dependencies in &harness.dependencies {
            arguments.push(format!("-Ldependency={}", text(dependencies)?));
        }
        // The kernel API brings MLX along, which the linker wants to see.
        for libraries in &harness.libraries {
            arguments.push(format!("-Lnative={}", text(libraries)?));
        }
        arguments.extend(["-o".to_owned(), text(plugin)?.to_owned(), WRAPPER.to_owned()]);
        let environment = BTreeMap::from([
            // For the linker, `cc`.
            ("PATH".to_owned(), self.path.clone()),
            ("TMPDIR".to_owned(), text(folder)?.to_owned()),
        ]);
        Ok(Order {
            program: harness.rustc.clone(),
            arguments,
            environment,
            directory: folder.to_owned(),
            deadline_seconds: self.limits.compile_seconds,
            memory_bytes: Some(self.limits.memory_bytes),
            stderr_bytes: STDERR_BYTES,
            confinement: Confinement::None,
        })
    }
}

fn died(how: &How, ended: &Ended, limits: &Limits) -> Outcome {
    let stage = Stage::Compile;
    match how {
        How::Deadline => Outcome::Timeout { stage, limit_seconds: limits.compile_seconds },
        How::Memory => Outcome::OutOfMemory { stage, limit_bytes: limits.memory_bytes },
        _ => {
            let words = shorten(&ended.stderr, MESSAGE_BYTES);
            Outcome::Crash { stage, message: format!("the compiler {how}\n{words}") }
        }
    }
}

/// Paths go into command lines and JSON, so they have to be Unicode.
pub(crate) fn text(path: &Path) -> Result<&str, Stop> {
    path.to_str().ok_or_else(|| Stop::Broken(format!("{}: the path is not Unicode", path.display())))
}

/// The compiler's words without what helps nobody: our folder, the closing summary, errors beyond the first few.
fn trim(words: &str, folder: &Path) -> String {
    let words = words.replace(&format!("{}/", folder.display()), "");
    let closing = ["error: aborting due to", "For more information about", "Some errors have detailed"];
    let lines = words.lines().filter(|line| !closing.iter().any(|start| line.starts_with(start)));
    let mut kept = String::new();
    let mut errors = 0;
    for line in lines {
        if line.starts_with("error") {
            errors += 1;
        }
        if errors <= ERRORS_SHOWN {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if errors > ERRORS_SHOWN {
        // Writing to a string can't fail.
        let _ = write!(kept, "... and {} more errors", errors - ERRORS_SHOWN);
    }
    shorten(kept.trim(), MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_words_lose_our_folder_the_summary_and_the_rest_of_many_errors() {
        let error =
            |number| format!("error[E0425]: no `x{number}`\n --> /tmp/secret/candidate.rs:{number}:1\n\n");
        let mut words: String = (1..=7).map(error).collect();
        words.push_str(
            "error: aborting due to 7 previous errors\n\nFor more information about this error, try\n",
        );
        let trimmed = trim(&words, Path::new("/tmp/secret"));
        assert!(trimmed.starts_with("error[E0425]: no `x1`\n --> candidate.rs:1:1"), "{trimmed}");
        assert!(trimmed.ends_with("... and 2 more errors"), "{trimmed}");
        assert!(!trimmed.contains("secret") && !trimmed.contains("aborting"), "{trimmed}");
    }
}
