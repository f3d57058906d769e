//! Bounds on what lies below a directory, held against the exact sums that it keeps.
//!
//! A command is refused when a sum is over its bound afterwards and has grown. One that takes something away succeeds even
//! where the bound was set lower than what was there, and so does a move inside the directory.

use std::fmt;

use minicbor::{Decode, Encode};
use types::InodeId;

use crate::error::Error;
use crate::resolve;
use crate::row::Usage;
use crate::rows::Rows;
use crate::transaction::Outcome;
use crate::view::View;

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Counted {
    #[n(0)]
    RawBytes,
    #[n(1)]
    Inodes,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RawBytes => "bytes with replicas",
            Self::Inodes => "files and directories",
        })
    }
}

impl Counted {
    const fn of(self, usage: &Usage) -> u64 {
        match self {
            Self::RawBytes => usage.raw_bytes,
            Self::Inodes => usage.files + usage.directories,
        }
    }
}

/// Refuses a command that takes the state from `before` to `after`, if that breaks the quota of `directory`.
/// `handed_over` are the files and raw bytes that count there now although nobody added them.
pub(crate) fn check(
    before: &impl View,
    after: &impl View,
    directory: InodeId,
    (files, raw_bytes): (i64, i64),
) -> Outcome<()> {
    let Some(row) = after.directory(directory)? else { return Ok(()) };
    let Some(quota) = row.quota else { return Ok(()) };
    let mut old = before.directory(directory)?.map(|row| row.usage).unwrap_or_default();
    old.files = old.files.saturating_add_signed(files.max(0));
    old.raw_bytes = old.raw_bytes.saturating_add_signed(raw_bytes.max(0));
    for (counted, limit) in [(Counted::RawBytes, quota.raw_bytes), (Counted::Inodes, quota.inodes)] {
        let (had, needed) = (counted.of(&old), counted.of(&row.usage));
        if let Some(limit) = limit
            && needed > limit
            && needed > had
        {
            let place = resolve::path_of(after, directory)?;
            return Err(Error::QuotaExceeded { place, counted, limit, needed }.into());
        }
    }
    Ok(())
}
