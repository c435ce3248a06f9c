//! `evolve report`: what a run found, and what it is worth on fresh pairs.

use std::path::Path;

use program_db::{Comparison, PastMeasurement, Program, ProgramDb, RunId};
use search::{Outcome, ProgramId, Verdict};

use evaluator::history::History;
use tokio_util::sync::CancellationToken;

use super::alarm;
use super::open::{database_path, evaluator, reading, run_of, storage};
use super::run::interrupt_on_signal;
use super::text::{printable, utc};
use crate::cli::{Overrides, ReportArgs, ReportFormat};
use crate::config::Config;
use crate::event::Events;
use crate::exit_code::{ExitCode, Failure};
use crate::progress;
use crate::report::html::Views;
use crate::report::judgement::Judgement;
use crate::report::run::{Against, Ancestor, Champion, Compared, Course, Opponent, RunReport};
use crate::report::trace::{Promotion, Trace};
use crate::report::{html, markdown, pairs};
use crate::run::Store;
use crate::service::pages::Facts;

pub(super) async fn report(db: Option<&Path>, arguments: &ReportArgs) -> Result<ExitCode, Failure> {
    let path = database_path(db)?;
    let db = reading(db).await?;
    let run = run_of(&db, arguments.run).await?;
    let (mut report, mut facts) = collect(&db, run).await?;
    if arguments.measure {
        measure_missing(&path, run, &report, arguments).await?;
        (report, facts) = collect(&db, run).await?;
    }
    // A file is for drawings unless something else is said; what is printed is for reading.
    let written = arguments.format.unwrap_or(ReportFormat::Html);
    if let Some(out) = &arguments.out {
        std::fs::write(out, rendered(&db, &report, &facts, written).await?)
            .map_err(|error| Failure::usage(format!("{}: can't be written: {error}", out.display())))?;
    }
    let printed = match (arguments.json, arguments.format, &arguments.out) {
        (true, ..) => ReportFormat::Json,
        (false, Some(format), None) => format,
        _ => ReportFormat::Text,
    };
    if printed != ReportFormat::Text {
        println!("{}", rendered(&db, &report, &facts, printed).await?.trim_end());
        return Ok(ExitCode::Success);
    }
    if let Some(alarm) = &report.alarm {
        println!("{}", alarm::on_stdout(alarm));
    }
    print!("{}", printable(&report.text()));
    match &arguments.out {
        Some(out) if written == ReportFormat::Html => eprintln!("with the drawings: {}", out.display()),
        Some(out) => eprintln!("written to {}", out.display()),
        None => eprintln!("with the drawings, as one file: evolve report {run} --out report.html"),
    }
    Ok(ExitCode::Success)
}

/// Programs in the report's tree.
const NODES: u32 = 160;

async fn rendered(
    db: &ProgramDb,
    report: &RunReport,
    facts: &Facts,
    format: ReportFormat,
) -> Result<String, Failure> {
    Ok(match format {
        ReportFormat::Text => printable(&report.text()),
        ReportFormat::Md => markdown::text(report, facts),
        ReportFormat::Json => serde_json::to_string_pretty(report).unwrap_or_default(),
        ReportFormat::Html => {
            let tree = db.tree(report.run, ProgramId::INITIAL, NODES).await.map_err(storage)?;
            let source = async |number: ProgramId| {
                db.program(report.run, number).await.map(|program| program.source).map_err(storage)
            };
            let initial = source(ProgramId::INITIAL).await?;
            let champion = match &report.champion {
                Some(champion) => Some(source(ProgramId(champion.number)).await?),
                None => None,
            };
            let sources = champion.as_deref().map(|champion| (initial.as_str(), champion));
            html::page(report, &Views { facts, tree: &tree, sources })
        }
    })
}

/// Measures the champion against each opponent that is missing, as the end of the run would have.
async fn measure_missing(
    path: &Path,
    run: RunId,
    report: &RunReport,
    arguments: &ReportArgs,
) -> Result<(), Failure> {
    if report.missing().is_empty() {
        return Ok(());
    }
    let db = ProgramDb::open(path).await.map_err(storage)?;
    let about = db.run(run).await.map_err(storage)?;
    let overrides = Overrides { no_sandbox: arguments.no_sandbox, ..Overrides::default() };
    let config = Config::from_stored(Path::new(&about.config_path), &about.config, &overrides)
        .map_err(Failure::usage)?;
    let evaluator = evaluator(&config, History::default()).await?;
    let _lock = db.lock_run(run).map_err(storage)?;
    let events = Events::default();
    let screen = progress::show(progress::Style::choose(false), events.subscribe());
    let store = Store::open(db.clone(), run).await?;
    let interrupt = CancellationToken::new();
    let signals = tokio::spawn(interrupt_on_signal(interrupt.clone()));
    let compared = crate::run::compare(&store, &evaluator, &config, &events, &interrupt).await;
    signals.abort();
    evaluator.shutdown().await;
    drop(events);
    let _ = screen.await;
    drop(store);
    db.close().await;
    compared
}

/// Everything that the report says.
async fn collect(db: &ProgramDb, run: RunId) -> Result<(RunReport, Facts), Failure> {
    let facts = Facts::read(db, run, None).await.map_err(storage)?;
    let history = db.measured_history(run).await.map_err(storage)?;
    let trace =
        Trace { trials: db.reference_trace(run).await.map_err(storage)?, promotions: promotions(&history) };
    let best = match db.incumbent(run).await.map_err(storage)? {
        Some(incumbent) => Some(incumbent),
        None => db.best(run, 1).await.map_err(storage)?.into_iter().next(),
    };
    let (champion, comparisons) = match best {
        None => (None, Vec::new()),
        Some(best) => {
            let champion = champion(db, run, best).await?;
            // Who isn't claimed to be better is no champion, and nothing is gained by more trials of it.
            let comparable = !champion.is_command && champion.is_improved;
            let comparisons = if comparable { against(db, run, &champion).await? } else { Vec::new() };
            (Some(champion), comparisons)
        }
    };
    let summary = &facts.summary;
    let report = RunReport {
        run,
        title: facts.run.title.clone(),
        proposals: summary.proposals,
        evaluated: summary.evaluations,
        seconds: summary.duration.as_secs_f64(),
        alarm: facts.alarm.clone(),
        champion,
        comparisons,
        trace,
        course: Course {
            scores: facts.series.clone(),
            steps: facts.steps.clone(),
            endings: facts.endings.clone(),
            makers: facts.makers.clone(),
        },
    };
    Ok((report, facts))
}

async fn champion(db: &ProgramDb, run: RunId, best: Program) -> Result<Champion, Failure> {
    let measured = best.outcome.as_ref().and_then(Outcome::measured);
    let evaluation = db.evaluation(run, best.number).await.map_err(storage)?;
    let lineage = db.lineage(run, best.number).await.map_err(storage)?;
    let ancestor = |program: Program| Ancestor {
        number: program.number.0,
        score: program.score().map(search::Score::get),
        operator: program.operator,
    };
    Ok(Champion {
        number: best.number.0,
        score: best.score().map_or(0.0, search::Score::get),
        is_improved: measured.is_some_and(|measured| measured.verdict == Verdict::Improved),
        generation: best.generation,
        verdict: best.outcome.as_ref().map(ToString::to_string).unwrap_or_default(),
        is_command: evaluation.is_some_and(|evaluation| evaluation.measured_by.protocol == "command"),
        by: best.model.unwrap_or(best.proposer),
        operator: best.operator,
        lineage: lineage.into_iter().map(ancestor).collect(),
    })
}

/// The latest comparison with each opponent.
async fn against(db: &ProgramDb, run: RunId, champion: &Champion) -> Result<Vec<Against>, Failure> {
    let comparisons = db.comparisons(run, search::ProgramId(champion.number)).await.map_err(storage)?;
    let latest = |opponent: Opponent| {
        let found = comparisons.iter().find(|comparison| comparison.opponent == opponent.as_str());
        Against { opponent, measured: found.map(compared) }
    };
    // Only a problem that trains DoRA has that one.
    let is_shown = |against: &Against| against.opponent != Opponent::PlainLora || against.measured.is_some();
    Ok(Opponent::ALL.into_iter().map(latest).filter(is_shown).collect())
}

fn compared(comparison: &Comparison) -> Compared {
    let evaluation = &comparison.evaluation;
    Compared {
        at: utc(evaluation.started_at),
        device: evaluation.measured_by.device.clone(),
        judgement: evaluation.judgement.as_ref().and_then(Judgement::read),
        pairs: pairs::pairs(&comparison.trials),
    }
}

/// A claimed program is the reference from then on.
fn promotions(history: &[PastMeasurement]) -> Vec<Promotion> {
    let claimed = |past: &&PastMeasurement| {
        past.judgement.as_ref().and_then(Judgement::read).is_some_and(|judgement| judgement.claim.is_some())
    };
    let promotion =
        |past: &PastMeasurement| Some(Promotion { at: past.trials.last()?.ended_at, number: past.number.0 });
    history.iter().filter(claimed).filter_map(promotion).collect()
}
