//! The rewrite proposer on the default problem: what its rules do, and how soon a search comes upon what.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use orchestrator::proposer::rewrite::{RewriteProposer, rule_names};
use orchestrator::proposer::{Exhibit, ProblemText, Request, Seen};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Language, Outcome, ProgramId};

fn problem() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../problems/quantized-lora")
}

fn rules() -> PathBuf {
    problem().join("rules")
}

fn initial() -> String {
    fs::read_to_string(problem().join("initial.rs")).unwrap()
}

fn proposer(seed: u64) -> RewriteProposer {
    RewriteProposer::new(Some(&rules())).unwrap().with_seed(seed)
}

/// What was proposed so far, spaces aside.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<HashSet<String>>>);

impl Memory {
    fn key(source: &str) -> String {
        source.split_whitespace().collect()
    }

    fn add(&self, source: &str) -> bool {
        self.0.lock().unwrap().insert(Self::key(source))
    }

    fn seen(&self) -> Seen {
        let memory = self.clone();
        Seen::new(move |source| memory.0.lock().unwrap().contains(&Self::key(source)))
    }
}

fn request(
    number: u64,
    seed: u64,
    language: Language,
    parent: &str,
    inspirations: &[&str],
    known: Seen,
) -> Request {
    let exhibit = |id, source: &str| Exhibit::new(ProgramId(id), source, None);
    Request {
        inspirations: (1..).zip(inspirations).map(|(id, source)| exhibit(id, source)).collect(),
        seen: known,
        ..Request::new(
            ProgramId(number),
            seed,
            language,
            Arc::new(ProblemText::default()),
            exhibit(0, parent),
        )
    }
}

/// A search without measurements: every program found so far is the next parent with the same chance.
fn wander(seed: u64, candidates: u64) -> Vec<String> {
    let proposer = proposer(seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let memory = Memory::default();
    let mut programs = vec![initial()];
    memory.add(&programs[0]);
    for number in 1..=candidates {
        let parent = programs.choose(&mut rng).unwrap().clone();
        let inspirations: Vec<&str> = programs.sample(&mut rng, 2).map(String::as_str).collect();
        let request = request(number, rng.random(), Language::Rust, &parent, &inspirations, memory.seen());
        if let Ok(source) = proposer.rewrite(&request).change {
            assert!(memory.add(&source), "proposed twice: {source}");
            programs.push(source);
        }
    }
    programs
}

/// Whether the forward pass multiplies with the packed weight and unpacks nothing.
fn is_packed(source: &str) -> bool {
    let Some((before, forward)) = source.split_once("fn forward") else { return false };
    let packed =
        ["self.weight.matmul(", "ops::quantized_matmul(", "(self.weight.clone(), self.weight.clone())"];
    packed.iter().any(|call| forward.contains(call))
        && !forward.contains("dequantize")
        && before.contains("weight: QuantizedWeight")
}

fn frame(source: &str) -> Vec<String> {
    evaluator::block::parse(source).unwrap().frame
}

fn rewrite(proposer: &RewriteProposer, language: Language, parent: &str, seed: u64) -> Option<String> {
    proposer.rewrite(&request(seed, seed, language, parent, &[], Seen::nothing())).change.ok()
}

/// The promise of the default problem: chance comes upon the packed product soon, knowing nothing of it.
#[test]
fn thirty_candidates_hold_a_packed_product_in_95_of_100_searches() {
    // Each takes a quarter of a second; `make test-full` makes them all.
    let searches: u64 = if std::env::var_os("EVOLVE_TEST_FULL").is_some() { 200 } else { 40 };
    let (next, hits) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(8) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= searches {
                        break;
                    }
                    let found = wander(seed, 30).iter().any(|source| is_packed(source));
                    hits.fetch_add(u64::from(found), Ordering::Relaxed);
                }
            });
        }
    });
    let hits = hits.into_inner();
    println!("{hits} of {searches} searches held one");
    assert!(hits * 100 >= searches * 95, "only {hits} of {searches}");
}

#[test]
fn every_rule_of_the_kernel_problems_has_its_use_within_two_steps() {
    has_its_use(&problem());
    has_its_use(&dora_problem());
}

/// DoRA's problem: other rules, another initial kernel.
fn dora_problem() -> PathBuf {
    problem().with_file_name("quantized-dora")
}

fn has_its_use(problem: &Path) {
    let rules = problem.join("rules");
    let proposer = RewriteProposer::new(Some(&rules)).unwrap();
    let initial = fs::read_to_string(problem.join("initial.rs")).unwrap();
    let mut used = BTreeSet::new();
    for (name, program) in proposer.neighbours(&initial, Language::Rust) {
        used.insert(name);
        used.extend(proposer.neighbours(&program, Language::Rust).into_iter().map(|(name, _)| name));
    }
    // Rules for programs that aren't kernels.
    let general = ["and-or", "compare-strict", "compare-weak", "minus-plus", "or-and", "plus-minus"];
    let names = rule_names(Some(&rules), Language::Rust).unwrap();
    let unused: Vec<&String> =
        names.iter().filter(|name| !used.contains(*name) && !general.contains(&name.as_str())).collect();
    assert_eq!(unused, Vec::<&String>::new());
    assert!(used.len() >= 20, "{used:?}");
}

#[test]
fn general_rules_have_their_use() {
    let proposer = RewriteProposer::new(None).unwrap();
    let rust = "// EVOLVE-BLOCK-START\nfn f(a: i32, b: i32) -> bool {\n    (a <= b && b - 1 < a) || a + b < 3\n}\n// EVOLVE-BLOCK-END\n";
    let python = "# EVOLVE-BLOCK-START\ndef f(xs, k):\n    for i in range(len(xs)):\n        if xs[i] <= k and i < 3 or k * 2 < 1:\n            k = max(xs[i], k) - min(k, 1 + i)\n    k += random.gauss(k, 1) + random.uniform(0, k) ** 2\n    return sorted(xs)[0]\n# EVOLVE-BLOCK-END\n";
    for (language, source, expected) in [
        (
            Language::Rust,
            rust,
            vec!["and-or", "compare-strict", "compare-weak", "minus-plus", "or-and", "plus-minus"],
        ),
        (
            Language::Python,
            python,
            rule_names(None, Language::Python).unwrap().iter().map(String::as_str).collect(),
        ),
    ] {
        let neighbours = proposer.neighbours(source, language);
        let used: BTreeSet<&str> = neighbours.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), expected, "{language:?}");
        for (name, program) in neighbours {
            assert_eq!(frame(&program), frame(source), "{name}");
        }
    }
}

#[test]
fn rewritten_python_is_python() {
    let source = "import math\n# EVOLVE-BLOCK-START\ndef f(xs, k=3):\n    best = 0.5\n    for i in range(len(xs)):\n        if xs[i] <= k and i < 3:\n            best = max(best, xs[i] * 2.0)\n    return best\n# EVOLVE-BLOCK-END\nprint(f([1]))\n";
    let proposer = RewriteProposer::new(None).unwrap();
    let programs: BTreeSet<String> =
        (0..60).filter_map(|seed| rewrite(&proposer, Language::Python, source, seed)).collect();
    assert!(programs.len() > 15, "{}", programs.len());
    for program in &programs {
        assert_eq!(frame(program), frame(source));
        let script = "import ast, sys; ast.parse(sys.argv[1])";
        match Command::new("python3").args(["-c", script, program]).output() {
            Ok(Output { status, stderr, .. }) => {
                assert!(status.success(), "{program}\n{}", String::from_utf8_lossy(&stderr));
            }
            Err(_) => println!("no python3 here: only the frame is checked"),
        }
    }
}

#[test]
fn numbers_move_in_any_language() {
    let source = "-- EVOLVE-BLOCK-START\nlocal size = 12\n-- EVOLVE-BLOCK-END\nlocal fixed = 9\n";
    let proposer = RewriteProposer::new(None).unwrap();
    for seed in 0..20 {
        let program = rewrite(&proposer, Language::Other, source, seed).unwrap();
        assert!(
            program != source && program.contains("local size = ") && program.contains("fixed = 9"),
            "{program}"
        );
    }
}

#[test]
fn the_same_request_gives_the_same_proposal_and_another_seed_another() {
    let request = |number, seed| request(number, seed, Language::Rust, &initial(), &[], Seen::nothing());
    for number in 0..30 {
        assert_eq!(proposer(3).rewrite(&request(number, 5)), proposer(3).rewrite(&request(number, 5)));
    }
    let order =
        |seed| (0..20).map(|number| proposer(seed).rewrite(&request(number, 1)).operator).collect::<Vec<_>>();
    assert_ne!(order(1), order(2), "the run's seed shuffles the turns");
    let programs: HashSet<_> =
        (0..40).map(|seed| proposer(0).rewrite(&request(1, seed)).change.unwrap()).collect();
    assert!(programs.len() > 5, "{}", programs.len());
}

#[test]
fn only_the_block_changes_however_far_a_search_goes() {
    for seed in 0..3 {
        for program in wander(1000 + seed, 60) {
            assert_eq!(frame(&program), frame(&initial()));
        }
    }
}

#[test]
fn when_everything_was_seen_there_is_no_change() {
    let everything = Seen::new(|_| true);
    let proposal = proposer(0).rewrite(&request(1, 1, Language::Rust, &initial(), &[], everything));
    assert_eq!(proposal.change, Err(Outcome::NoChange));
    let fixed = "// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\n";
    assert_eq!(rewrite(&proposer(0), Language::Rust, fixed, 1), None);
}

#[test]
fn crossover_takes_an_item_of_the_same_name_from_an_inspiration() {
    let parent =
        "// EVOLVE-BLOCK-START\nfn f() -> String {\n    String::new()\n}\nfn g() {}\n// EVOLVE-BLOCK-END\n";
    let other = "// EVOLVE-BLOCK-START\nfn h() {}\nfn f() -> String {\n    \"other\".into()\n}\n// EVOLVE-BLOCK-END\n";
    let proposer = RewriteProposer::new(None).unwrap();
    let proposal = proposer.rewrite(&request(1, 1, Language::Rust, parent, &[other], Seen::nothing()));
    assert_eq!(proposal.operator, "crossover");
    assert_eq!(proposal.change.unwrap(), parent.replace("String::new()", "\"other\".into()"));
}

#[test]
fn a_parent_without_markers_changes_as_a_whole() {
    let source = "fn f(a: i32, b: i32) -> i32 {\n    a + b\n}\n";
    let proposal = proposer(0).rewrite(&request(1, 1, Language::Rust, source, &[], Seen::nothing()));
    assert!(proposal.change.as_ref().is_ok_and(|changed| changed != source), "{proposal:?}");
}

#[test]
fn rules_that_make_no_sense_are_refused_with_their_file() {
    for (text, words) in [
        ("id: x\nlanguage: Rust\nrule: { pattern: a }\n", "`fix`"),
        ("language: Rust\nrule: { pattern: a }\nfix: b\n", "`id`"),
        ("id: x\nlanguage: Cobol\nrule: { pattern: a }\nfix: b\n", "`Cobol`"),
        ("id: x\nlanguage: Rust\nrule: { pattern: $A.f() }\nfix: $B\n", "B"),
        ("id: x\nlanguage: Rust\nrule: { patern: a }\nfix: b\n", "patern"),
        ("id: x\nlanguage: Rust\nrule: { pattern: a }\nfix: b\nweight: 3\n", "weight"),
        (
            "id: x\nlanguage: Rust\nrule: { pattern: a }\nfix: b\n---\nid: y\nlanguage: Rust\nrule: { pattern: a }\nfix: b\n",
            "same `id`",
        ),
        (": [", "line"),
        ("", "no rule"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("odd.yml"), text).unwrap();
        let Err(error) = RewriteProposer::new(Some(folder.path())) else { panic!("accepted: {text}") };
        assert!(error.what.contains("odd.yml") && error.what.contains(words), "{text}: {error}");
    }
    assert!(RewriteProposer::new(Some(Path::new("/nonexistent"))).is_err());
}

#[test]
fn a_problems_rule_goes_before_a_built_in_one_of_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = "id: add-swap\nlanguage: Rust\nrule: { pattern: $A.add(&$B) }\nfix: own()\n";
    fs::write(folder.path().join("own.yml"), own).unwrap();
    let neighbours =
        RewriteProposer::new(Some(folder.path())).unwrap().neighbours(&initial(), Language::Rust);
    assert!(neighbours.iter().any(|(name, program)| name == "add-swap" && program.contains("own()")));
}

/// Good, neutral and harmful: whatever one rule makes of the initial kernel must reach the measurements.
#[test]
fn whatever_one_rule_makes_of_an_initial_kernel_compiles() {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("../evaluator/mlx/harness.json");
    let harness = match evaluator::harness::read(Some(&harness)) {
        Ok(harness) => harness,
        Err(error) => return println!("not tested: {error}"),
    };
    let mut neighbours = Vec::new();
    for problem in [problem(), dora_problem()] {
        let proposer = RewriteProposer::new(Some(&problem.join("rules"))).unwrap();
        let initial = fs::read_to_string(problem.join("initial.rs")).unwrap();
        neighbours.extend(proposer.neighbours(&initial, Language::Rust));
    }
    let neighbours = Mutex::new(neighbours);
    let refused = Mutex::new(Vec::new());
    let compile = |name: &str, program: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("candidate.rs"), program).unwrap();
        let output = Command::new(&harness.rustc)
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-Awarnings", "-Funsafe-code"])
            .arg(format!("--extern=kernel_api={}", harness.kernel_api.display()))
            .args(harness.dependencies.iter().map(|folder| format!("-Ldependency={}", folder.display())))
            .args(["-o", "candidate.rmeta", "candidate.rs"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        if !output.status.success() {
            refused.lock().unwrap().push(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(8) {
            scope.spawn(|| {
                loop {
                    let Some((name, program)) = neighbours.lock().unwrap().pop() else { break };
                    compile(&name, &program);
                }
            });
        }
    });
    let refused = refused.into_inner().unwrap();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
