//! The source gate: any text gets a verdict, the line in it exists, and a comment more changes nothing.

#![no_main]

use std::sync::LazyLock;

use evaluator::block;
use evaluator::gate::{Gate, Refusal};
use libfuzzer_sys::fuzz_target;
use search::Language;

const INITIAL: &str = "use kernel_api::*;\n// EVOLVE-BLOCK-START\nfn scale() -> f32 { 2.0 }\n// EVOLVE-BLOCK-END\n\
    pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> { Ok(Box::new(PlainLora::new(layer)?)) }\n";

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    Gate::new(INITIAL, Language::Rust, 256 << 10, true).expect("the initial program passes")
});

fn pass(program: &str) -> Result<(), Refusal> {
    let verdict = GATE.pass(program);
    if let Err(refusal) = &verdict {
        assert!(!refusal.reason.is_empty());
        let last = program.split('\n').count();
        assert!(
            refusal.line.is_none_or(|line| (1..=last).contains(&(line as usize))),
            "{refusal:?} of {last} lines"
        );
    }
    verdict
}

fuzz_target!(|text: &str| {
    let _ = pass(text);
    let frame = block::parse(INITIAL).expect("the initial program has a block");
    let Ok(program) = frame.splice(&[text]) else { return };
    let verdict = pass(&program);
    let commented =
        frame.splice(&[format!("// a comment\n{text}\n/* another */\n")]).expect("still no marker");
    let moved = |refusal: Refusal| (refusal.line.map(|line| line + 1), refusal.reason);
    let with_comments = pass(&commented);
    assert_eq!(verdict.is_ok(), with_comments.is_ok(), "{verdict:?} but {with_comments:?} with comments");
    if let (Err(plain), Err(commented)) = (verdict, with_comments) {
        // An error at the very end moves with the end.
        let ends = plain.reason.contains("on its own");
        assert!(ends || moved(plain) == (commented.line, commented.reason));
    }
});
