//! Checks the statistics against a folder with `golden.json` and `reference.json`, and `battery.json` if it is there:
//! `make check-statistics DIR=path`. Exit code 0 if all agrees, 1 if something differs, 2 if a file can't be read.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

#[path = "../../tests/statistics/battery.rs"]
mod battery;
#[path = "../../tests/statistics/golden.rs"]
mod golden;
#[path = "../../tests/statistics/group.rs"]
mod group;
#[path = "../../tests/statistics/noise.rs"]
mod noise;
#[path = "../../tests/statistics/reference.rs"]
mod reference;
#[path = "../../tests/statistics/search.rs"]
mod search;

use group::Group;

/// The battery runs this often, so that its ranges, which allow for one run's chance, decide about us and not about luck.
const BATTERIES: f64 = 4.0;
/// Lines of one group that are printed.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["search"] => search::table().map(|()| true),
        ["power"] => search::power_table().map(|()| true),
        ["detect", model, speed, memory, candidates] => {
            search::detection(model, speed, memory, candidates).map(|()| true)
        }
        [folder] => check(Path::new(folder)),
        _ => Err(
            "usage: check-statistics FOLDER | search | power | detect MODEL LN_SPEED LN_MEMORY CANDIDATES"
                .to_owned(),
        ),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn check(folder: &Path) -> Result<bool, String> {
    let named = |name: &str| folder.join(name);
    let within = |name: &'static str| move |message: String| format!("{name}: {message}");
    let mut groups = golden::check(&read(&named("golden.json"))?).map_err(within("golden.json"))?;
    groups.extend(reference::check(&read(&named("reference.json"))?).map_err(within("reference.json"))?);
    if named("battery.json").exists() {
        groups.extend(
            battery::check(&read(&named("battery.json"))?, BATTERIES).map_err(within("battery.json"))?,
        );
    }
    groups.iter().for_each(print);
    let checked: usize = groups.iter().map(|group| group.checked).sum();
    let failed: usize = groups.iter().map(|group| group.failures.len()).sum();
    println!("{checked} checked, {failed} differ");
    if checked == 0 {
        return Err(format!("{}: nothing to check", folder.display()));
    }
    Ok(failed == 0)
}

fn print(group: &Group) {
    let word = if group.failures.is_empty() { "ok" } else { "DIFFERS" };
    println!(
        "{:<60} {:>6} checked, worst deviation {:>9.2e}  {word}",
        group.name, group.checked, group.worst
    );
    for failure in group.failures.iter().take(SHOWN) {
        println!("  {failure}");
    }
    if group.failures.len() > SHOWN {
        println!("  and {} more", group.failures.len() - SHOWN);
    }
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}
