//! A program as syntax tree, and which parts of it may change.

use std::ops::Range;

use ast_grep_core::tree_sitter::{LanguageExt, StrDoc};
use ast_grep_core::{AstGrep, Node};
use ast_grep_language::SupportLang;
use evaluator::block;
use search::Language;

pub(super) type Tree = AstGrep<StrDoc<SupportLang>>;
pub(super) type TreeNode<'t> = Node<'t, StrDoc<SupportLang>>;

/// A node and the number of its kind.
pub(super) type Kinded<'t> = (usize, TreeNode<'t>);

/// A program with its blocks; the tree is missing for languages without a grammar here.
pub(super) struct Parsed<'s> {
    pub(super) source: &'s str,
    pub(super) language: Language,
    pub(super) tree: Option<Tree>,
    blocks: Vec<Range<usize>>,
}

impl<'s> Parsed<'s> {
    /// None if the program's EVOLVE-BLOCK markers are wrong.
    pub(super) fn new(source: &'s str, language: Language) -> Option<Self> {
        let marked = block::parts(source).ok()?;
        let mut at = 0;
        let mut blocks = Vec::new();
        for (frame, block) in marked.frame.iter().zip(&marked.blocks) {
            at += frame.len();
            blocks.push(at..at + block.content.len());
            at += block.content.len();
        }
        let tree = grammar(language).map(|grammar| grammar.ast_grep(source));
        Some(Self { source, language, tree, blocks })
    }

    /// Whether these bytes lie within one block.
    pub(super) fn may_change(&self, range: &Range<usize>) -> bool {
        self.blocks.iter().any(|block| block.start <= range.start && range.end <= block.end)
    }

    /// The nodes that may change, parents before children, each with its kind: asking the tree for it once for
    /// every rule would take most of the time.
    pub(super) fn nodes(&self) -> Vec<Kinded<'_>> {
        let Some(tree) = &self.tree else { return Vec::new() };
        let root = tree.root();
        let nodes = root.dfs().filter(|node| self.may_change(&node.range()));
        nodes.map(|node| (node.kind_id().into(), node)).collect()
    }

    /// The text of the blocks.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.blocks.iter().cloned()
    }
}

pub(super) fn grammar(language: Language) -> Option<SupportLang> {
    match language {
        Language::Rust => Some(SupportLang::Rust),
        Language::Python => Some(SupportLang::Python),
        Language::Other => None,
    }
}

/// Whether the parser had to guess.
pub(super) fn is_broken(source: &str, language: Language) -> bool {
    grammar(language).is_some_and(|grammar| grammar.ast_grep(source).root().get_inner_node().has_error())
}

/// Whether two programs differ in their blocks only.
pub(super) fn same_frame(one: &str, other: &str) -> bool {
    match (block::parts(one), block::parts(other)) {
        (Ok(one), Ok(other)) => one.first_frame_difference(&other).is_none(),
        _ => false,
    }
}
