//! Adam and AdamW as `mlx.optimizers` computes them by default: no bias correction, β = (0.9, 0.999),
//! ε = 1e-8, and for AdamW a weight decay of 0.01.

use mlx_rs::error::Result;
use mlx_rs::{Array, ops};
use trial_protocol::Optimizer;

// Differences such as 1 - β are taken in double precision and rounded once, as Python does it.
const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;
const WEIGHT_DECAY: f32 = 0.01;

/// One parameter's running means of gradient and squared gradient.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Mean gradient.
    pub m: Array,
    /// Mean squared gradient.
    pub v: Array,
}

impl Moments {
    /// Zeros for `parameter`.
    pub fn new(parameter: &Array) -> Result<Self> {
        let zeros = || ops::zeros_dtype(parameter.shape(), parameter.dtype());
        Ok(Self { m: zeros()?, v: zeros()? })
    }
}

/// The parameter and its moments after one step along `gradient`. `rate` is a float32 scalar.
pub fn update(
    optimizer: Optimizer,
    rate: &Array,
    parameter: &Array,
    gradient: &Array,
    moments: &Moments,
) -> Result<(Array, Moments)> {
    let scalar = |value: f64| Array::from_f32(value as f32);
    let rate = rate.as_dtype(gradient.dtype())?;
    let decayed;
    let parameter = match optimizer {
        Optimizer::Adam => parameter,
        Optimizer::Adamw => {
            let keep = Array::from_f32(1.0).subtract(rate.multiply(Array::from_f32(WEIGHT_DECAY))?)?;
            decayed = parameter.multiply(keep)?;
            &decayed
        }
    };
    let m = scalar(BETA_1).multiply(&moments.m)?.add(scalar(1.0 - BETA_1).multiply(gradient)?)?;
    let v = scalar(BETA_2).multiply(&moments.v)?.add(scalar(1.0 - BETA_2).multiply(gradient.square()?)?)?;
    let step = rate.multiply(&m)?.divide(v.sqrt()?.add(Array::from_f32(EPSILON))?)?;
    Ok((parameter.subtract(step)?, Moments { m, v }))
}
