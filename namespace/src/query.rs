//! Questions about a state that change nothing.

use types::{BlockId, ClusterId, SessionId, StorageId, Timestamp};

use crate::command::{DeletedReplica, Origin, Reply, Where};
use crate::error::{Error, QueryError};
use crate::row::{Attributes, BlockRow, LocatedBlock, NodeRow, Totals};
use crate::view::{View, ViewError};

/// One page of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Names and what they stand for, in byte order.
    pub entries: Vec<(Vec<u8>, Attributes)>,
    /// Whether names follow after the last one.
    pub more: bool,
}

/// A file as a reader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub attributes: Attributes,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The whole content, whatever range was asked for.
    Inline(Vec<u8>),
    /// The blocks that hold bytes of the range, in the order of the file.
    Blocks(Vec<LocatedBlock>),
}

pub fn stat(_view: &impl View, _place: &Where) -> Result<Attributes, QueryError> {
    Err(Error::NotFormatted.into())
}

pub fn list(_view: &impl View, _place: &Where, _after: &[u8], _limit: usize) -> Result<Listing, QueryError> {
    Err(Error::NotFormatted.into())
}

pub fn open(_view: &impl View, _place: &Where, _offset: u64, _length: u64) -> Result<Opened, QueryError> {
    Err(Error::NotFormatted.into())
}

pub fn blocks(
    _view: &impl View,
    _after: Option<BlockId>,
    _limit: usize,
) -> Result<Vec<(BlockId, BlockRow)>, ViewError> {
    Ok(Vec::new())
}

pub fn block(_view: &impl View, _block: BlockId) -> Result<Option<BlockRow>, ViewError> {
    Ok(None)
}

pub fn nodes(_view: &impl View) -> Result<Vec<NodeRow>, ViewError> {
    Ok(Vec::new())
}

pub fn sessions(_view: &impl View, _after: Option<SessionId>, _limit: usize) -> Result<Vec<SessionId>, ViewError> {
    Ok(Vec::new())
}

pub fn due_deletes(
    _view: &impl View,
    _storage: StorageId,
    _now: Timestamp,
    _limit: usize,
) -> Result<Vec<DeletedReplica>, ViewError> {
    Ok(Vec::new())
}

pub fn garbage_pending(_view: &impl View) -> Result<bool, ViewError> {
    Ok(false)
}

pub fn cluster(_view: &impl View) -> Result<Option<ClusterId>, ViewError> {
    Ok(None)
}

pub fn totals(_view: &impl View) -> Result<Totals, ViewError> {
    Ok(Totals::default())
}

/// The stored answer of an operation, if its session still holds it.
pub fn known_result(_view: &impl View, _origin: Origin) -> Result<Option<Result<Reply, Error>>, ViewError> {
    Ok(None)
}
