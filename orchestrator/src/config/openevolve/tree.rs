//! A YAML document as a tree in which every key knows its place.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::Spanned;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Anything without parts, as text; `null`, `true`, `false` where it is that.
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Line and column, from 1.
    pub(super) place: (u64, u64),
    pub(super) value: Node,
}

impl Node {
    pub(super) fn scalar(&self) -> Option<&String> {
        match self {
            Self::Scalar(text) => Some(text),
            Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match self {
            Self::Mapping(entries) => entries,
            Self::Scalar(_) | Self::Sequence(_) => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match self {
            Self::Sequence(items) => items,
            Self::Scalar(_) | Self::Mapping(_) => &[],
        }
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self, Self::Mapping(_))
    }

    /// An empty list or map.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(_) => false,
            Self::Sequence(items) => items.is_empty(),
            Self::Mapping(entries) => entries.is_empty(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;

        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Scalar(value.to_owned()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                Ok(Node::Scalar("null".to_owned()))
            }

            fn visit_none<E: de::Error>(self) -> Result<Node, E> {
                self.visit_unit()
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Node, D::Error> {
                value.deserialize_any(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    items.push(item);
                }
                Ok(Node::Sequence(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let place = (key.referenced.line(), key.referenced.column());
                    entries.push(Entry { key: key.value, place, value: map.next_value()? });
                }
                Ok(Node::Mapping(entries))
            }
        }

        deserializer.deserialize_any(Nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_knows_its_place() {
        let tree: Node = serde_yaml::from_str("a: 1\nb:\n  - c: x\n    d: null\ne: {}\n").unwrap();
        let [a, b, e] = tree.entries() else { panic!("{tree:?}") };
        assert_eq!((a.place, a.value.scalar().unwrap().as_str()), ((1, 1), "1"));
        let inner = b.value.items()[0].entries();
        assert_eq!((inner[1].key.as_str(), inner[1].place), ("d", (4, 5)));
        assert_eq!(inner[1].value.scalar().unwrap(), "null");
        assert!(e.value.is_mapping() && e.value.is_empty());
    }
}
