//! The embedded proposer: rewrite rules, changes of literals and exchange of items between programs.
//!
//! It recombines what its rules know and invents nothing. All kinds of moves take turns in an order that the
//! run's seed shuffles, and every place that a move fits has the same chance: nothing in here, nor in the
//! rules, says which of them do good.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Language, Outcome};

use super::{Proposal, Proposer, ProposerError, Request};

mod items;
mod literals;
mod rules;
mod tidy;
mod tree;

use rules::Rules;
pub use rules::rule_names;
use tree::Parsed;

/// Draws until something new comes out; a program has far fewer neighbours than this.
const DRAWS: usize = 256;
/// Most moves in one proposal; each further one is made with a chance of a half.
const MOVES: usize = 3;

const CROSSOVER: &str = "crossover";
const LITERALS: &str = "literals";

/// Proposes by rewriting.
#[derive(Clone)]
pub struct RewriteProposer {
    rules: Arc<Rules>,
    seed: u64,
}

/// A replacement of a part of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    /// Bytes of the source.
    range: Range<usize>,
    text: String,
}

/// Replacements that belong together, in the order of the source and apart from each other.
type Change = Vec<Edit>;

fn apply(change: &Change, source: &str) -> Option<String> {
    let mut changed = String::with_capacity(source.len());
    let mut at = 0;
    for Edit { range, text } in change {
        let whole = if text.is_empty() { whole_lines(source, range) } else { range.clone() };
        changed.push_str(source.get(at..whole.start)?);
        changed.push_str(text);
        at = whole.end;
    }
    changed.push_str(source.get(at..)?);
    Some(changed)
}

/// The range with the rest of its lines, if nothing but spaces is on them: what is deleted leaves no gap.
fn whole_lines(source: &str, range: &Range<usize>) -> Range<usize> {
    let start = source[..range.start].trim_end_matches([' ', '\t']).len();
    let rest = source[range.end..].trim_start_matches([' ', '\t']);
    let begins = start == 0 || source[..start].ends_with('\n');
    if begins && rest.starts_with('\n') { start..source.len() - rest.len() + 1 } else { range.clone() }
}

impl RewriteProposer {
    /// The built-in rules and those of the problem, `*.yml` files in `rules_dir`.
    pub fn new(rules_dir: Option<&Path>) -> Result<Self, ProposerError> {
        Ok(Self { rules: Arc::new(Rules::load(rules_dir)?), seed: 0 })
    }

    /// The run's seed: it shuffles the order in which the kinds of moves take turns.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Draws proposals until one is neither the parent nor seen before.
    pub fn rewrite(&self, request: &Request) -> Proposal {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let parent = &*request.parent.source;
        if let Err(error) = evaluator::block::parts(parent) {
            let outcome = Outcome::Patch { reason: format!("program {}: {error}", request.parent.id) };
            return Proposal::offline(self.name(), "none", Err(outcome));
        }
        let inspirations = request.partner.iter().chain(&request.inspirations);
        let others: Vec<Parsed<'_>> =
            inspirations.filter_map(|exhibit| Parsed::new(&exhibit.source, request.language)).collect();
        for draw in 0..DRAWS {
            let turn = (request.number.0 as usize).wrapping_add(draw);
            let Some((operator, source)) = self.draw(request, &others, turn, &mut rng) else { continue };
            if source != parent && !request.seen.contains(&source) {
                return Proposal::offline(self.name(), operator, Ok(source));
            }
        }
        Proposal::offline(self.name(), "none", Err(Outcome::NoChange))
    }

    /// One to three moves in a row, and one more for each level of widening: the first is the one that search wants, if the
    /// program has a place for it, else it takes its turn; those after it are drawn.
    fn draw(
        &self,
        request: &Request,
        others: &[Parsed<'_>],
        turn: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<(String, String)> {
        let mut source = request.parent.source.to_string();
        let mut operators = Vec::new();
        let by_chance = (1..MOVES).take_while(|_| rng.random_bool(1.0 / 3.0)).count();
        let further = by_chance + request.guidance.widening as usize;
        for number in 0..=further {
            let moves = self.moves(&source, request.language, others);
            let chosen = match number {
                0 => {
                    let wanted = request.guidance.operator.as_ref();
                    let named = wanted.and_then(|wanted| moves.iter().find(|(name, _)| name == wanted));
                    named.or_else(|| moves.get(turn % moves.len().max(1)))
                }
                _ => moves.choose(rng),
            };
            let Some((name, places)) = chosen else { break };
            source = places.rewrite(&source, request.language, rng)?;
            operators.push(name.clone());
        }
        (!operators.is_empty()).then(|| (operators.join(" + "), source))
    }

    /// Every program that one use of a rule makes of this one, with the rule's name; for looking at rules.
    pub fn neighbours(&self, source: &str, language: Language) -> Vec<(String, String)> {
        let Some(parsed) = Parsed::new(source, language) else { return Vec::new() };
        let nodes = parsed.nodes();
        let changes = self.rules.of(language).flat_map(|rule| {
            rule.changes(&nodes, &parsed).into_iter().map(|change| (rule.name().to_owned(), change))
        });
        changes
            .filter_map(|(name, change)| {
                let rewritten = apply(&change, source)?;
                Some((name, tidy::drop_unused(source, rewritten, language)))
            })
            .collect()
    }

    /// What can be done to a program, each kind with its places, in the order that the run's seed makes;
    /// kinds without a place are left out.
    fn moves(&self, source: &str, language: Language, others: &[Parsed<'_>]) -> Vec<(String, Places)> {
        let Some(parsed) = Parsed::new(source, language) else { return Vec::new() };
        let nodes = parsed.nodes();
        let mut moves: Vec<(String, Places)> = self
            .rules
            .of(language)
            .map(|rule| (rule.name().to_owned(), Places::Changes(rule.changes(&nodes, &parsed))))
            .collect();
        moves.push((CROSSOVER.to_owned(), Places::Changes(items::exchanges(&nodes, &parsed, others))));
        moves.push((LITERALS.to_owned(), Places::Literals(literals::find(&nodes, &parsed))));
        // Shuffled before any is left out: the order is the same for all programs.
        moves.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        moves.retain(|(_, places)| !places.is_empty());
        moves
    }
}

/// Where the numbers of a program that may change are, without their suffixes, in the order of the source.
pub fn numbers(source: &str, language: Language) -> Vec<Range<usize>> {
    let Some(parsed) = Parsed::new(source, language) else { return Vec::new() };
    literals::find(&parsed.nodes(), &parsed).iter().filter_map(literals::Literal::digits).collect()
}

/// Where a move can be made.
enum Places {
    Changes(Vec<Change>),
    Literals(Vec<literals::Literal>),
}

impl Places {
    /// The program with one of them done, each with the same chance; none if that breaks its syntax or frame,
    /// which would only waste an evaluation.
    fn rewrite(&self, source: &str, language: Language, rng: &mut ChaCha8Rng) -> Option<String> {
        let change = match self {
            Self::Changes(changes) => changes.choose(rng)?.clone(),
            Self::Literals(literals) => vec![literals.choose(rng)?.vary(rng)],
        };
        let changed = tidy::drop_unused(source, apply(&change, source)?, language);
        let sound = !tree::is_broken(&changed, language) || tree::is_broken(source, language);
        (sound && tree::same_frame(source, &changed)).then_some(changed)
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Changes(changes) => changes.is_empty(),
            Self::Literals(literals) => literals.is_empty(),
        }
    }
}

impl Proposer for RewriteProposer {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn propose(&self, request: Request) -> BoxFuture<'_, Result<Proposal, ProposerError>> {
        // It computes for milliseconds or more, on a thread of its own: others needn't wait for it.
        let this = self.clone();
        let rewritten = tokio::task::spawn_blocking(move || this.rewrite(&request));
        async move {
            match rewritten.await {
                Ok(proposal) => Ok(proposal),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => std::future::pending().await,
                },
            }
        }
        .boxed()
    }
}
