//! `evolve prompt`: what a model would be sent, from the database alone. And `evolve lessons`.

use std::path::Path;
use std::sync::Arc;

use program_db::{LessonAttempt, ProgramDb, RunId};
use search::{ProgramId, REPAIR, Search};

use super::open::{self, reading, run_of, storage};
use super::text::{printable, utc};
use crate::cli::{Overrides, PromptArgs};
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};
use crate::operator::Operator;
use crate::prompt::Prompts;
use crate::proposer::{Lessons, Seen};
use crate::run::{self, Store};

pub(super) async fn prompt(db: Option<&Path>, arguments: &PromptArgs) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let run = run_of(&db, arguments.program.and_then(|program| program.run)).await?;
    let stored = db.run(run).await.map_err(storage)?;
    let overrides = Overrides { offline: true, ..Overrides::default() };
    let config = match &arguments.config {
        Some(path) => Config::read(path, &overrides),
        None => Config::from_stored(Path::new(&stored.config_path), &stored.config, &overrides),
    }
    .map_err(Failure::usage)?;
    let config = Config { random_seed: stored.seed, lookahead: stored.lookahead.into(), ..config };
    let (search, next) = told(&db, run, &config).await?;
    let wanted = arguments.operator.as_deref().map(operator).transpose()?;
    let mut ask = match arguments.program {
        None => search.ask(next),
        Some(program) => asked_from(&db, run, &search, next, program.number).await?,
    }
    .ok_or_else(|| {
        Failure::usage(format!("run {run} has no measured program yet, so nothing is proposed"))
    })?;
    if let Some(operator) = wanted {
        ask.operator = Some(operator.name().to_owned());
        if arguments.program.is_none() && ask.partner.is_none() {
            ask.partner = search.ask_from(next, ask.parent).and_then(|ask| ask.partner);
        }
        check(operator, ask.partner, ask.repair)?;
    }
    if let Some(seed) = arguments.seed {
        ask.seed = seed;
    }
    let mut store = Store::open(db.clone(), run).await?;
    let problem = Arc::new(open::problem_text(&config)?);
    let mut request = run::request(&mut store, &search, &config, &problem, &ask, Seen::nothing()).await?;
    let version = config.lessons.shown(next, config.lookahead);
    request.lessons = lessons_at(&store.lessons().await?, version);
    let prompts = Prompts::load(&config.prompt)
        .map_err(|error| Failure::usage(format!("{error}\n  hint: {}", error.hint())))?;
    let diff_based = config.diff_based_evolution;
    let operator = Operator::of(&request, diff_based);
    let prompt = prompts
        .render(operator, operator.form(diff_based), &request)
        .map_err(|error| Failure::usage(format!("{error}\n  hint: {}", error.hint())))?;
    eprintln!(
        "{} of program {run}/{}: about {} tokens{}",
        operator.name(),
        ask.parent,
        prompt.tokens(),
        if prompt.left_out.is_empty() {
            String::new()
        } else {
            format!("; left out: {}", prompt.left_out.join(", "))
        }
    );
    print!("{}", printable(&prompt.text()));
    Ok(ExitCode::Success)
}

/// The search as it stands: told every outcome up to the first number without one, which is the next.
async fn told(db: &ProgramDb, run: RunId, config: &Config) -> Result<(Search, u64), Failure> {
    let language = config.problem.problem.language();
    let mut search = run::new_search(config)?;
    let mut replay = db.replay(run).await.map_err(storage)?;
    let mut next = 0;
    while let Some(stored) = replay.next().await.map_err(storage)? {
        let Some(outcome) = stored.outcome.as_ref().filter(|_| stored.number.0 == next) else { break };
        search.tell_proposal(stored.to_proposal(language), outcome);
        next += 1;
    }
    Ok((search, next))
}

/// An ask for this program: to change it if it was measured, to mend it if it failed.
async fn asked_from(
    db: &ProgramDb,
    run: RunId,
    search: &Search,
    next: u64,
    number: ProgramId,
) -> Result<Option<search::Ask>, Failure> {
    if let Some(ask) = search.ask_from(next, number) {
        return Ok(Some(ask));
    }
    let proposal = db.proposal(run, number).await.map_err(storage)?;
    let outcome = db.outcome(run, number).await.map_err(storage)?;
    match (outcome, proposal.parent) {
        (Some(outcome), Some(parent)) if search::repair::is_repairable(&outcome) => {
            let ask = search.ask_from(next, parent);
            Ok(ask.map(|ask| search::Ask {
                operator: Some(REPAIR.to_owned()),
                repair: Some(number),
                inspirations: Vec::new(),
                different: Vec::new(),
                ..ask
            }))
        }
        (Some(outcome), _) => Err(Failure::usage(format!(
            "nothing is made from program {run}/{number}: {outcome}\n  hint: name a measured program, or one whose failure can be mended"
        ))),
        (None, _) => Err(Failure::usage(format!("program {run}/{number} isn't evaluated yet"))),
    }
}

fn operator(name: &str) -> Result<Operator, Failure> {
    Operator::named(name).ok_or_else(|| {
        let known = Operator::ALL.map(Operator::name).join(", ");
        Failure::usage(format!("there is no operator `{name}`\n  hint: there are {known}"))
    })
}

/// Whether what the operator needs is there.
fn check(operator: Operator, partner: Option<ProgramId>, repair: Option<ProgramId>) -> Result<(), Failure> {
    match operator {
        Operator::Crossover if partner.is_none() => {
            Err(Failure::usage("there is no second program to cross it with yet".to_owned()))
        }
        Operator::Repair if repair.is_none() => Err(Failure::usage(
            "`repair` mends a failed program\n  hint: name one, such as one of `evolve query 'kind = compile'`".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The lessons that prompts show where this version is due.
fn lessons_at(attempts: &[LessonAttempt], version: u32) -> Option<Lessons> {
    let known =
        attempts.iter().rev().map(|stored| &stored.attempt).filter(|attempt| attempt.version <= version);
    known
        .filter_map(|attempt| Some((attempt.version, attempt.lessons.as_ref().ok()?)))
        .map(|(version, items)| Lessons { version, items: items.clone() })
        .next()
}

pub(super) async fn lessons(
    db: Option<&Path>,
    run: Option<i64>,
    all: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let run = run_of(&db, run).await?;
    let attempts = db.lessons(run).await.map_err(storage)?;
    if json {
        let values: Vec<serde_json::Value> = attempts.iter().map(as_json).collect();
        println!("{}", serde_json::to_string_pretty(&values).unwrap_or_default());
        return Ok(ExitCode::Success);
    }
    let usable = attempts.iter().rposition(|stored| stored.attempt.lessons.is_ok());
    let shown: Vec<&LessonAttempt> = match usable {
        _ if all => attempts.iter().collect(),
        Some(latest) => vec![&attempts[latest]],
        None => Vec::new(),
    };
    if shown.is_empty() {
        println!(
            "run {run} has no lessons yet: a model writes some every `lessons.every` outcomes{}",
            if attempts.is_empty() { "" } else { "; those so far came to nothing, --all says why" }
        );
    }
    for stored in shown {
        let attempt = &stored.attempt;
        let by = attempt.model.as_deref().map(|model| format!(" by {model}")).unwrap_or_default();
        let cost = attempt.cost.map(|cost| format!(", cost {cost:.4}")).unwrap_or_default();
        println!(
            "version {} of run {run}, from the first {} outcomes{by}, {}{cost}",
            attempt.version,
            attempt.told,
            utc(stored.created_at)
        );
        match &attempt.lessons {
            Ok(lessons) => lessons.iter().for_each(|lesson| println!("- {}", printable(lesson))),
            Err(failure) => println!("none: {}", printable(failure)),
        }
    }
    Ok(ExitCode::Success)
}

fn as_json(stored: &LessonAttempt) -> serde_json::Value {
    let attempt = &stored.attempt;
    serde_json::json!({
        "version": attempt.version,
        "told": attempt.told,
        "created_at": utc(stored.created_at),
        "model": attempt.model,
        "tokens_in": attempt.tokens_in,
        "tokens_out": attempt.tokens_out,
        "cost": attempt.cost,
        "requests": attempt.requests,
        "lessons": attempt.lessons.as_ref().ok(),
        "failure": attempt.lessons.as_ref().err(),
    })
}
