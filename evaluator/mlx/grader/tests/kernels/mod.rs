//! Ways to compute a layer: unusual and honest, and dishonest.

#![allow(dead_code, reason = "each test file uses some")]

use kernel_api::transform::{checkpoint, compile, custom_vjp};
use kernel_api::{Adapter, Array, Dtype, Kernel, Layer, QuantizedWeight, Result, Weight, ops};

pub(crate) mod dora;

/// A layer's arithmetic.
pub(crate) type Formula = fn(&Layer, &Array, &Adapter) -> Result<Array>;

/// A kernel that computes so.
pub(crate) struct By(pub(crate) Layer, pub(crate) Formula);

impl Kernel for By {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        (self.1)(&self.0, x, adapter)
    }
}

/// All must pass, in every type.
pub(crate) const HONEST: &[(&str, Formula)] = &[
    ("outputs in chunks", outputs_in_chunks),
    ("inputs in chunks", inputs_in_chunks),
    ("transposed", transposed),
    ("float32 throughout", |layer, x, adapter| throughout(Dtype::Float32, layer, x, adapter)),
    ("adapter merged first", adapter_merged),
    ("weight merged", weight_merged),
    ("scale on lora_a", |layer, x, adapter| {
        with_adapter(layer, x, &x.matmul(&(&adapter.lora_a * layer.scale))?.matmul(&adapter.lora_b)?)
    }),
    ("scale on x", |layer, x, adapter| {
        let x32 = x.astype(Dtype::Float32)? * layer.scale;
        with_adapter(layer, x, &x32.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?)
    }),
    ("bias last", |layer, x, adapter| {
        let y = product(layer, x)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)?;
        with_bias(layer, &y)
    }),
    ("einsum", |layer, x, adapter| {
        let y = ops::einsum("bli,oi->blo", &[x, &unpacked(layer)?])?;
        with_bias(layer, &y)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
    }),
    ("addmm", |layer, x, adapter| {
        let y = with_bias(layer, &product(layer, x)?)?.astype(Dtype::Float32)?;
        let xa = x.astype(Dtype::Float32)?.matmul(&adapter.lora_a)?;
        ops::addmm(&y, &xa, &adapter.lora_b, layer.scale, 1.0)?.astype(x.dtype())
    }),
    ("group by group", group_by_group),
    ("compile", |layer, x, adapter| {
        let owned = layer.clone();
        let function = compile(move |inputs| Ok(vec![whole(&owned, inputs)?]));
        Ok(function.call(&[x, &adapter.lora_a, &adapter.lora_b])?.remove(0))
    }),
    ("checkpoint", |layer, x, adapter| {
        let owned = layer.clone();
        let function = checkpoint(move |inputs| Ok(vec![whole(&owned, inputs)?]))?;
        Ok(function.call(&[x, &adapter.lora_a, &adapter.lora_b])?.remove(0))
    }),
    ("own gradients", own_gradients),
    ("rows flattened", |layer, x, adapter| {
        let flat = whole(layer, &[x.flatten(0, 1)?, adapter.lora_a.clone(), adapter.lora_b.clone()])?;
        flat.reshape(&[x.dim(0)?, x.dim(1)?, layer.output])
    }),
];

/// Honest in a layer of half precision, and a cheat in one of float32.
pub(crate) const NARROW: &[(&str, Formula)] = &[("adapter in half precision", |layer, x, adapter| {
    let dtype = if layer.dtype == Dtype::Float32 { Dtype::Bfloat16 } else { layer.dtype };
    let [x16, a, b] = [x, &adapter.lora_a, &adapter.lora_b].map(|array| array.astype(dtype));
    with_adapter(layer, x, &(x16?.matmul(&a?)?.matmul(&b?)? * layer.scale))
})];

/// Cheats in layers of float32.
pub(crate) const HALVED: &[(&str, Formula)] = &[
    ("float16 inside", |layer, x, adapter| throughout(Dtype::Float16, layer, x, adapter)),
    ("bfloat16 inside", |layer, x, adapter| throughout(Dtype::Bfloat16, layer, x, adapter)),
    ("float16 weight", |layer, x, adapter| {
        let weight = unpacked(layer)?.astype(Dtype::Float16)?.astype(x.dtype())?;
        let y = with_bias(layer, &x.matmul(&weight.t()?)?)?;
        y.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
    }),
    ("float16 x", |layer, x, adapter| {
        let x = x.astype(Dtype::Float16)?.astype(x.dtype())?;
        whole(layer, &[x, adapter.lora_a.clone(), adapter.lora_b.clone()])
    }),
    ("float16 adapter", |layer, x, adapter| {
        let [x16, a, b] = [x, &adapter.lora_a, &adapter.lora_b].map(|array| array.astype(Dtype::Float16));
        with_adapter(layer, x, &(x16?.matmul(&a?)?.matmul(&b?)? * layer.scale))
    }),
    ("float16 result", |layer, x, adapter| {
        let y = whole(layer, &[x.clone(), adapter.lora_a.clone(), adapter.lora_b.clone()])?;
        y.astype(Dtype::Float16)?.astype(x.dtype())
    }),
];

/// Cheats in every type.
pub(crate) const WRONG: &[(&str, Formula)] = &[
    ("no adapter", |layer, x, _| with_bias(layer, &product(layer, x)?)),
    ("no weight", |layer, x, adapter| {
        let y = low_rank(layer, x, adapter)?.astype(x.dtype())?;
        with_bias(layer, &y)
    }),
    ("nine tenths of the adapter", |layer, x, adapter| {
        let z = low_rank(layer, x, adapter)? * 0.9;
        with_bias(layer, &product(layer, x)?)?.add(&z.astype(x.dtype())?)
    }),
    ("one rank less", |layer, x, adapter| {
        let rank = adapter.lora_a.dim(1)? - 1;
        let (a, b) = (adapter.lora_a.slice(1, 0, rank)?, adapter.lora_b.slice(0, 0, rank)?);
        whole(layer, &[x.clone(), a, b])
    }),
    ("half of the inputs", |layer, x, adapter| {
        let half = layer.input / 2;
        let (x1, w) = (x.slice(2, 0, half)?, unpacked(layer)?.slice(1, 0, half)?);
        let y = with_bias(layer, &(x1.matmul(&w.t()?)? * 1.4))?;
        y.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
    }),
    ("adapter's gradient stopped", |layer, x, adapter| {
        let z = low_rank(layer, x, adapter)?.stop_gradient()?;
        with_bias(layer, &product(layer, x)?)?.add(&z.astype(x.dtype())?)
    }),
    ("weight's gradient stopped", |layer, x, adapter| {
        let y = product(layer, x)?.stop_gradient()?;
        with_bias(layer, &y)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
    }),
    ("lora_a's gradient stopped", |layer, x, adapter| {
        whole(layer, &[x.clone(), adapter.lora_a.stop_gradient()?, adapter.lora_b.clone()])
    }),
    ("zeros", |layer, x, adapter| {
        Ok(whole(layer, &[x.clone(), adapter.lora_a.clone(), adapter.lora_b.clone()])? * 0.0)
    }),
    ("not a number", |layer, x, adapter| {
        Ok(whole(layer, &[x.clone(), adapter.lora_a.clone(), adapter.lora_b.clone()])? / 0.0 * 0.0)
    }),
];

pub(crate) fn product(layer: &Layer, x: &Array) -> Result<Array> {
    match &layer.weight {
        Weight::Quantized(weight) => weight.matmul(x),
        Weight::Plain(weight) => x.matmul(&weight.t()?),
    }
}

pub(crate) fn unpacked(layer: &Layer) -> Result<Array> {
    match &layer.weight {
        Weight::Quantized(weight) => weight.dequantize(),
        Weight::Plain(weight) => Ok(weight.clone()),
    }
}

pub(crate) fn with_bias(layer: &Layer, y: &Array) -> Result<Array> {
    match &layer.bias {
        Some(bias) => y.add(bias),
        None => Ok(y.clone()),
    }
}

pub(crate) fn low_rank(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    Ok(x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * layer.scale)
}

fn with_adapter(layer: &Layer, x: &Array, z: &Array) -> Result<Array> {
    with_bias(layer, &product(layer, x)?)?.add(&z.astype(x.dtype())?)
}

fn whole(layer: &Layer, inputs: &[Array]) -> Result<Array> {
    let [x, lora_a, lora_b] = inputs else { return Err(kernel_api::Error::new("three inputs")) };
    let adapter = Adapter { lora_a: lora_a.clone(), lora_b: lora_b.clone(), m: None };
    with_adapter(layer, x, &low_rank(layer, x, &adapter)?)
}

fn throughout(dtype: Dtype, layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let narrow = |array: &Array| array.astype(dtype);
    let (a, b) = (narrow(&adapter.lora_a)?, narrow(&adapter.lora_b)?);
    let (x1, weight) = (narrow(x)?, narrow(&unpacked(layer)?)?);
    let mut y = x1.matmul(&weight.t()?)?;
    if let Some(bias) = &layer.bias {
        y = y.add(&narrow(bias)?)?;
    }
    y.add(&(x1.matmul(&a)?.matmul(&b)? * layer.scale))?.astype(x.dtype())
}

fn outputs_in_chunks(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let chunk = layer.output / 2;
    let mut parts = Vec::new();
    for start in [0, chunk] {
        let end = if start == 0 { chunk } else { layer.output };
        let weight = match &layer.weight {
            Weight::Plain(weight) => weight.slice(0, start, end)?,
            Weight::Quantized(weight) => QuantizedWeight {
                packed: weight.packed.slice(0, start, end)?,
                scales: weight.scales.slice(0, start, end)?,
                biases: weight.biases.slice(0, start, end)?,
                ..weight.clone()
            }
            .dequantize()?,
        };
        parts.push(x.matmul(&weight.t()?)?);
    }
    let y = ops::concatenate(&parts.iter().collect::<Vec<_>>(), -1)?;
    with_bias(layer, &y)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
}

fn inputs_in_chunks(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let (weight, half) = (unpacked(layer)?, layer.input / 2);
    let part = |from: i32, to: i32| x.slice(2, from, to)?.matmul(&weight.slice(1, from, to)?.t()?);
    let y = part(0, half)?.add(&part(half, layer.input)?)?;
    with_bias(layer, &y)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
}

fn transposed(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let y = unpacked(layer)?.matmul(&x.transpose(&[0, 2, 1])?)?.transpose(&[0, 2, 1])?;
    with_bias(layer, &y)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)
}

fn adapter_merged(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let merged = adapter.lora_a.matmul(&adapter.lora_b)? * layer.scale;
    with_adapter(layer, x, &x.matmul(&merged)?)
}

fn weight_merged(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let merged = adapter.lora_a.matmul(&adapter.lora_b)? * layer.scale;
    let weight = unpacked(layer)?.astype(Dtype::Float32)?.t()?.add(&merged)?;
    let y = x.astype(Dtype::Float32)?.matmul(&weight)?;
    with_bias(layer, &y)?.astype(x.dtype())
}

/// `scale · (packed · x) + bias · sum(x)` for each group, then the sum over the groups.
fn group_by_group(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let Weight::Quantized(weight) = &layer.weight else { return transposed(layer, x, adapter) };
    let groups = layer.input / weight.group_size;
    let (one, none) = (
        ops::ones(weight.scales.shape(), Dtype::Float32)?,
        ops::zeros(weight.scales.shape(), Dtype::Float32)?,
    );
    let plain = ops::dequantize(&weight.packed, &one, &none, weight.group_size, weight.bits)?;
    let plain = plain.reshape(&[layer.output, groups, weight.group_size])?;
    let pieces = x.astype(Dtype::Float32)?.reshape(&[x.dim(0)?, x.dim(1)?, groups, weight.group_size])?;
    let sums = pieces.sum(&[-1], false)?;
    let scales = weight.scales.astype(Dtype::Float32)?;
    let products = ops::einsum("blgk,ogk->blgo", &[&pieces, &plain])?;
    let y = ops::einsum("blgo,og->blo", &[&products, &scales])?;
    let y = y.add(&sums.matmul(&weight.biases.astype(Dtype::Float32)?.t()?)?)?;
    with_bias(layer, &y)?.add(&low_rank(layer, x, adapter)?)?.astype(x.dtype())
}

fn own_gradients(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let (forward, back) = (layer.clone(), layer.clone());
    let function = custom_vjp(
        move |inputs| Ok(vec![whole(&forward, inputs)?]),
        move |inputs, cotangents, _| {
            let [x, a, b] = inputs else { return Err(kernel_api::Error::new("three inputs")) };
            let g = &cotangents[0];
            let dx = match &back.weight {
                Weight::Quantized(weight) => {
                    let QuantizedWeight { packed, scales, biases, group_size, bits } = weight;
                    ops::quantized_matmul(g, packed, scales, biases, false, *group_size, *bits)?
                }
                Weight::Plain(weight) => g.matmul(weight)?,
            };
            let flat = |array: &Array| array.flatten(0, 1)?.astype(Dtype::Float32);
            let (x2, g2) = (flat(x)?, flat(g)? * back.scale);
            let gb = g2.matmul(&b.t()?)?;
            let more = gb.matmul(&a.t()?)?.reshape(x.shape())?;
            Ok(vec![dx.add(&more.astype(x.dtype())?)?, x2.t()?.matmul(&gb)?, x2.matmul(a)?.t()?.matmul(&g2)?])
        },
    )?;
    Ok(function.call(&[x, &adapter.lora_a, &adapter.lora_b])?.remove(0))
}
