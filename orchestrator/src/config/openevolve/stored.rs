//! The form in which a run keeps OpenEvolve's call: the file as it was written, under a first line with the rest.

use std::path::Path;

use super::{Call, parse};
use crate::config::environment;
use crate::config::yaml::ConfigError;
use crate::proposer::Secret;

/// What the first line begins with: a comment to YAML.
const MARK: &str = "#!openevolve ";

pub(super) fn is_one(text: &str) -> bool {
    text.starts_with(MARK)
}

pub(super) fn write(call: &Call, path: &Path, text: &str, keys: &[Secret]) -> Result<String, ConfigError> {
    let text = environment::without_these(text, keys);
    // YAML has many ways to write a text, so look at what would be read back.
    let hidden = || {
        ConfigError::new(path, "`api_key` is written in a way that can't be kept out of the database")
            .hint("write it on one line and without escapes, or better as ${NAME}")
    };
    let (_, read_back) = parse(path, &text).map_err(|_| hidden())?;
    if super::keys_of(&read_back).iter().any(environment::is_key_in_full) {
        return Err(hidden());
    }
    let call = serde_json::to_string(call)
        .map_err(|error| ConfigError::new(path, format!("a path can't be stored: {error}")))?;
    Ok(format!("{MARK}{call}\n{text}"))
}

pub(super) fn read<'text>(path: &Path, text: &'text str) -> Result<(Call, &'text str), ConfigError> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let call = serde_json::from_str(first.trim_start_matches(MARK)).map_err(|error| {
        ConfigError::new(path, format!("the stored call of this run can't be read: {error}"))
            .hint("it may come from a newer version of evolve")
    })?;
    Ok((call, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_holds_no_key() {
        let call = Call { initial_program: "/a/i.py".into(), output: "/a/o".into(), ..Call::default() };
        let text = "llm:\n  api_key: sk-written-out\n  models: [{ name: a, api_key: '${KEY}' }]\n";
        let keys = [Secret::new("sk-written-out"), Secret::new("${KEY}")];
        let stored = write(&call, Path::new("c.yaml"), text, &keys).unwrap();
        assert!(is_one(&stored) && !stored.contains("sk-written"), "{stored}");
        assert!(stored.contains("${KEY}"), "a variable's name is no secret: {stored}");
        let (read_call, rest) = read(Path::new("c.yaml"), &stored).unwrap();
        assert_eq!((read_call, rest), (call, text.replace("sk-written-out", "(not stored)").as_str()));
    }
}
