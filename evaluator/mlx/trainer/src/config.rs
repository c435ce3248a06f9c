//! `config.json` of a model folder, as far as a Qwen2 needs it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use trial_protocol::Quantization;

use crate::error::{Error, Result};

/// Shape and constants of a Qwen2, with MLX-LM's defaults for absent keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelConfig {
    /// `qwen2`; anything else is refused.
    pub model_type: String,
    /// Width of the residual stream.
    pub hidden_size: i32,
    /// Transformer blocks.
    pub num_hidden_layers: i32,
    /// Width of the feed-forward part.
    pub intermediate_size: i32,
    /// Query heads.
    pub num_attention_heads: i32,
    /// Key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: i32,
    /// Added to the mean square by `RMSNorm`.
    pub rms_norm_eps: f32,
    /// Rows of the embedding.
    pub vocab_size: i32,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_theta")]
    pub rope_theta: f32,
    /// Rotate neighbouring pairs instead of halves.
    #[serde(default)]
    pub rope_traditional: bool,
    /// Long-context scaling of positions; `default` and `linear` are understood.
    #[serde(default)]
    pub rope_scaling: Option<Value>,
    /// Whether the embedding doubles as the output head.
    #[serde(default = "default_tied")]
    pub tie_word_embeddings: bool,
    /// How weights are quantized; absent for a plain model.
    #[serde(default)]
    pub quantization: Option<QuantizationConfig>,
}

fn default_rope_theta() -> f32 {
    1_000_000.0
}

fn default_tied() -> bool {
    true
}

/// The `quantization` key: a default and exceptions by layer path.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct QuantizationConfig {
    /// Weights that share a scale.
    pub group_size: i32,
    /// Bits per weight.
    pub bits: i32,
    /// Only `affine` (the default) is understood.
    #[serde(default)]
    pub mode: Option<String>,
    /// Everything else: layer paths with `false` or a `{group_size, bits}` of their own.
    #[serde(flatten)]
    pub layers: BTreeMap<String, Value>,
}

/// What the configuration says about one layer's quantization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerQuantization {
    /// Named with its own settings.
    Given(Quantization),
    /// Named as not quantized.
    Plain,
    /// Not named: what its arrays' shapes say.
    Inferred,
}

impl ModelConfig {
    /// Reads and checks `config.json` in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::model(
                folder,
                "no such folder; give the path of a model in MLX-LM's format (config.json, model.safetensors), \
                 for example one written by `mlx_lm.convert -q`",
            ));
        }
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::model(
                folder,
                format!("can't read config.json ({error}); is this a model folder in MLX-LM's format?"),
            )
        })?;
        let json: Value = serde_json::from_str(&text)
            .map_err(|error| Error::model(&path, format!("not valid JSON: {error}")))?;
        let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or("(no model_type)");
        if model_type != "qwen2" {
            return Err(Error::model(
                &path,
                format!(
                    "model_type is `{model_type}`; this trainer knows `qwen2` (Qwen2 and Qwen2.5 models) only"
                ),
            ));
        }
        if json.get("quantization").is_none_or(Value::is_null)
            && let Some(other) = json.get("quantization_config").filter(|value| !value.is_null())
        {
            let method = other.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
            return Err(Error::model(
                &path,
                format!("quantized by `{method}`, not by MLX; convert it with `mlx_lm.convert -q`"),
            ));
        }
        let config: Self = serde_json::from_value(json)
            .map_err(|error| Error::model(&path, format!("unusable: {error}")))?;
        config.check().map_err(|problem| Error::model(&path, problem))?;
        Ok(config)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> i32 {
        self.hidden_size / self.num_attention_heads
    }

    /// Factor on positions before the rotary embedding.
    ///
    /// # Errors
    /// Names a scaling that isn't understood.
    pub(crate) fn rope_scale(&self) -> std::result::Result<f32, String> {
        let Some(scaling) = self.rope_scaling.as_ref().filter(|value| !value.is_null()) else {
            return Ok(1.0);
        };
        let kind =
            ["type", "rope_type"].iter().find_map(|key| scaling.get(*key)?.as_str()).unwrap_or("default");
        match kind {
            "default" | "mrope" => Ok(1.0),
            "linear" => match scaling.get("factor").and_then(Value::as_f64) {
                Some(factor) if factor > 0.0 => Ok((1.0 / factor) as f32),
                _ => Err("rope_scaling `linear` needs a positive `factor`".into()),
            },
            other => Err(format!("rope_scaling `{other}` isn't supported; `default` and `linear` are")),
        }
    }

    pub(crate) fn layer_quantization(&self, layer: &str) -> std::result::Result<LayerQuantization, String> {
        let Some(quantization) = &self.quantization else { return Ok(LayerQuantization::Plain) };
        match quantization.layers.get(layer) {
            None | Some(Value::Bool(true)) => Ok(LayerQuantization::Inferred),
            Some(Value::Bool(false)) => Ok(LayerQuantization::Plain),
            Some(own) => {
                if let Some(mode) = own.get("mode").and_then(Value::as_str).filter(|mode| *mode != "affine") {
                    return Err(format!(
                        "quantization.\"{layer}\": mode `{mode}` isn't supported; `affine` is"
                    ));
                }
                let number = |key: &str, default: i32| {
                    own.get(key)
                        .map_or(Some(default), |value| value.as_i64().and_then(|n| i32::try_from(n).ok()))
                };
                match (number("group_size", 64), number("bits", 4)) {
                    (Some(group_size), Some(bits)) => {
                        Ok(LayerQuantization::Given(Quantization { group_size, bits }))
                    }
                    _ => Err(format!(
                        "quantization.\"{layer}\" needs whole numbers for `group_size` and `bits`"
                    )),
                }
            }
        }
    }

    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("vocab_size", self.vocab_size),
        ];
        if let Some((name, value)) = positive.into_iter().find(|(_, value)| *value < 1) {
            return Err(format!("{name} is {value}; it must be at least 1"));
        }
        let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
        if self.hidden_size % heads != 0 {
            return Err(format!(
                "hidden_size {} isn't a multiple of num_attention_heads {heads}",
                self.hidden_size
            ));
        }
        if heads % kv != 0 {
            return Err(format!("num_attention_heads {heads} isn't a multiple of num_key_value_heads {kv}"));
        }
        if self.head_dim() % 2 != 0 {
            return Err(format!(
                "the head width {} is odd; rotary embedding needs an even one",
                self.head_dim()
            ));
        }
        self.rope_scale()?;
        match self.quantization.as_ref().and_then(|quantization| quantization.mode.as_deref()) {
            None | Some("affine") => Ok(()),
            Some(mode) => Err(format!("quantization mode `{mode}` isn't supported; `affine` is")),
        }
    }
}
