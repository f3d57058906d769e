//! What messages have in common: places, numbers, lists.

use namespace::command::{BlockDone, Destination, Layout, Ownership, Where};
use namespace::placement;
use proto::{WireError, v1};
use types::{ByteSize, Code, GenStamp, InodeId, MAX_PATH, StorageId};

use super::{Refused, keys};
use crate::settings::Settings;

/// Items that one message may name where only a few make sense.
pub(super) const FEW: usize = 64;
/// The longest host name, rack or address.
pub(crate) const MAX_LABEL: usize = 255;
pub(super) const MAX_STORAGES: usize = 256;

pub(super) fn wrong(field: &'static str, problem: &'static str) -> WireError {
    WireError { field, problem }
}

pub(super) fn inline_content(
    content: impl Into<Vec<u8>> + AsRef<[u8]>,
    settings: &Settings,
) -> Result<Vec<u8>, Refused> {
    if content.as_ref().len() as u64 > settings.inline_max.get() {
        let (length, limit) = (content.as_ref().len(), settings.inline_max);
        let message = format!("{length} bytes are too many for the metadata, which takes {limit}; write blocks");
        return Err(Refused { code: Code::TooLarge, message });
    }
    Ok(content.into())
}

/// Whether it is a legal name is decided with the rest; this only keeps rubbish out of the log.
pub(super) fn xattr_name(wire: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if wire.len() > 2 * MAX_LABEL { Err(wrong("xattr.name", "is too long")) } else { Ok(wire) }
}

pub(super) fn place(wire: Option<v1::Where>, field: &'static str) -> Result<Where, WireError> {
    let v1::Where { base, path } = wire.ok_or(wrong(field, "is missing"))?;
    // Longer paths get their own error below; this only keeps rubbish out of the log.
    if path.len() > 2 * MAX_PATH {
        return Err(wrong(field, "is too long"));
    }
    let base = if base == 0 { InodeId::ROOT } else { InodeId::new(base) };
    Ok(Where { base, path })
}

pub(super) fn destination(wire: v1::Destination, field: &'static str) -> Result<Destination, WireError> {
    Ok(Destination { place: place(wire.place, field)?, overwrite: wire.overwrite, parents: wire.parents })
}

pub(super) fn ownership(wire: Option<v1::Ownership>) -> Result<Ownership, WireError> {
    let v1::Ownership { uid, gid, mode, umask } = wire.ok_or(wrong("ownership", "is missing"))?;
    Ok(Ownership { uid, gid, mode, umask: (umask != 0).then_some(umask) })
}

pub(super) fn layout(wire: Option<v1::Layout>, settings: &Settings) -> Result<Layout, WireError> {
    let v1::Layout { replication: count, block_size } = wire.unwrap_or_default();
    let block_size = if block_size == 0 { settings.block_size } else { ByteSize::new(block_size) };
    // A block that does not end with a chunk could not be followed by another.
    if !block_size.get().is_multiple_of(types::checksum::CHUNK as u64) {
        return Err(wrong("Layout.block_size", "is not a multiple of 4096"));
    }
    let replication = if count == 0 { settings.replication } else { replication(count, "Layout.replication")? };
    Ok(Layout { replication, block_size, spread: None })
}

pub(super) fn spread_rule(wire: i32, field: &'static str) -> Result<Option<placement::Policy>, WireError> {
    match v1::Spread::try_from(wire).map_err(|_| wrong(field, "is not known"))? {
        v1::Spread::Unspecified => Ok(None),
        v1::Spread::TwoRacks => Ok(Some(placement::Policy::TwoRacks)),
        v1::Spread::Wide => Ok(Some(placement::Policy::Spread)),
    }
}

pub(super) fn replication(count: u32, field: &'static str) -> Result<u8, WireError> {
    match u8::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(wrong(field, "is not between 1 and 255")),
    }
}

pub(super) fn inode(wire: u64, field: &'static str) -> Result<InodeId, WireError> {
    if wire == 0 { Err(wrong(field, "names inode 0")) } else { Ok(InodeId::new(wire)) }
}

pub(super) fn generation(wire: u64, field: &'static str) -> Result<GenStamp, WireError> {
    if wire == 0 { Err(wrong(field, "is zero")) } else { Ok(GenStamp::new(wire)) }
}

pub(super) fn few(wire: Vec<u64>, field: &'static str) -> Result<Vec<u64>, WireError> {
    if wire.len() > FEW { Err(wrong(field, "names too many")) } else { Ok(wire) }
}

pub(super) fn storages(wire: &[Vec<u8>], field: &'static str) -> Result<Vec<StorageId>, WireError> {
    if wire.len() > MAX_STORAGES {
        return Err(wrong(field, "names too many"));
    }
    wire.iter().map(|bytes| proto::storage_id(bytes, field)).collect()
}

pub(super) fn block_done(wire: v1::BlockDone, field: &'static str) -> Result<BlockDone, WireError> {
    Ok(BlockDone {
        block: proto::block_id(wire.block, field)?,
        generation: generation(wire.generation, field)?,
        length: ByteSize::new(wire.length),
        replicas: storages(&wire.replicas, field)?,
    })
}

/// Where a reader is, if it says so.
pub(super) fn reader(wire: Option<v1::Reader>) -> Result<v1::Reader, WireError> {
    let v1::Reader { host, boot } = wire.unwrap_or_default();
    if !matches!(boot.len(), 0 | 16) {
        return Err(wrong("Reader.boot", "does not have 16 bytes"));
    }
    Ok(v1::Reader { host: keys::label(host, "Reader.host")?, boot })
}
