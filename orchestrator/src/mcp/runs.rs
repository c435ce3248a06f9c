//! Tools about runs.

use program_db::{Table, Value};

use super::answer::{Answer, Refused};
use super::server::Server;
use crate::text::utc;
use crate::watch::Reader;

/// Runs that are listed.
const MOST: usize = 100;

pub(super) async fn list(server: &Server) -> Result<Answer, Refused> {
    let db = server.db();
    let columns = [
        "run",
        "started",
        "title",
        "seed",
        "state",
        "proposals",
        "evaluated",
        "best program",
        "score",
        "improved program",
        "cost",
    ];
    let mut table = Table { columns: columns.map(str::to_owned).to_vec(), ..Table::default() };
    let mut runs = db.runs().await?;
    runs.reverse();
    let all = runs.len();
    runs.truncate(MOST);
    for run in runs {
        let summary = db.summary(run.id).await?;
        let state = server.service().status(run.id).await?.state.as_str();
        let count = |count: u64| Value::Integer(count.cast_signed());
        let (best, score) = summary
            .best
            .map_or((Value::Null, Value::Null), |(id, score)| (count(id.0), Value::Real(score.get())));
        table.rows.push(vec![
            Value::Integer(run.id),
            Value::Text(utc(run.created_at)),
            Value::Text(run.title),
            Value::Text(run.seed.to_string()),
            Value::Text(state.to_owned()),
            count(summary.proposals),
            count(summary.evaluations),
            best,
            score,
            summary.incumbent.map_or(Value::Null, |(id, _)| count(id.0)),
            summary.cost.map_or(Value::Null, Value::Real),
        ]);
    }
    let mut answer = Answer::default();
    answer.line(format!("{all} runs in {}, newest first", db.path().display()));
    answer.table(&table, "older ones: sql with `SELECT * FROM run`");
    if all > MOST {
        answer.line(format!(
            "(only the newest {MOST} are listed; older ones: sql with `SELECT id, title FROM run`)"
        ));
    }
    Ok(answer)
}

pub(super) async fn summary(server: &Server, run: Option<i64>) -> Result<Answer, Refused> {
    let run = server.run(run).await?;
    let status = Reader::new(server.db().clone(), run).await?.read().await?.brief();
    let mut answer = Answer::default();
    // The alarm, if any, is in the line.
    answer.line(status.line());
    let json = serde_json::to_string_pretty(&status).map_err(|error| Refused(error.to_string()))?;
    answer.stored("summary as JSON", &json, 0, |_| "query_programs and sql have the rest".to_owned());
    Ok(answer)
}
