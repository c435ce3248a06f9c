//! Qwen2: rotary embedding, grouped-query attention, `RMSNorm`, `SwiGLU`.

use kernel_api::KernelGroup;
use mlx_rs::error::Result as MlxResult;
use mlx_rs::fast::{ScaledDotProductAttentionMask, rms_norm, rope, scaled_dot_product_attention};
use mlx_rs::{Array, nn, ops};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::linear::{Adapters, Linear, Weight, forward_together};
use crate::weights::Weights;

/// The linear layers of a block: path within the block, whether it has a bias.
const SUBMODULES: [(&str, bool); 7] = [
    ("self_attn.q_proj", true),
    ("self_attn.k_proj", true),
    ("self_attn.v_proj", true),
    ("self_attn.o_proj", false),
    ("mlp.gate_proj", false),
    ("mlp.up_proj", false),
    ("mlp.down_proj", false),
];

/// Those that take the same x.
pub(crate) const SHARING: [&[&str]; 2] =
    [&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], &["mlp.gate_proj", "mlp.up_proj"]];

/// A frozen Qwen2 whose linear layers may carry adapters.
pub struct Qwen2 {
    /// Shape and constants.
    pub config: ModelConfig,
    embedding: Weight,
    /// The transformer blocks, first to last.
    pub(crate) blocks: Vec<Block>,
    norm: Array,
    /// Absent when the embedding is tied.
    head: Option<Weight>,
    rope_scale: f32,
}

/// One transformer block.
pub(crate) struct Block {
    input_norm: Array,
    output_norm: Array,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) o: Linear,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    /// What computes q, k and v together, if anything does.
    pub(crate) qkv: Option<Box<dyn KernelGroup>>,
    /// The same of gate and up.
    pub(crate) gate_up: Option<Box<dyn KernelGroup>>,
}

impl Qwen2 {
    /// Builds the model from its arrays; fails if one is missing, misshapen or left over.
    pub(crate) fn new(config: ModelConfig, mut weights: Weights) -> Result<Self> {
        let (hidden, vocabulary) = (config.hidden_size, config.vocab_size);
        let embedding = weights.take_weight(&config, "model.embed_tokens", vocabulary, hidden)?;
        let blocks = (0..config.num_hidden_layers)
            .map(|index| Block::new(&config, &mut weights, index))
            .collect::<Result<_>>()?;
        let norm = weights.take("model.norm.weight", &[hidden])?;
        let head = (!config.tie_word_embeddings)
            .then(|| weights.take_weight(&config, "lm_head", vocabulary, hidden))
            .transpose()?;
        weights.finish()?;
        let rope_scale = config.rope_scale().unwrap_or(1.0);
        Ok(Self { config, embedding, blocks, norm, head, rope_scale })
    }

    /// Logits `[batch, length, vocabulary]` for token ids `[batch, length]`.
    pub fn forward(&self, tokens: &Array, adapters: &Adapters<'_>) -> MlxResult<Array> {
        let mut hidden = self.embedding.rows(tokens)?;
        for block in &self.blocks {
            hidden = block.forward(&self.config, self.rope_scale, &hidden, adapters)?;
        }
        let hidden = rms_norm(hidden, Some(&self.norm), self.config.rms_norm_eps)?;
        self.head.as_ref().unwrap_or(&self.embedding).apply(&hidden, None)
    }

    /// Linear layers (head included, embedding not) whose weight is quantized.
    pub fn quantized_layers(&self) -> u32 {
        let linears =
            self.blocks.iter().flat_map(Block::linears).filter(|linear| linear.weight.is_quantized()).count();
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        u32::try_from(linears).unwrap_or(u32::MAX) + u32::from(head.is_quantized())
    }

    /// All arrays, so that they can be evaluated before anything is timed.
    pub(crate) fn arrays(&self) -> Vec<&Array> {
        let mut arrays = self.embedding.arrays();
        arrays.push(&self.norm);
        arrays.extend(self.head.iter().flat_map(Weight::arrays));
        for block in &self.blocks {
            arrays.extend([&block.input_norm, &block.output_norm]);
            for linear in block.linears() {
                arrays.extend(linear.weight.arrays());
                arrays.extend(&linear.bias);
            }
        }
        arrays
    }
}

impl Block {
    fn new(config: &ModelConfig, weights: &mut Weights, index: i32) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let kv = config.head_dim() * config.num_key_value_heads;
        let shapes = [
            (hidden, hidden),
            (kv, hidden),
            (kv, hidden),
            (hidden, hidden),
            (inner, hidden),
            (inner, hidden),
            (hidden, inner),
        ];
        let mut linears = Vec::with_capacity(SUBMODULES.len());
        for ((submodule, has_bias), (output, input)) in SUBMODULES.into_iter().zip(shapes) {
            let path = format!("model.layers.{index}.{submodule}");
            let weight = weights.take_weight(config, &path, output, input)?;
            let bias = has_bias.then(|| weights.take(&format!("{path}.bias"), &[output])).transpose()?;
            linears.push(Linear::new(path, weight, bias, input, output));
        }
        let mut norm = |name: &str| weights.take(&format!("model.layers.{index}.{name}.weight"), &[hidden]);
        let (input_norm, output_norm) = (norm("input_layernorm")?, norm("post_attention_layernorm")?);
        let [q, k, v, o, gate, up, down] =
            linears.try_into().unwrap_or_else(|_| unreachable!("seven submodules make seven layers"));
        let (qkv, gate_up) = (None, None);
        Ok(Self { input_norm, output_norm, q, k, v, o, gate, up, down, qkv, gate_up })
    }

    pub(crate) fn linears(&self) -> [&Linear; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }

    /// In the order in which MLX-LM walks a block, which decides who gets which random numbers.
    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 7] {
        [&mut self.up, &mut self.down, &mut self.gate, &mut self.o, &mut self.v, &mut self.k, &mut self.q]
    }

    fn forward(
        &self,
        config: &ModelConfig,
        rope_scale: f32,
        x: &Array,
        adapters: &Adapters<'_>,
    ) -> MlxResult<Array> {
        let normed = rms_norm(x, Some(&self.input_norm), config.rms_norm_eps)?;
        let hidden = x.add(self.attention(config, rope_scale, &normed, adapters)?)?;
        let normed = rms_norm(&hidden, Some(&self.output_norm), config.rms_norm_eps)?;
        let linears = [&self.gate, &self.up];
        let [gate, up] = forward_together(self.gate_up.as_deref(), linears, &normed, adapters)?;
        let inner = nn::silu(gate)?.multiply(up)?;
        hidden.add(self.down.forward(&inner, adapters)?)
    }

    fn attention(
        &self,
        config: &ModelConfig,
        rope_scale: f32,
        x: &Array,
        adapters: &Adapters<'_>,
    ) -> MlxResult<Array> {
        let (batch, length) = (x.shape()[0], x.shape()[1]);
        let head_dim = config.head_dim();
        let split = |projected: Array, heads: i32| {
            projected.reshape(&[batch, length, heads, head_dim])?.transpose_axes(&[0, 2, 1, 3])
        };
        let rotate =
            |x: Array| rope(x, head_dim, config.rope_traditional, config.rope_theta, rope_scale, 0, None);

        let linears = [&self.q, &self.k, &self.v];
        let [queries, keys, values] = forward_together(self.qkv.as_deref(), linears, x, adapters)?;
        let queries = rotate(split(queries, config.num_attention_heads)?)?;
        let keys = rotate(split(keys, config.num_key_value_heads)?)?;
        let values = split(values, config.num_key_value_heads)?;
        let scale = f64::from(head_dim).powf(-0.5) as f32;
        // A single position sees only itself.
        let mask = (length > 1).then_some(ScaledDotProductAttentionMask::Causal);
        let mixed = scaled_dot_product_attention(queries, keys, values, scale, mask, None)?;
        let joined = mixed.transpose_axes(&[0, 2, 1, 3])?.reshape(&[batch, length, -1])?;
        self.o.forward(&joined, adapters)
    }
}

/// Rows `ids` of a plain matrix.
pub(crate) fn plain_rows(matrix: &Array, ids: &Array) -> MlxResult<Array> {
    ops::indexing::take_axis(matrix, ids, 0)
}
