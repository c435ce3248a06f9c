//! The final report as Markdown, for notes and pull requests.

use std::fmt::Write as _;

use super::numbers::{interval, metric_name, quantity, signed};
use super::run::RunReport;
use crate::service::pages::{Facts, kind, score, visible};

/// Stored text as Markdown takes it: nothing in it is markup, a table stays a table, and terminals aren't told anything.
fn plain(text: &str) -> String {
    let mut result = String::new();
    for character in visible(text).replace(['\n', '\t'], " ").chars() {
        match character {
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '&' => result.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '|' | '!' | '~' => {
                result.push('\\');
                result.push(character);
            }
            _ => result.push(character),
        }
    }
    result
}

/// The whole report.
pub(crate) fn text(report: &RunReport, facts: &Facts) -> String {
    let mut text = format!("# Run {}: {}\n\n", report.run, plain(&report.title));
    if let Some(alarm) = &report.alarm {
        let _ = writeln!(text, "**{}**\n", plain(alarm));
    }
    let _ = writeln!(text, "{}\n", plain(&report.summary()));
    let Some(champion) = &report.champion else {
        text.push_str("No program was measured.\n");
        return text;
    };
    text.push_str("## Champion\n\n");
    for line in champion.lines(report.run) {
        let _ = writeln!(text, "- {}", plain(line.trim()));
    }
    for against in &report.comparisons {
        let _ = writeln!(text, "\n## Against {}\n", against.opponent.words());
        let Some(compared) = &against.measured else {
            let _ = writeln!(text, "Not measured yet; `{}` does.", report.command());
            continue;
        };
        text.push_str("| metric | opponent | champion | change | 95 % interval |\n|---|--:|--:|--:|--:|\n");
        for effect in compared.effects() {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                plain(&metric_name(&effect.metric)),
                quantity(&effect.metric, effect.baseline),
                quantity(&effect.metric, effect.candidate),
                signed(effect.change),
                plain(interval(effect.interval).trim())
            );
        }
        text.push('\n');
        for line in compared.lines().iter().skip(compared.effects().len()) {
            let _ = writeln!(text, "{}\n", plain(line));
        }
    }
    text.push_str(
        "\n## Improvements of the best\n\n| program | score | operator | by |\n|--:|--:|---|---|\n",
    );
    for step in &facts.steps {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            step.number,
            score(step.score),
            plain(&step.operator),
            plain(step.by())
        );
    }
    text.push_str("\n## Who proposed\n\n| by | operator | proposals | measured | improved | gain | cost |\n|---|---|--:|--:|--:|--:|--:|\n");
    for maker in &facts.makers {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            plain(maker.model.as_deref().unwrap_or(&maker.proposer)),
            plain(&maker.operator),
            maker.proposals,
            maker.measured,
            maker.improved,
            score(maker.gain),
            maker.cost.map_or_else(|| "-".to_owned(), |cost| format!("{cost:.4}"))
        );
    }
    text.push_str("\n## How proposals ended\n\n| ended as | proposals | latest |\n|---|--:|---|\n");
    for ending in &facts.endings {
        let message: String = ending.message.chars().take(120).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {}: {} |",
            plain(kind(Some(&ending.kind))),
            ending.count,
            ending.latest,
            plain(&message)
        );
    }
    if !report.trace.trials.is_empty() {
        text.push_str("\n## The machine over the run\n\n");
        for line in report.trace.words().lines() {
            let _ = writeln!(text, "- {}", plain(line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn stored_text_is_no_markup() {
        assert_eq!(plain("a|b <script> `x` \x1b[m"), "a\\|b &lt;script&gt; \\`x\\` \\\\u\\{1b\\}\\[m");
    }
}
