//! Who was made from whom: generations from left to right, the champion's ancestors in front.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use program_db::view::{Tree, TreeNode};

use super::scale::range;
use super::{Drawing, Links, begin, end, escaped, score};

const ROW: f64 = 18.0;
const LEFT: f64 = 16.0;
const TOP: f64 = 16.0;
/// Nodes up to which each tip has its number beside it.
const LABELLED: usize = 90;

/// A node with its place.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Leaf {
    /// Steps from the root.
    depth: usize,
    /// The row, from the top; between those of its children.
    row: f64,
}

impl Leaf {
    fn place(&self, step: f64) -> (f64, f64) {
        (LEFT + step * self.depth as f64, TOP + ROW * (self.row + 0.5))
    }
}

/// A place for every node: children in the order of their numbers, parents in the middle of them. The path to `champion` is not put
/// apart: what is near in the tree is near on paper.
fn places(tree: &Tree) -> BTreeMap<u64, Leaf> {
    let mut children: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut roots = Vec::new();
    for node in &tree.nodes {
        match node.parent {
            Some(parent) => children.entry(parent.0).or_default().push(node.number.0),
            None => roots.push(node.number.0),
        }
    }
    let mut places: BTreeMap<u64, Leaf> = BTreeMap::new();
    let mut next = 0.0;
    // Without recursion: a lineage may be thousands deep.
    let mut work: Vec<(u64, usize, bool)> = roots.into_iter().rev().map(|root| (root, 0, false)).collect();
    while let Some((number, depth, is_done)) = work.pop() {
        let below = children.get(&number).map_or(&[][..], Vec::as_slice);
        if below.is_empty() {
            places.insert(number, Leaf { depth, row: next });
            next += 1.0;
        } else if is_done {
            let rows = below.iter().filter_map(|child| Some(places.get(child)?.row));
            let (low, high) = range(rows).unwrap_or_default();
            places.insert(number, Leaf { depth, row: f64::midpoint(low, high) });
        } else {
            work.push((number, depth, true));
            work.extend(below.iter().rev().map(|child| (*child, depth + 1, false)));
        }
    }
    places
}

/// The tree. `champion` and its ancestors are put in front.
pub fn tree(title: &str, tree: &Tree, champion: Option<u64>, links: Links) -> Drawing {
    let places = places(tree);
    let deepest = places.values().map(|leaf| leaf.depth).max().unwrap_or_default();
    let rows = places.values().map(|leaf| leaf.row).fold(0.0, f64::max) + 1.0;
    let step = (900.0 / deepest.max(1) as f64).clamp(22.0, 90.0);
    let width = (LEFT + step * deepest as f64 + 120.0).max(320.0);
    let size = (width, TOP * 2.0 + ROW * rows);
    let parents: BTreeMap<u64, Option<u64>> =
        tree.nodes.iter().map(|node| (node.number.0, node.parent.map(|parent| parent.0))).collect();
    let mut line = BTreeSet::new();
    let mut above = champion.filter(|champion| parents.contains_key(champion));
    while let Some(number) = above {
        line.insert(number);
        above = parents.get(&number).copied().flatten();
    }
    let hidden: u64 = tree.nodes.iter().map(|node| node.hidden).sum();
    let described = format!(
        "{} proposals, {} steps deep{}; {hidden} more aren't shown.",
        tree.nodes.len(),
        deepest,
        if line.is_empty() { "" } else { "; the champion's ancestors are in front" }
    );
    let mut svg = begin(title, &described, size, links);
    edges(&mut svg, tree, &places, &line, step);
    let scores = range(tree.nodes.iter().filter_map(|node| node.score)).unwrap_or((0.0, 0.0));
    let tips: BTreeSet<u64> = {
        let with_children: BTreeSet<u64> = parents.values().flatten().copied().collect();
        parents.keys().copied().filter(|number| !with_children.contains(number)).collect()
    };
    for node in &tree.nodes {
        let number = node.number.0;
        let Some(leaf) = places.get(&number) else { continue };
        let (x, y) = leaf.place(step);
        let (words, inner) = mark(node, (x, y), champion == Some(number), scores, links);
        svg.push_str(&links.around(number, &words, &inner));
        let is_named = (tips.contains(&number) && tree.nodes.len() <= LABELLED) || champion == Some(number);
        if is_named || node.hidden > 0 {
            let mut label = if is_named { number.to_string() } else { String::new() };
            if let Some(value) = node.score.filter(|_| champion == Some(number)) {
                let _ = write!(label, " · {}", score(value));
            }
            if node.hidden > 0 {
                let _ = write!(label, " +{}", node.hidden);
            }
            let class = if champion == Some(number) { "name" } else { "soft" };
            let _ = write!(
                svg,
                "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                x + 10.0,
                if tips.contains(&number) { y + 4.0 } else { y - 6.0 },
                label.trim()
            );
        }
    }
    end(svg)
}

/// A node's words and its sign.
fn mark(
    node: &TreeNode,
    (x, y): (f64, f64),
    is_champion: bool,
    scores: (f64, f64),
    links: Links,
) -> (String, String) {
    let number = node.number.0;
    let said = match (&node.kind, node.score) {
        (_, Some(value)) => score(value),
        (Some(kind), None) => kind.replace('_', " "),
        (None, None) => "not evaluated yet".to_owned(),
    };
    let more = if node.hidden > 0 { format!(", {} children not shown", node.hidden) } else { String::new() };
    let skipped =
        if node.skipped > 0 { format!(", {} ancestors not shown", node.skipped) } else { String::new() };
    let words = format!("program {number}: {said}, {} by {}{skipped}{more}", node.operator, node.by);
    let mut inner = match (node.score, &node.kind) {
        (Some(_), _) if is_champion => {
            format!(
                "<path class=\"champion\" d=\"M{x:.1} {:.1}l7 7l-7 7l-7 -7z\"><title>{}</title></path>",
                y - 7.0,
                escaped(&words)
            )
        }
        (Some(value), _) => {
            let level = if scores.1 > scores.0 {
                (((value - scores.0) / (scores.1 - scores.0)) * 9.0) as usize
            } else {
                8
            };
            format!(
                "<circle class=\"h{} rim\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{}</title></circle>",
                level.min(8),
                escaped(&words)
            )
        }
        (None, Some(_)) => format!(
            "<path class=\"fail\" d=\"M{:.1} {:.1}l6 6m0 -6l-6 6\"><title>{}</title></path>",
            x - 3.0,
            y - 3.0,
            escaped(&words)
        ),
        (None, None) => format!(
            "<circle class=\"dot hollow\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}</title></circle>",
            escaped(&words)
        ),
    };
    // What a finger or a pointer can hit is larger than what is seen.
    if links != Links::None {
        let _ = write!(inner, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"9\" fill=\"transparent\"/>");
    }
    (words, inner)
}

/// Lines from parents to children: the champion's lineage above the others.
fn edges(svg: &mut String, tree: &Tree, places: &BTreeMap<u64, Leaf>, line: &BTreeSet<u64>, step: f64) {
    // Edges below nodes, and those of the champion's line above the others.
    for is_main in [false, true] {
        for node in &tree.nodes {
            let Some(parent) = node.parent.map(|parent| parent.0) else { continue };
            let on_line = line.contains(&node.number.0) && line.contains(&parent);
            if on_line != is_main {
                continue;
            }
            let (Some(from), Some(to)) = (places.get(&parent), places.get(&node.number.0)) else { continue };
            let ((x1, y1), (x2, y2)) = (from.place(step), to.place(step));
            let middle = x1 + (x2 - x1) * 0.5;
            let class = match (is_main, node.skipped > 0) {
                (true, false) => "edge main",
                (true, true) => "edge main far",
                (false, false) => "edge",
                (false, true) => "edge far",
            };
            let _ = write!(
                svg,
                "<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}C{middle:.1} {y1:.1} {middle:.1} {y2:.1} {x2:.1} {y2:.1}\"/>"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use search::ProgramId;

    use super::*;

    fn node(number: u64, parent: Option<u64>) -> TreeNode {
        TreeNode {
            number: ProgramId(number),
            parent: parent.map(ProgramId),
            skipped: 0,
            island: 0,
            operator: "<edit>".to_owned(),
            by: "model".to_owned(),
            kind: Some("measured".to_owned()),
            score: Some(number as f64),
            verdict: None,
            hidden: number,
        }
    }

    #[test]
    fn parents_lie_in_the_middle_of_their_children() {
        let tree = Tree {
            nodes: vec![node(0, None), node(1, Some(0)), node(2, Some(0)), node(3, Some(2))],
            is_cut: false,
        };
        let places = places(&tree);
        assert_eq!(places[&1], Leaf { depth: 1, row: 0.0 });
        assert_eq!(places[&3], Leaf { depth: 2, row: 1.0 });
        assert_eq!(places[&0], Leaf { depth: 0, row: 0.5 });
    }

    #[test]
    fn a_lineage_of_thousands_is_drawn_and_names_are_escaped() {
        let nodes = (0..5_000).map(|number: u64| node(number, number.checked_sub(1))).collect();
        let drawing = tree("deep", &Tree { nodes, is_cut: false }, Some(4_999), Links::Run(1));
        let svg = drawing.as_str();
        assert!(svg.contains("&lt;edit&gt;") && !svg.contains("<edit>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
