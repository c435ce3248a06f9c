//! Answers wrapped in JSON, as tool calls or because a model believes that it was asked for that.

use serde_json::Value;

use super::edits::{self, Edit};
use super::{Content, fences};
use crate::patch::PatchError;

/// Names under which models send the text to find, what takes its place, and a whole program.
const SEARCH: [&str; 8] =
    ["search", "old", "old_string", "old_str", "old_code", "find", "original", "before"];
const REPLACE: [&str; 8] =
    ["replace", "new", "new_string", "new_str", "new_code", "replacement", "updated", "after"];
const CODE: [&str; 11] = [
    "code",
    "program",
    "new_program",
    "source",
    "source_code",
    "content",
    "new_code",
    "solution",
    "full_code",
    "file_content",
    "answer",
];

/// The edits or the program in the answer's JSON; none if there is no JSON or nothing in it.
pub(super) fn find(answer: &str) -> Result<Option<Content>, PatchError> {
    let fenced = fences::find(answer);
    let json =
        fenced.iter().filter(|block| block.label == "json" || block.label.is_empty()).map(|block| block.code);
    let bare = answer.trim();
    let bare = bare.strip_prefix("<tool_call>").unwrap_or(bare);
    let bare = bare.strip_suffix("</tool_call>").unwrap_or(bare);
    for text in json.chain([bare]).map(str::trim).filter(|text| text.starts_with(['{', '['])) {
        match serde_json::from_str::<Value>(text) {
            Ok(value) => {
                let mut found = Vec::new();
                collect(&value, &mut found);
                if !found.is_empty() {
                    return Ok(Some(Content::Edits(found)));
                }
                if let Some(code) = code(&value) {
                    return content(code).map(Some);
                }
            }
            Err(error) if error.is_eof() && CODE.iter().chain(&SEARCH).any(|name| has(text, name)) => {
                return Err(PatchError::CutOff("its JSON".to_owned()));
            }
            Err(_) => {}
        }
    }
    Ok(None)
}

fn has(text: &str, name: &str) -> bool {
    text.contains(&format!("\"{name}\""))
}

/// All objects that say what to find and what to put there. (`serde_json` bounds the depth.)
fn collect(value: &Value, edits: &mut Vec<Edit>) {
    match value {
        Value::Object(object) => {
            let text =
                |names: &[&str]| names.iter().find_map(|name| object.get(*name).and_then(Value::as_str));
            if let (Some(search), Some(replace)) = (text(&SEARCH), text(&REPLACE)) {
                let lines = |text: &'_ str| text.lines().map(str::to_owned).collect::<Vec<String>>();
                edits.push(Edit { search: lines(search), replace: lines(replace) });
            } else {
                object.values().for_each(|value| collect(value, edits));
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, edits)),
        _ => {}
    }
}

/// The longest text under a name that programs are sent under.
fn code(value: &Value) -> Option<&str> {
    match value {
        Value::Object(object) => object
            .iter()
            .filter_map(|(name, value)| match value {
                Value::String(text) if CODE.contains(&name.as_str()) => Some(text.as_str()),
                Value::String(_) => None,
                _ => code(value),
            })
            .max_by_key(|text| text.len()),
        Value::Array(values) => values.iter().filter_map(code).max_by_key(|text| text.len()),
        _ => None,
    }
}

/// A text out of JSON: edits, or code with or without a fence.
fn content(text: &str) -> Result<Content, PatchError> {
    let text = text.replace("\r\n", "\n");
    let edits = edits::find(&text)?;
    if !edits.is_empty() {
        return Ok(Content::Edits(edits));
    }
    let fenced = fences::find(&text).into_iter().map(|block| block.code.to_owned()).max_by_key(String::len);
    Ok(Content::Code(fenced.unwrap_or(text)))
}
