//! The statistics against their specification: golden streams, `SciPy`'s values, the calibration battery.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod battery;
mod golden;
mod group;
mod noise;
mod reference;

use group::Group;

fn assert_all(groups: &[Group], at_least: usize) {
    let failures: Vec<&str> = groups.iter().flat_map(|group| &group.failures).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(
        groups.iter().map(|group| group.checked).sum::<usize>() >= at_least,
        "hardly anything was checked"
    );
}

#[test]
fn golden_streams_are_decided_exactly_as_specified() {
    let golden = serde_json::from_str(include_str!("data/golden.json")).unwrap();
    assert_all(&golden::check(&golden).unwrap(), 160 * 5);
}

#[test]
fn reference_values_agree_with_scipy() {
    let reference = serde_json::from_str(include_str!("data/reference.json")).unwrap();
    assert_all(&reference::check(&reference).unwrap(), 200);
}

/// A tenth of the repetitions, unless `EVOLVE_TEST_FULL` is set.
#[test]
fn simulated_rates_lie_in_the_batterys_ranges() {
    let share = if std::env::var_os("EVOLVE_TEST_FULL").is_some() { 1.0 } else { 0.1 };
    let battery = serde_json::from_str(include_str!("data/battery.json")).unwrap();
    assert_all(&battery::check(&battery, share).unwrap(), 138 + 9 * 8);
}
