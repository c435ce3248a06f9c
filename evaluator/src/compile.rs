//! From source text to a plugin: one direct call of `rustc`, through the launcher, in the sandbox.
//!
//! Three folders: one with the sources, which the compiler may read; its scratch folder; and one for the plugin, which is
//! taken out of the scratch folder when nothing runs there any more.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use search::{Outcome, Stage};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::OnceCell;
use trial_protocol::{Harness, Plugin};

use crate::confine::Confine;
use crate::launch::{Launcher, Pipes};
use crate::order::{Confinement, Ended, Export, How, Order, Tier};
use crate::problem::Limits;
use crate::report::{Artifact, shorten};
use crate::scratch::{Scratch, write_shared};
use crate::stop::Stop;

/// The candidate's file, which error messages name.
const CANDIDATE: &str = "candidate.rs";
const WRAPPER: &str = "plugin.rs";
/// Our crate around the candidate: it alone exports anything, and it forbids `unsafe` below it.
const WRAPPER_SOURCE: &str = include_str!("compile/plugin.rs");
/// The same, but for a result with the wrong sign.
const SABOTAGED_SOURCE: &str = include_str!("compile/sabotaged.rs");
/// Beyond that many errors the rest is consequence.
const ERRORS_SHOWN: usize = 5;
const MESSAGE_BYTES: usize = 6 * 1024;
const STDERR_BYTES: usize = 64 * 1024;
/// Compiled programs that are kept; each is some 20 KB on disk.
const CACHED: usize = 256;
/// Largest plugin.
const PLUGIN_BYTES: u64 = 32 << 20;
/// Longest path that `rustc --print sysroot` may print.
const SYSROOT_BYTES: u64 = 16 << 10;

/// A compiled program. Its file is there for as long as this is.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) plugin: Plugin,
    folder: Arc<TempDir>,
    /// How well the compiler was shut in.
    pub(crate) tier: Tier,
}

impl Compiled {
    /// The folder with the plugin and nothing else.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// What to put around a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Build {
    /// Nothing that changes anything.
    Faithful,
    /// A minus sign, for the canary. The candidate has no way to tell: both crates have the same names in them.
    Sabotaged,
}

/// What the compiler makes of a program.
type Verdict = Result<Arc<Compiled>, (Outcome, Artifact)>;

/// Kernel name and whole source, not its hash from outside: nobody can be given another's plugin.
type Key = (Build, String, String);

/// Compiles, each source at most once in each way.
#[derive(Debug)]
pub(crate) struct Compiler {
    harness: Harness,
    launcher: Launcher,
    scratch: Arc<Scratch>,
    path: String,
    limits: Limits,
    confine: Confine,
    /// The toolchain, which the sandbox has to show; unknown, and not needed, without one.
    sysroot: Option<PathBuf>,
    cache: Mutex<HashMap<Key, Arc<OnceCell<Verdict>>>>,
}

impl Compiler {
    pub(crate) async fn prepare(
        harness: Harness,
        launcher: Launcher,
        scratch: Arc<Scratch>,
        path: String,
        limits: Limits,
        confine: Confine,
    ) -> Result<Self, Stop> {
        let mut compiler = Self {
            harness,
            launcher,
            scratch,
            path,
            limits,
            confine,
            sysroot: None,
            cache: Mutex::default(),
        };
        if confine.sandbox {
            compiler.sysroot = Some(compiler.ask_for_sysroot().await?);
        }
        Ok(compiler)
    }

    /// The plugin for a source, `kernel` being the name its report will echo. A refused program's outcome comes
    /// with the compiler's words as an artifact.
    pub(crate) async fn compile(&self, source: &str, kernel: &str, build: Build) -> Result<Verdict, Stop> {
        let key = (build, kernel.to_owned(), source.to_owned());
        let cell = {
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= CACHED && !cache.contains_key(&key) {
                cache.clear();
            }
            cache.entry(key).or_default().clone()
        };
        cell.get_or_try_init(|| self.run(source, kernel, build)).await.cloned()
    }

    async fn run(&self, source: &str, kernel: &str, build: Build) -> Result<Verdict, Stop> {
        let sources = self.scratch.shared_folder("source")?;
        let wrapper = match build {
            Build::Faithful => WRAPPER_SOURCE,
            Build::Sabotaged => SABOTAGED_SOURCE,
        };
        write_shared(&sources.path().join(CANDIDATE), source.as_bytes())?;
        write_shared(&sources.path().join(WRAPPER), wrapper.as_bytes())?;
        let folder = Arc::new(self.scratch.shared_folder("plugin")?);
        let name = format!("{}plugin{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        let plugin = folder.path().join(&name);
        let (mut ended, mut tier) = self.launch(sources.path(), &plugin, &name).await?;
        if ended.how.is_from_outside() {
            (ended, tier) = self.launch(sources.path(), &plugin, &name).await?;
        }
        let refused = |outcome, words: &str| Ok(Err((outcome, Artifact::new("compiler", words))));
        let words = trim(&ended.stderr, sources.path());
        match ended.how {
            How::Exited { code: 0 } => {
                let plugin = Plugin { path: plugin, kernel: kernel.to_owned() };
                Ok(Ok(Arc::new(Compiled { plugin, folder, tier })))
            }
            // 1 is rustc's word for a program that isn't right.
            How::Exited { code: 1 } => refused(Outcome::Compile { message: words.clone() }, &words),
            How::NotExported { message } => {
                let message = format!("the compiler's result can't be used: {message}");
                refused(Outcome::Compile { message: message.clone() }, &message)
            }
            How::NotStarted { message } => {
                Err(Stop::Broken(format!("rustc can't be started: {message}; run `make mlx`")))
            }
            How::SandboxFailed { message } => Err(Stop::sandbox(&message)),
            How::Stopped => Err(Stop::Broken("the compiler was stopped".to_owned())),
            ref how => refused(died(how, &ended, &self.limits), &ended.stderr),
        }
    }

    async fn launch(&self, sources: &Path, plugin: &Path, name: &str) -> Result<(Ended, Tier), Stop> {
        let folder = Arc::new(self.scratch.folder("compile")?);
        let order = self.order(sources, folder.path(), plugin, name)?;
        let mut running = self.launcher.start(&order, Pipes::None, folder)?;
        // If it never started, its end says so.
        let tier = running.tier().await.unwrap_or(Tier::None);
        Ok((running.ended().await?, tier))
    }

    fn order(&self, sources: &Path, folder: &Path, plugin: &Path, name: &str) -> Result<Order, Stop> {
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
        arguments.push(format!("--remap-path-prefix={}=", text(sources)?));
        arguments.push(format!("--extern=kernel_api={}", text(&harness.kernel_api)?));
        for dependencies in &harness.dependencies {
            arguments.push(format!("-Ldependency={}", text(dependencies)?));
        }
        // The kernel API brings MLX along, which the linker wants to see.
        for libraries in &harness.libraries {
            arguments.push(format!("-Lnative={}", text(libraries)?));
        }
        let mut read = vec![sources.to_owned(), harness.kernel_api.clone()];
        read.extend(harness.dependencies.iter().chain(&harness.libraries).chain(&self.sysroot).cloned());
        let export = Export { from: name.to_owned(), to: plugin.to_owned(), bytes: PLUGIN_BYTES };
        let confinement = self.confine.compiler(read, export);
        let output = if self.confine.sandbox { Path::new(name) } else { plugin };
        let input = sources.join(WRAPPER);
        arguments.extend(["-o".to_owned(), text(output)?.to_owned(), text(&input)?.to_owned()]);
        self.call(arguments, folder, confinement)
    }

    fn call(&self, arguments: Vec<String>, folder: &Path, confinement: Confinement) -> Result<Order, Stop> {
        let environment = BTreeMap::from([
            // For the linker, `cc`.
            ("PATH".to_owned(), self.path.clone()),
            ("TMPDIR".to_owned(), text(folder)?.to_owned()),
        ]);
        Ok(Order {
            program: self.harness.rustc.clone(),
            arguments,
            environment,
            directory: folder.to_owned(),
            deadline_seconds: self.limits.compile_seconds,
            memory_bytes: Some(self.limits.memory_bytes),
            stderr_bytes: STDERR_BYTES,
            confinement,
        })
    }

    /// Where the toolchain lies. No candidate's text is about, so this needs no sandbox.
    async fn ask_for_sysroot(&self) -> Result<PathBuf, Stop> {
        let folder = Arc::new(self.scratch.folder("compile")?);
        let arguments = ["--print", "sysroot"].map(str::to_owned).into();
        let order = self.call(arguments, folder.path(), Confinement::None)?;
        let mut running = self.launcher.start(&order, Pipes::Output, folder)?;
        let mut words = String::new();
        if let Some(stdout) = running.stdout.take() {
            stdout.take(SYSROOT_BYTES).read_to_string(&mut words).await?;
        }
        let ended = running.ended().await?;
        let sysroot = PathBuf::from(words.trim_end());
        if ended.how == (How::Exited { code: 0 }) && sysroot.is_absolute() {
            return Ok(sysroot);
        }
        Err(Stop::Broken(format!(
            "`{} --print sysroot` {} and names no folder; run `make mlx`",
            self.harness.rustc.display(),
            ended.how
        )))
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
