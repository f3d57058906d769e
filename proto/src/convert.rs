//! Conversions that every side needs. Those of one side only stand with that side.

use types::{BlockId, ClusterId, Code, InodeId, StorageId};

use crate::v1;

/// A message that breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// The field, as the `.proto` file names it.
    pub field: &'static str,
    pub problem: &'static str,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the message field {} {}", self.field, self.problem)
    }
}

impl std::error::Error for WireError {}

/// Reads a block id; absent is an error.
pub fn block_id(wire: Option<v1::BlockId>, field: &'static str) -> Result<BlockId, WireError> {
    let v1::BlockId { inode, number } = wire.ok_or(WireError { field, problem: "is missing" })?;
    if inode == 0 {
        return Err(WireError { field, problem: "names inode 0" });
    }
    Ok(BlockId::new(InodeId::new(inode), number))
}

impl From<BlockId> for v1::BlockId {
    fn from(block: BlockId) -> Self {
        Self { inode: block.inode().get(), number: block.number() }
    }
}

/// Reads the 16 bytes of a storage id.
pub fn storage_id(bytes: &[u8], field: &'static str) -> Result<StorageId, WireError> {
    let bytes = bytes.try_into().map_err(|_| WireError { field, problem: "is not 16 bytes long" })?;
    Ok(StorageId::from_bytes(bytes))
}

/// Reads the 16 bytes of a cluster id.
pub fn cluster_id(bytes: &[u8], field: &'static str) -> Result<ClusterId, WireError> {
    let bytes = bytes.try_into().map_err(|_| WireError { field, problem: "is not 16 bytes long" })?;
    Ok(ClusterId::from_bytes(bytes))
}

/// The storage that a location names.
pub fn location_storage(wire: &v1::Location) -> Result<StorageId, WireError> {
    storage_id(&wire.storage, "Location.storage")
}

/// An error for the wire.
pub fn error(code: Code, message: impl std::fmt::Display) -> v1::Error {
    v1::Error { code: code.number(), message: message.to_string(), symlink: None }
}

impl v1::Error {
    /// The code, or [`Code::Incompatible`] for one that this version does not know.
    pub fn typed_code(&self) -> Code {
        Code::from_number(self.code).unwrap_or(Code::Incompatible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 1.
    #[test]
    fn rubbish_is_refused_and_named() {
        assert_eq!(block_id(None, "f"), Err(WireError { field: "f", problem: "is missing" }));
        assert!(block_id(Some(v1::BlockId { inode: 0, number: 1 }), "f").is_err());
        assert!(storage_id(&[1, 2, 3], "f").is_err());
        assert!(cluster_id(&[0; 17], "f").is_err());
        assert_eq!(v1::Error { code: 9999, ..v1::Error::default() }.typed_code(), Code::Incompatible);
    }
}
