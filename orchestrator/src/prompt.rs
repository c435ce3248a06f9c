//! Renders what a model is sent. Pure: templates and a request in, text out.
//!
//! The templates are the files `prompts/*.md.j2`, built into the program. A folder named in the config
//! (`prompt.template_dir`) can replace any of them by a file of the same name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use search::{Language, ProgramId};
use serde::Serialize;

use crate::patch::Form;
use crate::proposer::{Exhibit, Failure, Guidance, ProblemText, Request, Seen};

mod words;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../prompts");

/// What a template's file name ends with.
const TEMPLATE: &str = ".j2";

/// The templates, parsed and tried once.
#[derive(Debug)]
pub struct Prompts {
    environment: Environment<'static>,
}

/// A prompt: what the model is, and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The system message.
    pub system: String,
    /// The user message.
    pub user: String,
}

impl Prompt {
    /// Both messages in one text, as stored.
    pub fn text(&self) -> String {
        format!("[system]\n{}\n[user]\n{}", self.system, self.user)
    }
}

/// A template can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The folder or a file in it can't be read.
    #[error("{path} can't be read: {error}")]
    Unreadable {
        /// Folder or file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file replaces nothing.
    #[error("{path} replaces no template; the templates are {known}")]
    Unknown {
        /// The file.
        path: String,
        /// All names that there are.
        known: String,
    },
    /// A template has a mistake.
    #[error("template {name}{}: {what}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Template {
        /// File name of the template.
        name: String,
        /// Line in it, from 1.
        line: Option<usize>,
        /// What is wrong.
        what: String,
    },
}

impl PromptError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "name an existing folder in prompt.template_dir, or leave it out",
            Self::Unknown { .. } => {
                "rename the file to the template that it is to replace, or move it elsewhere"
            }
            Self::Template { .. } => "compare it with the template of the same name that comes with evolve",
        }
    }
}

impl From<minijinja::Error> for PromptError {
    fn from(error: minijinja::Error) -> Self {
        // The innermost error has the place; the outer ones only say what included it.
        let mut innermost = &error;
        while let Some(inner) =
            std::error::Error::source(innermost).and_then(|e| e.downcast_ref::<minijinja::Error>())
        {
            innermost = inner;
        }
        let what = match (innermost.kind(), innermost.detail()) {
            (ErrorKind::UndefinedError, None) => "it uses a name that doesn't exist".to_owned(),
            (kind, None) => kind.to_string(),
            (kind, Some(detail)) => format!("{kind}: {detail}"),
        };
        Self::Template { name: innermost.name().unwrap_or("?").to_owned(), line: innermost.line(), what }
    }
}

impl Prompts {
    /// The built-in templates, with those in `template_dir` instead of the ones of the same name.
    pub fn load(template_dir: Option<&Path>) -> Result<Self, PromptError> {
        let mut texts: BTreeMap<String, String> = EMBEDDED
            .files()
            .filter_map(|file| Some((file.path().to_str()?.to_owned(), file.contents_utf8()?.to_owned())))
            .filter(|(name, _)| name.ends_with(TEMPLATE))
            .collect();
        if let Some(folder) = template_dir {
            replace_from(folder, &mut texts)?;
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .keep_trailing_newline(true)
                .build()?,
        );
        // Prompts are plain text: nothing is escaped, whatever a template is called.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("fence", |text: &str, label: &str| words::fence(text, label));
        environment.add_filter("trim_text", |text: &str, lines: usize, chars: usize| {
            words::trim(text, lines, chars)
        });
        for (name, text) in texts {
            environment.add_template_owned(name, text)?;
        }
        let prompts = Self { environment };
        // A mistake in a template must show before the first call is paid for.
        for form in [Form::Edits, Form::FullRewrite] {
            prompts.render(form, &specimen())?;
        }
        Ok(prompts)
    }

    /// The prompt for a request.
    pub fn render(&self, form: Form, request: &Request) -> Result<Prompt, PromptError> {
        let view = View::of(request);
        let user = match form {
            Form::Edits => "edit.md.j2",
            Form::FullRewrite => "full_rewrite.md.j2",
        };
        let text = |name: &str| -> Result<String, PromptError> {
            let text = self.environment.get_template(name)?.render(Serde(&view))?;
            Ok(words::tidy(&text))
        };
        Ok(Prompt { system: text("system.md.j2")?, user: text(user)? })
    }
}

fn replace_from(folder: &Path, texts: &mut BTreeMap<String, String>) -> Result<(), PromptError> {
    let unreadable = |path: &Path, error| PromptError::Unreadable { path: path.display().to_string(), error };
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let Some(name) =
            path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(TEMPLATE))
        else {
            continue;
        };
        if !texts.contains_key(name) {
            let known = texts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(PromptError::Unknown { path: path.display().to_string(), known });
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        texts.insert(name.to_owned(), text);
    }
    Ok(())
}

/// Everything a template can use.
#[derive(Serialize)]
struct View<'a> {
    language: &'static str,
    fence_label: &'static str,
    problem: ProblemView<'a>,
    parent: ProgramView<'a>,
    inspirations: Vec<ProgramView<'a>>,
    failures: Vec<FailureView>,
    widening: u32,
}

#[derive(Serialize)]
struct ProblemView<'a> {
    name: &'a str,
    task: &'a str,
    api_reference: Option<&'a str>,
}

#[derive(Serialize)]
struct ProgramView<'a> {
    id: u64,
    source: &'a str,
    summary: String,
    measurements: Vec<String>,
    artifacts: Vec<ArtifactView<'a>>,
}

#[derive(Serialize)]
struct ArtifactView<'a> {
    name: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct FailureView {
    id: u64,
    summary: String,
    change: Option<String>,
    words: Option<String>,
}

impl<'a> View<'a> {
    fn of(request: &'a Request) -> Self {
        let (language, fence_label) = match request.language {
            Language::Rust => ("Rust", "rust"),
            Language::Python => ("Python", "python"),
            Language::Other => ("", ""),
        };
        let ProblemText { name, task, api_reference } = &*request.problem;
        Self {
            language,
            fence_label,
            problem: ProblemView {
                name,
                task: task.trim(),
                api_reference: api_reference.as_deref().map(str::trim),
            },
            parent: ProgramView::of(&request.parent),
            inspirations: request.inspirations.iter().map(ProgramView::of).collect(),
            failures: request
                .failures
                .iter()
                .map(|failure| FailureView::of(failure, &request.parent))
                .collect(),
            widening: request.guidance.widening,
        }
    }
}

impl<'a> ProgramView<'a> {
    fn of(exhibit: &'a Exhibit) -> Self {
        let artifact = |(name, content): &'a (String, String)| ArtifactView { name, content };
        Self {
            id: exhibit.id.0,
            source: &exhibit.source,
            summary: words::summary(exhibit.outcome.as_ref()),
            measurements: exhibit.outcome.as_ref().map(words::measurements).unwrap_or_default(),
            artifacts: exhibit.artifacts.iter().map(artifact).collect(),
        }
    }
}

impl FailureView {
    fn of(failure: &Failure, parent: &Exhibit) -> Self {
        Self {
            id: failure.id.0,
            summary: words::first_line(&failure.outcome.to_string()),
            change: failure.source.as_ref().map(|source| words::change(&parent.source, source)),
            words: words::details(&failure.outcome),
        }
    }
}

/// A request in which everything is there, to try templates on.
fn specimen() -> Request {
    let program = |id| Exhibit {
        artifacts: vec![("stderr".to_owned(), "words".to_owned())],
        ..Exhibit::new(ProgramId(id), "// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\n", None)
    };
    Request {
        number: ProgramId(2),
        seed: 0,
        language: Language::Rust,
        problem: Arc::new(ProblemText {
            name: "name".to_owned(),
            task: "task".to_owned(),
            api_reference: Some("reference".to_owned()),
        }),
        parent: program(0),
        inspirations: vec![program(1)],
        failures: vec![Failure {
            id: ProgramId(1),
            outcome: search::Outcome::Compile { message: "error".to_owned() },
            source: Some(Arc::from("")),
        }],
        seen: Seen::nothing(),
        guidance: Guidance { widening: 1, ..Guidance::default() },
    }
}
