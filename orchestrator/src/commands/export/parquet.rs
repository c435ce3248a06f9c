//! Parquet: typed columns, compressed, for data frames.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type as Schema;
use program_db::{Table, Value};

use super::Writer;
use super::columns::Type;

/// Rows of a group, or fewer if they are long.
const GROUP_ROWS: usize = 16_384;
const GROUP_BYTES: usize = 64 << 20;

#[derive(Default)]
pub(super) struct Parquet {
    writer: Option<SerializedFileWriter<BufWriter<File>>>,
    columns: Vec<(String, Type)>,
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Writer for Parquet {
    fn begin(&mut self, file: BufWriter<File>, columns: &[String]) -> Result<(), String> {
        self.columns = columns.iter().map(|column| (column.clone(), Type::of(column))).collect();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = schema(&self.columns)
            .and_then(|schema| SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)));
        self.writer = Some(writer.map_err(words)?);
        Ok(())
    }

    fn write(&mut self, table: &Table) -> Result<(), String> {
        self.bytes += table.rows.iter().flatten().map(length).sum::<usize>();
        self.rows.extend(table.rows.iter().cloned());
        if self.rows.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES { self.write_group() } else { Ok(()) }
    }

    fn end(mut self) -> Result<(), String> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        match self.writer {
            Some(writer) => writer.close().map(drop).map_err(words),
            None => Ok(()),
        }
    }
}

fn words(error: ParquetError) -> String {
    error.to_string()
}

fn length(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        _ => 8,
    }
}

fn schema(columns: &[(String, Type)]) -> Result<Schema, ParquetError> {
    let fields = columns.iter().map(|(name, kind)| {
        let (physical, converted) = match kind {
            Type::Integer => (Physical::INT64, ConvertedType::NONE),
            Type::Real => (Physical::DOUBLE, ConvertedType::NONE),
            Type::Text => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        };
        Schema::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(converted)
            .build()
            .map(Arc::new)
    });
    let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
    Schema::group_type_builder("proposals").with_fields(fields).build()
}

impl Parquet {
    fn write_group(&mut self) -> Result<(), String> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let group = |writer: &mut SerializedFileWriter<BufWriter<File>>| -> Result<(), ParquetError> {
            let mut group = writer.next_row_group()?;
            let mut index = 0;
            while let Some(mut column) = group.next_column()? {
                write_column(column.untyped(), rows.iter().map(|row| &row[index]))?;
                column.close()?;
                index += 1;
            }
            group.close().map(drop)
        };
        group(writer).map_err(words)
    }
}

/// A value of another type than its column's is left out: SQLite would let one in, but nothing of ours writes one.
fn write_column<'a>(
    column: &mut ColumnWriter<'_>,
    values: impl Iterator<Item = &'a Value> + Clone,
) -> Result<(), ParquetError> {
    match column {
        ColumnWriter::Int64ColumnWriter(column) => {
            let value = |value: &Value| match value {
                Value::Integer(value) => Some(*value),
                _ => None,
            };
            let (present, levels) = split(values, value);
            column.write_batch(&present, Some(&levels), None).map(drop)
        }
        ColumnWriter::DoubleColumnWriter(column) => {
            let value = |value: &Value| match value {
                Value::Real(value) => Some(*value),
                Value::Integer(value) => Some(*value as f64),
                _ => None,
            };
            let (present, levels) = split(values, value);
            column.write_batch(&present, Some(&levels), None).map(drop)
        }
        ColumnWriter::ByteArrayColumnWriter(column) => {
            let value = |value: &Value| match value {
                Value::Text(text) => Some(ByteArray::from(text.as_str())),
                Value::Null | Value::Blob(_) => None,
                Value::Integer(value) => Some(ByteArray::from(value.to_string().as_str())),
                Value::Real(value) => Some(ByteArray::from(value.to_string().as_str())),
            };
            let (present, levels) = split(values, value);
            column.write_batch(&present, Some(&levels), None).map(drop)
        }
        _ => Err(ParquetError::General("a column has a type that isn't written".to_owned())),
    }
}

/// What is there, and where (1) or where not (0).
fn split<'a, T>(
    values: impl Iterator<Item = &'a Value>,
    value: impl Fn(&Value) -> Option<T>,
) -> (Vec<T>, Vec<i16>) {
    let mut present = Vec::new();
    let mut levels = Vec::new();
    for one in values {
        let found = value(one);
        levels.push(i16::from(found.is_some()));
        present.extend(found);
    }
    (present, levels)
}
