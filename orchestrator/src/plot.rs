//! Drawings as SVG, for pages and for files: pure functions from numbers to text.
//!
//! Colours come from CSS variables, light and dark (`plot.css`, which a page or a file has to contain), and none carries a meaning alone:
//! shape, place or words say it too. Whatever is a text of somebody else's goes through [`escaped`].

mod heat;
mod pairs;
mod scale;
mod scores;
mod spark;
mod text;
mod trace;
mod tree;

use maud::{Markup, PreEscaped, Render};

pub use self::heat::{Cell, Grid, heat, legend};
pub use self::pairs::{Strip, arms, pairs};
pub use self::scores::{Curve, Point, curves, scores};
pub use self::spark::{bar, spark};
pub use self::text::escaped;
pub use self::trace::trace;
pub use self::tree::tree;

/// The rules that every drawing needs on the page around it.
pub const STYLE: &str = include_str!("plot/plot.css");

/// A finished drawing. Texts in it are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing(String);

impl Drawing {
    /// The SVG element.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Render for Drawing {
    fn render(&self) -> Markup {
        PreEscaped(self.0.clone())
    }
}

/// What a drawing's parts link to; in a file there is nothing to link to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// A run's programs on the server.
    Run(i64),
    /// Nothing.
    None,
}

impl Links {
    /// `inner`, as a link to a program where there are links. `label` is what it is called.
    fn around(self, number: u64, label: &str, inner: &str) -> String {
        match self {
            Self::Run(run) => {
                format!(
                    "<a href=\"/runs/{run}/programs/{number}\" aria-label=\"{label}\">{inner}</a>",
                    label = escaped(label)
                )
            }
            Self::None => inner.to_owned(),
        }
    }

    /// A drawing with links is a group of them; one without is a picture.
    fn role(self) -> &'static str {
        match self {
            Self::Run(_) => "group",
            Self::None => "img",
        }
    }
}

/// The start of a drawing: its size, its name, and what it says in words.
fn begin(title: &str, description: &str, (width, height): (f64, f64), links: Links) -> String {
    let (title, role) = (escaped(title), links.role());
    format!(
        "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"{role}\" aria-label=\"{title}\">\n<title>{title}</title>\n<desc>{}</desc>\n",
        escaped(description),
    )
}

/// The end of a drawing.
fn end(mut svg: String) -> Drawing {
    svg.push_str("</svg>\n");
    Drawing(svg)
}

/// A score as people read it: four digits that count.
pub(crate) fn score(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 => format!("{value:.3e}"),
        size if size >= 100.0 => format!("{value:.1}"),
        size if size >= 10.0 => format!("{value:.2}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.4}"),
        _ => format!("{value:.3e}"),
    }
}
