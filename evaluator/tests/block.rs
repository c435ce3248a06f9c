//! EVOLVE-BLOCK parsing and splicing.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use evaluator::block::{BlockError, parse};
use proptest::prelude::*;

#[test]
fn markers_are_found_in_comments_of_any_language() {
    for (start, end) in [
        ("// EVOLVE-BLOCK-START", "// EVOLVE-BLOCK-END"),
        ("# EVOLVE-BLOCK-START", "    # EVOLVE-BLOCK-END"),
        ("-- EVOLVE-BLOCK-START: kernel", "-- EVOLVE-BLOCK-END."),
        ("/* EVOLVE-BLOCK-START */", "/* EVOLVE-BLOCK-END */"),
        ("<!-- EVOLVE-BLOCK-START -->", "<!--EVOLVE-BLOCK-END-->"),
        (";; EVOLVE-BLOCK-START", "% EVOLVE-BLOCK-END\r"),
    ] {
        let source = format!("before\n{start}\n  inner\n{end}\nafter");
        let marked = parse(&source).unwrap();
        assert_eq!(marked.blocks.len(), 1, "{start}");
        assert_eq!(marked.blocks[0].content, "  inner\n");
        assert_eq!(marked.blocks[0].first_line, 3);
    }
}

#[test]
fn prose_about_markers_is_no_marker() {
    for line in [
        "//! Edit between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END.",
        "let x = 1; // EVOLVE-BLOCK-START",
        "// EVOLVE-BLOCK-STARTING",
        "// EVOLVE-BLOCK-START-2",
        "// evolve-block-start",
    ] {
        assert_eq!(parse(line), Err(BlockError::None), "{line}");
    }
}

#[test]
fn several_blocks_are_spliced_in_order() {
    let source =
        "a\n# EVOLVE-BLOCK-START\n1\n# EVOLVE-BLOCK-END\nb\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\nc";
    let marked = parse(source).unwrap();
    assert_eq!(marked.blocks.iter().map(|block| block.first_line).collect::<Vec<_>>(), [3, 7]);
    assert_eq!(
        marked.splice(&["x", "y\n"]).unwrap(),
        "a\n# EVOLVE-BLOCK-START\nx\n# EVOLVE-BLOCK-END\nb\n# EVOLVE-BLOCK-START\ny\n# EVOLVE-BLOCK-END\nc"
    );
    assert_eq!(marked.splice(&["x"]), Err(BlockError::Count { given: 1, wanted: 2 }));
}

#[test]
fn wrong_markers_are_errors_with_their_line() {
    let start = "# EVOLVE-BLOCK-START\n";
    let end = "# EVOLVE-BLOCK-END\n";
    assert_eq!(parse("x = 1\n"), Err(BlockError::None));
    assert_eq!(parse(""), Err(BlockError::None));
    assert_eq!(parse(&format!("x\n{start}y\n")), Err(BlockError::MissingEnd { line: 2 }));
    assert_eq!(parse(&format!("x\n{end}y\n")), Err(BlockError::MissingStart { line: 2 }));
    assert_eq!(parse(&format!("{start}{end}\n{end}")), Err(BlockError::MissingStart { line: 4 }));
    assert_eq!(parse(&format!("{start}x\n{start}{end}")), Err(BlockError::Nested { line: 3, outer: 1 }));
    let marked = parse(&format!("{start}{end}")).unwrap();
    assert_eq!(
        marked.splice(&["a\n  // EVOLVE-BLOCK-END\n"]),
        Err(BlockError::MarkerInContent { block: 1, line: 2 })
    );
}

#[test]
fn the_first_difference_of_the_frame_is_found_past_longer_blocks() {
    let program = |inner: &str, tail: &str| {
        parse(&format!("head\n# EVOLVE-BLOCK-START\n{inner}# EVOLVE-BLOCK-END\ntail 1\n{tail}")).unwrap()
    };
    let original = program("x\n", "tail 2\n");
    assert_eq!(original.first_frame_difference(&program("", "tail 2\n")), None);
    assert_eq!(original.first_frame_difference(&program("x\ny\nz\n", "tail 2\n")), None);
    assert_eq!(original.first_frame_difference(&program("x\ny\nz\n", "changed\n")), Some(8));
    assert_eq!(original.first_frame_difference(&program("x\n", "")), Some(6));
    let two =
        parse("head\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n");
    assert!(original.first_frame_difference(&two.unwrap()).is_some());
}

/// Lines that are likely to confuse: markers, half markers, anything.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("# EVOLVE-BLOCK-START".to_owned()),
        Just("// EVOLVE-BLOCK-END".to_owned()),
        Just("EVOLVE-BLOCK".to_owned()),
        "[^\n]{0,20}",
    ]
}

fn plain_line() -> impl Strategy<Value = String> {
    "[^\n]{0,20}".prop_filter("no marker", |line| !line.contains("EVOLVE"))
}

proptest! {
    #[test]
    fn parsing_never_panics_and_splicing_the_same_contents_changes_nothing(
        lines in prop::collection::vec(line(), 0..20), newline: bool,
    ) {
        let mut source = lines.join("\n");
        if newline {
            source.push('\n');
        }
        if let Ok(marked) = parse(&source) {
            let contents: Vec<&str> = marked.blocks.iter().map(|block| block.content.as_str()).collect();
            prop_assert_eq!(marked.splice(&contents).unwrap(), source);
            prop_assert_eq!(marked.first_frame_difference(&marked), None);
        }
    }

    #[test]
    fn what_is_spliced_in_is_what_is_parsed_out(
        head in plain_line(), tail in plain_line(), contents in prop::collection::vec(
            prop::collection::vec(plain_line(), 0..5), 1..4),
    ) {
        let block = "# EVOLVE-BLOCK-START\nold\n# EVOLVE-BLOCK-END\n";
        let source = format!("{head}\n{}{tail}", block.repeat(contents.len()));
        let marked = parse(&source).unwrap();
        let contents: Vec<String> = contents.iter().map(|lines| lines.join("
") + "
").collect();
        let spliced = parse(&marked.splice(&contents).unwrap()).unwrap();
        let found: Vec<String> = spliced.blocks.iter().map(|block| block.content.clone()).collect();
        prop_assert_eq!(found, contents);
        prop_assert_eq!(marked.first_frame_difference(&spliced), None);
    }
}
