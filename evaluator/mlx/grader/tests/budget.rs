//! What honest kernels need of the error budget, and what dishonest ones can't make do with.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, also their helpers")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grader::challenge::{self, Material};
use grader::compare::{ERROR_BUDGET, Judge, difference, own_errors};
use grader::host;
use grader::truth::Truth;
use kernels::dora;
use kernels::{By, Formula, HALVED, HONEST, NARROW, WRONG};
use trial_protocol::{AdapterKind, AnswerLayout, Challenge, CheckCase, Dtype, Of, Quantization, Sibling};

mod kernels;

const TYPES: [Dtype; 3] = [Dtype::Float32, Dtype::Float16, Dtype::Bfloat16];

/// Every group size, width and type, with other shapes for each.
fn cases(inputs: &[i32]) -> Vec<CheckCase> {
    let mut quantizations = vec![None];
    for group_size in [32, 64, 128] {
        quantizations.extend([2, 3, 4, 5, 6, 8].map(|bits| Some(Quantization { group_size, bits })));
    }
    let mut cases = Vec::new();
    for &input in inputs {
        for quantization in &quantizations {
            if quantization.is_some_and(|quantization| input % quantization.group_size != 0) {
                continue;
            }
            for dtype in TYPES {
                let number = cases.len() as i32;
                cases.push(CheckCase {
                    batch: 1 + number % 3,
                    length: 1 + 7 * (number % 5),
                    input,
                    output: [32, 96, 256][number as usize % 3],
                    rank: [2, 4, 8, 16][number as usize % 4],
                    scale: [0.5, 2.0, 16.0][number as usize % 3],
                    quantization: *quantization,
                    bias: number % 2 == 0,
                    dtype,
                    adapter: AdapterKind::Lora,
                    siblings: Vec::new(),
                });
            }
        }
    }
    cases
}

/// A few of them: other ones in each type.
fn some_cases() -> Vec<(CheckCase, Judge)> {
    some_cases_of(AdapterKind::Lora)
}

fn some_cases_of(adapter: AdapterKind) -> Vec<(CheckCase, Judge)> {
    let all = cases(&[64, 128, 256]);
    let some = all.into_iter().step_by(10).zip(1_u64..);
    some.map(|(case, seed)| {
        let case = CheckCase { adapter, ..case };
        let material = Material::new(&Challenge::plain(case.clone(), seed)).unwrap();
        (case, Judge::new(material, ERROR_BUDGET).unwrap())
    })
    .collect()
}

/// Whether result and gradients are all within what is allowed, and what they are.
fn passes(formula: Formula, judge: &Judge) -> (bool, String) {
    let errors = errors(formula, judge.material(), judge.truth());
    let passed = errors
        .iter()
        .zip(judge.tolerances())
        .all(|(error, tolerance)| error.is_some_and(|error| error <= *tolerance));
    (passed, format!("{errors:?}, allowed {:?}", judge.tolerances()))
}

/// The errors of result and gradients; `None` where not all is finite.
fn errors(formula: Formula, material: &Material, truth: &Truth) -> Vec<Option<f64>> {
    let kernels = material.together(|layer| Ok(Box::new(By(layer.clone(), formula)))).unwrap();
    let inputs = material.arrays(&material.second);
    let (results, gradients) =
        challenge::gradients(&kernels, &inputs, &material.layers, &material.cotangents()).unwrap();
    let truths = truth.forward.iter().chain(&truth.gradients);
    let error = |(array, truth): (&mlx_rs::Array, &Vec<f64>)| {
        let values: Vec<f32> = host::numbers(array).unwrap().into_iter().map(|value| value as f32).collect();
        difference(&values, truth)
    };
    results.iter().chain(&gradients).zip(truths).map(error).collect()
}

#[test]
fn honest_dora_kernels_pass_however_they_compute() {
    for (case, judge) in some_cases_of(AdapterKind::Dora) {
        for (name, formula) in dora::HONEST {
            let (passed, numbers) = passes(*formula, &judge);
            assert!(passed, "{name} on {}: {numbers}", challenge::describe(&case));
        }
    }
}

#[test]
fn dishonest_dora_kernels_fail() {
    for (case, judge) in some_cases_of(AdapterKind::Dora) {
        let subtle = dora::SUBTLE.iter().filter(|_| case.dtype == Dtype::Float32);
        for (name, formula) in dora::WRONG.iter().chain(subtle) {
            let (passed, numbers) = passes(*formula, &judge);
            assert!(!passed, "{name} on {}: {numbers}", challenge::describe(&case));
        }
    }
}

#[test]
fn honest_kernels_pass_however_they_compute() {
    for (case, judge) in some_cases() {
        for (name, formula) in HONEST {
            let (passed, numbers) = passes(*formula, &judge);
            assert!(passed, "{name} on {}: {numbers}", challenge::describe(&case));
        }
    }
}

#[test]
fn half_precision_inside_a_float32_layer_fails_and_inside_its_own_passes() {
    for (case, judge) in some_cases() {
        for (name, formula) in HALVED.iter().chain(NARROW) {
            let (passed, numbers) = passes(*formula, &judge);
            let place = challenge::describe(&case);
            if case.dtype == Dtype::Float32 {
                assert!(!passed, "{name} on {place}: {numbers}");
            } else if NARROW.iter().any(|(narrow, _)| narrow == name) {
                assert!(passed, "{name} on {place}: {numbers}");
            }
        }
    }
}

#[test]
fn wrong_numbers_fail_in_every_type() {
    for (case, judge) in some_cases() {
        for (name, formula) in WRONG {
            let (passed, numbers) = passes(*formula, &judge);
            assert!(!passed, "{name} on {}: {numbers}", challenge::describe(&case));
        }
    }
}

/// The answer of an honest runner with kernels that compute the truth.
fn right_answer(judge: &Judge) -> Vec<Vec<u8>> {
    let (truth, material) = (judge.truth(), judge.material());
    let inputs: Vec<&Vec<u8>> = material.second.all().collect();
    let part = |part: trial_protocol::Part| {
        let values = match part.of {
            Of::First(layer) => &truth.first[layer],
            Of::Forward(layer) | Of::Repeated(layer) => &truth.forward[layer],
            Of::Gradient(input) => &truth.gradients[input],
            Of::Afterwards(input) => return inputs[input].clone(),
        };
        host::to_bytes(&values.iter().map(|value| *value as f32).collect::<Vec<_>>(), part.dtype)
    };
    AnswerLayout::of(material.case()).parts.into_iter().map(part).collect()
}

/// A layer with two more that take its x, stored in other ways.
fn grouped(case: &CheckCase) -> CheckCase {
    let sibling = |output, quantization, bias| Sibling { output, quantization, bias };
    let siblings = vec![sibling(64, None, !case.bias), sibling(160, case.quantization, case.bias)];
    CheckCase { siblings, ..case.clone() }
}

#[test]
fn each_part_of_an_answer_is_judged_by_itself() {
    let dora = some_cases_of(AdapterKind::Dora).into_iter().take(2);
    let mut layers: Vec<_> = some_cases().into_iter().take(3).chain(dora).collect();
    for at in [2, 4] {
        let case = grouped(&layers[at].0);
        let material = Material::new(&Challenge::plain(case.clone(), 77)).unwrap();
        layers.push((case, Judge::new(material, ERROR_BUDGET).unwrap()));
    }
    for (case, judge) in layers {
        let right = right_answer(&judge);
        let judged = judge.compare(&right.concat());
        assert!(judged.iter().all(|comparison| comparison.passed), "{judged:?}");
        for (index, part) in AnswerLayout::of(&case).parts.iter().enumerate() {
            for fill in [0x00, 0xff, 0x7f] {
                let mut wrong = right.clone();
                wrong[index].fill(fill);
                let judged = judge.compare(&wrong.concat());
                let name = &part.quantity;
                let failed =
                    judged.iter().find(|comparison| comparison.quantity == *name && !comparison.passed);
                let failed = failed.unwrap_or_else(|| panic!("{name} filled with {fill}: {judged:?}"));
                assert!(fill != 0xff || failed.error.is_none() && failed.note.is_some(), "{failed:?}");
            }
        }
    }
}

#[test]
fn results_of_layers_that_share_x_are_told_apart() {
    let sibling = Sibling { output: 256, quantization: None, bias: false };
    let case = CheckCase { output: 256, siblings: vec![sibling], ..cases(&[64])[0].clone() };
    let material = Material::new(&Challenge::plain(case, 7)).unwrap();
    let judge = Judge::new(material, ERROR_BUDGET).unwrap();
    let mut swapped = right_answer(&judge);
    swapped.swap(2, 3);
    let judged = judge.compare(&swapped.concat());
    let failed: Vec<_> = judged
        .iter()
        .filter(|comparison| !comparison.passed)
        .map(|comparison| &comparison.quantity)
        .collect();
    // And the results of the call after them are others.
    let of = |word: &str| [1, 2].map(|layer| format!("{word} of layer {layer}"));
    assert_eq!(failed, of("forward").iter().chain(&of("repeated forward")).collect::<Vec<_>>());
}

#[test]
fn results_that_were_kept_from_the_first_call_fail() {
    for (_, judge) in some_cases().into_iter().take(3) {
        let mut stale = right_answer(&judge);
        stale[1] = stale[0].clone();
        stale[5] = stale[0].clone();
        let judged = judge.compare(&stale.concat());
        let failed: Vec<_> = judged
            .iter()
            .filter(|comparison| !comparison.passed)
            .map(|comparison| &comparison.quantity)
            .collect();
        assert_eq!(failed, ["forward", "repeated forward"]);
    }
}

#[test]
fn two_results_for_the_same_inputs_must_agree_better_than_with_the_truth() {
    let (_, judge) = some_cases().remove(0);
    let mut answer = right_answer(&judge);
    let largest = judge.truth().forward[0].iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let off = |sign: f64| {
        let values = judge.truth().forward[0].iter();
        let values: Vec<f32> =
            values.map(|value| (value + sign * 0.8 * judge.tolerances()[0] * largest) as f32).collect();
        host::to_bytes(&values, judge.material().case().dtype)
    };
    (answer[1], answer[5]) = (off(1.0), off(-1.0));
    let judged = judge.compare(&answer.concat());
    let failed: Vec<_> = judged.iter().filter(|comparison| !comparison.passed).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].note.as_deref().unwrap().contains("the call before"), "{failed:?}");
}

#[test]
fn a_seed_gives_the_same_challenge_and_another_seed_another() {
    let case = cases(&[64])[0].clone();
    let material = |seed| Material::new(&Challenge::plain(case.clone(), seed)).unwrap();
    assert_eq!((material(1).first, material(1).second), (material(1).first, material(1).second));
    assert_ne!(material(1).first, material(1).second);
    assert_ne!(material(1).first, material(2).first);
}

/// Ratio to the error of the straightforward executions (least and most), the largest error itself, and where.
struct Measured {
    least: f64,
    most: f64,
    error: f64,
    place: String,
}

#[test]
#[ignore = "prints what the default budget was chosen by; SECONDS says how long (150)"]
fn measure() {
    let mut table = BTreeMap::<String, Measured>::new();
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let (start, all) = (Instant::now(), cases(&[64, 128, 256, 512, 1024]));
    let mut seeds = 0_u64..;
    while start.elapsed() < Duration::from_secs(seconds) {
        let seed = seeds.next().unwrap();
        let case = &all[(seed * 7919) as usize % all.len()];
        let material = Material::new(&Challenge::plain(case.clone(), seed)).unwrap();
        let truth = Truth::of(&material).unwrap();
        let own = own_errors(&material, &truth).unwrap();
        for (kind, kernels) in [("honest", HONEST), ("narrow", NARROW), ("halved", HALVED), ("wrong", WRONG)]
        {
            for (name, formula) in kernels {
                let errors = errors(*formula, &material, &truth);
                let errors: Vec<f64> = errors.into_iter().map(|error| error.unwrap_or(f64::MAX)).collect();
                let ratio = errors.iter().zip(&own).map(|(error, own)| error / own).fold(0.0, f64::max);
                let place = challenge::describe(case);
                let new = Measured { least: ratio, most: 0.0, error: 0.0, place: String::new() };
                let entry = table.entry(format!("{:?} {kind} {name}", case.dtype)).or_insert(new);
                if ratio > entry.most {
                    (entry.most, entry.place) = (ratio, place);
                }
                entry.least = entry.least.min(ratio);
                entry.error = errors.into_iter().fold(entry.error, f64::max);
            }
        }
    }
    println!("{seeds:?} cases");
    for (key, Measured { least, most, error, place }) in table {
        println!(
            "{key:50} {least:8.2e} to {most:8.2e} times the straightforward error, up to {error:8.2e}  {place}"
        );
    }
}
