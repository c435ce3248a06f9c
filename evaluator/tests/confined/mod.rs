//! Commands in the sandbox: orders for them, and launchers run by us or by an ordinary user.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use evaluator::order::{Ask, Confinement, Ended, MemoryUse, News, Order, Profile, Sandbox, Tier};
use tempfile::TempDir;

/// Who runs the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Us,
    /// Only possible if we are root.
    Ordinary,
}

/// An ordinary user that no system has.
const ORDINARY: u32 = 12345;

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Everybody who can run a launcher here, with both tiers.
pub(crate) fn everybody() -> Vec<(Who, Tier)> {
    let mut all = vec![(Who::Us, Tier::Full), (Who::Us, Tier::Reduced)];
    if is_root() {
        all.extend([(Who::Ordinary, Tier::Full), (Who::Ordinary, Tier::Reduced)]);
    }
    all
}

/// The same in the full tier only.
pub(crate) fn everybody_in_full() -> Vec<Who> {
    everybody().into_iter().filter(|(_, tier)| *tier == Tier::Full).map(|(who, _)| who).collect()
}

/// The launcher, where anybody may run it.
fn launcher() -> &'static Path {
    static LAUNCHER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LAUNCHER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evolve-launcher");
        fs::copy(env!("CARGO_BIN_EXE_evolve-launcher"), &path).unwrap();
        for path in [folder.path(), &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        (folder, path)
    });
    path
}

/// A folder for one test: what may be read, what may not, and a scratch folder.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) who: Who,
    pub(crate) tier: Tier,
}

impl World {
    pub(crate) fn new(who: Who, tier: Tier) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self { folder, who, tier };
        for name in ["scratch", "readable", "out", "home"] {
            fs::create_dir(world.at(name)).unwrap();
            if who == Who::Ordinary {
                std::os::unix::fs::chown(world.at(name), Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
        }
        world
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A shell script in the sandbox.
    pub(crate) fn order(&self, script: &str) -> Order {
        self.program(&["/bin/sh", "-c", script])
    }

    pub(crate) fn program(&self, command: &[&str]) -> Order {
        let scratch = self.at("scratch");
        let sandbox = Sandbox {
            profile: Profile::Tool,
            read: evaluator::sandbox::system().into_iter().chain([self.at("readable")]).collect(),
            devices: Vec::new(),
            scratch_bytes: 64 << 20,
            scratch_files: 1000,
            processes: 64,
            network: false,
            export: None,
        };
        Order {
            program: command[0].into(),
            arguments: command[1..].iter().map(|word| (*word).to_owned()).collect(),
            environment: BTreeMap::from([
                ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
                ("TMPDIR".to_owned(), scratch.display().to_string()),
            ]),
            directory: scratch,
            deadline_seconds: 60.0,
            memory_bytes: Some(2 << 30),
            stderr_bytes: 64 * 1024,
            confinement: Confinement::Sandbox(Box::new(sandbox)),
        }
    }

    pub(crate) fn start(&self, order: &Order) -> Launched {
        let (control, theirs) = UnixStream::pair().unwrap();
        let mut command = match self.who {
            Who::Us => Command::new(launcher()),
            Who::Ordinary => {
                let mut command = Command::new("/usr/bin/setpriv");
                let user = [format!("--reuid={ORDINARY}"), format!("--regid={ORDINARY}")];
                command.args(user).arg("--clear-groups").arg(launcher());
                command
            }
        };
        if self.tier == Tier::Reduced {
            command.arg("--reduced");
        }
        Launched::new(command, control, theirs, order)
    }

    /// Runs to the end; with what came out of its standard output.
    pub(crate) fn run(&self, order: &Order) -> (Ended, String) {
        let mut launched = self.start(order);
        let mut output = launched.launcher.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            output.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let ended = launched.ended(self.tier);
        (ended, reader.join().unwrap())
    }
}

/// The sandbox of an order, to change it.
pub(crate) fn sandbox(order: &mut Order) -> &mut Sandbox {
    match &mut order.confinement {
        Confinement::Sandbox(sandbox) => sandbox,
        Confinement::None => panic!("not confined"),
    }
}

pub(crate) struct Launched {
    pub(crate) launcher: Child,
    pub(crate) control: UnixStream,
}

impl Launched {
    pub(crate) fn new(mut command: Command, control: UnixStream, theirs: UnixStream, order: &Order) -> Self {
        let launcher = command
            .env_clear()
            .env("A_SECRET", SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        trial_protocol::write_frame(&control, order).unwrap();
        Self { launcher, control }
    }

    pub(crate) fn news(&self) -> News {
        trial_protocol::read_frame(&self.control).unwrap().expect("the launcher says how it ended")
    }

    /// Waits for the start.
    pub(crate) fn started(&self) -> Tier {
        match self.news() {
            News::Started { tier, .. } => tier,
            other => panic!("it did not start: {other:?}"),
        }
    }

    pub(crate) fn memory(&self) -> MemoryUse {
        trial_protocol::write_frame(&self.control, &Ask::Memory).unwrap();
        match self.news() {
            News::Memory(memory) => memory,
            other => panic!("no answer: {other:?}"),
        }
    }

    /// The end. If it has started, then in that tier.
    pub(crate) fn ended(mut self, expected: Tier) -> Ended {
        loop {
            match self.news() {
                News::Started { tier, .. } => assert_eq!(tier, expected),
                News::Memory(_) | News::Swept { .. } => {}
                News::Ended(ended) => {
                    assert!(self.launcher.wait().unwrap().success());
                    return ended;
                }
            }
        }
    }
}

/// What every launcher here has in its environment, and no command may have.
pub(crate) const SECRET: &str = "only-the-launcher-knows";
