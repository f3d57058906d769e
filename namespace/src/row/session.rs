//! Clients, what they hold, and what they were answered.

use minicbor::{Decode, Encode};
use types::{Sequence, Timestamp};

use crate::command::Reply;
use crate::error::Error;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SessionRow {
    #[n(0)]
    pub(crate) client: String,
    #[n(1)]
    pub(crate) opened: Timestamp,
    /// Its leases are being released step by step; it can do nothing more.
    #[n(2)]
    pub(crate) ending: bool,
    /// Ranges that it holds locked.
    #[n(3)]
    #[cbor(default)]
    pub(crate) locks: u32,
    /// Files that it has open.
    #[n(4)]
    #[cbor(default)]
    pub(crate) open_files: u32,
}

/// How often a session has a file open; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HandlesRow {
    #[n(0)]
    pub(crate) count: u32,
}

/// The answer of an operation, kept for retries.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ResultRow {
    #[n(0)]
    pub(crate) sequence: Sequence,
    #[n(1)]
    pub(crate) result: Result<Reply, Error>,
}
