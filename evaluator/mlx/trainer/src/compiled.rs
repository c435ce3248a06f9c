//! Kernels that MLX's CUDA backend compiles while it runs, kept from one process to the next.
//!
//! MLX loads whatever lies in its folder of compiled kernels, so each process has a folder of its own, and in it links to what trusted
//! processes compiled before. Other backends compile nothing at run time, and nothing happens here.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use trial_protocol::{COMPILED_KERNELS, KERNEL_CACHE};

/// What MLX reads of a kernel: its machine code, and the names of its functions. It also leaves the source, for people.
const READ: [&str; 2] = ["ptx", "txt"];

/// Links this process's folder to what was compiled before. To be called before MLX computes anything.
pub fn adopt() -> io::Result<()> {
    let (Some(before), Some(own)) = (std::env::var_os(COMPILED_KERNELS), std::env::var_os(KERNEL_CACHE))
    else {
        return Ok(());
    };
    link(Path::new(&before), Path::new(&own))
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
        let (Some(name), Some(ending)) = (path.file_name(), path.extension().and_then(OsStr::to_str)) else {
            continue;
        };
        if READ.contains(&ending) {
            symlink(&path, own.join(name))?;
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
}
