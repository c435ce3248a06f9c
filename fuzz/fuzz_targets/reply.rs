//! A model's reply: whatever it holds, it gives a program with the parent's frame or a reason; and as lessons, a list or a reason.

#![no_main]

use evaluator::block;
use libfuzzer_sys::fuzz_target;
use orchestrator::lessons;
use orchestrator::patch::{self, Form};
use search::{Language, Outcome};

/// Stands between the reply and a parent of the fuzzer's own making.
const NEXT: &str = "\u{1}";

const PARENTS: [&str; 5] = [
    "use kernel_api::*;\n// EVOLVE-BLOCK-START\nfn f() {\n    g();\n    g();\n}\n// EVOLVE-BLOCK-END\nfn g() {}\n",
    "import os\n# EVOLVE-BLOCK-START\nx = 1\nif x:\n\ty = 2\n# EVOLVE-BLOCK-END\nprint(x)\n",
    "# EVOLVE-BLOCK-START\na\n# EVOLVE-BLOCK-END\nmiddle\n# EVOLVE-BLOCK-START\nb\n# EVOLVE-BLOCK-END",
    "<!-- EVOLVE-BLOCK-START -->\n<!-- EVOLVE-BLOCK-END -->\n",
    "// EVOLVE-BLOCK-START\r\nlet é = 1;\r\n\r\n// EVOLVE-BLOCK-END\r\n",
];

fuzz_target!(|data: &[u8]| {
    let Some((&how, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match lessons::read(text, 8) {
        Ok(lessons) => {
            assert!((1..=8).contains(&lessons.len()));
            assert!(lessons.iter().all(|lesson| !lesson.contains('\n') && lesson.chars().count() <= 401));
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
    let (reply, own) = text.split_once(NEXT).map_or((text, None), |(reply, own)| (reply, Some(own)));
    let parent = own.unwrap_or(PARENTS[usize::from(how / 6) % PARENTS.len()]);
    let form = if how % 2 == 0 { Form::Edits } else { Form::FullRewrite };
    let language = [Language::Rust, Language::Python, Language::Other][usize::from(how / 2) % 3];
    match patch::apply(reply, parent, form, language) {
        Ok(program) => {
            assert_ne!(program, parent);
            let ours = block::parse(parent).expect("only a program with blocks can be patched");
            let new = block::parse(&program).expect("a patched program has its blocks");
            assert_eq!(ours.frame, new.frame);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!Outcome::from(error).to_string().is_empty());
        }
    }
});
