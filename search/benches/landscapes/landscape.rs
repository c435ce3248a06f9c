//! Synthetic landscapes: what a program of numbers scores.

#![allow(clippy::unnecessary_wraps, reason = "all are of one type, and some have invalid programs")]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::model::normal;

/// What makes a landscape hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Unimodal,
    Multimodal,
    Deceptive,
    Noisy,
    Plateaus,
    Invalid,
}

/// A function of numbers from 0 to 1, lowest (0) at the optimum; none where a program is invalid.
type Loss = fn(&Instance, &[f64]) -> Option<f64>;

#[derive(Clone, Copy)]
pub(crate) struct Landscape {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) dimensions: usize,
    loss: Loss,
    /// A loss of at most this is the target.
    pub(crate) target: f64,
    /// Standard deviation of the logarithm of the score.
    pub(crate) noise: f64,
}

/// One draw of a landscape: where its optimum is, and how it is turned.
pub(crate) struct Instance {
    pub(crate) landscape: Landscape,
    optimum: Vec<f64>,
    rotation: Vec<Vec<f64>>,
}

impl Instance {
    pub(crate) fn new(landscape: Landscape, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(7);
        let dimensions = landscape.dimensions;
        let optimum = (0..dimensions).map(|_| rng.random_range(0.6..0.9)).collect();
        // Gram and Schmidt on normal vectors: any rotation is as likely.
        let mut rotation: Vec<Vec<f64>> = Vec::new();
        while rotation.len() < dimensions {
            let mut row: Vec<f64> = (0..dimensions).map(|_| normal(&mut rng)).collect();
            for other in &rotation {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
            let length = dot(&row, &row).sqrt();
            rotation.push(row.into_iter().map(|x| x / length).collect());
        }
        Self { landscape, optimum, rotation }
    }

    /// The program that a search begins with: far from the optimum, for the deceptive ones on the wrong side.
    pub(crate) fn initial(&self) -> Vec<f64> {
        vec![0.2; self.landscape.dimensions]
    }

    /// The loss of a program.
    pub(crate) fn loss(&self, x: &[f64]) -> Option<f64> {
        (self.landscape.loss)(self, x)
    }

    /// Distances from the optimum along each axis.
    fn offset(&self, x: &[f64]) -> Vec<f64> {
        x.iter().zip(&self.optimum).map(|(x, o)| x - o).collect()
    }

    /// The same, turned.
    fn turned(&self, x: &[f64]) -> Vec<f64> {
        let offset = self.offset(x);
        self.rotation.iter().map(|row| dot(row, &offset)).collect()
    }
}

fn dot(one: &[f64], two: &[f64]) -> f64 {
    one.iter().zip(two).map(|(a, b)| a * b).sum()
}

fn square(z: &[f64]) -> f64 {
    dot(z, z)
}

fn sphere(it: &Instance, x: &[f64]) -> Option<f64> {
    Some(square(&it.offset(x)))
}

/// Axes of very different weight, turned: condition 100.
fn ellipsoid(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.turned(x);
    let last = (z.len() - 1) as f64;
    Some(z.iter().enumerate().map(|(i, z)| 100_f64.powf(i as f64 / last - 1.0) * z * z).sum())
}

/// Rosenbrock's curved valley.
fn valley(it: &Instance, x: &[f64]) -> Option<f64> {
    let z: Vec<f64> = it.offset(x).iter().map(|z| 1.0 + 3.0 * z).collect();
    Some(z.windows(2).map(|z| 10.0 * (z[1] - z[0] * z[0]).powi(2) + (1.0 - z[0]).powi(2)).sum())
}

fn ripples(z: &[f64], depth: f64, frequency: f64) -> f64 {
    z.iter().map(|z| depth * (1.0 - (std::f64::consts::TAU * frequency * z).cos())).sum()
}

/// Rastrigin's function, turned: many optima on a bowl.
fn rastrigin(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.turned(x);
    Some(square(&z) + ripples(&z, 0.04, 4.0))
}

/// Ackley's function: nearly flat with ripples, and a narrow funnel.
fn ackley(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.turned(x);
    let n = z.len() as f64;
    let waves = z.iter().map(|z| (std::f64::consts::TAU * 5.0 * z).cos()).sum::<f64>() / n;
    Some((20.0 - 20.0 * (-3.0 * (square(&z) / n).sqrt()).exp() + 1_f64.exp() - waves.exp()) / 20.0)
}

/// Griewank's function: fine ripples that depend on all numbers at once.
fn griewank(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.turned(x);
    let product: f64 =
        z.iter().enumerate().map(|(i, z)| (30.0 * z / (i as f64 + 1.0).sqrt()).cos()).product();
    Some(0.6 * square(&z) + 0.08 * (1.0 - product))
}

/// Gaussian hills of random places: the highest is small, the start lies at a broad lower one.
fn hills(it: &Instance, x: &[f64]) -> Option<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64((it.optimum[0] * 1e15) as u64);
    let best = (-square(&it.offset(x)) / 0.03).exp();
    let lower = (0..12).map(|hill| {
        let center: Vec<f64> = x.iter().map(|_| rng.random()).collect();
        let distance: f64 = x.iter().zip(&center).map(|(x, c)| (x - c).powi(2)).sum();
        let height = 0.3 + 0.5 * f64::from(hill) / 12.0;
        height * (-distance / 0.08).exp()
    });
    let slope = 0.1 * (-square(&it.offset(x)) / 0.8).exp();
    Some(1.1 - lower.fold(best, f64::max) - slope)
}

/// Lunacek's two funnels: the wider one, where the start is, has no optimum at its bottom.
fn two_funnels(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.offset(x);
    let right = square(&z);
    let left = 0.05 + 0.5 * x.iter().map(|x| (x - 0.25).powi(2)).sum::<f64>();
    Some(right.min(left) + ripples(&z, 0.008, 4.0))
}

/// Each number alone leads away from the optimum, but for a narrow peak at it.
fn trap(it: &Instance, x: &[f64]) -> Option<f64> {
    let one = |z: f64| if z.abs() < 0.08 { z.abs() * 2.0 } else { 0.3 + 0.5 * (0.6 - z.abs()).max(0.0) };
    let z = it.offset(x);
    Some(z.iter().map(|z| one(*z)).sum::<f64>() / z.len() as f64)
}

/// Two ways out of the start: the steep one ends low, the one that first goes down ends high.
fn detour(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.offset(x);
    let far = (square(&z) / z.len() as f64).sqrt();
    let local = (x.iter().map(|x| (x - 0.1).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
    Some(if far < 0.35 { far } else { (0.36 + 0.8 * local).min(1.0) })
}

fn bits(x: &[f64]) -> Vec<bool> {
    x.iter().map(|x| *x > 0.5).collect()
}

/// Goldberg's traps of four bits: all ones is best, but each block leads to all zeros.
fn bit_traps(_: &Instance, x: &[f64]) -> Option<f64> {
    let bits = bits(x);
    let block = |block: &[bool]| match block.iter().filter(|bit| **bit).count() {
        4 => 0.0,
        ones => (1.0 + ones as f64) / 4.0,
    };
    Some(bits.chunks(4).map(block).sum::<f64>() / (bits.len() as f64 / 4.0))
}

/// Royal road: a block of three bits counts only when it is whole.
fn royal_road(_: &Instance, x: &[f64]) -> Option<f64> {
    let bits = bits(x);
    let blocks = bits.len() / 3;
    Some(bits.chunks(3).filter(|block| !block.iter().all(|bit| *bit)).count() as f64 / blocks as f64)
}

/// A bowl in steps: what happens within one isn't seen.
fn steps(it: &Instance, x: &[f64]) -> Option<f64> {
    Some((square(&it.offset(x)).sqrt() / 0.1).floor() * 0.1)
}

/// A bowl, of which a third is invalid: stripes across the way.
fn stripes(it: &Instance, x: &[f64]) -> Option<f64> {
    let loss = square(&it.offset(x));
    let stripe = (x.iter().sum::<f64>() * 4.0).rem_euclid(1.0) < 0.33;
    (!stripe || loss < 0.01).then_some(loss)
}

/// Rastrigin's function with a wall around the start, open at few places.
fn walled(it: &Instance, x: &[f64]) -> Option<f64> {
    let z = it.offset(x);
    let from_start = x.iter().map(|x| (x - 0.2).abs()).fold(0.0, f64::max);
    let wall = (0.2..0.32).contains(&from_start) && x[0] < 0.45;
    (!wall).then(|| square(&z) + ripples(&z, 0.03, 3.0))
}

const fn landscape(
    name: &'static str,
    family: Family,
    dimensions: usize,
    loss: Loss,
    target: f64,
    noise: f64,
) -> Landscape {
    Landscape { name, family, dimensions, loss, target, noise }
}

/// All of them.
pub(crate) const ALL: [Landscape; 17] = [
    landscape("sphere", Family::Unimodal, 8, sphere, 0.01, 0.0),
    landscape("ellipsoid", Family::Unimodal, 6, ellipsoid, 0.005, 0.0),
    landscape("valley", Family::Unimodal, 3, valley, 0.05, 0.0),
    landscape("rastrigin", Family::Multimodal, 4, rastrigin, 0.02, 0.0),
    landscape("ackley", Family::Multimodal, 5, ackley, 0.12, 0.0),
    landscape("griewank", Family::Multimodal, 4, griewank, 0.02, 0.0),
    landscape("hills", Family::Multimodal, 3, hills, 0.15, 0.0),
    landscape("two funnels", Family::Deceptive, 3, two_funnels, 0.03, 0.0),
    landscape("trap", Family::Deceptive, 4, trap, 0.1, 0.0),
    landscape("detour", Family::Deceptive, 4, detour, 0.08, 0.0),
    landscape("bit traps", Family::Deceptive, 12, bit_traps, 0.0, 0.0),
    landscape("noisy sphere", Family::Noisy, 6, sphere, 0.03, 0.02),
    landscape("noisy ripples", Family::Noisy, 4, rastrigin, 0.06, 0.02),
    landscape("steps", Family::Plateaus, 8, steps, 0.1, 0.0),
    landscape("royal road", Family::Plateaus, 12, royal_road, 0.0, 0.0),
    landscape("stripes", Family::Invalid, 6, stripes, 0.01, 0.0),
    landscape("walled", Family::Invalid, 4, walled, 0.02, 0.0),
];
