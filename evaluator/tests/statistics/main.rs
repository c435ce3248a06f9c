//! The statistics against their specification: golden streams, `SciPy`'s values, the calibration battery.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod battery;
mod golden;
mod group;
mod noise;
mod reference;
mod search;

use evaluator::problem::RaceSettings;
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

/// A tenth of the repetitions, with ranges √10 times as wide; four times all of them if `EVOLVE_TEST_FULL` is set.
#[test]
fn simulated_rates_lie_in_the_batterys_ranges() {
    let share = if std::env::var_os("EVOLVE_TEST_FULL").is_some() { 4.0 } else { 0.1 };
    let battery = serde_json::from_str(include_str!("data/battery.json")).unwrap();
    assert_all(&battery::check(&battery, share).unwrap(), 138 + 9 * 8);
}

/// What must hold for a user: two metrics, defaults, null candidates only. Memory without noise, as MLX's allocator is.
#[test]
fn searches_among_nulls_claim_nothing_and_cost_three_trials_a_candidate() {
    let full = std::env::var_os("EVOLVE_TEST_FULL").is_some();
    // Of three searches one may claim by chance, and their mean cost is uncertain by a fifth.
    let (searches, any, trials, mean_trials) =
        if full { (200, 0.05, 3.333, 3.0) } else { (3, 0.34, 4.0, 3.2) };
    let mut sum = 0.0;
    for (index, model) in search::MODELS.iter().enumerate() {
        let nulls = search::nulls(model, 0.0, searches, 200, 500 + index as u64).unwrap();
        assert!(nulls.any <= any && nulls.each <= 0.05 && nulls.trials <= trials, "{model}: {nulls:?}");
        sum += nulls.trials;
    }
    let mean = sum / search::MODELS.len() as f64;
    assert!(mean <= mean_trials, "{mean} trials per null candidate over all models");
}

#[test]
fn the_first_candidate_with_ten_percent_more_speed_is_claimed() {
    let power = search::power(&RaceSettings::default(), "n2", 0.0, (0.1, 0.0), 100, 3).unwrap();
    assert!(power > 0.85, "{power}");
    let leaner = search::power(&RaceSettings::default(), "n5", 0.0, (0.0, 0.05), 100, 4).unwrap();
    assert!(leaner > 0.85, "{leaner}");
}
