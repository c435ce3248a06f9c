//! Compiles, before the first candidate comes, what MLX's CUDA backend compiles at a first call: minutes the first time, nothing later.
//!
//! MLX loads compiled kernels blindly, so only processes without a candidate make what others load. Each leaves its kernels in a folder of
//! its own; here they are moved to the common one, whole or not at all.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use futures::{StreamExt, TryStreamExt, stream};
use trial_protocol::{
    AdapterKind, CheckCase, Dtype, KERNEL_FILES, Model, Quantization, Training, WarmRequest,
};

use crate::runner::{KERNELS, Runner};
use crate::stop::Stop;

/// Rows of x: MLX has kernels for up to 16, up to 32 and more. (Fewer than 8 are a product with vectors, which comes compiled.)
const ROWS: [i32; 3] = [12, 28, 64];
/// Outputs: of whole tiles, and of none. Between them they have all four ways of multiplying: forward in whole tiles (half precision only)
/// and in any; backward through whole tiles and through others.
const OUTPUTS: [i32; 2] = [256, 1120];
const INPUT: i32 = 256;

/// Lets MLX's own layers compute everything of which the announced layers are examples, and one training. Says whether there was
/// anything to compile.
pub(super) async fn warm(
    runner: &Runner,
    announced: &[CheckCase],
    training: (Model, Training),
) -> Result<bool, Stop> {
    let Some(folder) = &runner.harness.compiled else { return Ok(false) };
    let layers = kinds(announced).into_iter().map(|case| WarmRequest { cases: vec![case], training: None });
    let trainings = trainings(training)
        .into_iter()
        .map(|training| WarmRequest { cases: Vec::new(), training: Some(training) });
    let requests: Vec<WarmRequest> = trainings.chain(layers).collect();
    let pending: Vec<(WarmRequest, PathBuf)> = requests
        .into_iter()
        .map(|request| (request.clone(), folder.join(mark(&request, &runner.harness.description.device))))
        .filter(|(_, mark)| !mark.exists())
        .collect();
    if pending.is_empty() {
        return Ok(false);
    }
    tracing::info!(
        layers = pending.len(),
        "compiling MLX's kernels for this GPU, once; this takes some minutes"
    );
    let at_once = thread::available_parallelism().map_or(2, usize::from);
    stream::iter(pending)
        .map(|(request, mark)| async move {
            let made = runner.warm(&request).await?;
            keep(&made.path().join(KERNELS), folder).and_then(|()| fs::write(&mark, "")).map_err(|error| {
                Stop::Broken(format!("compiled kernels can't be kept in {}: {error}", folder.display()))
            })
        })
        .buffer_unordered(at_once)
        .try_collect::<()>()
        .await?;
    Ok(true)
}

/// The training, and where a compiled step has operations fused in its own way, that of plain LoRA too, which a DoRA champion is shown
/// against.
fn trainings((model, training): (Model, Training)) -> Vec<(Model, Training)> {
    let mut trainings = vec![(model.clone(), training.clone())];
    if training.compile && training.fine_tune_type == AdapterKind::Dora {
        trainings.push((model, Training { fine_tune_type: AdapterKind::Lora, ..training }));
    }
    trainings
}

/// One layer for each kernel that MLX may compile for layers stored like these.
fn kinds(announced: &[CheckCase]) -> Vec<CheckCase> {
    let mut stored: Vec<(Quantization, Dtype)> = Vec::new();
    for case in announced {
        if let Some(quantization) = case.quantization
            && !stored.contains(&(quantization, case.dtype))
        {
            stored.push((quantization, case.dtype));
        }
    }
    let mut cases = Vec::new();
    for (quantization, dtype) in stored {
        for length in ROWS {
            for output in OUTPUTS {
                cases.push(CheckCase {
                    batch: 1,
                    length,
                    input: INPUT,
                    output,
                    rank: 8,
                    scale: 1.0,
                    quantization: Some(quantization),
                    bias: false,
                    dtype,
                    adapter: AdapterKind::Lora,
                    siblings: Vec::new(),
                });
            }
        }
    }
    cases
}

/// What is kept of what is compiled; to be counted up when that is more than before, so that it is compiled once more.
const KEPT: u32 = 2;

/// A file that says that this was done on this device.
fn mark(request: &WarmRequest, device: &str) -> String {
    let mut hasher = DefaultHasher::new();
    // The texts to train on lie in another folder each time.
    let training = request.training.clone().map(|(model, mut training)| {
        training.data = PathBuf::new();
        (model, training)
    });
    let what = WarmRequest { training, ..request.clone() };
    serde_json::to_string(&what).unwrap_or_default().hash(&mut hasher);
    device.hash(&mut hasher);
    KEPT.hash(&mut hasher);
    format!("{:016x}.done", hasher.finish())
}

/// Copies what was compiled, the names of the functions before their code: MLX looks for the code first. A kernel whose name is longer than a
/// file's may be, as that of a fused step of Adam is, lies in folders that its name is cut into.
fn keep(made: &Path, folder: &Path) -> io::Result<()> {
    for ending in KERNEL_FILES {
        for entry in fs::read_dir(made)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_file() && path.extension().and_then(OsStr::to_str) == Some(ending) {
                let unfinished = folder.join(format!("{}.unfinished", std::process::id()));
                fs::copy(&path, &unfinished)?;
                fs::rename(&unfinished, folder.join(entry.file_name()))?;
            }
        }
    }
    for entry in fs::read_dir(made)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let inner = folder.join(entry.file_name());
            fs::create_dir_all(&inner)?;
            keep(&entry.path(), &inner)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Checks;

    #[test]
    fn each_way_of_storing_weights_and_each_type_has_few_and_many_rows_and_whole_and_odd_sides() {
        let announced = Checks::default().cases;
        let kinds = kinds(&announced);
        for case in announced.iter().filter(|case| case.quantization.is_some()) {
            let alike: Vec<_> = kinds
                .iter()
                .filter(|kind| (kind.quantization, kind.dtype) == (case.quantization, case.dtype))
                .collect();
            assert_eq!(alike.len(), 6, "{case:?}");
            assert!(alike.iter().any(|kind| kind.length <= 16) && alike.iter().any(|kind| kind.length > 32));
            assert!(alike.iter().any(|kind| kind.output % 128 == 0));
            assert!(alike.iter().any(|kind| kind.output % 64 == 32));
        }
        assert!(kinds.iter().all(|kind| kind.quantization.is_some()));
    }

    #[test]
    fn a_compiled_step_of_dora_is_warmed_with_plain_loras_and_others_by_themselves() {
        let model: Model = serde_json::from_value(serde_json::json!({ "folder": "/model" })).unwrap();
        let training: Training = serde_json::from_value(serde_json::json!({
            "num_layers": 1, "rank": 8, "scale": 16.0, "learning_rate": 1e-5, "optimizer": "adam", "batch_size": 1, "sequence_length": 8,
            "iterations": 1, "warmup_iterations": 1, "validation_batches": 1, "data": "data.jsonl",
        }))
        .unwrap();
        let kinds = |compile, fine_tune_type| {
            let training = Training { compile, fine_tune_type, ..training.clone() };
            let trainings = trainings((model.clone(), training));
            trainings.iter().map(|(_, training)| training.fine_tune_type).collect::<Vec<_>>()
        };
        assert_eq!(kinds(true, AdapterKind::Dora), [AdapterKind::Dora, AdapterKind::Lora]);
        assert_eq!(kinds(false, AdapterKind::Dora), [AdapterKind::Dora]);
        assert_eq!(kinds(true, AdapterKind::Lora), [AdapterKind::Lora]);
    }

    #[test]
    fn compiled_kernels_are_kept_whole_and_links_to_older_ones_are_not_copied() {
        let (made, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["new.ptx", "new.txt", "new.cu"] {
            fs::write(made.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere/old.ptx", made.path().join("old.ptx")).unwrap();
        fs::create_dir(made.path().join("a long name's beginning")).unwrap();
        fs::write(made.path().join("a long name's beginning/its end.ptx"), "code").unwrap();
        keep(made.path(), folder.path()).unwrap();
        let long = folder.path().join("a long name's beginning");
        assert_eq!(fs::read_to_string(long.join("its end.ptx")).unwrap(), "code");
        fs::remove_dir_all(long).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["new.ptx", "new.txt"]);
    }

    #[test]
    fn another_device_and_another_layer_have_other_marks() {
        let [one, other] = [0, 1].map(|at| WarmRequest {
            cases: vec![kinds(&Checks::default().cases)[at].clone()],
            training: None,
        });
        assert_eq!(mark(&one, "H200"), mark(&one, "H200"));
        assert_ne!(mark(&one, "H200"), mark(&one, "H100"));
        assert_ne!(mark(&one, "H200"), mark(&other, "H200"));
    }
}
