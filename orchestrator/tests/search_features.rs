//! What search asks for beyond a parent, in real runs of the whole program.

mod common;

use common::{Project, events};

fn count(project: &Project, condition: &str) -> u64 {
    let rows = project.sql(&format!("select count(*) as n from proposals where {condition}"));
    rows[0]["n"].as_u64().expect("a count")
}

#[test]
fn marked_numbers_are_tuned_without_the_proposer() {
    let project = Project::new("search: { tune: { share: 0.7 } }\n");
    let source = "# EVOLVE-BLOCK-START\nx = 10  # @tune 10 [1..200]\ny = 3\n# EVOLVE-BLOCK-END\n";
    project.write("problem/initial.py", source);
    project.succeed(&["run", "--iterations", "24"]);
    let tuned =
        project.sql("select source, model, kind from proposals where operator = 'tune' order by number");
    assert!(tuned.len() >= 8, "{tuned:?}");
    for row in &tuned {
        let source = row["source"].as_str().expect("a program");
        let value = source.split("x = ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("x");
        assert!(source.contains(&format!("# @tune {value} [1..200]")), "{source}");
    }
    // Two that were asked for at the same time may come to the same value.
    let measured = tuned.iter().filter(|row| row["kind"] == "measured").count();
    assert!(2 * measured > tuned.len(), "{tuned:?}");
}

#[test]
fn numbers_without_marks_are_probed_and_those_that_matter_tuned_where_that_is_configured() {
    let project = Project::new("search: { tune: { share: 0.7, find: true } }\n");
    project.succeed(&["run", "--iterations", "40"]);
    let probes = project.sql("select source from proposals where operator = 'probe' and kind = 'measured'");
    assert!(!probes.is_empty());
    for row in &probes {
        assert!(row["source"].as_str().is_some_and(|source| source.contains(" # @tune ")), "{row}");
    }
    assert!(count(&project, "operator = 'tune' and source like '%x = %# @tune%' and kind = 'measured'") >= 5);
    let project = Project::new("search: { tune: { share: 0.7 } }\n");
    project.succeed(&["run"]);
    assert_eq!(count(&project, "operator = 'probe' or operator = 'tune'"), 0);
}

#[test]
fn a_run_without_improvement_stops_early_and_says_so() {
    let project = Project::new("search: { early_stopping: { patience: 4, min_improvement: 100 } }\n");
    let output = project.succeed(&["run", "--iterations", "40", "--json"]);
    let ended = events(&output).into_iter().find(|event| event["event"] == "run_ended").expect("an end");
    assert_eq!(ended["reason"], "no_improvement");
    let told = count(&project, "kind is not null");
    assert!((5..=8).contains(&told), "4 outcomes after the first, and what was under way: {told}");
}

#[test]
fn nearly_the_same_code_is_refused_where_that_is_configured() {
    let project = Project::new("search: { novelty: { max_similarity: 0.5, retries: 0 } }\n");
    // Long enough that most of it is as it was when one number changes.
    let rest = (1..20).map(|n| format!("y{n} = x + y{n}\n")).collect::<Vec<_>>().concat();
    let program = |x: u32| format!("# EVOLVE-BLOCK-START\nx = {x}\n{rest}# EVOLVE-BLOCK-END\n");
    project.write("problem/initial.py", &program(10));
    let reply = |x| serde_json::json!({ "reply": format!("```python\n{}```", program(x)) }).to_string();
    project.write("replies.jsonl", &[reply(11), reply(12)].join("\n"));
    project.succeed(&["run", "--replay", "replies.jsonl", "--iterations", "2"]);
    let rows = project.sql("select message from proposals where kind = 'near_duplicate'");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["message"].as_str().is_some_and(|message| message.contains("like program")), "{row}");
    }
}

#[test]
fn a_resumed_search_asks_what_an_uninterrupted_one_asks() {
    let yaml = "search: { num_islands: 2, stagnation: { patience: 3, max_widening: 1 }, tune: { share: 0.3, find: FIND }, \
                bandit: { policy: ucb, operators: { literals: 1, crossover: 1 } } }\n";
    let marked = "# EVOLVE-BLOCK-START\nx = 10  # @tune 10 [1..200]\ny = 3\n# EVOLVE-BLOCK-END\n";
    let rows = |interrupted: bool, find: bool| {
        let project = Project::new(&yaml.replace("FIND", &find.to_string()));
        if !find {
            project.write("problem/initial.py", marked);
        }
        if interrupted {
            project.succeed(&["run", "--iterations", "13"]);
            project.succeed(&["resume", "--iterations", "26"]);
        } else {
            project.succeed(&["run", "--iterations", "26"]);
        }
        assert_eq!(count(&project, "1 = 1"), 27);
        let stored = project.sql("select count(*) as n from program where fingerprint is null");
        assert_eq!(stored[0]["n"].as_u64(), Some(0), "every program has its fingerprint");
        project.sql(
            "select number, island, parent, operator, source, kind, score from proposals order by number",
        )
    };
    for find in [false, true] {
        assert_eq!(rows(false, find), rows(true, find));
    }
}
