//! What a command changed, as those see it who cache names, attributes and content: read off its writes.
//!
//! 1. A name is told of when it stands for another inode than before, or for none.
//! 2. Sums over what is below a directory are no change of it: every new file would change all directories above.
//! 3. What is below a removed directory is not listed, only that one itself.
//! 4. Rows of inodes that nobody watches are not read.

use types::InodeId;

use crate::key;
use crate::row::{self, Body, DirectoryRow, EntryRow, InodeRow, Usage};
use crate::rows::Rows;
use crate::view::{View, ViewError, Write};

/// One change of one inode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub inode: InodeId,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A name in this directory came, went, or stands for something else.
    Name(Vec<u8>),
    Attributes,
    /// The bytes of the file, and with them its attributes.
    Content,
}

/// What the writes of one command change of the inodes that are watched, sorted; `before` is the state without them.
pub fn changes<V: View>(
    before: &V,
    writes: &[Write],
    watched: impl Fn(InodeId) -> bool,
) -> Result<Vec<Change>, ViewError> {
    let mut found = Found { before, watched, changes: Vec::new() };
    for Write { key, value } in writes {
        let value = value.as_deref();
        match key.first() {
            Some(b'n') => found.entry(key, value)?,
            Some(b'd') => found.directory(key, value)?,
            Some(b'h') => found.shared(key, value)?,
            Some(b'e') => found.add(key::owner_of(key)?, What::Content),
            // The way to a file is written when its only name goes or changes.
            Some(b'i' | b'x') => found.add(key::owner_of(key)?, What::Attributes),
            _ => {}
        }
    }
    let mut changes = found.changes;
    changes.sort_unstable();
    changes.dedup();
    Ok(changes)
}

struct Found<'a, V, W> {
    before: &'a V,
    watched: W,
    changes: Vec<Change>,
}

impl<V: View, W: Fn(InodeId) -> bool> Found<'_, V, W> {
    fn add(&mut self, inode: InodeId, what: What) {
        if (self.watched)(inode) {
            self.changes.push(Change { inode, what });
        }
    }

    fn entry(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ViewError> {
        let directory = key::owner_of(key)?;
        let now: Option<EntryRow> = value.map(|value| row::decode(key, value)).transpose()?;
        let is_watched = now.as_ref().is_some_and(|now| (self.watched)(inode_of(now)));
        if !is_watched && !(self.watched)(directory) {
            return Ok(());
        }
        let before: Option<EntryRow> = self.before.row(key)?;
        if before.as_ref().map(inode_of) != now.as_ref().map(inode_of) {
            self.add(directory, What::Name(key::name_of(key)?.to_vec()));
        }
        match (before, now) {
            (Some(EntryRow::Inode(before)), Some(EntryRow::Inode(now))) if before.inode == now.inode => {
                self.inode(&before, &now);
            }
            // It got another name, or came here from one.
            (_, Some(EntryRow::Inode(now))) => self.add(now.inode, What::Attributes),
            // The row under `h` tells.
            (_, Some(EntryRow::Reference(_)) | None) => {}
        }
        Ok(())
    }

    fn inode(&mut self, before: &InodeRow, now: &InodeRow) {
        let content = |row: &InodeRow| match &row.body {
            Body::Directory | Body::Symlink(_) | Body::Special(_) => None,
            Body::File(file) => Some((file.length, file.changes, file.data.clone())),
        };
        if content(before) != content(now) {
            self.add(now.inode, What::Content);
        } else if before != now {
            self.add(now.inode, What::Attributes);
        }
    }

    fn directory(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ViewError> {
        let inode = key::owner_of(key)?;
        if !(self.watched)(inode) {
            return Ok(());
        }
        let seen = |row: DirectoryRow| DirectoryRow { usage: Usage::default(), ..row };
        let now: Option<DirectoryRow> = value.map(|value| row::decode(key, value)).transpose()?;
        if self.before.directory(inode)?.map(seen) != now.map(seen) {
            self.add(inode, What::Attributes);
        }
        Ok(())
    }

    fn shared(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ViewError> {
        let inode = key::owner_of(key)?;
        if !(self.watched)(inode) {
            return Ok(());
        }
        let now: Option<InodeRow> = value.map(|value| row::decode(key, value)).transpose()?;
        match (self.before.row::<InodeRow>(key)?, now) {
            (Some(before), Some(now)) => self.inode(&before, &now),
            (Some(_), None) | (None, Some(_)) => self.add(inode, What::Attributes),
            (None, None) => {}
        }
        Ok(())
    }
}

fn inode_of(entry: &EntryRow) -> InodeId {
    match entry {
        EntryRow::Inode(row) => row.inode,
        EntryRow::Reference(inode) => *inode,
    }
}
