//! Model folders that are none, and what the error says about each.
#![allow(clippy::unwrap_used, reason = "tests, also their helpers")]

use std::fs;
use std::path::{Path, PathBuf};

use mlx_rs::Array;
use trainer::model::read_model;

/// A copy of a small recorded model to be spoilt.
fn model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/qwen2-f32-h128-4bit");
    for name in ["config.json", "model.safetensors"] {
        fs::write(folder.path().join(name), fs::read(source.join(name)).unwrap()).unwrap();
    }
    folder
}

fn change_config(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join("config.json");
    let mut json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Loading fails, and the message holds every one of `words`.
fn fails_naming(folder: &Path, words: &[&str]) {
    let Err(error) = read_model(folder) else { panic!("loaded") };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

#[test]
fn a_good_folder_loads() {
    let model = read_model(model().path()).unwrap_or_else(|error| panic!("{error}"));
    // Seven linear layers in each of two blocks and the tied head.
    assert_eq!(model.quantized_layers(), 15);
}

#[test]
fn a_folder_that_does_not_exist_is_named_with_what_was_expected() {
    fails_naming(Path::new("/no/such/model"), &["/no/such/model", "config.json"]);
}

#[test]
fn an_empty_folder_misses_its_config() {
    fails_naming(tempfile::tempdir().unwrap().path(), &["config.json"]);
}

#[test]
fn a_folder_without_weights_says_so() {
    let folder = model();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    fails_naming(folder.path(), &["no model*.safetensors"]);
}

#[test]
fn a_truncated_weight_file_is_named() {
    let folder = model();
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..100]).unwrap();
    fails_naming(folder.path(), &["model.safetensors", "not a safetensors file"]);
    fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    fails_naming(folder.path(), &["model.safetensors", "Git LFS"]);
}

#[test]
fn another_architecture_is_refused_by_name() {
    let folder = model();
    change_config(folder.path(), |json| json["model_type"] = "llama".into());
    fails_naming(folder.path(), &["`llama`", "qwen2"]);
}

#[test]
fn a_config_key_that_is_missing_or_wrong_is_named() {
    let folder = model();
    change_config(folder.path(), |json| drop(json.as_object_mut().unwrap().remove("hidden_size")));
    fails_naming(folder.path(), &["config.json", "hidden_size"]);
    let folder = model();
    change_config(folder.path(), |json| json["num_attention_heads"] = 5.into());
    fails_naming(folder.path(), &["hidden_size 128", "num_attention_heads 5"]);
    let folder = model();
    change_config(folder.path(), |json| {
        json["rope_scaling"] = serde_json::json!({"type": "yarn", "factor": 4.0});
    });
    fails_naming(folder.path(), &["rope_scaling `yarn`"]);
    let folder = model();
    change_config(folder.path(), |json| json["quantization"]["mode"] = "mxfp4".into());
    fails_naming(folder.path(), &["mxfp4", "affine"]);
}

#[test]
fn weights_of_another_shape_or_number_are_named() {
    let folder = model();
    change_config(folder.path(), |json| json["intermediate_size"] = 512.into());
    fails_naming(folder.path(), &["model.layers.0.mlp.gate_proj", "shape"]);
    let folder = model();
    change_config(folder.path(), |json| json["num_hidden_layers"] = 3.into());
    fails_naming(folder.path(), &["no array `model.layers.2."]);
    let folder = model();
    change_config(folder.path(), |json| json["num_hidden_layers"] = 1.into());
    fails_naming(folder.path(), &["model.layers.1.", "another model"]);
    let folder = model();
    change_config(folder.path(), |json| drop(json.as_object_mut().unwrap().remove("quantization")));
    fails_naming(folder.path(), &["model.embed_tokens", "quantization"]);
}

#[test]
fn a_sharded_model_loads_and_a_missing_shard_is_named() {
    let folder = model();
    let whole = folder.path().join("model.safetensors");
    let arrays = Array::load_safetensors(&whole).unwrap();
    let (first, second): (Vec<_>, Vec<_>) =
        arrays.into_iter().partition(|(name, _)| name.contains("layers.0"));
    let shard = |index: usize| format!("model-0000{index}-of-00002.safetensors");
    let mut map = serde_json::Map::new();
    for (index, arrays) in [(1, first), (2, second)] {
        map.extend(arrays.iter().map(|(name, _)| (name.clone(), shard(index).into())));
        Array::save_safetensors(arrays, None, folder.path().join(shard(index))).unwrap();
    }
    fs::remove_file(whole).unwrap();
    let index = serde_json::json!({ "weight_map": map }).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    assert!(read_model(folder.path()).is_ok());
    fs::remove_file(folder.path().join(shard(2))).unwrap();
    fails_naming(folder.path(), &["no array", "model-00002-of-00002.safetensors", "download"]);
}
