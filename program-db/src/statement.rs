//! Whether SQL is one statement that reads.
//!
//! The connection that runs it can't write to the database in any case. This is for what a read-only connection can
//! still do (`VACUUM INTO` and `ATTACH` make files), for more than one statement, and for a clear message.

/// How a statement that reads begins.
const READING: &[&str] = &["SELECT", "WITH", "VALUES", "EXPLAIN"];

/// The statement without what surrounds it, or what is wrong with it.
pub(crate) fn reading(sql: &str) -> Result<&str, String> {
    let mut rest = skip_blank(sql);
    while let Some(after) = rest.strip_prefix(';') {
        rest = skip_blank(after);
    }
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if word.is_empty() {
        return Err("there is no SQL; it begins with SELECT, WITH, VALUES or EXPLAIN".to_owned());
    }
    if !READING.iter().any(|reading| reading.eq_ignore_ascii_case(&word)) {
        return Err(format!("not `{word}`, but SELECT, WITH, VALUES or EXPLAIN"));
    }
    let end = end_of_statement(rest);
    let mut after = skip_blank(&rest[end..]);
    while let Some(more) = after.strip_prefix(';') {
        after = skip_blank(more);
    }
    if after.is_empty() {
        return Ok(&rest[..end]);
    }
    let next: String = after.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    Err(format!("one statement at a time; a second one begins with `{next}`"))
}

/// Without leading spaces and comments.
fn skip_blank(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    while let Some(after) = comment(rest) {
        rest = after.trim_start();
    }
    rest
}

/// What follows the comment that `sql` begins with.
fn comment(sql: &str) -> Option<&str> {
    if sql.starts_with("--") {
        return Some(sql.find('\n').map_or("", |end| &sql[end + 1..]));
    }
    // SQLite lets the end of the text end a comment.
    sql.strip_prefix("/*").map(|inside| inside.find("*/").map_or("", |end| &inside[end + 2..]))
}

/// The position of the first semicolon outside of quotes and comments, or the length.
fn end_of_statement(sql: &str) -> usize {
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        if c == ';' {
            return sql.len() - rest.len();
        }
        let inside = &rest[c.len_utf8()..];
        rest = match c {
            // A doubled quote ends one text and begins another, which is as good here.
            '\'' | '"' | '`' => inside.find(c).map_or("", |end| &inside[end + 1..]),
            '[' => inside.find(']').map_or("", |end| &inside[end + 1..]),
            _ => comment(rest).unwrap_or(inside),
        };
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::reading;

    #[test]
    fn one_reading_statement_passes_whatever_surrounds_it() {
        for (sql, statement) in [
            ("SELECT 1", "SELECT 1"),
            ("  -- why\n /* so */ ;; select ';' ; -- done", "select ';' "),
            ("WITH a AS (SELECT 1) SELECT * FROM a;", "WITH a AS (SELECT 1) SELECT * FROM a"),
            (
                "SELECT \"a;b\", [c;d], `e;f`, 'it''s;' /* ; */ -- ;",
                "SELECT \"a;b\", [c;d], `e;f`, 'it''s;' /* ; */ -- ;",
            ),
            ("VALUES (1)", "VALUES (1)"),
            ("explain query plan select 1", "explain query plan select 1"),
        ] {
            assert_eq!(reading(sql), Ok(statement));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_first_word() {
        for (sql, word) in [
            ("DELETE FROM outcome", "DELETE"),
            ("/* SELECT */ drop table run", "drop"),
            ("ATTACH 'x.db' AS x", "ATTACH"),
            ("VACUUM INTO 'copy.db'", "VACUUM"),
            ("PRAGMA query_only = 0", "PRAGMA"),
            ("SELECT 1; DROP TABLE run", "DROP"),
            ("SELECT ''; ATTACH 'x.db' AS x", "ATTACH"),
            ("", "no SQL"),
            ("-- SELECT 1", "no SQL"),
            (" ; ", "no SQL"),
        ] {
            let why = reading(sql).unwrap_err();
            assert!(why.contains(word), "{sql}: {why}");
        }
    }
}
