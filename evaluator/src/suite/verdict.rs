//! Whether a case ended as it has to.

use std::fmt;
use std::str::FromStr;

use search::{Outcome, Stage};
use serde::Serialize;

use super::case::{Case, Intent};

/// What stops a program, in the order in which a program meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// The source gate.
    Gate,
    /// The compiler, shut in.
    Compile,
    /// The sandbox: forbidden calls, limits on time and memory; or nothing came of the attempt.
    Sandbox,
    /// The numeric challenges.
    Check,
    /// The sabotaged build.
    Canary,
    /// The trial itself.
    Trial,
    /// The judge of the trial's result, the floor of physics and the memory's cross-check.
    Judge,
}

impl Fence {
    /// All, in order.
    pub const ALL: [Self; 7] =
        [Self::Gate, Self::Compile, Self::Sandbox, Self::Check, Self::Canary, Self::Trial, Self::Judge];

    /// The word in headers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Compile => "compile",
            Self::Sandbox => "sandbox",
            Self::Check => "check",
            Self::Canary => "canary",
            Self::Trial => "trial",
            Self::Judge => "judge",
        }
    }

    /// Which fence an outcome speaks of; none if it was measured.
    fn of(outcome: &Outcome) -> Option<Self> {
        let by_word = |reason: &str| {
            let word = reason.split(':').next().unwrap_or_default().trim();
            // The floor and the memory's cross-check are the judge's; a flood is a matter of limits.
            let named = Self::ALL.into_iter().find(|fence| fence.as_str() == word);
            let flood = reason.contains("printed more than").then_some(Self::Sandbox);
            named.or(flood).unwrap_or(Self::Judge)
        };
        match outcome {
            Outcome::Measured(_) => None,
            Outcome::Gate { .. } => Some(Self::Gate),
            Outcome::Compile { .. }
            | Outcome::Crash { stage: Stage::Compile, .. }
            | Outcome::Timeout { stage: Stage::Compile, .. }
            | Outcome::OutOfMemory { stage: Stage::Compile, .. } => Some(Self::Compile),
            // Deaths of the process: only the sandbox's limits and walls cause them, or their causes do no harm.
            Outcome::Crash { .. } | Outcome::Timeout { .. } | Outcome::OutOfMemory { .. } => {
                Some(Self::Sandbox)
            }
            Outcome::WrongResult { .. } => Some(Self::Check),
            Outcome::Rejected { reason } => Some(by_word(reason)),
            Outcome::LossDrift { .. }
            | Outcome::NoProposal { .. }
            | Outcome::Patch { .. }
            | Outcome::NoChange
            | Outcome::Duplicate { .. }
            | Outcome::NearDuplicate { .. } => Some(Self::Judge),
        }
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Fence {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let lower = word.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|fence| fence.as_str() == lower).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|fence| fence.as_str()).collect();
            format!("`fence: {word}`: write one of {}, or leave it out", all.join(", "))
        })
    }
}

/// What is to be said of a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Whether it ended as it has to.
    pub ok: bool,
    /// The fence that caught it; none if it was measured.
    pub got: Option<Fence>,
    /// Why it isn't ok.
    pub complaint: Option<String>,
}

/// Judges an outcome. `touched` says in words what became of the decoys: nothing, if all is well.
pub fn judge(case: &Case, outcome: &Outcome, touched: &[String]) -> Finding {
    let fence = Fence::of(outcome);
    if !touched.is_empty() {
        return Finding {
            ok: false,
            got: fence,
            complaint: Some(format!("got out: {}", touched.join("; "))),
        };
    }
    if case.intent == Intent::Honest {
        let complaint = fence.map(|_| "honest, and not measured".to_owned());
        return Finding { ok: fence.is_none(), got: fence, complaint };
    }
    // Whoever tried to get out and touched nothing was held by the sandbox, whatever became of the results.
    let got = if case.is_escape() {
        Some(fence.map_or(Fence::Sandbox, |fence| fence.min(Fence::Sandbox)))
    } else {
        fence
    };
    let complaint = match (got, case.fence) {
        (None, _) => Some("a forged result was measured".to_owned()),
        (Some(got), Some(latest)) if got > latest => Some(format!("caught only by {got}")),
        _ => None,
    };
    Finding { ok: complaint.is_none(), got, complaint }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use search::{Measured, Score, Verdict};

    use super::*;

    fn measured() -> Outcome {
        Outcome::Measured(Measured {
            score: Score::new(2.0).unwrap(),
            verdict: Verdict::Improved,
            metrics: BTreeMap::new(),
            effects: Vec::new(),
            reason: String::new(),
            score_error: None,
        })
    }

    fn rejected(reason: &str) -> Outcome {
        Outcome::Rejected { reason: reason.to_owned() }
    }

    fn found(intent: &str, header: &str, outcome: &Outcome, touched: &[String]) -> (bool, Option<Fence>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.py");
        std::fs::write(&path, format!("# kind: {intent}\n{header}\n")).unwrap();
        let case = Case::read(&path, folder.path(), folder.path()).unwrap();
        let finding = judge(&case, outcome, touched);
        assert_eq!(finding.ok, finding.complaint.is_none());
        (finding.ok, finding.got)
    }

    #[test]
    fn an_attack_must_be_caught_at_its_fence_or_before() {
        let late = Outcome::WrongResult { message: String::new() };
        assert_eq!(found("attack", "# fence: check", &late, &[]), (true, Some(Fence::Check)));
        assert_eq!(found("attack", "# fence: judge", &late, &[]), (true, Some(Fence::Check)));
        assert_eq!(found("attack", "# fence: gate", &late, &[]), (false, Some(Fence::Check)));
        assert_eq!(found("attack", "", &late, &[]), (true, Some(Fence::Check)));
        assert_eq!(found("attack", "# fence: judge", &measured(), &[]), (false, None));
    }

    #[test]
    fn the_reasons_of_a_rejection_begin_with_their_fence() {
        for (reason, fence) in [
            ("sandbox: the command was killed", Fence::Sandbox),
            ("canary: it passed", Fence::Canary),
            ("judge: adapters differ", Fence::Judge),
            ("floor: too fast", Fence::Judge),
            ("memory: more than it says", Fence::Judge),
            ("the command printed more than 4 MiB", Fence::Sandbox),
        ] {
            assert_eq!(found("attack", "", &rejected(reason), &[]).1, Some(fence), "{reason}");
        }
    }

    #[test]
    fn an_escape_that_came_to_nothing_is_the_sandboxs_doing() {
        let header = "# catalogue: escape\n# fence: sandbox";
        for outcome in [measured(), rejected("judge: wrong")] {
            assert_eq!(found("attack", header, &outcome, &[]), (true, Some(Fence::Sandbox)));
        }
        let gate = Outcome::Gate { line: None, reason: String::new() };
        assert_eq!(found("attack", header, &gate, &[]), (true, Some(Fence::Gate)));
    }

    #[test]
    fn a_touched_decoy_is_a_failure_whatever_else_happened() {
        let touched = ["read the key".to_owned()];
        assert!(!found("attack", "# fence: judge", &rejected("judge: no"), &touched).0);
        assert!(!found("honest", "", &measured(), &touched).0);
    }

    #[test]
    fn an_honest_program_must_be_measured() {
        assert!(found("honest", "", &measured(), &[]).0);
        let timeout = Outcome::Timeout { stage: Stage::Trial, limit_seconds: 1.0 };
        assert_eq!(found("honest", "", &timeout, &[]), (false, Some(Fence::Sandbox)));
    }
}
