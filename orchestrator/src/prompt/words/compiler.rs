//! A compiler's words, cut down to what helps to mend a program.

/// Errors shown.
const ERRORS: usize = 3;

/// Lines shown of one error.
const LINES: usize = 16;

/// Notes that say where something is defined, or what trait is missing for what, help; these don't.
const NOISE: [&str; 6] = [
    "error: aborting due to",
    "error: could not compile",
    "For more information about",
    "Some errors have detailed",
    "= note: this error originates in",
    "= note: `#[warn(",
];

/// The first errors with their code lines, without warnings, closing words and repetitions.
pub(super) fn essence(words: &str) -> String {
    let mut diagnostics: Vec<Vec<&str>> = vec![Vec::new()];
    for line in words.lines() {
        if NOISE.iter().any(|noise| line.trim_start().starts_with(noise)) {
            continue;
        }
        if starts(line) {
            diagnostics.push(Vec::new());
        }
        if let Some(last) = diagnostics.last_mut() {
            last.push(line);
        }
    }
    let mut errors: Vec<Vec<&str>> = Vec::new();
    for diagnostic in diagnostics {
        let is_warning = diagnostic.first().is_some_and(|line| line.starts_with("warning"));
        let is_known = errors.iter().any(|error| error.first() == diagnostic.first() && diagnostic.len() > 1);
        if !is_warning && !is_known && diagnostic.iter().any(|line| !line.trim().is_empty()) {
            errors.push(diagnostic);
        }
    }
    let shown = errors.iter().take(ERRORS).map(|error| shortened(error)).collect::<Vec<_>>().join("\n\n");
    match errors.len().saturating_sub(ERRORS) {
        0 => shown,
        more => format!("{shown}\n\n... and {more} more errors"),
    }
}

/// Whether a line begins a diagnostic of rustc or of a C compiler.
fn starts(line: &str) -> bool {
    ["error", "warning"].iter().any(|kind| {
        line.strip_prefix(kind).is_some_and(|rest| rest.starts_with(':') || rest.starts_with('['))
    }) || !line.starts_with([' ', '\t']) && line.contains(": error:")
}

/// The first lines of an error, without blank ones.
fn shortened(error: &[&str]) -> String {
    let lines: Vec<&str> = error.iter().copied().filter(|line| !line.trim().is_empty()).collect();
    let kept = lines.iter().take(LINES).copied().collect::<Vec<_>>().join("\n");
    if lines.len() > LINES { format!("{kept}\n  ...") } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_errors_are_kept_with_their_code_and_noise_is_not() {
        let words = "warning: unused variable: `x`\n --> candidate.rs:2:9\n\n\
            error[E0308]: mismatched types\n --> candidate.rs:5:11\n  |\n5 |     x.add(\"1\")\n  |           ^^^ expected `f32`, found `&str`\n\n\
            error[E0425]: cannot find value `y` in this scope\n --> candidate.rs:6:5\n\n\
            error: aborting due to 2 previous errors\n\nFor more information about this error, try `rustc --explain E0308`.\n";
        assert_eq!(
            essence(words),
            "error[E0308]: mismatched types\n --> candidate.rs:5:11\n  |\n5 |     x.add(\"1\")\n  |           ^^^ expected `f32`, found `&str`\n\n\
             error[E0425]: cannot find value `y` in this scope\n --> candidate.rs:6:5"
        );
    }

    #[test]
    fn of_many_errors_the_rest_is_counted_and_long_ones_are_cut() {
        let words: String = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
            .map(|name| ["error[E0001]: no ", name, "\n --> x.rs:1:1\n"].concat())
            .concat();
        assert!(essence(&words).ends_with("... and 6 more errors"), "{}", essence(&words));
        let long = format!("error: long\n{}", " = note: x\n".repeat(100));
        assert_eq!(essence(&long).lines().count(), LINES + 1);
        assert_eq!(essence("no compiler's words"), "no compiler's words");
        assert_eq!(essence(""), "");
    }
}
