//! Other values for a program's numbers: for marked ones as search suggests them, for one without a mark to see whether it matters. No
//! model is asked.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use search::{Outcome, PROBE, TUNE};

use super::{Exhibit, Proposal, Request, rewrite};

/// The parent with these values in place of its marked numbers.
pub fn propose(parent: &Exhibit, values: &[f64]) -> Proposal {
    let change = search::tune::substitute(&parent.source, values).ok_or_else(|| Outcome::Patch {
        reason: format!("program {} doesn't have {} marked numbers", parent.id, values.len()),
    });
    Proposal::offline(TUNE, TUNE, change)
}

/// The parent with one of its numbers without a mark doubled or halved, and marked; one that wasn't proposed before. 0, 1 and 2
/// are left alone: they seldom are a matter of taste.
pub fn probe(request: &Request) -> Proposal {
    let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
    let source = &*request.parent.source;
    let mut possible: Vec<_> = rewrite::numbers(source, request.language)
        .into_iter()
        .filter_map(|literal| search::tune::mark(source, &literal, request.language))
        .filter(|(.., knob)| ![0.0, 1.0, 2.0].contains(&knob.value))
        .flat_map(|(marked, position, knob)| {
            [2.0, 0.5].map(|factor| (marked.clone(), position, knob.value * factor))
        })
        .collect();
    possible.shuffle(&mut rng);
    let probe = possible.into_iter().find_map(|(marked, position, value)| {
        let mut values = search::tune::values(&marked);
        *values.get_mut(position)? = value;
        search::tune::substitute(&marked, &values).filter(|changed| !request.seen.contains(changed))
    });
    Proposal::offline(TUNE, PROBE, probe.ok_or(Outcome::NoChange))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use search::{Language, ProgramId};

    use super::*;
    use crate::proposer::{Guidance, ProblemText, Seen};

    #[test]
    fn values_take_the_place_of_marked_numbers() {
        let source = "// EVOLVE-BLOCK-START\nlet b = 32; // @tune 32 [8..256] log\n// EVOLVE-BLOCK-END\n";
        let parent = Exhibit::new(ProgramId(3), source, None);
        assert_eq!(propose(&parent, &[64.0]).change, Ok(source.replace("32", "64")));
        assert!(matches!(propose(&parent, &[]).change, Err(Outcome::Patch { .. })));
    }

    #[test]
    fn a_probe_changes_one_number_marks_it_and_proposes_none_again() {
        let source = "K = 5\n# EVOLVE-BLOCK-START\na = f(2, 8, \"9\")\nb = 0.5  # half of 7\nc = 3  # @tune 3 [1..9]\n# EVOLVE-BLOCK-END\n";
        let mut seen = Vec::new();
        loop {
            let known = seen.clone();
            let request = Request {
                number: ProgramId(1),
                seed: 7,
                language: Language::Python,
                problem: Arc::new(ProblemText::default()),
                parent: Exhibit::new(ProgramId::INITIAL, source, None),
                inspirations: vec![],
                different: vec![],
                partner: None,
                successes: vec![],
                failures: vec![],
                repair: None,
                lessons: None,
                seen: Seen::new(move |source| known.contains(&source.to_owned())),
                guidance: Guidance::default(),
            };
            let proposal = probe(&request);
            assert_eq!(proposal, probe(&request));
            match proposal.change {
                Ok(changed) => seen.push(changed),
                Err(outcome) => {
                    assert_eq!(outcome, Outcome::NoChange);
                    break;
                }
            }
        }
        seen.sort();
        let with = |old: &str, new: &str| source.replace(old, new);
        let mut expected = vec![
            with("8, \"9\")", "16, \"9\") # @tune 16 [1..64] log"),
            with("8, \"9\")", "4, \"9\") # @tune 4 [1..64] log"),
            with("0.5  # half of 7", "1.0  # half of 7 # @tune 1.0 [0.0625..4.0] log"),
            with("0.5  # half of 7", "0.25  # half of 7 # @tune 0.25 [0.0625..4.0] log"),
        ];
        expected.sort();
        assert_eq!(seen, expected);
    }
}
