//! The best score over a run's numbers, with intervals, and what lay below it.

use std::fmt::Write as _;

use program_db::view::Series;

use super::scale::{Scale, range};
use super::{Drawing, Links, begin, end, escaped, score};

const SIZE: (f64, f64) = (1040.0, 330.0);
const LEFT: f64 = 62.0;
const RIGHT: f64 = 1016.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 268.0;

/// A program that was better than all before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its number.
    pub number: u64,
    /// Its score.
    pub score: f64,
    /// The score's interval, where one is known.
    pub interval: Option<(f64, f64)>,
    /// What is said of it: `edit by a model: improved`.
    pub words: String,
}

/// A run's best score so far, for comparison with another's.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Whose.
    pub name: String,
    /// In order of numbers.
    pub points: Vec<Point>,
    /// The last number with an outcome.
    pub last: u64,
}

/// All scores of a run and the best so far. `champion` is marked.
pub fn scores(series: &Series, steps: &[Point], champion: Option<u64>, links: Links) -> Drawing {
    let last = series.last.map_or(0, |last| last.0);
    let best = steps.last();
    let described = match best {
        Some(best) => format!(
            "{} of {} proposals were measured; the best so far is program {} with score {}, after {} improvements of the best.",
            series.buckets.iter().map(|bucket| bucket.measured).sum::<u32>(),
            last,
            best.number,
            score(best.score),
            steps.len().saturating_sub(1)
        ),
        None => "Nothing is measured yet.".to_owned(),
    };
    let mut svg = begin("Scores over the run", &described, SIZE, links);
    let x = Scale::exact((0.0, last as f64), 10.0, (LEFT, RIGHT));
    let y = Scale::over(heights(series, steps), 1e-6, (BOTTOM, TOP));
    axes(&mut svg, &x, &y, "proposal");
    if series.width == 1 {
        failures(&mut svg, series, &x);
    }
    for bucket in &series.buckets {
        let (Some((number, high)), Some(low)) = (bucket.best, bucket.worst) else { continue };
        if series.width > 1 {
            let at = x.x(bucket.first.0 as f64 + series.width as f64 / 2.0);
            let (top, bottom) = (y.within(high), y.within(low));
            let _ =
                write!(svg, "<path class=\"span\" d=\"M{at:.1} {bottom:.1}V{:.1}\"/>", top.min(bottom - 1.0));
        } else {
            let words = format!("program {number}: {}", score(high));
            let dot = format!(
                "<circle class=\"mark\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title></circle>",
                x.x(number.0 as f64),
                y.within(high),
                escaped(&words)
            );
            // Those on the line below have links already.
            svg.push_str(&dot);
        }
    }
    band(&mut svg, steps, last, &x, &y);
    line(&mut svg, "line", steps, last, &x, &y);
    // The last ones tell most, and each is a stop for the keyboard.
    let first = steps.len().saturating_sub(25);
    for point in &steps[first..] {
        step(&mut svg, point, champion == Some(point.number), &x, &y, links);
    }
    legend(&mut svg, series.width);
    end(svg)
}

/// Two runs' best scores so far.
pub fn curves(a: &Curve, b: &Curve) -> Drawing {
    let said = |curve: &Curve| match curve.points.last() {
        Some(point) => format!("{}: {} at program {}", curve.name, score(point.score), point.number),
        None => format!("{}: nothing measured", curve.name),
    };
    let mut svg = begin("Best scores so far", &format!("{}; {}", said(a), said(b)), SIZE, Links::None);
    let last = a.last.max(b.last);
    let x = Scale::exact((0.0, last as f64), 10.0, (LEFT, RIGHT));
    let all = a.points.iter().chain(&b.points).map(|point| point.score);
    let y = Scale::over(range(all).unwrap_or_default(), 1e-6, (BOTTOM, TOP));
    axes(&mut svg, &x, &y, "proposal");
    for (curve, class, at) in [(a, "line", LEFT), (b, "line b", LEFT + 420.0)] {
        line(&mut svg, class, &curve.points, curve.last, &x, &y);
        let mut name: String = curve.name.chars().take(50).collect();
        if name.len() < curve.name.len() {
            name.push('…');
        }
        let _ = write!(
            svg,
            "<path class=\"{class}\" d=\"M{at:.0} 310h26\"/><text class=\"soft\" x=\"{:.0}\" y=\"314\">{}</text>",
            at + 34.0,
            escaped(&name)
        );
    }
    end(svg)
}

/// From what nearly all reach up to the top of the last intervals: a few hopeless programs don't press the rest flat.
fn heights(series: &Series, steps: &[Point]) -> (f64, f64) {
    let mut bests: Vec<f64> = series.buckets.iter().filter_map(|bucket| Some(bucket.best?.1)).collect();
    bests.sort_by(f64::total_cmp);
    let low = bests.get(bests.len() / 20).copied();
    let high = steps.last().map(|point| point.score);
    let Some((low, high)) = range(low.into_iter().chain(high).chain(steps.first().map(|point| point.score)))
    else {
        return (0.0, 1.0);
    };
    let room = (high - low).max(high.abs() * 0.01);
    let top = steps.iter().rev().take(3).filter_map(|point| Some(point.interval?.1));
    (low - 0.05 * room, top.fold(high, f64::max).min(high + room))
}

fn axes(svg: &mut String, x: &Scale, y: &Scale, name: &str) {
    for tick in y.ticks() {
        let at = y.x(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"soft end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            y.plain(tick)
        );
    }
    for tick in x.ticks() {
        let _ = write!(
            svg,
            "<text class=\"soft middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x.x(tick),
            BOTTOM + 24.0,
            x.plain(tick)
        );
    }
    let _ = write!(svg, "<text class=\"soft end\" x=\"{RIGHT}\" y=\"314\">{name}</text>");
}

/// A tick at the foot for each proposal that came to nothing; where many share a place, one.
fn failures(svg: &mut String, series: &Series, x: &Scale) {
    for bucket in series.buckets.iter().filter(|bucket| bucket.ended > bucket.measured) {
        let share = f64::from(bucket.ended - bucket.measured) / f64::from(bucket.ended.max(1));
        let at = x.x(bucket.first.0 as f64 + (series.width as f64 - 1.0) / 2.0);
        let _ = write!(svg, "<path class=\"fail\" d=\"M{at:.1} {BOTTOM:.0}v{:.1}\"/>", -(2.0 + 7.0 * share));
    }
}

/// The interval of whichever is the best at a time.
fn band(svg: &mut String, steps: &[Point], last: u64, x: &Scale, y: &Scale) {
    for (index, point) in steps.iter().enumerate() {
        let Some((low, high)) = point.interval else { continue };
        let until = steps.get(index + 1).map_or(last, |next| next.number);
        let (from, to) = (x.x(point.number as f64), x.x(until as f64));
        let (top, bottom) = (y.within(high), y.within(low));
        let _ = write!(
            svg,
            "<rect class=\"band\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (to - from).max(0.0),
            (bottom - top).max(0.0)
        );
    }
}

fn line(svg: &mut String, class: &str, points: &[Point], last: u64, x: &Scale, y: &Scale) {
    let Some(first) = points.first() else { return };
    let _ = write!(
        svg,
        "<path class=\"{class}\" d=\"M{:.1} {:.1}",
        x.x(first.number as f64),
        y.within(first.score)
    );
    for point in &points[1..] {
        let _ = write!(svg, "H{:.1}V{:.1}", x.x(point.number as f64), y.within(point.score));
    }
    let _ = write!(svg, "H{:.1}\"/>", x.x(last as f64));
}

fn step(svg: &mut String, point: &Point, is_champion: bool, x: &Scale, y: &Scale, links: Links) {
    let (at, height) = (x.x(point.number as f64), y.within(point.score));
    let mut inner = String::new();
    if let Some((low, high)) = point.interval {
        let (top, bottom) = (y.within(high), y.within(low));
        let _ = write!(inner, "<path class=\"whisker\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>");
    }
    let interval =
        point.interval.map_or_else(String::new, |(low, high)| format!(" [{}, {}]", score(low), score(high)));
    let words = format!("program {}: {}{interval}, {}", point.number, score(point.score), point.words);
    if is_champion {
        let _ = write!(
            inner,
            "<path class=\"champion\" d=\"M{at:.1} {:.1}l6.5 7l-6.5 7l-6.5 -7z\"><title>{}</title></path>",
            height - 7.0,
            escaped(&format!("champion: {words}"))
        );
    } else {
        let _ = write!(
            inner,
            "<circle class=\"dot\" cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"3.5\"><title>{}</title></circle>",
            escaped(&words)
        );
    }
    svg.push_str(&links.around(point.number, &words, &inner));
}

fn legend(svg: &mut String, width: u64) {
    let all =
        if width > 1 { format!("lowest to highest of {width}") } else { "a measured program".to_owned() };
    let _ = write!(
        svg,
        "<path class=\"line\" d=\"M{LEFT} 310h26\"/><text class=\"soft\" x=\"96\" y=\"314\">best so far</text>\
         <path class=\"champion\" d=\"M186 303l6.5 7l-6.5 7l-6.5 -7z\"/><text class=\"soft\" x=\"200\" y=\"314\">champion</text>\
         <circle class=\"mark\" cx=\"276\" cy=\"310\" r=\"3\"/><text class=\"soft\" x=\"286\" y=\"314\">{all}</text>\
         <rect class=\"band\" x=\"446\" y=\"304\" width=\"24\" height=\"12\"/><text class=\"soft\" x=\"476\" y=\"314\">95 % interval</text>"
    );
    if width == 1 {
        svg.push_str(
            "<path class=\"fail\" d=\"M576 315v-9\"/><text class=\"soft\" x=\"584\" y=\"314\">came to nothing</text>",
        );
    }
}
