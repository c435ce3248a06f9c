//! The Cargo workspace of the harness: where it is, what it is built with, how cargo is run in it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::native::Mlx;
use crate::problem::Problem;
use crate::process;

/// `evaluator/mlx` of a checkout.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// Its folder.
    pub(crate) root: PathBuf,
    /// Where cargo builds it.
    pub(crate) target: PathBuf,
    /// The sources of the mlx-sys crate.
    pub(crate) mlx_sys: PathBuf,
    /// The target triple of this machine.
    pub(crate) host: String,
    /// The compiler itself, not rustup's stand-in for it.
    pub(crate) rustc: PathBuf,
    /// `rustc --version`.
    pub(crate) rustc_version: String,
    /// The folder of Rust's own dynamic libraries.
    pub(crate) rust_libraries: PathBuf,
}

impl Workspace {
    /// Asks cargo and rustc. Downloads the crates if they aren't there yet.
    pub(crate) fn open(checkout: Option<&Path>) -> Result<Self> {
        let root = match checkout {
            Some(checkout) => std::path::absolute(checkout)?.join("evaluator/mlx"),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no parent folder")?.to_path_buf(),
        };
        if !root.join("Cargo.toml").is_file() {
            return Err(Problem::NoCheckout { path: checkout.unwrap_or(&root).into() }.into());
        }
        let ask = |arguments: &[&str]| {
            let mut command = Command::new("rustc");
            command.args(arguments).current_dir(&root);
            process::run("rustc", &mut command, &root).map(|text| text.trim().to_owned())
        };
        let version = ask(&["-vV"])?;
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);

        let mut command = Command::new(cargo());
        command
            .args(["metadata", "--format-version", "1", "--quiet", "--filter-platform", host])
            .current_dir(&root);
        let (success, metadata, errors) = process::capture(&mut command)?;
        if !success {
            return Err(explain_cargo(&errors, &root).into());
        }
        let metadata: Value = serde_json::from_str(&metadata)?;
        Ok(Self {
            target: metadata["target_directory"].as_str().context("cargo names no target folder")?.into(),
            mlx_sys: package_folder(&metadata, "mlx-sys").context("mlx-sys is not among the dependencies")?,
            host: host.into(),
            rustc: sysroot.join("bin/rustc"),
            rustc_version: version.lines().next().unwrap_or_default().into(),
            rust_libraries: ask(&["--print", "target-libdir"])?.into(),
            root,
        })
    }

    /// Cargo in this workspace, with MLX to build against and to run with.
    pub(crate) fn cargo(&self, subcommand: impl AsRef<OsStr>, mlx: Option<&Mlx>) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).arg(subcommand);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_one_package(name)) {
            command.env_remove(name);
        }
        // Behind the subcommand: clippy hands on only what comes there.
        if let Some(mlx) = mlx {
            command.arg("--config").arg(&mlx.config);
            command.env(LIBRARY_PATH, prepend(&mlx.libraries, std::env::var_os(LIBRARY_PATH).as_deref()));
        }
        // RUSTFLAGS would push aside the flags in .cargo/config.toml, and without those a plugin can't be loaded.
        if let Some(flags) = std::env::var("RUSTFLAGS").ok().filter(|flags| !flags.contains("prefer-dynamic"))
        {
            command.env("RUSTFLAGS", format!("{flags} -C prefer-dynamic"));
        }
        command
    }
}

/// Whether `cargo run` sets this for the program it runs. Build scripts look at some of these, and would have their packages built anew
/// each time the value comes and goes.
fn is_of_one_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|beginning| name.starts_with(beginning))
}

/// The variable that tells the dynamic linker where to look.
pub(crate) const LIBRARY_PATH: &str =
    if cfg!(target_os = "macos") { "DYLD_FALLBACK_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// A list of folders in front of another.
pub(crate) fn prepend(folders: &[PathBuf], rest: Option<&OsStr>) -> OsString {
    let mut joined = OsString::new();
    let rest = rest.filter(|rest| !rest.is_empty());
    for folder in folders.iter().map(|folder| folder.as_os_str()).chain(rest) {
        if !joined.is_empty() {
            joined.push(":");
        }
        joined.push(folder);
    }
    joined
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn package_folder(metadata: &Value, name: &str) -> Option<PathBuf> {
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == name)?;
    Some(Path::new(package["manifest_path"].as_str()?).parent()?.into())
}

fn explain_cargo(errors: &str, root: &Path) -> Problem {
    if [
        "Could not resolve host",
        "Couldn't connect",
        "download of config.json failed",
        "spurious network error",
    ]
    .iter()
    .any(|words| errors.contains(words))
    {
        return Problem::NoNetwork { wanted: "Rust crates".into() };
    }
    crate::problem::from_output("cargo metadata", errors, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packages_folder_is_found_in_cargos_metadata() {
        let metadata = serde_json::json!({"packages": [
            {"name": "mlx-rs", "manifest_path": "/r/mlx-rs-0.33.0/Cargo.toml"},
            {"name": "mlx-sys", "manifest_path": "/r/mlx-sys-0.7.0/Cargo.toml"},
        ]});
        assert_eq!(package_folder(&metadata, "mlx-sys").unwrap(), Path::new("/r/mlx-sys-0.7.0"));
        assert_eq!(package_folder(&metadata, "mlx"), None);
    }

    #[test]
    fn what_cargo_says_of_this_program_is_told_from_what_a_person_sets() {
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_VERSION"] {
            assert!(is_of_one_package(name.as_ref()), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "PATH"] {
            assert!(!is_of_one_package(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn our_libraries_come_before_the_users() {
        let ours = ["/a".into(), "/b".into()];
        assert_eq!(prepend(&ours, Some("/c:/d".as_ref())), "/a:/b:/c:/d");
        assert_eq!(prepend(&ours, Some("".as_ref())), "/a:/b");
        assert_eq!(prepend(&ours, None), "/a:/b");
    }

    #[test]
    fn cargo_without_a_network_is_explained() {
        let words = "error: failed to download from index\n  [6] Could not resolve hostname (Could not resolve host: x)";
        assert!(matches!(explain_cargo(words, Path::new("/")), Problem::NoNetwork { .. }));
        assert!(matches!(explain_cargo("error: manifest", Path::new("/")), Problem::ToolFailed { .. }));
    }

    #[test]
    fn a_folder_without_a_workspace_is_no_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let error = Workspace::open(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("no evaluator/mlx/Cargo.toml"), "{error}");
    }
}
