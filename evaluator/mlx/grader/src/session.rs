//! One grader's conversation: what it has been told, and what it answers.

use std::fmt::Display;

use trainer::data::training_lines;
use trial_protocol::{
    AdapterKind, AnswerLayout, CheckCase, GradeCheck, GradeReply, GradeRequest, GradeTrial, Model,
    PrepareRequest, Prepared, Sibling, Slot, Training,
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
    /// For trials of plain LoRA beside another kind of adapter.
    lora: Option<trial::Judge>,
    model: Model,
    training: Training,
}

impl State {
    /// The judge of trials with this kind of adapter. One for plain LoRA is made when it is first asked for.
    fn judge(&mut self, kind: AdapterKind) -> trainer::Result<&mut trial::Judge> {
        if kind == self.training.fine_tune_type {
            return Ok(&mut self.trials);
        }
        if kind != AdapterKind::Lora {
            let problem =
                format!("is {:?}; trials of {kind:?} can't be judged", self.training.fine_tune_type);
            return Err(trainer::Error::Setting { setting: "fine_tune_type", problem });
        }
        let judge = if let Some(judge) = self.lora.take() {
            judge
        } else {
            let training = Training { fine_tune_type: kind, ..self.training.clone() };
            trial::Judge::new(&self.model, &training)?
        };
        Ok(self.lora.insert(judge))
    }
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
            GradeRequest::Trial(GradeTrial { fine_tune_type, .. }) => {
                Some(self.prepared.as_ref().map_or(0, |state| state.trials.adapter_bytes(*fine_tune_type)))
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
        let case = |slot: &trainer::Slot| CheckCase {
            batch: training.batch_size,
            length: trainer.longest(),
            input: slot.input,
            output: slot.output,
            rank: training.rank,
            scale: training.scale,
            quantization: slot.quantization,
            bias: slot.bias,
            dtype: slot.dtype,
            adapter: training.fine_tune_type,
            siblings: Vec::new(),
        };
        let together = trainer.groups().into_iter().map(|group| CheckCase {
            siblings: group[1..].iter().map(|&place| sibling(&slots[place])).collect(),
            ..case(&slots[group[0]])
        });
        let mut cases: Vec<CheckCase> = Vec::new();
        for case in slots.iter().map(case).chain(together) {
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
            adapter_bytes: trials.adapter_bytes(training.fine_tune_type),
            lora_bytes: trials.adapter_bytes(AdapterKind::Lora),
            cases,
            files: model::files(&model).map_err(text)?,
            model,
        };
        let (model, training) = (prepared.model.clone(), training.clone());
        self.prepared = Some(State { error_budget: *error_budget, trials, lora: None, model, training });
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
        let judge = state.judge(request.fine_tune_type).map_err(text)?;
        judge.grade(request.seed, request.iterations, adapters).map(GradeReply::Trial).map_err(text)
    }

    fn state(&mut self) -> Result<&mut State, String> {
        self.prepared.as_mut().ok_or_else(|| "nothing is prepared; send `prepare` first".to_owned())
    }
}

/// A layer beside another.
fn sibling(slot: &trainer::Slot) -> Sibling {
    Sibling { output: slot.output, quantization: slot.quantization, bias: slot.bias }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
