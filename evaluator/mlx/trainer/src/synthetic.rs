//! The model that is made on the spot: a real Qwen2 layout with random weights.
//!
//! A small one has normal weights that are quantized. One as large as a real model has random packed bits instead, with scales that
//! give them the same variance: that takes seconds, and its arrays are as large and as incompressible.

use std::collections::HashMap;
use std::path::Path;

use mlx_rs::error::Result as MlxResult;
use mlx_rs::random::{RandomState, normal, uniform};
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype as MlxDtype, ops};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use trial_protocol::{Dtype, RealShapes, SyntheticModel};

use crate::config::{ModelConfig, QuantizationConfig};
use crate::error::{Error, Result};
use crate::qwen2::Qwen2;
use crate::tokenizer::ByteTokenizer;
use crate::weights::Weights;

/// Makes the model that `spec` describes; the same spec gives the same weights.
pub fn synthetic(spec: &SyntheticModel) -> Result<Qwen2> {
    made(spec, ByteTokenizer::VOCABULARY, Filling::Quantized)
}

/// Makes a model with the shapes of a real one; the same shapes give the same weights.
pub fn shaped(shapes: &RealShapes) -> Result<Qwen2> {
    let (spec, vocabulary) = shapes.spec();
    made(&spec, vocabulary, Filling::Bits)
}

/// Writes [`shaped`]'s model to `folder`, as [`write_synthetic`] does.
pub fn write_shaped(shapes: &RealShapes, folder: &Path) -> Result<()> {
    let (spec, vocabulary) = shapes.spec();
    write(&spec, vocabulary, Filling::Bits, folder)
}

/// What packed weights are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// Normal numbers, quantized.
    Quantized,
    /// Random bits.
    Bits,
}

fn made(spec: &SyntheticModel, vocabulary: i32, filling: Filling) -> Result<Qwen2> {
    let config = config(spec, vocabulary)?;
    let weights = Weights::in_memory(arrays(spec, &config, filling)?);
    Qwen2::new(config, weights)
}

/// Writes the model to `folder` in MLX-LM's format, so that MLX-LM can train the very same one.
pub fn write_synthetic(spec: &SyntheticModel, folder: &Path) -> Result<()> {
    write(spec, ByteTokenizer::VOCABULARY, Filling::Quantized, folder)
}

fn write(spec: &SyntheticModel, vocabulary: i32, filling: Filling, folder: &Path) -> Result<()> {
    let config = config(spec, vocabulary)?;
    let problem = |error: String| Error::model(folder, format!("can't write: {error}"));
    std::fs::create_dir_all(folder).map_err(|error| problem(error.to_string()))?;
    let json = json!({
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "rms_norm_eps": 1e-6,
        "vocab_size": config.vocab_size,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": config.tie_word_embeddings,
        "quantization": { "group_size": spec.quantization.group_size, "bits": spec.quantization.bits },
    });
    std::fs::write(folder.join("config.json"), format!("{json:#}\n"))
        .map_err(|error| problem(error.to_string()))?;
    let arrays = arrays(spec, &config, filling)?;
    Array::save_safetensors(arrays, None, folder.join("model.safetensors"))
        .map_err(|error| problem(error.to_string()))
}

fn config(spec: &SyntheticModel, vocabulary: i32) -> Result<ModelConfig> {
    let config = ModelConfig {
        model_type: "qwen2".into(),
        hidden_size: spec.hidden_size,
        num_hidden_layers: spec.num_hidden_layers,
        intermediate_size: spec.intermediate_size,
        num_attention_heads: spec.num_attention_heads,
        num_key_value_heads: spec.num_key_value_heads,
        rms_norm_eps: 1e-6,
        vocab_size: vocabulary,
        rope_theta: 1_000_000.0,
        rope_traditional: false,
        rope_scaling: None,
        tie_word_embeddings: spec.tie_word_embeddings,
        quantization: Some(QuantizationConfig {
            group_size: spec.quantization.group_size,
            bits: spec.quantization.bits,
            mode: None,
            layers: std::collections::BTreeMap::new(),
        }),
    };
    config.check().map_err(|problem| Error::setting("model", problem))?;
    let (group, bits) = (spec.quantization.group_size, spec.quantization.bits);
    if ![32, 64, 128].contains(&group) || ![2, 3, 4, 5, 6, 8].contains(&bits) {
        return Err(Error::setting(
            "quantization",
            format!(
                "group_size {group} with bits {bits}; MLX has group sizes 32, 64, 128 and bits 2, 3, 4, 5, 6, 8"
            ),
        ));
    }
    for (name, width) in [("hidden_size", spec.hidden_size), ("intermediate_size", spec.intermediate_size)] {
        if width % group != 0 {
            return Err(Error::setting(
                "model",
                format!("{name} {width} isn't a multiple of group_size {group}"),
            ));
        }
    }
    Ok(config)
}

/// Random arrays by name, evaluated.
fn arrays(spec: &SyntheticModel, config: &ModelConfig, filling: Filling) -> Result<HashMap<String, Array>> {
    let mut maker = Maker {
        random: RandomState::with_seed(spec.seed)?,
        bits: ChaCha8Rng::seed_from_u64(spec.seed),
        spec,
        dtype: mlx_dtype(spec.dtype),
        filling,
        arrays: HashMap::new(),
    };
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let kv = config.head_dim() * config.num_key_value_heads;
    // Unit rows give a tied head logits of order one.
    maker.quantized("model.embed_tokens", config.vocab_size, hidden)?;
    for index in 0..config.num_hidden_layers {
        let layer = format!("model.layers.{index}");
        maker.ones(format!("{layer}.input_layernorm.weight"), hidden)?;
        for (name, output) in [("q_proj", hidden), ("k_proj", kv), ("v_proj", kv)] {
            maker.quantized(&format!("{layer}.self_attn.{name}"), output, hidden)?;
            maker.bias(format!("{layer}.self_attn.{name}.bias"), output)?;
        }
        maker.quantized(&format!("{layer}.self_attn.o_proj"), hidden, hidden)?;
        maker.ones(format!("{layer}.post_attention_layernorm.weight"), hidden)?;
        maker.quantized(&format!("{layer}.mlp.gate_proj"), inner, hidden)?;
        maker.quantized(&format!("{layer}.mlp.up_proj"), inner, hidden)?;
        maker.quantized(&format!("{layer}.mlp.down_proj"), hidden, inner)?;
    }
    maker.ones("model.norm.weight".into(), hidden)?;
    if !config.tie_word_embeddings {
        maker.quantized("lm_head", config.vocab_size, hidden)?;
    }
    eval(maker.arrays.values())?;
    Ok(maker.arrays)
}

fn mlx_dtype(dtype: Dtype) -> MlxDtype {
    match dtype {
        Dtype::Float32 => MlxDtype::Float32,
        Dtype::Float16 => MlxDtype::Float16,
        Dtype::Bfloat16 => MlxDtype::Bfloat16,
    }
}

struct Maker<'a> {
    random: RandomState,
    /// Whole words are no kind of number that MLX draws.
    bits: ChaCha8Rng,
    spec: &'a SyntheticModel,
    dtype: MlxDtype,
    filling: Filling,
    arrays: HashMap<String, Array>,
}

impl Maker<'_> {
    /// An `[output, input]` weight of variance `1/input`.
    fn quantized(&mut self, layer: &str, output: i32, input: i32) -> MlxResult<()> {
        let deviation = f64::from(input).powf(-0.5) as f32;
        let (packed, scales, biases) = match self.filling {
            Filling::Quantized => self.packed(output, input, deviation)?,
            Filling::Bits => self.bits(output, input, deviation)?,
        };
        // At once, so that what it was made of is short-lived.
        eval([&packed, &scales, &biases])?;
        for (name, array) in [("weight", packed), ("scales", scales), ("biases", biases)] {
            self.arrays.insert(format!("{layer}.{name}"), array);
        }
        Ok(())
    }

    fn packed(&mut self, output: i32, input: i32, deviation: f32) -> MlxResult<(Array, Array, Array)> {
        let weight = self.normal(&[output, input], deviation)?;
        let quantization = self.spec.quantization;
        ops::quantize(weight, quantization.group_size, quantization.bits)
    }

    /// Values from 0 to `2^bits - 1`, all as likely, around their mean. Scales differ from group to group, as real ones do.
    fn bits(&mut self, output: i32, input: i32, deviation: f32) -> MlxResult<(Array, Array, Array)> {
        let quantization = self.spec.quantization;
        let width = input * quantization.bits / 32;
        let mut words = vec![0_u32; output as usize * width as usize];
        self.bits.fill(words.as_mut_slice());
        let packed = Array::from_slice(&words, &[output, width]);
        let most = f32::from(u16::MAX >> (16 - quantization.bits));
        let unit = deviation / ((most + 1.0).powi(2) / 12.0 - 1.0 / 12.0).sqrt();
        let groups = [output, input / quantization.group_size];
        let scales = uniform::<f32, f32>(0.75 * unit, 1.25 * unit, &groups, &self.random.next_key()?)?;
        let biases = scales.multiply(Array::from_f32(-most / 2.0))?;
        Ok((packed, scales.as_dtype(self.dtype)?, biases.as_dtype(self.dtype)?))
    }

    fn bias(&mut self, name: String, output: i32) -> MlxResult<()> {
        let bias = self.normal(&[output], 0.02)?;
        self.arrays.insert(name, bias);
        Ok(())
    }

    fn ones(&mut self, name: String, width: i32) -> MlxResult<()> {
        self.arrays.insert(name, ops::ones::<f32>(&[width])?.as_dtype(self.dtype)?);
        Ok(())
    }

    fn normal(&mut self, shape: &[i32], deviation: f32) -> MlxResult<Array> {
        let key = self.random.next_key()?;
        normal::<f32>(shape, 0.0, deviation, &key)?.as_dtype(self.dtype)
    }
}
