//! The tools that a machine has to bring: Python 3 with pip, and a C++ compiler.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::problem::Problem;
use crate::process;

/// A C++ compiler and the arguments that always come first (`CXX="ccache g++"`).
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    program: PathBuf,
    arguments: Vec<String>,
    /// Whether its library has C++20's `<format>`.
    pub(crate) has_format: bool,
}

impl Compiler {
    /// `CXX`, else the first of the usual names on PATH.
    pub(crate) fn locate(variable: impl Fn(&str) -> Option<OsString>, scratch: &Path) -> Result<Self> {
        let chosen =
            variable("CXX").and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
        let names =
            chosen.map_or_else(|| vec!["c++".into(), "g++".into(), "clang++".into()], |name| vec![name]);
        let path = variable("PATH");
        let found = names.iter().find_map(|name| {
            let mut words = name.split_whitespace();
            let program = process::find(words.next()?.as_ref(), path.as_deref())?;
            Some((program, words.map(str::to_owned).collect::<Vec<_>>()))
        });
        let Some((program, arguments)) = found else {
            return Err(Problem::NoCompiler { tried: names }.into());
        };
        let mut compiler = Self { program, arguments, has_format: false };
        if !compiler.accepts("#include <version>\n#include <span>\n", scratch)? {
            return Err(Problem::OldCompiler { compiler: compiler.program }.into());
        }
        compiler.has_format =
            compiler.accepts("#include <format>\nauto f = std::format(\"{}\", 1);\n", scratch)?;
        Ok(compiler)
    }

    /// A call of the compiler.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    /// The compiler's own C headers (`stddef.h` and the like).
    pub(crate) fn own_headers(&self, folder: &Path) -> Result<PathBuf> {
        let output =
            process::run("the C++ compiler", self.command().arg("-print-file-name=include"), folder)?;
        Ok(output.trim().into())
    }

    fn accepts(&self, source: &str, scratch: &Path) -> Result<bool> {
        let file = scratch.join("probe.cpp");
        std::fs::write(&file, source)?;
        let mut command = self.command();
        command.args(["-std=c++20", "-fsyntax-only"]).arg(&file);
        Ok(process::capture(&mut command)?.0)
    }
}

/// Python 3, on PATH as `python3` or `python`.
pub(crate) fn python(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let path = variable("PATH");
    let is_three = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.args(["-c", "import sys; sys.exit(sys.version_info[0] != 3)"]);
        process::capture(&mut command).is_ok_and(|(success, ..)| success)
    };
    ["python3", "python"]
        .iter()
        .filter_map(|name| process::find(name.as_ref(), path.as_deref()))
        .find(is_three)
        .ok_or_else(|| Problem::NoPython.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(folder: &Path) -> impl Fn(&str) -> Option<OsString> {
        move |name| (name == "PATH").then(|| folder.into())
    }

    #[test]
    fn an_empty_path_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let error = Compiler::locate(only(folder.path()), folder.path()).unwrap_err().to_string();
        assert!(error.contains("no C++ compiler (tried c++, g++, clang++)"), "{error}");
        let error = python(only(folder.path())).unwrap_err().to_string();
        assert!(error.contains("no python3") && error.contains("apt install python3"), "{error}");
    }

    #[test]
    fn this_machines_compiler_knows_cpp20() {
        let folder = tempfile::tempdir().unwrap();
        let compiler = Compiler::locate(|name| std::env::var_os(name), folder.path()).unwrap();
        assert!(compiler.own_headers(folder.path()).unwrap().join("stddef.h").is_file());
        assert!(!compiler.accepts("#include <no_such_header>\n", folder.path()).unwrap());
    }
}
