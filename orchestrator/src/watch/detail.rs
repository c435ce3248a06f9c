//! One proposal, in words: what became of it and why, and its source.

use program_db::{DbError, ProgramDb, RunId};
use search::ProgramId;

use crate::report::{self, judgement::Judgement};

/// Longest text of one part, in bytes; `evolve show` has the whole.
const LONGEST: usize = 200_000;

/// One proposal, to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Its number.
    pub number: ProgramId,
    /// Lines as they are stored: escapes and all. Whoever shows them makes them safe.
    pub lines: Vec<String>,
}

/// Reads one proposal: what became of it and why, what it left, and its source.
///
/// # Errors
/// [`DbError::NoSuchProgram`] and the like.
pub async fn detail(db: &ProgramDb, run: RunId, number: ProgramId) -> Result<Detail, DbError> {
    let mut text = explained(db, run, number).await?;
    for artifact in db.artifacts(run, number).await? {
        let content = shortened(artifact.content.trim_end(), run, number);
        text.push_str(&format!("\n{}:\n{content}\n", artifact.name));
    }
    match db.program(run, number).await {
        Ok(program) => {
            text.push_str(&format!("\nsource:\n{}", shortened(&program.source, run, number)));
        }
        Err(DbError::NoProgram { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(Detail { number, lines: text.split('\n').map(str::to_owned).collect() })
}

/// What became of a proposal and why, with the statistics behind it, in words.
///
/// # Errors
/// As [`detail`].
pub async fn explained(db: &ProgramDb, run: RunId, number: ProgramId) -> Result<String, DbError> {
    let proposal = db.proposal(run, number).await?;
    let outcome = db.outcome(run, number).await?;
    let evaluation = db.evaluation(run, number).await?;
    let trials = db.trials(run, number).await?;
    let decisions = db.decisions(run, number).await?;
    let mut text = format!("program {run}/{number}");
    if let Some(parent) = proposal.parent {
        text.push_str(&format!(", {} of program {parent}", proposal.operator));
    }
    let by = proposal.model.as_deref().unwrap_or(&proposal.proposer);
    text.push_str(&format!(", by {by}, island {}\n\n", proposal.island));
    text.push_str(
        &outcome.as_ref().map_or_else(|| "outcome: not evaluated yet\n".to_owned(), report::outcome),
    );
    let judgement = evaluation.as_ref().and_then(|of| Judgement::read(of.judgement.as_ref()?));
    text.push_str(&report::decisions::explanation(&trials, &decisions, judgement.as_ref()));
    Ok(text)
}

fn shortened(text: &str, run: RunId, number: ProgramId) -> String {
    let end = text.floor_char_boundary(LONGEST);
    if end == text.len() {
        return text.to_owned();
    }
    format!("{}\n... ({} bytes in all; `evolve show {run}/{number}` has the rest)", &text[..end], text.len())
}
