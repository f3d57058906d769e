//! Locks on ranges of bytes, as fcntl(2) and flock(2) give them.
//!
//! 1. Locks of different owners that overlap, one of them to write, never stand together. Ranges and whole files know
//!    nothing of each other.
//! 2. What one owner holds of an inode is sorted, disjoint and merged: a later lock of its own replaces an earlier one
//!    where they overlap, and splits it where it must.
//! 3. Every lock belongs to a session that lives, and goes with it.

use std::fmt;

use minicbor::{Decode, Encode};
use types::{InodeId, SessionId};

use crate::key;
use crate::limits::MAX_LOCKS_OF_INODE;
use crate::row;
use crate::rows::Rows;
use crate::view::{View, ViewError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum LockKind {
    /// Shared with other readers.
    #[n(0)]
    Read,
    #[n(1)]
    Write,
}

impl fmt::Display for LockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// The two families of locks, which do not see each other, as on Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum LockFamily {
    /// Of fcntl(2): ranges of bytes.
    #[n(0)]
    Ranges,
    /// Of flock(2): the whole file.
    #[n(1)]
    Whole,
}

impl LockFamily {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ranges => 0,
            Self::Whole => 1,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Ranges),
            1 => Some(Self::Whole),
            _ => None,
        }
    }
}

/// The bytes `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LockRange {
    #[n(0)]
    pub first: u64,
    /// `u64::MAX`: however long the file gets.
    #[n(1)]
    pub last: u64,
}

impl LockRange {
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for LockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { first, last: u64::MAX } => write!(f, "{first}.."),
            Self { first, last } => write!(f, "{first}..={last}"),
        }
    }
}

/// Who holds or wants a lock: one of many owners in a session, such as a process of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LockOwner {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub owner: u64,
}

/// What a session asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LockWish {
    #[n(0)]
    pub owner: u64,
    #[n(1)]
    pub family: LockFamily,
    /// Of [`LockFamily::Whole`] it is always everything.
    #[n(2)]
    pub range: LockRange,
    /// None: unlock.
    #[n(3)]
    pub kind: Option<LockKind>,
    /// Told to others whom the lock stops.
    #[n(4)]
    pub pid: u32,
}

/// A lock as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct HeldLock {
    #[n(0)]
    pub owner: LockOwner,
    #[n(1)]
    pub range: LockRange,
    #[n(2)]
    pub kind: LockKind,
    #[n(3)]
    pub pid: u32,
}

/// One range that an owner holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HeldRange {
    #[n(0)]
    pub(crate) range: LockRange,
    #[n(1)]
    pub(crate) kind: LockKind,
}

/// What one owner holds of one family on one inode; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct LocksRow {
    #[n(0)]
    pub(crate) pid: u32,
    /// See invariant 2.
    #[n(1)]
    pub(crate) held: Vec<HeldRange>,
}

impl LocksRow {
    /// Locks or unlocks a range. Whether something became weaker that others may have waited for.
    pub(crate) fn set(&mut self, range: LockRange, kind: Option<LockKind>) -> bool {
        let mut held = Vec::with_capacity(self.held.len() + 2);
        let mut weaker = false;
        for had in self.held.drain(..) {
            weaker |= had.range.overlaps(range) && kind.is_none_or(|kind| kind < had.kind);
            if let Some(before) = range.first.checked_sub(1)
                && had.range.first <= before
            {
                held.push(HeldRange { range: LockRange { last: had.range.last.min(before), ..had.range }, ..had });
            }
            if let Some(after) = range.last.checked_add(1)
                && had.range.last >= after
            {
                held.push(HeldRange { range: LockRange { first: had.range.first.max(after), ..had.range }, ..had });
            }
        }
        held.extend(kind.map(|kind| HeldRange { range, kind }));
        held.sort_unstable_by_key(|held| held.range.first);
        for next in held {
            match self.held.last_mut() {
                Some(last) if last.kind == next.kind && last.range.last.checked_add(1) == Some(next.range.first) => {
                    last.range.last = next.range.last;
                }
                _ => self.held.push(next),
            }
        }
        weaker
    }

    fn conflict(&self, range: LockRange, kind: LockKind) -> Option<HeldRange> {
        let exclusive = |held: &HeldRange| held.kind == LockKind::Write || kind == LockKind::Write;
        self.held.iter().copied().find(|held| held.range.overlaps(range) && exclusive(held))
    }
}

/// Every lock of one family on one inode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockTable {
    pub(crate) rows: Vec<(LockOwner, LocksRow)>,
}

impl LockTable {
    /// The table as it stands in a state.
    pub fn load(view: &impl View, inode: InodeId, family: LockFamily) -> Result<Self, ViewError> {
        let mut rows = Vec::new();
        // Each row holds at least one lock.
        for (key, value) in view.page(&key::locks(inode), MAX_LOCKS_OF_INODE as usize)? {
            let (of, owner) = key::lock_of(&key)?;
            if of == family {
                rows.push((owner, row::decode(&key, &value)?));
            }
        }
        Ok(Self { rows })
    }

    /// The locks of others that stand in the way, one of each owner.
    pub fn conflicts(
        &self,
        owner: LockOwner,
        range: LockRange,
        kind: LockKind,
    ) -> impl Iterator<Item = HeldLock> + use<'_> {
        self.rows.iter().filter(move |(holder, _)| *holder != owner).filter_map(move |(holder, row)| {
            let HeldRange { range, kind } = row.conflict(range, kind)?;
            Some(HeldLock { owner: *holder, range, kind, pid: row.pid })
        })
    }

    /// Locks or unlocks a range for an owner, whatever others hold. Whether something became weaker.
    pub fn set(&mut self, owner: LockOwner, wish: &LockWish) -> bool {
        let at = match self.rows.iter().position(|(holder, _)| *holder == owner) {
            Some(at) => at,
            None => {
                self.rows.push((owner, LocksRow::default()));
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[at].1;
        // Linux does not say who unlocks.
        if wish.kind.is_some() {
            row.pid = wish.pid;
        }
        let weaker = row.set(wish.range, wish.kind);
        if row.held.is_empty() {
            self.rows.remove(at);
        }
        weaker
    }

    /// Every range that somebody holds.
    pub(crate) fn len(&self) -> usize {
        self.rows.iter().map(|(_, row)| row.held.len()).sum()
    }

    pub(crate) fn row_of(&self, owner: LockOwner) -> Option<&LocksRow> {
        self.rows.iter().find(|(holder, _)| *holder == owner).map(|(_, row)| row)
    }
}
