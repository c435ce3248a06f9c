//! Where a run stands: its protocol, and what that was told. One evaluation at a time works with it.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha20Rng;

use crate::compile::Compiled;
use crate::footprint::Footprint;
use crate::history::{History, Incumbent, past};
use crate::job::Job;
use crate::problem::KernelProblem;
use crate::protocol::{self, Candidate, Chance, Decision, Protocol, replay};
use crate::secret::fresh_seed;
use crate::stop::Stop;
use crate::trial::TrialRecord;

/// Trials of the baseline whose memory is remembered.
const FOOTPRINTS: usize = 16;

pub(super) struct Standing {
    pub(super) protocol: Box<dyn Protocol>,
    history: History,
    /// The program of reference trials, once it isn't the baseline any more.
    built: Option<(String, Arc<Compiled>)>,
    /// The baseline's memory in its latest trials.
    pub(super) footprints: Vec<Footprint>,
    /// An evaluation has begun; unless it is kept, the protocol was told what nobody will know of tomorrow.
    in_flight: bool,
}

impl Standing {
    pub(super) fn new(problem: &KernelProblem, history: History) -> Result<Self, Stop> {
        let protocol = resume(problem, &history)?;
        Ok(Self { protocol, history, built: None, footprints: Vec::new(), in_flight: false })
    }

    /// Turns to a candidate. What an evaluation that was cancelled has told the protocol is taken back: its trials aren't stored,
    /// and a run that is resumed has to find the protocol as it left it.
    pub(super) fn begin(&mut self, problem: &KernelProblem, candidate: Candidate) -> Result<(), Stop> {
        if self.in_flight {
            self.protocol = resume(problem, &self.history)?;
        }
        self.in_flight = true;
        self.protocol.begin(candidate);
        Ok(())
    }

    /// The next trial's number.
    pub(super) fn number(&mut self) -> u64 {
        self.history.next_trial += 1;
        self.history.next_trial - 1
    }

    /// Ends the evaluation: what it told the protocol stays. Without a decision it is given up.
    pub(super) fn keep(
        &mut self,
        job: &Job,
        is_baseline: bool,
        built: &Arc<Compiled>,
        trials: &[TrialRecord],
        decision: Option<&Decision>,
    ) {
        self.in_flight = false;
        if decision.is_none() {
            self.protocol.abandon();
        }
        let candidate = Candidate { program: job.kernel.clone(), is_baseline };
        let Some(evaluation) = past(candidate, trials, decision) else { return };
        if evaluation.claimed {
            self.history.incumbent =
                Some(Incumbent { program: job.program.clone(), kernel: job.kernel.clone() });
            self.built = Some((job.kernel.clone(), Arc::clone(built)));
        }
        self.history.evaluations.push(evaluation);
    }

    /// The program of reference trials: none is the baseline; else its build, or its source if it has to be built first.
    pub(super) fn incumbent(&self) -> Result<Option<Result<Arc<Compiled>, Incumbent>>, Stop> {
        let Some(kernel) = self.protocol.incumbent() else { return Ok(None) };
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
        f.debug_struct("Standing").field("protocol", &self.protocol.name()).finish_non_exhaustive()
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
