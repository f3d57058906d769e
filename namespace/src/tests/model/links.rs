//! Names in the model: an inode may have several, and counts at one of them.

use std::collections::{BTreeMap, BTreeSet};

use types::{Code, InodeId};

use super::{Body, Model, Outcome};
use crate::command::{Ownership, Reply, Where};
use crate::row::{Kind, Usage};

pub(crate) type Name = (InodeId, Vec<u8>);

/// Where inodes count, and what the last command changed of that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names {
    counted: BTreeMap<InodeId, Name>,
    /// The inode, and the directories it counted and counts in.
    handed_over: Vec<(InodeId, InodeId, InodeId)>,
    /// These have lost a name in a removed tree, which garbage collection takes away only later.
    pub(crate) late: BTreeSet<InodeId>,
}

/// What is neither a file nor a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    pub(crate) kind: Kind,
    pub(crate) device: u64,
    pub(crate) target: Option<Vec<u8>>,
}

impl Model {
    pub(super) fn link(&mut self, from: &Where, to: &Where) -> Outcome<Reply> {
        let (_, _, inode) = self.find(from)?;
        if self.is_directory(inode) {
            return Err(Code::NotPermitted);
        }
        let (parent, name) = self.empty_slot(to)?;
        let now = self.now;
        self.object_mut(inode).ctime = now;
        self.add_entry(parent, &name, inode);
        Ok(self.attributes_reply(inode))
    }

    pub(super) fn make_other(&mut self, place: &Where, ownership: Ownership, other: Other) -> Outcome<Reply> {
        if matches!(other.kind, Kind::CharDevice | Kind::BlockDevice) && self.restricted().is_some() {
            return Err(Code::NotPermitted);
        }
        let Ownership { uid, gid, mode, .. } = self.owned(ownership);
        let (parent, name) = self.empty_slot(place)?;
        let inode = self.take_inode();
        self.objects.insert(inode, self.object((uid, gid, mode), Body::Other(other)));
        self.inherit(parent, inode);
        self.add_entry(parent, &name, inode);
        Ok(self.attributes_reply(inode))
    }

    fn empty_slot(&self, place: &Where) -> Outcome<(InodeId, Vec<u8>)> {
        let (parent, name) = self.slot(place)?;
        if self.child(parent, &name).is_some() {
            return Err(Code::Exists);
        }
        self.need(parent, 2)?;
        Ok((parent, name))
    }

    /// Every name, in the order of the directories.
    pub(crate) fn names_of(&self, inode: InodeId) -> Vec<Name> {
        let of = |parent: &InodeId| {
            let children = self.children(*parent).into_iter().flatten();
            let named = children.filter(|(_, child)| **child == inode);
            named.map(|(name, _)| (*parent, name.clone())).collect::<Vec<_>>()
        };
        self.objects.keys().flat_map(of).collect()
    }

    /// The name that a number leads to: the one that counts, else any that the caller gets to.
    pub(super) fn way_to(&self, inode: InodeId) -> Outcome<Name> {
        let mut names = self.names_of(inode);
        if let Some(counted) = self.names.counted.get(&inode) {
            names.insert(0, counted.clone());
        }
        let first = names.first().ok_or(Code::NotFound)?;
        let open = names.iter().find(|(parent, _)| self.need_way(*parent).is_ok());
        match open {
            Some(name) => Ok(name.clone()),
            None => self.need_way(first.0).map(|()| first.clone()),
        }
    }

    /// An entry came.
    pub(super) fn counts_at(&mut self, inode: InodeId, parent: InodeId, name: &[u8]) {
        if !self.is_directory(inode) {
            self.names.counted.entry(inode).or_insert((parent, name.to_vec()));
        }
    }

    /// An entry moves, or goes and is counted elsewhere by the caller.
    pub(super) fn counts_no_more_at(&mut self, inode: InodeId, parent: InodeId, name: &[u8]) {
        if self.names.counted.get(&inode).is_some_and(|counted| (counted.0, counted.1.as_slice()) == (parent, name)) {
            self.names.counted.remove(&inode);
        }
    }

    /// One entry has gone for good, and what it stood for with the last.
    pub(super) fn lose(&mut self, inode: InodeId, parent: InodeId, name: &[u8]) {
        if let Some(object) = self.objects.get_mut(&parent)
            && let Body::Directory(children) = &mut object.body
        {
            children.remove(name);
        }
        if self.is_directory(inode) {
            self.doom(inode);
            return;
        }
        let now = self.now;
        let left = self.names_of(inode);
        let Some(heir) = left.first() else {
            self.names.counted.remove(&inode);
            return self.doom(inode);
        };
        self.object_mut(inode).ctime = now;
        let counted = self.names.counted.get(&inode).is_some_and(|at| *at == (parent, name.to_vec()));
        if counted {
            self.names.counted.insert(inode, heir.clone());
            if self.objects.contains_key(&parent) {
                self.names.handed_over.push((inode, parent, heir.0));
            }
        }
        if !self.objects.contains_key(&parent) {
            self.names.late.insert(inode);
        }
    }

    pub(super) fn counts(&self, inode: InodeId, parent: InodeId, name: &[u8]) -> bool {
        self.names.counted.get(&inode).is_some_and(|at| (at.0, at.1.as_slice()) == (parent, name))
    }

    /// Adds to the sums from before a command what was only handed over by it.
    pub(super) fn with_handed_over(&self, directory: InodeId, mut had: Usage) -> Usage {
        let (mut files, mut raw) = (0, 0);
        for (inode, from, to) in &self.names.handed_over {
            let factor = i64::from(self.ancestors(*to).contains(&directory))
                - i64::from(self.ancestors(*from).contains(&directory));
            let length = match &self.objects[inode].body {
                Body::File(file) => file.length() * u64::from(file.replication),
                Body::Directory(_) | Body::Other(_) => 0,
            };
            files += factor;
            raw += factor * i64::try_from(length).expect("small");
        }
        had.files += u64::try_from(files).unwrap_or(0);
        had.raw_bytes += u64::try_from(raw).unwrap_or(0);
        had
    }

    pub(super) fn forget_handed_over(&mut self) {
        self.names.handed_over.clear();
    }
}
