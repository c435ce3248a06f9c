//! Programs as proposers are shown them, in memory as far as there is room: the same few are shown again and again, and what is
//! finished never changes.

use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use search::{Outcome, ProgramId};

use crate::prompt::PromptSettings;
use crate::proposer::Exhibit;

/// Bytes of sources and artifacts that are kept.
const ROOM: u64 = 8 << 20;
/// Of each artifact of a program that is shown in prompts, in bytes: as much as any prompt may show.
const SHOWN: usize = PromptSettings::MOST_ARTIFACT_BYTES;
/// Programs that this is about enough for.
const PROGRAMS: usize = 2048;

/// The programs shown last, or likely to be shown next.
pub(super) struct Exhibits(Cache<ProgramId, Exhibit, Size>);

#[derive(Clone)]
struct Size;

impl Weighter<ProgramId, Exhibit> for Size {
    fn weight(&self, _: &ProgramId, exhibit: &Exhibit) -> u64 {
        let artifacts: usize = exhibit.artifacts.iter().map(|(name, text)| name.len() + text.len()).sum();
        let outcome = match &exhibit.outcome {
            Some(Outcome::Measured(measured)) => 64 * measured.metrics.len() + 256 * measured.effects.len(),
            _ => 0,
        };
        (512 + exhibit.source.len() + artifacts + outcome) as u64
    }
}

/// Artifacts as prompts may show them: of long ones the beginning and the end.
pub(super) fn shown(artifacts: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    artifacts.into_iter().map(|(name, content)| (name, evaluator::shorten(&content, SHOWN))).collect()
}

impl Default for Exhibits {
    fn default() -> Self {
        Self(Cache::with_weighter(PROGRAMS, ROOM, Size))
    }
}

impl Exhibits {
    /// A program that is known here.
    pub(super) fn get(&self, id: ProgramId) -> Option<Exhibit> {
        self.0.get(&id).cloned()
    }

    /// Keeps a program, if it is finished; else it may still change.
    pub(super) fn keep(&mut self, exhibit: Exhibit) {
        if exhibit.outcome.is_some() {
            self.0.insert(exhibit.id, exhibit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhibit(id: u64, bytes: usize) -> Exhibit {
        Exhibit::new(ProgramId(id), "x".repeat(bytes), Some(Outcome::NoChange))
    }

    #[test]
    fn what_is_kept_fits_into_its_room() {
        let mut exhibits = Exhibits::default();
        for id in 0..10_000 {
            exhibits.keep(exhibit(id, 10_000));
        }
        let known: Vec<Exhibit> = (0..10_000).filter_map(|id| exhibits.get(ProgramId(id))).collect();
        let bytes: usize = known.iter().map(|exhibit| exhibit.source.len()).sum();
        assert!((ROOM / 2..=ROOM).contains(&(bytes as u64)), "{bytes} bytes are kept");
    }

    #[test]
    fn of_a_long_artifact_the_beginning_and_the_end_can_be_shown() {
        let long = format!("begin{}end", "x".repeat(1 << 20));
        let shown = shown([("log".to_owned(), long), ("note".to_owned(), "short".to_owned())]);
        assert!(shown[0].1.len() <= SHOWN && shown[0].1.starts_with("begin") && shown[0].1.ends_with("end"));
        assert_eq!(shown[1], ("note".to_owned(), "short".to_owned()));
    }

    #[test]
    fn only_what_is_finished_is_kept() {
        let mut exhibits = Exhibits::default();
        exhibits.keep(Exhibit { outcome: None, ..exhibit(1, 10) });
        assert_eq!(exhibits.get(ProgramId(1)), None);
        exhibits.keep(exhibit(1, 10));
        assert_eq!(exhibits.get(ProgramId(1)), Some(exhibit(1, 10)));
    }
}
