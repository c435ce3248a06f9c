//! Whole trials, honest and not, and what the grader makes of their adapters.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, also their helpers")]

use std::cell::Cell;
use std::path::{Path, PathBuf};

use grader::host;
use grader::trial::Judge;
use kernel_api::{Adapter, Array, Kernel, Layer, MlxLmLora, Result};
use kernels::{By, HONEST, NARROW, dora};
use trainer::data::Dataset;
use trainer::{BuildKernel, Trainer};
use trial_protocol::{AdapterKind, Dtype, Model, Optimizer, Quantization, SyntheticModel, Training};

mod kernels;

fn model(hidden: i32, dtype: Dtype) -> Model {
    Model::Synthetic(SyntheticModel {
        seed: 1,
        hidden_size: hidden,
        intermediate_size: hidden * 2,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        quantization: Quantization { group_size: 32, bits: 4 },
        tie_word_embeddings: true,
        dtype,
    })
}

fn training(learning_rate: f32, iterations: u32) -> Training {
    Training {
        fine_tune_type: AdapterKind::Lora,
        num_layers: 2,
        rank: 8,
        scale: 16.0,
        learning_rate,
        optimizer: Optimizer::Adam,
        batch_size: 1,
        sequence_length: 25,
        iterations,
        warmup_iterations: 1,
        validation_batches: 2,
        compile: false,
        data: data(),
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../problems/quantized-lora/data/instructions.jsonl")
}

/// A trial's adapters as bytes.
fn adapters(
    model: &Model,
    training: &Training,
    build: Option<BuildKernel>,
    seed: u64,
    steps: u32,
) -> Vec<u8> {
    let data = Dataset::read(&training.data).unwrap();
    let mut trainer = Trainer::load(model, training, &data, build).unwrap();
    let start = trainer.begin(seed, steps).unwrap();
    let run = trainer.run(start).unwrap();
    run.adapters.iter().flat_map(|array| host::bytes(array).unwrap()).collect()
}

/// Right but in one step of ten.
struct Sometimes {
    right: MlxLmLora,
    wrong: fn(&MlxLmLora, &Array, &Adapter) -> Result<Array>,
    calls: Cell<u32>,
    every: u32,
}

impl Kernel for Sometimes {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let call = self.calls.replace(self.calls.get() + 1);
        if call % self.every == self.every / 2 {
            (self.wrong)(&self.right, x, adapter)
        } else {
            self.right.forward(x, adapter)
        }
    }
}

fn sometimes(
    layer: &Layer,
    every: u32,
    wrong: fn(&MlxLmLora, &Array, &Adapter) -> Result<Array>,
) -> Box<dyn Kernel> {
    Box::new(Sometimes { right: MlxLmLora::new(layer), wrong, calls: Cell::new(0), every })
}

fn without_adapter(right: &MlxLmLora, x: &Array, adapter: &Adapter) -> Result<Array> {
    let lora_b = &adapter.lora_b * 0.0;
    right.forward(x, &Adapter { lora_b, ..adapter.clone() })
}

fn without_gradient(right: &MlxLmLora, x: &Array, adapter: &Adapter) -> Result<Array> {
    let (lora_a, lora_b) = (adapter.lora_a.stop_gradient()?, adapter.lora_b.stop_gradient()?);
    right.forward(x, &Adapter { lora_a, lora_b, ..adapter.clone() })
}

fn without_x_gradient(right: &MlxLmLora, x: &Array, adapter: &Adapter) -> Result<Array> {
    right.forward(&x.stop_gradient()?, adapter)
}

const CHEATS: &[(&str, BuildKernel)] = &[
    ("no adapter in one of ten", |layer| Ok(sometimes(layer, 10, without_adapter))),
    ("no adapter gradient in one of ten", |layer| Ok(sometimes(layer, 10, without_gradient))),
    ("no x gradient in one of ten", |layer| Ok(sometimes(layer, 10, without_x_gradient))),
    ("no adapter", |layer| Ok(sometimes(layer, 1, without_adapter))),
    ("no adapter gradient", |layer| Ok(sometimes(layer, 1, without_gradient))),
    ("no x gradient", |layer| Ok(sometimes(layer, 1, without_x_gradient))),
];

macro_rules! by {
    ($list:expr, $index:expr) => {
        |layer| Ok(Box::new(By(layer.clone(), $list[$index].1)))
    };
}

/// Some of [`HONEST`], by place.
const KERNELS: [(&str, BuildKernel); 6] = [
    (HONEST[0].0, by!(HONEST, 0)),
    (HONEST[1].0, by!(HONEST, 1)),
    (HONEST[3].0, by!(HONEST, 3)),
    (HONEST[5].0, by!(HONEST, 5)),
    (HONEST[6].0, by!(HONEST, 6)),
    (HONEST[14].0, by!(HONEST, 14)),
];

/// Tries honest and dishonest kernels on a model of this type.
fn judged(dtype: Dtype) {
    let (model, training) = (model(64, dtype), training(3e-6, 10));
    let mut judge = Judge::new(&model, &training).unwrap();
    let tolerance = judge.tolerance(10).unwrap();
    assert!(tolerance < 0.1, "{tolerance}");
    let mut grade = |build, seed, steps| {
        let grade = judge.grade(seed, 10, &adapters(&model, &training, build, seed, steps)).unwrap();
        (grade.deviation <= grade.tolerance, format!("{grade:?}"))
    };
    for (name, build) in KERNELS {
        let (passed, grade) = grade(Some(build), 1, 10);
        assert!(passed, "{dtype:?} {name}: {grade}");
    }
    if dtype != Dtype::Float32 {
        let (passed, grade) = grade(Some(by!(NARROW, 0)), 1, 10);
        assert!(passed, "{dtype:?} {}: {grade}", NARROW[0].0);
    }
    for (name, build) in CHEATS {
        let (passed, grade) = grade(Some(*build), 1, 10);
        assert!(!passed, "{dtype:?} {name}: {grade}");
    }
    assert!(grade(None, 2, 10).0, "MLX-LM's own layer");
    for (name, build) in KERNELS {
        let bytes = adapters(&model, &training, Some(build), 3, 1);
        let grade = judge.grade(3, 1, &bytes).unwrap();
        assert!(grade.deviation <= grade.tolerance, "{dtype:?} {name}, one step: {grade:?}");
    }
    let mut grade = |build, seed, steps| {
        let grade = judge.grade(seed, 10, &adapters(&model, &training, build, seed, steps)).unwrap();
        (grade.deviation <= grade.tolerance, format!("{grade:?}"))
    };
    for steps in [0, 5, 9] {
        let (passed, grade) = grade(None, 2, steps);
        assert!(!passed, "{dtype:?}, {steps} steps of 10: {grade}");
    }
}

#[test]
fn in_float32_honest_trials_pass_and_cheats_do_not() {
    judged(Dtype::Float32);
}

#[test]
fn in_float16_honest_trials_pass_and_cheats_do_not() {
    judged(Dtype::Float16);
}

#[test]
fn in_bfloat16_honest_trials_pass_and_cheats_do_not() {
    judged(Dtype::Bfloat16);
}

/// The same for DoRA: two kernels that leave the weight packed and one that doesn't, and three cheats.
fn judged_dora(dtype: Dtype) {
    let (model, training) = (model(64, dtype), training(3e-6, 10));
    let training = Training { fine_tune_type: AdapterKind::Dora, ..training };
    let mut judge = Judge::new(&model, &training).unwrap();
    let mut grade = |build| {
        let grade = judge.grade(1, 10, &adapters(&model, &training, build, 1, 10)).unwrap();
        (grade.deviation <= grade.tolerance, format!("{grade:?}"))
    };
    let honest: [(&str, BuildKernel); 3] = [
        (dora::HONEST[1].0, by!(dora::HONEST, 1)),
        (dora::HONEST[3].0, by!(dora::HONEST, 3)),
        (dora::HONEST[6].0, by!(dora::HONEST, 6)),
    ];
    for (name, build) in honest {
        let (passed, grade) = grade(Some(build));
        assert!(passed, "{dtype:?} {name}: {grade}");
    }
    let cheats: [(&str, BuildKernel); 3] = [
        (dora::WRONG[1].0, by!(dora::WRONG, 1)),
        (dora::WRONG[4].0, by!(dora::WRONG, 4)),
        (dora::WRONG[6].0, by!(dora::WRONG, 6)),
    ];
    for (name, build) in cheats {
        let (passed, grade) = grade(Some(build));
        assert!(!passed, "{dtype:?} {name}: {grade}");
    }
    assert!(grade(None).0, "MLX-LM's own layer");
}

#[test]
fn in_float32_honest_dora_trials_pass_and_cheats_do_not() {
    judged_dora(Dtype::Float32);
}

#[test]
fn in_bfloat16_honest_dora_trials_pass_and_cheats_do_not() {
    judged_dora(Dtype::Bfloat16);
}

#[test]
fn the_validation_loss_is_mlx_lms_with_those_adapters() {
    let (model, training) = (model(64, Dtype::Float32), training(1e-3, 20));
    let data = Dataset::read(&training.data).unwrap();
    let mut trainer = Trainer::load(&model, &training, &data, None).unwrap();
    let start = trainer.begin(5, 20).unwrap();
    let untrained = trainer.validation_loss(start.adapters()).unwrap();
    let run = trainer.run(start).unwrap();
    let expected = trainer.validation_loss(&run.adapters).unwrap();
    let bytes: Vec<u8> = run.adapters.iter().flat_map(|array| host::bytes(array).unwrap()).collect();

    let mut judge = Judge::new(&model, &training).unwrap();
    let grade = judge.grade(5, 20, &bytes).unwrap();
    assert_eq!((grade.validation_loss, grade.tokens), (expected, run.tokens));
    assert_eq!((grade.deviation, Some(&grade.train_loss)), (0.0, run.losses.last()));
    assert!(expected < untrained && grade.floor_seconds < run.seconds, "{grade:?}");
    // Whatever else is asked, the answer stays.
    judge.grade(6, 3, &bytes).unwrap();
    assert_eq!(judge.grade(5, 20, &bytes).unwrap(), grade);
}

#[test]
fn adapters_that_are_no_numbers_are_judged_all_the_same() {
    let (model, training) = (model(64, Dtype::Float32), training(1e-4, 2));
    let mut judge = Judge::new(&model, &training).unwrap();
    let length = judge.adapter_bytes(AdapterKind::Lora) as usize;
    let grade = judge.grade(1, 2, &vec![0xff; length]).unwrap();
    assert!(grade.deviation.is_nan() && grade.validation_loss.is_nan() && grade.tokens > 0, "{grade:?}");
    let mut infinite = adapters(&model, &training, None, 1, 2);
    infinite[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let grade = judge.grade(1, 2, &infinite).unwrap();
    assert!(!grade.deviation.is_finite() && grade.validation_loss.is_nan(), "{grade:?}");
    // Finite, but nothing that anyone could compute with.
    let huge: Vec<u8> = f32::MAX.to_le_bytes().into_iter().cycle().take(length).collect();
    let grade = judge.grade(1, 2, &huge).unwrap();
    assert!(grade.deviation > grade.tolerance, "{grade:?}");
    assert!(judge.grade(1, 2, &huge[..length - 4]).is_err());
}

#[test]
#[ignore = "prints what the tolerance was chosen by"]
fn measure() {
    for dtype in [Dtype::Float32, Dtype::Float16, Dtype::Bfloat16] {
        for rate in [3e-6, 1e-4, 1e-3] {
            let (model, training) = (model(128, dtype), training(rate, 10));
            let mut judge = Judge::new(&model, &training).unwrap();
            println!("== {dtype:?}, learning rate {rate}: allowed {:.4}", judge.tolerance(10).unwrap());
            for (kind, list) in [("honest", &KERNELS[..]), ("cheat", CHEATS)] {
                for (name, build) in list {
                    let mut deviation = |seed| {
                        let bytes = adapters(&model, &training, Some(*build), seed, 10);
                        judge.grade(seed, 10, &bytes).unwrap().deviation
                    };
                    println!("{kind:7} {name:34} {:.4?}", [deviation(1), deviation(2)]);
                }
            }
        }
    }
}
