//! What is noted of what the kernel keeps, and what it has to drop for a piece of news. Nothing here talks to anybody; the
//! invariants are those of the module above.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use client::{Attributes, Changed, Entry, Kind};
use tracing::debug;
use types::{InodeId, WATCHED_NAMES};

use super::absent::Absent;
use super::notices::Notice;
use super::own::Own;

/// Names that the kernel keeps for long.
pub(super) const KEPT: usize = 1 << 18;

/// When something was asked for, in news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(super) u64);

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) directory: InodeId,
    pub(crate) name: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Counts news and new watches.
    pub(super) clock: u64,
    /// When everything was last in doubt.
    pub(super) doubted: u64,
    /// When an extended attribute of anything was last changed through this mount, which is not told of that.
    pub(super) attributed: u64,
    pub(super) directories: HashMap<InodeId, Directory>,
    /// How often the kernel has looked up each inode that it holds: the only thing here that grows with those.
    pub(super) lookups: HashMap<InodeId, u64>,
    /// Inodes that the kernel keeps for long.
    pub(super) nodes: HashMap<InodeId, Node>,
    /// Names in all directories.
    pub(super) kept: usize,
    pub(super) absent: Absent,
    pub(super) own: Own,
    /// There is no directory to be given up before.
    pub(super) full_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Directory {
    /// Since when it is watched, if it is by now.
    pub(super) since: Option<u64>,
    pub(super) news: u64,
    pub(super) used: Instant,
    pub(super) refused: Option<Instant>,
    /// Those that the kernel keeps for long.
    pub(super) names: HashMap<Arc<[u8]>, InodeId>,
    /// The kernel was told of all that is in it, and has the attributes: since when, in news and in time.
    pub(super) listed: Option<(Ticket, Instant)>,
}

impl Directory {
    /// Not watched yet.
    pub(super) fn new(used: Instant) -> Self {
        Self { since: None, news: 0, used, refused: None, names: HashMap::new(), listed: None }
    }

    /// Whether it is watched, or will not be for a while.
    pub(super) fn is_decided(&self) -> bool {
        self.since.is_some() || self.refused.is_some()
    }
}

/// An inode that the kernel keeps for long, by one name.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) directory: InodeId,
    pub(super) name: Arc<[u8]>,
    /// When it was last told of, or asked for.
    pub(super) news: u64,
    /// Attributes that the kernel was given and may keep for long, unless there was news of them since.
    pub(super) told: Option<Told>,
    /// The kernel's pages were read while news of the file was told.
    pub(super) pages: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    at: Instant,
    /// It has neither extended attributes nor access control lists.
    is_bare: bool,
}

/// What the kernel is to drop.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub(super) attributes: Vec<InodeId>,
    pub(super) names: Vec<Notice>,
    pub(super) pages: Vec<InodeId>,
}

impl State {
    /// Invariant 2, for names in a watched directory and its own attributes.
    pub(super) fn is_current(&self, directory: InodeId, ticket: Ticket) -> bool {
        let known = self.directories.get(&directory);
        let is_watched =
            known.is_some_and(|known| known.since.is_some_and(|since| since <= ticket.0) && known.news <= ticket.0);
        is_watched && self.doubted <= ticket.0
    }

    /// Invariant 2, for what the kernel knows by a name in a watched directory.
    pub(super) fn is_fresh(&self, inode: InodeId, ticket: Ticket) -> bool {
        let Some(node) = self.nodes.get(&inode) else { return false };
        let since = self.directories.get(&node.directory).and_then(|known| known.since);
        since.is_some_and(|since| since <= ticket.0) && node.news <= ticket.0 && self.doubted <= ticket.0
    }

    /// The kernel is given a name: whether it may keep that, and the attributes of what has it.
    pub(super) fn grant(&mut self, ticket: Ticket, slot: &Slot, attributes: &Attributes, now: Instant) -> (bool, bool) {
        let inode = attributes.inode;
        let is_current = self.is_current(slot.directory, ticket);
        let has_own_watch = self.is_current(inode, ticket);
        *self.lookups.entry(inode).or_default() += 1;
        self.absent.drop_name(slot);
        let known = self.nodes.get(&inode);
        let is_here = known.is_some_and(|node| node.directory == slot.directory && *node.name == *slot.name);
        let may_be_noted = known.is_none() && self.kept < KEPT;
        if !is_current || !(is_here || may_be_noted) {
            return (false, false);
        }
        if !is_here {
            let name: Arc<[u8]> = slot.name.as_slice().into();
            let directory = self.directories.get_mut(&slot.directory).expect("it is watched");
            if let Some(other) = directory.names.insert(name.clone(), inode) {
                // It stood for another before, which is told of separately.
                self.nodes.remove(&other);
            } else {
                self.kept += 1;
            }
            // Answers that were asked for earlier may be older than news that came before it was noted.
            let node = Node { directory: slot.directory, name, news: ticket.0, told: None, pages: false };
            self.nodes.insert(inode, node);
        }
        let is_told = match attributes.kind {
            Kind::Directory => has_own_watch,
            _ => attributes.links <= WATCHED_NAMES,
        };
        if is_told {
            self.told(ticket, attributes, now);
        }
        (true, is_told)
    }

    /// The kernel is given attributes: whether it may keep them.
    pub(super) fn grant_attributes(&mut self, ticket: Ticket, attributes: &Attributes, now: Instant) -> bool {
        let inode = attributes.inode;
        let is_told = match attributes.kind {
            Kind::Directory => self.is_current(inode, ticket),
            _ => self.is_fresh(inode, ticket) && attributes.links <= WATCHED_NAMES,
        };
        if is_told {
            self.told(ticket, attributes, now);
        }
        is_told
    }

    fn told(&mut self, ticket: Ticket, attributes: &Attributes, at: Instant) {
        let has_lists = attributes.access_acl || attributes.default_acl;
        let is_bare = attributes.no_xattrs && !has_lists && self.attributed <= ticket.0;
        if let Some(node) = self.nodes.get_mut(&attributes.inode) {
            node.told = Some(Told { at, is_bare });
        }
    }

    /// Whether it is certain that something has neither extended attributes nor access control lists.
    pub(super) fn is_bare(&self, inode: InodeId) -> bool {
        self.nodes.get(&inode).and_then(|node| node.told).is_some_and(|told| told.is_bare)
    }

    /// They are going to be changed through this mount, or have been. Answers that were asked for before may say either.
    pub(super) fn changing_xattrs(&mut self, inode: InodeId) {
        self.clock += 1;
        self.attributed = self.clock;
        self.doubt_attributes(inode);
    }

    /// The kernel is to drop the attributes of something.
    fn doubt_attributes(&mut self, inode: InodeId) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.told = None;
        }
    }

    /// Since when the kernel has the attributes of all of these in a directory, if it has.
    pub(super) fn told_since<'a>(
        &self,
        directory: InodeId,
        names: impl Iterator<Item = &'a [u8]>,
        now: Instant,
    ) -> Option<Instant> {
        let known = self.directories.get(&directory)?;
        let mut since = now;
        for name in names {
            since = since.min(self.nodes.get(known.names.get(name)?)?.told?.at);
        }
        Some(since)
    }

    /// The kernel is told that there is no such name: whether it may keep that until then.
    pub(super) fn grant_absence(&mut self, ticket: Ticket, slot: &Slot, now: Instant, until: Instant) -> bool {
        self.is_current(slot.directory, ticket) && self.absent.keep(slot, now, until)
    }

    /// All `entries` of a directory have been told, as of the ticket, and the kernel has the attributes since then; unless they
    /// were too many for it to keep.
    pub(super) fn listed(&mut self, directory: InodeId, ticket: Ticket, since: Instant, entries: u64) {
        if let Some(known) = self.directories.get_mut(&directory)
            && known.names.len() as u64 >= entries
        {
            known.listed = Some((ticket, since));
        }
    }

    /// Whether a list of the directory that the kernel has, from after `since`, is what it would be told now (invariant 2).
    pub(super) fn is_listed(&self, directory: InodeId, since: Instant) -> bool {
        let listed = self.directories.get(&directory).and_then(|known| known.listed);
        listed.is_some_and(|(ticket, at)| at >= since && self.is_current(directory, ticket))
    }

    /// Takes a name out of what is kept. Gives what it stood for.
    pub(super) fn drop_name(&mut self, slot: &Slot) -> Option<InodeId> {
        let inode = self.directories.get_mut(&slot.directory)?.names.remove(slot.name.as_slice())?;
        self.kept -= 1;
        self.nodes.remove(&inode);
        Some(inode)
    }

    pub(super) fn forget(&mut self, inode: InodeId, lookups: u64) {
        let Some(held) = self.lookups.get_mut(&inode) else { return };
        *held = held.saturating_sub(lookups);
        if *held > 0 {
            return;
        }
        self.lookups.remove(&inode);
        if let Some(node) = self.nodes.remove(&inode)
            && let Some(directory) = self.directories.get_mut(&node.directory)
            && directory.names.remove(&node.name).is_some()
        {
            self.kept -= 1;
        }
    }

    pub(super) fn watched(&mut self, directory: InodeId, watched: Result<(), client::Error>) {
        self.clock += 1;
        let clock = self.clock;
        let Some(known) = self.directories.get_mut(&directory) else { return };
        match watched {
            Ok(()) => known.since = Some(clock),
            Err(error) => {
                debug!(%directory, %error, "a directory is not watched");
                known.refused = Some(Instant::now());
            }
        }
    }

    /// What is in a directory that was made here, as it was asked for once it was watched.
    pub(super) fn own_listed(
        &mut self,
        directory: InodeId,
        ticket: Ticket,
        listed: Result<(Vec<Entry>, bool), client::Error>,
    ) {
        match listed {
            Ok((entries, false)) if self.is_current(directory, ticket) => {
                self.own.complete(directory, entries.iter().map(|entry| entry.name.as_bytes()));
            }
            _ => self.own.give_up(directory),
        }
    }

    pub(super) fn news(&mut self, changed: Changed) -> Drops {
        let Changed { inode: directory, names, attributes, content, children } = changed;
        self.clock += 1;
        let clock = self.clock;
        let mut drops = Drops::default();
        if let Some(known) = self.directories.get_mut(&directory) {
            known.news = clock;
        }
        if !names.is_empty() {
            self.own.give_up(directory);
        }
        for name in names {
            let slot = Slot { directory, name };
            drops.attributes.extend(self.drop_name(&slot));
            self.absent.drop_name(&slot);
            drops.names.push(Notice::Name(slot));
        }
        if attributes || content {
            drops.attributes.push(directory);
            self.doubt_attributes(directory);
        }
        for child in children {
            if let Some(node) = self.nodes.get_mut(&child.inode) {
                node.news = clock;
                node.told = None;
            }
            if self.lookups.contains_key(&child.inode) {
                drops.attributes.push(child.inode);
                if child.content {
                    drops.pages.push(child.inode);
                }
            }
        }
        drops
    }

    /// Anything may have changed.
    pub(super) fn doubt(&mut self) -> Drops {
        self.clock += 1;
        self.doubted = self.clock;
        let mut drops = Drops::default();
        let directories: Vec<InodeId> = self.directories.keys().copied().collect();
        for directory in directories {
            drops.attributes.push(directory);
            drops.append(self.drop_names(directory));
        }
        drops
    }

    /// The kernel is to know nothing any more of what is in a directory.
    pub(super) fn drop_names(&mut self, directory: InodeId) -> Drops {
        let mut drops = Drops::default();
        drops.names.extend(self.absent.drop_names(directory).map(Notice::Name));
        self.own.give_up(directory);
        let Some(known) = self.directories.get_mut(&directory) else { return drops };
        let names = std::mem::take(&mut known.names);
        self.kept -= names.len();
        for (name, inode) in names {
            if self.nodes.remove(&inode).is_some() {
                drops.attributes.push(inode);
                drops.pages.push(inode);
            }
            drops.names.push(Notice::Name(Slot { directory, name: name.to_vec() }));
        }
        drops
    }

    pub(super) fn leave(&mut self, directory: InodeId) -> Drops {
        let mut drops = self.drop_names(directory);
        self.directories.remove(&directory);
        drops.attributes.push(directory);
        self.doubt_attributes(directory);
        drops
    }
}

impl Drops {
    pub(super) fn append(&mut self, other: Self) {
        self.attributes.extend(other.attributes);
        self.names.extend(other.names);
        self.pages.extend(other.pages);
    }
}

#[cfg(test)]
mod tests;
