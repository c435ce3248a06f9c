//! The embedded proposer: rewrite rules, number changes and exchange of items between programs.
//!
//! It recombines what its rules know and invents nothing. Every move that is possible on a program has the
//! same chance: nothing in here, nor in the rules, says which of them do good.

use std::path::Path;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Language, Outcome};

use super::{Exhibit, Proposal, Proposer, ProposerError, Request};

mod items;
mod numbers;
mod rules;
mod tree;

use rules::Rules;
pub use rules::rule_names;
use tree::Parsed;

/// Draws until something new comes out; a program has far fewer neighbours than this.
const DRAWS: usize = 256;
/// Most moves in one proposal.
const MOVES: usize = 3;

/// Proposes by rewriting.
pub struct RewriteProposer {
    rules: Rules,
}

/// A replacement of a part of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    /// Bytes of the source.
    range: std::ops::Range<usize>,
    text: String,
}

impl Edit {
    fn apply(&self, source: &str) -> Option<String> {
        Some([source.get(..self.range.start)?, &self.text, source.get(self.range.end..)?].concat())
    }
}

impl RewriteProposer {
    /// The built-in rules and those of the problem, `*.yml` files in `rules_dir`.
    pub fn new(rules_dir: Option<&Path>) -> Result<Self, ProposerError> {
        Ok(Self { rules: Rules::load(rules_dir)? })
    }

    /// Draws proposals until one is neither the parent nor seen before.
    pub fn rewrite(&self, request: &Request) -> Proposal {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let parent = &*request.parent.source;
        if let Err(error) = evaluator::block::parse(parent) {
            let outcome = Outcome::Patch { reason: format!("program {}: {error}", request.parent.id) };
            return Proposal::offline(self.name(), "none", Err(outcome));
        }
        for _ in 0..DRAWS {
            let moves = rng.random_range(1..=MOVES);
            let mut source = parent.to_owned();
            let mut operator = Vec::new();
            for _ in 0..moves {
                let Some((name, next)) =
                    self.step(&source, request.language, &request.inspirations, &mut rng)
                else {
                    break;
                };
                source = next;
                operator.push(name);
            }
            if source != parent && !request.seen.contains(&source) {
                return Proposal::offline(self.name(), operator.join(" + "), Ok(source));
            }
        }
        Proposal::offline(self.name(), "none", Err(Outcome::NoChange))
    }

    /// One move: each kind that is possible here has the same chance, and within it each place.
    fn step(
        &self,
        source: &str,
        language: Language,
        inspirations: &[Exhibit],
        rng: &mut ChaCha8Rng,
    ) -> Option<(String, String)> {
        let moves = self.moves(source, language, inspirations);
        let (name, places) = moves.choose(rng)?;
        let edit = match places {
            Places::Edits(edits) => edits.choose(rng)?.clone(),
            Places::Numbers(numbers) => numbers.choose(rng)?.vary(rng),
        };
        let changed = edit.apply(source)?;
        // A rewrite that breaks the syntax or the frame would only waste an evaluation.
        let sound = !tree::is_broken(&changed, language) || tree::is_broken(source, language);
        let framed = tree::same_frame(source, &changed);
        (sound && framed).then(|| (name.clone(), changed))
    }

    fn moves(&self, source: &str, language: Language, inspirations: &[Exhibit]) -> Vec<(String, Places)> {
        let Some(parsed) = Parsed::new(source, language) else { return Vec::new() };
        let mut moves: Vec<(String, Places)> = self
            .rules
            .of(language)
            .map(|rule| (rule.name().to_owned(), Places::Edits(rule.edits(&parsed))))
            .collect();
        let others = inspirations.iter().filter_map(|exhibit| Parsed::new(&exhibit.source, language));
        moves.push((
            "crossover".to_owned(),
            Places::Edits(items::exchanges(&parsed, &others.collect::<Vec<_>>())),
        ));
        moves.push(("numbers".to_owned(), Places::Numbers(numbers::find(&parsed))));
        moves.retain(|(_, places)| !places.is_empty());
        moves
    }
}

/// Where a move can be made.
enum Places {
    Edits(Vec<Edit>),
    Numbers(Vec<numbers::Number>),
}

impl Places {
    fn is_empty(&self) -> bool {
        match self {
            Self::Edits(edits) => edits.is_empty(),
            Self::Numbers(numbers) => numbers.is_empty(),
        }
    }
}

impl Proposer for RewriteProposer {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
        async move { Ok(self.rewrite(&request)) }.boxed()
    }
}
