//! From a filter to SQL with parameters.

use super::column::{COLUMNS, Field};
use super::{ColumnKind, Comparison, Condition, Filter, Operand};
use crate::run::RunId;

/// A parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bind {
    Integer(i64),
    Real(f64),
    Text(String),
}

/// SQL made of our own words only, its parameters, and the names of the columns it gives.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) sql: String,
    pub(crate) binds: Vec<Bind>,
    pub(crate) columns: Vec<String>,
}

impl Filter {
    /// The whole query, over one run or all.
    pub(crate) fn compile(&self, run: Option<RunId>) -> Compiled {
        let mut compiled = Compiled { sql: "SELECT ".to_owned(), ..Compiled::default() };
        for (index, field) in self.shown(run).iter().enumerate() {
            compiled.push(if index == 0 { "" } else { ", " });
            compiled.field(field);
            compiled.columns.push(field.name());
        }
        compiled.push(" FROM proposals WHERE ");
        match run {
            Some(run) => compiled.push("run = ").bind(Bind::Integer(run)),
            None => compiled.push("1"),
        };
        if let Some(condition) = &self.condition {
            compiled.push(" AND ").condition(condition);
        }
        compiled.push(" ORDER BY ");
        for order in &self.order {
            compiled
                .field(&order.field)
                .push(if order.descending { " DESC" } else { " ASC" })
                .push(" NULLS LAST, ");
        }
        compiled.push("run, number");
        if let Some(limit) = self.limit {
            compiled.push(" LIMIT ").bind(Bind::Integer(limit.into()));
        }
        compiled
    }

    /// The usual columns, and whatever else the filter names.
    fn shown(&self, run: Option<RunId>) -> Vec<Field> {
        let mut named = Vec::new();
        if let Some(condition) = &self.condition {
            condition.fields(&mut named);
        }
        named.extend(self.order.iter().map(|order| order.field.clone()));
        let is_named = |name| named.iter().any(|field| matches!(field, Field::Column(it) if it.name == name));
        let mut shown: Vec<Field> = COLUMNS
            .iter()
            .filter(|column| column.kind != ColumnKind::LongText)
            .filter(|column| {
                (column.shown && (column.name != "run" || run.is_none())) || is_named(column.name)
            })
            .map(Field::Column)
            .collect();
        for field in named {
            if matches!(field, Field::Metric(_)) && !shown.contains(&field) {
                shown.push(field);
            }
        }
        shown
    }
}

impl Condition {
    fn fields(&self, fields: &mut Vec<Field>) {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.fields(fields);
                b.fields(fields);
            }
            Self::Not(inner) => inner.fields(fields),
            Self::Compare { field, .. } | Self::Contains { field, .. } | Self::IsNull { field, .. } => {
                fields.push(field.clone());
            }
        }
    }
}

impl Compiled {
    fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    fn bind(&mut self, bind: Bind) -> &mut Self {
        self.sql.push('?');
        self.binds.push(bind);
        self
    }

    fn field(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Column(column) => self.push(column.name),
            Field::Metric(name) => {
                // A path in quotes takes any name without a quote in it, which `Field::metric` made sure of.
                self.push("json_extract(metrics, ").bind(Bind::Text(format!("$.\"{name}\""))).push(")")
            }
        }
    }

    fn condition(&mut self, condition: &Condition) -> &mut Self {
        self.push("(");
        match condition {
            Condition::And(a, b) => self.condition(a).push(" AND ").condition(b),
            Condition::Or(a, b) => self.condition(a).push(" OR ").condition(b),
            // A comparison with a missing value is null in SQL, and false here.
            Condition::Not(inner) => self.push("NOT coalesce(").condition(inner).push(", 0)"),
            Condition::Compare { field, comparison, value } => {
                let operator = match comparison {
                    Comparison::Equal => " = ",
                    Comparison::NotEqual => " IS NOT ",
                    Comparison::Less => " < ",
                    Comparison::LessOrEqual => " <= ",
                    Comparison::Greater => " > ",
                    Comparison::GreaterOrEqual => " >= ",
                };
                self.field(field).push(operator).bind(match value {
                    Operand::Number(number) => Bind::Real(*number),
                    Operand::Text(text) => Bind::Text(text.clone()),
                })
            }
            Condition::Contains { field, text, negated } => {
                self.push("(").field(field).push(" LIKE ").bind(Bind::Text(like(text)));
                self.push(" ESCAPE '\\')").push(if *negated { " IS NOT 1" } else { "" })
            }
            Condition::IsNull { field, negated } => {
                self.field(field).push(if *negated { " IS NOT NULL" } else { " IS NULL" })
            }
        };
        self.push(")")
    }
}

/// The pattern for "contains this text".
fn like(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
