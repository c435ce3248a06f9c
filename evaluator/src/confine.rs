//! How far each kind of command is shut in: all our orders' sandboxes in one place.

use std::path::{Path, PathBuf};

use crate::order::{Confinement, Export, Profile, Sandbox};
use crate::problem::SandboxSettings;
use crate::sandbox;

const MEGABYTE: u64 = 1 << 20;

/// Whether commands are shut in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confine {
    /// False only if the user said `--no-sandbox`.
    pub(crate) sandbox: bool,
}

impl Confine {
    /// rustc and the linker on a candidate's text: they get the toolchain, the kernel API and that text, and leave the plugin
    /// behind.
    pub(crate) fn compiler(self, read: Vec<PathBuf>, export: Export) -> Confinement {
        self.order(Sandbox {
            profile: Profile::Tool,
            read: with_system(read),
            devices: Vec::new(),
            scratch_bytes: 256 * MEGABYTE,
            scratch_files: 1000,
            processes: 64,
            network: false,
            export: Some(export),
        })
    }

    /// The trial runner with a candidate in it. `read` says which plugin, model and texts it sees. Its scratch is for what
    /// MLX wants to keep in `TMPDIR`; the processes are threads.
    pub(crate) fn runner(self, read: Vec<PathBuf>, backend: &str) -> Confinement {
        self.order(Sandbox {
            profile: Profile::Trial,
            read: with_system(read),
            devices: devices(backend),
            scratch_bytes: 64 * MEGABYTE,
            // With links to compiled kernels.
            scratch_files: 10_000,
            processes: 256,
            network: false,
            export: None,
        })
    }

    /// The grader, which no candidate ever enters, but which reads what candidates made.
    pub(crate) fn grader(self, read: Vec<PathBuf>, backend: &str) -> Confinement {
        self.order(Sandbox {
            profile: Profile::Tool,
            read: with_system(read),
            devices: devices(backend),
            scratch_bytes: 256 * MEGABYTE,
            scratch_files: 10_000,
            processes: 256,
            network: false,
            export: None,
        })
    }

    /// A problem's command or its judge.
    pub(crate) fn command(self, read: Vec<PathBuf>, settings: &SandboxSettings) -> Confinement {
        self.order(Sandbox {
            profile: Profile::Tool,
            read: with_system(read),
            devices: settings.devices.clone(),
            scratch_bytes: settings.scratch_bytes,
            scratch_files: 10_000,
            processes: settings.processes,
            network: settings.network,
            export: None,
        })
    }

    fn order(self, sandbox: Sandbox) -> Confinement {
        if self.sandbox { Confinement::Sandbox(Box::new(sandbox)) } else { Confinement::None }
    }
}

/// Every path once: a folder bound twice is a folder mounted twice.
fn with_system(read: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = sandbox::system();
    for path in read {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// The device files that MLX's backend opens. Metal's go by other ways than files.
fn devices(backend: &str) -> Vec<PathBuf> {
    if backend != "cuda" {
        return Vec::new();
    }
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut devices: Vec<PathBuf> = paths.filter(|path| is_nvidia(path)).collect();
    devices.sort();
    devices
}

fn is_nvidia(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvidia"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sandbox_nothing_is_shut_in_and_with_one_nothing_has_a_network() {
        let export = || Export { from: "plugin".to_owned(), to: PathBuf::from("/tmp/plugin"), bytes: 1 };
        let orders = |sandbox| {
            let confine = Confine { sandbox };
            [
                confine.compiler(vec![], export()),
                confine.runner(vec![], "cpu"),
                confine.grader(vec![], "cuda"),
            ]
        };
        assert!(orders(false).iter().all(|order| *order == Confinement::None));
        for order in orders(true) {
            let Confinement::Sandbox(sandbox) = order else { panic!("not shut in") };
            assert!(!sandbox.network);
        }
    }

    #[test]
    fn a_path_is_named_once() {
        let read = vec![PathBuf::from("/usr"), PathBuf::from("/somewhere"), PathBuf::from("/somewhere")];
        let paths = with_system(read);
        assert_eq!(paths.iter().filter(|path| path.ends_with("somewhere")).count(), 1);
        assert!(paths.iter().filter(|path| path.ends_with("usr")).count() <= 1);
    }
}
