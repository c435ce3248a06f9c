//! Replies as models really write them, one file each, and what becomes of them.
//!
//! `data/replies/NN-what.PARENT.FORM.md` is a reply, `PARENT` the program that it is about (a file in `parents/`), `FORM` what was
//! asked for (`edits` or `rewrite`). The file `.expected` beside it holds what the reply changes, as a diff, or the outcome.
//! `EVOLVE_WRITE_EXPECTED=1` writes those files anew; look at what changed.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use orchestrator::patch::{self, Form};
use search::{Language, Outcome};
use similar::TextDiff;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/replies")
}

/// What a reply leads to, in words.
fn result(name: &str, reply: &str) -> String {
    let [_, parent, form] = name.split('.').collect::<Vec<_>>()[..] else {
        panic!("{name}: NAME.PARENT.FORM.md")
    };
    let form = match form {
        "edits" => Form::Edits,
        "rewrite" => Form::FullRewrite,
        other => panic!("{name}: no form {other}"),
    };
    let (file, language) = match parent {
        "kernel" => ("kernel.rs", Language::Rust),
        "page" => ("page.html", Language::Other),
        parent => (&*format!("{parent}.py"), Language::Python),
    };
    let parent = fs::read_to_string(folder().join("parents").join(file)).unwrap();
    match patch::apply(reply, &parent, form, language) {
        Ok(program) => TextDiff::from_lines(&parent, &program).unified_diff().context_radius(1).to_string(),
        Err(error) => {
            let outcome = Outcome::from(error);
            format!("{}: {outcome}\n", outcome.kind())
        }
    }
}

#[test]
fn every_reply_of_the_golden_set_gives_what_is_expected() {
    let mut replies: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    replies.sort();
    assert!(replies.len() >= 60, "only {} replies", replies.len());
    let mut wrong = Vec::new();
    for path in replies {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // As the client reads a body that isn't UTF-8.
        let reply = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let result = result(&name, &reply);
        let expected = path.with_extension("expected");
        if std::env::var_os("EVOLVE_WRITE_EXPECTED").is_some() {
            fs::write(&expected, &result).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_else(|error| format!("{error}"));
        if result != expected {
            wrong.push(format!("{name}\n--- expected\n{expected}--- but it gives\n{result}"));
        }
    }
    assert!(wrong.is_empty(), "{} replies are read otherwise:\n\n{}", wrong.len(), wrong.join("\n"));
}
