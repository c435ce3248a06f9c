//! What a runner needs to be given of a model: where it lies, and which files that means.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use trainer::{Error, Result, hub};
use trial_protocol::Model;

/// The model as a runner shall load it. A hub id becomes the folder of its snapshot, downloaded if it must be.
pub fn resolve(model: &Model) -> Result<Model> {
    match model {
        Model::Synthetic(_) | Model::Shapes(_) => Ok(model.clone()),
        Model::Folder(folder) => Ok(Model::Folder(canonical(folder)?)),
        Model::Hub(id) => Ok(Model::Folder(canonical(&hub::resolve(id, None)?)?)),
    }
}

/// What a runner has to read for this model: its folder, and whatever links in it point to elsewhere.
pub fn files(model: &Model) -> Result<Vec<PathBuf>> {
    let folder = match model {
        Model::Folder(folder) => folder,
        Model::Synthetic(_) | Model::Shapes(_) | Model::Hub(_) => return Ok(Vec::new()),
    };
    let problem = |error: std::io::Error| Error::Model {
        path: folder.clone(),
        problem: format!("can't list: {error}; the folder and all files in it must be readable"),
    };
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        if entry.file_type().map_err(problem)?.is_symlink() {
            // A link to nowhere is the loader's to complain about, if it is of any importance.
            files.extend(fs::canonicalize(entry.path()).ok().filter(|target| !target.starts_with(folder)));
        }
    }
    Ok(std::iter::once(folder.clone()).chain(files).collect())
}

fn canonical(folder: &Path) -> Result<PathBuf> {
    fs::canonicalize(folder).map_err(|error| Error::Model {
        path: folder.to_owned(),
        problem: format!("can't be read ({error}); give the path of a model folder in MLX-LM's format"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_links_needs_what_they_point_to() {
        let cache = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(cache.path()).unwrap();
        let (snapshot, blobs) = (root.join("snapshots/1"), root.join("blobs"));
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("aa"), "{}").unwrap();
        fs::write(snapshot.join("own"), "").unwrap();
        std::os::unix::fs::symlink("../../blobs/aa", snapshot.join("config.json")).unwrap();
        std::os::unix::fs::symlink("own", snapshot.join("inside")).unwrap();
        std::os::unix::fs::symlink("nowhere", snapshot.join("broken")).unwrap();
        let model = resolve(&Model::Folder(snapshot.join("../1"))).unwrap();
        assert_eq!(model, Model::Folder(snapshot.clone()));
        assert_eq!(files(&model).unwrap(), [snapshot, blobs.join("aa")]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = resolve(&Model::Folder("/no/such/model".into())).unwrap_err().to_string();
        assert!(error.contains("/no/such/model"), "{error}");
    }
}
