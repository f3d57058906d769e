//! Serde reads the tree here. Errors carry the key and the place of the value that they are about.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::{Node, Origin, Problem, Value};

/// An error on its way up: the place is that of the innermost value, the key grows from the inside.
#[derive(Debug)]
pub(super) struct Wrong {
    what: String,
    keys: Vec<String>,
    origin: Option<Origin>,
    /// The text names the key itself.
    names_key: bool,
}

impl Wrong {
    fn at(mut self, key: Option<String>, origin: &Origin) -> Self {
        if !self.names_key {
            self.keys.extend(key);
        }
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    pub(super) fn into_problem(mut self, fallback: &Origin) -> Problem {
        self.keys.reverse();
        Problem { origin: self.origin.unwrap_or_else(|| fallback.clone()), key: self.keys, what: self.what }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { what: message.to_string(), keys: Vec::new(), origin: None, names_key: false }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("the key {field:?} is missing"))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'n> {
    pub(super) node: &'n Node,
    /// The name of the table that is read, for messages.
    pub(super) section: Option<&'n str>,
}

impl<'n> Reader<'n> {
    fn text(&self) -> Option<&'n str> {
        match &self.node.value {
            Value::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    fn table(self, table: &'n BTreeMap<String, Node>) -> Fields<'n> {
        Fields { rest: table.iter(), value: None }
    }

    /// Refuses keys that the type does not have.
    fn check_keys(&self, table: &BTreeMap<String, Node>, known: &'static [&'static str]) -> Result<(), Wrong> {
        let Some((key, node)) = table.iter().find(|(key, _)| !known.contains(&key.as_str())) else { return Ok(()) };
        let place = self.section.map(|name| format!(" in [{name}]")).unwrap_or_default();
        let advice = match nearest(key, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => "no keys are known there".to_owned(),
            None => format!("known keys: {}", known.join(", ")),
        };
        let what = format!("unknown key {key:?}{place}; {advice}");
        Err(Wrong { what, keys: Vec::new(), origin: Some(node.origin.clone()), names_key: true })
    }
}

/// The known key that was probably meant.
fn nearest(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let scored = known.iter().map(|known| (strsim::damerau_levenshtein(&key.to_lowercase(), known), *known));
    let (distance, name) = scored.min()?;
    (distance <= 1 + key.chars().count() / 3).then_some(name)
}

/// What the environment says is text; the type that is asked for says how to read it.
macro_rules! numbers {
    ($($method:ident => $visit:ident: $type:ty, $wanted:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.text() {
                Some(text) => match text.parse::<$type>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(de::Error::custom(format!(concat!("{:?} is not ", $wanted), text))),
                },
                None => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Boolean(boolean) => visitor.visit_bool(*boolean),
            Value::Integer(integer) => match u64::try_from(*integer) {
                Ok(positive) => visitor.visit_u64(positive),
                Err(_) => visitor.visit_i64(*integer),
            },
            Value::Float(float) => visitor.visit_f64(*float),
            Value::String(text) => visitor.visit_str(text),
            Value::Text(text) => visitor.visit_str(text.trim()),
            Value::Array(nodes) => visitor.visit_seq(Elements { rest: nodes.iter() }),
            Value::Table(table) => visitor.visit_map(self.table(table)),
        }
    }

    numbers! {
        deserialize_bool => visit_bool: bool, "true or false";
        deserialize_i8 => visit_i8: i8, "a whole number in range";
        deserialize_i16 => visit_i16: i16, "a whole number in range";
        deserialize_i32 => visit_i32: i32, "a whole number in range";
        deserialize_i64 => visit_i64: i64, "a whole number in range";
        deserialize_u8 => visit_u8: u8, "a whole number in range";
        deserialize_u16 => visit_u16: u16, "a whole number in range";
        deserialize_u32 => visit_u32: u32, "a whole number in range";
        deserialize_u64 => visit_u64: u64, "a whole number in range";
        deserialize_f32 => visit_f32: f32, "a number";
        deserialize_f64 => visit_f64: f64, "a number";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    /// A list in the environment is separated by commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.text() {
            Some(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let nodes: Vec<_> = parts
                    .map(|part| Node { value: Value::Text(part.to_owned()), origin: self.node.origin.clone() })
                    .collect();
                visitor.visit_seq(Elements { rest: nodes.iter() })
            }
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Table(table) => {
                self.check_keys(table, fields)?;
                visitor.visit_map(self.table(table))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Text(text) => visitor.visit_enum(text.trim().into_deserializer()),
            _ => Err(de::Error::custom("a word in quotes is wanted here")),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'n> {
    rest: std::slice::Iter<'n, Node>,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        seed.deserialize(Reader { node, section: None }).map(Some).map_err(|wrong| wrong.at(None, &node.origin))
    }
}

struct Fields<'n> {
    rest: std::collections::btree_map::Iter<'n, String, Node>,
    value: Option<(&'n str, &'n Node)>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key, node));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (key, node) = self.value.take().expect("serde asks for a key before its value");
        seed.deserialize(Reader { node, section: Some(key) })
            .map_err(|wrong| wrong.at(Some(key.to_owned()), &node.origin))
    }
}
