use types::{BlockOffset, ByteSize, Timestamp};

use crate::command::{BlockDone, Destination, Layout, Ownership, Reply};
use crate::error::Error;
use crate::extents;
use crate::key;
use crate::limits::{MAX_EDITS, MAX_FILE};
use crate::pending;
use crate::row::{Data, ExtentRow};
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, NewFile};
use crate::view::View;

/// What a whole file is made of.
pub(crate) struct Whole<'a> {
    pub(crate) ownership: Ownership,
    pub(crate) layout: Layout,
    /// In the order of the file.
    pub(crate) blocks: &'a [BlockDone],
    pub(crate) min_replicas: u8,
    pub(crate) mtime: Option<Timestamp>,
}

/// A whole file in one command, of blocks that the session has written in advance.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    destination: &Destination,
    whole: &Whole<'_>,
) -> Outcome<Reply> {
    let Whole { ownership, layout, blocks, min_replicas, mtime } = *whole;
    let length = blocks.iter().try_fold(0_u64, |sum, done| sum.checked_add(done.length.get()));
    let length = length.unwrap_or(u64::MAX);
    let new = NewFile {
        ownership,
        layout,
        mtime: mtime.unwrap_or(txn.now),
        writing: false,
        length: ByteSize::new(length.min(MAX_FILE.get())),
        data: Data::Blocks { next_block: 0, extents: blocks.len() as u64 },
    };
    let mut row = tree::new_file(txn, new)?;
    let inode = row.inode;
    if length > MAX_FILE.get() {
        return Err(Error::FileTooLarge { inode, limit: MAX_FILE }.into());
    }
    if blocks.is_empty() || blocks.len() > MAX_EDITS {
        return Err(Error::BadEdits { inode, limit: MAX_EDITS as u32 }.into());
    }
    let terms = pending::Terms { wanted: layout.wanted(), min_replicas, longest: layout.block_size };
    let mut offset = 0;
    for done in blocks {
        pending::commit(txn, done, &terms)?;
        extents::hold(txn, done.block, done.length, layout.wanted())?;
        let extent = ExtentRow { block: done.block, length: done.length, block_offset: BlockOffset::ZERO };
        txn.put(key::extent(inode, offset), &extent);
        offset += done.length.get();
    }
    tree::place_file(txn, destination, &mut row)?;
    Ok(Reply::Attributes { attributes: row.attributes(None) })
}
