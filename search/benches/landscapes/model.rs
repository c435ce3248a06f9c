//! A stand-in for a language model: it changes the parent that it is shown, and may recombine it with an inspiration.
//!
//! It is the same for every strategy and knows nothing of the landscape. Like a model it mostly makes small changes, now and
//! then a bold one, and sometimes code that doesn't compile. Asked for wider changes, it changes more places and further.

use std::fmt::Write;

use rand::{Rng, RngExt};

/// A program: numbers from 0 to 1.
pub(crate) type Genome = Vec<f64>;

/// Share of proposals that don't compile.
const BROKEN: f64 = 0.1;
/// Share of proposals that take parts of an inspiration, if any is shown.
const RECOMBINED: f64 = 0.3;
/// Share of the changed places that are thought up anew.
const BOLD: f64 = 0.1;
/// Standard deviation of a small change.
const STEP: f64 = 0.06;

/// What the model answers; none if it doesn't compile.
pub(crate) fn propose(
    parent: &[f64],
    shown: &[&Genome],
    widening: u32,
    rng: &mut impl Rng,
) -> Option<Genome> {
    let mut child = parent.to_vec();
    if !shown.is_empty() && rng.random_bool(RECOMBINED) {
        let other = shown[rng.random_range(0..shown.len())];
        for (mine, theirs) in child.iter_mut().zip(other) {
            if rng.random_bool(0.5) {
                *mine = *theirs;
            }
        }
    }
    let wider = 2_f64.powi(widening.cast_signed());
    // Mostly one or two places; each level of widening doubles that.
    let places = (f64::from(1 + u32::from(rng.random_bool(0.4))) * wider) as usize;
    for _ in 0..places {
        let at = rng.random_range(0..child.len());
        child[at] = if rng.random_bool(BOLD) {
            rng.random()
        } else {
            reflect(child[at] + STEP * wider * normal(rng))
        };
    }
    (!rng.random_bool(BROKEN)).then_some(child)
}

/// Back into 0 to 1, as from a wall.
fn reflect(value: f64) -> f64 {
    let folded = value.rem_euclid(2.0);
    if folded > 1.0 { 2.0 - folded } else { folded }
}

/// A standard normal draw (Box and Muller).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// The program as source text.
pub(crate) fn source(genome: &[f64]) -> String {
    genome.iter().enumerate().fold(String::new(), |mut text, (i, x)| {
        let _ = writeln!(text, "let x{i} = {x:.6};");
        text
    })
}
