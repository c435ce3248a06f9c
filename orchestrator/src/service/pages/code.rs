//! Sources with their syntax in colours, and differences between two.

use std::ops::Range;

use ast_grep_core::tree_sitter::StrDoc;
use ast_grep_core::{AstGrep, Node};
use ast_grep_language::{LanguageExt as _, SupportLang};
use maud::{Markup, html};
use search::Language;
use similar::{Algorithm, ChangeTag, TextDiff};

use super::format::visible;

/// Longer sources are shown without colours.
const COLOURED: usize = 200_000;
/// Lines that are shown of one source, or of one difference.
const LINES: usize = 6_000;
/// How long two sources are compared for the smallest difference; then for a larger one.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(80);

type Syntax<'t> = Node<'t, StrDoc<SupportLang>>;

/// A piece of a source and its class: `k`eyword, `s`tring, `n`umber, `c`omment, `f`unction, `t`ype.
type Piece = (Range<usize>, &'static str);

/// A source with numbered lines; those between the EVOLVE-BLOCK's markers have a bar.
pub(crate) fn source(text: &str, language: Language, name: &str) -> Markup {
    let pieces = coloured(text, language);
    let lines = lines(text, &pieces);
    let cut = lines.len().saturating_sub(LINES);
    html! {
        pre class="code" tabindex="0" role="region" aria-label=(name) {
            @for (line, is_inside) in with_block(lines).into_iter().take(LINES) {
                span class=(if is_inside { "l in" } else { "l" }) {
                    @for (text, class) in &line.0 {
                        @if class.is_empty() { (visible(text)) } @else { span class=(class) { (visible(text)) } }
                    }
                    "\n"
                }
            }
        }
        @if cut > 0 { p class="soft" { (cut) " more lines aren't shown." } }
    }
}

/// Whether each line lies between the EVOLVE-BLOCK's markers.
fn with_block(lines: Vec<Line<'_>>) -> Vec<(Line<'_>, bool)> {
    let mut inside = false;
    let mut result: Vec<_> = lines.into_iter().map(|line| (line, false)).collect();
    for (line, is_inside) in &mut result {
        let is_end = line.is_marker("EVOLVE-BLOCK-END");
        *is_inside = inside && !is_end;
        inside = (inside || line.is_marker("EVOLVE-BLOCK-START")) && !is_end;
    }
    result
}

/// One line: texts with their classes.
struct Line<'t>(Vec<(&'t str, &'static str)>);

impl Line<'_> {
    fn is_marker(&self, marker: &str) -> bool {
        self.0.iter().any(|(text, _)| text.contains(marker))
    }
}

fn lines<'t>(text: &'t str, pieces: &[Piece]) -> Vec<Line<'t>> {
    let mut lines = vec![Line(Vec::new())];
    let mut put = |range: Range<usize>, class: &'static str| {
        for (index, part) in text[range].split('\n').enumerate() {
            if index > 0 {
                lines.push(Line(Vec::new()));
            }
            if let Some(line) = lines.last_mut().filter(|_| !part.is_empty()) {
                line.0.push((part, class));
            }
        }
    };
    let mut at = 0;
    for (range, class) in pieces {
        put(at..range.start, "");
        put(range.clone(), class);
        at = range.end;
    }
    put(at..text.len(), "");
    if text.ends_with('\n') {
        lines.pop();
    }
    lines
}

/// The pieces that have a colour, in order and without overlap.
fn coloured(text: &str, language: Language) -> Vec<Piece> {
    let grammar = match language {
        Language::Rust => SupportLang::Rust,
        Language::Python => SupportLang::Python,
        Language::Other => return Vec::new(),
    };
    if text.len() > COLOURED {
        return Vec::new();
    }
    let tree: AstGrep<StrDoc<SupportLang>> = grammar.ast_grep(text);
    let mut pieces: Vec<Piece> = Vec::new();
    // Without recursion: a source may nest as deep as it likes.
    let mut work: Vec<Syntax<'_>> = vec![tree.root()];
    while let Some(node) = work.pop() {
        match class(&node) {
            Some(class) => pieces.push((node.range(), class)),
            None => {
                let at = work.len();
                work.extend(node.children());
                work[at..].reverse();
            }
        }
    }
    let mut end = 0;
    pieces.retain(|(range, _)| {
        let follows = range.start >= end && range.end > range.start && text.get(range.clone()).is_some();
        if follows {
            end = range.end;
        }
        follows
    });
    pieces
}

fn class(node: &Syntax<'_>) -> Option<&'static str> {
    let kind = node.kind();
    Some(match &*kind {
        "line_comment"
        | "block_comment"
        | "comment"
        | "attribute_item"
        | "inner_attribute_item"
        | "decorator" => "c",
        "string_literal" | "raw_string_literal" | "char_literal" | "string" | "byte_string_literal" => "s",
        "integer_literal" | "float_literal" | "integer" | "float" => "n",
        "type_identifier" | "primitive_type" => "t",
        "self" | "super" | "crate" | "mutable_specifier" | "boolean_literal" | "true" | "false" | "none" => {
            "k"
        }
        "identifier" | "field_identifier" if is_function(node) => "f",
        _ if node.is_leaf() && !node.is_named() && kind.starts_with(|c: char| c.is_ascii_lowercase()) => "k",
        _ => return None,
    })
}

/// Whether a name is that of a function that is defined or called here.
fn is_function(node: &Syntax<'_>) -> bool {
    let Some(parent) = node.parent() else { return false };
    let is = |of: &Syntax<'_>, field: &str| of.field(field).is_some_and(|it| it.node_id() == node.node_id());
    match &*parent.kind() {
        "function_item" | "function_signature_item" | "function_definition" => is(&parent, "name"),
        "call_expression" | "call" => is(&parent, "function"),
        "macro_invocation" => is(&parent, "macro"),
        "field_expression" | "scoped_identifier" | "attribute" => {
            let last = is(&parent, "field") || is(&parent, "name") || is(&parent, "attribute");
            last && parent.parent().is_some_and(|call| {
                matches!(&*call.kind(), "call_expression" | "call")
                    && call.field("function").is_some_and(|it| it.node_id() == parent.node_id())
            })
        }
        _ => false,
    }
}

/// What differs between two sources, with three lines around each difference.
pub(crate) fn difference(old: &str, new: &str, name: &str) -> Markup {
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).timeout(PATIENCE).diff_lines(old, new);
    let groups = diff.grouped_ops(3);
    if groups.is_empty() {
        return html! { p class="soft" { "The two are the same." } };
    }
    let lines = groups.iter().enumerate().flat_map(|(index, group)| {
        let gap = (index > 0).then_some(None);
        let changes = group.iter().flat_map(|op| diff.iter_inline_changes(op)).map(Some);
        gap.into_iter().chain(changes)
    });
    let mut lines: Vec<_> = lines.take(LINES + 1).collect();
    let is_cut = lines.len() > LINES;
    lines.truncate(LINES);
    let number = |line: Option<usize>| line.map_or_else(String::new, |line| (line + 1).to_string());
    html! {
        div class="wide" role="region" tabindex="0" aria-label=(name) {
            table class="diff" {
                tbody {
                    @for line in &lines {
                        @match line {
                            None => tr class="gap" { td class="ln" { "⋯" } td class="ln" { "⋯" } td {} td {} },
                            Some(change) => {
                                @let (class, sign) = match change.tag() {
                                    ChangeTag::Equal => ("", " "),
                                    ChangeTag::Insert => ("add", "+"),
                                    ChangeTag::Delete => ("del", "−"),
                                };
                                tr class=(class) {
                                    td class="ln" { (number(change.old_index())) }
                                    td class="ln" { (number(change.new_index())) }
                                    td { (sign) }
                                    td {
                                        @for (emphasized, text) in change.iter_strings_lossy() {
                                            @let text = visible(text.trim_end_matches('\n'));
                                            @if emphasized { mark { (text) } } @else { (text) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if is_cut { p class="soft" { "The rest isn't shown." } }
    }
}

/// How many lines were added and removed.
pub(crate) fn counts(old: &str, new: &str) -> (usize, usize) {
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).timeout(PATIENCE).diff_lines(old, new);
    diff.iter_all_changes().fold((0, 0), |(added, removed), change| match change.tag() {
        ChangeTag::Insert => (added + 1, removed),
        ChangeTag::Delete => (added, removed + 1),
        ChangeTag::Equal => (added, removed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, language: Language) -> Vec<(&str, &'static str)> {
        coloured(text, language).into_iter().map(|(range, class)| (&text[range], class)).collect()
    }

    #[test]
    fn rust_and_python_have_colours_and_others_none() {
        let rust = "// why\nfn run(x: f32) -> Result<(), String> { go(x, \"a\", 2.5) }\n";
        assert_eq!(
            pieces(rust, Language::Rust),
            [
                ("// why\n", "c"),
                ("fn", "k"),
                ("run", "f"),
                ("f32", "t"),
                ("Result", "t"),
                ("String", "t"),
                ("go", "f"),
                ("\"a\"", "s"),
                ("2.5", "n")
            ]
            .map(|(text, class)| (if class == "c" { text.trim_end() } else { text }, class))
        );
        let python = "def f(a):\n    return math.sqrt(a) + 2  # x\n";
        let found = pieces(python, Language::Python);
        assert!(
            found.contains(&("def", "k")) && found.contains(&("sqrt", "f")) && found.contains(&("# x", "c"))
        );
        assert_eq!(pieces(rust, Language::Other), []);
    }

    #[test]
    fn a_hostile_source_is_text() {
        let hostile = "x = '<script>alert(1)</script>' # \x1b[31m \u{202e}\n<img src=x onerror=alert(2)>\n";
        for language in [Language::Rust, Language::Python, Language::Other] {
            let shown = source(hostile, language, "source").into_string();
            assert!(!shown.contains("<script") && !shown.contains("<img"), "{shown}");
            assert!(!shown.contains(['\x1b', '\u{202e}']) && shown.contains("\\u{1b}"), "{shown}");
        }
        let shown = difference("a\n", hostile, "difference").into_string();
        assert!(!shown.contains("<script") && !shown.contains("<img") && !shown.contains('\x1b'), "{shown}");
    }

    #[test]
    fn every_line_is_there_once_and_the_block_has_a_bar() {
        let text = "a\n# EVOLVE-BLOCK-START\nb = '''x\ny'''\n# EVOLVE-BLOCK-END\nc";
        let shown = source(text, Language::Python, "source").into_string();
        assert_eq!(shown.matches("class=\"l\"").count() + shown.matches("class=\"l in\"").count(), 6);
        assert_eq!(shown.matches("class=\"l in\"").count(), 2);
    }

    #[test]
    fn deep_nesting_and_broken_sources_are_shown() {
        let deep = "(".repeat(20_000);
        assert!(source(&deep, Language::Rust, "s").into_string().len() >= deep.len());
        assert!(source("fn (((\n\0'", Language::Rust, "s").into_string().contains("\\u{0}"));
    }
}
