//! What commands in the sandbox need of this system.

use std::path::PathBuf;

/// Files and folders that every program needs to start: the dynamic linker, the system's libraries and tools. All of them
/// exist here.
pub fn system() -> Vec<PathBuf> {
    let paths =
        ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives"];
    paths.map(PathBuf::from).into_iter().filter(|path| path.exists()).collect()
}
