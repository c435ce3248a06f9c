//! From tokens to a filter.

use super::column::{ColumnKind, Field};
use super::token::{Spanned, Token, tokens};
use super::{Comparison, Condition, Filter, FilterError, Operand, Order};

/// How deep parentheses and `not` may nest. More than anybody writes, and less than the stack holds.
const MAX_DEPTH: usize = 100;

pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let condition = match parser.peek() {
        Token::End => None,
        Token::Word(word) if is(word, "order") || is(word, "limit") => None,
        _ => Some(parser.any()?),
    };
    let order = parser.order()?;
    let limit = parser.limit()?;
    match parser.peek() {
        Token::End => Ok(Filter { condition, order, limit }),
        Token::Symbol(")") => Err(parser.wrong("this parenthesis was never opened")),
        Token::Symbol("%") => Err(parser.wrong("% belongs after a number")),
        _ => Err(parser.wrong("expected `and`, `or`, `order by`, `limit` or the end")),
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Spanned>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].token.clone();
        // The end stays where it is.
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the keyword if it is next.
    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(word) if is(word, keyword));
        if found {
            self.advance();
        }
        found
    }

    /// Takes the symbol if it is next.
    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        if found {
            self.advance();
        }
        found
    }

    /// An error about the next token.
    fn wrong(&self, message: impl Into<String>) -> FilterError {
        FilterError::new(self.text, self.tokens[self.next].at.clone(), message)
    }

    /// An error about the tokens from `from` up to the next.
    fn wrong_since(&self, from: usize, message: impl Into<String>) -> FilterError {
        let last = self.next.max(from + 1) - 1;
        FilterError::new(self.text, self.tokens[from].at.start..self.tokens[last].at.end, message)
    }

    fn any(&mut self) -> Result<Condition, FilterError> {
        let mut condition = self.all()?;
        while self.keyword("or") {
            condition = Condition::Or(Box::new(condition), Box::new(self.all()?));
        }
        Ok(condition)
    }

    fn all(&mut self) -> Result<Condition, FilterError> {
        let mut condition = self.one()?;
        while self.keyword("and") {
            condition = Condition::And(Box::new(condition), Box::new(self.one()?));
        }
        Ok(condition)
    }

    fn one(&mut self) -> Result<Condition, FilterError> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("this nests too deep"));
        }
        self.depth += 1;
        let condition = if self.keyword("not") {
            Condition::Not(Box::new(self.one()?))
        } else if self.symbol("(") {
            let condition = self.any()?;
            if !self.symbol(")") {
                return Err(self.wrong("expected `and`, `or` or a closing parenthesis"));
            }
            condition
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn comparison(&mut self) -> Result<Condition, FilterError> {
        let start = self.next;
        let field = self.field()?;
        if self.keyword("is") {
            let negated = self.keyword("not");
            if !self.keyword("null") {
                return Err(self.wrong("expected `null`: `is null` or `is not null`"));
            }
            return Ok(Condition::IsNull { field, negated });
        }
        let operator = match self.peek() {
            Token::Symbol(symbol) => *symbol,
            _ => "",
        };
        let comparison = match operator {
            "=" | "==" => Comparison::Equal,
            "!=" | "<>" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "~" | "!~" => return self.contains(start, field, operator == "!~"),
            _ => {
                let name = field.name();
                return Err(
                    self.wrong(format!("expected =, !=, <, <=, >, >=, ~, !~ or `is null` after `{name}`"))
                );
            }
        };
        self.advance();
        let value = self.operand(&field)?;
        Ok(Condition::Compare { field, comparison, value })
    }

    fn contains(&mut self, start: usize, field: Field, negated: bool) -> Result<Condition, FilterError> {
        self.advance();
        if !field.kind().is_text() {
            let message = format!("`{}` is a number, and ~ looks into text; use = or <", field.name());
            return Err(self.wrong_since(start, message));
        }
        match self.operand(&field)? {
            Operand::Text(text) => Ok(Condition::Contains { field, text, negated }),
            Operand::Number(_) => Err(self.wrong_since(start, "~ looks for text")),
        }
    }

    fn field(&mut self) -> Result<Field, FilterError> {
        let start = self.next;
        let Token::Word(name) = self.peek().clone() else {
            return Err(self.wrong("expected a column"));
        };
        self.advance();
        let field = match (name.as_str(), self.peek().clone()) {
            ("metrics.", Token::Text(metric)) => {
                self.advance();
                Field::metric(&metric)
            }
            _ => Field::named(&name),
        };
        field.map_err(|message| self.wrong_since(start, message))
    }

    /// What a column is compared with.
    fn operand(&mut self, field: &Field) -> Result<Operand, FilterError> {
        let start = self.next;
        let kind = field.kind();
        let value = match self.peek().clone() {
            Token::Text(text) => {
                self.advance();
                Operand::Text(text)
            }
            Token::Number(..) if kind.is_text() => {
                self.advance();
                // 2026-01-31 is read as three numbers, 0.32.2 as two.
                while matches!(self.peek(), Token::Number(..) | Token::Word(_)) && self.touches_previous() {
                    self.advance();
                }
                let bytes = self.tokens[start].at.start..self.tokens[self.next - 1].at.end;
                Operand::Text(self.text[bytes].to_owned())
            }
            Token::Number(number, _) => {
                self.advance();
                Operand::Number(number * self.unit(field)?)
            }
            Token::Word(word) if is(&word, "null") => {
                return Err(self.wrong("write `is null` or `is not null`"));
            }
            Token::Word(word)
                if !["and", "or", "not", "order", "limit"].iter().any(|keyword| is(&word, keyword)) =>
            {
                self.advance();
                Operand::Text(word)
            }
            _ => return Err(self.wrong(format!("expected a value for `{}`", field.name()))),
        };
        if matches!(value, Operand::Text(_)) && !kind.is_text() {
            let message = format!("`{}` is a number and can't be compared with text", field.name());
            return Err(self.wrong_since(start, message));
        }
        Ok(value)
    }

    /// The factor of the unit after a number, 1 if there is none.
    fn unit(&mut self, field: &Field) -> Result<f64, FilterError> {
        let kind = field.kind();
        let unit = match self.peek() {
            Token::Word(word) => word.clone(),
            Token::Symbol("%") => "%".to_owned(),
            _ => return Ok(1.0),
        };
        if let Some(factor) = kind.factor(&unit) {
            self.advance();
            return Ok(factor);
        }
        if ColumnKind::is_unit(&unit) || self.touches_previous() {
            return Err(self.wrong(format!("`{unit}` is no unit of `{}`: {}", field.name(), kind.units())));
        }
        Ok(1.0)
    }

    /// Whether there is no space before the next token.
    fn touches_previous(&self) -> bool {
        self.next > 0 && self.tokens[self.next - 1].at.end == self.tokens[self.next].at.start
    }

    fn order(&mut self) -> Result<Vec<Order>, FilterError> {
        let mut order = Vec::new();
        if !self.keyword("order") {
            return Ok(order);
        }
        if !self.keyword("by") {
            return Err(self.wrong("expected `by`: `order by score desc`"));
        }
        loop {
            let field = self.field()?;
            let descending = self.keyword("desc");
            if !descending {
                self.keyword("asc");
            }
            order.push(Order { field, descending });
            if !self.symbol(",") {
                return Ok(order);
            }
        }
    }

    fn limit(&mut self) -> Result<Option<u32>, FilterError> {
        if !self.keyword("limit") {
            return Ok(None);
        }
        let limit = match self.peek() {
            Token::Number(_, spelling) => spelling.parse().ok().filter(|limit| *limit > 0),
            _ => None,
        };
        let Some(limit) = limit else {
            return Err(self.wrong("expected a whole number from 1 on: `limit 10`"));
        };
        self.advance();
        Ok(Some(limit))
    }
}
