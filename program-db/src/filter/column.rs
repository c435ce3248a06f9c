//! What a filter can ask about.

/// A column of the view `proposals`.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether the answer has it even if the filter doesn't name it.
    pub shown: bool,
    /// For people.
    pub description: &'static str,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A number without unit; `k`, `M` and `%` may follow.
    Number,
    /// Bytes: `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB` may follow.
    Bytes,
    /// Seconds: `ms`, `s`, `min`, `h` may follow.
    Seconds,
    /// Text.
    Text,
    /// A time as text, e.g. `2026-01-31T12:00:00.000Z`; any beginning of one can be compared with.
    Time,
    /// Long text: never in the answer.
    LongText,
}

const fn column(name: &'static str, kind: ColumnKind, shown: bool, description: &'static str) -> Column {
    Column { name, kind, shown, description }
}

/// The columns, in the order in which an answer has them.
pub static COLUMNS: &[Column] = {
    use ColumnKind::{Bytes, LongText, Number, Seconds, Text, Time};
    &[
        column("run", Number, true, "the run's number"),
        column("number", Number, true, "the proposal's, and so the program's number in its run"),
        column("island", Number, true, "the island it was asked for"),
        column("parent", Number, true, "the program it was made from"),
        column("generation", Number, true, "lineage depth; null without a program"),
        column(
            "kind",
            Text,
            true,
            "how it ended: measured, compile, crash, ...; null while it isn't evaluated",
        ),
        column("score", Number, true, "what search maximises; null unless measured"),
        column("verdict", Text, true, "improved, regressed, inconclusive; null unless measured"),
        column("message", Text, false, "how it ended in one line"),
        column("proposer", Text, true, "initial, rewrite, llm, ..."),
        column("operator", Text, true, "what the proposer did"),
        column("model", Text, true, "the language model that answered"),
        column("tokens_per_second", Number, true, "mean over the candidate's trials"),
        column("peak_memory_bytes", Bytes, true, "mean of the allocator's peak over the candidate's trials"),
        column("validation_loss", Number, false, "mean over the candidate's trials"),
        column("trials", Number, false, "how many trials ran, baseline and failed ones included"),
        column("evaluation_seconds", Seconds, false, "from the evaluation's start to its end"),
        column("tokens_in", Number, false, "tokens sent to the model"),
        column("tokens_out", Number, false, "tokens received from the model"),
        column("tokens_cached", Number, false, "tokens sent that the endpoint had in its cache"),
        column("tokens_reasoning", Number, false, "tokens received that were reasoning"),
        column("tokens_estimated", Number, false, "1 if an endpoint didn't count the tokens"),
        column("cost", Number, false, "price of the tokens"),
        column("latency_seconds", Seconds, false, "from asking the proposer to the end of its reply"),
        column("requests", Number, false, "requests made to the model, failed ones included"),
        column("repairs", Number, false, "the failed proposal that it mends"),
        column("lesson", Number, false, "version of the lessons that its prompt showed"),
        column("left_out", LongText, false, "what its prompt left out for length"),
        column("protocol", Text, false, "the measurement protocol"),
        column("backend", Text, false, "cpu, metal or cuda"),
        column("device", Text, false, "the processor's or GPU's name"),
        column("mlx", Text, false, "MLX's version"),
        column("harness", Text, false, "the MLX harness's version"),
        column("evaluator", Text, false, "the evaluator's version"),
        column("sandbox", Text, false, "how well it was shut in: full, reduced, none"),
        column("code_hash", Text, false, "hash of the program's tokens; null without a program"),
        column("created_at", Time, true, "when the reply was there (UTC)"),
        column("source", LongText, false, "the program's text"),
        column("prompt", LongText, false, "what the model was sent"),
        column("reply", LongText, false, "what the model answered"),
    ]
};

/// What one comparison is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    Column(&'static Column),
    Metric(String),
}

impl Field {
    /// Finds a column, or says what might be meant.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let lower = name.to_lowercase();
        if let Some(column) = COLUMNS.iter().find(|column| column.name == lower) {
            return Ok(Self::Column(column));
        }
        if let Some(metric) = name.strip_prefix("metrics.") {
            return Self::metric(metric);
        }
        let nearest = COLUMNS
            .iter()
            .map(|column| (strsim::jaro_winkler(&lower, column.name), column.name))
            .filter(|(similarity, _)| *similarity > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, nearest)) = nearest {
            return Err(format!("there is no column `{name}`; did you mean `{nearest}`?"));
        }
        let shown: Vec<&str> =
            COLUMNS.iter().filter(|column| column.shown).map(|column| column.name).collect();
        Err(format!("there is no column `{name}`; there are {}, ... and metrics.NAME", shown.join(", ")))
    }

    pub(super) fn metric(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.contains('"') {
            return Err(
                "a metric is named like this: metrics.accuracy or metrics.\"top-1 accuracy\"".to_owned()
            );
        }
        Ok(Self::Metric(name.to_owned()))
    }

    pub(super) fn kind(&self) -> ColumnKind {
        match self {
            Self::Column(column) => column.kind,
            Self::Metric(_) => ColumnKind::Number,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Column(column) => column.name.to_owned(),
            Self::Metric(name) => format!("metrics.{name}"),
        }
    }
}

impl ColumnKind {
    /// How many of the column's own unit one of `unit` is.
    pub(super) fn factor(self, unit: &str) -> Option<f64> {
        self.factors().iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
    }

    /// Whether columns of some kind have this unit.
    pub(super) fn is_unit(unit: &str) -> bool {
        [Self::Number, Self::Bytes, Self::Seconds].iter().any(|kind| kind.factor(unit).is_some())
    }

    fn factors(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::Number => &[("k", 1e3), ("M", 1e6), ("%", 0.01)],
            Self::Bytes => &[
                ("B", 1.0),
                ("kB", 1e3),
                ("MB", 1e6),
                ("GB", 1e9),
                ("KiB", 1024.0),
                ("MiB", 1_048_576.0),
                ("GiB", 1_073_741_824.0),
            ],
            Self::Seconds => &[("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0)],
            Self::Text | Self::Time | Self::LongText => &[],
        }
    }

    /// The units, for an error message.
    pub(super) fn units(self) -> &'static str {
        match self {
            Self::Number => "k, M or %",
            Self::Bytes => "B, kB, MB, GB, KiB, MiB or GiB",
            Self::Seconds => "ms, s, min or h",
            Self::Text | Self::Time | Self::LongText => "no unit",
        }
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Time | Self::LongText)
    }
}
