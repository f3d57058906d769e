//! Whether what clients saw could have come from one register per key, on which every operation took effect at a single
//! moment between its call and its answer.
//!
//! Invariants, cited by tests:
//! 1. A history is accepted exactly if such moments exist: one operation follows another if it was called after the other
//!    was answered. At equal times they overlap.
//! 2. An operation whose outcome is unknown may take effect at any moment after its call, or never. One that failed has
//!    none, and says nothing.
//! 3. Memory is bounded by what overlaps, not by the length of the history; past the bound the answer is that there is none.
//! 4. A refusal shows the shortest run of operations, up to the first answer that cannot be, which has no order from
//!    whatever the key held before.

mod register;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use search::Stop;

/// What is written. Each is written by one operation only, if a history is to show much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Refused if something is there.
    Create(Value),
    Put(Value),
    /// Refused unless `expected` is there.
    Replace {
        expected: Value,
        with: Value,
    },
    Read,
    /// Refused if nothing is there.
    Delete,
    /// Done if nothing is there, too.
    Remove,
}

impl Action {
    /// What it leaves there if it takes effect.
    pub fn written(self) -> Option<Value> {
        match self {
            Self::Create(value) | Self::Put(value) | Self::Replace { with: value, .. } => Some(value),
            Self::Read | Self::Delete | Self::Remove => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// Of reads.
    Found(Option<Value>),
    /// It looked, and the key was not as it must be.
    Refused,
    /// It had no effect and will have none, whatever the key held.
    Failed,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub key: String,
    pub client: usize,
    pub action: Action,
    pub outcome: Outcome,
    /// On one clock that never goes back.
    pub called: Duration,
    /// Of no meaning if the outcome is unknown.
    pub answered: Duration,
}

/// Why a history is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no order of these operations on {key} explains their outcomes:{}", lines(.window))]
    NoOrder { key: String, window: Vec<Operation> },
    #[error(
        "the operations on {key} up to {answered:?} have more than {limit} orders at once; use more keys or fewer clients"
    )]
    TooManyOrders { key: String, answered: Duration, limit: usize },
}

/// Accepts a history, in any order, or says why not (invariant 1).
pub fn check(history: Vec<Operation>) -> Result<(), Refusal> {
    let mut keys: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(operation.key.clone()).or_default().push(operation);
    }
    for (key, mut operations) in keys {
        operations.retain(|operation| operation.outcome != Outcome::Failed);
        operations.sort_by_key(|operation| operation.called);
        match search::run(&operations, [None]) {
            Ok(()) => {}
            Err(Stop::NoOrder { at }) => return Err(Refusal::NoOrder { key, window: search::window(operations, at) }),
            Err(Stop::TooMany { at }) => {
                let answered = operations[at].answered;
                return Err(Refusal::TooManyOrders { key, answered, limit: search::LIMIT });
            }
        }
    }
    Ok(())
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..", self.called)?;
        if self.outcome != Outcome::Unknown {
            write!(f, "{:?}", self.answered)?;
        }
        write!(f, " client {}: ", self.client)?;
        match self.action {
            Action::Create(value) => write!(f, "create {}", value.0)?,
            Action::Put(value) => write!(f, "put {}", value.0)?,
            Action::Replace { expected, with } => write!(f, "replace {} with {}", expected.0, with.0)?,
            Action::Read => write!(f, "read")?,
            Action::Delete => write!(f, "delete")?,
            Action::Remove => write!(f, "remove")?,
        }
        match self.outcome {
            Outcome::Done => write!(f, ": done"),
            Outcome::Found(Some(value)) => write!(f, ": found {}", value.0),
            Outcome::Found(None) => write!(f, ": found nothing"),
            Outcome::Refused => write!(f, ": refused"),
            Outcome::Failed => write!(f, ": failed"),
            Outcome::Unknown => write!(f, ": unknown"),
        }
    }
}

fn lines(operations: &[Operation]) -> String {
    operations.iter().map(|operation| format!("\n  {operation}")).collect()
}
