//! A model and its tokenizer from wherever the request says.

use std::path::Path;

use trial_protocol::Model;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::hub;
use crate::qwen2::Qwen2;
use crate::synthetic::{shaped, synthetic};
use crate::tokenizer::{ByteTokenizer, FileTokenizer, Tokenizer};
use crate::weights::Weights;

/// Loads the model and the tokenizer that belongs to it.
pub fn load(model: &Model) -> Result<(Qwen2, Tokenizer)> {
    match model {
        Model::Synthetic(spec) => Ok((synthetic(spec)?, Tokenizer::Bytes(ByteTokenizer))),
        Model::Shapes(shapes) => Ok((shaped(shapes)?, Tokenizer::Bytes(ByteTokenizer))),
        Model::Folder(folder) => load_folder(folder),
        Model::Hub(id) => load_folder(&hub::resolve(id, None)?),
    }
}

fn load_folder(folder: &Path) -> Result<(Qwen2, Tokenizer)> {
    let model = read_model(folder)?;
    let tokenizer = FileTokenizer::read(folder)?;
    Ok((model, Tokenizer::File(Box::new(tokenizer))))
}

/// Reads a model folder in MLX-LM's format, without a tokenizer.
pub fn read_model(folder: &Path) -> Result<Qwen2> {
    let config = ModelConfig::read(folder)?;
    let weights = Weights::read(folder, &config)?;
    Qwen2::new(config, weights)
}
