//! Layers that share x: a kernel that computes them together is checked and trained with, whatever it does wrong.

use crate::common::{self, Kernel, ask, cases, checking, failure_of, train, training_texts, trial};
use grader::challenge::Material;
use grader::compare::{ERROR_BUDGET, Judge};
use trial_protocol::{Challenge, CheckCase, Comparison, Request, Sibling};

/// Two layers as wide as each other, and a narrower one, of every kind of layer; the first ones have another stored in another way.
fn groups() -> Vec<CheckCase> {
    let group = |(index, case): (usize, CheckCase)| {
        let (quantization, bias) = (case.quantization, case.bias);
        let sibling = |output, bias| Sibling { output, quantization, bias };
        let mut siblings = vec![sibling(32, !bias), sibling(case.output, bias)];
        if index % 4 == 3 {
            siblings[0].quantization = None;
        }
        CheckCase { siblings, ..case }
    };
    cases().into_iter().enumerate().map(group).collect()
}

fn judged(form: &str, cases: &[CheckCase]) -> Vec<(CheckCase, Vec<Comparison>)> {
    let mut runner = checking(&Kernel::variant("group.rs", "FORM", form), true);
    let judged = cases.iter().zip(7..).map(|(case, seed)| {
        let challenge = Challenge { companions: 3, idle_calls: 2, ..Challenge::plain(case.clone(), seed) };
        let answer = ask(&mut runner, &challenge).unwrap_or_else(|reply| panic!("{form}: {reply:?}"));
        let judge = Judge::new(Material::new(&challenge).unwrap(), ERROR_BUDGET).unwrap();
        (case.clone(), judge.compare(&answer))
    });
    judged.collect()
}

#[test]
fn a_group_that_is_right_passes_and_so_do_kernels_that_form_none() {
    for form in ["shared product", "none"] {
        for (case, comparisons) in judged(form, &groups()) {
            // Two for each repeated result, one for everything else.
            assert_eq!(comparisons.len(), 3 * 4 + 2 + 2 * 2 * 3, "{case:?}");
            for comparison in comparisons {
                assert!(comparison.passed, "{form}: {case:?}: {comparison:?}");
            }
        }
    }
}

#[test]
fn wrong_numbers_of_a_group_are_found_where_they_are() {
    let wrong: [(&str, &[&str]); 6] = [
        ("results swapped", &["forward of layer 1", "forward of layer 3", "first forward of layer 3"]),
        ("adapters swapped", &["forward of layer 1", "grad lora_a of layer 3", "grad lora_b of layer 1"]),
        ("adapter ignored", &["forward of layer 3", "grad lora_a of layer 3", "grad x"]),
        ("one lora_a for all", &["forward of layer 3", "grad lora_a of layer 1", "grad lora_a of layer 3"]),
        ("gradient of one stopped", &["grad lora_b of layer 3"]),
        ("gradients leak", &["grad x", "grad lora_a of layer 1", "grad lora_b of layer 1"]),
    ];
    for (form, quantities) in wrong {
        let (_, comparisons) = judged(form, &groups()[..1]).remove(0);
        let failed: Vec<&str> = comparisons
            .iter()
            .filter(|comparison| !comparison.passed)
            .map(|comparison| comparison.quantity.as_str())
            .collect();
        for quantity in quantities {
            assert!(failed.contains(quantity), "{form}: {quantity} is not among {failed:?}");
        }
        assert!(!failed.iter().any(|quantity| quantity.ends_with("of layer 2")), "{form}: {failed:?}");
    }
    // Nothing is wrong with its layers by themselves.
    for (case, comparisons) in judged("results swapped", &cases()) {
        assert!(comparisons.iter().all(|comparison| comparison.passed), "{case:?}: {comparisons:?}");
    }
}

#[test]
fn a_group_that_gives_up_is_quoted() {
    let texts = training_texts();
    for (form, words) in [
        ("refuses", "no groups today"),
        ("panics in group", "panicked: row 7 is missing"),
        ("panics", "panicked: row 7 is missing"),
        ("one too few", "gave "),
    ] {
        let kernel = Kernel::variant("group.rs", "FORM", form);
        let message = failure_of(
            ask(&mut checking(&kernel, true), &Challenge::plain(groups()[0].clone(), 7)).unwrap_err(),
        );
        assert!(message.contains(words) && message.contains("128×64+32+64"), "{form}: {message}");
        let mut runner = common::Runner::start(&Request::Trial(trial(Some(kernel.plugin()), texts.path())));
        let message = failure_of(runner.reply().unwrap());
        let place = "model.layers.0.mlp.gate_proj + model.layers.0.mlp.up_proj";
        let other = "model.layers.0.self_attn.q_proj + model.layers.0.self_attn.k_proj + model.layers.0.self_attn.v_proj";
        assert!(message.contains(words), "{form}: {message}");
        assert!(message.contains(place) || message.contains(other), "{form}: {message}");
    }
}

#[test]
fn a_trial_trains_with_the_group() {
    let request = trial(None, common::all_texts().as_path());
    let mut judge = grader::trial::Judge::new(&request.model, &request.training).unwrap();
    let mut trained = |form| {
        let (report, adapters) = train(Some(Kernel::variant("group.rs", "FORM", form).plugin()), 42);
        // Two blocks of seven layers, in three steps after one of warm-up.
        assert_eq!((report.kernel_layers, report.kernel_calls), (14, 56), "{form}");
        (judge.grade(42, 3, &adapters).unwrap(), adapters)
    };
    let (alone, adapters) = trained("none");
    let (together, others) = trained("shared product");
    assert!(alone.deviation <= alone.tolerance && together.deviation <= together.tolerance, "{together:?}");
    assert_eq!(adapters.len(), others.len());
    for form in ["adapter ignored", "one lora_a for all", "gradient of one stopped", "gradients leak"] {
        let (grade, _) = trained(form);
        assert!(grade.deviation > grade.tolerance, "{form}: {grade:?}");
    }
}
