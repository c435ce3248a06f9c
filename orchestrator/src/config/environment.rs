//! `${VAR}` in the model settings. A key is expanded into memory only: what is stored is the text as written.

use std::path::{Path, PathBuf};

use super::ConfigError;
use crate::proposer::Secret;
use crate::proposer::llm::settings::DEFAULT_API_BASE;
use crate::proposer::llm::{EnvironmentProxies, LlmSettings};

/// Replaces `${VAR}` in keys and addresses. Without a key, `OPENAI_API_KEY` is used, but only for `OpenAI`'s own
/// endpoint: no other server is sent a key that isn't meant for it.
pub(super) fn expand(path: &Path, mut llm: LlmSettings) -> Result<LlmSettings, ConfigError> {
    expand_with(path, &mut llm, |name| std::env::var(name).ok())?;
    llm.environment = proxies(|name| std::env::var(name).ok());
    Ok(llm)
}

/// The proxies that the environment names, in either spelling, as curl and others read them.
fn proxies(variable: impl Fn(&str) -> Option<String>) -> EnvironmentProxies {
    let set = |name: &str| {
        let value = variable(&name.to_lowercase()).or_else(|| variable(name));
        value.filter(|value| !value.trim().is_empty())
    };
    let proxy = |name: &str| set(name).or_else(|| set("ALL_PROXY")).map(|proxy| Secret::new(&proxy));
    EnvironmentProxies { https: proxy("HTTPS_PROXY"), http: proxy("HTTP_PROXY"), no_proxy: set("NO_PROXY") }
}

/// `PATH`, handed to the evaluator so that compilers and commands are found; nothing else is passed on.
pub(super) fn path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into())
}

/// Stands in a stored configuration where a key was written out in full. Text to YAML, quoted or not.
const NOT_STORED: &str = "(not stored)";

/// Whether a key is written out in full, and not taken out.
pub(super) fn is_key_in_full(key: &Secret) -> bool {
    is_in_full(key.expose()) && key.expose() != NOT_STORED
}

/// All keys that are written, whichever way; and proxies with a password.
pub(super) fn keys(llm: &LlmSettings) -> impl Iterator<Item = &Secret> {
    let of_models =
        llm.models.iter().flat_map(|model| model.api_key.iter().chain(with_password(model.proxy.as_ref())));
    llm.api_key.iter().chain(with_password(llm.proxy.as_ref())).chain(of_models)
}

/// A proxy's address is a secret if there is a password in it.
fn with_password(proxy: Option<&Secret>) -> Option<&Secret> {
    proxy.filter(|proxy| proxy.expose().contains('@'))
}

fn is_in_full(key: &str) -> bool {
    key.len() >= Secret::SHORTEST && !key.contains("${")
}

/// The configuration's text as it may be stored: keys that were written out in full are taken out.
pub(super) fn without_these(text: &str, keys: &[Secret]) -> String {
    let mut text = text.to_owned();
    for key in keys.iter().map(Secret::expose).filter(|key| is_in_full(key)) {
        text = text.replace(key, NOT_STORED);
    }
    text
}

/// `OPENAI_API_BASE`, which OpenEvolve reads where it is given no file.
pub(super) fn openai_base() -> Option<String> {
    std::env::var("OPENAI_API_BASE").ok().filter(|base| !base.trim().is_empty())
}

/// Where rustup keeps its toolchains.
pub(super) fn rustup_home() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("RUSTUP_HOME").or_else(|| set("HOME").map(|home| home.join(".rustup")))
}

/// What clients of `evolve serve` must know, where no file says it.
pub const SERVICE_TOKEN: &str = "EVOLVE_TOKEN";

/// The value of [`SERVICE_TOKEN`].
pub fn service_token() -> Option<String> {
    std::env::var(SERVICE_TOKEN).ok().filter(|token| !token.trim().is_empty())
}

/// Whether the user wants no colours (<https://no-color.org>).
pub fn no_color() -> bool {
    is_set("NO_COLOR")
}

/// Whether the terminal can do more than print one line below the other.
pub fn has_screen() -> bool {
    std::env::var("TERM").is_ok_and(|terminal| !terminal.is_empty() && terminal != "dumb")
}

/// Where spans are sent, if not said otherwise: OpenTelemetry's own variable for it.
pub fn otlp_endpoint() -> Option<String> {
    std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|endpoint| !endpoint.trim().is_empty())
}

/// Whether a variable is there and not empty.
pub(super) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A variable's value for an evaluator that the user lets see it.
pub(super) fn passed_on(path: &Path, name: &str) -> Result<String, ConfigError> {
    std::env::var(name).map_err(|_| {
        ConfigError::new(path, format!("`--pass-env {name}`: the variable isn't set, or isn't text"))
            .hint(format!("export {name}=..."))
    })
}

/// The hub's cache of models (`HF_HOME`, else its usual place), so that a model named by id is fetched once.
pub(super) fn model_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("HF_HOME").or_else(|| set("HOME").map(|home| home.join(".cache/huggingface")))
}

fn expand_with(
    path: &Path,
    llm: &mut LlmSettings,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    llm.api_base = replace(path, "llm.api_base", &llm.api_base, &variable)?;
    match &mut llm.api_key {
        Some(key) => *key = Secret::new(&replace(path, "llm.api_key", key.expose(), &variable)?),
        None if llm.api_base == DEFAULT_API_BASE => {
            llm.api_key = variable("OPENAI_API_KEY").map(|key| Secret::new(&key));
        }
        None => {}
    }
    let expand_proxy = |proxy: &mut Option<Secret>| -> Result<(), ConfigError> {
        if let Some(proxy) = proxy {
            *proxy = Secret::new(&replace(path, "llm.proxy", proxy.expose(), &variable)?);
        }
        Ok(())
    };
    expand_proxy(&mut llm.proxy)?;
    for model in &mut llm.models {
        expand_proxy(&mut model.proxy)?;
        if let Some(base) = &mut model.api_base {
            *base = replace(path, "llm.models.api_base", base, &variable)?;
        }
        if let Some(key) = &mut model.api_key {
            *key = Secret::new(&replace(path, "llm.models.api_key", key.expose(), &variable)?);
        }
    }
    Ok(())
}

fn replace(
    path: &Path,
    key: &str,
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    if text == NOT_STORED {
        return Err(ConfigError::new(
            path,
            format!("`{key}` was written out in the configuration, so it isn't stored"),
        )
        .hint("give the file again with --config, and better write ${NAME} there"));
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or_else(|| {
            ConfigError::new(path, format!("`{key}`: `${{` without `}}`")).hint("write ${NAME}")
        })?;
        let value = variable(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            ConfigError::new(path, format!("`{key}`: the environment variable {name} is not set")).hint(
                format!("export {name}=..., or search with the built-in rewrite rules: --proposer rewrite"),
            )
        })?;
        result.push_str(before);
        result.push_str(value.trim());
        rest = tail;
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> Result<String, String> {
        let variable = |name: &str| (name == "KEY").then(|| "s3cret\n".to_owned());
        replace(Path::new("c.yaml"), "llm.api_key", text, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_are_replaced_and_trimmed() {
        assert_eq!(replaced("a-${KEY}-b"), Ok("a-s3cret-b".into()));
        assert_eq!(replaced("plain $KEY"), Ok("plain $KEY".into()));
    }

    #[test]
    fn a_key_written_out_is_not_stored() {
        let without = |text: &str, key: &str| without_these(text, &[Secret::new(key)]);
        let stored = without("llm: { api_key: \"sk-in-full\" }", "sk-in-full");
        assert_eq!(stored, "llm: { api_key: \"(not stored)\" }");
        assert!(replaced(NOT_STORED).unwrap_err().contains("--config"));
        assert_eq!(without("model: nonesuch", "none"), "model: nonesuch");
        assert_eq!(without("api_key: ${KEY}", "${KEY}"), "api_key: ${KEY}");
    }

    #[test]
    fn the_openai_key_goes_to_openai_only() {
        let variable = |name: &str| (name == "OPENAI_API_KEY").then(|| "k".to_owned());
        let mut llm = LlmSettings::default();
        expand_with(Path::new("c.yaml"), &mut llm, variable).unwrap();
        assert_eq!(llm.api_key.as_ref().map(Secret::expose), Some("k"));
        let mut llm = LlmSettings { api_base: "http://localhost:11434/v1".into(), ..LlmSettings::default() };
        expand_with(Path::new("c.yaml"), &mut llm, variable).unwrap();
        assert_eq!(llm.api_key, None);
    }

    #[test]
    fn an_unset_variable_is_an_error_that_names_it() {
        let message = replaced("${NOPE}").unwrap_err();
        assert!(message.contains("NOPE is not set") && message.contains("hint: export NOPE"), "{message}");
        assert!(replaced("${KEY").unwrap_err().contains("without"));
    }

    #[test]
    fn the_environments_proxies_are_read_in_either_spelling() {
        let named = |pairs: &'static [(&str, &str)]| {
            proxies(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let text = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
        let found = named(&[
            ("HTTPS_PROXY", "http://a:1"),
            ("https_proxy", "b:2"),
            ("ALL_PROXY", "c:3"),
            ("no_proxy", ".x"),
        ]);
        assert_eq!((text(&found.https), text(&found.http)), (Some("b:2".into()), Some("c:3".into())));
        assert_eq!(found.no_proxy.as_deref(), Some(".x"));
        assert_eq!(named(&[("HTTPS_PROXY", " ")]), EnvironmentProxies::default());
    }

    #[test]
    fn a_proxys_password_is_not_stored() {
        let llm = LlmSettings { proxy: Some(Secret::new("http://u:pass@p:1")), ..LlmSettings::default() };
        let secrets: Vec<Secret> = keys(&llm).cloned().collect();
        assert_eq!(without_these("proxy: http://u:pass@p:1", &secrets), "proxy: (not stored)");
        assert!(secrets.iter().all(is_key_in_full) && secrets.len() == 1);
        let open = LlmSettings { proxy: Some(Secret::new("http://proxy.test:1")), ..LlmSettings::default() };
        assert_eq!(keys(&open).count(), 0);
    }
}
