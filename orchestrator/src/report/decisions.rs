//! How a verdict came about: in words, look by look, with the numbers behind it.

use std::fmt::Write as _;

use program_db::{Decision, Trial};

use super::judgement::{Claim, Judgement, Loss};
use super::numbers::{count, metric_name, percent, three_digits};
use super::{pairs, trials};

/// Everything behind a verdict: the loss and the claim, the course in words, the looks, the pairs, the trials.
pub fn explanation(rows: &[Trial], decisions: &[Decision], judgement: Option<&Judgement>) -> String {
    let mut closing = String::new();
    if let Some(judgement) = judgement {
        for line in judgement.loss.iter().map(Loss::words).chain(judgement.claim.iter().map(Claim::words)) {
            let _ = writeln!(closing, "{line}");
        }
    }
    let paired = pairs::pairs(rows);
    let parts = [closing, course(rows, decisions), table(decisions), pairs::table(&paired), trials(rows)];
    let mut text = String::new();
    for (index, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
        // The first lines belong to the verdict above.
        if index > 0 || parts[0].is_empty() {
            text.push('\n');
        }
        text.push_str(part);
    }
    text
}

/// What happened in each stage, and why it ended, a line each; empty text without decisions.
fn course(rows: &[Trial], decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return String::new();
    }
    let mut text = "how it was decided:\n".to_owned();
    let of_stage = |stage: &str| rows.iter().filter(|trial| trial.stage == stage).count();
    for (stage, what) in [("calibration", "noise"), ("reference", "reference")] {
        let trials = of_stage(stage);
        if trials > 0 {
            let why = if stage == "calibration" {
                "of the reference, to learn how noisy this machine is"
            } else {
                "of the reference anew, because its last one was old"
            };
            let _ = writeln!(text, "  {what}: {} {why}", count(trials, "trial"));
        }
    }
    for (stage, what, unit) in [("screen", "first look", "trial"), ("confirm", "pairs", "pair")] {
        let looks: Vec<&Decision> = decisions.iter().filter(|decision| decision.stage == stage).collect();
        let Some(last) = looks.last() else { continue };
        let after = looks.iter().map(|decision| decision.look).max().unwrap_or_default() as usize;
        let _ = writeln!(
            text,
            "  {what}: after {} {}: {}",
            count(after, unit),
            ending(&last.action),
            last.reason
        );
        for decision in
            looks.iter().filter(|decision| decision.look == last.look && decision.metric.is_some())
        {
            let _ = writeln!(text, "    {}", state(decision));
        }
    }
    text
}

/// Where a metric stood at a look.
fn state(decision: &Decision) -> String {
    let metric = decision.metric.as_deref().unwrap_or_default();
    let mut text = metric_name(metric);
    if let Some(mean) = decision.mean {
        let change = if metric == "peak_memory_bytes" { -(-mean).exp_m1() } else { mean.exp_m1() };
        let word = if change < 0.0 { "worse" } else { "better" };
        let _ = write!(text, ": {} {word} on average", percent(change.abs()));
    }
    if let Some(sigma) = decision.sigma {
        let _ = write!(text, ", where a single trial varies by {}", percent(sigma));
    }
    if let Some(log_e) = decision.log_e {
        let _ = write!(text, "; evidence {}", three_digits(log_e.exp()));
    }
    text
}

fn ending(action: &str) -> &str {
    match action {
        "continue" => "unfinished",
        "stop" => "stopped",
        "confirm" => "on to the pairs",
        "claim" => "claimed to be better",
        "loss_drift" => "refused for its loss",
        "abort" => "given up",
        other => other,
    }
}

/// A line for each look and metric; empty text without any.
pub fn table(decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "decisions (σ of one trial, means and bounds in log points: 100 times natural logarithms; positive is better; a claim needs E ≥ 1/α):\n  \
         {:<8}  {:>4}  {:<18}  {:>6}  {:>7}  {:>7}  {:>7}  {:>8}  {:>8}  {:<10}  reason\n",
        "stage", "look", "metric", "σ", "mean", "lower", "upper", "E", "α", "action"
    );
    let log = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{:+.2}", value * 100.0));
    for decision in decisions {
        let _ = writeln!(
            text,
            "  {:<8}  {:>4}  {:<18}  {:>6}  {:>7}  {:>7}  {:>7}  {:>8}  {:>8}  {:<10}  {}",
            decision.stage,
            decision.look,
            decision.metric.as_deref().unwrap_or("-"),
            decision.sigma.map_or("-".to_owned(), |sigma| format!("{:.2}", sigma * 100.0)),
            log(decision.mean),
            log(decision.lower),
            log(decision.upper),
            decision.log_e.map_or("-".to_owned(), |log| three_digits(log.exp())),
            decision.level.map_or("-".to_owned(), three_digits),
            decision.action,
            decision.reason,
        );
    }
    text
}
