//! The same for DoRA layers.

use kernel_api::transform::{checkpoint, custom_vjp};
use kernel_api::{Adapter, Array, Dtype, Error, Layer, Result, Weight, ops};

use super::{Formula, low_rank, product, unpacked, with_bias};

/// All must pass, in every type.
pub(crate) const HONEST: &[(&str, Formula)] = &[
    ("packed, norm of the whole", |layer, x, adapter| {
        finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &norm(layer, adapter)?)
    }),
    ("norm by the binomial formula", |layer, x, adapter| {
        finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &norm_by_parts(layer, adapter)?)
    }),
    ("norm in chunks of outputs", |layer, x, adapter| {
        let half = layer.output / 2;
        let squares = adapted(layer, adapter)?.square()?;
        let part = |from: i32, to: i32| squares.slice(0, from, to)?.sum(&[1], false)?.sqrt();
        let norm = ops::concatenate(&[&part(0, half)?, &part(half, layer.output)?], 0)?;
        finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &norm.stop_gradient()?)
    }),
    ("merged weight, scaled by rows", |layer, x, adapter| {
        let weight = adapted(layer, adapter)?;
        let factor = adapter.magnitude()?.divide(&norm(layer, adapter)?)?.expand_dims(1)?;
        let y = x.astype(Dtype::Float32)?.matmul(&weight.multiply(&factor)?.t()?)?;
        with_bias(layer, &y.astype(x.dtype())?)
    }),
    ("magnitude on lora_b and on the product", |layer, x, adapter| {
        let factor = adapter.magnitude()?.divide(&norm(layer, adapter)?)?;
        let lora_b = adapter.lora_b.multiply(&factor)?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&lora_b)? * layer.scale;
        let y = product(layer, x)?.multiply(&factor.astype(x.dtype())?)?.add(&z.astype(x.dtype())?)?;
        with_bias(layer, &y)
    }),
    ("checkpoint", |layer, x, adapter| {
        let owned = layer.clone();
        let function = checkpoint(move |inputs| {
            let (x, adapter) = taken(inputs)?;
            let norm = norm_by_parts(&owned, &adapter)?;
            Ok(vec![finished(&owned, &x, &adapter, &low_rank(&owned, &x, &adapter)?, &norm)?])
        })?;
        let Adapter { lora_a, lora_b, .. } = adapter;
        Ok(function.call(&[x, lora_a, lora_b, adapter.magnitude()?])?.remove(0))
    }),
    ("own gradients", own_gradients),
];

/// Cheats in every type.
pub(crate) const WRONG: &[(&str, Formula)] = &[
    ("norm of the weight alone", |layer, x, adapter| {
        let norm = unpacked(layer)?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?.sqrt()?;
        finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &norm)
    }),
    ("no norm", |layer, x, adapter| {
        let one = ops::ones(&[layer.output], Dtype::Float32)?;
        finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &one)
    }),
    ("m ignored", |layer, x, adapter| {
        let m = Some(norm(layer, adapter)?);
        let adapter = Adapter { m, ..adapter.clone() };
        let right = finished(layer, x, &adapter, &low_rank(layer, x, &adapter)?, &norm(layer, &adapter)?)?;
        right.add(&(0.0 * adapter.magnitude()?).astype(x.dtype())?)
    }),
    ("m without its sign", |layer, x, adapter| {
        let adapter = Adapter { m: Some(adapter.magnitude()?.abs()?), ..adapter.clone() };
        finished(layer, x, &adapter, &low_rank(layer, x, &adapter)?, &norm(layer, &adapter)?)
    }),
    ("m's gradient stopped", |layer, x, adapter| {
        let adapter = Adapter { m: Some(adapter.magnitude()?.stop_gradient()?), ..adapter.clone() };
        finished(layer, x, &adapter, &low_rank(layer, x, &adapter)?, &norm(layer, &adapter)?)
    }),
    ("gradient through the norm", |layer, x, adapter| {
        let norm = adapted(layer, adapter)?.square()?.sum(&[1], false)?.sqrt()?;
        finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &norm)
    }),
    ("no adapter", |layer, x, adapter| {
        finished(layer, x, adapter, &(low_rank(layer, x, adapter)? * 0.0), &norm(layer, adapter)?)
    }),
    ("bias scaled too", |layer, x, adapter| {
        let y = product(layer, x)?.add(&low_rank(layer, x, adapter)?.astype(x.dtype())?)?;
        let some = ops::full(&[layer.output], 0.5, layer.dtype)?;
        let y = y.add(layer.bias.as_ref().unwrap_or(&some))?;
        y.multiply(&adapter.magnitude()?.divide(&norm(layer, adapter)?)?.astype(x.dtype())?)
    }),
];

/// A cheat in layers of float32; in half precision it is lost in the rounding.
pub(crate) const SUBTLE: &[(&str, Formula)] = &[("norm without the mixed term", |layer, x, adapter| {
    let alone = adapter.lora_a.matmul(&adapter.lora_b)? * layer.scale;
    let squares = unpacked(layer)?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
    let norm = squares.add(&alone.square()?.sum(&[0], false)?)?.sqrt()?.stop_gradient()?;
    finished(layer, x, adapter, &low_rank(layer, x, adapter)?, &norm)
})];

fn taken(inputs: &[Array]) -> Result<(Array, Adapter)> {
    let [x, lora_a, lora_b, m] = inputs else { return Err(Error::new("four inputs")) };
    Ok((x.clone(), Adapter { lora_a: lora_a.clone(), lora_b: lora_b.clone(), m: Some(m.clone()) }))
}

/// `m / norm · (product + z) + bias`.
fn finished(layer: &Layer, x: &Array, adapter: &Adapter, z: &Array, norm: &Array) -> Result<Array> {
    let y = product(layer, x)?.add(&z.astype(x.dtype())?)?;
    let factor = adapter.magnitude()?.divide(norm)?.astype(x.dtype())?;
    with_bias(layer, &y.multiply(&factor)?)
}

fn adapted(layer: &Layer, adapter: &Adapter) -> Result<Array> {
    let delta = adapter.lora_a.matmul(&adapter.lora_b)? * layer.scale;
    unpacked(layer)?.astype(Dtype::Float32)?.add(&delta.t()?)
}

fn norm(layer: &Layer, adapter: &Adapter) -> Result<Array> {
    adapted(layer, adapter)?.square()?.sum(&[1], false)?.sqrt()?.stop_gradient()
}

/// `‖w + s·b·a‖² = ‖w‖² + 2·s·b·(w·a) + s²·b·(aᵀ·a)·b`, row by row, with nothing of the weight's size but the weight.
fn norm_by_parts(layer: &Layer, adapter: &Adapter) -> Result<Array> {
    let Adapter { lora_a, lora_b, .. } = adapter;
    let own = unpacked(layer)?.astype(Dtype::Float32)?.square()?.sum(&[1], false)?;
    let products = match &layer.weight {
        Weight::Quantized(weight) => {
            let mut weight = weight.clone();
            weight.scales = weight.scales.astype(Dtype::Float32)?;
            weight.biases = weight.biases.astype(Dtype::Float32)?;
            weight.matmul(&lora_a.t()?)?
        }
        Weight::Plain(weight) => lora_a.t()?.matmul(&weight.astype(Dtype::Float32)?.t()?)?,
    };
    let mixed = products.multiply(lora_b)?.sum(&[0], false)? * (2.0 * layer.scale);
    let gram = lora_a.t()?.matmul(lora_a)?;
    let alone = gram.matmul(lora_b)?.multiply(lora_b)?.sum(&[0], false)? * (layer.scale * layer.scale);
    own.add(&mixed)?.add(&alone)?.sqrt()?.stop_gradient()
}

fn own_gradients(layer: &Layer, x: &Array, adapter: &Adapter) -> Result<Array> {
    let (forward, back) = (layer.clone(), layer.clone());
    let factor =
        |layer: &Layer, adapter: &Adapter| adapter.magnitude()?.divide(&norm_by_parts(layer, adapter)?);
    let function = custom_vjp(
        move |inputs| {
            let (x, adapter) = taken(inputs)?;
            let norm = norm_by_parts(&forward, &adapter)?;
            Ok(vec![finished(&forward, &x, &adapter, &low_rank(&forward, &x, &adapter)?, &norm)?])
        },
        move |inputs, cotangents, _| {
            let (x, adapter) = taken(inputs)?;
            let Adapter { lora_a, lora_b, .. } = &adapter;
            let (flat, wide) =
                (|array: &Array| array.flatten(0, 1), |array: &Array| array.astype(Dtype::Float32));
            let g = flat(&cotangents[0])?;
            let sized = wide(&g)?.multiply(&factor(&back, &adapter)?)?;
            let through = match &back.weight {
                Weight::Quantized(weight) => {
                    let (scales, biases) = (wide(&weight.scales)?, wide(&weight.biases)?);
                    let (group_size, bits) = (weight.group_size, weight.bits);
                    ops::quantized_matmul(&sized, &weight.packed, &scales, &biases, false, group_size, bits)?
                }
                Weight::Plain(weight) => sized.matmul(&wide(weight)?)?,
            };
            let (x2, s) = (wide(&flat(&x)?)?, sized * back.scale);
            let gb = s.matmul(&lora_b.t()?)?;
            let dx = through.add(&gb.matmul(&lora_a.t()?)?)?.reshape(x.shape())?.astype(x.dtype())?;
            let sum = product(&back, &x)?.add(&low_rank(&back, &x, &adapter)?.astype(x.dtype())?)?;
            let dm = wide(&flat(&sum)?)?.multiply(&wide(&g)?)?.sum(&[0], false)?;
            let dm = dm.divide(&norm_by_parts(&back, &adapter)?)?;
            Ok(vec![dx, x2.t()?.matmul(&gb)?, x2.matmul(lora_a)?.t()?.matmul(&s)?, dm])
        },
    )?;
    let Adapter { lora_a, lora_b, .. } = adapter;
    Ok(function.call(&[x, lora_a, lora_b, adapter.magnitude()?])?.remove(0))
}
