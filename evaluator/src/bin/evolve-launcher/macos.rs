//! The sandbox on macOS: the system's own, by `/usr/bin/sandbox-exec` with a profile that denies what it doesn't name.
//!
//! The profile is text; what differs between orders comes in as parameters, never as text, so that no path can
//! change its meaning. What the kernel doesn't enforce here: memory (the watchdog does), and the size of the
//! scratch folder other than per file.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use evaluator::order::{How, Order, Profile, Sandbox, Tier};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::child::{Child, Started};

const SANDBOX_EXEC: &str = "/usr/bin/sandbox-exec";

/// What every program needs: the system's libraries, to know itself and the machine, its scratch folder.
const EVERY: &str = r#"(version 1)
(deny default)
(allow process-exec (literal (param "PROGRAM")))
(allow signal (target self))
(allow process-info* (target self))
(allow file-read-metadata)
(allow file-read* (literal "/"))
(allow file-read* file-map-executable
  (subpath "/System/Library") (subpath "/usr/lib")
  (subpath "/System/Cryptexes/OS") (subpath "/System/Volumes/Preboot/Cryptexes/OS")
  (literal (param "PROGRAM")))
(allow file-read* (literal "/dev/urandom") (literal "/dev/random"))
(allow file-read* file-write-data (literal "/dev/null"))
(allow file-read* file-write* (subpath (param "SCRATCH")))
(allow sysctl-read (sysctl-name-prefix "hw.") (sysctl-name-prefix "kern.os")
  (sysctl-name "kern.version") (sysctl-name "kern.usrstack64") (sysctl-name "kern.argmax")
  (sysctl-name "iogpu.rsrc_limit"))
(allow mach-lookup (global-name "com.apple.logd")
  (global-name "com.apple.system.opendirectoryd.libinfo"))
"#;

/// The GPU: its driver's client, its compiler, and letting that compiler read what we may read.
const TRIAL: &str = r#"(allow file-read* file-map-executable (subpath "/Library/GPUBundles"))
(allow iokit-open (iokit-user-client-class "AGXDeviceUserClient"))
(allow iokit-get-properties)
(allow mach-lookup (xpc-service-name "com.apple.MTLCompilerService")
  (global-name "com.apple.MTLCompilerService"))
"#;

/// Compilers and interpreters start others; all inherit the profile.
const TOOL: &str = r#"(allow process-fork)
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
"#;

const NETWORK: &str = r#"(allow network-outbound (remote ip))
(allow system-socket)
(allow network-outbound (literal "/private/var/run/mDNSResponder"))
(allow file-read* (literal "/private/etc/hosts") (literal "/private/etc/resolv.conf") (subpath "/private/etc/ssl"))
(allow mach-lookup (global-name "com.apple.SystemConfiguration.configd") (global-name "com.apple.trustd.agent"))
"#;

pub(crate) fn start(order: &Order, sandbox: &Sandbox) -> Result<Started, How> {
    if !Path::new(SANDBOX_EXEC).exists() {
        return Err(How::SandboxFailed { message: format!("{SANDBOX_EXEC} is missing") });
    }
    let failed = |what: &Path| {
        move |error: io::Error| How::SandboxFailed { message: format!("{}: {error}", what.display()) }
    };
    // The sandbox compares real paths: /tmp and /var are links here.
    let program = resolve(order).map_err(|message| How::NotStarted { message })?;
    let scratch = order.directory.canonicalize().map_err(failed(&order.directory))?;
    let mut parameters = vec![("PROGRAM".to_owned(), program), ("SCRATCH".to_owned(), scratch)];
    let mut profile = EVERY.to_owned();
    profile.push_str(if sandbox.profile == Profile::Trial { TRIAL } else { TOOL });
    if sandbox.network {
        profile.push_str(NETWORK);
    }
    for (number, path) in sandbox.read.iter().enumerate() {
        let real = path.canonicalize().map_err(failed(path))?;
        let name = format!("READ{number}");
        profile.push_str(&format!("(allow file-read* file-map-executable (subpath (param \"{name}\")))\n"));
        match sandbox.profile {
            Profile::Tool => {
                profile.push_str(&format!("(allow process-exec (subpath (param \"{name}\")))\n"))
            }
            // What the GPU's compiler may read on our behalf.
            Profile::Trial => profile.push_str(&format!(
                "(allow file-issue-extension (require-all (extension-class \"com.apple.app-sandbox.read\") \
                 (subpath (param \"{name}\"))))\n"
            )),
        }
        parameters.push((name, real));
    }
    for (number, path) in sandbox.devices.iter().enumerate() {
        let name = format!("DEVICE{number}");
        profile.push_str(&format!(
            "(allow file-read* file-write-data file-ioctl (literal (param \"{name}\")))\n"
        ));
        parameters.push((name, path.canonicalize().map_err(failed(path))?));
    }
    let mut command = Command::new(SANDBOX_EXEC);
    command.arg("-p").arg(profile);
    for (name, path) in &parameters {
        let mut definition = std::ffi::OsString::from(format!("{name}="));
        definition.push(path);
        command.arg("-D").arg(definition);
    }
    command.arg(&parameters[0].1).args(&order.arguments);
    limit(&mut command, order, sandbox);
    Child::start(order, command, Tier::Full)
        .map_err(|error| How::SandboxFailed { message: format!("{SANDBOX_EXEC}: {error}") })
}

/// The program's real path, looked up as the order's own `PATH` says.
fn resolve(order: &Order) -> Result<std::path::PathBuf, String> {
    let name = &order.program;
    let missing = || format!("{}: No such file or directory", name.display());
    if name.components().count() > 1 || name.is_absolute() {
        return order
            .directory
            .join(name)
            .canonicalize()
            .map_err(|error| format!("{}: {error}", name.display()));
    }
    let folders = order.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let candidates = std::env::split_paths(folders).map(|folder| folder.join(name));
    candidates.filter_map(|path| path.canonicalize().ok()).find(|path| path.is_file()).ok_or_else(missing)
}

/// Limits that bind on macOS. The number of processes counts everything that the user runs, so it is left alone where
/// the profile forbids new ones anyway, and bounded by the watchdog's deadline otherwise.
#[expect(unsafe_code, reason = "pre_exec is the only way to do something between fork and exec")]
fn limit(command: &mut Command, order: &Order, sandbox: &Sandbox) {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let seconds = (order.deadline_seconds.clamp(0.0, 1e9).ceil() as u64 + 1) * processors;
    let limits = [
        (Resource::Core, 0),
        (Resource::Fsize, sandbox.scratch_bytes),
        (Resource::Nofile, 1024),
        (Resource::Cpu, seconds),
    ];
    // SAFETY: between fork and exec this makes system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for (resource, limit) in limits {
                setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
            }
            Ok(())
        });
    }
}
