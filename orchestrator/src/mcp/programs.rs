//! Tools about programs.

use std::time::Duration;

use program_db::view::{Listed, Listing, Order};
use program_db::{DbError, RunId, SqlLimits, Table, Value};
use search::ProgramId;
use similar::TextDiff;

use super::answer::{Answer, Refused};
use super::arguments::{Best, Compare, GetProgram, OfProgram, Part, Query, program};
use super::server::Server;
use crate::watch::detail;

/// What a query may take: an answer has room for little more.
const LIMITS: SqlLimits = SqlLimits { rows: 500, bytes: 4 << 20, time: Duration::from_secs(10) };

/// Columns of a query's answer that are whole texts.
const TEXTS: [&str; 3] = ["source", "prompt", "reply"];

pub(super) async fn best(server: &Server, best: Best) -> Result<Answer, Refused> {
    let run = server.run(best.run).await?;
    let count = best.count.unwrap_or(10);
    if !(1..=50).contains(&count) {
        return Err(Refused(format!("count must be 1 to 50, not {count}; query_programs has more")));
    }
    let listing = Listing { order: Order::Best, island: best.island, limit: count, ..Listing::default() };
    let listed = server.db().listing(run, &listing).await?;
    let columns =
        ["program", "score", "verdict", "island", "parent", "parent's score", "operator", "by", "outcome"];
    let mut table = Table { columns: columns.map(str::to_owned).to_vec(), ..Table::default() };
    table.rows = listed.iter().map(|listed| row(run, listed)).collect();
    let mut answer = Answer::default();
    answer.line(format!(
        "run {run}, highest scores first; only the verdict `improved` says better beyond chance"
    ));
    answer.table(&table, "ask for fewer, or use query_programs");
    Ok(answer)
}

fn row(run: RunId, listed: &Listed) -> Vec<Value> {
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::Text);
    vec![
        Value::Text(format!("{run}/{}", listed.number)),
        listed.score.map_or(Value::Null, Value::Real),
        text(&listed.verdict),
        Value::Integer(listed.island.cast_signed()),
        listed.parent.map_or(Value::Null, |parent| Value::Integer(parent.0.cast_signed())),
        listed.parent_score.map_or(Value::Null, Value::Real),
        Value::Text(listed.operator.clone()),
        Value::Text(listed.by().to_owned()),
        text(&listed.message),
    ]
}

pub(super) async fn query(server: &Server, query: Query) -> Result<Answer, Refused> {
    let run = match query.all_runs {
        Some(true) => None,
        _ => Some(server.run(query.run).await?),
    };
    let table = server.db().query_within(run, &query.expression, LIMITS).await?;
    let mut answer = Answer::default();
    answer.table(&without_texts(table), "narrow the expression, or add `order by ... limit ...`");
    Ok(answer)
}

/// Sources, prompts and replies are read one by one.
fn without_texts(mut table: Table) -> Table {
    let kept: Vec<bool> = table.columns.iter().map(|column| !TEXTS.contains(&column.as_str())).collect();
    let keep = |index: &mut usize| {
        *index += 1;
        kept[*index - 1]
    };
    let mut index = 0;
    table.columns.retain(|_| keep(&mut index));
    for row in &mut table.rows {
        let mut index = 0;
        row.retain(|_| keep(&mut index));
    }
    table
}

pub(super) async fn sql(server: &Server, sql: &str) -> Result<Answer, Refused> {
    let table = server.db().sql_within(sql, LIMITS).await?;
    let mut answer = Answer::default();
    answer.table(
        &table,
        "narrow it with WHERE, LIMIT, or substr() for long texts (cells are cut at 300 characters)",
    );
    Ok(answer)
}

pub(super) async fn get(server: &Server, get: GetProgram) -> Result<Answer, Refused> {
    let (run, number) = named(server, &get.program).await?;
    let from = get.offset.unwrap_or_default();
    let part = get.part.unwrap_or_default();
    let (what, text) = match part {
        Part::Verdict => ("verdict", verdict(server, run, number).await?),
        Part::Source => ("source", server.db().program(run, number).await?.source),
        Part::Prompt | Part::Reply => {
            let proposal = server.db().proposal(run, number).await?;
            let (what, text) = match part {
                Part::Prompt => ("prompt", proposal.prompt),
                _ => ("reply", proposal.reply),
            };
            (
                what,
                text.ok_or_else(|| {
                    Refused(format!("program {run}/{number} has no {what}: no model was asked"))
                })?,
            )
        }
        Part::Artifacts => ("artifacts", artifacts(server, run, number).await?),
    };
    let mut answer = Answer::default();
    answer.line(format!("program {run}/{number}"));
    answer.stored(what, &text, from, |to| {
        format!("get_program with program \"{run}/{number}\", part \"{what}\", offset {to} has more")
    });
    Ok(answer)
}

/// In words, with what it was made from.
async fn verdict(server: &Server, run: RunId, number: ProgramId) -> Result<String, Refused> {
    let mut text = detail::explained(server.db(), run, number).await?;
    match server.db().lineage(run, number).await {
        Ok(lineage) => {
            text.push_str("\nancestors, from the initial program on:\n");
            for program in lineage {
                let outcome =
                    program.outcome.map_or_else(|| "not evaluated yet".to_owned(), |it| it.to_string());
                text.push_str(&format!(
                    "  {}: {} by {}: {outcome}\n",
                    program.number,
                    program.operator,
                    program.model.as_deref().unwrap_or(&program.proposer)
                ));
            }
        }
        Err(DbError::NoProgram { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(text)
}

async fn artifacts(server: &Server, run: RunId, number: ProgramId) -> Result<String, Refused> {
    let artifacts = server.db().artifacts(run, number).await?;
    if artifacts.is_empty() {
        return Ok("(its evaluation left nothing, or it wasn't evaluated)".to_owned());
    }
    let parts =
        artifacts.iter().map(|artifact| format!("{}:\n{}\n", artifact.name, artifact.content.trim_end()));
    Ok(parts.collect::<Vec<_>>().join("\n"))
}

pub(super) async fn why_failed(server: &Server, of: OfProgram) -> Result<Answer, Refused> {
    let (run, number) = named(server, &of.program).await?;
    let mut answer = Answer::default();
    let Some(outcome) = server.db().outcome(run, number).await? else {
        return Err(Refused(format!("program {run}/{number} has no outcome yet")));
    };
    if outcome.measured().is_some() {
        answer.line(format!(
            "program {run}/{number} did not fail: it was measured; get_program has its verdict"
        ));
    } else {
        let before = if outcome.was_evaluated() { "in its evaluation" } else { "before any evaluation" };
        answer.line(format!("program {run}/{number} failed {before}, kind `{}`", outcome.kind()));
    }
    let mut text = format!("{}\n", crate::report::outcome(&outcome).trim_end());
    for artifact in server.db().artifacts(run, number).await? {
        text.push_str(&format!("\n{}:\n{}\n", artifact.name, artifact.content.trim_end()));
    }
    answer.stored("reason", &text, of.offset.unwrap_or_default(), |to| {
        format!("why_failed with program \"{run}/{number}\", offset {to} has more")
    });
    Ok(answer)
}

pub(super) async fn compare(server: &Server, compare: Compare) -> Result<Answer, Refused> {
    let mut answer = Answer::default();
    let mut sources = Vec::new();
    for name in [&compare.a, &compare.b] {
        let (run, number) = named(server, name).await?;
        let program = server.db().program(run, number).await?;
        let outcome = program.outcome.as_ref().map_or_else(
            || "not evaluated yet".to_owned(),
            |outcome| {
                let verdict = outcome.measured().map_or(outcome.kind(), |measured| measured.verdict.as_str());
                match outcome.score() {
                    Some(score) => format!("{verdict}, score {score}"),
                    None => format!("failed: {verdict}"),
                }
            },
        );
        answer.line(format!(
            "program {run}/{number}: {outcome}, generation {}, island {}",
            program.generation, program.island
        ));
        sources.push((format!("program {run}/{number}"), program.source));
    }
    let [(a_name, a), (b_name, b)] = &sources[..] else { return Ok(answer) };
    let diff = TextDiff::configure().timeout(Duration::from_secs(5)).diff_lines(a.as_str(), b.as_str());
    let text = diff.unified_diff().context_radius(3).header(a_name, b_name).to_string();
    if text.is_empty() {
        answer.line("their sources are the same");
        return Ok(answer);
    }
    answer.stored("diff", &text, compare.offset.unwrap_or_default(), |to| {
        format!("compare_programs with the same a and b, offset {to} has more")
    });
    Ok(answer)
}

async fn named(server: &Server, text: &str) -> Result<(RunId, ProgramId), Refused> {
    let (run, number) = program(text)?;
    Ok((server.run(run).await?, number))
}
