//! Reads YAML into typed settings; an error names file, line, column, key and the nearest right thing.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Something is wrong with a file that the user wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1, where known.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ConfigError {
    /// An error about a file as a whole.
    pub fn new(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: None, what: what.into(), hint: None }
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads and parses `path`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<(T, String), ConfigError> {
    let text = read_text(path)?;
    Ok((parse(path, &text)?, text))
}

/// Reads `path`; if it isn't there, the error names the nearest one.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        let unreadable = ConfigError::new(path, format!("can't be read: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => unreadable.hint(nearest_file(path)),
            _ => unreadable,
        }
    })
}

/// Parses `text`, which came from `path`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    serde_yaml::from_str(text).map_err(|error| describe(path, text, &error))
}

fn describe(path: &Path, text: &str, error: &serde_yaml::Error) -> ConfigError {
    let error = error.without_snippet();
    let place =
        error.location().map(|location| (location.line(), location.column())).filter(|(line, _)| *line > 0);
    let (what, hint) = match error {
        serde_yaml::Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), Some(nearest(field, expected.iter().copied())))
        }
        serde_yaml::Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown value `{variant}`"), Some(nearest(variant, expected.iter().copied())))
        }
        serde_yaml::Error::SerdeMissingField { field, .. } => {
            (format!("the key `{field}` is missing"), Some(format!("add `{field}: ...` to this section")))
        }
        other => {
            let key = place.and_then(|(line, _)| key_on_line(text, line));
            // The library repeats the place in its words; the place already stands in front.
            let words = other.to_string();
            let words = words.lines().next().unwrap_or_default();
            let words = words.split(" at line ").next().unwrap_or(words).trim_start_matches("error: ");
            (key.map_or_else(|| words.to_owned(), |key| format!("`{key}`: {words}")), None)
        }
    };
    ConfigError { path: path.to_owned(), place, what, hint }
}

/// The key that a line of block-style YAML sets.
fn key_on_line(text: &str, line: u64) -> Option<&str> {
    let line = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let key = line.split_once(':')?.0.trim().trim_start_matches("- ").trim();
    (!key.is_empty() && !key.contains(' ')).then_some(key)
}

/// "did you mean ...?" or the list of what is possible.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    let best =
        candidates.clone().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate)).min();
    match best {
        Some((distance, candidate)) if distance <= 2.max(word.len() / 3) => {
            format!("did you mean `{candidate}`?")
        }
        _ => format!("possible here: {}", candidates.collect::<Vec<_>>().join(", ")),
    }
}

/// The file in the same folder whose name comes nearest.
pub fn nearest_file(path: &Path) -> String {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("the folder {} doesn't exist either", folder.display());
    };
    let names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let near = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, name), name))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    match near {
        Some((_, name)) => format!("did you mean {}?", folder.join(name).display()),
        None => format!(
            "name a file that exists, for example with --config PATH (looked in {})",
            folder.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        max_iterations: u32,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Fixed,
        RaceConfirm,
    }

    fn error(text: &str) -> String {
        parse::<Outer>(Path::new("c.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_place_and_the_right_key() {
        let message = error("max_iterations: 3\nmax_iteratons: 4\n");
        assert_eq!(
            message,
            "c.yaml:2:1: unknown key `max_iteratons`\n  hint: did you mean `max_iterations`?"
        );
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let message = error("max_iterations: many\n");
        assert!(message.starts_with("c.yaml:1:17: `max_iterations`: "), "{message}");
    }

    #[test]
    fn a_wrong_choice_names_the_nearest_choice() {
        let message = error("max_iterations: 3\ninner:\n  kind: race_confrm\n");
        assert!(message.contains("c.yaml:3:"), "{message}");
        assert!(message.contains("did you mean `race_confirm`?"), "{message}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let message = error("inner:\n  kind: fixed\n");
        assert!(message.contains("`max_iterations` is missing"), "{message}");
    }

    #[test]
    fn a_file_that_is_not_there_suggests_the_nearest_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), "").unwrap();
        let message = read::<Outer>(&folder.path().join("confg.yaml")).unwrap_err().to_string();
        assert!(message.contains("did you mean") && message.contains("config.yaml?"), "{message}");
    }
}
