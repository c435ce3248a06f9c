//! Recordings: every reply of a run in a file of JSON lines, and a model's place taken by such a file. For tests, demonstrations
//! and bug reports. docs/models.md describes the format, which stays readable.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::llm::tokens::Tokens;
use super::{ProposerError, ProposerErrorKind};

/// What most replies are for: a proposal.
pub const PROPOSAL: &str = "proposal";

/// And some are for the lessons of a run, whose number is their version.
pub const LESSONS: &str = "lessons";

/// The version of the format.
const FORMAT: u32 = 1;

/// The first line of a recording: what the replies belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The format's version, 1.
    pub recording: u32,
    /// The version of evolve that made it.
    pub evolve: String,
    /// The problem's name.
    pub problem: String,
    /// The run's seed.
    pub seed: u64,
    /// The run's lookahead.
    pub lookahead: u64,
}

impl Header {
    /// The header of a run.
    pub fn new(problem: &str, seed: u64, lookahead: u64) -> Self {
        let evolve = env!("CARGO_PKG_VERSION").to_owned();
        Self { recording: FORMAT, evolve, problem: problem.to_owned(), seed, lookahead }
    }
}

/// Every other line: one reply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredReply {
    /// The proposal that it answers; absent: the next line's turn, in the order of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Which reply to this proposal, from 1; absent in a line written by hand, whose reply may then have any form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u32>,
    /// What it is for; absent: a proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Which model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the model said; with a `reason`, what came in place of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Whether the model stopped at its limit of tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Tokens sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// Of those sent, how many came from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<u64>,
    /// Of those received, how many were reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_reasoning: Option<u64>,
    /// Whether the tokens are estimated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tokens_estimated: bool,
    /// What they cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Seconds it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<f64>,
    /// HTTP requests it took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub requests: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl StoredReply {
    /// Its tokens, if any are known.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        if self.tokens_in.is_none() && self.tokens_out.is_none() {
            return None;
        }
        Some(Tokens {
            input: self.tokens_in.unwrap_or(0),
            cached: self.tokens_cached,
            output: self.tokens_out.unwrap_or(0),
            reasoning: self.tokens_reasoning,
            estimated: self.tokens_estimated,
        })
    }

    fn purpose(&self) -> &str {
        self.purpose.as_deref().unwrap_or(PROPOSAL)
    }
}

/// How often each proposal has asked so far, for each purpose.
#[derive(Debug, Default)]
struct Calls(Mutex<HashMap<(String, u64), u32>>);

impl Calls {
    /// The number of this call, from 1.
    fn next(&self, purpose: &str, number: u64) -> u32 {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry((purpose.to_owned(), number)).or_default();
        *count += 1;
        *count
    }
}

/// Keeps replies as they come.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: Mutex<File>,
    calls: Calls,
    has_failed: AtomicBool,
}

impl Recorder {
    /// Starts a recording. A resumed run goes on with the one that it has; a new run never writes over another's.
    pub fn open(path: &Path, header: &Header, resumed: bool) -> Result<Self, ProposerError> {
        let wrong =
            |what: String, hint: &str| ProposerError::setup(format!("{}: {what}", path.display()), hint);
        let mut file =
            OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                wrong(format!("can't be written: {error}"), "name another file for --record")
            })?;
        let is_empty = file.metadata().map_or(true, |metadata| metadata.len() == 0);
        if !is_empty && !resumed {
            return Err(wrong(
                "is there already".to_owned(),
                "name another file for --record, or remove this one",
            ));
        }
        if is_empty {
            write_line(&mut file, header).map_err(|error| {
                wrong(format!("can't be written: {error}"), "name another file for --record")
            })?;
        }
        let (calls, has_failed) = (Calls::default(), AtomicBool::new(false));
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), calls, has_failed })
    }

    /// Keeps a reply. A file that can't be written is no reason to stop a run: the first failure is returned, to be told.
    pub(super) fn keep(&self, reply: StoredReply) -> Option<String> {
        let call = self.calls.next(reply.purpose(), reply.number.unwrap_or(0));
        let line = StoredReply { call: Some(call), ..reply };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let error = write_line(&mut file, &line).err()?;
        let is_first = !self.has_failed.swap(true, Ordering::Relaxed);
        is_first.then(|| {
            format!("{} can't be written, so replies are missing in it: {error}", self.path.display())
        })
    }
}

/// One write, so that a killed process leaves whole lines.
fn write_line(file: &mut File, line: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    file.write_all(text.as_bytes())
}

/// Answers from a file. Which reply a prompt gets depends on its proposal's number alone, never on timing.
#[derive(Debug)]
pub struct Recording {
    header: Option<Header>,
    replies: Vec<StoredReply>,
    /// Where each reply is, by purpose, number and call. A run that was killed between keeping a reply and storing it has asked
    /// again: the last one stands.
    places: HashMap<(String, u64, u32), usize>,
    /// Those without a number, in order.
    unnumbered: Vec<usize>,
    /// The highest number that has a reply.
    last: u64,
    calls: Calls,
}

/// A stored reply, found.
#[derive(Debug)]
pub(super) struct Replayed<'a> {
    pub(super) stored: &'a StoredReply,
    /// Whether somebody wrote it by hand: then it may be of any form.
    pub(super) by_hand: bool,
}

impl Recording {
    /// Reads a file of [`StoredReply`] lines, with or without a [`Header`] before them; blank lines are skipped.
    pub fn open(path: &Path) -> Result<Self, ProposerError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ProposerError::setup(
                format!("{} can't be read: {error}", path.display()),
                "name a file of stored replies, one JSON object a line, as `evolve run --record FILE` makes it",
            )
        })?;
        let wrong = |number: usize, what: String| {
            let what = format!("{}, line {number}: {what}", path.display());
            ProposerError::setup(what, "each line must be an object such as {\"reply\": \"...\"}")
        };
        let (mut header, mut replies) = (None, Vec::new());
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        for (at, (number, line)) in lines.enumerate() {
            if at == 0 && line.contains("\"recording\"") {
                let read: Header =
                    serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
                if read.recording != FORMAT {
                    let what = format!("format {} is newer than this evolve knows", read.recording);
                    return Err(wrong(number, what));
                }
                header = Some(read);
                continue;
            }
            let reply: StoredReply =
                serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
            if reply.reply.is_none() && reply.reason.is_none() {
                return Err(wrong(number, "neither `reply` nor `reason`".to_owned()));
            }
            replies.push(reply);
        }
        Ok(Self::new(header, replies))
    }

    /// Answers from memory.
    pub fn new(header: Option<Header>, replies: Vec<StoredReply>) -> Self {
        let (mut places, mut unnumbered, mut last) = (HashMap::new(), Vec::new(), 0);
        for (at, reply) in replies.iter().enumerate() {
            match reply.number {
                Some(number) => {
                    if reply.purpose() == PROPOSAL {
                        last = last.max(number);
                    }
                    places.insert((reply.purpose().to_owned(), number, reply.call.unwrap_or(1)), at);
                }
                None => unnumbered.push(at),
            }
        }
        // Proposal 0 is the initial program, so the first reply is for proposal 1.
        last = last.max(unnumbered.len() as u64);
        Self { header, replies, places, unnumbered, last, calls: Calls::default() }
    }

    /// What it says about the run it was made of.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The next reply of a proposal.
    ///
    /// # Errors
    /// [`ProposerErrorKind::RecordingEnds`] if there is none.
    pub(super) fn answer(&self, purpose: &str, number: u64) -> Result<Replayed<'_>, ProposerError> {
        let call = self.calls.next(purpose, number);
        let numbered = self.places.get(&(purpose.to_owned(), number, call));
        let in_order = || {
            let nth = usize::try_from(number.checked_sub(1)?).ok()?;
            self.unnumbered.get(nth).filter(|_| call == 1 && purpose == PROPOSAL)
        };
        let place = numbered.or_else(in_order).and_then(|at| self.replies.get(*at));
        place.map(|stored| Replayed { stored, by_hand: stored.call.is_none() }).ok_or_else(|| {
            ProposerError::new(
                ProposerErrorKind::RecordingEnds,
                format!(
                    "the recording has no reply {call} for proposal {number}; its last one is for {}",
                    self.last
                ),
                "that is all there is to replay; a model can go on: `evolve resume --config FILE`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<Recording, ProposerError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Recording::open(file.path())
    }

    fn text(recording: &Recording, number: u64) -> Option<String> {
        recording.answer(PROPOSAL, number).ok().and_then(|replayed| replayed.stored.reply.clone())
    }

    #[test]
    fn replies_come_by_number_or_else_in_the_order_of_the_file() {
        let file = r#"{"reply": "first"}
{"reply": "second", "model": "m", "tokens_in": 5, "cost": 0.5}

{"reply": "third", "number": 1}
"#;
        let recording = open(file).unwrap();
        assert_eq!(text(&recording, 1).as_deref(), Some("third"));
        assert_eq!(text(&recording, 2).as_deref(), Some("second"));
        let error = recording.answer(PROPOSAL, 3).unwrap_err();
        assert!(
            error.kind == ProposerErrorKind::RecordingEnds && error.what.contains("proposal 3"),
            "{error:?}"
        );
        assert_eq!(text(&recording, 1), None, "there is no second reply for proposal 1");
    }

    #[test]
    fn what_was_recorded_is_found_again_and_of_two_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let header = Header::new("p", 7, 4);
        let said = |number: u64, reply: &str| StoredReply {
            number: Some(number),
            reply: Some(reply.to_owned()),
            ..StoredReply::default()
        };
        let first = Recorder::open(&path, &header, false).unwrap();
        assert_eq!(first.keep(said(1, "one")), None);
        first.keep(said(1, "again"));
        first.keep(StoredReply { purpose: Some("lessons".into()), ..said(1, "learnt") });
        first.keep(said(2, "lost by a crash"));
        assert!(Recorder::open(&path, &header, false).unwrap_err().what.contains("is there already"));
        Recorder::open(&path, &header, true).unwrap().keep(said(2, "two"));
        let recording = Recording::open(&path).unwrap();
        assert_eq!(recording.header(), Some(&header));
        assert_eq!([text(&recording, 1), text(&recording, 1)], [Some("one".into()), Some("again".into())]);
        assert_eq!(text(&recording, 2).as_deref(), Some("two"));
        let learnt = recording.answer(LESSONS, 1).unwrap();
        assert!(!learnt.by_hand && learnt.stored.reply.as_deref() == Some("learnt"), "{learnt:?}");
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, expected) in [
            ("{\"reply\": \"x\"}\n{\"rply\": 1}\n", "line 2"),
            ("{\"number\": 1}\n", "neither"),
            (
                "{\"recording\": 2, \"evolve\": \"9\", \"problem\": \"p\", \"seed\": 1, \"lookahead\": 1}\n",
                "newer",
            ),
            ("{\"recording\": 1, \"evolv\": \"9\"}\n", "evolv"),
        ] {
            let error = open(text).unwrap_err();
            assert!(error.what.contains(expected), "{error}");
        }
        assert!(Recording::open(Path::new("/nonexistent.jsonl")).is_err());
    }
}
