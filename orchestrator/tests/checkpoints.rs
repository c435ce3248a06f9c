//! OpenEvolve's checkpoints: taken in, gone on with, and written.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod common;

use std::path::Path;

use common::{Project, text};
use insta::assert_snapshot;
use serde_json::{Value, json};

const EVALUATOR: &str = "
def evaluate(path):
    scope = {}
    exec(open(path).read(), scope)
    return {'combined_score': 1 / (1 + abs(scope['x'] - 100) / 100), 'x': float(scope['x'])}
";

fn program(x: u32) -> String {
    format!("# EVOLVE-BLOCK-START\nx = {x}\n# EVOLVE-BLOCK-END\n")
}

fn score(x: u32) -> f64 {
    1.0 / (1.0 + (f64::from(x) - 100.0).abs() / 100.0)
}

/// A program as OpenEvolve saves it.
fn saved(id: &str, x: u32, parent: Option<&str>, generation: u32, island: usize) -> Value {
    json!({
        "id": id,
        "code": program(x),
        "changes_description": "",
        "language": "python",
        "parent_id": parent,
        "generation": generation,
        "timestamp": 1_700_000_000.5 + f64::from(x),
        "iteration_found": x,
        "metrics": {"combined_score": score(x), "x": x},
        "complexity": 50,
        "diversity": 0.0,
        "metadata": {"island": island, "changes": "x changed"},
        "prompts": {"diff_user": {"system": "You are.", "user": "Improve it.", "responses": ["done"]}},
        "artifacts_json": "{\"note\": \"some words\"}",
        "artifact_dir": null,
        "embedding": null,
    })
}

fn write(project: &Project, folder: &str, programs: &[Value], islands: &Value, best: &str) {
    for program in programs {
        let id = program["id"].as_str().unwrap();
        project.write(&format!("{folder}/programs/{id}.json"), &program.to_string());
    }
    let metadata = json!({
        "island_feature_maps": [{}, {}],
        "islands": islands,
        "archive": [best],
        "best_program_id": best,
        "island_best_programs": [best, null],
        "last_iteration": 40,
        "current_island": 1,
        "island_generations": [3, 2],
        "last_migration_generation": 0,
        "feature_stats": {"complexity": {}},
    });
    project.write(&format!("{folder}/metadata.json"), &metadata.to_string());
}

/// A checkpoint with what happens to them: a failed program, one that timed out, a migrant, a lost parent.
fn project() -> Project {
    let project = Project::new("");
    project.write("evaluator.py", EVALUATOR);
    project.write("initial_program.py", &program(1));
    project.write(
        "config.yaml",
        "llm: { primary_model: m }\ndatabase: { num_islands: 2 }\nevaluator: { timeout: 9 }\n",
    );
    let mut failed = saved("failed", 12, Some("first"), 1, 0);
    failed["metrics"] = json!({"error": 0.0});
    failed["artifacts_json"] = json!("{\"stderr\": \"it broke\"}");
    let mut slow = saved("slow", 13, Some("first"), 1, 0);
    slow["metrics"] = json!({"error": 0.0, "timeout": true});
    let mut migrant = saved("migrant", 20, Some("better"), 1, 1);
    migrant["metadata"]["migrant"] = json!(true);
    let programs = [
        saved("first", 1, None, 0, 0),
        saved("better", 20, Some("first"), 1, 0),
        saved("best", 40, Some("better"), 2, 0),
        saved("orphan", 30, Some("gone"), 7, 1),
        failed,
        slow,
        migrant,
    ];
    let islands = json!([["first", "better", "best", "failed", "slow"], ["orphan", "migrant"]]);
    write(&project, "checkpoint_40", &programs, &islands, "best");
    project
}

fn rows(project: &Project, sql: &str) -> String {
    project.succeed(&["query", "--db", "evolve.db", "--sql", sql, "--format", "csv"])
}

#[test]
fn an_imported_checkpoint_can_be_queried_and_says_what_it_was() {
    let project = project();
    let output = project.run(&["import", "checkpoint_40", "--db", "evolve.db"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "1\n", "the run's number, for scripts");
    assert_snapshot!(project.anonymous(&text(&output.stderr)));
    assert_snapshot!(rows(
        &project,
        "select number, island, parent, generation, kind, round(score, 3) as score, message, proposer, operator, created_at from programs order by number"
    ));
    let shown: Value =
        serde_json::from_str(&project.succeed(&["show", "5", "--db", "evolve.db", "--json", "--prompt"]))
            .unwrap();
    assert_eq!(shown["measured_by"]["parameters"]["id"], "orphan");
    assert_eq!(shown["measured_by"]["parameters"]["parent_id"], "gone");
    assert_eq!(shown["measured_by"]["parameters"]["generation"], 7);
    assert_eq!(
        (&shown["prompt"], &shown["reply"]),
        (&json!("[system]\nYou are.\n[user]\nImprove it."), &json!("done"))
    );
    assert_eq!(shown["artifacts"]["note"], "some words");
    // Nothing says how it would be evaluated.
    let words = project.fail(2, &["resume", "1", "--db", "evolve.db", "--proposer", "rewrite"]);
    assert!(words.contains("imported without its evaluator") && words.contains("--evaluator"), "{words}");
}

#[test]
fn an_imported_checkpoint_is_gone_on_with_where_it_ended() {
    let project = project();
    let import = [
        "import",
        "checkpoint_40",
        "--db",
        "evolve.db",
        "--initial",
        "initial_program.py",
        "--evaluator",
        "evaluator.py",
    ];
    project.succeed(&[&import[..], &["--config", "config.yaml"]].concat());
    project.succeed(&["resume", "1", "--db", "evolve.db", "--iterations", "26", "--proposer", "rewrite"]);
    assert_eq!(
        rows(
            &project,
            "select count(*) as n, count(distinct island) as islands from outcome join proposal using (run_id, number)"
        ),
        "n,islands\n27,2\n"
    );
    let best = rows(&project, "select max(score) >= 0.625 as kept from outcome");
    assert_eq!(best, "kept\n1\n", "what was found there counts here");
    let parents = rows(
        &project,
        "select count(*) > 0 as some from proposal where number > 6 and parent between 1 and 6",
    );
    assert_eq!(parents, "some\n1\n", "imported programs are parents");
}

#[test]
fn openevolves_flag_imports_and_goes_on_by_so_many() {
    let project = project();
    let arguments = [
        "run",
        "initial_program.py",
        "evaluator.py",
        "-c",
        "config.yaml",
        "--proposer",
        "rewrite",
        "-i",
        "4",
    ];
    project.succeed(&[&arguments[..], &["--checkpoint", "checkpoint_40"]].concat());
    let count = |run: u32| {
        let sql = format!("select count(*) as n from proposal where run_id = {run}");
        project.succeed(&["query", "--db", "openevolve_output/evolve.db", "--sql", &sql, "--format", "csv"])
    };
    assert_eq!(count(1), "n\n11\n", "7 from there and 4 more");
    project.succeed(&[&arguments[..], &["--checkpoint", "openevolve_output"]].concat());
    assert_eq!(count(1), "n\n15\n", "4 more of the same run");
    let best =
        std::fs::read_to_string(project.path("openevolve_output/best/best_program_info.json")).unwrap();
    assert!(best.contains("combined_score"), "{best}");
}

#[test]
fn broken_checkpoints_are_taken_in_as_far_as_they_can_be_read() {
    let project = project();
    // As kill -9 leaves them: a file cut off, one missing, metadata half written.
    let best = project.path("checkpoint_40/programs/best.json");
    let half = std::fs::read_to_string(&best).unwrap();
    std::fs::write(&best, &half[..half.len() / 2]).unwrap();
    std::fs::remove_file(project.path("checkpoint_40/programs/better.json")).unwrap();
    let mut nan = saved("nan", 50, Some("first"), 1, 1).to_string();
    nan = nan.replace(&score(50).to_string(), "NaN");
    project.write("checkpoint_40/programs/nan.json", &nan);
    project.write("checkpoint_40/best_program.py", &program(40));
    project.write(
        "checkpoint_40/best_program_info.json",
        &json!({"id": "best", "generation": 2, "iteration": 40, "metrics": {"combined_score": score(40)}, "timestamp": 1.7e9}).to_string(),
    );
    let said = |folder: &str| {
        project.anonymous(&text(&project.run(&["import", folder, "--db", "evolve.db"]).stderr))
    };
    assert_snapshot!(said("checkpoint_40"));
    assert_snapshot!(rows(
        &project,
        "select number, parent, island, kind, round(score, 3) as score, message from programs where run = 1 order by number"
    ));
    project.write("checkpoint_40/metadata.json", "{\"islands\": [[\"fir");
    assert_snapshot!(said("checkpoint_40"));
    std::fs::remove_file(project.path("checkpoint_40/metadata.json")).unwrap();
    assert!(said("checkpoint_40").contains("metadata.json can't be read"));
    // No checkpoint at all, or its parent folder.
    std::fs::create_dir_all(project.path("outputs/checkpoints")).unwrap();
    std::fs::rename(project.path("checkpoint_40"), project.path("outputs/checkpoints/checkpoint_40"))
        .unwrap();
    assert!(said("outputs").contains("is no checkpoint, but outputs/checkpoints/checkpoint_40 is"));
    assert!(said("tmp").contains("is no OpenEvolve checkpoint"));
    std::fs::create_dir_all(project.path("empty/programs")).unwrap();
    assert!(said("empty").contains("holds no program that can be read"));
}

#[test]
fn programs_that_differ_outside_their_block_can_be_parents_of_an_imported_run() {
    let project = project();
    let mut best = saved("best", 40, Some("first"), 2, 0);
    best["code"] = json!(format!("import math\n{}", program(40)));
    project.write("checkpoint_40/programs/best.json", &best.to_string());
    let arguments = [
        "run",
        "initial_program.py",
        "evaluator.py",
        "-c",
        "config.yaml",
        "--proposer",
        "rewrite",
        "-i",
        "12",
    ];
    let output = project.run(&[&arguments[..], &["--checkpoint", "checkpoint_40"]].concat());
    assert!(text(&output.stderr).contains("differ outside their EVOLVE-BLOCK"), "{}", text(&output.stderr));
    let refused = project.succeed(&[
        "query",
        "--db",
        "openevolve_output/evolve.db",
        "--format",
        "csv",
        "--sql",
        "select count(*) as n from outcome where kind = 'gate'",
    ]);
    assert_eq!(refused, "n\n0\n");
}

#[test]
fn a_written_checkpoint_holds_what_was_imported() {
    let project = project();
    project.succeed(&["import", "checkpoint_40", "--db", "evolve.db"]);
    project.succeed(&[
        "export",
        "1",
        "--db",
        "evolve.db",
        "--format",
        "openevolve",
        "--out",
        "out/checkpoint_9",
    ]);
    let read = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(project.path(path)).unwrap()).unwrap()
    };
    for id in ["first", "better", "best", "orphan", "migrant"] {
        let there = read(&format!("checkpoint_40/programs/{id}.json"));
        let here = read(&format!("out/checkpoint_9/programs/{id}.json"));
        for key in [
            "id",
            "code",
            "parent_id",
            "generation",
            "iteration_found",
            "timestamp",
            "prompts",
            "artifacts_json",
        ] {
            let same = match key {
                "artifacts_json" => {
                    let parsed =
                        |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
                    parsed(&there[key]) == parsed(&here[key])
                }
                _ => there[key] == here[key],
            };
            assert!(same, "{id}: {key}: {} became {}", there[key], here[key]);
        }
        assert_eq!(there["metrics"]["combined_score"], here["metrics"]["combined_score"]);
        assert_eq!(there["metadata"]["island"], here["metadata"]["island"]);
    }
    let metadata = read("out/checkpoint_9/metadata.json");
    assert_eq!(
        metadata["islands"],
        json!([["first", "failed", "slow", "better", "best"], ["migrant", "orphan"]])
    );
    assert_eq!((&metadata["best_program_id"], &metadata["archive"][0]), (&json!("best"), &json!("best")));
    assert_eq!(read("out/checkpoint_9/programs/failed.json")["metrics"], json!({"error": 0.0}));
    assert_eq!(
        std::fs::read_to_string(project.path("out/checkpoint_9/best_program.py")).unwrap(),
        program(40)
    );
    let words =
        project.fail(2, &["export", "1", "--db", "evolve.db", "--format", "openevolve", "--out", "out"]);
    assert!(words.contains("isn't empty"), "{words}");
}

#[test]
fn a_run_is_written_as_json_csv_and_parquet_with_the_same_rows() {
    let project = Project::new("");
    project.succeed(&["run", "--iterations", "9"]);
    let export = |format: &str| {
        project.succeed(&["export", "--format", format, "--out", &format!("run.{format}")]);
        project.path(&format!("run.{format}"))
    };
    let json: Value = serde_json::from_str(&std::fs::read_to_string(export("json")).unwrap()).unwrap();
    let json = json.as_array().unwrap();
    assert_eq!(json.len(), 10);
    assert!(
        json[0]["metrics"]["x"].is_number() && json[0]["source"].as_str().unwrap().contains("EVOLVE-BLOCK")
    );
    let mut csv = csv::Reader::from_path(export("csv")).unwrap();
    let columns = csv.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let parquet = parquet_rows(&export("parquet"));
    assert_eq!((records.len(), parquet.len()), (10, 10));
    for ((object, record), row) in json.iter().zip(&records).zip(&parquet) {
        for (column, field) in columns.iter().zip(record) {
            let value = &object[column];
            let plain = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if column == "metrics" {
                continue;
            }
            match (value.as_f64(), field.parse::<f64>()) {
                // 0 and 0.0 are one number.
                (Some(number), Ok(read)) => {
                    assert!((number - read).abs() < 1e-12, "{column}: {number} or {read}");
                }
                _ => assert_eq!(field, plain, "{column}"),
            }
            assert_eq!(row[column], *value, "{column}");
        }
    }
}

fn parquet_rows(path: &Path) -> Vec<Value> {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut rows = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).unwrap();
        for row in group.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let value = |field: &parquet::record::Field| match field {
                parquet::record::Field::Null => Value::Null,
                parquet::record::Field::Long(value) => json!(value),
                parquet::record::Field::Double(value) => json!(value),
                parquet::record::Field::Str(value) => json!(value),
                other => panic!("{other:?}"),
            };
            rows.push(Value::Object(
                row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect(),
            ));
        }
    }
    rows
}
