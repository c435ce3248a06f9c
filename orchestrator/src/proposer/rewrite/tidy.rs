//! Drops what a rewrite left without use, so that programs don't fill up with dead code.

use std::collections::BTreeSet;
use std::ops::Range;

use search::Language;

use super::tree::{Parsed, TreeNode};
use super::{Edit, apply};

/// `changed` without the bindings that lost their last use since `source`. Those that had none before stay:
/// somebody wanted them.
pub(super) fn drop_unused(source: &str, mut changed: String, language: Language) -> String {
    if language != Language::Rust {
        return changed;
    }
    loop {
        let Some(parsed) = Parsed::new(&changed, language) else { return changed };
        let now = unused(&parsed);
        // Most rewrites leave nothing behind; then the source needn't be looked at.
        if now.is_empty() {
            return changed;
        }
        let before: BTreeSet<String> = match Parsed::new(source, language) {
            Some(before) => unused(&before).into_iter().map(|(name, _)| name).collect(),
            None => return changed,
        };
        let found = now.into_iter().find(|(name, _)| !before.contains(name));
        let Some((_, range)) = found else { return changed };
        let Some(next) = apply(&vec![Edit { range, text: String::new() }], &changed) else { return changed };
        changed = next;
    }
}

/// `let` bindings of a plain name that occurs nowhere else in its function.
fn unused(parsed: &Parsed<'_>) -> Vec<(String, Range<usize>)> {
    let nodes = parsed.nodes();
    let functions = nodes.iter().map(|(_, node)| node).filter(|node| node.kind() == "function_item");
    functions
        .flat_map(|function| {
            let names: Vec<TreeNode<'_>> =
                function.dfs().filter(|node| node.kind() == "identifier").collect();
            let bindings = function.dfs().filter(|node| node.kind() == "let_declaration").collect::<Vec<_>>();
            bindings.into_iter().filter_map(move |binding| {
                let name = binding.field("pattern").filter(|pattern| pattern.kind() == "identifier")?.text();
                let uses = names.iter().filter(|node| node.text() == name).count();
                (uses == 1 && !name.starts_with('_')).then(|| (name.into_owned(), binding.range()))
            })
        })
        .collect()
}
