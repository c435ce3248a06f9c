//! Whole runs on the synthetic model.
#![allow(clippy::unwrap_used, reason = "tests, also their helpers")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kernel_api::{Adapter, Array, Error as KernelError, Kernel, Layer, MlxLmLora, Weight, gpu};
use trainer::data::{Dataset, TRAIN, training_lines};
use trainer::synthetic::write_synthetic;
use trainer::{Error, Run, Trainer};
use trial_protocol::{
    AdapterKind, Dtype, Model, Optimizer, Quantization, RealModel, RealShapes, SyntheticModel, Training,
};

fn spec() -> SyntheticModel {
    SyntheticModel {
        seed: 3,
        hidden_size: 64,
        intermediate_size: 128,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        quantization: Quantization { group_size: 32, bits: 4 },
        tie_word_embeddings: true,
        dtype: Dtype::Float32,
    }
}

fn training() -> Training {
    Training {
        fine_tune_type: AdapterKind::Lora,
        num_layers: 1,
        rank: 4,
        scale: 16.0,
        learning_rate: 1e-4,
        optimizer: Optimizer::Adam,
        batch_size: 2,
        sequence_length: 33,
        iterations: 6,
        warmup_iterations: 2,
        validation_batches: 2,
        compile: false,
        data: data(),
    }
}

/// The instruction set that comes with the default problem.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../problems/quantized-lora/data/instructions.jsonl")
}

fn load(training: &Training, build: Option<trainer::BuildKernel>) -> trainer::Result<Trainer> {
    Trainer::load(&Model::Synthetic(spec()), training, &Dataset::read(&training.data)?, build)
}

fn run(trainer: &mut Trainer, seed: u64) -> trainer::Result<Run> {
    let start = trainer.begin(seed, 6)?;
    trainer.run(start)
}

fn train(seed: u64, build: Option<trainer::BuildKernel>, warm_up: bool) -> (Vec<f64>, f64) {
    let mut trainer = load(&training(), build).unwrap();
    if warm_up {
        trainer.warm_up(seed + 1).unwrap();
    }
    let run = run(&mut trainer, seed).unwrap();
    assert_eq!(run.tokens, 6 * 2 * 32);
    (run.losses, trainer.validation_loss(&run.adapters).unwrap())
}

#[test]
fn the_same_seed_gives_the_same_run_bit_for_bit_and_another_seed_another() {
    let first = train(42, None, true);
    assert_eq!(first, train(42, None, true));
    assert_ne!(first.0, train(43, None, true).0);
}

#[test]
fn a_warm_up_leaves_no_trace() {
    assert_eq!(train(42, None, true), train(42, None, false));
}

#[test]
fn texts_that_come_without_the_held_out_ones_give_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let lines = training_lines(&data()).unwrap();
    std::fs::write(folder.path().join(TRAIN), &lines).unwrap();
    let data = Dataset::read_training(folder.path()).unwrap();
    assert!(data.validation.is_empty());
    let mut trainer = Trainer::load(&Model::Synthetic(spec()), &training(), &data, None).unwrap();
    assert_eq!(run(&mut trainer, 42).unwrap().losses, train(42, None, false).0);
    let all = std::fs::read_to_string(self::data()).unwrap();
    for (index, line) in all.lines().enumerate() {
        assert_eq!(lines.lines().any(|kept| kept == line), index % 8 != 7, "line {}", index + 1);
    }
}

#[test]
fn one_trainer_makes_many_runs() {
    let mut trainer = load(&training(), None).unwrap();
    let losses: Vec<_> = [42, 43, 42].map(|seed| run(&mut trainer, seed).unwrap().losses).into();
    assert_eq!(losses[0], losses[2]);
    assert_eq!(losses[1], train(43, None, false).0);
}

#[test]
fn training_lowers_the_loss_on_held_out_text() {
    let mut longer = training();
    (longer.iterations, longer.learning_rate) = (30, 1e-3);
    let mut trainer = load(&longer, None).unwrap();
    let start = trainer.begin(1, 30).unwrap();
    let before = trainer.validation_loss(start.adapters()).unwrap();
    let run = trainer.run(start).unwrap();
    let after = trainer.validation_loss(&run.adapters).unwrap();
    assert!(after < 0.9 * before, "{before} to {after}");
}

#[test]
fn a_plugged_in_kernel_runs_every_adapted_layer_and_only_those() {
    struct Dequantizing(Layer);
    impl Kernel for Dequantizing {
        fn forward(&self, x: &Array, adapter: &Adapter) -> kernel_api::Result<Array> {
            let Weight::Quantized(weight) = &self.0.weight else {
                return Err(KernelError::new("not quantized"));
            };
            let mut y = x.matmul(&weight.dequantize()?.t()?)?;
            if let Some(bias) = &self.0.bias {
                y = y.add(bias)?;
            }
            y.add(&(self.0.scale * x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?))
        }
    }
    let build: trainer::BuildKernel = |layer| Ok(Box::new(Dequantizing(layer.clone())));
    let mut trainer = load(&training(), Some(build)).unwrap();
    assert_eq!((trainer.kernel_layers(), trainer.quantized_layers()), (7, 15));
    assert_eq!(trainer.kernel_calls(), 0);
    let run = run(&mut trainer, 42).unwrap();
    assert_eq!(trainer.kernel_calls(), 7 * 6);
    let (reference, _) = train(42, None, false);
    for (ours, theirs) in run.losses.iter().zip(reference) {
        assert!((ours - theirs).abs() < 1e-4 * theirs, "{ours} and {theirs}");
    }
}

#[test]
fn a_compiled_step_calls_the_kernels_when_it_is_traced_and_trains_the_same() {
    let build: trainer::BuildKernel = |layer| Ok(Box::new(MlxLmLora::new(layer)));
    let compiled = Training { compile: true, ..training() };
    let (mut compiled, mut direct) =
        (load(&compiled, Some(build)).unwrap(), load(&training(), Some(build)).unwrap());
    let losses = [&mut compiled, &mut direct].map(|trainer| run(trainer, 42).unwrap().losses);
    for (ours, theirs) in losses[0].iter().zip(&losses[1]) {
        assert!((ours - theirs).abs() < 1e-4 * theirs, "{ours} and {theirs}");
    }
    assert_eq!(direct.kernel_calls(), 7 * 6);
    // On a CPU MLX needs `g++` to compile a step, and without it doesn't.
    let has_compiler = Command::new("g++")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if has_compiler || gpu::backend() != gpu::Backend::Cpu {
        // Once for each shape that the batches of these texts have.
        assert!(compiled.kernel_calls() % 7 == 0, "{}", compiled.kernel_calls());
        assert!(compiled.kernel_calls() < direct.kernel_calls(), "{}", compiled.kernel_calls());
    }
}

#[test]
fn a_kernel_that_fails_or_gives_another_shape_is_blamed_with_its_layer() {
    struct Wrong(MlxLmLora);
    impl Kernel for Wrong {
        fn forward(&self, x: &Array, adapter: &Adapter) -> kernel_api::Result<Array> {
            self.0.forward(x, adapter)?.sum(&[0], false)
        }
    }
    struct Failing;
    impl Kernel for Failing {
        fn forward(&self, _: &Array, _: &Adapter) -> kernel_api::Result<Array> {
            Err(KernelError::new("out of ideas"))
        }
    }
    let builds: [(trainer::BuildKernel, &str); 3] = [
        (|layer| Ok(Box::new(Wrong(MlxLmLora::new(layer)))), "shape"),
        (|_| Ok(Box::new(Failing)), "out of ideas"),
        (|_| Err(KernelError::new("not this layer")), "not this layer"),
    ];
    for (build, words) in builds {
        let result = load(&training(), Some(build)).and_then(|mut trainer| run(&mut trainer, 42));
        let Err(error) = result else { panic!("it ran") };
        assert!(error.blames_kernel(), "{error}");
        assert!(
            error.to_string().contains(words) && error.to_string().contains("model.layers.1."),
            "{error}"
        );
    }
}

#[test]
fn settings_and_data_that_do_not_fit_are_named() {
    let refused = |change: &dyn Fn(&mut Training), words: &str| {
        let mut training = training();
        change(&mut training);
        let Err(error) = load(&training, None) else { panic!("{words}: loaded") };
        assert!(!error.blames_kernel());
        assert!(error.to_string().contains(words), "no `{words}` in: {error}");
    };
    refused(&|training| training.num_layers = 3, "`num_layers`");
    refused(&|training| training.rank = 0, "`rank`");
    refused(&|training| training.learning_rate = f32::NAN, "`learning_rate`");
    refused(&|training| training.batch_size = 40, "fewer than batch_size 40");
    refused(&|training| training.sequence_length = 1, "`sequence_length`");
    refused(&|training| training.iterations = 0, "`iterations`");
    refused(&|training| training.data = "/no/such.jsonl".into(), "/no/such.jsonl");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"text\": \"fine\"}\n{\"txt\": \"not\"}\n").unwrap();
    refused(&|training| training.data = file.path().to_owned(), "line 2");
}

#[test]
fn the_synthetic_model_is_the_same_when_written_and_read_by_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_synthetic(&spec(), folder.path()).unwrap();
    write_synthetic(&spec(), &folder.path().join("again")).unwrap();
    let bytes = |path: &Path| mlx_rs::Array::load_safetensors(path.join("model.safetensors")).unwrap();
    let (first, again) = (bytes(folder.path()), bytes(&folder.path().join("again")));
    assert_eq!(first.len(), again.len());
    for (name, array) in first {
        assert!(array.eq_values(&again[&name]).unwrap(), "{name}");
    }
    // A folder needs a tokenizer for text; the message says so.
    let data = Dataset::read(&training().data).unwrap();
    let Err(error) = Trainer::load(&Model::Folder(folder.path().to_owned()), &training(), &data, None) else {
        panic!("loaded without a tokenizer")
    };
    assert!(matches!(error, Error::Model { .. }) && error.to_string().contains("tokenizer.json"), "{error}");
    assert_eq!(
        trainer::model::read_model(folder.path()).ok().map(|model| model.quantized_layers()),
        Some(15)
    );
}

#[test]
fn a_model_with_real_shapes_is_as_large_as_the_real_one_and_its_weights_have_the_same_spread() {
    let shapes = RealShapes {
        of: RealModel::Qwen2_5Small,
        dtype: Dtype::Float32,
        seed: 1,
        quantization: Quantization { group_size: 64, bits: 4 },
    };
    let (spec, vocabulary) = shapes.spec();
    assert_eq!((spec.hidden_size * spec.num_hidden_layers, vocabulary), (896 * 24, 151_936));
    let training = Training { sequence_length: 9, num_layers: 1, ..training() };
    let data = Dataset::read(&training.data).unwrap();
    let trainer = Trainer::load(&Model::Shapes(shapes), &training, &data, None).unwrap();
    // 168 linear layers and the head.
    assert_eq!((trainer.quantized_layers(), trainer.slots().len()), (169, 7));
    let up = &trainer.slots()[0];
    assert_eq!((up.layer.as_str(), up.input, up.output), ("model.layers.23.mlp.up_proj", 896, 4864));
    assert_eq!(up.weight_bytes, 4864 * 896 / 2 + 2 * 4 * 4864 * 896 / 64);
}

#[test]
fn random_bits_give_rows_of_length_one() {
    let shapes = RealShapes {
        of: RealModel::Qwen2_5Small,
        dtype: Dtype::Float32,
        seed: 2,
        quantization: Quantization { group_size: 64, bits: 4 },
    };
    let dora = AdapterKind::Dora;
    let training = Training { fine_tune_type: dora, sequence_length: 9, num_layers: 1, ..training() };
    let data = Dataset::read(&training.data).unwrap();
    let trainer = Trainer::load(&Model::Shapes(shapes), &training, &data, None).unwrap();
    for slot in trainer.slots() {
        let norms = slot.magnitude.clone().unwrap();
        assert_eq!(norms.shape(), [slot.output]);
        let mean = norms.mean(None).unwrap().item_exact::<f32>();
        assert!((mean - 1.0).abs() < 0.02, "{}: {mean}", slot.layer);
    }
}
