//! `evolve doctor --attacks`: what it accepts, what it finds out, and that the built-in suite holds.
#![allow(clippy::unwrap_used, reason = "a panic is a test's failure")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Project, text};
use evaluator::suite;
use serde_json::Value;

const HONEST: &str = "import bisect\n\n\ndef solve(numbers):\n    ends, lengths = [], []\n    for number in numbers:\n        \
    place = bisect.bisect_left(ends, number)\n        ends[place:place + 1] = [number]\n        \
    lengths.append(len(ends))\n    return lengths\n";
const ZEROS: &str = "def solve(numbers):\n    return [0] * len(numbers)\n";

/// Runs the cases of the folder `mine` and returns the exit code and the report.
fn run(project: &Project, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = ["doctor", "--attacks", "mine", "--only", "mine-*", "--json"];
    let output = project.run(&[&arguments, more].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    });
    (output.status.code(), report)
}

fn case<'report>(report: &'report Value, name: &str) -> &'report Value {
    let cases = report["cases"].as_array().unwrap();
    cases.iter().find(|case| case["case"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

#[test]
fn a_folder_of_attacks_and_honest_programs_is_judged() {
    let project = Project::new("");
    project.write("mine/mine-attacks/zeros.py", ZEROS);
    project.write("mine/mine-attacks/noted.py", &format!("# title: none\n# fence: judge\n{ZEROS}"));
    project.write("mine/mine-honest/bisection.py", HONEST);
    let whole = format!(
        "# Longest strictly increasing subsequences.\n# EVOLVE-BLOCK-START\n{HONEST}# EVOLVE-BLOCK-END\n"
    );
    project.write("mine/mine-honest/whole.py", &whole);
    let (code, report) = run(&project, &[]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!((&report["attacks"], &report["caught"]), (&2.into(), &2.into()), "{report:#}");
    assert_eq!((&report["honest"], &report["passed"]), (&2.into(), &2.into()), "{report:#}");
    assert_eq!(case(&report, "mine-attacks/zeros.py")["got"], "judge");
}

#[test]
fn an_attack_that_is_measured_or_caught_late_or_says_that_it_got_out_fails_the_suite() {
    let project = Project::new("");
    project.write("mine/mine-attacks/measured.py", HONEST);
    project.write("mine/mine-attacks/late.py", &format!("# fence: gate\n{ZEROS}"));
    let out = format!(
        "# catalogue: escape\nimport sys\n\nprint('ESC' + 'APED: to the roof', file=sys.stderr)\n{HONEST}"
    );
    project.write("mine/mine-attacks/out.py", &out);
    project.write("mine/mine-honest/wrong.py", ZEROS);
    let (code, report) = run(&project, &[]);
    assert_eq!(code, Some(1), "{report:#}");
    let complaint = |name: &str| case(&report, name)["complaint"].as_str().unwrap_or_default().to_owned();
    assert!(complaint("mine-attacks/measured.py").contains("forged"), "{report:#}");
    assert!(complaint("mine-attacks/late.py").contains("only by judge"), "{report:#}");
    assert!(complaint("mine-attacks/out.py").contains("to the roof"), "{report:#}");
    assert!(complaint("mine-honest/wrong.py").contains("not measured"), "{report:#}");
}

#[test]
fn a_suite_that_cant_be_read_is_bad_input() {
    let project = Project::new("");
    let words = project.fail(2, &["doctor", "--attacks", "nowhere"]);
    assert!(words.contains("nowhere"), "{words}");
    project.write("mine/unclear.py", HONEST);
    let words = project.fail(2, &["doctor", "--attacks", "mine"]);
    assert!(words.contains("unclear.py") && words.contains("kind: honest"), "{words}");
    let words = project.fail(2, &["doctor", "--attacks", "--only", "no-such-case"]);
    assert!(words.contains("--only"), "{words}");
}

/// One in four of each sort of the built-in suite's cases (language, intent, fence, class of the catalogue), so that none is left out.
fn one_in_four_of_each_sort() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../evaluator/attacks");
    let mut sorts: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = Vec::new();
    for case in suite::read(&folder).unwrap() {
        let sort =
            format!("{} {:?} {:?} {:?}", case.is_kernel(), case.intent, case.fence, case.catalogue.first());
        let before = sorts.entry(sort).or_default();
        if before.is_multiple_of(4) {
            names.push(case.name);
        }
        *before += 1;
    }
    names
}

/// Needs the MLX harness, as `make test` builds it. The whole suite takes minutes and runs with `EVOLVE_TEST_FULL=1` (`make test-full`).
#[test]
fn every_attack_of_the_built_in_suite_is_caught_and_every_honest_program_measured() {
    let project = Project::new("");
    let mut arguments = vec!["doctor".to_owned(), "--attacks".to_owned(), "--json".to_owned()];
    let is_full = std::env::var_os("EVOLVE_TEST_FULL").is_some();
    if !is_full {
        arguments.extend(one_in_four_of_each_sort().into_iter().flat_map(|name| ["--only".to_owned(), name]));
    }
    let output = project.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}", text(&output.stderr)));
    let failed: Vec<&Value> =
        report["cases"].as_array().unwrap().iter().filter(|case| case["ok"] != true).collect();
    assert!(output.status.success(), "{}: {failed:#?}", report["leftovers"]);
    let (attacks, honest) = if is_full { (300, 80) } else { (75, 20) };
    assert!(report["attacks"].as_u64() >= Some(attacks), "{report:#}");
    assert!(report["honest"].as_u64() >= Some(honest), "{report:#}");
}
