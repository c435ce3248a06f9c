//! What can be missing on a machine, each with its remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Something the person at the keyboard can put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// No Python 3 on PATH.
    NoPython,
    /// This Python has no pip.
    NoPip { python: PathBuf },
    /// No C++ compiler on PATH.
    NoCompiler { tried: Vec<String> },
    /// The C++ compiler is there, but doesn't do C++20.
    OldCompiler { compiler: PathBuf },
    /// The package registry can't be reached.
    NoNetwork { wanted: String },
    /// The registry has no such package for this machine.
    NoPackage { wanted: String, architecture: &'static str },
    /// A disk is full.
    DiskFull { path: PathBuf },
    /// The cache folder can't be written.
    CacheNotWritable { path: PathBuf, reason: String },
    /// Neither Linux nor macOS, or a backend that this system doesn't have.
    Unsupported { system: String, reason: &'static str },
    /// There is no checkout here.
    NoCheckout { path: PathBuf },
    /// A tool failed with a message of its own.
    ToolFailed { what: String, output: String },
}

impl Problem {
    /// What to do about it.
    fn remedy(&self) -> String {
        match self {
            Self::NoPython => "install Python 3 (Debian, Ubuntu: apt install python3 python3-pip; Fedora: dnf \
                install python3-pip). It is used only to download MLX."
                .into(),
            Self::NoPip { python } => format!(
                "install pip (Debian, Ubuntu: apt install python3-pip; elsewhere: {} -m ensurepip --user)",
                python.display()
            ),
            Self::NoCompiler { .. } => {
                "install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++), or set CXX to it".into()
            }
            Self::OldCompiler { .. } => "install g++ 11 or clang 14, or later, and set CXX to it".into(),
            Self::NoNetwork { .. } => "check the network connection. Behind a proxy or a mirror, pip reads \
                HTTPS_PROXY, PIP_INDEX_URL and pip.conf. What was downloaded so far is kept."
                .into(),
            Self::NoPackage { architecture, .. } => format!(
                "MLX publishes wheels for Linux on x86-64 and arm64 with glibc 2.35 or later; this machine is \
                {architecture}. If it should match, upgrade pip (python3 -m pip install --upgrade pip), or see \
                whether a mirror set by PIP_INDEX_URL is complete."
            ),
            Self::DiskFull { .. } => {
                "free some space (MLX for the CPU needs 200 MB, for CUDA 6 GB), or set EVOLVE_CACHE to a folder on \
                another disk"
                    .into()
            }
            Self::CacheNotWritable { .. } => "set EVOLVE_CACHE to a folder that you can write to".into(),
            Self::Unsupported { .. } => "MLX runs on macOS with Apple silicon and on Linux. `evolve` itself runs \
                without it, for problems other than MLX kernels."
                .into(),
            Self::NoCheckout { .. } => "run it from the repository, or name it: --checkout DIR".into(),
            Self::ToolFailed { .. } => "its last words are above; run again when that is put right, finished steps \
                are kept"
                .into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPython => write!(f, "there is no python3 on PATH")?,
            Self::NoPip { python } => write!(f, "{} has no pip", python.display())?,
            Self::NoCompiler { tried } => write!(f, "there is no C++ compiler (tried {})", tried.join(", "))?,
            Self::OldCompiler { compiler } => write!(f, "{} does not know C++20", compiler.display())?,
            Self::NoNetwork { wanted } => write!(f, "the package registry can't be reached, for {wanted}")?,
            Self::NoPackage { wanted, .. } => {
                write!(f, "the package registry has no {wanted} for this machine")?;
            }
            Self::DiskFull { path } => write!(f, "the disk is full, while writing {}", path.display())?,
            Self::CacheNotWritable { path, reason } => {
                write!(f, "the cache folder {} can't be written: {reason}", path.display())?;
            }
            Self::Unsupported { system, reason } => write!(f, "{system}: {reason}")?,
            Self::NoCheckout { path } => {
                write!(f, "{} is no checkout: no evaluator/mlx/Cargo.toml", path.display())?;
            }
            Self::ToolFailed { what, output } => write!(f, "{what} failed:\n{output}")?,
        }
        write!(f, "\n  hint: {}", self.remedy())
    }
}

impl std::error::Error for Problem {}

/// The problem behind an I/O error on `path`, if it is one that we know.
pub(crate) fn from_io(error: &io::Error, path: &Path) -> Option<Problem> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some(Problem::DiskFull { path: path.into() })
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(Problem::CacheNotWritable { path: path.into(), reason: error.to_string() })
        }
        _ => None,
    }
}

/// The problem behind a failed tool's words.
pub(crate) fn from_output(what: &str, output: &str, folder: &Path) -> Problem {
    if output.contains("No space left on device") || output.contains("Disk quota exceeded") {
        return Problem::DiskFull { path: folder.into() };
    }
    Problem::ToolFailed { what: what.into(), output: last_lines(output, 25) }
}

/// The problem behind a failed `pip download`.
pub(crate) fn from_pip(requirement: &str, output: &str, python: &Path, folder: &Path) -> Problem {
    const UNREACHABLE: [&str; 8] = [
        "connection error:",
        "NewConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
        "name resolution",
        "Network is unreachable",
    ];
    if output.contains("No module named pip") {
        Problem::NoPip { python: python.into() }
    } else if UNREACHABLE.iter().any(|words| output.contains(words)) {
        // pip retries, gives up, and then ALSO says that it found no such version: so this comes first.
        Problem::NoNetwork { wanted: requirement.into() }
    } else if output.contains("No matching distribution") || output.contains("not a supported wheel") {
        Problem::NoPackage { wanted: requirement.into(), architecture: std::env::consts::ARCH }
    } else {
        from_output(&format!("pip download {requirement}"), output, folder)
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pip(output: &str) -> Problem {
        from_pip("mlx-cpu==0.32.2", output, Path::new("/usr/bin/python3"), Path::new("/cache"))
    }

    #[test]
    fn an_unreachable_registry_is_told_from_a_missing_package() {
        let offline = "WARNING: Retrying: NewConnectionError('Temporary failure in name resolution')\n\
            ERROR: No matching distribution found for mlx-cpu==0.32.2";
        assert_eq!(pip(offline), Problem::NoNetwork { wanted: "mlx-cpu==0.32.2".into() });
        let without_retries = "Could not fetch URL http://mirror/mlx-cpu/: connection error: ... - skipping\n\
            ERROR: No matching distribution found for mlx-cpu==0.32.2";
        assert_eq!(pip(without_retries), Problem::NoNetwork { wanted: "mlx-cpu==0.32.2".into() });
        let absent = "ERROR: No matching distribution found for mlx-cpu==0.32.2";
        assert!(matches!(pip(absent), Problem::NoPackage { .. }));
    }

    #[test]
    fn a_missing_pip_and_a_full_disk_are_recognised() {
        assert_eq!(
            pip("/usr/bin/python3: No module named pip"),
            Problem::NoPip { python: "/usr/bin/python3".into() }
        );
        let full = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device";
        assert_eq!(pip(full), Problem::DiskFull { path: "/cache".into() });
        let error = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(
            from_io(&error, Path::new("/cache/x")),
            Some(Problem::DiskFull { path: "/cache/x".into() })
        );
    }

    #[test]
    fn every_problem_ends_with_a_hint() {
        let problems = [
            Problem::NoPython,
            Problem::NoPip { python: "python3".into() },
            Problem::NoCompiler { tried: vec!["g++".into()] },
            Problem::OldCompiler { compiler: "g++".into() },
            Problem::NoNetwork { wanted: "mlx-cpu".into() },
            Problem::NoPackage { wanted: "mlx-cpu".into(), architecture: "riscv64" },
            Problem::DiskFull { path: "/cache".into() },
            Problem::CacheNotWritable { path: "/cache".into(), reason: "read-only".into() },
            Problem::Unsupported { system: "windows".into(), reason: "MLX has no build for it" },
            Problem::NoCheckout { path: "/tmp".into() },
            Problem::ToolFailed { what: "cmake".into(), output: "error".into() },
        ];
        for problem in problems {
            let text = problem.to_string();
            let (_, hint) = text.split_once("\n  hint: ").unwrap();
            assert!(hint.len() > 20, "{text}");
        }
    }

    #[test]
    fn only_the_last_lines_of_a_long_output_are_shown() {
        let lines: Vec<String> = (0..100).map(|line| format!("line {line}\n")).collect();
        let Problem::ToolFailed { output, .. } = from_output("cmake", &lines.join("\n"), Path::new("/"))
        else {
            panic!()
        };
        assert!(output.starts_with("line 75\n") && output.ends_with("line 99"), "{output}");
    }
}
