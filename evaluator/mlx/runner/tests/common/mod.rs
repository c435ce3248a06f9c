//! Compiling kernels as the evaluator does, and talking to the runner.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;
use trial_protocol::{
    AdapterKind, Blame, Challenge, CheckCase, CheckRequest, Dtype, Failure, Go, Model, Optimizer, Plugin,
    Quantization, Reply, Request, SyntheticModel, Training, TrialReport, TrialRequest, read_frame, read_raw,
    write_frame,
};

const WRAPPER: &str = "#[forbid(unsafe_code)] #[path = \"candidate.rs\"] mod candidate;\n\
    #[unsafe(no_mangle)] pub fn evolve_build(layer: &kernel_api::Layer) \
    -> kernel_api::Result<Box<dyn kernel_api::Kernel>> { candidate::build(layer) }\n";

/// A compiled kernel; the folder lives as long as this.
pub(crate) struct Kernel {
    folder: TempDir,
}

impl Kernel {
    /// Compiles, or gives the compiler's words.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("candidate.rs"), source).unwrap();
        fs::write(folder.path().join("plugin.rs"), WRAPPER).unwrap();
        // Beside this test: cargo put there the very library that the runner is linked with.
        let dependencies = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
        let api = format!("libkernel_api{}", std::env::consts::DLL_SUFFIX);
        // MLX, where the linker of running programs looks for it.
        let libraries = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let native = std::env::split_paths(&libraries).map(|folder| format!("-Lnative={}", folder.display()));
        let output = Command::new("rustc")
            .current_dir(folder.path())
            .args(["--edition=2024", "--crate-name=plugin", "--crate-type=dylib", "-O", "-Cprefer-dynamic"])
            .arg("-Awarnings")
            .arg(format!("--extern=kernel_api={}", dependencies.join(api).display()))
            .arg(format!("-Ldependency={}", dependencies.display()))
            .args(native)
            .args(["-o", "libplugin.so", "plugin.rs"])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(Self { folder }) } else { Err(words) }
    }

    /// One of the kernels beside the tests, with its placeholder filled.
    pub(crate) fn variant(file: &str, placeholder: &str, value: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels").join(file);
        let source =
            fs::read_to_string(path).unwrap().replace(&format!("\"{placeholder}\""), &format!("{value:?}"));
        Self::compile(&source).unwrap_or_else(|words| panic!("{words}"))
    }

    /// The kernel that the flagship problem starts from.
    pub(crate) fn initial() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../problems/quantized-lora/initial.rs");
        Self::compile(&fs::read_to_string(path).unwrap()).unwrap_or_else(|words| panic!("{words}"))
    }

    pub(crate) fn plugin(&self) -> Plugin {
        Plugin { path: self.folder.path().join("libplugin.so"), kernel: "test".into() }
    }
}

/// A running runner.
pub(crate) struct Runner {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    _scratch: TempDir,
}

impl Runner {
    pub(crate) fn start(request: &Request) -> Self {
        Self::start_with(request, &[])
    }

    pub(crate) fn start_with(request: &Request, environment: &[(&str, &OsStr)]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_trial-runner"))
            .envs(environment.iter().copied())
            // MLX keeps what it compiles there.
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        write_frame(&mut input, request).unwrap();
        let output = child.stdout.take().unwrap();
        Self { child, input: Some(input), output, _scratch: scratch }
    }

    /// The next reply; `None` at the end.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        read_frame(&mut self.output).unwrap()
    }

    /// The raw frame that a reply announced.
    pub(crate) fn raw(&mut self, bytes: u64) -> Vec<u8> {
        read_raw(&mut self.output, bytes).unwrap()
    }

    pub(crate) fn go(&mut self, seed: u64) {
        self.send(&Go { seed });
    }

    pub(crate) fn send(&mut self, message: &impl serde::Serialize) {
        write_frame(self.input.as_mut().unwrap(), message).unwrap();
    }

    /// Closes the runner's standard input.
    pub(crate) fn hang_up(&mut self) {
        self.input = None;
    }

    /// Waits for the end.
    pub(crate) fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

/// A runner that checks this kernel, ready for challenges.
pub(crate) fn checking(kernel: &Kernel, lock: bool) -> Runner {
    let mut runner = Runner::start(&Request::Check(CheckRequest { plugin: kernel.plugin(), lock }));
    assert_eq!(runner.reply(), Some(Reply::Ready));
    runner
}

/// The answer to one challenge, or the failure.
pub(crate) fn ask(runner: &mut Runner, challenge: &Challenge) -> Result<Vec<u8>, Reply> {
    runner.send(challenge);
    match runner.reply() {
        Some(Reply::Answer { bytes }) => Ok(runner.raw(bytes)),
        Some(other) => Err(other),
        None => panic!("no reply"),
    }
}

/// Shapes, widths, groups and types of every kind.
pub(crate) fn cases() -> Vec<CheckCase> {
    let case = |input, output, quantization: Option<(i32, i32)>, bias, dtype| CheckCase {
        batch: 2,
        length: 5,
        input,
        output,
        rank: 8,
        scale: 10.0,
        quantization: quantization.map(|(group_size, bits)| Quantization { group_size, bits }),
        bias,
        dtype,
        adapter: AdapterKind::Lora,
        siblings: Vec::new(),
    };
    vec![
        case(128, 64, Some((64, 4)), false, Dtype::Float32),
        case(64, 192, Some((32, 4)), true, Dtype::Float32),
        case(128, 96, Some((32, 8)), true, Dtype::Float32),
        case(256, 64, Some((64, 8)), false, Dtype::Float32),
        case(96, 160, None, true, Dtype::Float32),
        case(96, 32, None, false, Dtype::Bfloat16),
        case(256, 128, Some((64, 4)), true, Dtype::Float16),
        case(512, 128, Some((64, 4)), true, Dtype::Bfloat16),
        case(128, 128, Some((32, 8)), false, Dtype::Bfloat16),
    ]
}

/// A trial that takes a moment.
pub(crate) fn trial(plugin: Option<Plugin>, data: &Path) -> TrialRequest {
    TrialRequest {
        plugin,
        model: Model::Synthetic(SyntheticModel {
            seed: 0,
            hidden_size: 64,
            intermediate_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            quantization: Quantization { group_size: 32, bits: 4 },
            tie_word_embeddings: true,
            dtype: Dtype::Float32,
        }),
        training: Training {
            fine_tune_type: AdapterKind::Lora,
            num_layers: 2,
            rank: 4,
            scale: 10.0,
            learning_rate: 1e-3,
            optimizer: Optimizer::Adam,
            batch_size: 2,
            sequence_length: 32,
            iterations: 3,
            warmup_iterations: 1,
            validation_batches: 1,
            compile: false,
            data: data.to_owned(),
        },
        warm_up_seed: 7,
        lock: true,
        hand_over: false,
    }
}

/// A folder with the training texts of the flagship problem and nothing else.
pub(crate) fn training_texts() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines = trainer::data::training_lines(&all_texts()).unwrap();
    fs::write(folder.path().join(trainer::data::TRAIN), lines).unwrap();
    folder
}

/// All texts of the flagship problem.
pub(crate) fn all_texts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../problems/quantized-lora/data/instructions.jsonl")
}

/// The words of a failure that is the kernel's.
pub(crate) fn failure_of(reply: Reply) -> String {
    match reply {
        Reply::Failed(Failure { blame: Blame::Kernel, message }) => message,
        other => panic!("{other:?}"),
    }
}

/// A trial's report and the adapters it handed over, as bytes.
pub(crate) fn train(plugin: Option<Plugin>, seed: u64) -> (TrialReport, Vec<u8>) {
    let texts = training_texts();
    let mut runner = Runner::start(&Request::Trial(trial(plugin, texts.path())));
    assert_eq!(runner.reply(), Some(Reply::Ready));
    runner.go(seed);
    let adapters = match runner.reply() {
        Some(Reply::Trained { bytes }) => runner.raw(bytes),
        other => panic!("{other:?}"),
    };
    match runner.reply() {
        Some(Reply::Trial(report)) => (report, adapters),
        other => panic!("{other:?}"),
    }
}
