//! A text that must never be printed or stored.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An API key. It can be read from a config, but not be written: no `Serialize`, no `Display`,
/// and `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

impl Secret {
    /// What is shorter, as local servers accept, is no secret: hiding it would blank out ordinary words.
    pub(crate) const SHORTEST: usize = 6;

    /// Wraps a secret text; spaces around it, as from a file's last line, are dropped.
    pub fn new(text: &str) -> Self {
        Self(SecretString::from(text.trim()))
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// `text` without the secret, should a server have echoed it.
    pub fn redact(&self, text: &str) -> String {
        if self.expose().len() < Self::SHORTEST {
            text.to_owned()
        } else {
            text.replace(self.expose(), "[key]")
        }
    }

    /// The same for all texts of an answer.
    pub(crate) fn redact_all(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact_all(value)),
            Value::Object(values) => values.values_mut().for_each(|value| self.redact_all(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    pub(crate) fn inner(&self) -> &SecretString {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(empty)" } else { "Secret(..)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = Secret::new("sk-very-secret\n");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.expose(), "sk-very-secret");
    }

    #[test]
    fn an_echoed_key_is_redacted() {
        let secret = Secret::new("sk-very-secret");
        assert_eq!(secret.redact("bad key sk-very-secret!"), "bad key [key]!");
        let mut value = serde_json::json!({"a": [1, "sk-very-secret", {"b": "x sk-very-secret"}]});
        secret.redact_all(&mut value);
        assert_eq!(value, serde_json::json!({"a": [1, "[key]", {"b": "x [key]"}]}));
    }
}
