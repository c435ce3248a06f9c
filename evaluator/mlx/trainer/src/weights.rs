//! A model's arrays by name, read from safetensors files.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use mlx_rs::{Array, Dtype};
use serde_json::Value;

use crate::config::{LayerQuantization, ModelConfig};
use crate::error::{Error, Result};
use crate::linear::Weight;

/// Arrays not yet taken by a layer.
pub(crate) struct Weights {
    folder: PathBuf,
    arrays: HashMap<String, Array>,
    /// Files that the index names and the folder lacks.
    missing_shards: Vec<String>,
}

impl Weights {
    /// Reads every `model*.safetensors` in `folder`, as MLX-LM does.
    pub(crate) fn read(folder: &Path, config: &ModelConfig) -> Result<Self> {
        let files = shards(folder)?;
        if files.is_empty() {
            return Err(Error::model(
                folder,
                "no model*.safetensors in it; the weights are missing (an interrupted download, or Git LFS pointers?)",
            ));
        }
        let mut arrays = HashMap::new();
        for file in &files {
            arrays.extend(read_safetensors(file)?);
        }
        if config.tie_word_embeddings {
            arrays.remove("lm_head.weight");
        }
        arrays.retain(|name, _| !name.contains("self_attn.rotary_emb.inv_freq"));
        Ok(Self { folder: folder.to_owned(), arrays, missing_shards: missing_shards(folder)? })
    }

    /// Arrays made in memory instead of read.
    pub(crate) fn in_memory(arrays: HashMap<String, Array>) -> Self {
        Self { folder: PathBuf::from("(synthetic)"), arrays, missing_shards: Vec::new() }
    }

    /// Takes the array `name` and checks its shape.
    pub(crate) fn take(&mut self, name: &str, shape: &[i32]) -> Result<Array> {
        let Some(array) = self.arrays.remove(name) else {
            let why = match self.missing_shards.as_slice() {
                [] => "the files don't belong to this config.json, or the model isn't a complete Qwen2"
                    .to_owned(),
                shards => format!(
                    "model.safetensors.index.json names {}, which the folder lacks; download the model again",
                    shards.join(", ")
                ),
            };
            return Err(Error::model(&self.folder, format!("no array `{name}`: {why}")));
        };
        if array.shape() != shape {
            return Err(Error::model(
                &self.folder,
                format!("array `{name}` has shape {:?}, config.json implies {shape:?}", array.shape()),
            ));
        }
        Ok(array)
    }

    /// Takes a `[output, input]` weight, packed or plain, named `layer`.
    pub(crate) fn take_weight(
        &mut self,
        config: &ModelConfig,
        layer: &str,
        output: i32,
        input: i32,
    ) -> Result<Weight> {
        let said = config.layer_quantization(layer).map_err(|problem| Error::model(&self.folder, problem))?;
        let scales_name = format!("{layer}.scales");
        let has_scales = self.arrays.contains_key(&scales_name);
        if said == LayerQuantization::Plain || (said == LayerQuantization::Inferred && !has_scales) {
            if has_scales {
                return Err(Error::model(
                    &self.folder,
                    format!(
                        "`{layer}` has scales, but config.json says it isn't quantized; is `quantization` missing there?"
                    ),
                ));
            }
            return Ok(Weight::Plain(self.take(&format!("{layer}.weight"), &[output, input])?));
        }
        let (group_size, bits) = match said {
            LayerQuantization::Given(own) => (own.group_size, own.bits),
            _ => self.infer(layer, &scales_name, input)?,
        };
        if group_size < 1 || input % group_size != 0 || bits < 1 || (input * bits) % 32 != 0 {
            return Err(Error::model(
                &self.folder,
                format!("`{layer}`: {bits} bits in groups of {group_size} don't fit {input} inputs"),
            ));
        }
        let groups = [output, input / group_size];
        Ok(Weight::Quantized {
            packed: self.take(&format!("{layer}.weight"), &[output, input * bits / 32])?,
            scales: self.take(&scales_name, &groups)?,
            biases: self.take(&format!("{layer}.biases"), &groups)?,
            group_size,
            bits,
        })
    }

    /// Fails if arrays are left that no layer wanted, as MLX-LM's strict loading does.
    pub(crate) fn finish(self) -> Result<()> {
        let left: BTreeSet<_> = self.arrays.keys().map(String::as_str).collect();
        if left.is_empty() {
            return Ok(());
        }
        let shown: Vec<_> = left.iter().take(3).copied().collect();
        Err(Error::model(
            &self.folder,
            format!(
                "{} arrays that a Qwen2 of this config.json doesn't have, such as {}; are the files from another model?",
                left.len(),
                shown.join(", ")
            ),
        ))
    }

    /// Group size and bits from the shapes of packed weight and scales.
    fn infer(&self, layer: &str, scales_name: &str, input: i32) -> Result<(i32, i32)> {
        let last = |name: &str| self.arrays.get(name).and_then(|array| array.shape().last().copied());
        let packed = last(&format!("{layer}.weight"));
        match (packed, last(scales_name)) {
            (Some(packed), Some(groups)) if packed > 0 && groups > 0 => {
                if self.arrays.get(scales_name).is_some_and(|scales| scales.dtype() == Dtype::Uint8) {
                    let problem = format!(
                        "`{layer}` is quantized in a floating-point mode; only `affine` is supported"
                    );
                    return Err(Error::model(&self.folder, problem));
                }
                Ok((input / groups, packed * 32 / input))
            }
            _ => Err(Error::model(&self.folder, format!("`{layer}` has no usable weight and scales"))),
        }
    }
}

/// Reads one safetensors file; a broken one is named.
pub(crate) fn read_safetensors(file: &Path) -> Result<HashMap<String, Array>> {
    let hint = "is it complete, and not a Git LFS pointer?";
    let readable = std::fs::File::open(file).and_then(|file| file.metadata());
    if let Err(error) = readable {
        return Err(Error::model(file, format!("can't read: {error}")));
    }
    Array::load_safetensors(file)
        .map_err(|error| Error::model(file, format!("not a safetensors file ({error}); {hint}")))
}

fn shards(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| Error::model(folder, format!("can't list: {error}")))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::model(folder, format!("can't list: {error}")))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("model") && name.ends_with(".safetensors") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn missing_shards(folder: &Path) -> Result<Vec<String>> {
    let path = folder.join("model.safetensors.index.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(Vec::new()) };
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| Error::model(&path, format!("not valid JSON: {error}")))?;
    let names: BTreeSet<String> = json
        .get("weight_map")
        .and_then(Value::as_object)
        .map(|map| map.values().filter_map(|file| file.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    Ok(names.into_iter().filter(|name| !folder.join(name).exists()).collect())
}
