//! Adam and `AdamW` as `mlx.optimizers` computes them by default: no bias correction, β = (0.9, 0.999),
//! ε = 1e-8, and for `AdamW` a weight decay of 0.01.

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps with learning rate 0.1, as `mlx.optimizers` 0.32.2 takes them.
    fn three_steps(optimizer: Optimizer) -> Vec<f32> {
        let gradients = [[0.1, -0.2, 0.3, 1e-9], [0.0, 0.4, -0.1, 0.0], [1.0, 1.0, 1.0, 0.0]];
        let mut parameter = Array::from_slice(&[0.5_f32, -1.0, 2.0, 0.0], &[4]);
        let mut moments = Moments::new(&parameter).unwrap();
        for gradient in gradients {
            let gradient = Array::from_slice(&gradient.map(|value: f64| value as f32), &[4]);
            (parameter, moments) =
                update(optimizer, &Array::from_f32(0.1), &parameter, &gradient, &moments).unwrap();
        }
        parameter.eval().unwrap();
        parameter.as_slice::<f32>().to_vec()
    }

    fn close(ours: &[f32], theirs: [f32; 4]) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 1e-6 * theirs.abs(), "{ours} instead of {theirs}");
        }
    }

    #[test]
    fn adam_steps_as_mlx_optimizers_do_without_bias_correction() {
        close(&three_steps(Optimizer::Adam), [-0.441_122_2, -1.185_218_9, 1.166_023_7, -0.002_701_461_3]);
    }

    #[test]
    fn adamw_decays_by_a_hundredth_of_the_rate() {
        close(&three_steps(Optimizer::Adamw), [-0.441_703_8, -1.182_698_5, 1.160_831_9, -0.002_698_571_4]);
    }
}
