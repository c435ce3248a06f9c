//! The source gate: what is refused before any compiler sees it.
//!
//! Defence in depth, not a boundary: safe Rust is none (rust-lang/rust#25860), so whatever passes here still only
//! runs in the trial runner.

mod fence;

use search::{Language, Outcome};

use crate::block::{self, Marked};

/// What a program has to respect.
#[derive(Debug, Clone)]
pub struct Gate {
    frame: Marked,
    language: Language,
    limit: usize,
    is_kernel: bool,
}

/// Why a program is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Line in the program, from 1, where there is one.
    pub line: Option<u32>,
    /// What is not allowed, and what to do instead.
    pub reason: String,
}

impl Refusal {
    fn at(line: u32, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: reason.into() }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Gate { line: refusal.line, reason: refusal.reason }
    }
}

impl Gate {
    /// A gate for programs that descend from `initial`, which itself must pass. `limit` is in bytes. Kernels
    /// additionally have to stay within what a kernel may use of Rust.
    pub fn new(initial: &str, language: Language, limit: usize, is_kernel: bool) -> Result<Self, Refusal> {
        let frame = parse(initial)?;
        let gate = Self { frame, language, limit, is_kernel };
        gate.pass(initial)?;
        Ok(gate)
    }

    /// Whether a program may be evaluated.
    pub fn pass(&self, program: &str) -> Result<(), Refusal> {
        if program.len() > self.limit {
            let reason =
                format!("the program has {} bytes, at most {} are allowed", program.len(), self.limit);
            return Err(Refusal { line: None, reason });
        }
        if let Some(line) = (1_u32..).zip(program.lines()).find(|(_, text)| text.contains('\0')) {
            return Err(Refusal::at(line.0, "a NUL character"));
        }
        let program_parts = parse(program)?;
        if let Some(line) = self.frame.first_frame_difference(&program_parts) {
            let reason = "only the code within an EVOLVE-BLOCK may change; leave the rest as it is";
            return Err(Refusal::at(line, reason));
        }
        if self.is_kernel && self.language == Language::Rust {
            for block in &program_parts.blocks {
                fence::stands_alone(block)?;
            }
            fence::check(program)?;
        }
        Ok(())
    }
}

fn parse(program: &str) -> Result<Marked, Refusal> {
    // The line is part of the message already.
    block::parse(program).map_err(|error| Refusal { line: None, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: &str = "use kernel_api::Layer;\n\
        // EVOLVE-BLOCK-START\nfn scale() -> f32 { 2.0 }\n// EVOLVE-BLOCK-END\n\
        pub fn build(layer: &Layer) -> f32 { scale() }\n";

    fn verdict_on(block: &str) -> Result<(), Refusal> {
        let gate = Gate::new(INITIAL, Language::Rust, 10_000, true).unwrap();
        gate.pass(&block::parse(INITIAL).unwrap().splice(&[block]).unwrap())
    }

    #[test]
    fn honest_blocks_pass() {
        for block in [
            "fn scale() -> f32 { 3.0 }",
            "/// Twice.\n#[inline]\nfn scale() -> f32 { f32::sqrt(4.0) }",
            "use std::collections::HashMap;\nfn scale() -> f32 { HashMap::<u8, u8>::new().len() as f32 }",
            "use std::{cell::Cell, rc::Rc};\nfn scale() -> f32 { 1.0 }",
            "fn scale() -> f32 { let text = \"unsafe { std::fs::read }\"; text.len() as f32 } // extern asm!",
            "fn scale<'a>() -> f32 { 'a: loop { break 'a } 'x' as u8 as f32 }",
            "mod inner { pub fn env() {} }\nfn scale() -> f32 { let process = 1.0; process }",
            "",
        ] {
            assert_eq!(verdict_on(block), Ok(()), "{block}");
        }
    }

    #[test]
    fn forbidden_things_are_refused_with_their_line() {
        for (block, line, words) in [
            ("fn scale() -> f32 {\n unsafe { 1.0 } }", 4, "`unsafe`"),
            ("extern \"C\" { fn getpid() -> i32; }", 3, "`extern`"),
            ("\n\nfn f() { let a = include_str!(\"/etc/passwd\"); }", 5, "`include_str`"),
            ("fn f() { env!(\"HOME\"); }", 3, "`env!`"),
            ("fn f() { option_env ! (\"HOME\"); }", 3, "`option_env!`"),
            ("fn f() { core::arch::asm!(\"nop\"); }", 3, "`core::arch`"),
            ("fn f() { asm!(\"nop\"); }", 3, "`asm`"),
            ("fn f() { std::fs::read(\"x\"); }", 3, "`std::fs`"),
            ("fn f() {\n std :: /* */ process :: exit(0); }", 4, "`std::process`"),
            ("use std::{fmt, net::TcpStream};", 3, "`std::net`"),
            ("use std::{self as s};", 3, "`std::self`"),
            ("use std::*;", 3, "`std`"),
            ("use std as s;", 3, "`std`"),
            ("fn f() { vec![std::env::var(\"KEY\")]; }", 3, "`std::env`"),
            ("#[no_mangle]\nfn f() {}", 3, "`no_mangle`"),
            ("#[unsafe(no_mangle)]\nfn f() {}", 3, "`unsafe`"),
            ("#[path = \"/etc/passwd\"]\nmod x {}", 3, "`path`"),
            ("#[cfg_attr(all(), link(name = \"x\"))]\nfn f() {}", 3, "`cfg_attr`"),
            ("#[link(name = \"c\")]\nfn f() {}", 3, "`link`"),
            ("mod other;", 3, "`mod other;`"),
            ("fn r#fn() {}", 3, "raw identifier"),
            ("macro_rules! m { () => {} }", 3, "`macro_rules`"),
            ("fn f() { let x = 'a; }\n/*", 4, "on its own"),
            ("}\nfn g() {", 3, "on its own"),
            ("fn f() { \"open", 3, "on its own"),
        ] {
            let refusal = verdict_on(block).expect_err(block);
            assert!(refusal.reason.contains(words), "{block}: {refusal}");
            assert_eq!(refusal.line, Some(line), "{block}: {refusal}");
        }
    }

    #[test]
    fn deep_nesting_that_would_crash_the_compiler_is_refused() {
        let block = format!("fn f() {{ {}1{} }}", "(".repeat(2_000), ")".repeat(2_000));
        assert!(verdict_on(&block).unwrap_err().reason.contains("deep"));
    }

    #[test]
    fn a_change_outside_the_block_is_refused_at_its_line() {
        let gate = Gate::new(INITIAL, Language::Rust, 10_000, true).unwrap();
        let refusal = gate.pass(&INITIAL.replace("scale() }", "1.0 }")).unwrap_err();
        assert_eq!(refusal.line, Some(5));
        assert!(refusal.reason.contains("EVOLVE-BLOCK"));
        let longer = INITIAL.replace("{ 2.0 }", "{\n 2.0\n }").replace("scale() }", "1.0 }");
        assert_eq!(gate.pass(&longer).unwrap_err().line, Some(7));
    }

    #[test]
    fn missing_markers_size_and_nul_are_refused() {
        let gate = Gate::new(INITIAL, Language::Rust, INITIAL.len() + 5, true).unwrap();
        assert!(gate.pass("fn f() {}").unwrap_err().reason.contains("no EVOLVE-BLOCK"));
        let long = INITIAL.replace("2.0", "2.000000000000");
        assert!(gate.pass(&long).unwrap_err().reason.contains("bytes"));
        assert_eq!(gate.pass(&INITIAL.replace("2.0", "\0")).unwrap_err().line, Some(3));
    }

    #[test]
    fn other_languages_are_only_held_to_their_blocks() {
        let initial = "import os\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\n";
        let gate = Gate::new(initial, Language::Python, 1_000, false).unwrap();
        assert_eq!(gate.pass(&initial.replace("x = 1", "x = '''unsafe")), Ok(()));
        assert!(gate.pass(&initial.replace("import os", "import sys")).is_err());
    }
}
