//! `/sql`: read-only SQL.

use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use program_db::{SqlLimits, Table, Value};
use serde::Deserialize;

use super::failure::Failure;
use super::format::{count, visible};
use super::layout::{Page, Place, card, wide};
use super::list::encoded;
use crate::service::Service;

/// What one query may take here.
const LIMITS: SqlLimits = SqlLimits { rows: 500, bytes: 4 << 20, time: Duration::from_secs(5) };
/// Characters of one value.
const VALUE: usize = 400;

const EXAMPLES: [(&str, &str); 4] = [
    (
        "Best programs",
        "SELECT run, number, score, verdict, operator, model FROM programs WHERE score IS NOT NULL ORDER BY score DESC LIMIT 20",
    ),
    (
        "Failures by model",
        "SELECT coalesce(model, proposer) AS by, kind, count(*) AS n FROM proposals WHERE number > 0 GROUP BY 1, 2 ORDER BY 3 DESC",
    ),
    (
        "Cost by day",
        "SELECT date(created_at) AS day, count(*) AS proposals, sum(cost) AS cost FROM proposals GROUP BY 1 ORDER BY 1",
    ),
    (
        "Tables and views",
        "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY type, name",
    ),
];

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
}

pub(super) async fn page(
    State(service): State<Service>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let answer = if asked.q.trim().is_empty() {
        html! {}
    } else {
        let begin = Instant::now();
        match service.db().sql_within(&asked.q, LIMITS).await {
            Ok(table) => answer(&table, begin.elapsed()),
            Err(error) => html! { p class="alarm" role="alert" { (visible(&error.to_string())) } },
        }
    };
    let body = html! {
        h1 { "SQL" }
        p class="soft" {
            "Read-only, one statement, at most " (LIMITS.time.as_secs()) " s and " (LIMITS.rows) " rows. The views " code { "proposals" } " and " code { "programs" }
            " have all that is known of each number. In a browser, " kbd { "Ctrl" } " " kbd { "Enter" } " runs it."
        }
        form class="filter" method="get" action="/sql" {
            label for="q" { "Query" }
            textarea id="q" name="q" spellcheck="false" autocapitalize="off" autocomplete="off" data-submit { (asked.q) }
            p { button class="main" type="submit" { "Run" } }
        }
        p class="small" {
            span class="soft" { "Examples: " }
            @for (index, (name, sql)) in EXAMPLES.iter().enumerate() {
                @if index > 0 { " · " }
                a href={ "/sql?q=" (encoded(sql)) } { (name) }
            }
        }
        (answer)
    };
    Ok(Page { title: "SQL".to_owned(), place: Place::Sql, run: None, from: None, body }.render())
}

fn answer(table: &Table, took: Duration) -> Markup {
    card(
        "Answer",
        html! {
            p class="soft small" {
                (count(table.rows.len() as u64)) @if table.rows.len() == 1 { " row" } @else { " rows" } " in " (format!("{:.3} s", took.as_secs_f64()))
                @if table.truncated { "; there are more, which the limits cut off" }
                "."
            }
            @if !table.rows.is_empty() {
                (wide("Answer", html! {
                    table {
                        thead { tr { @for column in &table.columns { th scope="col" { (visible(column)) } } } }
                        tbody { @for row in &table.rows { tr { @for value in row { (cell(value)) } } } }
                    }
                }))
            }
        },
    )
}

fn cell(value: &Value) -> Markup {
    match value {
        Value::Null => html! { td class="soft" { "null" } },
        Value::Integer(integer) => html! { td class="number" { (integer) } },
        Value::Real(real) => html! { td class="number" { (real) } },
        Value::Text(text) => {
            let shown: String = text.chars().take(VALUE).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            html! { td { (visible(&shown)) (more) } }
        }
        Value::Blob(bytes) => html! { td class="soft" { (bytes.len()) " bytes" } },
    }
}
