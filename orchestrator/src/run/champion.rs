//! The end of a run: its champion against the initial program and against MLX-LM's own layers, on fresh seeds. What was measured
//! during the search chose the champion, so its luck there says nothing of its worth.

use evaluator::{Evaluator, Job, Opponent, Problem, Purpose};
use tokio_util::sync::CancellationToken;

use super::Store;
use crate::config::Config;
use crate::event::{Event, Events};
use crate::exit_code::Failure;

/// Compares the run's champion with every opponent that it hasn't met yet. What goes wrong here is told and takes nothing away
/// from the search's results.
pub async fn compare(
    store: &Store,
    evaluator: &Evaluator,
    config: &Config,
    events: &Events,
    interrupt: &CancellationToken,
) -> Result<(), Failure> {
    if !matches!(config.problem.problem, Problem::Kernel(_)) {
        return Ok(());
    }
    let Some(champion) = store.champion().await? else { return Ok(()) };
    let met = store.opponents_met(champion.number).await?;
    let opponents = Opponent::of(&config.problem.problem);
    for &opponent in opponents.iter().filter(|opponent| !met.contains(&opponent.as_str().to_owned())) {
        events.send(Event::Comparing { number: champion.number.0, opponent: opponent.as_str() });
        let job = Job {
            id: champion.number.0,
            program: champion.source.clone(),
            kernel: champion.code_hash.clone(),
            purpose: Purpose::Compare { opponent },
        };
        let report = tokio::select! {
            biased;
            () = interrupt.cancelled() => return Ok(()),
            report = evaluator.evaluate(job) => report,
        };
        let warning = match report {
            Ok(report) if report.decision.is_some() => {
                store.comparison(champion.number, opponent, &report).await?;
                events.send(Event::Compared {
                    number: champion.number.0,
                    opponent: opponent.as_str(),
                    summary: report.outcome.to_string(),
                });
                continue;
            }
            Ok(report) => report.outcome.to_string(),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "program {} could not be compared with {opponent}: {warning}; `evolve report --measure` tries again",
            champion.number
        );
        events.send(Event::Warning { message });
    }
    Ok(())
}
