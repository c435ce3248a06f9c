//! The command line: what can be asked for. `commands` does it.

mod mcp;
mod serve;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use search::ProgramId;
use serde::{Deserialize, Serialize};

pub use self::mcp::McpArgs;
pub use self::serve::ServeArgs;
pub use self::watch::WatchArgs;

/// Evolutionary code search whose results hold.
///
/// Asks a language model (or rewrite rules) for better versions of the EVOLVE-BLOCK of a program, builds and measures
/// each one, and keeps everything in a SQLite file.
#[derive(Debug, Parser)]
#[command(name = "evolve", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// The database. Default: the configuration's `database`, else evolve.db.
    #[arg(long, global = true, value_name = "FILE")]
    pub db: Option<PathBuf>,

    /// Print more of what happens inside (-v, -vv), on standard error.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// How diagnostics are written on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Send spans (runs, proposals, evaluations, requests) to an OpenTelemetry collector there, as OTLP over HTTP: `http://127.0.0.1:4318`
    /// [default: the variable `OTEL_EXPORTER_OTLP_ENDPOINT`, else nowhere].
    #[arg(long, global = true, value_name = "URL")]
    pub otlp: Option<String>,
}

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Cli {
    /// How much diagnostics are wanted; OpenEvolve's DEBUG is `-vv`.
    pub fn verbosity(&self) -> u8 {
        match &self.command {
            Command::Run(run) if run.openevolve.log_level == Some(LogLevel::Debug) => self.verbose.max(2),
            _ => self.verbose,
        }
    }

    /// Whether it is one search, and nothing beside it.
    pub fn searches(&self) -> bool {
        matches!(self.command, Command::Run(_) | Command::Resume(_))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a search (or, with --resume, go on with the latest). Also as OpenEvolve is called: `evolve run
    /// INITIAL_PROGRAM EVALUATOR --config config.yaml`, or `evolve run FOLDER`.
    Run(Box<RunArgs>),
    /// Go on with a search from where its database ends.
    Resume(ResumeArgs),
    /// List the runs in the database.
    Runs {
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Print the best program of a run, or write it to a file.
    Best {
        /// The run (default: the latest).
        run: Option<i64>,
        /// Write the source here instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show one program: its verdict and why, trials, pairs, decisions, artifacts, source.
    Show {
        /// Program number, or RUN/NUMBER.
        program: ProgramRef,
        /// Also print the prompt and the reply that it came from.
        #[arg(long)]
        prompt: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what differs between two programs.
    Diff {
        /// Program number, or RUN/NUMBER.
        a: ProgramRef,
        /// Program number, or RUN/NUMBER.
        b: ProgramRef,
    },
    /// Show a program's ancestors, from the initial program on.
    Lineage {
        /// Program number, or RUN/NUMBER.
        program: ProgramRef,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Find programs: `evolve query 'score > 1.1 and island = 2 order by score desc'`, or read-only SQL with --sql.
    Query {
        /// The expression; without one, all programs.
        expression: Option<String>,
        /// The expression is SQL (read-only; the views and tables are described in migrations/README.md).
        #[arg(long)]
        sql: bool,
        /// Only this run (default: the latest).
        #[arg(long, conflicts_with_all = ["all_runs", "sql"])]
        run: Option<i64>,
        /// All runs.
        #[arg(long, conflicts_with = "sql")]
        all_runs: bool,
        /// How to print.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// The final report of a run: its best program against the original and against MLX-LM's own layer on fresh pairs, and how
    /// steady the machine was.
    Report(ReportArgs),
    /// Evaluate one program file as the search would, without storing anything.
    Evaluate {
        /// The program.
        #[arg(id = "initial_program", value_name = "PROGRAM")]
        program: PathBuf,
        /// An evaluator as OpenEvolve has it: a Python file with `evaluate(path)`, or an executable that prints JSON.
        evaluator: Option<PathBuf>,
        /// The configuration whose problem it is for; with EVALUATOR one in OpenEvolve's words, or none.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// What the evaluator may do.
        #[command(flatten)]
        access: AccessArgs,
        /// Run the program with nothing between it and this machine. Every report will say so, in red.
        #[arg(long)]
        no_sandbox: bool,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Measure how noisy this machine is: the same program again and again, and what effects can be found at that noise.
    Calibrate(CalibrateArgs),
    /// Print the prompt that a model would get for the next proposal, or for one from a given program. Nothing is sent.
    Prompt(PromptArgs),
    /// Print what a model wrote down as the lessons of a run.
    Lessons {
        /// The run (default: the latest).
        run: Option<i64>,
        /// All versions, with those that came to nothing.
        #[arg(long)]
        all: bool,
        /// Print all versions as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a run of an OpenEvolve checkpoint, to be looked at, and gone on with if its evaluator is named.
    Import(ImportArgs),
    /// Write a run out: as a checkpoint for OpenEvolve and its visualizer, or as a table for other tools.
    Export(ExportArgs),
    /// Watch, steer and query searches in a browser and over HTTP (docs/service.md).
    Serve(ServeArgs),
    /// Watch a run on this terminal: progress, scores, islands, outcomes, cost. Reads the database only.
    Watch(WatchArgs),
    /// Answer coding agents on standard input and output (Model Context Protocol; docs/agents.md).
    Mcp(McpArgs),
    /// Say what works on this machine: compiler, MLX and its backend, database, endpoint; with --attacks, whether its
    /// sandbox and its judge hold.
    Doctor {
        /// A folder of OpenEvolve's to check, as `evolve run FOLDER` reads it, instead of a configuration.
        #[arg(id = "initial_program", value_name = "FOLDER", conflicts_with_all = ["config", "attacks"])]
        folder: Option<PathBuf>,
        /// What its evaluator may do.
        #[command(flatten)]
        access: AccessArgs,
        /// The configuration to check.
        #[arg(short, long, default_value = "config.yaml", value_name = "FILE")]
        config: PathBuf,
        /// Ask each model once, with a request of some tokens: is it there, are key and name accepted, does it stream.
        #[arg(long, conflicts_with = "attacks")]
        endpoint: bool,
        /// The attack suite.
        #[command(flatten)]
        attacks: AttackArgs,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `evolve run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration (default: config.yaml here; as OpenEvolve is called: none, and its defaults; of a folder: its own).
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// OpenEvolve's call.
    #[command(flatten)]
    pub openevolve: OpenEvolveArgs,
    /// Go on with the latest run in the database instead of starting one.
    #[arg(long)]
    pub resume: bool,
    /// What overrides the configuration.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// What OpenEvolve's command line has, with its meaning.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "As OpenEvolve is called")]
pub struct OpenEvolveArgs {
    /// The program to start from; or alone a folder with `initial_program.*`, `evaluator.py` and perhaps `config.yaml`.
    pub initial_program: Option<PathBuf>,
    /// A Python file with `evaluate(path)`, or an executable that prints JSON.
    pub evaluator: Option<PathBuf>,
    /// Where results go: the database, `best/best_program.*` and `best/best_program_info.json` [default:
    /// `openevolve_output` beside the initial program].
    #[arg(short, long, value_name = "DIR", requires = "initial_program")]
    pub output: Option<PathBuf>,
    /// Go on from an OpenEvolve checkpoint, which is imported as a run of its own, or from an output folder of evolve's.
    #[arg(long, value_name = "DIR", requires = "initial_program", conflicts_with = "resume")]
    pub checkpoint: Option<PathBuf>,
    /// How much is said: WARNING and above only warnings, DEBUG what happens inside.
    #[arg(short, long, value_enum, ignore_case = true, value_name = "LEVEL", requires = "initial_program")]
    pub log_level: Option<LogLevel>,
    /// Base of the model's endpoint, in place of the configuration's.
    #[arg(long, value_name = "URL", requires = "initial_program")]
    pub api_base: Option<String>,
    /// The model, in place of the configuration's.
    #[arg(long, value_name = "NAME", requires = "initial_program")]
    pub primary_model: Option<String>,
    /// A second model, asked in a fifth of the cases.
    #[arg(long, value_name = "NAME", requires = "initial_program")]
    pub secondary_model: Option<String>,
    /// What the evaluator may do.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// What an evaluator may do besides computing and reading its folder.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct AccessArgs {
    /// The Python interpreter for the evaluator [default: python3 in PATH, so that of an active environment].
    #[arg(long, value_name = "FILE", requires = "initial_program")]
    pub python: Option<PathBuf>,
    /// Let the evaluator use the network.
    #[arg(long, requires = "initial_program")]
    pub allow_network: bool,
    /// Let the evaluator read this file or folder too.
    #[arg(long, value_name = "PATH", requires = "initial_program")]
    pub allow_read: Vec<PathBuf>,
    /// Let the evaluator, and the programs it runs, see this environment variable.
    #[arg(long, value_name = "NAME", requires = "initial_program")]
    pub pass_env: Vec<String>,
}

/// OpenEvolve's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
#[allow(missing_docs)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

/// `evolve resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run (default: the latest).
    pub run: Option<i64>,
    /// A configuration to use in place of the one stored with the run (the search's own settings must not change).
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What overrides the configuration.
    #[command(flatten)]
    pub overrides: Overrides,
}

/// `evolve prompt`.
#[derive(Debug, Args)]
pub struct PromptArgs {
    /// The program to start from, or a failed one to mend: NUMBER or RUN/NUMBER (default: the one that search chooses next).
    pub program: Option<ProgramRef>,
    /// What the model is asked to do: edit, `full_rewrite`, crossover, repair, simplify (default: as the search would).
    #[arg(long, value_name = "NAME")]
    pub operator: Option<String>,
    /// The seed that chooses among variants of templates (default: the next proposal's).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// A configuration to use in place of the one stored with the run, such as one with another `prompt` section.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `evolve import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// An OpenEvolve checkpoint (`openevolve_output/checkpoints/checkpoint_100`).
    pub checkpoint: PathBuf,
    /// The program that the search began with, if the checkpoint has lost it.
    #[arg(long, value_name = "FILE")]
    pub initial: Option<PathBuf>,
    /// Its evaluator: with it the run can be resumed.
    #[arg(long, value_name = "FILE", requires = "initial")]
    pub evaluator: Option<PathBuf>,
    /// Its configuration, in OpenEvolve's words.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `evolve export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run (default: the latest).
    pub run: Option<i64>,
    /// What to write.
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// Where to: a folder for `openevolve` (a new or empty one), else a file.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A checkpoint folder.
    Openevolve,
    /// An array of objects, one for each proposal.
    Json,
    /// One row for each proposal.
    Csv,
    /// One row for each proposal, typed columns, compressed.
    Parquet,
}

/// `evolve report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run (default: the latest).
    pub run: Option<i64>,
    /// Write it here: as one HTML file with all drawings, which needs nothing else; or in what --format says.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As what (default: text; with --out, html).
    #[arg(long, value_enum)]
    pub format: Option<ReportFormat>,
    /// First measure the comparisons that are missing (some minutes).
    #[arg(long)]
    pub measure: bool,
    /// With --measure: run the programs with nothing between them and this machine.
    #[arg(long, requires = "measure")]
    pub no_sandbox: bool,
    /// Print as JSON, with all scores, endings and makers: --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal.
    Text,
    /// Markdown.
    Md,
    /// JSON.
    Json,
    /// One HTML file.
    Html,
}

/// `evolve calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// The configuration whose problem is measured.
    #[arg(short, long, default_value = "config.yaml", value_name = "FILE")]
    pub config: PathBuf,
    /// Trials; the more, the surer the figures.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub trials: u32,
    /// Run the program with nothing between it and this machine.
    #[arg(long)]
    pub no_sandbox: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `evolve doctor --attacks`.
#[derive(Debug, Args)]
pub struct AttackArgs {
    /// Run the attack suite; with DIR also the attacks and honest programs there (docs/security.md tells the format).
    #[arg(long, value_name = "DIR", num_args = 0..=1, action = clap::ArgAction::Append)]
    pub attacks: Option<Vec<PathBuf>>,
    /// Run only cases whose path matches; `*` stands for any text.
    #[arg(long, value_name = "NAME", requires = "attacks")]
    pub only: Vec<String>,
    /// Where the decoys lie. The suite starts itself again with this.
    #[arg(long, hide = true, requires = "attacks")]
    pub decoys: Option<PathBuf>,
}

/// Flags that override a configuration's keys.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// Proposals in all, counted from the run's start (`max_iterations`).
    #[arg(short, long, value_name = "N")]
    pub iterations: Option<u64>,
    /// The run's seed (`random_seed`).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Stop at this score (`target_score`).
    #[arg(short, long, value_name = "SCORE")]
    pub target_score: Option<f64>,
    /// Stop after this many seconds (`max_wall_seconds`).
    #[arg(long, value_name = "SECONDS")]
    pub max_wall_seconds: Option<f64>,
    /// Who proposes, in place of the configuration's `proposer`: llm, rewrite, or both (`rewrite` needs no key).
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME")]
    pub proposer: Vec<ProposerName>,
    /// Most to spend on language models, over all sessions of the run (`llm.max_cost`).
    #[arg(long, value_name = "COST")]
    pub max_cost: Option<f64>,
    /// Most tokens to take, over all sessions of the run (`llm.max_total_tokens`).
    #[arg(long, value_name = "N")]
    pub max_total_tokens: Option<u64>,
    /// Keep every reply of a language model in this file, for --replay.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub record: Option<PathBuf>,
    /// Take the replies from this file instead of asking a language model; no network, no key.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Events as JSON lines on standard output.
    #[arg(long)]
    pub json: bool,
    /// Run candidates with nothing between them and this machine. Every report will say so, in red.
    #[arg(long)]
    pub no_sandbox: bool,
    /// No model will be asked: variables that hold keys need not be set.
    #[arg(skip)]
    pub offline: bool,
}

/// Who proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProposerName {
    /// A language model.
    Llm,
    /// The embedded rewrite rules.
    Rewrite,
}

/// How tables are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// An array of objects.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

/// A program: `17` in the latest run, or `3/17` for run 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramRef {
    /// The run, if named.
    pub run: Option<i64>,
    /// The program's number in it.
    pub number: ProgramId,
}

impl std::str::FromStr for ProgramRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (run, number) = match text.split_once('/') {
            Some((run, number)) => (Some(run), number),
            None => (None, text),
        };
        let wrong = || format!("a program is NUMBER or RUN/NUMBER, such as 17 or 3/17, not `{text}`");
        let run = run.map(str::parse).transpose().map_err(|_| wrong())?;
        Ok(Self { run, number: number.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_program_is_a_number_with_or_without_its_run() {
        assert_eq!("17".parse(), Ok(ProgramRef { run: None, number: ProgramId(17) }));
        assert_eq!("3/17".parse(), Ok(ProgramRef { run: Some(3), number: ProgramId(17) }));
        assert!("three/17".parse::<ProgramRef>().unwrap_err().contains("3/17"));
    }
}
