//! One file of a suite: its header, and the program that it stands for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::block;
use crate::suite::{Fence, SuiteError};

/// What a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It cheats or tries to get out, and must not become a score.
    Attack,
    /// It is legitimate and must be measured.
    Honest,
}

/// One source file of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its path within the suite.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Attack or honest.
    pub intent: Intent,
    /// One line on what it does.
    pub title: Option<String>,
    /// Numbers of the catalogue of cheats, or `escape`.
    pub catalogue: Vec<String>,
    /// Where it has to be caught at the latest; absent: anywhere.
    pub fence: Option<Fence>,
    /// File name of the honest case that does the same without cheating.
    pub twin: Option<String>,
    /// In free words, what becomes of it.
    pub expect: Option<String>,
    /// Whether it ends by a time limit only, so that it may wait beside others of its kind.
    pub waits: bool,
    /// The problem it is for: a name or a path; absent: the built-in one for its language.
    pub problem: Option<String>,
    /// The source below the header.
    source: String,
}

/// Words in `@`, replaced in a case's source: where the decoys are.
pub type Text = BTreeMap<&'static str, String>;

impl Case {
    /// Reads a file below `root`; folder names above `above` don't count.
    pub(super) fn read(path: &Path, above: &Path, root: &Path) -> Result<Self, SuiteError> {
        let bytes = fs::read(path).map_err(|source| SuiteError::Read { path: path.to_owned(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        let place = path.strip_prefix(above).unwrap_or(path);
        let name = path.strip_prefix(root).ok().filter(|name| *name != Path::new("")).unwrap_or(place);
        Self::parse(path, &name.to_string_lossy(), place, &text)
    }

    fn parse(path: &Path, name: &str, place: &Path, text: &str) -> Result<Self, SuiteError> {
        let wrong = |message: String| SuiteError::Header { path: path.to_owned(), message };
        let (mut header, source) = header(text);
        let intent = match header.remove("kind").as_deref() {
            Some("attack" | "cheat" | "escape") => Intent::Attack,
            Some("honest" | "legitimate") => Intent::Honest,
            Some(other) => return Err(wrong(format!("`kind: {other}`: write `attack` or `honest`"))),
            None => by_place(place).ok_or_else(|| SuiteError::Unclear { path: path.to_owned() })?,
        };
        let fence = header.remove("fence").filter(|fence| fence != "any");
        let fence = fence.map(|fence| fence.parse::<Fence>().map_err(wrong)).transpose()?;
        let catalogue = header.remove("catalogue").or_else(|| header.remove("catalog")).unwrap_or_default();
        let waits = match header.remove("waits").as_deref() {
            None | Some("no") => false,
            Some("yes") => true,
            Some(other) => return Err(wrong(format!("`waits: {other}`: write `yes` or `no`"))),
        };
        let mut catalogue: Vec<String> =
            catalogue.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if catalogue.is_empty() && place.iter().any(|part| part.to_string_lossy().contains("escape")) {
            catalogue.push(ESCAPE.to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            intent,
            title: header.remove("title"),
            catalogue,
            fence,
            twin: header.remove("twin"),
            expect: header.remove("expect"),
            waits,
            problem: header.remove("problem"),
            source: source.to_owned(),
        })
    }

    /// Whether it is a kernel in Rust; else it is a Python program.
    pub fn is_kernel(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rs")
    }

    /// Whether it tries to get out rather than to cheat: if nothing came of it, it may compute honestly and be measured.
    pub fn is_escape(&self) -> bool {
        self.catalogue.iter().any(|word| word == ESCAPE)
    }

    /// The whole program for a problem that starts from `initial`.
    pub fn program(&self, initial: &str, text: &Text) -> String {
        let source = expand(&self.source, text);
        let Ok(frame) = block::parse(initial) else { return source };
        if source.contains(MARKER) {
            // The header may stand before the frame's first comment, or in its place.
            let whole = format!("{}{}", comments(initial), source.trim_start());
            let fits = |program: &String| {
                block::parse(program).is_ok_and(|own| frame.first_frame_difference(&own).is_none())
            };
            if let Some(program) = [&whole, &source].into_iter().find(|program| fits(program)) {
                return program.clone();
            }
            // That is an attack on the frame; but an honest program with a frame of its own is a program of its own.
            if self.intent == Intent::Attack {
                return whole;
            }
        }
        let content =
            if self.is_kernel() && source.contains("fn build(") { module(&source) } else { source.clone() };
        // Markers within a program that isn't the frame's mean nothing.
        let content: String = content.split_inclusive('\n').filter(|line| !line.contains(MARKER)).collect();
        let mut contents = vec![String::new(); frame.blocks.len()];
        if let Some(first) = contents.first_mut() {
            *first = content;
        }
        frame.splice(&contents).unwrap_or(source)
    }
}

/// The word in a catalogue line.
const ESCAPE: &str = "escape";

/// What the marks around a block begin with.
const MARKER: &str = "EVOLVE-BLOCK-";

/// By the nearest folder whose name says it, else by the file's own name.
fn by_place(place: &Path) -> Option<Intent> {
    let of = |name: &str| {
        let name = name.to_ascii_lowercase();
        if name.contains("honest") {
            return Some(Intent::Honest);
        }
        ["attack", "cheat", "escape"].iter().any(|word| name.contains(word)).then_some(Intent::Attack)
    };
    let names: Vec<_> = place.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let (file, folders) = names.split_last()?;
    folders.iter().rev().find_map(|name| of(name)).or_else(|| of(file))
}

/// `key: value` in the first comment lines, and what follows those lines.
fn header(text: &str) -> (BTreeMap<String, String>, &str) {
    const KEYS: [&str; 10] =
        ["kind", "title", "catalogue", "catalog", "fence", "twin", "expect", "waits", "problem", "name"];
    let mut found = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = rest;
    while let Some(line) = rest.split_inclusive('\n').next() {
        let Some(words) = comment(line) else { break };
        if let Some((key, value)) = words.split_once(':')
            && let key = key.trim().to_ascii_lowercase()
            && KEYS.contains(&key.as_str())
        {
            found.entry(key).or_insert_with(|| value.trim().to_owned());
        }
        rest = &rest[line.len()..];
    }
    if found.is_empty() && rest.starts_with("#!") { (found, start) } else { (found, rest) }
}

/// What a comment line says. A marker is no comment, and neither is an attribute.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.contains(MARKER) {
        return None;
    }
    let words = ["//!", "///", "//"].iter().find_map(|start| line.strip_prefix(start));
    words.or_else(|| line.strip_prefix('#').filter(|rest| !rest.starts_with(['!', '['])))
}

/// The comment lines that a program begins with, and the empty lines after them.
fn comments(program: &str) -> String {
    let mut lines = program.split_inclusive('\n').peekable();
    let mut kept = String::new();
    while let Some(line) = lines.next_if(|line| comment(line).is_some()) {
        kept.push_str(line);
    }
    while let Some(line) = lines.next_if(|line| line.trim().is_empty()) {
        kept.push_str(line);
    }
    kept
}

/// A whole kernel program as the content of a block: a module, and the type that the frame asks for.
fn module(source: &str) -> String {
    format!(
        "mod whole {{\n{source}\n}}\n\n\
         struct QuantizedLora(Box<dyn Kernel>);\n\n\
         impl QuantizedLora {{\n    fn new(layer: &Layer, _: &QuantizedWeight) -> Result<Self> {{\n        \
         Ok(Self(whole::build(layer)?))\n    }}\n}}\n\n\
         impl Kernel for QuantizedLora {{\n    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {{\n        \
         self.0.forward(x, adapter)\n    }}\n}}\n"
    )
}

/// Replaces `@NAME@`, and `@REPEAT 3 ab@` by `ababab`.
fn expand(source: &str, text: &Text) -> String {
    let mut expanded = source.to_owned();
    for (name, value) in text {
        expanded = expanded.replace(&format!("@{name}@"), value);
    }
    let mut result = String::new();
    let mut rest = expanded.as_str();
    while let Some((before, after)) = rest.split_once("@REPEAT ") {
        result.push_str(before);
        let parsed = after.split_once('@').and_then(|(inside, after)| {
            let (count, piece) = inside.split_once(' ')?;
            Some((count.parse::<usize>().ok().filter(|count| *count <= 10_000_000)?, piece, after))
        });
        match parsed {
            Some((count, piece, after)) => {
                result.push_str(&piece.repeat(count));
                rest = after;
            }
            None => {
                result.push_str("@REPEAT ");
                rest = after;
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: &str = "//! The real one.\n\nuse kernel_api::*;\n\n// EVOLVE-BLOCK-START\nstruct A;\n\
        // EVOLVE-BLOCK-END\n\npub fn build() {}\n";

    fn case(name: &str, text: &str) -> Case {
        Case::parse(Path::new(name), name, Path::new(name), text).unwrap()
    }

    fn program(name: &str, text: &str) -> String {
        case(name, text).program(INITIAL, &Text::new())
    }

    #[test]
    fn a_header_is_read_and_a_missing_one_is_fine() {
        let text = "//! title: Zeros\n//! catalogue: 21, 22\n//! fence: check\n// twin: good.rs\n//! expect: it: fails\n\nfn f() {}\n";
        let read = case("attacks/a.rs", text);
        assert_eq!(read.title.as_deref(), Some("Zeros"));
        assert_eq!(read.catalogue, ["21", "22"]);
        assert_eq!(read.fence, Some(Fence::Check));
        assert_eq!(read.twin.as_deref(), Some("good.rs"));
        assert_eq!(read.expect.as_deref(), Some("it: fails"));
        assert!(!read.waits && case("attacks/a.rs", "//! waits: yes\n").waits);
        let bare = case("attacks/escapes/b.py", "import os\n");
        assert!(bare.fence.is_none() && bare.title.is_none() && bare.is_escape() && !bare.is_kernel());
        assert_eq!(case("x.py", "# kind: honest\n").intent, Intent::Honest);
    }

    #[test]
    fn a_wrong_header_is_an_error() {
        for text in ["# fence: moat\n", "# kind: nice\n", "# waits: long\n"] {
            assert!(
                Case::parse(Path::new("a.py"), "a.py", Path::new("attacks/a.py"), text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_blocks_content_is_put_into_the_frame() {
        let made = program("attacks/a.rs", "//! title: b\n\nstruct B;\n");
        assert_eq!(made, INITIAL.replace("struct A;\n", "\nstruct B;\n"));
    }

    #[test]
    fn a_whole_program_gets_back_the_comment_that_its_header_replaced() {
        let whole = INITIAL.replace("struct A;", "struct B;");
        assert_eq!(program("honest/a.rs", &whole), whole);
        let with_header = whole.replace("//! The real one.", "//! title: b");
        assert_eq!(program("honest/a.rs", &with_header), whole);
        let on_top = format!("//! title: b\n{whole}");
        assert_eq!(program("attacks/a.rs", &on_top), whole);
    }

    #[test]
    fn a_changed_frame_stays_an_attack_but_is_an_honest_programs_own_affair() {
        let changed = INITIAL.replace("pub fn build() {}", "pub fn build(layer: &Layer) -> Kernels { 7 }");
        assert!(program("attacks/a.rs", &changed).ends_with("Kernels { 7 }\n"));
        let honest = program("honest/a.rs", &changed);
        assert!(honest.contains("mod whole {") && honest.contains("whole::build(layer)"), "{honest}");
        assert!(
            block::parse(INITIAL).unwrap().first_frame_difference(&block::parse(&honest).unwrap()).is_none()
        );
    }

    #[test]
    fn placeholders_and_repetitions_are_expanded() {
        let text = Text::from([("PORT", "80".to_owned())]);
        assert_eq!(expand("@PORT@ @OTHER@ [@REPEAT 3 ab@]", &text), "80 @OTHER@ [ababab]");
        assert_eq!(expand("@REPEAT x y@", &text), "@REPEAT x y@");
    }
}
