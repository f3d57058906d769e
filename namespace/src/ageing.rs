//! Directories in which things grow old: what is in one that has a time to live is removed when its modification lies
//! further back than that.
//!
//! 1. The nearest directory above that has a time to live decides, and no other.
//! 2. A directory with a time to live has a mark under `z`, by which the leader finds it.
//! 3. What a walk found is looked at again by the command, at its own time: what was changed, moved or opened for writing
//!    meanwhile stays.
//! 4. Directories stay, but those that only the keys of objects needed go with the last of them, up to the directory with
//!    the time to live.

use std::time::Duration;

use minicbor::{Decode, Encode};
use types::{InodeId, Timestamp};

use crate::bucket;
use crate::command::Where;
use crate::key;
use crate::resolve::{self, Slot};
use crate::row::{Body, DirectoryRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{View, ViewError};

/// Something that is too old where it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Aged {
    #[n(0)]
    pub directory: InodeId,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub name: Vec<u8>,
    #[n(2)]
    pub inode: InodeId,
}

/// A walk over everything that can grow old, in bounded steps. It may be dropped at any time, and begun anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walk {
    /// The directory with a time to live that is walked, or was last.
    top: Option<InodeId>,
    ttl: Duration,
    /// Directories below it that are left to look at, from behind these names. The last comes first.
    left: Vec<(InodeId, Vec<u8>)>,
}

/// What one step of a walk found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    pub aged: Vec<Aged>,
    /// The walk has been everywhere.
    pub over: bool,
}

impl Walk {
    /// Looks at about `budget` more entries. Changes between two steps may hide something from this walk; it is met by the
    /// next one.
    pub fn step(&mut self, view: &impl View, now: Timestamp, budget: usize) -> Result<Step, ViewError> {
        let mut step = Step::default();
        let mut budget = budget.max(1);
        while budget > 0 {
            let Some((directory, after)) = self.left.pop() else {
                if !self.next_top(view)? {
                    step.over = true;
                    break;
                }
                budget -= 1;
                continue;
            };
            let looked_at = self.look(view, (directory, after), now, budget, &mut step.aged)?;
            budget = budget.saturating_sub(looked_at + 1);
        }
        Ok(step)
    }

    fn next_top(&mut self, view: &impl View) -> Result<bool, ViewError> {
        let mut range = key::ageing();
        if let Some(top) = self.top {
            range = range.after(key::ageing_in(top));
        }
        let Some((key, _)) = view.page(&range, 1)?.pop() else { return Ok(false) };
        let top = InodeId::new(key::number_of(&key)?);
        self.top = Some(top);
        // In the trash, or removed and not freed yet, nothing ages.
        if let Some(ttl) = view.directory(top)?.and_then(|row| row.ttl())
            && resolve::is_attached(view, top)?
        {
            self.ttl = ttl;
            self.left.push((top, Vec::new()));
        }
        Ok(true)
    }

    /// Looks at one page of a directory: how many entries it had.
    fn look(
        &mut self,
        view: &impl View,
        (directory, after): (InodeId, Vec<u8>),
        now: Timestamp,
        limit: usize,
        aged: &mut Vec<Aged>,
    ) -> Result<usize, ViewError> {
        let mut range = key::entries(directory);
        if !after.is_empty() {
            range = range.after(key::entry(directory, &after));
        }
        let page = view.page(&range, limit)?;
        let looked_at = page.len();
        let mut below = Vec::new();
        for (at, (key, value)) in page.iter().enumerate() {
            let row = view.entry_of(key, value)?;
            let name = key::name_of(key)?.to_vec();
            if at + 1 == limit {
                self.left.push((directory, name.clone()));
            }
            if row.body == Body::Directory {
                // One with a time of its own is walked apart (invariant 1).
                if view.directory(row.inode)?.is_some_and(|row| row.ttl().is_none()) {
                    below.push((row.inode, Vec::new()));
                }
            } else if is_aged(&row, self.ttl, now) {
                aged.push(Aged { directory, name, inode: row.inode });
            }
        }
        self.left.append(&mut below);
        Ok(looked_at)
    }
}

/// Whether something that is no directory, and that nobody writes, is older than it may be.
fn is_aged(row: &InodeRow, ttl: Duration, now: Timestamp) -> bool {
    let mtime = match &row.body {
        Body::Directory => return false,
        Body::File(file) if file.writing => return false,
        Body::File(file) => file.mtime,
        Body::Symlink(link) => link.mtime,
        Body::Special(special) => special.mtime,
    };
    mtime.saturating_add(ttl) <= now
}

/// The time to live that holds in a directory, and the directory that has it. None in what is not in the tree.
pub(crate) fn nearest(view: &impl View, directory: InodeId) -> Result<Option<(InodeId, Duration)>, ViewError> {
    let mut at = directory;
    while let Some(row) = view.directory(at)? {
        if let Some(ttl) = row.ttl() {
            return Ok(resolve::is_attached(view, at)?.then_some((at, ttl)));
        }
        at = row.parent;
    }
    Ok(None)
}

/// Removes something that is still where it was found, and still too old. What it left empty may go with it.
pub(crate) fn remove<V: View>(txn: &mut Transaction<'_, V>, aged: &Aged) -> Outcome<()> {
    let slot = Slot { directory: aged.directory, name: aged.name.clone() };
    let Some(row) = txn.rows.entry(slot.directory, &slot.name)?.filter(|row| row.inode == aged.inode) else {
        return Ok(());
    };
    let Some((top, ttl)) = nearest(&txn.rows, slot.directory)? else { return Ok(()) };
    if !is_aged(&row, ttl, txn.now) {
        return Ok(());
    }
    let place = Where { base: slot.directory, path: slot.name.clone() };
    tree::detach(txn, &place, &slot, &row, false)?;
    bucket::prune(txn, top, slot.directory)
}

/// Gives a directory a time to live, or takes it away.
pub(crate) fn set<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    directory: &mut DirectoryRow,
    ttl_nanos: Option<u64>,
) {
    directory.ttl_nanos = ttl_nanos;
    directory.ctime = txn.now;
    txn.put_directory(inode, directory);
    match ttl_nanos {
        Some(_) => txn.mark(key::ageing_in(inode)),
        None => txn.remove(key::ageing_in(inode)),
    }
}

/// Forgets the mark of a directory that goes (invariant 2).
pub(crate) fn forget<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, directory: &DirectoryRow) {
    if directory.ttl_nanos.is_some() {
        txn.remove(key::ageing_in(inode));
    }
}
