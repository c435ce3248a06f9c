//! The harness: what the evaluator starts and compiles against, and the file that says where it is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use trial_protocol::{Description, Harness, PROTOCOL, Reply, Request, read_frame, write_frame};

use crate::native::Mlx;
use crate::problem::Problem;
use crate::workspace::{LIBRARY_PATH, Workspace, prepend};
use crate::{reference, say};

/// Builds the harness and writes `harness.json` beside the workspace's manifest. Returns the file's path.
pub(crate) fn build(workspace: &Workspace, mlx: Option<&Mlx>) -> Result<PathBuf> {
    say("building the harness (a few minutes the first time)");
    let mut command = workspace.cargo("build", mlx);
    command.args(["--release", "--locked", "--package", "trial-runner", "--package", "grader"]);
    command.args(["--package", "kernel-api"]);
    if !command.stdin(Stdio::null()).status().context("can't start cargo")?.success() {
        bail!(Problem::ToolFailed {
            what: "building the harness".into(),
            output: "(cargo's own words)".into()
        });
    }
    let release = workspace.target.join("release");
    let reference_path = release.join("kernel-api.md");
    write(&reference_path, reference::generate(&workspace.root.join("kernel-api/src/lib.rs"))?.as_bytes())?;

    let mut libraries = mlx.map(|mlx| mlx.libraries.clone()).unwrap_or_default();
    libraries.extend([release.clone(), workspace.rust_libraries.clone()]);
    let runner = release.join("trial-runner");
    let description = describe(&runner, &libraries)?;
    let harness = Harness {
        protocol: PROTOCOL,
        runner,
        grader: release.join("grader"),
        kernel_api: release.join(format!("libkernel_api{}", std::env::consts::DLL_SUFFIX)),
        dependencies: vec![release.join("deps")],
        libraries,
        headers: mlx.map(|mlx| mlx.headers.clone()).unwrap_or_default(),
        compiled: mlx.and_then(|mlx| mlx.compiled.clone()),
        rustc: workspace.rustc.clone(),
        rustc_version: workspace.rustc_version.clone(),
        reference: reference_path,
        description,
    };
    for file in [&harness.grader, &harness.kernel_api, &harness.rustc] {
        if !file.is_file() {
            bail!("cargo built the harness, but {} is not there", file.display());
        }
    }
    let path = workspace.root.join("harness.json");
    write(&path, &serde_json::to_vec_pretty(&harness)?)?;
    let Description { mlx, backend, device, .. } = &harness.description;
    say(&format!("ready: MLX {mlx} on {backend} ({device}); {}", path.display()));
    Ok(path)
}

/// Asks the runner what it is; the proof that it and MLX can be loaded and compute.
fn describe(runner: &Path, libraries: &[PathBuf]) -> Result<Description> {
    let mut child = Command::new(runner)
        .env(LIBRARY_PATH, prepend(libraries, std::env::var_os(LIBRARY_PATH).as_deref()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {}", runner.display()))?;
    // The runner takes the end of its input for the end of its supervisor, so the pipe stays open until it answered.
    let mut input = child.stdin.take().context("no pipe to the runner")?;
    let asked = write_frame(&mut input, &Request::Describe);
    let reply = child.stdout.take().map(read_frame::<Reply>);
    drop(input);
    let output = child.wait_with_output()?;
    match (asked, reply) {
        (Ok(()), Some(Ok(Some(Reply::Description(description))))) => Ok(description),
        (Ok(()), Some(Ok(Some(Reply::Failed(failure))))) => {
            bail!(Problem::ToolFailed { what: "computing with MLX".into(), output: failure.message })
        }
        _ => bail!(Problem::ToolFailed {
            what: format!("starting the trial runner ({})", output.status),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// Writes a file whole or not at all, and only if it differs, so that nothing is built again for the same text.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let write = || {
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(content)?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|error| match crate::problem::from_io(&error, path) {
        Some(problem) => problem.into(),
        None => anyhow::Error::new(error).context(format!("can't write {}", path.display())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_left_alone_when_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("harness.json");
        write(&path, b"1").unwrap();
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(&path, b"1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first);
        write(&path, b"2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_runner_that_dies_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let runner = folder.path().join("runner");
        fs::write(&runner, "#!/bin/sh\necho libmlx.so: cannot open >&2\nexit 127\n").unwrap();
        std::process::Command::new("chmod").arg("+x").arg(&runner).status().unwrap();
        let error = describe(&runner, &[]).unwrap_err().to_string();
        assert!(error.contains("libmlx.so: cannot open"), "{error}");
    }
}
