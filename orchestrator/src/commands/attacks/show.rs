//! How the suite's progress and its table are printed.

use std::sync::atomic::{AtomicUsize, Ordering};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde_json::json;

use super::Row;
use crate::text::printable;

/// Longest outcome in the table; `--json` has all of it.
const LONGEST: usize = 64;

/// Says on standard error how far it has come.
pub(super) struct Progress {
    pub(super) done: AtomicUsize,
    pub(super) total: usize,
}

impl Progress {
    pub(super) fn say(&self, row: &Row) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let mark = if row.finding.ok { "ok" } else { "FAIL" };
        let complaint =
            row.finding.complaint.as_deref().map(|words| format!(" ({words})")).unwrap_or_default();
        let line = format!("[{done}/{}] {mark} {}{complaint}", self.total, row.case);
        eprintln!("{}", printable(&line));
    }
}

/// Everything that is to be said at the end.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    /// What was found only at the end, of nobody in particular.
    pub(super) leftovers: Vec<String>,
    pub(super) sandbox: Option<&'static str>,
    pub(super) seconds: f64,
}

impl Report {
    pub(super) fn is_fine(&self) -> bool {
        self.leftovers.is_empty() && self.rows.iter().all(|row| row.finding.ok)
    }

    fn counts(&self, honest: bool) -> (usize, usize) {
        let of_kind = || self.rows.iter().filter(|row| row.honest == honest);
        (of_kind().filter(|row| row.finding.ok).count(), of_kind().count())
    }

    pub(super) fn print(&self, json: bool) {
        let ((caught, attacks), (passed, honest)) = (self.counts(false), self.counts(true));
        if json {
            let report = json!({
                "ok": self.is_fine(),
                "sandbox": self.sandbox,
                "attacks": attacks,
                "caught": caught,
                "honest": honest,
                "passed": passed,
                "leftovers": self.leftovers,
                "seconds": self.seconds,
                "cases": self.rows,
            });
            println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
            return;
        }
        println!("{}", self.table());
        for leftover in &self.leftovers {
            println!("FAIL  {}", printable(leftover));
        }
        let sandbox = self.sandbox.unwrap_or("unknown");
        println!(
            "\n{caught} of {attacks} attacks caught, {} of {honest} honest programs rejected, in {:.0} s (sandbox: {sandbox})",
            honest - passed,
            self.seconds
        );
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["", "case", "expected", "got", "outcome"]);
        for row in &self.rows {
            let expected = match (row.honest, row.expected) {
                (true, _) => "measured",
                (false, Some(fence)) => fence.as_str(),
                (false, None) => "caught",
            };
            let got = row.finding.got.map_or("measured", |fence| fence.as_str());
            let complaint =
                row.finding.complaint.as_ref().map(|words| format!("{words}: ")).unwrap_or_default();
            let mark = if row.finding.ok { "ok" } else { "FAIL" };
            let outcome = shortened(&format!("{complaint}{}", row.outcome));
            table.add_row([mark, &row.case, expected, got, &outcome].map(|text| Cell::new(printable(text))));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

fn shortened(text: &str) -> String {
    let line = text.replace(['\n', '\t'], " ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}
