//! The content of a file as whoever may write it changes it, without holding its lease.
//!
//! How it is stored follows from what is asked, and from nothing else:
//!
//! 1. A file stored inline stays so under edits that bring bytes, holes and truncation, while it is no longer than the
//!    limit that the command carries. So does a file without extents whose writer never asked for a block: an empty one.
//! 2. Edits that bring blocks, and cloned or appended extents, make a file one of blocks. What it held inline must be
//!    covered by them, or be nothing: it is never turned into a block here.
//! 3. A file stored in blocks stays so, and takes no bytes.
//!
//! Each refusal names the way out. A writer with a lease of its own keeps everybody else from the file.

use std::time::Duration;

use types::ByteSize;

use crate::access::{self, Right};
pub(crate) use crate::command::ContentTerms as Terms;
use crate::command::{Reply, Where};
use crate::error::Error;
use crate::extents::Splice;
use crate::home::Home;
use crate::key;
use crate::limits::{MAX_EXTENTS, MAX_FILE, MAX_INLINE};
use crate::resolve;
use crate::row::{Body, Data, FileBody, InodeRow, LeaseRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Delta};
use crate::view::View;
use crate::xattr;

impl Terms {
    pub(crate) fn inline_max(&self) -> ByteSize {
        self.inline_max.min(MAX_INLINE)
    }
}

pub(crate) struct Content {
    pub(crate) row: InodeRow,
    pub(crate) home: Home,
    counted: Delta,
}

impl Content {
    /// A file that the caller may change. The session that holds its lease may too, between blocks.
    pub(crate) fn to_change<V: View>(txn: &Transaction<'_, V>, place: &Where) -> Outcome<Self> {
        let content = Self::find(txn, place)?;
        // An owner who has the file open was let in when it was opened, maybe as who made it, whatever its mode says.
        let is_open = match txn.session {
            Some(session) => txn.rows.get(&key::handle(content.row.inode, session))?.is_some(),
            None => false,
        };
        if !(is_open && txn.caller.owns(&content.row)) {
            txn.caller.check(&content.row, Right::Write, || resolve::show(place))?;
        }
        match content.lease(txn)? {
            Some(lease) if lease.is_recovering() => Err(Error::BeingRecovered { place: resolve::show(place) }.into()),
            Some(lease) if Some(lease.session) != txn.session => {
                let (place, holder) = (resolve::show(place), lease.session);
                Err(Error::LeaseHeld { place, holder, soft_limit: None }.into())
            }
            lease => content.check_no_open_block(lease),
        }
    }

    /// A file whose extents the caller may share: nothing of them is being written.
    pub(crate) fn to_share<V: View>(txn: &Transaction<'_, V>, place: &Where) -> Outcome<Self> {
        let content = Self::find(txn, place)?;
        txn.caller.check(&content.row, Right::Read, || resolve::show(place))?;
        let lease = content.lease(txn)?;
        content.check_no_open_block(lease)
    }

    fn find<V: View>(txn: &Transaction<'_, V>, place: &Where) -> Outcome<Self> {
        let (home, row) = resolve::find_inode(&txn.rows, txn.caller, place)?;
        let Body::File(file) = &row.body else {
            return Err(resolve::not_a_file(place, &row)?.into());
        };
        let counted = Delta::file(file);
        Ok(Self { row, home, counted })
    }

    fn lease<V: View>(&self, txn: &Transaction<'_, V>) -> Outcome<Option<LeaseRow>> {
        let writing = self.row.need_file()?.writing;
        Ok(if writing { txn.rows.lease(self.row.inode)? } else { None })
    }

    fn check_no_open_block(self, lease: Option<LeaseRow>) -> Outcome<Self> {
        match lease.and_then(|lease| lease.block) {
            Some(number) => Err(Error::BlockOpen { block: types::BlockId::new(self.row.inode, number) }.into()),
            None => Ok(self),
        }
    }

    pub(crate) fn file(&self) -> Outcome<&FileBody> {
        Ok(self.row.need_file()?)
    }

    /// The bytes of a file that is stored inline or could be: one that never had an extent, nor a block of its writer.
    pub(crate) fn inline(&self) -> Outcome<Option<&[u8]>> {
        Ok(match &self.file()?.data {
            Data::Inline { content, .. } => Some(content),
            Data::Blocks { next_block: 0, extents: 0 } => Some(&[]),
            Data::Blocks { .. } => None,
        })
    }

    /// Whether it is a file of blocks already, or holds nothing that would stand in the way of becoming one. Bytes that
    /// are overwritten, `covered` from the start on, do not.
    pub(crate) fn check_can_hold_extents(&self, covered: u64) -> Outcome<()> {
        match &self.file()?.data {
            Data::Inline { content, .. } if (content.len() as u64) > covered => {
                let length = ByteSize::new(content.len() as u64);
                Err(Error::InlineInTheWay { inode: self.row.inode, length }.into())
            }
            Data::Inline { .. } | Data::Blocks { .. } => Ok(()),
        }
    }

    /// Refuses unless the file holds exactly this inline: a writer that turns it into a block must not lose what another
    /// wrote meanwhile.
    pub(crate) fn check_inline(&self, expected: &[u8]) -> Outcome<()> {
        let inode = self.row.inode;
        match &self.file()?.data {
            Data::Inline { content, .. } if content == expected => Ok(()),
            Data::Inline { content, .. } => {
                Err(Error::InlineInTheWay { inode, length: ByteSize::new(content.len() as u64) }.into())
            }
            Data::Blocks { .. } => Err(Error::StoredInBlocks { inode }.into()),
        }
    }

    /// Refuses bytes for a file of blocks, and more than are stored inline. Gives the content to change.
    pub(crate) fn inline_of(&self, length: u64, terms: &Terms) -> Outcome<Vec<u8>> {
        let limit = terms.inline_max();
        let Some(content) = self.inline()? else {
            return Err(Error::StoredInBlocks { inode: self.row.inode }.into());
        };
        if length > limit.get() {
            return Err(Error::InlineTooLarge { length: ByteSize::new(length), limit }.into());
        }
        let mut content = content.to_vec();
        content.resize(usize::try_from(length).expect("limited above"), 0);
        Ok(content)
    }

    pub(crate) fn store_inline(&mut self, content: Vec<u8>) -> Outcome<()> {
        let file = self.row.need_file_mut()?;
        file.length = ByteSize::new(content.len() as u64);
        let next_block = match &file.data {
            Data::Inline { next_block, .. } => *next_block,
            Data::Blocks { .. } => None,
        };
        file.data = Data::Inline { content, next_block };
        Ok(())
    }

    pub(crate) fn splice<V: View>(&self, txn: &Transaction<'_, V>, terms: &Terms) -> Outcome<Splice> {
        self.splice_after(txn, Duration::from_nanos(terms.grace_nanos))
    }

    /// A change of its extents; blocks that die with it leave the disks after `grace`.
    pub(crate) fn splice_after<V: View>(&self, txn: &Transaction<'_, V>, grace: Duration) -> Outcome<Splice> {
        let file = self.file()?;
        let extents = match &file.data {
            Data::Blocks { extents, .. } => {
                (*extents, file.length.get().saturating_sub(file.holes.unwrap_or_default().get()))
            }
            Data::Inline { .. } => (0, 0),
        };
        let due = txn.now.saturating_add(grace);
        Ok(Splice::new(self.row.inode, extents, due, MAX_EXTENTS as usize))
    }

    /// It has these extents from now on, and this length.
    pub(crate) fn store_extents(&mut self, splice: &Splice, length: u64) -> Outcome<()> {
        let file = self.row.need_file_mut()?;
        let next_block = match &file.data {
            Data::Blocks { next_block, .. } => *next_block,
            Data::Inline { next_block, .. } => next_block.unwrap_or(0),
        };
        file.length = ByteSize::new(length);
        file.data = Data::Blocks { next_block, extents: splice.extents };
        file.holes = Some(ByteSize::new(length.saturating_sub(splice.held))).filter(|holes| *holes > ByteSize::ZERO);
        Ok(())
    }

    /// Writes the file back, and the sums above it. Gives the answer: where the change began, and where to go on with
    /// the rest of it.
    pub(crate) fn save<V: View>(
        mut self,
        txn: &mut Transaction<'_, V>,
        terms: &Terms,
        (offset, next): (u64, Option<u64>),
    ) -> Outcome<Reply> {
        // As on Linux, nobody but the superuser changes what a privileged program is and leaves it privileged.
        if terms.clear_suid || !txn.caller.is_unlimited() {
            self.row.mode = access::without_privileges(self.row.mode);
        }
        xattr::drop_capabilities(txn, &mut self.row);
        let now = txn.now;
        let file = self.row.need_file_mut()?;
        file.changes += 1;
        file.mtime = terms.mtime.unwrap_or(now);
        file.ctime = now;
        let change = Delta::between(self.counted, Delta::file(file));
        self.home.put(txn, &self.row);
        if let Some(directory) = self.home.counted_in(&txn.rows, self.row.inode)? {
            tree::account_change(txn, directory, change)?;
        }
        Ok(Reply::Written { attributes: self.row.attributes(None), offset, next })
    }

    /// Writes the file back after a change of how it is stored, which nobody can see in it.
    pub(crate) fn save_unchanged<V: View>(self, txn: &mut Transaction<'_, V>) {
        self.home.put(txn, &self.row);
    }

    /// The end of a range, if a file may be that long.
    pub(crate) fn end(&self, offset: u64, length: u64) -> Outcome<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= MAX_FILE.get());
        Ok(end.ok_or(Error::FileTooLarge { inode: self.row.inode, limit: MAX_FILE })?)
    }

    pub(crate) fn too_many_extents(&self) -> Error {
        Error::TooManyExtents { inode: self.row.inode, limit: MAX_EXTENTS }
    }
}
