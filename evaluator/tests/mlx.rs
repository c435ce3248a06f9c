//! Kernel problems with the real compiler, the real trial runner and MLX. `make mlx` sets them up; without it these
//! tests say so and pass, since `evolve` has to build where MLX can't be had.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use evaluator::order::Tier;
use evaluator::{EvaluationReport, Evaluator, Job, LoadedProblem, Purpose};
use search::{Outcome, Stage, Verdict};
use support::{harness, options};
use tempfile::TempDir;

const INITIAL: &str = include_str!("data/initial.rs");
const UNPACKED: &str = "x.matmul(&self.weight.dequantize()?.t()?)?";

fn problem(data: &Path) -> String {
    format!(
        "
kind: kernel
name: test
initial_program: initial.rs
objectives:
  - {{metric: tokens_per_second, weight: 0.6}}
  - {{metric: peak_memory_bytes, weight: 0.4}}
model:
  synthetic:
    {{seed: 1, hidden_size: 128, intermediate_size: 512, num_hidden_layers: 2, num_attention_heads: 4,
     num_key_value_heads: 2, quantization: {{group_size: 64, bits: 4}}}}
training:
  {{num_layers: 2, rank: 8, scale: 10.0, learning_rate: 0.0001, optimizer: adam, batch_size: 2, sequence_length: 64,
   iterations: 2, warmup_iterations: 1, validation_batches: 1, data: {}}}
limits: {{check_seconds: 10, trial_seconds: 60}}
constraints: {{loss: 0.1}}
protocol: {{fixed: {{trials: 3}}}}
",
        data.display()
    )
}

async fn evaluator() -> Option<(TempDir, Evaluator)> {
    let harness = harness()?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let data = manifest.parent().unwrap().join("problems/quantized-lora/data/instructions.jsonl");
    fs::write(folder.path().join("initial.rs"), INITIAL).unwrap();
    fs::write(folder.path().join("problem.yaml"), problem(&data)).unwrap();
    let mut options = options(folder.path(), LoadedProblem::load(folder.path()).unwrap());
    options.harness = Some(harness);
    Some((folder, Evaluator::spawn(options).await.unwrap()))
}

async fn report(evaluator: &Evaluator, program: String) -> EvaluationReport {
    let job = Job { id: 1, program, kernel: "0123abcd".to_owned(), purpose: Purpose::Search };
    evaluator.evaluate(job).await.unwrap()
}

/// The outcome of a single trial with all fences.
async fn screened(evaluator: &Evaluator, program: String) -> Outcome {
    let job = Job { id: 1, program, kernel: "0123abcd".to_owned(), purpose: Purpose::Screen };
    evaluator.evaluate(job).await.unwrap().outcome
}

async fn rejected(evaluator: &Evaluator, program: String) -> String {
    match screened(evaluator, program).await {
        Outcome::Rejected { reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_baseline_fine_tunes_and_scores_one() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let report = report(&evaluator, INITIAL.to_owned()).await;
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    assert!((measured.score.get() - 1.0).abs() < f64::EPSILON);
    assert_eq!(report.trials.len(), 3);
    for trial in &report.trials {
        assert!(trial.kernel_layers.unwrap() > 0 && trial.tokens_per_second.unwrap() > 0.0, "{trial:?}");
        let outside = trial.metrics["outside_peak_bytes"];
        assert!(outside > trial.peak_memory_bytes.unwrap() as f64, "{trial:?}");
        assert!(trial.process_peak_bytes.unwrap() as f64 >= 0.9 * outside, "{trial:?}");
        // The baseline is as far from the reference as rounding is, and nobody beats physics.
        assert!(trial.metrics["deviation"] < trial.metrics["deviation_limit"], "{trial:?}");
        assert!(trial.metrics["floor_seconds"] < trial.wall_seconds.unwrap(), "{trial:?}");
    }
    let seeds: BTreeSet<u64> = report.trials.iter().map(|trial| trial.seed).collect();
    assert_eq!(seeds.len(), 3);
    assert_ne!(report.measured_by.sandbox, Tier::None, "tests run in the sandbox");
    assert!(report.measured_by.mlx.is_some() && report.measured_by.backend.is_some());
}

#[tokio::test]
async fn a_kernel_that_does_not_unpack_the_weight_needs_less_memory() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let report = report(&evaluator, INITIAL.replace(UNPACKED, "self.weight.matmul(x)?")).await;
    let measured = report.outcome.measured().unwrap_or_else(|| panic!("{}", report.outcome));
    let memory = measured.effects.iter().find(|effect| effect.metric == "peak_memory_bytes").unwrap();
    assert!(memory.change > 0.0 && memory.significant, "{memory:?}");
    assert_ne!(measured.verdict, Verdict::Inconclusive);
    assert!(report.trials[3..].iter().all(|trial| trial.kernel.as_deref() == Some("0123abcd")));
}

#[tokio::test]
async fn wrong_crashing_and_hanging_kernels_are_told_apart() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let outcome = async |find: &str, replace: &str| {
        assert!(INITIAL.contains(find));
        report(&evaluator, INITIAL.replace(find, replace)).await.outcome
    };
    let wrong = outcome("Array::scalar(self.scale,", "Array::scalar(1.0,").await;
    assert!(matches!(&wrong, Outcome::WrongResult { message } if message.contains("off by")), "{wrong:?}");
    let panic = outcome(UNPACKED, "{ assert!(x.ndim() > 9, \"what now\"); x.clone() }").await;
    assert!(
        matches!(&panic, Outcome::Crash { stage: Stage::Check, message } if message.contains("what now")),
        "{panic:?}"
    );
    let shape = outcome(UNPACKED, "x.matmul(&self.weight.dequantize()?)?").await;
    assert!(matches!(&shape, Outcome::Crash { .. } | Outcome::WrongResult { .. }), "{shape:?}");
    let abort = outcome(
        UNPACKED,
        "{ fn down(n: u64) -> u64 { if n == 0 { 0 } else { std::hint::black_box(down(n + 1)) + 1 } } \
         if down(1) == 7 { return Ok(x.clone()); } x.clone() }",
    )
    .await;
    assert!(
        matches!(&abort, Outcome::Crash { stage: Stage::Check, message } if message.contains("SIG")),
        "{abort:?}"
    );
    let hang = outcome(UNPACKED, "{ while x.ndim() < 9 {} x.clone() }").await;
    assert_eq!(hang, Outcome::Timeout { stage: Stage::Check, limit_seconds: 10.0 });
}

#[tokio::test]
async fn the_compilers_errors_name_the_candidate_and_its_line() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let outcome = report(&evaluator, INITIAL.replace("self.weight.dequantize()?", "self.weight.unpack()?"))
        .await
        .outcome;
    let Outcome::Compile { message } = outcome else { panic!("{outcome}") };
    assert!(message.contains("unpack") && message.contains("--> candidate.rs:14:"), "{message}");
    assert!(!message.contains(&*std::env::temp_dir().to_string_lossy()), "{message}");
}

#[tokio::test]
async fn an_honest_kernel_passes_the_screening() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let outcome = screened(&evaluator, INITIAL.replace(UNPACKED, "self.weight.matmul(x)?")).await;
    let measured = outcome.measured().unwrap_or_else(|| panic!("{outcome}"));
    assert!(measured.reason.starts_with("screened: "), "{}", measured.reason);
    assert!(measured.metrics["tokens_per_second"] > 0.0 && measured.metrics["outside_peak_bytes"] > 0.0);
}

/// In a check `lora_b` has values of some size; a trial begins with zeros.
#[tokio::test]
async fn a_kernel_that_is_right_in_checks_and_idle_in_trials_is_caught_by_the_judge() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let find = "let scale = Array::scalar(self.scale, update.dtype())?;";
    assert!(INITIAL.contains(find));
    let idle = "let small = Array::scalar(1e-7, update.dtype())?;\n        \
                let awake = adapter.lora_b.abs()?.max(&[0, 1], true)?.greater(&small)?.astype(update.dtype())?;\n        \
                let update = update.multiply(&awake)?;\n        ";
    let reason = rejected(&evaluator, INITIAL.replace(find, &format!("{idle}{find}"))).await;
    assert!(reason.starts_with("judge: ") && reason.contains("lora_"), "{reason}");
}

#[tokio::test]
async fn memory_beside_the_allocator_is_found_from_outside() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    let hoard = INITIAL
        .replace("    scale: f32,\n}", "    scale: f32,\n    hoard: Vec<u8>,\n}")
        .replace("scale: layer.scale }", "scale: layer.scale, hoard: vec![1; 4 << 20] }")
        .replace(
            "let mut y = ",
            "assert!(self.hoard.iter().step_by(4096).all(|byte| *byte == 1));\n        let mut y = ",
        );
    assert_eq!(hoard.matches("hoard").count(), 3);
    let reason = rejected(&evaluator, hoard).await;
    assert!(reason.starts_with("memory: "), "{reason}");
}

/// Screening compares with a trial of the baseline, so this goes wrong if memory is noisier than what is allowed.
#[tokio::test]
async fn the_baseline_itself_passes_the_screening_again_and_again() {
    let Some((_folder, evaluator)) = evaluator().await else { return };
    for _ in 0..5 {
        let outcome = screened(&evaluator, INITIAL.to_owned()).await;
        assert!(outcome.measured().is_some(), "{outcome}");
    }
}
