//! A configuration as a tree in which every value knows where it came from.
//!
//! Values come from a file, from the environment or from flags. Serde types read the tree, so that a wrong value is
//! reported with its place, and an unknown key with the known key that is nearest.

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Problem;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File { path: Arc<Path>, line: usize, column: usize },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// From the environment or a flag: what reads it decides the type.
    Text(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

impl Node {
    /// Reads TOML text; `path` is only named in messages.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Problem> {
        let places = Places { text, path: Arc::from(path) };
        match DeTable::parse(text) {
            Ok(table) => {
                let span = table.span();
                Ok(Self { value: places.table(table.into_inner())?, origin: places.origin(span.start) })
            }
            Err(error) => Err(Problem {
                origin: places.origin(error.span().map_or(text.len(), |span| span.start)),
                key: Vec::new(),
                what: format!("not valid TOML: {}", error.message().lines().collect::<Vec<_>>().join("; ")),
            }),
        }
    }

    /// Whether the table has that key.
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(&self.value, Value::Table(table) if table.contains_key(key))
    }

    /// Where the value under `keys` came from, if it is there.
    pub(crate) fn origin_of(&self, keys: &[String]) -> Option<&Origin> {
        let Some((first, rest)) = keys.split_first() else { return Some(&self.origin) };
        match &self.value {
            Value::Table(table) => table.get(first)?.origin_of(rest),
            Value::Boolean(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::Text(_)
            | Value::Array(_) => None,
        }
    }

    /// Puts `text` under `keys`, making tables on the way; it replaces what was there.
    pub(crate) fn set(&mut self, keys: &[String], text: String, origin: Origin) {
        let Some((first, rest)) = keys.split_first() else {
            *self = Self { value: Value::Text(text), origin };
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Self { value: Value::Table(BTreeMap::new()), origin: origin.clone() };
        }
        let Value::Table(table) = &mut self.value else { unreachable!("made a table just above") };
        let child = table
            .entry(first.clone())
            .or_insert_with(|| Self { value: Value::Table(BTreeMap::new()), origin: origin.clone() });
        child.set(rest, text, origin);
    }

    /// Reads the tree into a serde type.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Problem> {
        T::deserialize(read::Reader { node: self, section: None }).map_err(|wrong| wrong.into_problem(&self.origin))
    }
}

/// Turns byte offsets into lines and columns.
struct Places<'t> {
    text: &'t str,
    path: Arc<Path>,
}

impl Places<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Origin::File { path: Arc::clone(&self.path), line, column }
    }

    fn table(&self, table: DeTable<'_>) -> Result<Value, Problem> {
        let mut out = BTreeMap::new();
        for (key, value) in table {
            // A wrong section is found at its name, a wrong value at the value.
            let span = match value.get_ref() {
                DeValue::Table(_) => key.span(),
                _ => value.span(),
            };
            let origin = self.origin(span.start);
            let name = key.into_inner().into_owned();
            let value = self.value(value.into_inner(), &origin)?;
            out.insert(name, Node { value, origin });
        }
        Ok(Value::Table(out))
    }

    fn value(&self, value: DeValue<'_>, origin: &Origin) -> Result<Value, Problem> {
        let number =
            |what: &str| Problem { origin: origin.clone(), key: Vec::new(), what: format!("{what} is out of range") };
        Ok(match value {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Integer(integer) => Value::Integer(
                i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| number(integer.as_str()))?,
            ),
            DeValue::Float(float) => Value::Float(float.as_str().parse().map_err(|_| number(float.as_str()))?),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(array) => {
                let nodes = array.into_iter().map(|element| {
                    let origin = self.origin(element.span().start);
                    Ok(Node { value: self.value(element.into_inner(), &origin)?, origin })
                });
                Value::Array(nodes.collect::<Result<_, Problem>>()?)
            }
            DeValue::Table(table) => self.table(table)?,
        })
    }
}
