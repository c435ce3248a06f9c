//! MLX on Linux: its wheel, mlx-c built from mlx-sys' sources, and the Rust declarations, all in the cache.
//!
//! mlx-sys' build script serves Apple's systems only. Cargo's override for a `links` key takes its place: a table in a
//! configuration file says what the script would have printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};

use crate::arguments::Backend;
use crate::bindings::Bindings;
use crate::cache::Cache;
use crate::say;
use crate::tools::{self, Compiler};
use crate::wheel::{self, Requirements};
use crate::workspace::Workspace;
use crate::{problem, process};

const SHIM: &str = include_str!("../native/shim.cpp");
const FORMAT: &str = include_str!("../native/format");
const LIBCLANG: &str = "libclang==18.1.1";
/// Raise it when what is built below changes in a way that the texts above don't show.
const RECIPE: u32 = 1;

/// MLX, ready to build against and to run with.
#[derive(Debug, Clone)]
pub(crate) struct Mlx {
    /// For `cargo --config`.
    pub(crate) config: PathBuf,
    /// For the dynamic linker.
    pub(crate) libraries: Vec<PathBuf>,
    /// For the compiler within MLX's CUDA backend.
    pub(crate) headers: Vec<PathBuf>,
    /// Where what that compiles is kept.
    pub(crate) compiled: Option<PathBuf>,
}

/// Finds MLX in the cache, or puts it there.
///
/// What is built is the same for every backend, and so is what it is linked with: the CPU's MLX. CUDA is another
/// `libmlx.so` in its place at run time.
pub(crate) fn prepare(workspace: &Workspace, backend: Backend, cache: &Cache) -> Result<Mlx> {
    let version = mlx_version(&workspace.mlx_sys.join("src/mlx-c/CMakeLists.txt"))?;
    let variable = |name: &str| std::env::var_os(name);
    let cpu_name = format!("mlx-{version}-cpu-{}", recipe(&workspace.mlx_sys));
    let cpu = cache.folder(&cpu_name, |folder| {
        let python = tools::python(variable)?;
        let build = folder.join("build");
        fs::create_dir(&build)?;
        let compiler = Compiler::locate(variable, &build)?;
        say(&format!("fetching MLX {version} (10 MB)"));
        wheel::unpack(&python, &format!("mlx-cpu=={version}"), Requirements::Skip, folder)?;
        say("building mlx-c (about a minute)");
        build_mlx_c(&compiler, &workspace.mlx_sys.join("src/mlx-c"), folder, &build)?;
        fs::remove_dir_all(&build)?;
        say("reading its headers");
        bind(&python, &compiler, workspace, cache, folder)?;
        let config = override_table(&workspace.host, &cache.path(&cpu_name));
        Ok(fs::write(folder.join("cargo-config.toml"), config)?)
    })?;
    let mut libraries = vec![cpu.join("lib"), cpu.join("mlx/lib")];
    let (mut headers, mut compiled) = (Vec::new(), None);
    if let Backend::Cuda12 | Backend::Cuda13 = backend {
        let requirement = format!("mlx-{backend}=={version}");
        let cuda = cache.folder(&format!("mlx-{version}-{backend}"), |folder| {
            say(&format!("fetching MLX {version} for {backend} and NVIDIA's libraries (about 2 GB)"));
            wheel::unpack(&tools::python(variable)?, &requirement, Requirements::Include, folder)
        })?;
        libraries[1] = cuda.join("mlx/lib");
        libraries.extend(bundled(&cuda));
        headers.push(cuda.join("mlx/include"));
        headers.extend(of_nvidia(&cuda, "include"));
        compiled = Some(cache.kept(&format!("mlx-{version}-{backend}-kernels"))?);
    }
    libraries.extend(bundled(&cpu));
    Ok(Mlx { config: cpu.join("cargo-config.toml"), libraries, headers, compiled })
}

/// Folders of libraries that a wheel brings along (`*.libs`, `nvidia/*/lib`). MLX finds them by itself, from where it lies;
/// they are named so that the sandbox shows them.
fn bundled(wheel: &Path) -> Vec<PathBuf> {
    let libs = within(wheel).into_iter().filter(|path| path.extension().is_some_and(|end| end == "libs"));
    let mut folders: Vec<PathBuf> = libs.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.extend(of_nvidia(wheel, "lib"));
    folders
}

/// `nvidia/*/NAME` of a wheel.
fn of_nvidia(wheel: &Path, name: &str) -> Vec<PathBuf> {
    let packages = within(&wheel.join("nvidia")).into_iter();
    let mut folders: Vec<PathBuf> =
        packages.map(|package| package.join(name)).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn within(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The version that mlx-c is made for.
fn mlx_version(cmake_lists: &Path) -> Result<String> {
    let text =
        fs::read_to_string(cmake_lists).with_context(|| format!("can't read {}", cmake_lists.display()))?;
    find_version(&text).with_context(|| format!("{} names no version of MLX", cmake_lists.display()))
}

fn find_version(cmake_lists: &str) -> Option<String> {
    let tag = cmake_lists.lines().find_map(|line| line.trim().strip_prefix("GIT_TAG v"))?;
    Some(tag.trim_end_matches(')').trim().to_owned())
}

/// A short name for everything that decides what is built.
fn recipe(mlx_sys: &Path) -> String {
    let mut hash = crc32fast::Hasher::new();
    let crate_name = mlx_sys.file_name().unwrap_or_default().as_encoded_bytes();
    for part in [crate_name, SHIM.as_bytes(), FORMAT.as_bytes(), LIBCLANG.as_bytes(), &RECIPE.to_le_bytes()] {
        hash.update(part);
        hash.update(&[0]);
    }
    format!("{:08x}", hash.finalize())
}

/// Builds `lib/libmlxc.so` in `folder` from mlx-c's sources and the shim; `build` is for what comes between.
fn build_mlx_c(compiler: &Compiler, mlx_c: &Path, folder: &Path, build: &Path) -> Result<()> {
    let include = build.join("include");
    fs::create_dir(&include)?;
    if !compiler.has_format {
        fs::write(include.join("format"), FORMAT)?;
    }
    let shim = build.join("shim.cpp");
    fs::write(&shim, SHIM)?;
    let mut sources = vec![shim];
    for entry in fs::read_dir(mlx_c.join("mlx/c"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cpp") {
            sources.push(path);
        }
    }
    let objects: Vec<PathBuf> = sources
        .iter()
        .map(|source| build.join(source.file_name().unwrap_or_default()).with_extension("o"))
        .collect();

    // Each thread takes the next source until there is none, or one failed.
    let jobs = Mutex::new(sources.iter().zip(&objects));
    let work = || -> Result<()> {
        while let Some((source, object)) = next(&jobs) {
            let mut command = compiler.command();
            command.args(["-std=c++20", "-O2", "-DNDEBUG", "-fPIC", "-w"]);
            command.arg("-I").arg(&include).args(["-include", "format"]).arg("-I").arg(mlx_c);
            command
                .arg("-isystem")
                .arg(folder.join("mlx/include"))
                .arg("-c")
                .arg(source)
                .arg("-o")
                .arg(object);
            if let Err(error) = process::run(&format!("compiling {}", source.display()), &mut command, folder)
            {
                while next(&jobs).is_some() {}
                return Err(error);
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;

    let lib = folder.join("lib");
    fs::create_dir(&lib)?;
    let mut command = compiler.command();
    command.args(["-shared", "-Wl,-soname,libmlxc.so", "-o"]).arg(lib.join("libmlxc.so")).args(&objects);
    command.arg("-L").arg(folder.join("mlx/lib")).arg("-lmlx");
    process::run("linking mlx-c", &mut command, folder)?;
    Ok(())
}

fn next<Item>(jobs: &Mutex<impl Iterator<Item = Item>>) -> Option<Item> {
    jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next()
}

/// Writes `bindings/bindings.rs` in `folder`.
fn bind(
    python: &Path,
    compiler: &Compiler,
    workspace: &Workspace,
    cache: &Cache,
    folder: &Path,
) -> Result<()> {
    fs::create_dir(folder.join("bindings"))?;
    let bindings = Bindings {
        mlx_c: workspace.mlx_sys.join("src/mlx-c"),
        headers: compiler.own_headers(folder)?,
        out: folder.join("bindings/bindings.rs"),
    };
    if let Some(libclang) = std::env::var_os("LIBCLANG_PATH") {
        return bindings.generate_with(Path::new(&libclang));
    }
    // One known version serves better than whichever the system has.
    let fetched = cache.folder(&LIBCLANG.replace("==", "-"), |folder| {
        wheel::unpack(python, LIBCLANG, Requirements::Skip, folder)
    });
    match fetched {
        Ok(libclang) => bindings.generate_with(&wheel::find(&libclang, "libclang.so")?),
        Err(error) if matches!(error.downcast_ref(), Some(problem::Problem::NoPackage { .. })) => {
            bindings.generate().context(error)
        }
        Err(error) => Err(error),
    }
}

/// What mlx-sys' build script would have told Cargo.
fn override_table(host: &str, mlx: &Path) -> String {
    let text = |folder: &str| serde_json::Value::from(mlx.join(folder).display().to_string());
    format!(
        "# Takes the place of mlx-sys' build script; made by mlx-setup.\n\
        [target.{host}.mlx]\n\
        rustc-link-lib = [\"dylib=mlxc\", \"dylib=mlx\"]\n\
        rustc-link-search = [{}, {}]\n\
        rustc-env = {{ OUT_DIR = {} }}\n",
        text("lib"),
        text("mlx/lib"),
        text("bindings"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_mlx_is_read_from_mlx_c() {
        let text = "  FetchContent_Declare(\n    mlx\n    GIT_REPOSITORY \"x\"\n    GIT_TAG v0.32.2)\n";
        assert_eq!(find_version(text).as_deref(), Some("0.32.2"));
        assert_eq!(find_version("project(mlx)"), None);
    }

    #[test]
    fn another_mlx_sys_is_another_recipe() {
        assert_eq!(recipe(Path::new("/a/mlx-sys-0.7.0")), recipe(Path::new("/b/mlx-sys-0.7.0")));
        assert_ne!(recipe(Path::new("/a/mlx-sys-0.7.0")), recipe(Path::new("/a/mlx-sys-0.7.1")));
    }

    #[test]
    fn the_override_quotes_its_paths() {
        let text = override_table("x86_64-unknown-linux-gnu", Path::new("/home/o\"k/mlx"));
        assert!(text.contains("[target.x86_64-unknown-linux-gnu.mlx]\n"), "{text}");
        assert!(text.contains(r#"OUT_DIR = "/home/o\"k/mlx/bindings""#), "{text}");
    }
}
