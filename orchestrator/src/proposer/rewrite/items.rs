//! Crossover: an item of the program gives way to the item of the same name of another program.

use std::collections::BTreeMap;
use std::ops::Range;

use search::Language;

use super::Edit;
use super::tree::{Parsed, TreeNode};

/// Every exchange that changes something: same kind, same name, same place in the nesting, other text.
pub(super) fn exchanges(parsed: &Parsed<'_>, others: &[Parsed<'_>]) -> Vec<Edit> {
    let own = items(parsed);
    let mut edits = Vec::new();
    for other in others {
        let theirs: BTreeMap<String, Range<usize>> = items(other).into_iter().rev().collect();
        for (key, range) in &own {
            let Some(text) = theirs.get(key).and_then(|range| other.source.get(range.clone())) else {
                continue;
            };
            let Some(old) = parsed.source.get(range.clone()) else { continue };
            let edit = Edit { range: range.clone(), text: text.to_owned() };
            if !text.split_whitespace().eq(old.split_whitespace()) && !edits.contains(&edit) {
                edits.push(edit);
            }
        }
    }
    edits
}

/// Named items with their keys, such as `impl Kernel for K / fn forward / let y`.
fn items(parsed: &Parsed<'_>) -> Vec<(String, Range<usize>)> {
    parsed
        .nodes()
        .iter()
        .filter_map(|node| {
            let own = name(node, parsed.language)?;
            let mut path: Vec<String> =
                node.ancestors().filter_map(|outer| name(&outer, parsed.language)).collect();
            path.reverse();
            path.push(own);
            Some((path.join(" / "), node.range()))
        })
        .collect()
}

fn name(node: &TreeNode<'_>, language: Language) -> Option<String> {
    let field =
        |field: &str| node.field(field).map(|inner| inner.text().split_whitespace().collect::<String>());
    let kind = node.kind();
    match (language, &*kind) {
        (
            Language::Rust,
            "function_item" | "struct_item" | "enum_item" | "const_item" | "static_item" | "type_item"
            | "trait_item",
        )
        | (Language::Python, "function_definition" | "class_definition") => {
            Some(format!("{kind} {}", field("name")?))
        }
        (Language::Rust, "impl_item") => {
            Some(format!("impl {} for {}", field("trait").unwrap_or_default(), field("type")?))
        }
        (Language::Rust, "let_declaration") => Some(format!("let {}", field("pattern")?)),
        (Language::Python, "assignment") => Some(format!("= {}", field("left")?)),
        _ => None,
    }
}
