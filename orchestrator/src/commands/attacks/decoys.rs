//! What the attacks reach for: secrets, sockets, a folder and a process outside of the sandbox.
//!
//! Environment and home folder of a running process can't be changed safely, so the suite runs in a second process of ours, which is
//! started with decoys in both.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evaluator::EvaluationReport;
use evaluator::suite::Text;
use search::Outcome;
use tokio::process::{Child, Command};

use crate::exit_code::{ExitCode, Failure};

/// The variable that holds a decoy.
const VARIABLE: &str = "EVOLVE_DECOY_KEY";
/// What every token begins with.
const TOKEN: &str = "TOKEN-of-evolve";
/// What an attack writes that got through. Attacks put it together from two halves, so that a quoted source isn't taken for it.
const ESCAPED: &str = "ESCAPED:";
/// Where the tokens are told to the second process, which removes it.
const PLAN: &str = "plan";

/// Makes the decoys and starts this program again among them, with the same arguments.
pub(super) async fn with_decoys() -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure {
        code: ExitCode::Internal,
        message: format!("the attack suite can't be prepared: {error}"),
    };
    let folder = tempfile::Builder::new().prefix("evolve-decoys-").tempdir().map_err(failed)?;
    let tokens = Tokens::new();
    tokens.lay_out(folder.path()).map_err(failed)?;
    let own = std::env::current_exe().map_err(failed)?;
    let status = Command::new(own)
        .args(std::env::args_os().skip(1))
        .arg("--decoys")
        .arg(folder.path())
        .env(VARIABLE, &tokens.environment)
        .env("HOME", folder.path().join("home"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(failed)?;
    Ok(match status.code() {
        Some(0) => ExitCode::Success,
        Some(2) => ExitCode::Usage,
        Some(5) => ExitCode::Evaluator,
        Some(130) => ExitCode::Interrupted,
        _ => ExitCode::Internal,
    })
}

/// The secrets.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Tokens {
    environment: String,
    key: String,
    netrc: String,
    secret: String,
}

impl Tokens {
    fn new() -> Self {
        let token = |place: &str| format!("{TOKEN}-{place}-{:016x}{:016x}", random(), random());
        Self {
            environment: token("environment"),
            key: token("key"),
            netrc: token("netrc"),
            secret: token("secret"),
        }
    }

    fn all(&self) -> [&str; 4] {
        [&self.environment, &self.key, &self.netrc, &self.secret]
    }

    fn lay_out(&self, folder: &Path) -> io::Result<()> {
        let home = folder.join("home");
        fs::create_dir_all(home.join(".ssh"))?;
        fs::create_dir(folder.join("outside"))?;
        fs::write(home.join(".ssh/id_ed25519"), format!("{}\n", self.key))?;
        fs::write(home.join(".netrc"), format!("machine example.com password {}\n", self.netrc))?;
        fs::write(folder.join("secret"), format!("{}\n", self.secret))?;
        fs::write(folder.join(PLAN), serde_json::to_vec(self)?)?;
        fs::set_permissions(folder.join(PLAN), fs::Permissions::from_mode(0o600))?;
        // Open to everybody: only the sandbox is to keep candidates away, not the rights of files.
        for (name, mode) in [
            ("", 0o755),
            ("home", 0o777),
            ("home/.ssh", 0o777),
            ("home/.ssh/id_ed25519", 0o666),
            ("home/.netrc", 0o666),
            ("secret", 0o644),
        ] {
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

/// The operating system's randomness.
fn random() -> u64 {
    RandomState::new().hash_one("decoy")
}

/// All decoys, in place.
pub(super) struct Decoys {
    folder: PathBuf,
    tokens: Tokens,
    home: BTreeMap<PathBuf, Vec<u8>>,
    tcp: u16,
    udp: u16,
    /// Its name without the leading NUL.
    abstract_name: String,
    /// Connections and packets, by what received them.
    visits: Arc<[Visits; 4]>,
    victim: Child,
    victim_id: u32,
}

#[derive(Debug)]
struct Visits {
    what: &'static str,
    count: AtomicUsize,
}

impl Decoys {
    /// In the second process.
    pub(super) fn set_up(folder: &Path) -> io::Result<Self> {
        let plan = folder.join(PLAN);
        let tokens: Tokens = serde_json::from_slice(&fs::read(&plan)?)?;
        fs::remove_file(plan)?;
        let visits = Arc::new(
            ["a TCP connection", "a UDP packet", "a unix connection", "an abstract unix connection"]
                .map(|what| Visits { what, count: AtomicUsize::new(0) }),
        );
        let tcp = TcpListener::bind(("127.0.0.1", 0))?;
        let udp = UdpSocket::bind(("127.0.0.1", 0))?;
        let ports = (tcp.local_addr()?.port(), udp.local_addr()?.port());
        let unix = UnixListener::bind(folder.join("socket"))?;
        fs::set_permissions(folder.join("socket"), fs::Permissions::from_mode(0o777))?;
        count(&visits, 0, move || tcp.accept().map(drop));
        count(&visits, 1, move || udp.recv(&mut [0; 64]).map(drop));
        count(&visits, 2, move || unix.accept().map(drop));
        let abstract_name = format!("evolve-decoy-{:016x}", random());
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(abstract_name.as_bytes())?;
            let hidden = UnixListener::bind_addr(&address)?;
            count(&visits, 3, move || hidden.accept().map(drop));
        }
        let victim = Command::new("sleep").arg("3600").stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        let victim_id = victim.id().unwrap_or_default();
        let home = contents(&folder.join("home"))?;
        let (tcp, udp) = ports;
        Ok(Self {
            folder: folder.to_owned(),
            tokens,
            home,
            tcp,
            udp,
            abstract_name,
            visits,
            victim,
            victim_id,
        })
    }

    /// Begins to watch over one case.
    pub(super) fn watch(&self, number: usize) -> Watch<'_> {
        let outside = self.folder.join("outside").join(number.to_string());
        // If it can't be made, an attack finds nothing there either, and the scan at the end says so.
        let made = fs::create_dir(&outside)
            .and_then(|()| fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)));
        if let Err(error) = made {
            tracing::warn!(%error, "no folder for a case");
        }
        Watch {
            decoys: self,
            outside,
            mark: format!("evolve-leftover-{}-{number}", self.abstract_name),
            before: self.counts(),
        }
    }

    fn counts(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|index: usize| self.visits[index].count.load(Ordering::SeqCst))
    }

    /// What can only be seen when all is over.
    pub(super) fn at_the_end(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        match self.victim.try_wait() {
            Ok(None) => {}
            other => found.push(format!("the process beside the sandbox is gone: {other:?}")),
        }
        if is_stopped(self.victim_id) {
            found.push("the process beside the sandbox was stopped".to_owned());
        }
        let marks = processes_with(&format!("evolve-leftover-{}", self.abstract_name));
        found.extend(marks.into_iter().map(|process| format!("a process stayed: {process}")));
        found
    }
}

/// Over one case.
pub(super) struct Watch<'a> {
    decoys: &'a Decoys,
    outside: PathBuf,
    mark: String,
    before: [usize; 4],
}

impl Watch<'_> {
    /// What the case's source may name.
    pub(super) fn text(&self) -> Text {
        let Decoys { folder, tokens, tcp, udp, abstract_name, victim_id, .. } = self.decoys;
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let (first, second) = tokens.environment.split_at(tokens.environment.len() / 2);
        Text::from([
            ("HOME", path("home")),
            ("SECRET", path("secret")),
            ("SOCKET", path("socket")),
            ("OUTSIDE", self.outside.to_string_lossy().into_owned()),
            ("PORT", tcp.to_string()),
            ("UDP", udp.to_string()),
            ("ABSTRACT", abstract_name.clone()),
            ("VICTIM", victim_id.to_string()),
            ("VARIABLE", VARIABLE.to_owned()),
            ("MARK", self.mark.clone()),
            ("NEEDLE1", first.to_owned()),
            ("NEEDLE2", second.to_owned()),
        ])
    }

    /// What became of the decoys meanwhile. What can't be told apart is counted for all cases that ran at the time.
    pub(super) fn touched(&self, report: &EvaluationReport) -> Vec<String> {
        let mut found = Vec::new();
        let text = serde_json::to_string(report).unwrap_or_default();
        if self.decoys.tokens.all().iter().any(|token| text.contains(token)) {
            found.push("a secret is in its report".to_owned());
        }
        // A compiler quotes the source, and so does the gate; there nothing has run yet.
        let ran = !matches!(report.outcome, Outcome::Gate { .. } | Outcome::Compile { .. });
        if let Some((_, words)) = text.split_once(ESCAPED).filter(|_| ran) {
            let words: String = words.chars().take_while(|c| !matches!(c, '\\' | '"')).take(80).collect();
            found.push(format!("it says so:{words}"));
        }
        for (index, before) in self.before.into_iter().enumerate() {
            let Visits { what, count } = &self.decoys.visits[index];
            if count.load(Ordering::SeqCst) != before {
                found.push(format!("{what} came"));
            }
        }
        match fs::read_dir(&self.outside).map(Iterator::count) {
            Ok(0) => {}
            Ok(files) => found.push(format!("{files} files in a folder outside")),
            Err(error) => found.push(format!("the folder outside: {error}")),
        }
        match contents(&self.decoys.folder.join("home")) {
            Ok(home) if home == self.decoys.home => {}
            Ok(_) => found.push("the home folder is changed".to_owned()),
            Err(error) => found.push(format!("the home folder: {error}")),
        }
        found.extend(
            processes_with(&self.mark).into_iter().map(|process| format!("a process stayed: {process}")),
        );
        found
    }
}

/// Counts whatever arrives, in a thread of its own until the process ends.
fn count(visits: &Arc<[Visits; 4]>, index: usize, mut wait: impl FnMut() -> io::Result<()> + Send + 'static) {
    let visits = Arc::clone(visits);
    std::thread::spawn(move || {
        while wait().is_ok() {
            visits[index].count.fetch_add(1, Ordering::SeqCst);
        }
    });
}

/// Every file below a folder with what is in it.
fn contents(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(contents(&path)?);
        } else {
            let content = fs::read(&path)?;
            found.insert(path, content);
        }
    }
    Ok(found)
}

/// Processes whose command line holds a text, as `number: command line`.
#[cfg(target_os = "linux")]
fn processes_with(mark: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let number: u32 = entry.file_name().to_str()?.parse().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            command.contains(mark).then(|| format!("{number}: {}", command.trim()))
        })
        .collect()
}

/// Processes whose command line holds a text, as `number command line`.
#[cfg(not(target_os = "linux"))]
fn processes_with(mark: &str) -> Vec<String> {
    let Ok(listing) = std::process::Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]).output()
    else {
        return Vec::new();
    };
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    listing.lines().filter(|line| line.contains(mark)).map(|line| line.trim().to_owned()).collect()
}

/// Whether somebody has sent it SIGSTOP.
fn is_stopped(process: u32) -> bool {
    let state = std::process::Command::new("ps").args(["-o", "state=", "-p", &process.to_string()]).output();
    state.is_ok_and(|state| String::from_utf8_lossy(&state.stdout).trim_start().starts_with('T'))
}
