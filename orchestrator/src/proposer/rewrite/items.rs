//! Crossover: an item of the program gives way to the item of the same name of another program.

use std::collections::BTreeMap;
use std::ops::Range;

use search::Language;

use super::tree::{Kinded, Parsed, TreeNode};
use super::{Change, Edit};

/// Every exchange that changes something: same kind, same name, same place in the nesting, other text.
pub(super) fn exchanges(nodes: &[Kinded<'_>], parsed: &Parsed<'_>, others: &[Parsed<'_>]) -> Vec<Change> {
    let own = items(nodes, parsed.language);
    let mut changes = Vec::new();
    for other in others {
        let theirs: BTreeMap<String, Range<usize>> =
            items(&other.nodes(), other.language).into_iter().rev().collect();
        for (key, range) in &own {
            let Some(text) = theirs.get(key).and_then(|range| other.source.get(range.clone())) else {
                continue;
            };
            let Some(old) = parsed.source.get(range.clone()) else { continue };
            let change = vec![Edit { range: range.clone(), text: text.to_owned() }];
            if !text.split_whitespace().eq(old.split_whitespace()) && !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    changes
}

/// Named items with their keys, such as `impl Kernel for K / fn forward / let y`.
fn items(nodes: &[Kinded<'_>], language: Language) -> Vec<(String, Range<usize>)> {
    nodes
        .iter()
        .filter_map(|(_, node)| {
            let own = name(node, language)?;
            let mut path: Vec<String> = node.ancestors().filter_map(|outer| name(&outer, language)).collect();
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
