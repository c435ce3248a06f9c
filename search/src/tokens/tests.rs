//! What makes two programs the same, as tables.

use super::Tokens;
use crate::code_hash::token_hash;
use crate::program::Language;

fn same(language: Language, cases: &[(&str, &str)]) {
    for (one, two) in cases {
        assert_eq!(
            Tokens::of(one, language),
            Tokens::of(two, language),
            "{language:?}: these are the same program:\n{one}\n---\n{two}"
        );
        assert_eq!(token_hash(one, language), token_hash(two, language));
    }
}

fn different(language: Language, cases: &[(&str, &str)]) {
    for (one, two) in cases {
        assert_ne!(
            token_hash(one, language),
            token_hash(two, language),
            "{language:?}: these are different programs:\n{one}\n---\n{two}"
        );
    }
}

#[test]
fn rust_spaces_and_comments_do_not_count() {
    same(
        Language::Rust,
        &[
            ("fn f(a:u8)->u8{a+1}", "fn f(a: u8) -> u8 {\n    a + 1\n}\n"),
            (
                "fn f() {}",
                "// EVOLVE-BLOCK-START\nfn f() { /* a /* nested */ comment */ }\n// EVOLVE-BLOCK-END",
            ),
            ("fn f() {}", "/// Documented.\nfn f() {\r\n}\r\n"),
            ("a", "a // no line break"),
            ("a<=b", "a <= b"),
            ("|x|-x", "|x| -x"),
            ("a<-b", "a < -b"),
            ("x.0.1", "x.0.1 "),
            ("", " \n\n // nothing\n"),
        ],
    );
}

#[test]
fn rust_code_that_differs_in_any_token_is_different() {
    different(
        Language::Rust,
        &[
            ("let a = 1;", "let b = 1;"),
            ("1.0", "1.5"),
            ("a b", "ab"),
            ("\"a b\"", "\"a  b\""),
            ("\"a // b\"", "\"a // c\""),
            ("\"\\\" // a\"", "\"\\\" // b\""),
            ("r#\"a \" // b\"#", "r#\"a \" // c\"#"),
            ("r\"\\\" // a", "r\"\\\" + a"),
            ("' '", "'\t'"),
            ("'\"' /* \" */ + a", "'\"' /* \" */ + b"),
            ("'a", "'b"),
            ("fn f<'a>(x: &'a str) { 'a' }", "fn f<'a>(x: &'a str) { 'b' }"),
            ("b\"x\"", "\"x\""),
            ("a && b", "a & &b"),
            ("a || b", "a | b"),
            ("x..=y", "x..y"),
            ("r#fn", "fn"),
            ("\"a\", \"b\"", "\"a, b\""),
        ],
    );
}

#[test]
fn python_comments_blank_lines_and_widths_do_not_count() {
    same(
        Language::Python,
        &[
            ("def f(a):\n    return a+1\n", "def f( a ):  # adds\n\n  # one\n  return a + 1"),
            ("if a:\n    b\nc\n", "if a:\r\n\tb\r\nc\r\n"),
            ("f(a,\n  b)\n", "f(a, b)\n"),
            ("f(a, # first\n\n  b)\n", "f(a, b)\n"),
            ("a = 1 + \\\n    2\n", "a = 1 + 2\n"),
            ("a = 1 + \\\r\n 2\r\n", "a = 1 + 2\n"),
            ("x=1e-3", "x = 1e-3"),
            ("\u{FEFF}a", "a"),
            ("a\n\n\n", "a"),
            ("x = f'{a}' # b", "x = f'{a}'"),
            ("x = f\"{d[\"k\"]}\" # b", "x = f\"{d[\"k\"]}\""),
            ("x = f\"{a:'>10}\" # b", "x = f\"{a:'>10}\""),
            ("x = f'{{ {a!r:>{w}} }}' # b", "x = f'{{ {a!r:>{w}} }}'"),
            ("", "# nothing\n\n   \n"),
        ],
    );
}

#[test]
fn python_structure_and_strings_count() {
    different(
        Language::Python,
        &[
            ("if a:\n    b\n    c\n", "if a:\n    b\nc\n"),
            ("if a:\n  if b:\n    c\n  d\n", "if a:\n  if b:\n    c\n    d\n"),
            ("a\nb", "a b"),
            ("a = 1", "b = 1"),
            ("a is not b", "a isnot b"),
            ("'a # b'", "'a # c'"),
            ("'a\\' # b'", "'a\\' # c'"),
            ("r'\\' # a'", "r'\\' # b'"),
            ("'''a\n  b # c\n'''", "'''a\n  b # d\n'''"),
            ("'''a\n  b'''", "'''a\n b'''"),
            ("\"\"\"a \" # b\"\"\"", "\"\"\"a \" # c\"\"\""),
            ("f'{a} # b'", "f'{a} # c'"),
            ("f'{d[\"# a\"]}'", "f'{d[\"# b\"]}'"),
            ("f'{f\"{a} # b\"}'", "f'{f\"{a} # c\"}'"),
            ("f'''{\n a # b\n}''' + c", "f'''{\n a # b\n}''' + d"),
            ("x = f'{' + a", "x = f'{' + b"),
            ("x = '{'\ny = 1", "x = '{'\ny = 2"),
            ("rb'a'", "b'a'"),
            ("a ** b", "a * b"),
            ("x: int", "x : = int"),
        ],
    );
}

#[test]
fn in_an_unknown_language_only_spaces_at_line_ends_do_not_count() {
    same(Language::Other, &[("a\n  b\n", "a  \r\n  b\t\n\n\n"), ("a  b", "a  b "), ("", "\n \n")]);
    different(
        Language::Other,
        &[
            ("a b", "a  b"),
            ("a\n  b", "a\n b"),
            ("a\nb", "a b"),
            ("a\n\nb", "a\nb"),
            ("# a", "# b"),
            ("a // b", "a"),
            ("größe", "große"),
            ("a→b", "a←b"),
        ],
    );
}

#[test]
fn broken_programs_have_tokens_too() {
    for source in [
        "\"open",
        "'",
        "r##\"open\"#",
        "/* open",
        "f'{",
        "f'{{",
        "'''",
        "\\",
        "(",
        "\t)\n ]",
        "é\u{0}→",
        "if a:\n   b\n  c",
    ] {
        for language in [Language::Rust, Language::Python, Language::Other] {
            assert_eq!(token_hash(source, language), token_hash(source, language));
        }
    }
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let source = "f'{".repeat(200_000);
    assert!(Tokens::of(&source, Language::Python).len() > 0);
    let source = "/*".repeat(200_000);
    assert_eq!(Tokens::of(&source, Language::Rust).len(), 0);
}

#[test]
fn tokens_are_counted_without_spaces() {
    for (language, expected) in [(Language::Rust, 8), (Language::Python, 9), (Language::Other, 8)] {
        assert_eq!(Tokens::of("f(a, b) + 10", language).len(), expected, "{language:?}");
    }
}
