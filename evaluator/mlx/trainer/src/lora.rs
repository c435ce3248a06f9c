//! Which layers get adapters, and how those begin: as in MLX-LM.

use kernel_api::{Kernel, Layer, MlxLmDora, MlxLmLora, QuantizedWeight, host};
use mlx_rs::random::{RandomState, uniform};
use mlx_rs::{Array, ops};
use trial_protocol::{AdapterKind, Dtype, Quantization};

use crate::error::{Error, Result};
use crate::linear::{Linear, Weight};
use crate::qwen2::{Block, Qwen2, SHARING};

/// A plugin's entry point: prepares a kernel for one layer.
pub type BuildKernel = fn(&Layer) -> kernel_api::Result<Box<dyn Kernel>>;

/// Settings of the adapters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lora {
    /// Adapters go on the last `num_layers` blocks; 0 or less means all, as in MLX-LM.
    pub num_layers: i32,
    /// Inner width of the adapters.
    pub rank: i32,
    /// Factor on the adapters' contribution.
    pub scale: f32,
    /// What is trained of a layer.
    pub kind: AdapterKind,
}

/// A layer that got an adapter.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Full path, such as `model.layers.0.mlp.up_proj`.
    pub layer: String,
    /// Inputs of the layer: rows of `lora_a`.
    pub input: i32,
    /// Outputs of the layer: columns of `lora_b`.
    pub output: i32,
    /// How its weight is quantized, if it is.
    pub quantization: Option<Quantization>,
    /// Whether it has a bias.
    pub bias: bool,
    /// Type of its input and output.
    pub dtype: Dtype,
    /// Bytes of its frozen weight, scales and biases included.
    pub weight_bytes: u64,
    /// What DoRA's `m` begins as, `[output]`; absent for LoRA.
    pub magnitude: Option<Array>,
}

/// Puts a kernel on every linear layer of the chosen blocks. `build` absent: MLX-LM's own layer.
///
/// # Errors
/// The kernel's own words if it refuses a layer.
pub fn attach(model: &mut Qwen2, lora: Lora, build: Option<BuildKernel>) -> Result<Vec<Slot>> {
    if lora.rank < 1 {
        return Err(Error::setting("rank", format!("is {}; it must be at least 1", lora.rank)));
    }
    let first = first_adapted(model.blocks.len(), lora.num_layers);
    let count = lora.kind.arrays().len();
    let mut slots = Vec::new();
    for block in &mut model.blocks[first..] {
        for linear in block.linears_mut() {
            let layer = layer(linear, lora);
            let kernel = match build {
                None => Ok(mlx_lms(&layer)),
                Some(build) => build(&layer),
            };
            let kernel = kernel
                .map_err(|error| Error::Kernel { layer: linear.path.clone(), message: error.to_string() })?;
            linear.attach(kernel, count * slots.len(), lora.kind);
            slots.push(Slot {
                layer: linear.path.clone(),
                input: linear.input,
                output: linear.output,
                quantization: linear.weight.quantization(),
                bias: linear.bias.is_some(),
                dtype: dtype(linear)?,
                weight_bytes: linear.weight.arrays().iter().map(|array| array.nbytes() as u64).sum(),
                magnitude: match lora.kind {
                    AdapterKind::Lora => None,
                    AdapterKind::Dora => Some(linear.weight.row_norms()?),
                },
            });
        }
        form_groups(block, lora)?;
    }
    Ok(slots)
}

/// Lets kernels compute together what shares x, where they can.
fn form_groups(block: &mut Block, lora: Lora) -> Result<()> {
    let group = |linears: &[&Linear]| {
        let layers: Vec<Layer> = linears.iter().map(|linear| layer(linear, lora)).collect();
        linears[0].group(&layers).map_err(|error| {
            let paths: Vec<&str> = linears.iter().map(|linear| linear.path.as_str()).collect();
            Error::Kernel { layer: paths.join(" + "), message: error.to_string() }
        })
    };
    block.qkv = group(&[&block.q, &block.k, &block.v])?;
    block.gate_up = group(&[&block.gate, &block.up])?;
    if block.qkv.is_some() {
        [&mut block.q, &mut block.k, &mut block.v].into_iter().for_each(Linear::join_group);
    }
    if block.gate_up.is_some() {
        [&mut block.gate, &mut block.up].into_iter().for_each(Linear::join_group);
    }
    Ok(())
}

/// Places of slots whose layers share x, in the order in which a group has them.
pub fn groups(slots: &[Slot]) -> Vec<Vec<usize>> {
    let of = |slot: &Slot| {
        let (names, block) =
            SHARING.iter().find_map(|names| Some((names, slot.layer.strip_suffix(names[0])?)))?;
        let place = |name: &&str| slots.iter().position(|slot| slot.layer.strip_prefix(block) == Some(name));
        names.iter().map(place).collect::<Option<Vec<usize>>>()
    };
    slots.iter().filter_map(of).collect()
}

/// MLX-LM's own layer.
pub fn mlx_lms(layer: &Layer) -> Box<dyn Kernel> {
    match layer.adapter {
        kernel_api::AdapterKind::Lora => Box::new(MlxLmLora::new(layer)),
        kernel_api::AdapterKind::Dora => Box::new(MlxLmDora::new(layer)),
    }
}

/// Type of what a layer takes and gives.
fn dtype(linear: &Linear) -> Result<Dtype> {
    match linear.weight.dtype() {
        mlx_rs::Dtype::Float32 => Ok(Dtype::Float32),
        mlx_rs::Dtype::Float16 => Ok(Dtype::Float16),
        mlx_rs::Dtype::Bfloat16 => Ok(Dtype::Bfloat16),
        other => {
            let problem = format!(
                "layer {} is of type {other:?}; convert the model to float32, float16 or bfloat16",
                linear.path
            );
            Err(Error::setting("model", problem))
        }
    }
}

/// Index of the first block with adapters.
fn first_adapted(blocks: usize, num_layers: i32) -> usize {
    match usize::try_from(num_layers) {
        Ok(count) if count > 0 => blocks.saturating_sub(count),
        _ => 0,
    }
}

/// The arrays MLX-LM starts from after `mx.random.seed(seed)`: `lora_a` uniform within `1/√input`, `lora_b` zero, and for DoRA
/// `m`, all float32; of each slot in turn.
pub fn initial_adapters(slots: &[Slot], rank: i32, seed: u64) -> Result<Vec<Array>> {
    let mut random = RandomState::with_seed(seed)?;
    let mut arrays = Vec::with_capacity(3 * slots.len());
    for slot in slots {
        // MLX-LM's layer first draws a full weight, which the frozen one then replaces.
        random.next_key()?;
        let key = random.next_key()?;
        let bound = (1.0 / f64::from(slot.input).sqrt()) as f32;
        arrays.push(uniform::<f32, f32>(-bound, bound, &[slot.input, rank], &key)?);
        arrays.push(ops::zeros::<f32>(&[rank, slot.output])?);
        arrays.extend(slot.magnitude.clone());
    }
    Ok(arrays)
}

/// The kernel API's word for a kind of adapter.
pub fn host_kind(kind: AdapterKind) -> kernel_api::AdapterKind {
    match kind {
        AdapterKind::Lora => kernel_api::AdapterKind::Lora,
        AdapterKind::Dora => kernel_api::AdapterKind::Dora,
    }
}

/// What the kernel is told about a layer.
fn layer(linear: &Linear, lora: Lora) -> Layer {
    let weight = match &linear.weight {
        Weight::Quantized { packed, scales, biases, group_size, bits } => {
            kernel_api::Weight::Quantized(QuantizedWeight {
                packed: host::wrap(packed.clone()),
                scales: host::wrap(scales.clone()),
                biases: host::wrap(biases.clone()),
                group_size: *group_size,
                bits: *bits,
            })
        }
        Weight::Plain(weight) => kernel_api::Weight::Plain(host::wrap(weight.clone())),
    };
    Layer {
        weight,
        bias: linear.bias.clone().map(host::wrap),
        scale: lora.scale,
        rank: lora.rank,
        input: linear.input,
        output: linear.output,
        dtype: linear.weight.dtype().into(),
        adapter: host_kind(lora.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_blocks_are_chosen_as_mlx_lm_slices_them() {
        assert_eq!(first_adapted(24, 16), 8);
        assert_eq!(first_adapted(2, 2), 0);
        assert_eq!(first_adapted(2, 16), 0, "a slice longer than the list is the list");
        assert_eq!(first_adapted(24, 0), 0, "[-0:] is everything");
        assert_eq!(first_adapted(24, -1), 0);
    }

    fn slot(layer: &str, input: i32, output: i32) -> Slot {
        Slot {
            layer: layer.to_owned(),
            input,
            output,
            quantization: None,
            bias: false,
            dtype: Dtype::Float32,
            weight_bytes: 0,
            magnitude: None,
        }
    }

    #[test]
    fn q_k_and_v_of_a_block_are_a_group_and_gate_and_up() {
        let order =
            ["mlp.up", "mlp.down", "mlp.gate", "self_attn.o", "self_attn.v", "self_attn.k", "self_attn.q"];
        let layers = [1, 10]
            .into_iter()
            .flat_map(|block| order.map(|name| slot(&format!("model.layers.{block}.{name}_proj"), 4, 4)));
        let slots: Vec<Slot> = layers.collect();
        assert_eq!(groups(&slots), [vec![2, 0], vec![6, 5, 4], vec![9, 7], vec![13, 12, 11]]);
        assert!(groups(&slots[..2]).is_empty());
    }

    #[test]
    fn adapters_begin_as_after_mx_random_seed() {
        let arrays = initial_adapters(&[slot("", 4, 3), slot("", 9, 2)], 2, 7).unwrap();
        let first = arrays[0].clone();
        first.eval().unwrap();
        // MLX-LM 0.32.2: mx.random.seed(7); LoRALinear(input_dims=4, output_dims=3, r=2).lora_a
        let theirs = [
            0.406_939_33,
            -0.191_369_56,
            0.098_752_856,
            -0.018_273_205,
            0.099_982_98,
            0.453_255_24,
            -0.342_141_93,
            -0.178_355_1,
        ];
        for (ours, theirs) in first.as_slice::<f32>().iter().zip(theirs) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} instead of {theirs}");
        }
        assert_eq!(arrays.iter().map(Array::shape).collect::<Vec<_>>(), [[4, 2], [2, 3], [9, 2], [2, 2]]);
        assert!(arrays[1].abs().unwrap().max(None).unwrap().item_exact::<f32>() == 0.0);
    }
}
