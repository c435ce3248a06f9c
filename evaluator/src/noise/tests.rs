use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn standing() -> Standing {
    Standing::new(NoiseSettings::default(), [])
}

/// Evaluates a program to its end; how often, and what came out.
fn evaluate(standing: &mut Standing, mut draw: impl FnMut() -> f64) -> (usize, Conclusion) {
    let mut draws = Draws::default();
    loop {
        match standing.step(&draws) {
            Step::First => draws.first.push(draw()),
            Step::Fresh => draws.fresh.push(draw()),
            Step::Done(conclusion) => {
                if let Some(record) = &conclusion.record {
                    standing.add(record);
                }
                return (draws.first.len() + draws.fresh.len(), conclusion);
            }
        }
    }
}

#[test]
fn a_deterministic_evaluator_is_asked_twice_now_and_then_and_every_step_up_is_claimed() {
    let mut standing = standing();
    assert_eq!(evaluate(&mut standing, || 1.0).0, 2);
    let mut evaluations = 0;
    for step in 0..100 {
        let better = 2.0 + f64::from(step);
        let (count, conclusion) = evaluate(&mut standing, || better);
        assert_eq!((conclusion.rank, conclusion.score.to_bits()), (Rank::Better, better.to_bits()));
        evaluations += count;
        let (count, conclusion) = evaluate(&mut standing, || better - 0.5);
        assert_eq!((count, conclusion.rank), (1, Rank::Other));
    }
    assert_eq!(evaluations, 100 + 7, "looked at the 1st, 2nd, 4th ... 64th time");
}

#[test]
fn a_first_score_that_noise_explains_costs_nothing_more_and_counts_as_no_better() {
    let mut standing = standing();
    let mut scores = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95].into_iter();
    evaluate(&mut standing, || scores.next().unwrap());
    for (score, expected) in [(0.9, 0.9), (1.05, 1.0)] {
        let (count, conclusion) = evaluate(&mut standing, || score);
        assert_eq!((count, conclusion.rank), (1, Rank::Other));
        assert!((conclusion.score - expected).abs() < 1e-12, "{conclusion:?}");
    }
}

#[test]
fn a_lucky_first_score_is_found_out_by_two_more() {
    let mut standing = standing();
    let mut scores = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95].into_iter();
    assert_eq!(evaluate(&mut standing, || scores.next().unwrap()).0, 6);
    let mut scores = [5.0, 0.9, 1.0].into_iter();
    let (count, conclusion) = evaluate(&mut standing, || scores.next().unwrap());
    assert_eq!((count, conclusion.rank), (3, Rank::Other));
    assert!(
        (conclusion.score - 0.95).abs() < 1e-12 && conclusion.reason.contains("was luck"),
        "{conclusion:?}"
    );
}

#[test]
fn what_is_much_better_is_claimed_and_what_cant_be_told_apart_counts_as_no_better() {
    let mut standing = standing();
    let mut scores = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95].into_iter();
    evaluate(&mut standing, || scores.next().unwrap());
    let mut scores = [1.2, 1.05, 1.04, 1.0, 1.06, 0.99, 1.03].into_iter();
    let (count, conclusion) = evaluate(&mut standing, || scores.next().unwrap());
    assert_eq!((count, conclusion.rank), (7, Rank::Other));
    assert!((conclusion.score - 1.0).abs() < 1e-12, "{conclusion:?}");
    let mut scores = [2.0, 1.6, 1.55, 1.5, 1.65, 1.6, 1.5].into_iter();
    let (count, conclusion) = evaluate(&mut standing, || scores.next().unwrap());
    assert_eq!((count, conclusion.rank), (7, Rank::Better));
    assert!((conclusion.score - 9.4 / 6.0).abs() < 1e-12, "the lucky 2.0 doesn't count: {conclusion:?}");
    assert!(conclusion.error.unwrap() > 0.0);
}

#[test]
fn a_resumed_search_stands_where_it_stood() {
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    let mut standing = standing();
    let mut records = Vec::new();
    for _ in 0..200 {
        let quality = generator.random_range(0.0..1.0);
        let (_, conclusion) = evaluate(&mut standing, || quality + generator.random_range(0.0..0.5));
        records.extend(conclusion.record);
    }
    assert!(records.len() > 3, "{}", records.len());
    let text = serde_json::to_string(&records).unwrap();
    let read: Vec<Record> = serde_json::from_str(&text).unwrap();
    let resumed = Standing::new(NoiseSettings::default(), &read);
    assert_eq!(format!("{resumed:?}"), format!("{standing:?}"));
}

/// One score: a sum of so many uniform ones, or of their squares, which is askew.
fn noise(generator: &mut ChaCha8Rng, kind: usize) -> f64 {
    let uniform = |generator: &mut ChaCha8Rng| generator.random_range(-1.0..1.0_f64);
    match kind {
        // Nearly normal.
        0 => (0..12).map(|_| uniform(generator)).sum::<f64>() / 2.0,
        // Bounded.
        1 => uniform(generator),
        // With a long tail above: the shape of a time's reciprocal.
        _ => 1.0 / (1.5 + uniform(generator)),
    }
}

/// Of identical programs none may be claimed to be better, in most searches.
#[test]
fn a_search_among_identical_programs_makes_a_false_claim_in_at_most_five_of_a_hundred() {
    let full = std::env::var_os("EVOLVE_TEST_FULL").is_some();
    let searches = if full { 2000 } else { 300 };
    for kind in 0..3 {
        let mut generator = ChaCha8Rng::seed_from_u64(11);
        let (mut false_claims, mut evaluations, mut inflation) = (0, 0, 0.0);
        for _ in 0..searches {
            let mut standing = standing();
            let mut best = f64::MIN;
            let mut claimed = false;
            for _ in 0..200 {
                let (count, conclusion) = evaluate(&mut standing, || noise(&mut generator, kind));
                evaluations += count;
                claimed |= conclusion.rank == Rank::Better;
                best = best.max(conclusion.score);
            }
            false_claims += u32::from(claimed);
            inflation += best;
        }
        let truth: f64 = {
            let mut generator = ChaCha8Rng::seed_from_u64(12);
            (0..100_000).map(|_| noise(&mut generator, kind)).sum::<f64>() / 1e5
        };
        // Three standard errors above 5 %.
        let limit = f64::from(searches) * 0.05 + 3.0 * (f64::from(searches) * 0.0475).sqrt();
        let rate = f64::from(false_claims) / f64::from(searches);
        println!(
            "noise {kind}: {false_claims} of {searches} searches claim falsely ({rate:.3}); best score {:+.3} from the truth; {:.2} \
             evaluations a program",
            inflation / f64::from(searches) - truth,
            evaluations as f64 / f64::from(searches) / 200.0
        );
        assert!(f64::from(false_claims) <= limit, "noise {kind}: {false_claims} of {searches}");
    }
}
