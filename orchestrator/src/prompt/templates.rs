//! The template files: built in, replaced one by one, and several under one name.
//!
//! `task.md.j2` is the template `task`; `task.short.md.j2` is its variant `short`. A request's seed decides which variant is used.

use std::collections::BTreeMap;
use std::path::Path;

use include_dir::{Dir, include_dir};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use rand::{Rng, RngExt};

use super::words;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../prompts");

/// What a template's file name ends with.
const TEMPLATE: &str = ".md.j2";

/// The variant that has no name of its own.
const DEFAULT: &str = "default";

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
    /// The weights of variants make no sense.
    #[error("`prompt.variants`: {0}")]
    Variants(String),
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
                "name the file NAME.md.j2, or NAME.VARIANT.md.j2 for another variant, with a NAME from the list; or move it elsewhere"
            }
            Self::Variants(_) => {
                "such as { approach: { default: 2, avoid: 1 } }; docs/prompts.md lists the templates"
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

/// The variant of each template that one prompt uses: file names by the template's file name.
pub(super) type Chosen = BTreeMap<String, String>;

/// The templates, parsed.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    /// By the template's file name its variants' file names, with weights.
    variants: BTreeMap<String, Vec<(String, f64)>>,
}

impl Templates {
    /// The built-in templates with those of a folder, and the weights of variants.
    pub(super) fn load(
        folder: Option<&Path>,
        weights: &BTreeMap<String, BTreeMap<String, f64>>,
    ) -> Result<Self, PromptError> {
        let mut texts: BTreeMap<String, String> = EMBEDDED
            .files()
            .filter_map(|file| Some((file.path().to_str()?.to_owned(), file.contents_utf8()?.to_owned())))
            .filter(|(name, _)| name.ends_with(TEMPLATE))
            .collect();
        if let Some(folder) = folder {
            add_from(folder, &mut texts)?;
        }
        let variants = variants(&texts, weights)?;
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
        Ok(Self { environment, variants })
    }

    /// Draws a variant of each template.
    pub(super) fn choose(&self, rng: &mut impl Rng) -> Chosen {
        let mut chosen = Chosen::new();
        for (template, variants) in &self.variants {
            let total: f64 = variants.iter().map(|(_, weight)| weight).sum();
            let mut left = rng.random::<f64>() * total;
            let drawn = variants.iter().find(|(_, weight)| {
                left -= weight;
                left < 0.0
            });
            if let Some((file, _)) = drawn.or(variants.last()) {
                chosen.insert(template.clone(), file.clone());
            }
        }
        chosen
    }

    /// Choices in which each variant of each template is there at least once.
    pub(super) fn each_once(&self) -> Vec<Chosen> {
        let most = self.variants.values().map(Vec::len).max().unwrap_or_default();
        let file = |variants: &[(String, f64)], at: usize| variants[at.min(variants.len() - 1)].0.clone();
        (0..most)
            .map(|at| self.variants.iter().map(|(name, all)| (name.clone(), file(all, at))).collect())
            .collect()
    }

    /// A template's text; what it includes comes in the chosen variants too.
    pub(super) fn render(
        &self,
        name: &str,
        view: impl Into<minijinja::Value>,
        chosen: &Chosen,
    ) -> Result<String, PromptError> {
        // A copy shares the parsed templates; only the choice is its own.
        let mut environment = self.environment.clone();
        let variants = chosen.clone();
        environment.set_path_join_callback(move |name, _| {
            variants.get(name).cloned().unwrap_or_else(|| name.to_owned()).into()
        });
        let file = format!("{name}{TEMPLATE}");
        let file = chosen.get(&file).unwrap_or(&file);
        Ok(environment.get_template(file)?.render(view)?)
    }
}

/// `approach` and `avoid` of `approach.avoid.md.j2`; `default` where there is no variant's name.
fn parts(file: &str) -> Option<(&str, &str)> {
    let stem = file.strip_suffix(TEMPLATE)?;
    Some(stem.split_once('.').unwrap_or((stem, DEFAULT)))
}

fn variants(
    texts: &BTreeMap<String, String>,
    weights: &BTreeMap<String, BTreeMap<String, f64>>,
) -> Result<BTreeMap<String, Vec<(String, f64)>>, PromptError> {
    let mut variants: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
    for (file, (template, variant)) in texts.keys().filter_map(|file| Some((file, parts(file)?))) {
        let weight = match weights.get(template) {
            Some(weights) => weights.get(variant).copied().unwrap_or_default(),
            None => 1.0,
        };
        if weight > 0.0 {
            variants.entry(format!("{template}{TEMPLATE}")).or_default().push((file.clone(), weight));
        }
    }
    for (template, weights) in weights {
        for (variant, weight) in weights {
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(PromptError::Variants(format!("{template}.{variant} has the weight {weight}")));
            }
            if !texts.keys().filter_map(|file| parts(file)).any(|it| it == (template, variant)) {
                let known: Vec<&str> = texts
                    .keys()
                    .filter_map(|file| parts(file))
                    .filter(|(name, _)| name == template)
                    .map(|(_, variant)| variant)
                    .collect();
                let what = match &known[..] {
                    [] => format!("there is no template `{template}`"),
                    known => format!("`{template}` has no variant `{variant}`, but {}", known.join(", ")),
                };
                return Err(PromptError::Variants(what));
            }
        }
        if !variants.contains_key(&format!("{template}{TEMPLATE}")) {
            return Err(PromptError::Variants(format!("`{template}` has no variant with a weight above 0")));
        }
    }
    Ok(variants)
}

fn add_from(folder: &Path, texts: &mut BTreeMap<String, String>) -> Result<(), PromptError> {
    let unreadable = |path: &Path, error| PromptError::Unreadable { path: path.display().to_string(), error };
    let built_in: Vec<String> = texts.keys().cloned().collect();
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let is_template = path.extension().is_some_and(|extension| extension == "j2");
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| is_template) else {
            continue;
        };
        let template = parts(name).map(|(template, _)| format!("{template}{TEMPLATE}"));
        if !template.is_some_and(|template| built_in.contains(&template)) {
            let plain =
                built_in.iter().filter(|file| parts(file).is_some_and(|(_, variant)| variant == DEFAULT));
            let known = plain.map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(PromptError::Unknown { path: path.display().to_string(), known });
        }
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        texts.insert(name.to_owned(), text);
    }
    Ok(())
}
