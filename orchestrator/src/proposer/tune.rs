//! Other values for a program's marked numbers, as search suggests them: no model is asked.

use search::{Outcome, TUNE};

use super::{Exhibit, Proposal};

/// The parent with these values in place of its marked numbers.
pub fn propose(parent: &Exhibit, values: &[f64]) -> Proposal {
    let change = search::tune::substitute(&parent.source, values).ok_or_else(|| Outcome::Patch {
        reason: format!("program {} doesn't have {} marked numbers", parent.id, values.len()),
    });
    Proposal::offline(TUNE, TUNE, change)
}

#[cfg(test)]
mod tests {
    use search::ProgramId;

    use super::*;

    #[test]
    fn values_take_the_place_of_marked_numbers() {
        let source = "// EVOLVE-BLOCK-START\nlet b = 32; // @tune 32 [8..256] log\n// EVOLVE-BLOCK-END\n";
        let parent = Exhibit::new(ProgramId(3), source, None);
        assert_eq!(propose(&parent, &[64.0]).change, Ok(source.replace("32", "64")));
        assert!(matches!(propose(&parent, &[]).change, Err(Outcome::Patch { .. })));
    }
}
