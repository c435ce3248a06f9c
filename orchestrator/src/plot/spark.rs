//! Small drawings for tables.

use std::fmt::Write as _;

use super::scale::{Scale, range};
use super::{Drawing, Links, begin, end};

/// The best score so far over a run, as a line without axes. `points` are numbers and scores.
pub fn spark(title: &str, points: &[(u64, f64)], last: u64) -> Drawing {
    let (width, height) = (132.0, 30.0);
    let mut svg = begin(title, "", (width, height), Links::None);
    let values = points.iter().map(|(_, value)| *value);
    if let (Some(bounds), Some((first, start))) = (range(values), points.first()) {
        let x = Scale::exact((0.0, last as f64), 1.0, (2.0, width - 6.0));
        let y = Scale::exact(bounds, bounds.1.abs().max(1.0) * 1e-3, (height - 4.0, 5.0));
        let _ = write!(svg, "<path class=\"line\" d=\"M{:.1} {:.1}", x.x(*first as f64), y.within(*start));
        for (number, value) in &points[1..] {
            let _ = write!(svg, "H{:.1}V{:.1}", x.x(*number as f64), y.within(*value));
        }
        let best = points[points.len() - 1].1;
        let _ = write!(
            svg,
            "H{0:.1}\"/><circle class=\"dot\" cx=\"{0:.1}\" cy=\"{1:.1}\" r=\"2.5\"/>",
            x.x(last as f64),
            y.within(best)
        );
    }
    end(svg)
}

/// A share of a whole as a bar.
pub fn bar(title: &str, share: f64) -> Drawing {
    let (width, height) = (160.0, 12.0);
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut svg = begin(title, "", (width, height), Links::None);
    let _ = write!(
        svg,
        "<rect class=\"bar back\" width=\"{width}\" height=\"{height}\" rx=\"2\"/>\
         <rect class=\"bar\" width=\"{:.1}\" height=\"{height}\" rx=\"2\"/>",
        share * width
    );
    end(svg)
}
