//! EVOLVE-BLOCKs: taking a program apart and putting it together is the identity, and other contents never change the frame.

#![no_main]

use evaluator::block;
use libfuzzer_sys::fuzz_target;

/// Stands between the program and the new contents in the input.
const NEXT: &str = "\u{1}";

fuzz_target!(|text: &str| {
    let mut pieces = text.split(NEXT);
    let program = pieces.next().unwrap_or_default();
    let contents: Vec<&str> = pieces.collect();
    // The contents themselves are as hostile as the program.
    for other in &contents {
        let _ = block::parse(other);
    }
    let marked = match block::parse(program) {
        Ok(marked) => marked,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(marked.frame.len(), marked.blocks.len() + 1);
    let own: Vec<&str> = marked.blocks.iter().map(|block| block.content.as_str()).collect();
    assert_eq!(marked.splice(&own).as_deref(), Ok(program));
    let lines: Vec<&str> = program.split('\n').collect();
    for block in &marked.blocks {
        let first = block.first_line as usize - 1;
        assert!(lines[first - 1].contains("EVOLVE-BLOCK-START"));
        assert!(lines[first + block.content.matches('\n').count()].contains("EVOLVE-BLOCK-END"));
    }

    let given: Vec<&str> = (0..own.len()).map(|index| contents.get(index).copied().unwrap_or("")).collect();
    let Ok(spliced) = marked.splice(&given) else {
        assert!(given.iter().any(|content| content.contains("EVOLVE-BLOCK")), "only a marker can be refused");
        return;
    };
    let again = block::parse(&spliced).expect("a spliced program has its blocks");
    assert_eq!(again.frame, marked.frame);
    assert_eq!(marked.first_frame_difference(&again), None);
    assert_eq!(again.first_frame_difference(&marked), None);
    for (block, content) in again.blocks.iter().zip(&given) {
        assert_eq!(
            block.content.strip_suffix('\n').unwrap_or(&block.content),
            content.strip_suffix('\n').unwrap_or(content)
        );
    }
    // And another program's frame, if it has one, is told apart by a line that is there.
    if let Some(Ok(other)) = contents.last().map(|text| block::parse(text)) {
        let line = marked.first_frame_difference(&other);
        assert_eq!(line.is_none(), marked.frame == other.frame);
        let last = contents.last().map_or(0, |text| text.split('\n').count());
        assert!(line.is_none_or(|line| (1..=last + 1).contains(&(line as usize))));
    }
});
