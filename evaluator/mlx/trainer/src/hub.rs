//! Models named by hub id, through the cache that `huggingface_hub` and MLX-LM share.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, CacheRepo};
use serde_json::Value;

use crate::error::{Error, Result};

const INDEX: &str = "model.safetensors.index.json";

/// The folder of hub model `id`: from the cache if it is complete there, else downloaded into it.
///
/// `cache` absent: the user's own (`$HF_HOME/hub`, else `~/.cache/huggingface/hub`).
pub fn resolve(id: &str, cache: Option<&Path>) -> Result<PathBuf> {
    let problem = |problem: String| Error::Hub { id: id.to_owned(), problem };
    let well_formed = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    match id.split('/').collect::<Vec<_>>().as_slice() {
        [owner, name] if well_formed(owner) && well_formed(name) => {}
        _ => return Err(problem("isn't an id of the form `owner/name`".into())),
    }
    let cache = cache.map_or_else(Cache::from_env, |path| Cache::new(path.to_owned()));
    if let Some(folder) = cached(&cache.model(id.to_owned())) {
        return Ok(folder);
    }
    download(id, &cache).map_err(|error| {
        problem(format!(
            "it isn't complete in {} and can't be downloaded ({error}); connect to the network once, or run \
             `hf download {id}` there, or give the path of a folder instead",
            cache.path().display()
        ))
    })
}

/// The snapshot's folder if all that a model needs lies there.
fn cached(repo: &CacheRepo) -> Option<PathBuf> {
    let config = repo.get("config.json")?;
    match repo.get(INDEX).and_then(|index| shards(&index)) {
        Some(shards) => shards.iter().try_for_each(|shard| repo.get(shard).map(drop))?,
        None => drop(repo.get("model.safetensors")?),
    }
    config.parent().map(Path::to_owned)
}

/// The files that an index names; `None` if it can't be read.
fn shards(index: &Path) -> Option<BTreeSet<String>> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(index).ok()?).ok()?;
    let map = json.get("weight_map")?.as_object()?;
    Some(map.values().filter_map(|file| file.as_str().map(str::to_owned)).collect())
}

fn download(id: &str, cache: &Cache) -> std::result::Result<PathBuf, String> {
    let api = ApiBuilder::new()
        .with_cache_dir(cache.path().clone())
        .with_token(cache.token())
        .with_progress(false)
        .build()
        .map_err(|error| error.to_string())?;
    let repo = api.model(id.to_owned());
    let files = repo.info().map_err(|error| error.to_string())?.siblings;
    let wanted = |name: &str| {
        let weights = name.starts_with("model") && name.ends_with(".safetensors");
        weights || ["config.json", INDEX, "tokenizer.json", "tokenizer_config.json"].contains(&name)
    };
    for file in files.iter().filter(|file| wanted(&file.rfilename)) {
        repo.get(&file.rfilename).map_err(|error| format!("{}: {error}", file.rfilename))?;
    }
    cached(&cache.model(id.to_owned()))
        .ok_or_else(|| "the repository lacks config.json or model.safetensors".into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A cache folder with one snapshot holding `files`.
    fn cache_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("models--someone--small-qwen");
        fs::create_dir_all(repo.join("refs")).unwrap();
        fs::write(repo.join("refs/main"), "0123abcd").unwrap();
        let snapshot = repo.join("snapshots/0123abcd");
        fs::create_dir_all(&snapshot).unwrap();
        for (name, text) in files {
            fs::write(snapshot.join(name), text).unwrap();
        }
        cache
    }

    #[test]
    fn a_complete_model_in_the_cache_is_found_without_network() {
        let cache = cache_with(&[("config.json", "{}"), ("model.safetensors", "")]);
        let folder = resolve("someone/small-qwen", Some(cache.path())).unwrap();
        assert!(folder.ends_with("models--someone--small-qwen/snapshots/0123abcd"));
    }

    #[test]
    fn a_sharded_model_counts_as_complete_only_with_every_shard() {
        let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
        let mut files = vec![("config.json", "{}"), (INDEX, index), ("model-00001-of-00002.safetensors", "")];
        let repo = |cache: &tempfile::TempDir| {
            Cache::new(cache.path().to_owned()).model("someone/small-qwen".into())
        };
        assert_eq!(cached(&repo(&cache_with(&files))), None);
        files.push(("model-00002-of-00002.safetensors", ""));
        assert!(cached(&repo(&cache_with(&files))).is_some());
    }

    #[test]
    fn an_id_that_is_none_is_refused_before_any_network() {
        for id in ["small-qwen", "a/b/c", "../x", "someone/", "someone/a b"] {
            let message = resolve(id, Some(Path::new("/nowhere"))).unwrap_err().to_string();
            assert!(message.contains("owner/name"), "{message}");
        }
    }
}
