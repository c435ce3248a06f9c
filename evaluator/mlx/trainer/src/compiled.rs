//! Kernels that MLX's CUDA backend compiles while it runs, kept from one process to the next.
//!
//! MLX loads whatever lies in its folder of compiled kernels, so each process has a folder of its own, and in it links to what trusted
//! processes compiled before. Other backends compile nothing at run time, and nothing happens here.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use trial_protocol::{COMPILED_KERNELS, KERNEL_CACHE, KERNEL_FILES};

/// Links this process's folder to what was compiled before, in one folder or several. To be called before MLX computes anything.
pub fn adopt() -> io::Result<()> {
    let (Some(before), Some(own)) = (std::env::var_os(COMPILED_KERNELS), std::env::var_os(KERNEL_CACHE))
    else {
        return Ok(());
    };
    std::env::split_paths(&before).try_for_each(|before| link(&before, Path::new(&own)))
}

/// What was compiled in this process: names within its folder, and what the files hold.
///
/// # Errors
/// A file can't be read.
pub fn made() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    if let Some(own) = std::env::var_os(KERNEL_CACHE).filter(|own| Path::new(own).exists()) {
        collect(Path::new(&own), "", &mut files)?;
    }
    Ok(files)
}

/// Links lead to what others compiled. A name that isn't text is none of MLX's.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() && is_read(&path) {
            files.push((name, fs::read(&path)?));
        }
    }
    Ok(())
}

fn is_read(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|ending| KERNEL_FILES.contains(&ending))
}

/// A kernel whose name is longer than a file's may be lies in folders that its name is cut into.
fn link(before: &Path, own: &Path) -> io::Result<()> {
    fs::create_dir_all(own)?;
    for entry in fs::read_dir(before)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            link(&path, &own.join(entry.file_name()))?;
            continue;
        }
        if is_read(&path) {
            match symlink(&path, own.join(entry.file_name())) {
                // Another folder had the same.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_and_names_are_linked_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (before, own) = (folder.path().join("before"), folder.path().join("own/ptx"));
        fs::create_dir(&before).unwrap();
        for name in ["a.ptx", "a.txt", "a.cu", "half-written"] {
            fs::write(before.join(name), name).unwrap();
        }
        fs::create_dir(before.join("a long name's beginning")).unwrap();
        fs::write(before.join("a long name's beginning/its end.ptx"), "code").unwrap();
        link(&before, &own).unwrap();
        link(&before, &own).expect("what is there already, from another folder, stays");
        let long = own.join("a long name's beginning");
        assert_eq!(fs::read_to_string(long.join("its end.ptx")).unwrap(), "code");
        assert!(long.is_dir() && !long.is_symlink(), "MLX adds its own kernels there");
        fs::remove_dir_all(long).unwrap();
        let mut names: Vec<_> = fs::read_dir(&own)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a.ptx", "a.txt"]);
        assert_eq!(fs::read_to_string(own.join("a.ptx")).unwrap(), "a.ptx");
    }

    #[test]
    fn what_this_process_compiled_is_told_from_what_it_links_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a long/name")).unwrap();
        for (name, content) in [("own.ptx", "code"), ("own.cu", "source"), ("a long/name/end.txt", "names")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        symlink("/nowhere/old.ptx", folder.path().join("old.ptx")).unwrap();
        let mut files = Vec::new();
        collect(folder.path(), "", &mut files).unwrap();
        files.sort();
        assert_eq!(
            files,
            [("a long/name/end.txt".to_owned(), b"names".to_vec()), ("own.ptx".to_owned(), b"code".to_vec())]
        );
    }
}
