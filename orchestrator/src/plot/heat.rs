//! An island's MAP-Elites grid: a square a cell, darker (in the dark: lighter) for higher scores.

use std::fmt::Write as _;

use super::{Drawing, Links, begin, end, escaped, score};

/// A grid in two dimensions (one, if it has only one).
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// What it is called.
    pub title: String,
    /// The names of the axes, across and up.
    pub axes: (String, Option<String>),
    /// Bins along both. Programs without a value lie in one more.
    pub bins: (usize, usize),
    /// What is occupied.
    pub cells: Vec<Cell>,
    /// The lowest and the highest score of all grids that are drawn beside each other.
    pub scores: (f64, f64),
}

/// An occupied cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Its bins across and up; none: without a value.
    pub bins: (Option<usize>, Option<usize>),
    /// The elite's number.
    pub number: u64,
    /// The elite's score.
    pub score: f64,
    /// Whether it is the best of the run.
    pub is_best: bool,
}

const CELL: f64 = 22.0;
const INNER: f64 = CELL - 3.0;
const LEFT: f64 = 26.0;
const TOP: f64 = 8.0;
const LEVELS: usize = 9;

/// The level of a score, 0 to 8.
fn level(value: f64, (low, high): (f64, f64)) -> usize {
    if high > low { (((value - low) / (high - low)) * LEVELS as f64) as usize } else { LEVELS - 1 }
        .min(LEVELS - 1)
}

/// The grid.
pub fn heat(grid: &Grid, links: Links) -> Drawing {
    let lacks = |of: fn(&Cell) -> Option<usize>| grid.cells.iter().any(|cell| of(cell).is_none());
    let across = grid.bins.0 + usize::from(lacks(|cell| cell.bins.0));
    let up = if grid.axes.1.is_some() { grid.bins.1 + usize::from(lacks(|cell| cell.bins.1)) } else { 1 };
    let size = (LEFT + CELL * across as f64 + 4.0, TOP + CELL * up as f64 + 26.0);
    let best = grid.cells.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    let described = match best {
        Some(best) => format!(
            "{} of {} cells are occupied; the best is program {} with {}.",
            grid.cells.len(),
            across * up,
            best.number,
            score(best.score)
        ),
        None => "No cell is occupied.".to_owned(),
    };
    let mut svg = begin(&grid.title, &described, size, links);
    let place = |column: usize, row: usize| (LEFT + CELL * column as f64, TOP + CELL * (up - 1 - row) as f64);
    for row in 0..up {
        for column in 0..across {
            let (x, y) = place(column, row);
            let _ = write!(
                svg,
                "<rect class=\"empty\" x=\"{:.1}\" y=\"{:.1}\" width=\"{INNER}\" height=\"{INNER}\" rx=\"3\"/>",
                x + 1.5,
                y + 1.5
            );
        }
    }
    for cell in &grid.cells {
        let column = cell.bins.0.unwrap_or(grid.bins.0);
        let row = if grid.axes.1.is_some() { cell.bins.1.unwrap_or(grid.bins.1) } else { 0 };
        let (x, y) = place(column, row);
        let words = words(grid, cell);
        let mut inner = format!(
            "<rect class=\"h{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{INNER}\" height=\"{INNER}\" rx=\"3\"><title>{}</title></rect>",
            level(cell.score, grid.scores),
            x + 1.5,
            y + 1.5,
            escaped(&words)
        );
        if cell.is_best {
            let _ = write!(
                inner,
                "<rect class=\"ring\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{CELL}\" height=\"{CELL}\" rx=\"4\"/>"
            );
        }
        svg.push_str(&links.around(cell.number, &words, &inner));
    }
    let _ = write!(
        svg,
        "<text class=\"soft\" x=\"{LEFT}\" y=\"{:.1}\">{} →</text>",
        size.1 - 8.0,
        escaped(&grid.axes.0)
    );
    if let Some(name) = &grid.axes.1 {
        let _ = write!(
            svg,
            "<text class=\"soft\" transform=\"translate(16 {:.1}) rotate(-90)\">{} →</text>",
            size.1 - 26.0,
            escaped(name)
        );
    }
    end(svg)
}

fn words(grid: &Grid, cell: &Cell) -> String {
    let bin = |bin: Option<usize>| bin.map_or_else(|| "none".to_owned(), |bin| (bin + 1).to_string());
    let up = grid.axes.1.as_ref().map_or_else(String::new, |name| format!(", {name} {}", bin(cell.bins.1)));
    let best = if cell.is_best { ", the best of the run" } else { "" };
    format!("program {}: {}, {} {}{up}{best}", cell.number, score(cell.score), grid.axes.0, bin(cell.bins.0))
}

/// What the colours mean.
pub fn legend((low, high): (f64, f64)) -> Drawing {
    let size = (300.0, 34.0);
    let mut svg = begin("Scores by colour", &format!("{} to {}", score(low), score(high)), size, Links::None);
    for level in 0..LEVELS {
        let _ = write!(
            svg,
            "<rect class=\"h{level} rim\" x=\"{:.0}\" y=\"4\" width=\"18\" height=\"12\" rx=\"2\"/>",
            level as f64 * 20.0 + 1.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"soft\" x=\"0\" y=\"30\">{}</text><text class=\"soft end\" x=\"180\" y=\"30\">{}</text>\
         <rect class=\"ring\" x=\"199\" y=\"3\" width=\"15\" height=\"14\" rx=\"4\"/><text class=\"soft\" x=\"221\" y=\"14\">best of all</text>",
        score(low),
        score(high)
    );
    end(svg)
}
