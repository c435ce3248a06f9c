//! Who was made from whom: a whole run as a tree, cut down to what fits on a page.

use std::collections::{BTreeMap, BTreeSet};

use search::ProgramId;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::ProgramDb;
use crate::error::DbError;
use crate::run::RunId;

/// A run's programs, or the most telling of them, as a tree.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Tree {
    /// In order of numbers; the first is the root, and every other one's parent is among them.
    pub nodes: Vec<TreeNode>,
    /// Whether something was left out.
    pub is_cut: bool,
}

/// One proposal in the tree.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TreeNode {
    /// Its number.
    pub number: ProgramId,
    /// The program it was made from. In a tree that is cut, the nearest shown ancestor; none for the root.
    pub parent: Option<ProgramId>,
    /// Ancestors between `parent` and itself that aren't shown.
    pub skipped: u32,
    /// Its island.
    pub island: u64,
    /// What made it.
    pub operator: String,
    /// The model, else the proposer.
    pub by: String,
    /// [`search::Outcome::kind`]; none while it has no outcome.
    pub kind: Option<String>,
    /// The score, if measured.
    pub score: Option<f64>,
    /// The verdict, if measured.
    pub verdict: Option<String>,
    /// Proposals made from it that aren't shown.
    pub hidden: u64,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    parent: Option<i64>,
    island: i64,
    operator: String,
    by: String,
    kind: Option<String>,
    score: Option<f64>,
    verdict: Option<String>,
}

/// Descendants that are looked at to find the best of a part of a run.
const SEEN: i64 = 20_000;

impl ProgramDb {
    /// The tree below `root`, with at most about `most` nodes: all of it if it is that small; else the best programs with their
    /// ancestors, chains without a branch drawn together.
    ///
    /// # Errors
    /// [`DbError::NoSuchRun`], [`DbError::NoSuchProgram`].
    pub async fn tree(&self, run: RunId, root: ProgramId, most: u32) -> Result<Tree, DbError> {
        let most = most.max(2);
        // The root's own row, and the error if there is none.
        self.outcome(run, root).await?;
        let all = self.descendants(run, root, i64::from(most) + 1).await?;
        if all.len() <= most as usize {
            let rows = self.tree_rows(run, &all).await?;
            return Ok(assembled(rows, root, &BTreeMap::new(), &BTreeSet::new(), usize::MAX));
        }
        let tips = self.best_below_root(run, root, most / 6).await?;
        let chosen = self.with_ancestors(run, root, &tips).await?;
        let rows = self.tree_rows(run, &chosen).await?;
        let children = self.child_counts(run, &chosen).await?;
        let tips = tips.into_iter().collect();
        Ok(assembled(rows, root, &children, &tips, most as usize))
    }

    /// The root and what was made from it, in order of finding, at most `limit`.
    async fn descendants(&self, run: RunId, root: ProgramId, limit: i64) -> Result<Vec<i64>, DbError> {
        if root == ProgramId::INITIAL {
            // Everything comes from the initial program.
            return sqlx::query_scalar(
                "SELECT number FROM proposal INDEXED BY proposal_facts WHERE run_id = ? ORDER BY number LIMIT ?",
            )
            .bind(run)
            .bind(limit)
            .fetch_all(self.readers())
            .await
            .map_err(self.error());
        }
        sqlx::query_scalar(
            "WITH RECURSIVE descendant (n) AS (
                 SELECT ?2
                 UNION ALL
                 SELECT number FROM descendant JOIN proposal INDEXED BY proposal_by_parent ON run_id = ?1 AND parent = n
                 LIMIT ?3
             )
             SELECT n FROM descendant",
        )
        .bind(run)
        .bind(root.0.cast_signed())
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())
    }

    async fn best_below_root(&self, run: RunId, root: ProgramId, count: u32) -> Result<Vec<i64>, DbError> {
        if root == ProgramId::INITIAL {
            return sqlx::query_scalar(
                "SELECT number FROM outcome WHERE run_id = ? AND score IS NOT NULL ORDER BY score DESC, number LIMIT ?",
            )
            .bind(run)
            .bind(count)
            .fetch_all(self.readers())
            .await
            .map_err(self.error());
        }
        let seen = self.descendants(run, root, SEEN).await?;
        sqlx::query_scalar(
            "SELECT number FROM outcome INDEXED BY outcome_facts
             WHERE run_id = ?1 AND number IN (SELECT value FROM json_each(?2)) AND score IS NOT NULL
             ORDER BY score DESC, number LIMIT ?3",
        )
        .bind(run)
        .bind(serde_json::json!(seen).to_string())
        .bind(count)
        .fetch_all(self.readers())
        .await
        .map_err(self.error())
    }

    async fn with_ancestors(&self, run: RunId, root: ProgramId, tips: &[i64]) -> Result<Vec<i64>, DbError> {
        sqlx::query_scalar(
            "WITH RECURSIVE ancestor (n) AS (
                 SELECT value FROM json_each(?2)
                 UNION
                 SELECT (SELECT parent FROM proposal INDEXED BY proposal_facts WHERE run_id = ?1 AND number = n)
                 FROM ancestor WHERE n > ?3
             )
             SELECT n FROM ancestor WHERE n >= ?3 UNION SELECT ?3 ORDER BY 1",
        )
        .bind(run)
        .bind(serde_json::json!(tips).to_string())
        .bind(root.0.cast_signed())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())
    }

    async fn tree_rows(&self, run: RunId, numbers: &[i64]) -> Result<Vec<Row>, DbError> {
        sqlx::query_as(
            "SELECT proposal.number, proposal.parent, island, operator, coalesce(model, proposer) AS by, kind, score, verdict
             FROM json_each(?2) JOIN proposal INDEXED BY proposal_facts ON proposal.run_id = ?1 AND proposal.number = value
             LEFT JOIN outcome INDEXED BY outcome_facts ON outcome.run_id = ?1 AND outcome.number = value
             ORDER BY proposal.number",
        )
        .bind(run)
        .bind(serde_json::json!(numbers).to_string())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())
    }

    async fn child_counts(&self, run: RunId, numbers: &[i64]) -> Result<BTreeMap<i64, u64>, DbError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT value, (SELECT count(*) FROM proposal INDEXED BY proposal_by_parent WHERE run_id = ?1 AND parent = value)
             FROM json_each(?2)",
        )
        .bind(run)
        .bind(serde_json::json!(numbers).to_string())
        .fetch_all(self.readers())
        .await
        .map_err(self.error())?;
        Ok(rows.into_iter().map(|(number, count)| (number, count.cast_unsigned())).collect())
    }
}

/// Rows whose parents are among them (but for the root's) as a tree; beyond `most`, those with one child that aren't `kept` are
/// drawn together with it.
fn assembled(
    rows: Vec<Row>,
    root: ProgramId,
    children: &BTreeMap<i64, u64>,
    kept: &BTreeSet<i64>,
    most: usize,
) -> Tree {
    let root = root.0.cast_signed();
    let mut shown: BTreeMap<i64, u64> = BTreeMap::new();
    for parent in rows.iter().filter(|row| row.number != root).filter_map(|row| row.parent) {
        *shown.entry(parent).or_default() += 1;
    }
    let parents: BTreeMap<i64, Option<i64>> = rows.iter().map(|row| (row.number, row.parent)).collect();
    let is_cut = rows.len() > most;
    let is_shown = |row: &Row| {
        !is_cut
            || row.number == root
            || kept.contains(&row.number)
            || shown.get(&row.number).copied().unwrap_or_default() != 1
    };
    let stays: BTreeSet<i64> = rows.iter().filter(|row| is_shown(row)).map(|row| row.number).collect();
    let mut nodes = Vec::with_capacity(stays.len());
    for row in rows.into_iter().filter(|row| stays.contains(&row.number)) {
        let (mut parent, mut skipped) = (row.parent.filter(|_| row.number != root), 0);
        while let Some(number) = parent.filter(|number| !stays.contains(number)) {
            parent = parents.get(&number).copied().flatten();
            skipped += 1;
        }
        let of = children.get(&row.number).copied().unwrap_or_default();
        nodes.push(TreeNode {
            hidden: of.saturating_sub(shown.get(&row.number).copied().unwrap_or_default()),
            number: ProgramId(row.number.cast_unsigned()),
            parent: parent.map(|parent| ProgramId(parent.cast_unsigned())),
            skipped,
            island: row.island.cast_unsigned(),
            operator: row.operator,
            by: row.by,
            kind: row.kind,
            score: row.score,
            verdict: row.verdict,
        });
    }
    let is_cut = is_cut || nodes.iter().any(|node| node.hidden > 0);
    Tree { nodes, is_cut }
}
