//! What judging a check takes with a real model's layers.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, also their helpers")]

use std::time::Instant;

use grader::challenge::Material;
use grader::compare::{ERROR_BUDGET, Judge};
use grader::truth::Truth;
use trial_protocol::{AdapterKind, Challenge, CheckCase, Dtype, Quantization, Sibling};

/// Qwen2.5-0.5B's adapted layers, those that share x as groups too, for two texts of 256 tokens.
fn cases() -> Vec<CheckCase> {
    let quantization = Some(Quantization { group_size: 64, bits: 4 });
    let case = |input, output, bias, siblings: &[i32]| CheckCase {
        batch: 2,
        length: 256,
        input,
        output,
        rank: 8,
        scale: 16.0,
        quantization,
        bias,
        dtype: Dtype::Float32,
        adapter: AdapterKind::Dora,
        siblings: siblings.iter().map(|&output| Sibling { output, quantization, bias }).collect(),
    };
    vec![
        case(896, 896, true, &[]),
        case(896, 128, true, &[]),
        case(896, 896, false, &[]),
        case(896, 4864, false, &[]),
        case(4864, 896, false, &[]),
        case(896, 896, true, &[128, 128]),
        case(896, 4864, false, &[4864]),
    ]
}

/// `cargo test --release -p grader --test real_shapes -- --ignored --nocapture` prints it.
#[test]
#[ignore = "measures: a minute on a laptop's processor"]
fn seconds_of_judging_a_real_models_layers() {
    let mut sums = [0.0; 3];
    for case in cases() {
        let challenge = Challenge::plain(case.clone(), 7);
        let start = Instant::now();
        let material = Material::new(&challenge).unwrap();
        let made = start.elapsed().as_secs_f64();
        let truth = Truth::of(&material).unwrap();
        let known = start.elapsed().as_secs_f64() - made;
        drop(truth);
        drop(Judge::new(material, ERROR_BUDGET).unwrap());
        let judged = start.elapsed().as_secs_f64() - made - known;
        let outputs: Vec<i32> = case.layers().iter().map(|layer| layer.output).collect();
        println!(
            "{} x {outputs:?}: numbers {made:.2} s, truth {known:.2} s, truth and tolerances {judged:.2} s",
            case.input,
        );
        for (sum, part) in sums.iter_mut().zip([made, known, judged]) {
            *sum += part;
        }
    }
    println!("all: numbers {:.2} s, truth {:.2} s, truth and tolerances {:.2} s", sums[0], sums[1], sums[2]);
}
