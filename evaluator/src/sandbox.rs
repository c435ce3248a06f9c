//! What commands in the sandbox need of this system, and whether its sandbox holds.

mod examination;

use std::path::PathBuf;

pub use examination::{Examination, ExaminationError, Probe, examine};

/// Files and folders that every program needs to start: the dynamic linker, the system's libraries and tools. All of them
/// exist here. None of them tells anything about who uses this machine.
pub fn system() -> Vec<PathBuf> {
    existing(if cfg!(target_os = "macos") {
        &["/usr/bin", "/usr/lib", "/usr/libexec", "/usr/share", "/bin", "/Library/Developer/CommandLineTools"]
    } else {
        &[
            "/usr",
            "/lib",
            "/lib32",
            "/lib64",
            "/bin",
            "/sbin",
            "/etc/ld.so.cache",
            "/etc/alternatives",
            "/etc/localtime",
        ]
    })
}

/// What a command needs besides to find others, if it may use the network.
pub fn network() -> Vec<PathBuf> {
    existing(&[
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/services",
        "/etc/protocols",
        "/etc/gai.conf",
        "/etc/ssl/certs",
        "/etc/pki/tls/certs",
        "/etc/pki/ca-trust/extracted",
        "/etc/ca-certificates",
    ])
}

fn existing(paths: &[&str]) -> Vec<PathBuf> {
    paths.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}
