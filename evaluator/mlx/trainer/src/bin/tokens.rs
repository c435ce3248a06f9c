//! Tokens per second of this trainer, to be set against MLX-LM's on the same model and batches
//! (`bench/mlx_lm_tokens.py` drives both).
//!
//! `tokens make DIR [HIDDEN [INNER [LAYERS]]]` writes a synthetic model in MLX-LM's format, `batches.safetensors` and
//! `training.json`; `tokens run DIR [--compiled]` trains on them and prints one JSON object.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use mlx_rs::Array;
use mlx_rs::memory::{peak_memory, reset_peak_memory};
use mlx_rs::random::{RandomState, randint};
use serde::{Deserialize, Serialize};
use trainer::linear::KernelLog;
use trainer::lora::{Lora, attach, initial_adapters};
use trainer::model::read_model;
use trainer::parity::read_batches;
use trainer::step::{Execution, State, Step};
use trainer::synthetic::write_synthetic;
use trainer::{Error, Result};
use trial_protocol::{AdapterKind, Dtype, Optimizer, Quantization, SyntheticModel};

const USAGE: &str = "tokens make DIR [HIDDEN [INNER [LAYERS]]] | tokens run DIR [--compiled]";

/// `training.json`: read by this program and by MLX-LM's side.
#[derive(Serialize, Deserialize)]
struct Settings {
    #[serde(default)]
    fine_tune_type: AdapterKind,
    num_layers: i32,
    rank: i32,
    scale: f32,
    learning_rate: f32,
    seed: u64,
    /// Steps that aren't counted.
    warmup: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["make", folder, sizes @ ..] => {
            let sizes: Vec<i32> = sizes.iter().filter_map(|size| size.parse().ok()).collect();
            let size = |index: usize, default| sizes.get(index).copied().unwrap_or(default);
            make(Path::new(folder), size(0, 256), size(1, 1024), size(2, 2))
        }
        ["run", folder] => run(Path::new(folder), Execution::Direct),
        ["run", folder, "--compiled"] => run(Path::new(folder), Execution::Compiled),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(folder: &Path, hidden: i32, inner: i32, layers: i32) -> Result<()> {
    const STEPS: i32 = 24;
    const BATCH: i32 = 2;
    const LENGTH: i32 = 33;
    let spec = SyntheticModel {
        seed: 1,
        hidden_size: hidden,
        intermediate_size: inner,
        num_hidden_layers: layers,
        num_attention_heads: hidden / 64,
        num_key_value_heads: (hidden / 128).max(1),
        quantization: Quantization { group_size: 64, bits: 4 },
        tie_word_embeddings: true,
        dtype: Dtype::Float32,
    };
    write_synthetic(&spec, folder)?;
    let key = RandomState::with_seed(7)?.next_key()?;
    let tokens = randint::<_, i32>(1, 256, &[STEPS, BATCH, LENGTH], &key)?;
    let lengths = Array::from_slice(&[0, LENGTH].repeat((STEPS * BATCH) as usize), &[STEPS, BATCH, 2]);
    let settings = Settings {
        fine_tune_type: AdapterKind::Lora,
        num_layers: layers,
        rank: 8,
        scale: 16.0,
        learning_rate: 1e-5,
        seed: 42,
        warmup: 4,
    };
    let problem =
        |error: String| Error::Model { path: folder.to_owned(), problem: format!("can't write: {error}") };
    Array::save_safetensors(
        [("tokens", &tokens), ("lengths", &lengths)],
        None,
        folder.join("batches.safetensors"),
    )
    .map_err(|error| problem(error.to_string()))?;
    let text = serde_json::to_string_pretty(&settings).map_err(|error| problem(error.to_string()))?;
    std::fs::write(folder.join("training.json"), text + "\n").map_err(|error| problem(error.to_string()))
}

fn run(folder: &Path, execution: Execution) -> Result<()> {
    let file = folder.join("training.json");
    let unusable = |error: String| Error::Model { path: file.clone(), problem: error };
    let text = std::fs::read_to_string(&file)
        .map_err(|error| unusable(format!("can't read ({error}); make it with `tokens make DIR`")))?;
    let settings: Settings = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let batches = read_batches(folder)?;
    let mut model = read_model(folder)?;
    let Settings { num_layers, rank, scale, fine_tune_type: kind, .. } = settings;
    let lora = Lora { num_layers, rank, scale, kind };
    let slots = attach(&mut model, lora, None)?;
    let mut state = State::new(initial_adapters(&slots, settings.rank, settings.seed)?)?;
    let log = Rc::new(KernelLog::default());
    let count = state.adapters.len();
    let mut step = Step::new(Rc::new(model), log, count, Optimizer::Adam, settings.learning_rate, execution);

    let (warm_up, measured) = batches.split_at(settings.warmup.min(batches.len() - 1));
    for batch in warm_up {
        step.train(&mut state, batch)?;
    }
    reset_peak_memory()?;
    let (mut tokens, mut last) = (0, 0.0);
    let start = Instant::now();
    for batch in measured {
        let loss = step.train(&mut state, batch)?;
        tokens += loss.tokens;
        last = loss.mean;
    }
    let seconds = start.elapsed().as_secs_f64();
    let report = serde_json::json!({
        "trainer": "evolve",
        "tokens_per_second": tokens as f64 / seconds,
        "tokens": tokens,
        "seconds": seconds,
        "last_loss": last,
        "peak_memory_bytes": peak_memory()?,
    });
    println!("{report}");
    Ok(())
}
