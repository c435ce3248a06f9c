//! Prints tables: aligned, JSON, CSV.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as Pretty, presets};
use program_db::{Table, Value};

use super::text::printable;
use crate::cli::Format;
use crate::exit_code::{ExitCode, Failure};

/// Longest cell of an aligned table; the other formats cut nothing.
const LONGEST_CELL: usize = 60;

/// The table as text, with a line end at its end.
pub(super) fn render(table: &Table, format: Format) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(aligned(table)),
        Format::Json => json(table),
        Format::Csv => csv_text(table),
    }
}

fn aligned(table: &Table) -> String {
    let mut pretty = Pretty::new();
    pretty.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    pretty.set_header(table.columns.iter().map(Cell::new));
    for row in &table.rows {
        pretty.add_row(row.iter().map(|value| match value {
            Value::Null => Cell::new("-"),
            Value::Integer(number) => Cell::new(number).set_alignment(CellAlignment::Right),
            Value::Real(number) => Cell::new(real(*number)).set_alignment(CellAlignment::Right),
            Value::Text(text) => Cell::new(shortened(text)),
            Value::Blob(bytes) => Cell::new(format!("{} bytes", bytes.len())),
        }));
    }
    let lines: Vec<String> = pretty.lines().map(|line| line.trim_end().to_owned()).collect();
    let count = table.rows.len();
    let more = if table.truncated { " (and more: narrow it with a condition or LIMIT)" } else { "" };
    let rows = if count == 1 { "row" } else { "rows" };
    format!("{}\n{count} {rows}{more}\n", lines.join("\n"))
}

/// Few digits for people; JSON and CSV have all of them.
fn real(number: f64) -> String {
    if number.abs() >= 1e5 || (number != 0.0 && number.abs() < 1e-3) {
        format!("{number:.4e}")
    } else {
        format!("{number:.4}")
    }
}

fn shortened(text: &str) -> String {
    let line = printable(text).replace(['\n', '\t'], " ");
    if line.chars().count() <= LONGEST_CELL {
        return line;
    }
    line.chars().take(LONGEST_CELL - 1).chain(['…']).collect()
}

fn json(table: &Table) -> Result<String, Failure> {
    let rows: Vec<serde_json::Map<String, serde_json::Value>> = table
        .rows
        .iter()
        .map(|row| {
            let value = |value: &Value| serde_json::to_value(value).unwrap_or_default();
            table.columns.iter().cloned().zip(row.iter().map(value)).collect()
        })
        .collect();
    serde_json::to_string_pretty(&rows).map(|text| text + "\n").map_err(|error| internal(&error))
}

fn csv_text(table: &Table) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&table.columns).map_err(|error| internal(&error))?;
    for row in &table.rows {
        let record = row.iter().map(csv_field);
        writer.write_record(record).map_err(|error| internal(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| internal(&error))?;
    String::from_utf8(bytes).map_err(|error| internal(&error))
}

/// A value as a field of CSV, unquoted.
pub(super) fn csv_field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => hexadecimal(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure { code: ExitCode::Internal, message: format!("can't print the table: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            columns: vec!["number".into(), "score".into(), "note".into()],
            rows: vec![
                vec![Value::Integer(7), Value::Real(1.25), Value::Text("a, \"b\"\n\x1b[2J".into())],
                vec![Value::Integer(12), Value::Null, Value::Text("x".into())],
            ],
            truncated: false,
        }
    }

    #[test]
    fn an_aligned_table_has_no_escapes_and_counts_its_rows() {
        insta::assert_snapshot!(render(&table(), Format::Table).unwrap(), @r#"
         number  score   note
              7  1.2500  a, "b" \u{1b}[2J
             12  -       x
        2 rows
        "#);
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let text = render(&table(), Format::Csv).unwrap();
        assert_eq!(text, "number,score,note\n7,1.25,\"a, \"\"b\"\"\n\x1b[2J\"\n12,,x\n");
    }

    #[test]
    fn json_keeps_the_types_and_the_order_of_columns() {
        let text = render(&table(), Format::Json).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["score"], 1.25);
        assert!(rows[1]["score"].is_null());
        assert!(text.find("number") < text.find("score") && text.find("score") < text.find("note"));
    }
}
