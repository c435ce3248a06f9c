//! The problem's judge: makes the challenge, and turns an answer's bytes into metrics. Trusted; never sees the candidate.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;

use serde_json::Value;

use super::execute::{Execution, Executor, Stdout};
use super::metrics::{self, Printed, Rule};
use crate::compile::text;
use crate::order::How;
use crate::scratch::write_shared;
use crate::stop::Stop;

/// A judge's program with its first arguments.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) command: Vec<String>,
    /// What it may read.
    pub(super) places: Vec<PathBuf>,
}

impl Judge {
    /// A challenge from a seed that no candidate can have known.
    pub(super) async fn challenge(&self, executor: &Executor) -> Result<Vec<u8>, Stop> {
        // `RandomState` is the operating system's randomness. Scripting languages keep 53 bits in any number.
        let seed = RandomState::new().hash_one("challenge") >> 11;
        let arguments = ["make".to_owned(), seed.to_string()];
        let execution = executor.run(&self.with(&arguments), None, self.places.clone()).await?;
        printed(execution, "make")
    }

    /// The metrics of an answer, or why it is refused. `folder` is the judge's own, for the two files.
    pub(super) async fn score(
        &self,
        executor: &Executor,
        challenge: &[u8],
        answer: &[u8],
        seconds: f64,
    ) -> Result<Result<Printed, String>, Stop> {
        let folder = executor.scratch.shared_folder("judge")?;
        let (challenge_file, answer_file) = (folder.path().join("challenge"), folder.path().join("answer"));
        write_shared(&challenge_file, challenge)?;
        write_shared(&answer_file, answer)?;
        let arguments =
            ["score", text(&challenge_file)?, text(&answer_file)?, &seconds.to_string()].map(str::to_owned);
        let mut places = self.places.clone();
        places.push(folder.path().to_owned());
        let execution = executor.run(&self.with(&arguments), None, places).await?;
        let stdout = String::from_utf8_lossy(&printed(execution, "score")?).into_owned();
        if let Some(refusal) = refusal(&stdout) {
            return Ok(Err(refusal));
        }
        metrics::read(&stdout, &Rule::default())
            .map(Ok)
            .map_err(|reason| Stop::Broken(format!("the problem's judge gave no verdict: {reason}")))
    }

    fn with(&self, arguments: &[String]) -> Vec<String> {
        [&self.command, arguments].concat()
    }
}

/// What the judge printed. It is the user's own program, so its failure is ours to report, not the candidate's.
fn printed(execution: Execution, verb: &str) -> Result<Vec<u8>, Stop> {
    let broken = |what: String| Err(Stop::Broken(format!("the problem's judge failed at `{verb}`: {what}")));
    match (execution.ended.how, execution.stdout) {
        (How::Exited { code: 0 }, Stdout::Whole(bytes)) => Ok(bytes),
        (_, Stdout::TooMuch) => broken("it printed too much".to_owned()),
        (how, _) => broken(format!("it {how}\n{}", super::last_lines(&execution.ended.stderr, 10))),
    }
}

/// `{"error": "why"}`: the answer is refused.
fn refusal(stdout: &str) -> Option<String> {
    let last = stdout.lines().rev().find(|line| !line.trim().is_empty())?;
    let object: Value = serde_json::from_str(last).ok()?;
    object.get("error")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_error_text_on_the_last_line() {
        assert_eq!(refusal("thinking\n{\"error\": \"not sorted\"}\n"), Some("not sorted".to_owned()));
        for stdout in ["", "{\"score\": 1}", "{\"error\": 3}", "{\"error\": \"x\"}\n{\"score\": 1}"] {
            assert_eq!(refusal(stdout), None, "{stdout}");
        }
    }
}
