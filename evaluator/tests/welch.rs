//! Welch's t-test against `SciPy`'s.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use evaluator::statistics::{Comparison, compare};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    baseline: Vec<f64>,
    candidate: Vec<f64>,
    t: f64,
    degrees_of_freedom: f64,
    p_value: f64,
    interval: (f64, f64),
}

fn assert_close(what: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{what}: {ours} instead of {theirs}");
}

#[test]
fn welch_agrees_with_scipy() {
    let reference: Reference = serde_json::from_str(include_str!("data/welch.json")).unwrap();
    assert_eq!(reference.cases.len(), 6);
    for case in reference.cases {
        let Some(Comparison::Tested(welch)) = compare(&case.baseline, &case.candidate, 0.95) else {
            panic!("{}: no test was made", case.name);
        };
        assert_close(&format!("{}: t", case.name), welch.t, case.t);
        assert_close(&format!("{}: df", case.name), welch.degrees_of_freedom, case.degrees_of_freedom);
        assert_close(&format!("{}: p", case.name), welch.p_value, case.p_value);
        assert_close(&format!("{}: lower end", case.name), welch.interval.0, case.interval.0);
        assert_close(&format!("{}: upper end", case.name), welch.interval.1, case.interval.1);
    }
}
