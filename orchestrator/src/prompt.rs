//! Renders what a model is sent. Pure: templates and a request in, text out.
//!
//! docs/prompts.md tells users about sections, variants, the budget and how to replace a template.

use minijinja::value::Serde;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::operator::Operator;
use crate::patch::Form;
use crate::proposer::Request;

mod budget;
mod settings;
mod specimen;
mod templates;
mod view;
mod words;

pub use self::settings::PromptSettings;
pub use self::templates::PromptError;
use self::templates::Templates;
use self::view::{Lookback, View};
pub use self::view::{Material, Tried};
pub(crate) use self::words::safe;

/// The stream of a request's seed that chooses variants; the first one chooses models.
const VARIANTS: u64 = 1;

/// Estimated tokens of a text: a third of its bytes. Today's tokenisers make a token of three to four bytes of code and of four to
/// five of English, so this is mostly too many, and a prompt within the budget is within the model's count of it.
pub fn tokens(text: &str) -> usize {
    text.len().div_ceil(3)
}

/// The templates, parsed and tried once, with the limits on what they make.
#[derive(Debug)]
pub struct Prompts {
    templates: Templates,
    max_tokens: usize,
    max_artifact_bytes: usize,
}

/// A prompt: what the model is, and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The system message.
    pub system: String,
    /// The user message.
    pub user: String,
    /// What was left out to keep it short, in words.
    pub left_out: Vec<String>,
}

impl Prompt {
    /// Both messages in one text, as stored.
    pub fn text(&self) -> String {
        format!("[system]\n{}\n[user]\n{}", self.system, self.user)
    }

    /// Length of both messages, in bytes.
    pub fn bytes(&self) -> usize {
        self.system.len() + self.user.len()
    }

    /// Estimated length.
    pub fn tokens(&self) -> usize {
        tokens(&self.system) + tokens(&self.user)
    }
}

impl Prompts {
    /// The built-in templates, with those in the settings' folder instead of the ones of the same name.
    pub fn load(settings: &PromptSettings) -> Result<Self, PromptError> {
        let templates = Templates::load(settings.template_dir.as_deref(), &settings.variants)?;
        let PromptSettings { max_tokens, max_artifact_bytes, .. } = *settings;
        let prompts = Self { templates, max_tokens, max_artifact_bytes };
        // A mistake in a template must show before the first call is paid for.
        for variants in prompts.templates.each_once() {
            for operator in Operator::ALL {
                let request = specimen::request();
                // As if artifacts were shown, whether they are or not.
                let view = View::of(&request, Form::Edits, PromptSettings::MOST_ARTIFACT_BYTES);
                prompts.messages(operator.name(), &view, &variants)?;
            }
            let material = specimen::material();
            prompts.messages("condense", &Lookback::of(&material), &variants)?;
        }
        Ok(prompts)
    }

    /// The prompt for a request, within the budget as far as what may be left out reaches.
    pub fn render(&self, operator: Operator, form: Form, request: &Request) -> Result<Prompt, PromptError> {
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        rng.set_stream(VARIANTS);
        let variants = self.templates.choose(&mut rng);
        let mut view = View::of(request, form, self.max_artifact_bytes);
        loop {
            let mut prompt = self.messages(operator.name(), &view, &variants)?;
            let over = self.max_tokens > 0 && prompt.tokens() > self.max_tokens;
            let left_out = if over { budget::leave_out(&mut view) } else { None };
            if let Some(words) = left_out {
                // What this operator's template doesn't show is no loss.
                if self.messages(operator.name(), &view, &variants)?.tokens() < prompt.tokens() {
                    view.left_out.push(words);
                }
                continue;
            }
            prompt.left_out.clone_from(&view.left_out);
            if over {
                prompt.left_out.push(format!(
                    "nothing more could be, and it still has about {} tokens where prompt.max_tokens is {}",
                    prompt.tokens(),
                    self.max_tokens
                ));
            }
            return Ok(prompt);
        }
    }

    /// The prompt that asks for lessons.
    pub fn condense(&self, material: &Material) -> Result<Prompt, PromptError> {
        let variants = self.templates.choose(&mut ChaCha8Rng::seed_from_u64(0));
        let mut view = Lookback::of(material);
        loop {
            let prompt = self.messages("condense", &view, &variants)?;
            if self.max_tokens == 0 || prompt.tokens() <= self.max_tokens || !view.shorten() {
                return Ok(prompt);
            }
        }
    }

    fn messages(
        &self,
        name: &str,
        view: &impl serde::Serialize,
        variants: &templates::Chosen,
    ) -> Result<Prompt, PromptError> {
        let system = if name == "condense" { "condense_system" } else { "system" };
        let text =
            |name: &str| self.templates.render(name, Serde(view), variants).map(|text| words::tidy(&text));
        Ok(Prompt { system: text(system)?, user: text(name)?, left_out: Vec::new() })
    }
}
