//! One grader's conversation: what it has been told, and what it answers.

use std::fmt::Display;

use trainer::data::training_lines;
use trial_protocol::{
    AnswerLayout, CheckCase, GradeCheck, GradeReply, GradeRequest, GradeTrial, PrepareRequest, Prepared, Slot,
};

use crate::challenge::{Material, check, describe};
use crate::compare;
use crate::{model, trial};

/// What [`PrepareRequest`] brought.
#[derive(Default)]
pub struct Session {
    prepared: Option<State>,
}

struct State {
    error_budget: f32,
    trials: trial::Judge,
}

/// A reply, and the raw frame that follows it.
pub type Answer = (GradeReply, Option<Vec<u8>>);

impl Session {
    /// Length of the raw frame that follows a request; `None` if there is none, or if nobody can know.
    pub fn expected(&self, request: &GradeRequest) -> Option<u64> {
        match request {
            GradeRequest::Prepare(_) => None,
            // No answer fits a case that doesn't exist.
            GradeRequest::Check(GradeCheck { challenge }) => {
                Some(check(&challenge.case).map_or(0, |()| AnswerLayout::of(&challenge.case).bytes() as u64))
            }
            GradeRequest::Trial(_) => {
                Some(self.prepared.as_ref().map_or(0, |state| state.trials.adapter_bytes()))
            }
        }
    }

    /// Answers a request; `raw` is the frame that came with it.
    pub fn answer(&mut self, request: &GradeRequest, raw: &[u8]) -> Answer {
        let answered = match request {
            GradeRequest::Prepare(request) => self.prepare(request),
            GradeRequest::Check(request) => self.check(request, raw).map(|reply| (reply, None)),
            GradeRequest::Trial(request) => self.trial(request, raw).map(|reply| (reply, None)),
        };
        answered.unwrap_or_else(|message| (GradeReply::Failed { message }, None))
    }

    fn prepare(&mut self, request: &PrepareRequest) -> Result<Answer, String> {
        let PrepareRequest { model, training, error_budget } = request;
        let model = model::resolve(model).map_err(text)?;
        let lines = training_lines(&training.data).map_err(text)?;
        let trials = trial::Judge::new(&model, training).map_err(text)?;
        let trainer = trials.trainer();
        let slots = trainer.slots();
        let mut cases: Vec<CheckCase> = Vec::new();
        for slot in slots {
            let case = CheckCase {
                batch: training.batch_size,
                length: trainer.longest(),
                input: slot.input,
                output: slot.output,
                rank: training.rank,
                scale: training.scale,
                quantization: slot.quantization,
                bias: slot.bias,
                dtype: slot.dtype,
            };
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        let prepared = Prepared {
            train_bytes: lines.len() as u64,
            quantized_layers: trainer.quantized_layers(),
            slots: slots
                .iter()
                .map(|slot| Slot {
                    layer: slot.layer.clone(),
                    input: slot.input,
                    output: slot.output,
                    quantized: slot.quantization.is_some(),
                })
                .collect(),
            adapter_bytes: trials.adapter_bytes(),
            cases,
            files: model::files(&model).map_err(text)?,
            model,
        };
        self.prepared = Some(State { error_budget: *error_budget, trials });
        Ok((GradeReply::Prepared(prepared), Some(lines.into_bytes())))
    }

    fn check(&mut self, request: &GradeCheck, answer: &[u8]) -> Result<GradeReply, String> {
        let budget = self.state()?.error_budget;
        let challenge = &request.challenge;
        let explain = |error: &dyn Display| format!("check case {}: {error}", describe(&challenge.case));
        let material = Material::new(challenge).map_err(|error| explain(&error.what()))?;
        let judge = compare::Judge::new(material, budget).map_err(|error| explain(&error.what()))?;
        Ok(GradeReply::Checked { comparisons: judge.compare(answer) })
    }

    fn trial(&mut self, request: &GradeTrial, adapters: &[u8]) -> Result<GradeReply, String> {
        let state = self.state()?;
        state.trials.grade(request.seed, request.iterations, adapters).map(GradeReply::Trial).map_err(text)
    }

    fn state(&mut self) -> Result<&mut State, String> {
        self.prepared.as_mut().ok_or_else(|| "nothing is prepared; send `prepare` first".to_owned())
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
