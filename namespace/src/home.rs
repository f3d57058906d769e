//! Where the row of an inode is, and how it is written back.
//!
//! 1. An inode with one name has its row in the entry of that name. `i`, for a directory `d`, leads from its number there.
//! 2. One with several names, or without any, has its row under `h`, which knows how many there are. It stays there.
//! 3. A file counts in the sums of one directory: that of its only name, or of the one that its `i` row has.

use types::InodeId;

use crate::resolve::Slot;
use crate::row::InodeRow;
use crate::rows::Rows;
use crate::transaction::Transaction;
use crate::view::{View, ViewError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Home {
    /// The entry of its only name.
    Entry(Slot),
    /// A row of its own.
    Shared,
}

impl Home {
    /// Where the row is that was found under a name.
    pub(crate) fn at(slot: &Slot, row: &InodeRow) -> Self {
        if row.names.is_some() { Self::Shared } else { Self::Entry(slot.clone()) }
    }

    /// An inode by its number, also in a removed tree.
    pub(crate) fn of(view: &impl View, inode: InodeId) -> Result<Option<(Self, InodeRow)>, ViewError> {
        let slot = match view.link(inode)? {
            Some(link) => Some(Slot { directory: link.parent, name: link.name }),
            None => view.directory(inode)?.map(|row| Slot { directory: row.parent, name: row.name }),
        };
        let Some(slot) = slot else {
            return Ok(view.shared(inode)?.map(|row| (Self::Shared, row)));
        };
        let row = view.entry(slot.directory, &slot.name)?;
        Ok(row.map(|row| (Self::at(&slot, &row), row)))
    }

    /// An inode that another row says is there.
    pub(crate) fn need(view: &impl View, inode: InodeId) -> Result<(Self, InodeRow), ViewError> {
        let missing = || ViewError::Row { key: inode.to_string(), reason: "the inode has no row".to_owned() };
        Self::of(view, inode)?.ok_or_else(missing)
    }

    pub(crate) fn put<V: View>(&self, txn: &mut Transaction<'_, V>, row: &InodeRow) {
        match self {
            Self::Entry(slot) => txn.put_entry(slot.directory, &slot.name, row),
            Self::Shared => txn.put_shared(row),
        }
    }

    /// The directory in whose sums the file counts (invariant 3); none for one without a name.
    pub(crate) fn counted_in(&self, view: &impl View, inode: InodeId) -> Result<Option<InodeId>, ViewError> {
        match self {
            Self::Entry(slot) => Ok(Some(slot.directory)),
            Self::Shared => Ok(view.link(inode)?.map(|link| link.parent)),
        }
    }
}
