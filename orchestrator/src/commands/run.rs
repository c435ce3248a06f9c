//! `evolve run` and `evolve resume`.

use std::path::Path;
use std::sync::Arc;

use evaluator::Problem;
use evaluator::history::History;
use evaluator::order::Tier;
use program_db::{DbError, NewProgram, NewRun, ProgramDb, RunId};
use search::{Fingerprint, Outcome};
use tokio_util::sync::CancellationToken;

use super::example::Example;
use super::open::{self, storage};
use super::text::printable;
use super::{alarm, best_folder, openevolve};
use crate::cli::{Overrides, ResumeArgs, RunArgs};
use crate::config::Config;
use crate::event::{Event, Events, StopReason};
use crate::exit_code::{ExitCode, Failure};
use crate::proposer::llm::{RunContext, Spent, unpriced};
use crate::proposer::replay::{Header, Recorder};
use crate::run::{Run, Store};
use crate::{progress, report};

pub(super) async fn run(db: Option<&Path>, arguments: &RunArgs) -> Result<ExitCode, Failure> {
    if let Some(example) = Example::of(arguments)? {
        return Box::pin(openevolve::run(db, arguments, example)).await;
    }
    let config = arguments.config.as_deref().unwrap_or(Path::new("config.yaml"));
    let config = Config::read(config, &arguments.overrides).map_err(Failure::usage)?;
    let config = if arguments.resume { config } else { as_recorded(config, &arguments.overrides)? };
    let db = ProgramDb::open(db.unwrap_or(&config.database)).await.map_err(storage)?;
    let run = if arguments.resume { Some(db.latest_run().await.map_err(storage)?.id) } else { None };
    Box::pin(search(config, db, run, arguments.overrides.json)).await
}

pub(super) async fn resume(db: Option<&Path>, arguments: &ResumeArgs) -> Result<ExitCode, Failure> {
    let path = open::database_path(db)?;
    // Resuming needs a database that is there: opening for writing would make an empty one.
    match ProgramDb::open_read_only(&path).await {
        Ok(db) => db.close().await,
        // It is there, and opening it for writing upgrades it.
        Err(DbError::Older { .. }) => {}
        Err(error) => return Err(storage(error)),
    }
    let db = ProgramDb::open(&path).await.map_err(storage)?;
    let run = match arguments.run {
        Some(run) => db.run(run).await.map_err(storage)?,
        None => db.latest_run().await.map_err(storage)?,
    };
    let config = match &arguments.config {
        Some(path) => Config::read(path, &arguments.overrides),
        None => Config::from_stored(Path::new(&run.config_path), &run.config, &arguments.overrides),
    }
    .map_err(Failure::usage)?;
    let config = Config { random_seed: run.seed, lookahead: run.lookahead.into(), ..config };
    Box::pin(search(config, db, Some(run.id), arguments.overrides.json)).await
}

/// Starts or goes on with a run, shows how it goes, and reports what it found.
pub(super) async fn search(
    config: Config,
    db: ProgramDb,
    run: Option<RunId>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let (events, stopping) = (Events::default(), CancellationToken::new());
    let context = context(&db, &config, run, &events, &stopping).await?;
    let proposer = open::proposer(&config, &context)?;
    let notes = notes(&config)?;
    let problem = Arc::new(open::problem_text(&config)?);
    // Before the run is in the database: a missing harness shall leave no empty run behind.
    let history = match run {
        Some(run) => crate::run::history(&db, run).await?,
        None => History::default(),
    };
    let quiet = openevolve::is_quiet(&config);
    let style = if quiet && !json { progress::Style::Quiet } else { progress::Style::choose(json) };
    let screen = progress::show(style, events.subscribe());
    if let Problem::Kernel(problem) = &config.problem.problem {
        events.send(Event::Preparing { title: problem.name.clone() });
    }
    let evaluator = open::evaluator(&config, history).await?;
    let run = match run {
        Some(run) => run,
        None => create(&db, &config).await?,
    };
    let _lock = db.lock_run(run).map_err(storage)?;
    let best = config.openevolve.as_ref().map(|openevolve| {
        let call = &openevolve.call;
        best_folder::keep(db.clone(), run, &call.output, &call.initial_program, events.subscribe())
    });
    let sandbox = evaluator.measured_by().sandbox;
    alarm::say(alarm::of_one(Some(sandbox.as_str())));
    events.send(started(&db, run, &config, sandbox).await?);
    for message in notes {
        events.send(Event::Warning { message });
    }
    let session = db.start_session(run, env!("CARGO_PKG_VERSION")).await.map_err(storage)?;
    let interrupt = CancellationToken::new();
    let signals = tokio::spawn(interrupt_on_signal(interrupt.clone()));

    let store = Store::open(db.clone(), run).await?;
    let finishing = evaluator.clone();
    let money = Money::of(&config);
    // The events' senders must be gone with the run.
    drop(context);
    let result =
        Run { config, store, proposer, problem, evaluator, events, interrupt, stopping }.drive().await;

    signals.abort();
    finishing.shutdown().await;
    let reason = match &result {
        Ok(reason) => reason.words().to_owned(),
        Err(failure) => failure.message.clone(),
    };
    db.end_session(session, &reason).await.map_err(storage)?;
    // The events' senders are gone with the run, so this ends.
    let _ = screen.await;
    if let Some(best) = best {
        let _ = best.await;
    }
    let reason = result?;
    if !json {
        print!("{}", printable(&summary(&db, run, &money).await?));
        if let Some(alarm) = alarm::of_runs(&db, Some(run)).await? {
            println!("{}", alarm::on_stdout(&alarm));
        }
    }
    match reason {
        StopReason::Interrupted => {
            eprintln!(
                "stopped; nothing is lost. Go on with: evolve resume {run} --db {}",
                db.path().display()
            );
            Ok(ExitCode::Interrupted)
        }
        _ => Ok(ExitCode::Success),
    }
}

/// What a recording was made with goes before the configuration's own, so that it leads to the same programs.
fn as_recorded(config: Config, overrides: &Overrides) -> Result<Config, Failure> {
    if config.replay.is_none() {
        return Ok(config);
    }
    let Some(header) = open::recorded(&config)? else { return Ok(config) };
    let random_seed = overrides.seed.unwrap_or(header.seed);
    Ok(Config { random_seed, lookahead: header.lookahead.max(1), ..config })
}

/// What proposers get of this run.
async fn context(
    db: &ProgramDb,
    config: &Config,
    run: Option<RunId>,
    events: &Events,
    stopping: &CancellationToken,
) -> Result<RunContext, Failure> {
    let spent = match run {
        Some(run) => {
            let summary = db.summary(run).await.map_err(storage)?;
            let tokens = summary.tokens_in.saturating_add(summary.tokens_out);
            Spent { cost: summary.cost.unwrap_or(0.0), tokens }
        }
        None => Spent::default(),
    };
    let header = Header::new(config.problem.problem.name(), config.random_seed, config.lookahead);
    let recorder = config.record.as_deref().map(|path| Recorder::open(path, &header, run.is_some()));
    let recorder = recorder.transpose().map_err(open::unusable)?.map(Arc::new);
    Ok(RunContext { events: events.clone(), stopping: stopping.clone(), spent, recorder })
}

/// What a user should know from the start.
fn notes(config: &Config) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    if let (Some(llm), true, false) = (&config.llm, config.asks_model(), config.replays()) {
        let models = llm.checked_models().map_err(open::unusable)?;
        let unpriced = unpriced(&models);
        if !unpriced.is_empty() {
            notes.push(format!(
                "no price is known of {}, so what it costs isn't counted (give `price` in llm.models: docs/models.md)",
                unpriced.join(", ")
            ));
        }
    }
    if let Some(header) = open::recorded(config)? {
        let here = Header::new(config.problem.problem.name(), config.random_seed, config.lookahead);
        let there = Header { evolve: here.evolve.clone(), ..header };
        if there != here {
            notes.push(format!(
                "the recording is of another run (problem {}, seed {}, lookahead {}): other programs will come of it",
                there.problem, there.seed, there.lookahead
            ));
        }
    }
    Ok(notes)
}

/// What costs are in, and what may be spent.
struct Money {
    currency: String,
    max_cost: Option<f64>,
}

impl Money {
    fn of(config: &Config) -> Self {
        let llm = config.llm.as_ref();
        Self {
            currency: llm.map_or_else(String::new, |llm| llm.currency.clone()),
            max_cost: llm.and_then(|llm| llm.max_cost),
        }
    }
}

async fn create(db: &ProgramDb, config: &Config) -> Result<RunId, Failure> {
    let problem = &config.problem;
    let code = Fingerprint::of(&problem.initial, problem.problem.language());
    let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
    let run = NewRun {
        title: problem.problem.name().to_owned(),
        problem: problem.problem.name().to_owned(),
        config: config.text.clone(),
        config_path: path.to_string_lossy().into_owned(),
        seed: config.random_seed,
        lookahead: u32::try_from(config.lookahead).unwrap_or(u32::MAX),
        initial: NewProgram {
            code_hash: code.hash.to_string(),
            source: problem.initial.clone(),
            fingerprint: Some(code.to_bytes()),
        },
    };
    db.create_run(&run).await.map_err(storage)
}

async fn started(db: &ProgramDb, run: RunId, config: &Config, sandbox: Tier) -> Result<Event, Failure> {
    let summary = db.summary(run).await.map_err(storage)?;
    Ok(Event::RunStarted {
        run,
        title: config.problem.problem.name().to_owned(),
        proposer: config.proposer_names(),
        seed: config.random_seed,
        max_iterations: config.max_iterations,
        resumed: summary.outcomes.values().sum(),
        database: db.path().display().to_string(),
        sandbox: sandbox.as_str(),
    })
}

/// The first signal asks the run to stop, the second ends the process.
pub(super) async fn interrupt_on_signal(interrupt: CancellationToken) {
    signal().await;
    interrupt.cancel();
    signal().await;
    // Everything reported is stored; children die with us.
    std::process::exit(ExitCode::Interrupted as i32);
}

/// Ctrl-C or a polite kill.
pub(super) async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return,
                _ = terminate.recv() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The end of a run: the best program's trials, statistics and verdict, and where to find it.
async fn summary(db: &ProgramDb, run: RunId, money: &Money) -> Result<String, Failure> {
    let summary = db.summary(run).await.map_err(storage)?;
    let counts: Vec<String> =
        summary.outcomes.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut text = format!(
        "\nrun {run}: {} proposals, {} evaluated in {:.0} s ({})\n",
        summary.proposals,
        summary.evaluations,
        summary.duration.as_secs_f64(),
        counts.join(", ")
    );
    if summary.tokens_in + summary.tokens_out > 0 {
        let most = money.max_cost.map(|most| format!(" of {most}")).unwrap_or_default();
        let cost = match summary.cost {
            Some(cost) => format!(", cost {cost:.4}{most} {}", money.currency),
            None => String::new(),
        };
        text.push_str(&format!(
            "models: {} tokens in, {} tokens out{cost}\n",
            summary.tokens_in, summary.tokens_out
        ));
    }
    if summary.repairs > 0 {
        text.push_str(&format!("repairs: {} of {} were measured\n", summary.repaired, summary.repairs));
    }
    let best = match db.incumbent(run).await.map_err(storage)? {
        Some(incumbent) => Some(incumbent),
        None => db.best(run, 1).await.map_err(storage)?.into_iter().next(),
    };
    let Some(best) = best else {
        text.push_str("no program was measured\n");
        return Ok(text);
    };
    let trials = db.trials(run, best.number).await.map_err(storage)?;
    let origin =
        best.parent.map_or_else(String::new, |parent| format!(" ({} of program {parent})", best.operator));
    text.push_str(&format!("\nbest program: {run}/{}{origin}\n", best.number));
    text.push_str(&report::trials(&trials));
    if let Some(outcome) = &best.outcome {
        text.push_str(&report::outcome(outcome));
    }
    // A command's score is taken at its word; only measured effects can be chance.
    let judged = best
        .outcome
        .as_ref()
        .and_then(Outcome::measured)
        .is_some_and(|measured| !measured.effects.is_empty());
    if summary.incumbent.is_none() && (judged || best.parent.is_none()) {
        text.push_str("nothing better than the initial program was found beyond chance\n");
    }
    text.push_str(&format!("its source: evolve best {run} --db {}\n", db.path().display()));
    Ok(text)
}
