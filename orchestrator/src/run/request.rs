//! An ask of search's in words and sources: what a proposer is given.

use std::sync::Arc;

use search::{Ask, ProgramId, Search};

use super::store::Store;
use crate::config::Config;
use crate::exit_code::Failure;
use crate::proposer::{Guidance, ProblemText, Request, Seen};

/// Looks up everything that an ask names. Lessons are for the caller to add.
pub(crate) async fn request(
    store: &mut Store,
    search: &Search,
    config: &Config,
    problem: &Arc<ProblemText>,
    ask: &Ask,
    seen: Seen,
) -> Result<Request, Failure> {
    let settings = &config.prompt;
    let mut inspirations = Vec::new();
    for id in &ask.inspirations {
        inspirations.push(store.exhibit(*id).await?);
    }
    let mut successes = Vec::new();
    // What is shown anyway needs no second place.
    let children = search.measured_children_of(ask.parent).filter(|id| !ask.inspirations.contains(id));
    for id in latest(children, settings.num_successes) {
        successes.push(store.exhibit(id).await?);
    }
    let failed = latest(search.failures_of(ask.parent), settings.num_failures);
    let repair = match ask.repair {
        Some(id) => store.to_be_mended(id).await?,
        None => None,
    };
    let partner = match ask.partner {
        Some(id) => Some(store.exhibit(id).await?),
        None => None,
    };
    let parent = store.exhibit(ask.parent).await?;
    let language = config.problem.problem.language();
    Ok(Request {
        inspirations,
        different: ask.different.clone(),
        partner,
        successes,
        failures: store.failures(&failed).await?,
        repair,
        seen,
        guidance: Guidance {
            proposer: ask.proposer.clone(),
            operator: ask.operator.clone(),
            model: ask.model.clone(),
            widening: ask.widening,
            retries: config.search.novelty.retries,
        },
        ..Request::new(ProgramId(ask.number), ask.seed, language, problem.clone(), parent)
    })
}

/// The other programs that a proposal saw, as they are stored: a crossover's other parent first.
pub(super) fn shown(ask: &Ask) -> Vec<ProgramId> {
    let others = ask.inspirations.iter().filter(|id| Some(**id) != ask.partner);
    ask.partner.iter().chain(others).copied().collect()
}

/// The last so many, in their order.
fn latest(ids: impl DoubleEndedIterator<Item = ProgramId>, count: usize) -> Vec<ProgramId> {
    let mut latest: Vec<ProgramId> = ids.rev().take(count).collect();
    latest.reverse();
    latest
}
