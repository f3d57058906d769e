//! One command at work: the state with what the command has written so far, and what it leaves for the leader.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::Encode;
use types::{BlockId, GenStamp, InodeId, SessionId, StorageId, Timestamp};

use crate::access::Caller;
use crate::apply::{Applied, Effect};
use crate::command::{DeletedReplica, Reply, Request};
use crate::error::{Error, QueryError};
use crate::key;
use crate::limits::FIRST_DATANODE;
use crate::overlay::Overlay;
use crate::quota;
use crate::row::{self, BlockLocation, BlockRow, DirectoryRow, EMPTY, InodeRow, LeaseRow, LinkRow, SystemRow};
use crate::rows::Rows;
use crate::view::{View, ViewError};

/// How everything inside this crate ends that may be refused.
pub(crate) type Outcome<T> = Result<T, QueryError>;

pub(crate) struct Transaction<'a, V> {
    /// Reads see what was written before.
    pub(crate) rows: Overlay<'a, V>,
    pub(crate) system: SystemRow,
    /// The time of the command, never before that of an earlier one (invariant 8).
    pub(crate) now: Timestamp,
    /// Who asks, if a client does.
    pub(crate) session: Option<SessionId>,
    /// On whose behalf.
    pub(crate) caller: Caller<'a>,
    effects: Vec<Effect>,
    /// Directories with a quota whose sums were written.
    quotas: BTreeSet<InodeId>,
    /// Of directories with a quota: files and raw bytes that count there now since another name went.
    handed_over: BTreeMap<InodeId, (i64, i64)>,
}

impl<'a, V: View> Transaction<'a, V> {
    pub(crate) fn begin(view: &'a V, request: &'a Request) -> Result<Self, ViewError> {
        let system = view.system()?.unwrap_or(SystemRow {
            cluster: None,
            time: Timestamp::EPOCH,
            next_inode: InodeId::ROOT,
            next_session: SessionId::new(1),
            next_node: types::NodeId::new(FIRST_DATANODE),
            blocks: 0,
            sessions: 0,
            supergroup: None,
            policies: None,
        });
        Ok(Self {
            rows: Overlay::new(view),
            now: system.time.max(request.time),
            caller: Caller::new(request.principal.as_ref(), system.supergroup),
            system,
            session: request.origin.map(|origin| origin.session),
            effects: Vec::new(),
            quotas: BTreeSet::new(),
            handed_over: BTreeMap::new(),
        })
    }

    /// Has the quota of a directory checked at the end.
    pub(crate) fn watch_quota(&mut self, directory: InodeId) {
        self.quotas.insert(directory);
    }

    /// What counts in another directory since a name went is no growth there.
    pub(crate) fn note_handed_over(&mut self, directory: InodeId, files: i64, raw_bytes: i64) {
        let (all_files, all_bytes) = self.handed_over.entry(directory).or_default();
        *all_files += files;
        *all_bytes += raw_bytes;
    }

    /// Refuses a command that made something grow beyond its quota (invariant 10). Only the end counts: what a command
    /// takes from one place to put it into another is no growth of what holds both.
    pub(crate) fn check_quotas(&self) -> Outcome<()> {
        self.quotas.iter().try_for_each(|directory| {
            let handed_over = self.handed_over.get(directory).copied().unwrap_or_default();
            quota::check(self.rows.base(), &self.rows, *directory, handed_over)
        })
    }

    /// Closes the books: a command that wrote something has moved the clock and maybe the counters.
    pub(crate) fn finish(mut self, reply: Reply) -> Applied {
        if !self.rows.is_empty() {
            self.system.time = self.now;
            self.rows.put(key::SYSTEM.to_vec(), row::encode(&self.system));
        }
        Applied { reply: Ok(reply), writes: self.rows.into_writes(), effects: self.effects }
    }

    /// Names the group whose members may do everything, or none.
    pub(crate) fn set_supergroup(&mut self, gid: Option<u32>) {
        self.system.supergroup = gid;
        // Only a command that writes something writes the row that this stands in.
        self.rows.put(key::SYSTEM.to_vec(), row::encode(&self.system));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        if self.effects.last() != Some(&effect) {
            self.effects.push(effect);
        }
    }

    /// The session that asks.
    pub(crate) fn need_session(&self) -> Outcome<SessionId> {
        Ok(self.session.ok_or(Error::SessionNeeded)?)
    }

    pub(crate) fn next_inode(&mut self) -> InodeId {
        let inode = self.system.next_inode;
        self.system.next_inode = inode.next();
        inode
    }

    pub(crate) fn put<T: Encode<()>>(&mut self, key: Vec<u8>, value: &T) {
        self.rows.put(key, row::encode(value));
    }

    pub(crate) fn mark(&mut self, key: Vec<u8>) {
        self.rows.put(key, EMPTY.to_vec());
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.rows.remove(key);
    }

    pub(crate) fn put_entry(&mut self, directory: InodeId, name: &[u8], row: &InodeRow) {
        self.put(key::entry(directory, name), row);
    }

    /// The row of an inode with several names or none, which has their number.
    pub(crate) fn put_shared(&mut self, row: &InodeRow) {
        debug_assert!(row.names.is_some(), "a row under `h` counts its names");
        self.put(key::shared(row.inode), row);
    }

    pub(crate) fn put_link(&mut self, inode: InodeId, parent: InodeId, name: &[u8]) {
        self.put(key::link(inode), &LinkRow { parent, name: name.to_vec() });
    }

    pub(crate) fn put_directory(&mut self, inode: InodeId, row: &DirectoryRow) {
        self.put(key::directory(inode), row);
    }

    pub(crate) fn put_block(&mut self, block: BlockId, row: &BlockRow) {
        self.put(key::block(block), row);
    }

    pub(crate) fn put_lease(&mut self, inode: InodeId, row: &LeaseRow) {
        self.put(key::lease(inode), row);
    }

    /// Ends a lease, whoever held it.
    pub(crate) fn remove_lease(&mut self, inode: InodeId, holder: SessionId) {
        self.remove(key::lease(inode));
        self.remove(key::open_file(holder, inode));
    }

    /// Has a replica deleted from its disk at `due`.
    pub(crate) fn schedule_removal(
        &mut self,
        location: BlockLocation,
        block: BlockId,
        generation: GenStamp,
        due: Timestamp,
    ) {
        self.mark(key::removal(location.storage, &DeletedReplica { due, block, generation }));
        self.effect(Effect::ReplicasToDelete(location.storage));
    }

    /// Gives up replicas of a block that lives on: they leave the disks now, and their storages get no copy until they
    /// have (invariant 7). `generation` is the one that those replicas have.
    pub(crate) fn give_up(
        &mut self,
        block: BlockId,
        row: &mut BlockRow,
        generation: GenStamp,
        replicas: impl IntoIterator<Item = BlockLocation>,
    ) {
        for location in replicas {
            self.schedule_removal(location, block, generation, self.now);
            row.leaving.push(location);
        }
    }

    /// The replicas of `row` on these storages, and the others.
    pub(crate) fn split(
        row: &BlockRow,
        block: BlockId,
        storages: &[StorageId],
    ) -> Outcome<(Vec<BlockLocation>, Vec<BlockLocation>)> {
        let known = |storage: &StorageId| row.replicas.iter().any(|location| location.storage == *storage);
        match storages.iter().find(|storage| !known(storage)) {
            Some(storage) => Err(Error::UnknownReplica { block, storage: *storage }.into()),
            None => Ok(row.replicas.iter().partition(|location| storages.contains(&location.storage))),
        }
    }
}
