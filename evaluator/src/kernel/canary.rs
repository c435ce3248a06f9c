//! The canary: proof that a check and a trial are about the candidate. The same program with the sign of every result turned
//! must fail both.

use rand_chacha::ChaCha20Rng;
use search::{Outcome, Stage};

use trial_protocol::Training;

use super::check::{self, any_passes};
use super::{BASELINE, KernelEvaluator, judge, unmeasurable};
use crate::challenge;
use crate::compile::{Build, Compiled};
use crate::job::Job;
use crate::log::Log;
use crate::runner::Fault;
use crate::secret::{Secret, fresh_seed};
use crate::stop::Stop;

/// Steps of the trial: one is enough to go the wrong way.
const ITERATIONS: u32 = 1;

/// What a sabotaged build came to.
enum Canary {
    /// It failed, as it must.
    Died,
    /// It passed, in the words for that.
    Sings(&'static str),
}

impl KernelEvaluator {
    /// Passes if the candidate's sabotaged build does not.
    pub(super) async fn canary(&self, job: &Job, rng: &mut ChaCha20Rng, log: &mut Log) -> Result<(), Stop> {
        let name = format!("{} sabotaged", job.kernel);
        let sabotaged = self.compiler.compile(&job.program, &name, Build::Sabotaged).await?;
        let sabotaged = sabotaged.map_err(|(outcome, artifact)| {
            log.artifacts.push(artifact);
            Stop::Outcome(outcome)
        })?;
        match self.sabotage(&sabotaged, rng).await? {
            Ok(Canary::Died) => Ok(()),
            Ok(Canary::Sings(what)) => {
                let reason = format!(
                    "canary: with the sign of every result turned the kernel still passes {what}, so its results aren't \
                     what is used"
                );
                Err(Outcome::Rejected { reason }.into())
            }
            Err(fault) => Err(self.blame(fault, Stage::Check).await?.into()),
        }
    }

    /// The same for the baseline, and that it passes without the sabotage: if not, our judging is of no use.
    pub(super) async fn prove(&self) -> Result<(), Stop> {
        let _building = self.device.build().await?;
        let crash = |message: String| unmeasurable(&Outcome::Crash { stage: Stage::Check, message });
        let mut rng = Secret::draw()?.generator();
        let challenges = challenge::draw_few(&self.announced, &mut rng);
        match self.compare(&self.baseline, &challenges).await?.result {
            Ok(findings) => {
                if let Err(wrong) = check::judge(&findings, &challenges) {
                    return Err(unmeasurable(&wrong.outcome));
                }
            }
            Err(fault) => return Err(crash(fault.to_string())),
        }
        let name = format!("{BASELINE} sabotaged");
        let sabotaged = self.compiler.compile(&self.initial, &name, Build::Sabotaged).await?;
        let sabotaged = sabotaged.map_err(|(outcome, _)| unmeasurable(&outcome))?;
        match self.sabotage(&sabotaged, &mut rng).await? {
            Ok(Canary::Died) => Ok(()),
            Ok(Canary::Sings(what)) => {
                Err(crash(format!("with the sign of every result turned it still passes {what}")))
            }
            Err(fault) => Err(crash(fault.to_string())),
        }
    }

    async fn sabotage(
        &self,
        sabotaged: &Compiled,
        rng: &mut ChaCha20Rng,
    ) -> Result<Result<Canary, Fault>, Stop> {
        let challenges = challenge::draw_few(&self.announced, rng);
        match self.compare(sabotaged, &challenges).await?.result {
            Ok(findings) if any_passes(&findings, challenges.len()) => {
                return Ok(Ok(Canary::Sings("a check")));
            }
            Ok(_) => {}
            Err(fault) => return Ok(Err(fault)),
        }
        let seed = fresh_seed(rng);
        let training = Training { iterations: ITERATIONS, warmup_iterations: 0, ..self.training.clone() };
        let training_kind = training.fine_tune_type;
        let answer = self.train(Some(sabotaged), training, seed, fresh_seed(rng)).await?;
        let trained = match answer.result {
            Ok(trained) => trained,
            Err(fault) => return Ok(Err(fault)),
        };
        let grade = self.grader.trial(seed, ITERATIONS, training_kind, &trained.adapters).await?;
        Ok(Ok(match judge::agrees(&grade) {
            Ok(()) => Canary::Sings("a trial"),
            Err(_) => Canary::Died,
        }))
    }
}
