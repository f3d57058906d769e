//! Compares what a volume holds with what the state says it holds: facts in, work out.
//!
//! The facts are of different times: the state was read first, the volume listed later, and the row of each block that
//! differs is read again at the end. So what is listed in the state must be on the disk, since a replica is complete
//! before it is listed; and what is on the disk and not in the state at the end is not needed, since a block is in the
//! state before a datanode hears of it, and ids are never used again.
//!
//! 1. Nothing that the state lists is dropped, and nothing of a block that is being written.
//! 2. No replica of a block is dropped that has fewer live good ones than wanted.
//! 3. A replica is taken for lost or damaged only after its datanode has looked at it again.
//! 4. What this state cannot know of is left alone.

use std::collections::BTreeMap;
use std::ops::Bound;

use types::inventory::Stored;
use types::{BlockId, ByteSize, GenStamp, StorageId};

use crate::repair::{self, Facts};
use crate::row::{BlockRow, BlockState};

/// What the state says of a block on one storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is a complete replica, good or known to be bad.
    Kept { generation: GenStamp, length: ByteSize, bad: bool },
    /// A replica up to this generation is scheduled for deletion.
    Leaving { generation: GenStamp },
}

/// Part of a listing of a volume, in the order of the block ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// It begins behind this one, or at the beginning.
    pub after: Option<BlockId>,
    pub stored: Vec<Stored>,
    /// The last block that it covers; all of the rest if there is none.
    pub until: Option<BlockId>,
}

/// What the state knows of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    Row(&'a BlockRow),
    /// Its inode was handed out, and the block is gone.
    Removed,
    /// No inode of that number was ever handed out: whoever wrote the block knows a state that this one does not.
    NeverHandedOut,
}

/// A difference that the row of the block has to decide about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The state lists a replica that the volume does not.
    Missing(BlockId),
    /// The volume has a replica that the state does not list, or not so.
    Unexpected(Stored),
    /// The volume has a replica that is not complete, and nobody writes it.
    Left { block: BlockId, generation: GenStamp },
}

/// What to do about a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is well, as long as neither side changes.
    Leave,
    /// It cannot be told now, and may be told later though neither side has changed: the block is being written, is short of
    /// good replicas, or the replica is on its way out.
    Wait,
    /// The datanode is to look for the replica that the state lists, and at all of it.
    Check { generation: GenStamp, length: ByteSize },
    /// The block wants one more, and this may be it: to be read whole, then listed.
    Adopt,
    /// Nothing needs it.
    Drop,
}

/// Where a page and the state differ. `expected` is what the state says of one storage, for the blocks of one bucket.
pub fn compare(expected: &BTreeMap<BlockId, Expected>, page: &Page) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut on_disk: BTreeMap<BlockId, &Stored> = BTreeMap::new();
    for stored in &page.stored {
        on_disk.insert(stored.block, stored);
        let fits = match expected.get(&stored.block) {
            // What is known to be bad may be of any length.
            Some(Expected::Kept { generation, bad: true, .. }) => *generation == stored.generation,
            Some(Expected::Kept { generation, length, bad: false }) => {
                (*generation, *length) == (stored.generation, stored.length)
            }
            Some(Expected::Leaving { generation }) => stored.generation <= *generation,
            None => false,
        };
        if !fits {
            differences.push(Difference::Unexpected(*stored));
        }
    }
    let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
    let to = page.until.map_or(Bound::Unbounded, Bound::Included);
    if page.until.is_some_and(|until| page.after.is_some_and(|after| until <= after)) {
        // It covers nothing.
        return differences;
    }
    for (block, expected) in expected.range((from, to)) {
        let is_kept = matches!(expected, Expected::Kept { bad: false, .. });
        if is_kept && !on_disk.contains_key(block) {
            differences.push(Difference::Missing(*block));
        }
    }
    differences
}

/// What is known of a block, read after the volume was listed, says about a difference.
pub fn judge(known: Known<'_>, storage: StorageId, difference: &Difference, facts: &Facts) -> Verdict {
    match (known, difference) {
        (Known::Row(row), Difference::Missing(_)) => judge_missing(row, storage),
        (Known::Row(row), Difference::Unexpected(stored)) => judge_unexpected(row, storage, stored, facts),
        (Known::Row(row), Difference::Left { generation, .. }) => judge_left(row, storage, *generation, facts),
        (Known::Removed, Difference::Unexpected(_) | Difference::Left { .. }) => Verdict::Drop,
        // Invariant 4.
        (Known::NeverHandedOut, Difference::Unexpected(_) | Difference::Left { .. })
        | (Known::Removed | Known::NeverHandedOut, Difference::Missing(_)) => Verdict::Leave,
    }
}

fn is_in(list: &[crate::row::BlockLocation], storage: StorageId) -> bool {
    list.iter().any(|location| location.storage == storage)
}

fn judge_missing(row: &BlockRow, storage: StorageId) -> Verdict {
    if row.state == BlockState::Committed && is_in(&row.replicas, storage) {
        Verdict::Check { generation: row.generation, length: row.length }
    } else {
        Verdict::Wait
    }
}

fn judge_unexpected(row: &BlockRow, storage: StorageId, stored: &Stored, facts: &Facts) -> Verdict {
    // Invariant 1.
    if row.state != BlockState::Committed || is_in(&row.leaving, storage) {
        return Verdict::Wait;
    }
    if is_in(&row.bad, storage) {
        return Verdict::Leave;
    }
    let fits = (stored.generation, stored.length) == (row.generation, row.length);
    if is_in(&row.replicas, storage) {
        return if fits { Verdict::Leave } else { judge_missing(row, storage) };
    }
    // Invariant 2: until the block is whole, every replica may be the one that somebody needs.
    if repair::health(row, facts).short() {
        return if fits { Verdict::Adopt } else { Verdict::Wait };
    }
    // A newer generation than the state knows is not for this state to judge.
    if stored.generation <= row.generation { Verdict::Drop } else { Verdict::Wait }
}

/// Of no use to a block that is complete elsewhere: it was never acknowledged, or its chain was lost since.
fn judge_left(row: &BlockRow, storage: StorageId, generation: GenStamp, facts: &Facts) -> Verdict {
    let is_listed = is_in(&row.replicas, storage) || is_in(&row.bad, storage) || is_in(&row.leaving, storage);
    // Invariants 1 and 2.
    let is_whole = row.state == BlockState::Committed && !repair::health(row, facts).short();
    if is_whole && !is_listed && generation <= row.generation { Verdict::Drop } else { Verdict::Wait }
}

#[cfg(test)]
mod tests;
