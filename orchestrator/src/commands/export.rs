//! `evolve export`: a run for other tools.

mod columns;
mod parquet;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use program_db::{ProgramDb, RunId, Table, Value};
use search::{Language, ProgramId};

use super::open::{reading, run_of, storage};
use crate::checkpoint::{self, write::Style};
use crate::cli::{ExportArgs, ExportFormat, Overrides, ProposerName};
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};

/// Rows read at once.
const CHUNK: u32 = 512;

pub(super) async fn export(db: Option<&Path>, arguments: &ExportArgs) -> Result<ExitCode, Failure> {
    let db = reading(db).await?;
    let run = run_of(&db, arguments.run).await?;
    let out = &arguments.out;
    let what = match arguments.format {
        ExportFormat::Openevolve => {
            let style = style(&db, run).await?;
            let written = checkpoint::write::write(&db, run, out, &style).await?;
            let left_out = match written.left_out {
                0 => String::new(),
                count => format!("; {count} proposals led to no program and have no place there"),
            };
            format!("{} programs{left_out}", written.programs)
        }
        ExportFormat::Json => format!("{} proposals", rows(&db, run, out, Json::default()).await?),
        ExportFormat::Csv => format!("{} proposals", rows(&db, run, out, Csv::default()).await?),
        ExportFormat::Parquet => {
            format!("{} proposals", rows(&db, run, out, parquet::Parquet::default()).await?)
        }
    };
    eprintln!("run {run}: {what} in {}", out.display());
    Ok(ExitCode::Success)
}

/// What the run's stored configuration says of its programs; where it can't be read any more, what is usual.
async fn style(db: &ProgramDb, run: RunId) -> Result<Style, Failure> {
    let about = db.run(run).await.map_err(storage)?;
    let overrides = Overrides { proposer: vec![ProposerName::Rewrite], ..Overrides::default() };
    let config = Config::from_stored(Path::new(&about.config_path), &about.config, &overrides);
    let (initial, language, archive) = match &config {
        Ok(config) => (
            config.problem.problem.initial_program().to_owned(),
            config.problem.problem.language(),
            config.search.archive_size * config.search.num_islands,
        ),
        Err(error) => {
            tracing::info!("{error}");
            ("initial_program.py".into(), Language::Python, 100)
        }
    };
    let extension = checkpoint::extension(&initial);
    let language = match language {
        Language::Rust => "rust".to_owned(),
        Language::Python => "python".to_owned(),
        Language::Other => extension.trim_start_matches('.').to_owned(),
    };
    Ok(Style { extension, language, archive })
}

/// Writes tables piece by piece.
trait Writer {
    fn begin(&mut self, file: BufWriter<File>, columns: &[String]) -> Result<(), String>;
    fn write(&mut self, table: &Table) -> Result<(), String>;
    fn end(self) -> Result<(), String>;
}

/// Writes a run's proposals; returns how many.
async fn rows(db: &ProgramDb, run: RunId, out: &Path, mut writer: impl Writer) -> Result<u64, Failure> {
    let failed = |error: String| Failure::usage(format!("{}: can't be written: {error}", out.display()));
    let file = File::create(out).map_err(|error| failed(error.to_string()))?;
    let mut file = Some(BufWriter::new(file));
    let mut after = None;
    let mut count = 0;
    loop {
        let table = db.proposals(run, after, CHUNK).await.map_err(storage)?;
        if let Some(file) = file.take() {
            writer.begin(file, &table.columns).map_err(failed)?;
        }
        writer.write(&table).map_err(failed)?;
        count += table.rows.len() as u64;
        let number = table.columns.iter().position(|column| column == "number");
        let last = table.rows.last().zip(number).map(|(row, number)| &row[number]);
        match last {
            Some(Value::Integer(last)) => after = Some(ProgramId(last.cast_unsigned())),
            _ => break,
        }
    }
    writer.end().map_err(failed)?;
    Ok(count)
}

/// An array of objects; `metrics` is an object too.
#[derive(Default)]
struct Json {
    file: Option<BufWriter<File>>,
    rows: u64,
}

impl Writer for Json {
    fn begin(&mut self, file: BufWriter<File>, _: &[String]) -> Result<(), String> {
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, table: &Table) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        for row in &table.rows {
            let object: serde_json::Map<_, _> = table
                .columns
                .iter()
                .zip(row)
                .map(|(column, value)| {
                    let value = match value {
                        Value::Text(text) if column == "metrics" => {
                            serde_json::from_str(text).unwrap_or_else(|_| text.clone().into())
                        }
                        value => serde_json::to_value(value).unwrap_or_default(),
                    };
                    (column.clone(), value)
                })
                .collect();
            let line = serde_json::to_string(&object).map_err(|error| error.to_string())?;
            let before = if self.rows == 0 { "[\n" } else { ",\n" };
            write!(file, "{before}{line}").map_err(|error| error.to_string())?;
            self.rows += 1;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let rest = if self.rows == 0 { "[]\n" } else { "\n]\n" };
        write!(file, "{rest}").and_then(|()| file.flush()).map_err(|error| error.to_string())
    }
}

#[derive(Default)]
struct Csv {
    writer: Option<csv::Writer<BufWriter<File>>>,
}

impl Writer for Csv {
    fn begin(&mut self, file: BufWriter<File>, columns: &[String]) -> Result<(), String> {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns).map_err(|error| error.to_string())?;
        self.writer = Some(writer);
        Ok(())
    }

    fn write(&mut self, table: &Table) -> Result<(), String> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for row in &table.rows {
            let record = row.iter().map(super::table::csv_field);
            writer.write_record(record).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), String> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush().map_err(|error| error.to_string())
    }
}
