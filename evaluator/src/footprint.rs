//! Whether a trial's memory is what MLX's allocator says it is.
//!
//! The allocator counts within the candidate's process, and only what was asked of it. The operating system counts everything,
//! but with the libraries, the model as it was loaded, and pages that nobody uses any more. So neither figure is compared with
//! the other: what a candidate has beside its allocator's figure is compared with what the baseline has beside its own.

/// One trial's memory during the measured steps, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Footprint {
    /// Peak by MLX's allocator, as the runner says.
    pub(crate) allocator: f64,
    /// Peak by the operating system, as the launcher says.
    pub(crate) outside: f64,
}

/// Differences below this are pages, not lies.
const NOISE_BYTES: f64 = (4 << 20) as f64;
/// What a kernel may keep beside the allocator, relative to the baseline's peak by the allocator.
const SHARE: f64 = 0.25;

impl Footprint {
    /// What the allocator doesn't account for.
    fn beside(&self) -> f64 {
        self.outside - self.allocator
    }
}

/// Why a candidate's trial isn't believed, if it isn't: more memory beside the allocator than in any of the baseline's trials.
pub(crate) fn hidden(baseline: &[Footprint], candidate: &Footprint) -> Option<String> {
    let beside = baseline.iter().map(Footprint::beside).reduce(f64::max)?;
    let allocator = baseline.iter().map(|trial| trial.allocator).reduce(f64::max)?;
    let excess = candidate.beside() - beside;
    let allowed = NOISE_BYTES.max(SHARE * allocator);
    (excess > allowed).then(|| {
        format!(
            "memory: the allocator counts {:.1} MB, but the process has {:.1} MB more beside it than the baseline's ever had; \
             keep what the kernel needs in arrays, where it is counted",
            candidate.allocator / 1e6,
            excess / 1e6
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: f64 = 1e6;

    fn footprint(allocator: f64, outside: f64) -> Footprint {
        Footprint { allocator: allocator * MB, outside: outside * MB }
    }

    fn baseline() -> Vec<Footprint> {
        vec![footprint(100.0, 250.0), footprint(100.0, 254.0), footprint(100.0, 248.0)]
    }

    #[test]
    fn a_kernel_that_is_as_lean_as_it_says_is_believed() {
        for honest in [
            footprint(100.0, 255.0),
            // Half the memory, seen from both sides.
            footprint(50.0, 200.0),
            // Freed pages that the process kept.
            footprint(50.0, 225.0),
            // More of it, and it says so.
            footprint(300.0, 450.0),
            footprint(100.0, 120.0),
        ] {
            assert_eq!(hidden(&baseline(), &honest), None, "{honest:?}");
        }
    }

    #[test]
    fn a_kernel_that_needs_what_the_baseline_needs_and_claims_half_is_not() {
        for lie in [footprint(50.0, 254.0 + 2.0), footprint(1.0, 250.0), footprint(100.0, 300.0)] {
            let reason = hidden(&baseline(), &lie).unwrap_or_else(|| panic!("believed: {lie:?}"));
            assert!(reason.starts_with("memory: "), "{reason}");
        }
    }

    #[test]
    fn small_models_are_left_their_noise() {
        let baseline = [footprint(1.0, 90.0)];
        assert_eq!(hidden(&baseline, &footprint(1.0, 93.9)), None);
        assert!(hidden(&baseline, &footprint(1.0, 94.5)).is_some());
    }

    #[test]
    fn without_a_baseline_there_is_nothing_to_compare() {
        assert_eq!(hidden(&[], &footprint(1.0, 1e6)), None);
    }
}
