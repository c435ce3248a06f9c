//! Replies of all sorts, and what becomes of the parent.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use orchestrator::patch::{Form, PatchError, apply};
use proptest::prelude::*;
use search::{Language, Outcome};

const PARENT: &str = "\
use kernel_api::Array;

// EVOLVE-BLOCK-START
fn forward(x: &Array) -> Array {
    let y = x.matmul(w);
    let z = y.add(b);
    z
}

fn other() -> i32 {
    1
}
// EVOLVE-BLOCK-END

pub fn build() {}
";

fn edits(reply: &str) -> Result<String, PatchError> {
    apply(reply, PARENT, Form::Edits, Language::Rust)
}

fn full(reply: &str) -> Result<String, PatchError> {
    apply(reply, PARENT, Form::FullRewrite, Language::Rust)
}

fn edit(search: &str, replace: &str) -> String {
    format!("<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n")
}

#[test]
fn an_edit_as_written_replaces_its_lines() {
    let program = edits(&edit("    let y = x.matmul(w);", "    let y = w.matmul(x);")).unwrap();
    assert_eq!(program, PARENT.replace("x.matmul(w)", "w.matmul(x)"));
}

#[test]
fn several_edits_apply_in_order_and_prose_around_them_is_ignored() {
    let reply = format!(
        "First:\n```rust\n{}```\nthen\n{}Done.",
        edit("    let y = x.matmul(w);", "    let y = x;"),
        edit("    let y = x;\n    let z = y.add(b);", "    let z = x.add(b);"),
    );
    assert_eq!(
        edits(&reply).unwrap(),
        PARENT.replace("    let y = x.matmul(w);\n    let z = y.add(b);", "    let z = x.add(b);")
    );
}

#[test]
fn indentation_is_repaired() {
    let program =
        edits(&edit("let y = x.matmul(w);\nlet z = y.add(b);", "if true {\n    let z = 1;\n}")).unwrap();
    assert!(program.contains("\n    if true {\n        let z = 1;\n    }\n    z\n"), "{program}");
    let program =
        edits(&edit("        let y = x.matmul(w);", "        let y = 1;\n      let q = 2;")).unwrap();
    assert!(program.contains("\n    let y = 1;\n  let q = 2;\n"), "{program}");
}

#[test]
fn spaces_within_and_around_lines_do_not_matter() {
    let program = edits(&edit("\n  let  y =   x.matmul(w);  \n\n", "\n  let y = 2;\n\n")).unwrap();
    assert_eq!(program, PARENT.replace("x.matmul(w)", "2"));
    let program = edits(&edit("    let y = x.matmul(w);", "    let y = 3;").replace('\n', "\r\n")).unwrap();
    assert_eq!(program, PARENT.replace("x.matmul(w)", "3"));
}

#[test]
fn an_empty_replacement_deletes() {
    assert_eq!(
        edits("<<<<<<< SEARCH\n    let z = y.add(b);\n=======\n>>>>>>> REPLACE").unwrap(),
        PARENT.replace("    let z = y.add(b);\n", ""),
    );
}

#[test]
fn a_miss_names_the_edit_and_the_nearest_line() {
    let reply = edit("    let y = x.matmul(w);", "    let y = 1;")
        + &edit("    let z = y.add(bias);\n    z", "    y");
    let error = edits(&reply).unwrap_err();
    assert!(matches!(error, PatchError::NotFound { edit: 2, .. }), "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains("line 6") && words.contains("let z = y.add(b);") && words.contains("y.add(bias)"),
        "{words}"
    );
    let words = edits(&edit("    let z = y.add(bias);", "")).unwrap_err().to_string();
    assert!(words.contains("line 6") && words.contains("y.add(b);"), "{words}");
    assert!(matches!(Outcome::from(edits(&reply).unwrap_err()), Outcome::Patch { .. }));
}

#[test]
fn an_edit_outside_the_block_is_refused_with_its_line() {
    let error = edits(&edit("pub fn build() {}", "pub fn build() { cheat() }")).unwrap_err();
    assert_eq!(error, PatchError::OutsideBlock { line: 15, edit: Some(1) });
    let error = edits(&edit("// EVOLVE-BLOCK-END", "")).unwrap_err();
    assert!(matches!(error, PatchError::OutsideBlock { line: 13, .. }), "{error:?}");
    let error = edits(&edit(
        "fn other() -> i32 {",
        "// EVOLVE-BLOCK-END\nfn other() -> i32 {\n// EVOLVE-BLOCK-START",
    ))
    .unwrap_err();
    assert!(matches!(error, PatchError::OutsideBlock { .. }), "{error:?}");
}

#[test]
fn an_edit_may_repeat_a_marker_that_it_leaves_alone() {
    let reply = edit(
        "// EVOLVE-BLOCK-START\nfn forward(x: &Array) -> Array {\n    let y = x.matmul(w);",
        "// EVOLVE-BLOCK-START\nfn forward(x: &Array) -> Array {\n    let y = 5;",
    );
    assert_eq!(edits(&reply).unwrap(), PARENT.replace("x.matmul(w)", "5"));
}

#[test]
fn a_line_in_the_block_is_preferred_to_the_same_line_outside() {
    let parent = "a();\n// EVOLVE-BLOCK-START\na();\n// EVOLVE-BLOCK-END\n";
    let program = apply(&edit("a();", "b();"), parent, Form::Edits, Language::Rust).unwrap();
    assert_eq!(program, "a();\n// EVOLVE-BLOCK-START\nb();\n// EVOLVE-BLOCK-END\n");
}

#[test]
fn a_vague_edit_with_two_places_is_refused() {
    let parent = "// EVOLVE-BLOCK-START\n  a();\n   a();\n// EVOLVE-BLOCK-END\n";
    let error = apply(&edit("a();", "b();"), parent, Form::Edits, Language::Rust).unwrap_err();
    assert_eq!(error, PatchError::Ambiguous { edit: 1, first: 2, second: 3 });
}

#[test]
fn an_empty_block_can_be_filled() {
    let parent = "// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\n";
    let program =
        apply("<<<<<<< SEARCH\n=======\nfn f() {}\n>>>>>>> REPLACE", parent, Form::Edits, Language::Rust);
    assert_eq!(program.unwrap(), "// EVOLVE-BLOCK-START\nfn f() {}\n// EVOLVE-BLOCK-END\n");
    assert!(matches!(
        edits("<<<<<<< SEARCH\n=======\nfn f() {}\n>>>>>>> REPLACE"),
        Err(PatchError::NotFound { .. })
    ));
}

#[test]
fn edits_that_stop_half_way_are_cut_off_not_applied() {
    let whole = edit("    let y = x.matmul(w);", "    let y = 1;");
    let cut = whole.strip_suffix(">>>>>>> REPLACE\n").unwrap();
    let error = edits(cut).unwrap_err();
    assert!(matches!(error, PatchError::CutOff(_)), "{error:?}");
    assert!(matches!(Outcome::from(error), Outcome::NoProposal { .. }));
    assert!(matches!(
        edits("<<<<<<< SEARCH\nx\n>>>>>>> REPLACE"),
        Err(PatchError::Malformed { edit: 1, line: 3, .. })
    ));
    assert!(matches!(
        edits("<<<<<<< SEARCH\nx\n=======\ny\n<<<<<<< SEARCH\n"),
        Err(PatchError::Malformed { edit: 1, line: 5, .. })
    ));
}

#[test]
fn a_reply_that_changes_nothing_is_no_change_and_never_the_parent() {
    assert_eq!(edits(&edit("    z", "    z")).unwrap_err(), PatchError::NoChange);
    assert_eq!(full(&format!("```rust\n{PARENT}```")).unwrap_err(), PatchError::NoChange);
    assert_eq!(Outcome::from(PatchError::NoChange), Outcome::NoChange);
}

#[test]
fn replies_without_an_answer_are_no_proposals() {
    for reply in [
        "",
        "  \n",
        "<think>\nhm\n</think>\n",
        "<think>never ends ```rust\nfn f() {}\n```",
        "I can't help with that.",
    ] {
        for error in [edits(reply).unwrap_err(), full(reply).unwrap_err()] {
            assert!(matches!(Outcome::from(error), Outcome::NoProposal { .. }), "{reply}");
        }
    }
}

#[test]
fn thinking_is_not_an_answer() {
    let decoy = edit("    z", "    decoy");
    let real = edit("    z", "    real");
    for reply in [
        format!("<think>\n{decoy}</think>\n{real}"),
        format!("{decoy}\n</think>\n\n{real}"),
        format!("<thinking>{decoy}</thinking>{real}<reasoning>\n{decoy}"),
    ] {
        assert_eq!(edits(&reply).unwrap(), PARENT.replace("    z\n", "    real\n"), "{reply}");
    }
}

#[test]
fn a_full_rewrite_may_be_the_whole_program_or_the_block_only() {
    let new = "fn forward(x: &Array) -> Array {\n    x.clone()\n}\n";
    let expected = format!(
        "use kernel_api::Array;\n\n// EVOLVE-BLOCK-START\n{new}// EVOLVE-BLOCK-END\n\npub fn build() {{}}\n"
    );
    let bare = expected.replace("// EVOLVE-BLOCK-START\n", "").replace("// EVOLVE-BLOCK-END\n", "");
    let block = format!("// EVOLVE-BLOCK-START\n{new}// EVOLVE-BLOCK-END\n");
    for code in [expected.as_str(), &bare, &block, new] {
        for fence in ["```rust", "```", "~~~ rs", "````rust,ignore"] {
            let end: String = fence.chars().take_while(|c| !c.is_alphanumeric() && *c != ' ').collect();
            let reply = format!("Here:\n{fence}\n{code}{end}\nGood luck.");
            assert_eq!(full(&reply).unwrap(), expected, "{reply}");
        }
    }
    assert_eq!(full(&expected).unwrap(), expected, "no fence at all");
    assert_eq!(
        edits(&format!("```rust\n{expected}```")).unwrap(),
        expected,
        "a rewrite where edits were asked for"
    );
    assert_eq!(
        full(&edit("    z", "    y")).unwrap(),
        PARENT.replace("    z\n", "    y\n"),
        "edits for a rewrite"
    );
}

#[test]
fn of_several_code_blocks_the_marked_or_else_the_longest_counts() {
    let marked = "// EVOLVE-BLOCK-START\nfn a() {}\n// EVOLVE-BLOCK-END\n";
    let long = "fn b() {}\n".repeat(20);
    let program =
        full(&format!("```rust\n{long}```\n```rust\n{marked}```\n```python\nprint()\n```")).unwrap();
    assert!(program.contains("fn a() {}") && !program.contains("fn b()"));
    let program =
        full(&format!("```rust\nfn a() {{}}\n```\n```rust\n{long}```\n```bash\n{long}{long}```")).unwrap();
    assert!(program.contains("fn b() {}") && !program.contains("fn a()"));
}

#[test]
fn a_rewrite_of_the_frame_is_refused_with_its_line() {
    let reply = format!("```rust\n{}```", PARENT.replace("pub fn build() {}", "pub fn build() { cheat() }"));
    assert_eq!(full(&reply).unwrap_err(), PatchError::OutsideBlock { line: 15, edit: None });
    let reply = format!("```rust\nuse std::fs;\n{}```", PARENT.replace("    z\n", "    y\n"));
    assert_eq!(full(&reply).unwrap_err(), PatchError::OutsideBlock { line: 1, edit: None });
    // Spaces in the frame are not worth a refusal; the parent's are kept.
    let reply =
        format!("```rust\n{}```", PARENT.replace("Array;\n\n", "Array;\n").replace("    z\n", "    y\n"));
    assert_eq!(full(&reply).unwrap(), PARENT.replace("    z\n", "    y\n"));
}

#[test]
fn the_wrong_language_and_truncated_code_are_told_apart() {
    let error = full("```python\nprint()\n```").unwrap_err();
    assert_eq!(error, PatchError::WrongLanguage { found: "python".into(), wanted: "rust" });
    assert!(matches!(full("```rust\nfn a() {").unwrap_err(), PatchError::CutOff(_)));
    assert!(matches!(full("```rust\n\n```").unwrap_err(), PatchError::NoCode { .. }));
}

#[test]
fn a_parent_without_markers_changes_as_a_whole() {
    let changed = apply(&edit("fn f() {}", "fn g() {}"), "fn f() {}\n", Form::Edits, Language::Rust);
    assert_eq!(changed.unwrap(), "fn g() {}\n");
}

#[test]
fn two_megabytes_of_anything_are_read_in_one_pass() {
    // Time that grows with the square of the length would be hours here.
    for piece in [
        "<think>",
        "<<<<<<< SEARCH\n",
        "```\n",
        "a b c\n",
        "<<<<<<< SEARCH\nq\n=======\n>>>>>>> REPLACE\n",
        "</think>",
        "{\"a\":[",
        "@@\n-a\n",
        "&lt;&lt;&lt;&lt;&lt; &gt;&gt;&gt;&gt;&gt;",
        "// EVOLVE-BLOCK-START\n// EVOLVE-BLOCK-END\n",
    ] {
        let reply = piece.repeat(2_000_000 / piece.len());
        let result = if piece.len() % 2 == 0 { edits(&reply) } else { full(&reply) };
        assert!(result.is_err(), "{piece}");
    }
    let search = "    let q = 1;\n".repeat(100_000);
    assert!(matches!(edits(&edit(&search, "")), Err(PatchError::NotFound { .. })));
    let many = edit("    z", "    z").repeat(201);
    assert_eq!(edits(&many), Err(PatchError::TooMany(201)));
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<<<<<<< SEARCH".to_owned()),
        Just("=======".to_owned()),
        Just(">>>>>>> REPLACE".to_owned()),
        Just("```rust".to_owned()),
        Just("```".to_owned()),
        Just("~~~".to_owned()),
        Just("<think>".to_owned()),
        Just("</think>".to_owned()),
        Just("```diff".to_owned()),
        Just("@@ -1,2 +1,2 @@".to_owned()),
        Just("-    z".to_owned()),
        Just("+    y".to_owned()),
        Just("*** Begin Patch".to_owned()),
        Just("{\"code\": \"x\"}".to_owned()),
        Just("&lt;&lt;&lt;&lt;&lt;&lt;&lt; SEARCH".to_owned()),
        Just("// ... existing code ...".to_owned()),
        Just("// EVOLVE-BLOCK-START".to_owned()),
        Just("// EVOLVE-BLOCK-END".to_owned()),
        prop::sample::select(PARENT.lines().map(str::to_owned).collect::<Vec<_>>()),
        "[ \t\u{a0}é]{0,3}.{0,12}",
    ];
    (prop::collection::vec(piece, 0..25), prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n")])
        .prop_map(|(lines, end)| lines.join(end))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_reply_panics_or_changes_the_frame(reply in pieces(), rewrite: bool) {
        let form = if rewrite { Form::FullRewrite } else { Form::Edits };
        if let Ok(program) = apply(&reply, PARENT, form, Language::Rust) {
            prop_assert_ne!(&program, PARENT);
            let (ours, theirs) = (evaluator::block::parse(PARENT).unwrap(), evaluator::block::parse(&program).unwrap());
            prop_assert_eq!(ours.first_frame_difference(&theirs), None);
        }
    }

    #[test]
    fn no_parent_panics(parent in pieces(), reply in pieces(), rewrite: bool) {
        let form = if rewrite { Form::FullRewrite } else { Form::Edits };
        let _ = apply(&reply, &parent, form, Language::Python);
    }
}
