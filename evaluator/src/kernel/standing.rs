//! Where a run stands: its protocol, and what that was told. One evaluation at a time works with it.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use crate::compile::Compiled;
use crate::footprint::Footprint;
use crate::history::{History, Incumbent};
use crate::job::Job;
use crate::problem::KernelProblem;
use crate::protocol::{self, Candidate, Chance, Decision, Protocol, replay};
use crate::secret::fresh_seed;
use crate::stop::Stop;
use crate::trial::TrialRecord;

/// Trials of the baseline whose memory is remembered.
const FOOTPRINTS: usize = 16;

pub(super) struct Standing {
    /// Gone while an evaluation works with it. One that is cancelled doesn't give it back: the protocol was told trials that aren't
    /// stored, and a run that is resumed has to find it as the history tells.
    protocol: Option<Box<dyn Protocol>>,
    history: History,
    /// The program of reference trials, once it isn't the baseline any more.
    built: Option<(String, Arc<Compiled>)>,
    /// The baseline's memory in its latest trials.
    pub(super) footprints: Vec<Footprint>,
}

impl Standing {
    pub(super) fn new(problem: &KernelProblem, history: History) -> Result<Self, Stop> {
        let protocol = Some(resume(problem, &history)?);
        Ok(Self { protocol, history, built: None, footprints: Vec::new() })
    }

    /// The protocol, turned to a candidate. [`Self::keep`] takes it back.
    pub(super) fn begin(
        &mut self,
        problem: &KernelProblem,
        candidate: Candidate,
    ) -> Result<Box<dyn Protocol>, Stop> {
        let mut protocol = match self.protocol.take() {
            Some(protocol) => protocol,
            None => resume(problem, &self.history)?,
        };
        protocol.begin(candidate);
        Ok(protocol)
    }

    /// The next trial's number.
    pub(super) fn number(&mut self) -> u64 {
        self.history.next_trial += 1;
        self.history.next_trial - 1
    }

    /// Ends the evaluation: what it told the protocol stays. Without a decision it is given up.
    pub(super) fn keep(
        &mut self,
        mut protocol: Box<dyn Protocol>,
        job: &Job,
        is_baseline: bool,
        built: &Arc<Compiled>,
        trials: &[TrialRecord],
        decision: Option<&Decision>,
    ) {
        if decision.is_none() {
            protocol.abandon();
        }
        self.protocol = Some(protocol);
        if self.history.push(job, is_baseline, trials, decision) {
            self.built = Some((job.kernel.clone(), Arc::clone(built)));
        }
    }

    /// The program of reference trials, which the protocol names: none is the baseline; else its build, or its source if it has to be built first.
    pub(super) fn incumbent(
        &self,
        kernel: Option<&str>,
    ) -> Result<Option<Result<Arc<Compiled>, Incumbent>>, Stop> {
        let Some(kernel) = kernel else { return Ok(None) };
        match (&self.built, &self.history.incumbent) {
            (Some((built, compiled)), _) if built == kernel => Ok(Some(Ok(Arc::clone(compiled)))),
            (_, Some(incumbent)) if incumbent.kernel == kernel => Ok(Some(Err(incumbent.clone()))),
            _ => {
                Err(Stop::Broken(format!("the source of the incumbent {kernel} is not in the run's history")))
            }
        }
    }

    /// Keeps the incumbent's build.
    pub(super) fn set_built(&mut self, kernel: String, compiled: Arc<Compiled>) {
        self.built = Some((kernel, compiled));
    }

    pub(super) fn remember(&mut self, footprint: Footprint) {
        if self.footprints.len() == FOOTPRINTS {
            self.footprints.remove(0);
        }
        self.footprints.push(footprint);
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = self.protocol.as_ref().map(|protocol| protocol.name());
        f.debug_struct("Standing").field("protocol", &protocol).finish_non_exhaustive()
    }
}

fn resume(problem: &KernelProblem, history: &History) -> Result<Box<dyn Protocol>, Stop> {
    let mut protocol = protocol::for_problem(problem);
    replay(protocol.as_mut(), &history.evaluations).map_err(|error| Stop::Broken(error.to_string()))?;
    Ok(protocol)
}

/// Coins and seeds that no candidate can have known.
pub(super) struct Drawn(pub(super) ChaCha20Rng);

impl Chance for Drawn {
    fn seed(&mut self) -> u64 {
        fresh_seed(&mut self.0)
    }

    fn coin(&mut self) -> bool {
        self.0.random()
    }
}
