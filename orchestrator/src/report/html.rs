//! The final report as one HTML file that needs nothing else: no script, no font, no network.

use std::fmt::Write as _;

use super::judgement::Loss;
use super::numbers::{count, interval, metric_name, quantity, signed};
use super::pairs::Pair;
use super::run::{Against, Compared, RunReport};
use crate::plot::{self, escaped};

const STYLE: &str = "<style>:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--grid:#d1d9e0;--paper:#fff;--alarm:#cf222e}\
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--soft:#9198a1;--grid:#3d444d;--paper:#0d1117;--alarm:#f85149}}\
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}.soft{color:var(--soft)}.alarm{color:var(--alarm);font-weight:700}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}\
th,td{border-bottom:1px solid var(--grid);padding:.25rem .8rem .25rem 0;text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}code{font-size:.9em}</style>";

/// The whole page.
pub fn page(report: &RunReport) -> String {
    let title = escaped(&format!("evolve report: run {}, {}", report.run, report.title));
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{title}</title>\n{STYLE}<style>{}</style></head>\n<body>\n\
         <h1>{title}</h1>\n",
        plot::STYLE
    );
    if let Some(alarm) = &report.alarm {
        let _ = writeln!(html, "<p class=\"alarm\" role=\"alert\">{}</p>", escaped(alarm));
    }
    let _ = writeln!(html, "<p class=\"soft\">{}</p>", escaped(&report.summary()));
    match &report.champion {
        None => html.push_str("<p>No program was measured.</p>\n"),
        Some(champion) => {
            html.push_str("<h2>Champion</h2>\n");
            for line in champion.lines(report.run) {
                let _ = writeln!(html, "<p>{}</p>", escaped(line.trim()));
            }
            for against in &report.comparisons {
                comparison(&mut html, report, champion.number, against);
            }
        }
    }
    if !report.trace.trials.is_empty() {
        html.push_str("<h2>The machine over the run</h2>\n<p>");
        let words = report.trace.words();
        html.push_str(&words.lines().map(escaped).collect::<Vec<_>>().join("<br>\n"));
        let _ = writeln!(html, "</p>\n{}", plot::trace(&report.trace).as_str());
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn comparison(html: &mut String, report: &RunReport, champion: u64, against: &Against) {
    let _ = writeln!(html, "<h2>Against {}</h2>", escaped(against.opponent.words()));
    let Some(compared) = &against.measured else {
        let _ = writeln!(html, "<p>Not measured yet; <code>{}</code> does.</p>", escaped(&report.command()));
        return;
    };
    let on = compared.device.as_deref().map(|device| format!(" on {device}")).unwrap_or_default();
    let pairs = count(compared.pairs.len(), "pair");
    let _ = writeln!(
        html,
        "<p class=\"soft\">{} with fresh seeds, measured {}{}. The change is the Hodges–Lehmann estimate with its exact \
         signed-rank interval at 95 %; positive is better.</p>",
        pairs,
        escaped(&compared.at),
        escaped(&on)
    );
    effects(html, compared);
    if let Some(judgement) = &compared.judgement {
        for line in judgement.loss.iter().map(Loss::words).chain([judgement.reason.clone()]) {
            let _ = writeln!(html, "<p>{}</p>", escaped(&line));
        }
    } else {
        html.push_str("<p>It came to no end: too many trials failed.</p>\n");
    }
    if let Some(drawing) = compared.drawing(champion, against.opponent) {
        html.push_str(drawing.as_str());
    }
    table(html, &compared.pairs);
}

fn effects(html: &mut String, compared: &Compared) {
    if compared.effects().is_empty() {
        return;
    }
    html.push_str(
        "<table><tr><th>metric<th>opponent<th>champion<th>change<th>95 % interval<th>p<th>pairs</tr>\n",
    );
    for effect in compared.effects() {
        let cells = [
            metric_name(&effect.metric),
            quantity(&effect.metric, effect.baseline),
            quantity(&effect.metric, effect.candidate),
            signed(effect.change),
            interval(effect.interval),
            effect.p_value.map_or("-".to_owned(), |p| format!("{p:.4}")),
            effect.n.1.to_string(),
        ];
        row(html, &cells);
    }
    html.push_str("</table>\n");
}

fn table(html: &mut String, pairs: &[Pair]) {
    if pairs.is_empty() {
        return;
    }
    html.push_str(
        "<details><summary>The pairs (speeds in tokens per second)</summary>\n<table><tr><th>pair<th>seed<th>first<th>opponent/s<th>champion/s\
         <th>speed<th>memory</tr>\n",
    );
    for pair in pairs {
        let speed = |trial: &Option<program_db::Trial>| {
            let speed = trial.as_ref().and_then(|trial| trial.tokens_per_second);
            speed.map_or("-".to_owned(), |speed| format!("{speed:.0}"))
        };
        let change = |metric| pair.change(metric).map_or("-".to_owned(), signed);
        let first = match pair.reference_first {
            Some(true) => "opponent",
            Some(false) => "champion",
            None => "-",
        };
        let cells = [
            pair.pair.to_string(),
            pair.seed.to_string(),
            first.to_owned(),
            speed(&pair.reference),
            speed(&pair.candidate),
            change("tokens_per_second"),
            change("peak_memory_bytes"),
        ];
        row(html, &cells);
    }
    html.push_str("</table></details>\n");
}

fn row(html: &mut String, cells: &[String]) {
    html.push_str("<tr>");
    for cell in cells {
        let _ = write!(html, "<td>{}", escaped(cell.trim()));
    }
    html.push_str("</tr>\n");
}
