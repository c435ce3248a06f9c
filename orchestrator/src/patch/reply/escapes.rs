//! Replies that went through somebody's HTML escaping.

/// What is undone. `&amp;` comes last, so that nothing is undone twice.
pub(super) const ENTITIES: [(&str, &str); 8] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&#34;", "\""),
    ("&nbsp;", " "),
    ("&amp;", "&"),
];

/// Whether the markers of edits are there, but escaped.
pub(super) fn hides_markers(text: &str) -> bool {
    text.contains("&lt;&lt;&lt;&lt;&lt;") && text.contains("&gt;&gt;&gt;&gt;&gt;")
}

/// Whether angle brackets or ampersands are escaped.
pub(super) fn is_escaped(code: &str) -> bool {
    ["&lt;", "&gt;", "&amp;"].iter().any(|entity| code.contains(entity))
}

/// The text as it was before.
pub(super) fn unescaped(text: &str) -> String {
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}
