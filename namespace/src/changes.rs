//! What a command changed, as those see it who cache names, attributes and content: read off its writes.
//!
//! 1. A name is told of when it stands for another inode than before, or for none.
//! 2. Sums over what is below a directory are no change of it: every new file would change all directories above.
//! 3. What is below a removed directory is not listed, only that one itself.
//! 4. Rows of inodes that nobody watches are not read.
//! 5. Who watches a directory is told of what has a name there too, until the name goes: of its attributes and its content.
//!    Not of directories in it, nor of what has more than [`WATCHED_NAMES`]: those are watched themselves.
//! 6. Where the bytes of a file are stored is told of as a change of its attributes: who has its bytes may keep them.

use types::{InodeId, WATCHED_NAMES};

use crate::command::Command;
use crate::key;
use crate::names;
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
    /// Attributes of what has a name in this directory, and its bytes if `content`.
    Child {
        inode: InodeId,
        content: bool,
    },
}

impl Change {
    /// Invariant 6.
    fn without_content(&mut self) {
        match &mut self.what {
            what @ What::Content => *what = What::Attributes,
            What::Child { content, .. } => *content = false,
            What::Name(_) | What::Attributes => {}
        }
    }
}

/// What the writes of one command change of the inodes that are watched, sorted; `before` is the state without them.
pub fn changes<V: View>(
    before: &V,
    command: &Command,
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
    if matches!(command, Command::JoinExtents { .. }) {
        changes.iter_mut().for_each(Change::without_content);
    }
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
            if let Some(before) = &before {
                self.add(directory, What::Child { inode: inode_of(before), content: false });
            }
        }
        match (before, now) {
            (Some(EntryRow::Inode(before)), Some(EntryRow::Inode(now))) if before.inode == now.inode => {
                self.inode(&before, &now);
                self.child(directory, &before, &now);
            }
            // It gets a second name.
            (Some(EntryRow::Inode(before)), Some(EntryRow::Reference(_))) => {
                self.add(directory, What::Child { inode: before.inode, content: false });
            }
            // It got another name, or came here from one.
            (_, Some(EntryRow::Inode(now))) => self.add(now.inode, What::Attributes),
            // The row under `h` tells.
            (_, Some(EntryRow::Reference(_)) | None) => {}
        }
        Ok(())
    }

    fn inode(&mut self, before: &InodeRow, now: &InodeRow) {
        if has_other_content(before, now) {
            self.add(now.inode, What::Content);
        } else if before != now {
            self.add(now.inode, What::Attributes);
        }
    }

    /// Invariant 5.
    fn child(&mut self, directory: InodeId, before: &InodeRow, now: &InodeRow) {
        if before != now && !matches!(now.body, Body::Directory) {
            let content = has_other_content(before, now);
            self.add(directory, What::Child { inode: now.inode, content });
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
        let now: Option<InodeRow> = value.map(|value| row::decode(key, value)).transpose()?;
        let mut directories = Vec::new();
        if now.as_ref().is_some_and(|now| now.links() <= WATCHED_NAMES) {
            directories.extend(names::all(self.before, inode)?.into_iter().map(|slot| slot.directory));
            directories.retain(|directory| (self.watched)(*directory));
        }
        if directories.is_empty() && !(self.watched)(inode) {
            return Ok(());
        }
        match (self.before.row::<InodeRow>(key)?, now) {
            (Some(before), Some(now)) => {
                self.inode(&before, &now);
                directories.into_iter().for_each(|directory| self.child(directory, &before, &now));
            }
            (Some(_), None) | (None, Some(_)) => self.add(inode, What::Attributes),
            (None, None) => {}
        }
        Ok(())
    }
}

fn has_other_content(before: &InodeRow, now: &InodeRow) -> bool {
    let content = |row: &InodeRow| match &row.body {
        Body::Directory | Body::Symlink(_) | Body::Special(_) => None,
        Body::File(file) => Some((file.length, file.changes, file.data.clone())),
    };
    content(before) != content(now)
}

fn inode_of(entry: &EntryRow) -> InodeId {
    match entry {
        EntryRow::Inode(row) => row.inode,
        EntryRow::Reference(inode) => *inode,
    }
}
