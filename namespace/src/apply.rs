//! Runs one request against the state.

use types::{BlockId, StorageId};

use crate::command::{Reply, Request};
use crate::error::Error;
use crate::view::{View, ViewError, Write};

/// What a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub reply: Result<Reply, Error>,
    /// All or nothing (invariant 1).
    pub writes: Vec<Write>,
    pub effects: Vec<Effect>,
}

/// A hint that there is work for the leader. Losing one is safe: the scanners find the same from the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Something was removed that `GcStep` has to free.
    GarbageAdded,
    /// This storage has replicas to delete.
    ReplicasToDelete(StorageId),
    /// This block has fewer good replicas than wanted.
    ReplicationShort(BlockId),
}

/// Runs one committed request against the state as of its log index.
///
/// # Errors
/// Only when the state cannot be read; a refused request is an answer, in [`Applied::reply`].
pub fn apply(view: &impl View, request: &Request) -> Result<Applied, ViewError> {
    let _ = (view, request);
    Ok(Applied { reply: Err(Error::NotFormatted), writes: Vec::new(), effects: Vec::new() })
}
