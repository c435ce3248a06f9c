//! Training texts: JSON lines in, batches of token ids out.

use std::path::{Path, PathBuf};

use mlx_rs::Array;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::step::Batch;
use crate::tokenizer::{Example, Tokenizer};

/// MLX-LM pads a batch to one more than a multiple of this.
const PAD_TO: usize = 32;

/// Of a single file, every eighth line is held out for validation.
const HOLD_OUT: usize = 8;

/// Name of the file to train on in MLX-LM's kind of data folder.
pub const TRAIN: &str = "train.jsonl";

/// Texts to train on and texts to validate on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Where they came from, for messages.
    path: PathBuf,
    /// Trained on.
    pub train: Vec<Example>,
    /// Held out; the same whatever the seed.
    pub validation: Vec<Example>,
}

impl Dataset {
    /// Reads a file of JSON lines, of which every eighth is held out, or MLX-LM's kind of data folder
    /// (`train.jsonl` and `valid.jsonl`). A line is `{"prompt": …, "completion": …}` or `{"text": …}`.
    pub fn read(path: &Path) -> Result<Self> {
        let (train, validation) = if path.is_dir() {
            (read_lines(&path.join(TRAIN))?, read_lines(&path.join("valid.jsonl"))?)
        } else {
            let parts = held_out(read_lines(path)?);
            (parts.0, parts.1)
        };
        let parse = |lines: Vec<Line>| lines.into_iter().map(|line| line.example).collect();
        Ok(Self { path: path.to_owned(), train: parse(train), validation: parse(validation) })
    }

    /// Reads a folder's `train.jsonl` alone: there is nothing held out, and nothing to validate on.
    pub fn read_training(folder: &Path) -> Result<Self> {
        let lines = read_lines(&folder.join(TRAIN))?;
        let train = lines.into_iter().map(|line| line.example).collect();
        Ok(Self { path: folder.to_owned(), train, validation: Vec::new() })
    }

    /// The training texts as batches.
    pub fn train_batches(&self, tokenizer: &Tokenizer, batch_size: i32, length: i32) -> Result<Batches> {
        Batches::new(&self.train, tokenizer, batch_size, length)
            .map_err(|error| self.place("training", error))
    }

    /// The held-out texts as batches.
    pub fn validation_batches(&self, tokenizer: &Tokenizer, batch_size: i32, length: i32) -> Result<Batches> {
        Batches::new(&self.validation, tokenizer, batch_size, length)
            .map_err(|error| self.place("validation", error))
    }

    fn place(&self, part: &str, error: BatchError) -> Error {
        match error {
            BatchError::TooFew { examples, batch_size } => Error::data(
                &self.path,
                format!(
                    "only {examples} {part} texts, fewer than batch_size {batch_size}; add texts or lower batch_size"
                ),
            ),
            BatchError::Other(error) => error,
        }
    }
}

/// The lines that are trained on, as they are: for a place where nothing else may be seen.
pub fn training_lines(path: &Path) -> Result<String> {
    let lines = if path.is_dir() { read_lines(&path.join(TRAIN))? } else { held_out(read_lines(path)?).0 };
    Ok(lines.into_iter().map(|line| line.text + "\n").collect())
}

/// What is trained on, and what is held out.
fn held_out(lines: Vec<Line>) -> (Vec<Line>, Vec<Line>) {
    let mut parts = (Vec::new(), Vec::new());
    for (index, line) in lines.into_iter().enumerate() {
        let part = if index % HOLD_OUT == HOLD_OUT - 1 { &mut parts.1 } else { &mut parts.0 };
        part.push(line);
    }
    parts
}

/// A text, and how it was written.
struct Line {
    text: String,
    example: Example,
}

fn read_lines(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::data(path, format!("can't read: {error}; `data` names a file of JSON lines"))
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let examples = lines.map(|(index, line)| {
        let example =
            example(line).map_err(|problem| Error::data(path, format!("line {}: {problem}", index + 1)))?;
        Ok(Line { text: line.to_owned(), example })
    });
    let examples: Vec<_> = examples.collect::<Result<_>>()?;
    if examples.is_empty() {
        return Err(Error::data(path, "no texts in it"));
    }
    Ok(examples)
}

fn example(line: &str) -> std::result::Result<Example, String> {
    let json: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let field = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    match (field("prompt"), field("completion"), field("text")) {
        (Some(prompt), Some(completion), _) => Ok(Example::Completion { prompt, completion }),
        (_, _, Some(text)) => Ok(Example::Text(text)),
        _ => Err("neither `prompt` and `completion` nor `text` as strings".into()),
    }
}

/// Batches of equal size in file order.
///
/// MLX-LM means to sort texts by length first, but its data cache gives the sort the number of fields instead, so
/// that they stay in file order. Keeping to that also makes all batches cost about the same, which a measurement wants.
pub struct Batches {
    batches: Vec<Batch>,
    widths: Vec<i32>,
}

enum BatchError {
    TooFew { examples: usize, batch_size: usize },
    Other(Error),
}

impl Batches {
    fn new(
        examples: &[Example],
        tokenizer: &Tokenizer,
        batch_size: i32,
        length: i32,
    ) -> std::result::Result<Self, BatchError> {
        let positive = |name, value: i32, least: usize| match usize::try_from(value) {
            Ok(value) if value >= least => Ok(value),
            _ => Err(BatchError::Other(Error::setting(
                name,
                format!("is {value}; it must be at least {least}"),
            ))),
        };
        let batch_size = positive("batch_size", batch_size, 1)?;
        let length = positive("sequence_length", length, 2)?;
        if examples.len() < batch_size {
            return Err(BatchError::TooFew { examples: examples.len(), batch_size });
        }
        let ids: Vec<_> = examples
            .iter()
            .map(|example| tokenizer.encode(example))
            .collect::<Result<_>>()
            .map_err(BatchError::Other)?;
        let batches: Vec<_> = ids.chunks_exact(batch_size).map(|rows| batch(rows, length)).collect();
        let widths = batches.iter().map(|batch| batch.tokens.shape()[1]).collect();
        Ok(Self { batches, widths })
    }

    /// `count` batches in a random order without end: each pass over the data is a new permutation.
    pub fn shuffled(&self, seed: u64, count: usize) -> Vec<Batch> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = Vec::with_capacity(count + self.batches.len());
        while order.len() < count {
            let mut pass: Vec<usize> = (0..self.batches.len()).collect();
            pass.shuffle(&mut random);
            order.extend(pass);
        }
        order.truncate(count);
        order.into_iter().map(|index| self.batches[index].clone()).collect()
    }

    /// The first `count` batches, or all if there are fewer.
    pub fn first(&self, count: usize) -> &[Batch] {
        &self.batches[..count.min(self.batches.len())]
    }

    /// `count` batches of random token ids: one of each width first, as a warm-up needs it, then the rest in turn. Nothing
    /// that is computed with them can be of use later.
    pub fn random(&self, seed: u64, vocabulary: i32, count: usize) -> Vec<Batch> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let new = |index: usize| !self.widths[..index].contains(&self.widths[index]);
        let (first, rest): (Vec<_>, Vec<_>) = (0..self.batches.len()).partition(|&index| new(index));
        let order = first.into_iter().chain(rest).cycle().take(count);
        order
            .map(|index| {
                let Batch { tokens, lengths } = &self.batches[index];
                let ids: Vec<i32> =
                    (0..tokens.size()).map(|_| random.random_range(1..vocabulary.max(2))).collect();
                Batch { tokens: Array::from_slice(&ids, tokens.shape()), lengths: lengths.clone() }
            })
            .collect()
    }

    /// Tokens of the longest row that are fed to the model: all but the last.
    pub fn longest(&self) -> i32 {
        self.widths.iter().max().map_or(0, |width| width - 1)
    }
}

/// Pads `rows` with zeros to one plus a multiple of 32, at most `length`; longer ones are cut.
fn batch(rows: &[Vec<i32>], length: usize) -> Batch {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = (1 + PAD_TO * longest.div_ceil(PAD_TO)).min(length);
    let mut tokens = vec![0; rows.len() * width];
    let mut lengths = Vec::with_capacity(2 * rows.len());
    for (row, padded) in rows.iter().zip(tokens.chunks_exact_mut(width)) {
        let kept = row.len().min(width);
        padded[..kept].copy_from_slice(&row[..kept]);
        lengths.extend([0, kept as i32]);
    }
    let count = rows.len() as i32;
    Batch {
        tokens: Array::from_slice(&tokens, &[count, width as i32]),
        lengths: Array::from_slice(&lengths, &[count, 2]),
    }
}
