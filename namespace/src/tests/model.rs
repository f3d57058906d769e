//! The namespace in plain maps, too slow and too simple to be wrong: what `apply` is compared with.
//!
//! It knows results by code only. What lies in a removed tree is doomed: commands on it may go either way until garbage
//! collection has been there, and nobody can see the difference.

mod links;
mod rights;

use std::collections::{BTreeMap, BTreeSet};

use types::{BlockId, ByteSize, Code, GenStamp, InodeId, Path, SessionId, StorageId, Timestamp};

pub(crate) use links::{Names, Other};

use crate::command::{
    AttrChange, BlockDone, Command, Destination, NewBlock, Ownership, Principal, Reply, Request, TimeKind, Where,
    XattrMode,
};
use crate::directory_policy::{DirectoryPolicy, DirectorySetting};
use crate::placement;
use crate::row::{Attributes, BlockLocation, BlockRow, BlockState, Kind, Quota, Usage};

type Outcome<T> = Result<T, Code>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) mode: u32,
    uid: u32,
    gid: u32,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Directory(BTreeMap<Vec<u8>, InodeId>),
    File(File),
    Other(Other),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    replication: u8,
    spread: Option<placement::Policy>,
    block_size: ByteSize,
    pub(crate) writer: Option<SessionId>,
    pub(crate) inline: Option<Vec<u8>>,
    pub(crate) blocks: BTreeMap<BlockId, BlockRow>,
    next_block: u32,
    /// Committed with fewer replicas than this, and not closed since.
    short: BTreeMap<BlockId, u8>,
}

impl File {
    fn length(&self) -> u64 {
        let blocks: u64 = self.blocks.values().map(|row| row.length.get()).sum();
        blocks + self.inline.as_ref().map_or(0, |content| content.len() as u64)
    }

    /// Blocks that were committed in need have been copied by now.
    fn check_short(&self) -> Outcome<()> {
        let short = |(block, needed): (&BlockId, &u8)| {
            let row = &self.blocks[block];
            row.replicas.len() < usize::from((*needed).min(row.wanted))
        };
        if self.short.iter().any(short) { Err(Code::NoDatanodes) } else { Ok(()) }
    }

    pub(crate) fn open_block(&self) -> Option<BlockId> {
        self.blocks.iter().find(|(_, row)| row.state == BlockState::Writing).map(|(block, _)| *block)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    now: Timestamp,
    /// Whose rights count.
    caller: Option<Principal>,
    next_inode: InodeId,
    next_session: SessionId,
    pub(crate) sessions: BTreeSet<SessionId>,
    /// Everything that can be found, and files without a name.
    pub(crate) objects: BTreeMap<InodeId, Object>,
    pub(crate) doomed: BTreeSet<InodeId>,
    quotas: BTreeMap<InodeId, Quota>,
    policies: BTreeMap<InodeId, DirectoryPolicy>,
    pub(crate) names: Names,
}

/// What a command on a doomed inode is answered, nobody promises.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub(crate) enum Expected {
    Exactly(Outcome<Reply>),
    Anything,
}

impl Model {
    pub(crate) fn new(time: Timestamp, (uid, gid): (u32, u32)) -> Self {
        let root = Object {
            mode: 0o755,
            uid,
            gid,
            atime: time,
            mtime: time,
            ctime: time,
            xattrs: BTreeMap::new(),
            body: Body::Directory(BTreeMap::new()),
        };
        Self {
            now: time,
            caller: None,
            next_inode: InodeId::new(2),
            next_session: SessionId::new(1),
            sessions: BTreeSet::new(),
            objects: BTreeMap::from([(InodeId::ROOT, root)]),
            doomed: BTreeSet::new(),
            quotas: BTreeMap::new(),
            policies: BTreeMap::new(),
            names: Names::default(),
        }
    }

    pub(crate) fn apply(&mut self, request: &Request) -> Expected {
        let before = self.clone();
        self.now = self.now.max(request.time);
        self.caller.clone_from(&request.principal);
        self.forget_handed_over();
        let session = request.origin.map(|origin| origin.session);
        if let Some(session) = session
            && !self.sessions.contains(&session)
        {
            *self = before;
            return Expected::Exactly(Err(Code::SessionExpired));
        }
        if matches!(target(&request.command), Some(inode) if self.doomed.contains(&inode)) {
            // It may have written, and then moved the clock.
            return Expected::Anything;
        }
        let mut reply = self.run(session, &request.command);
        if reply.is_ok() && !matches!(request.command, Command::SetQuota { .. }) && self.breaks_a_quota(&before) {
            reply = Err(Code::QuotaExceeded);
        }
        if reply.is_err() {
            *self = before;
        }
        Expected::Exactly(reply)
    }

    fn run(&mut self, session: Option<SessionId>, command: &Command) -> Outcome<Reply> {
        match command {
            Command::OpenSession { .. } => {
                let session = self.next_session;
                self.next_session = session.next();
                self.sessions.insert(session);
                Ok(Reply::Session { session })
            }
            Command::Mkdir { place, ownership, parents } => {
                let Ownership { uid, gid, mode, .. } = self.owned(*ownership);
                let (parent, name) = if *parents { self.make_parents(place, uid, gid)? } else { self.slot(place)? };
                let inode = match self.child(parent, &name) {
                    Some(there) if *parents && self.is_directory(there) => there,
                    Some(there) if *parents && self.is_symlink(there) => return Err(Code::SymbolicLink),
                    Some(_) => return Err(Code::Exists),
                    None => {
                        self.need(parent, 2)?;
                        self.add_directory(parent, &name, (uid, gid), mode)
                    }
                };
                Ok(self.attributes_reply(inode))
            }
            Command::Create { destination, ownership, layout, targets } => {
                let session = session.ok_or(Code::InvalidArgument)?;
                let inode = self.take_inode();
                let file = File {
                    replication: layout.replication,
                    spread: layout.spread,
                    block_size: layout.block_size,
                    writer: Some(session),
                    inline: None,
                    blocks: BTreeMap::new(),
                    next_block: 0,
                    short: BTreeMap::new(),
                };
                let Ownership { uid, gid, mode, .. } = self.owned(*ownership);
                let owner = (uid, gid, mode);
                self.objects.insert(inode, self.object(owner, Body::File(file)));
                if let Some(destination) = destination {
                    self.place(inode, destination, Some(session))?;
                }
                let block = if targets.is_empty() { None } else { Some(self.begin_block(inode, targets)) };
                Ok(Reply::Created { attributes: self.attributes(inode), block })
            }
            Command::PutInline { destination, ownership, layout, content, mtime } => {
                let inode = self.take_inode();
                let file = File {
                    replication: layout.replication,
                    spread: layout.spread,
                    block_size: layout.block_size,
                    writer: None,
                    inline: Some(content.clone()),
                    blocks: BTreeMap::new(),
                    next_block: 0,
                    short: BTreeMap::new(),
                };
                let Ownership { uid, gid, mode, .. } = self.owned(*ownership);
                let owner = (uid, gid, mode);
                let mut object = self.object(owner, Body::File(file));
                object.mtime = mtime.unwrap_or(self.now);
                self.objects.insert(inode, object);
                self.place(inode, destination, session)?;
                Ok(self.attributes_reply(inode))
            }
            Command::AddBlock { inode, previous, targets, min_replicas } => {
                self.check_writer(*inode, session)?;
                if let Some(done) = previous {
                    if done.length == ByteSize::ZERO {
                        return Err(Code::InvalidArgument);
                    }
                    let needed = (*min_replicas).min(self.file(*inode).replication).max(1);
                    self.finish_block(*inode, done, 1)?;
                    if done.replicas.iter().collect::<BTreeSet<_>>().len() < usize::from(needed) {
                        self.file_mut(*inode).short.insert(done.block, needed);
                    }
                }
                if self.file(*inode).open_block().is_some() {
                    return Err(Code::InvalidArgument);
                }
                Ok(Reply::Block { block: self.begin_block(*inode, targets) })
            }
            Command::Extend { inode, written } => {
                self.check_writer(*inode, session)?;
                let row = self.current_block(*inode, written.block, Some(written.generation))?;
                if written.replicas.iter().any(|storage| row.replicas.iter().all(|at| at.storage != *storage)) {
                    return Err(Code::InvalidArgument);
                }
                if written.replicas.is_empty() {
                    return Err(Code::NoDatanodes);
                }
                self.file(*inode).check_short()?;
                if written.length > row.length {
                    self.set_length(*inode, written)?;
                }
                Ok(Reply::Done)
            }
            Command::NextGeneration { inode, block, generation, survivors } => {
                self.check_writer(*inode, session)?;
                let mut row = self.current_block(*inode, *block, Some(*generation))?;
                give_up_others(&mut row, survivors)?;
                if row.replicas.is_empty() {
                    return Err(Code::NoDatanodes);
                }
                row.generation = generation.next();
                let generation = row.generation;
                self.file_mut(*inode).blocks.insert(*block, row);
                Ok(Reply::Generation { generation })
            }
            Command::AbandonBlock { inode, block } => {
                self.check_writer(*inode, session)?;
                if self.current_block(*inode, *block, None)?.length > ByteSize::ZERO {
                    return Err(Code::InvalidArgument);
                }
                self.file_mut(*inode).blocks.remove(block);
                Ok(Reply::Done)
            }
            Command::Complete { inode, last, min_replicas, publish, mtime } => {
                self.check_writer(*inode, session)?;
                match last {
                    Some(done) => self.finish_block(*inode, done, *min_replicas)?,
                    None if self.file(*inode).open_block().is_some() => return Err(Code::InvalidArgument),
                    None => {}
                }
                self.file(*inode).check_short()?;
                self.file_mut(*inode).short.clear();
                self.file_mut(*inode).writer = None;
                let now = self.now;
                let object = self.object_mut(*inode);
                object.mtime = mtime.unwrap_or(now);
                object.ctime = now;
                match (self.parent_of(*inode), publish) {
                    (Some(_), None) => {}
                    (None, Some(destination)) => self.place(*inode, destination, session)?,
                    (Some(_), Some(_)) | (None, None) => return Err(Code::InvalidArgument),
                }
                Ok(self.attributes_reply(*inode))
            }
            Command::Abandon { inode } => {
                self.check_writer(*inode, session)?;
                if self.parent_of(*inode).is_some() {
                    return Err(Code::InvalidArgument);
                }
                self.doom(*inode);
                Ok(Reply::Done)
            }
            Command::Rename { from, to, overwrite } => self.rename(from, to, *overwrite, session),
            Command::SetQuota { place, quota } => {
                let (_, _, inode) = self.find(place)?;
                if self.restricted().is_some() {
                    return Err(Code::NotPermitted);
                }
                if !self.is_directory(inode) {
                    return Err(if self.is_symlink(inode) { Code::SymbolicLink } else { Code::NotDirectory });
                }
                self.quotas.insert(inode, *quota);
                self.object_mut(inode).ctime = self.now;
                Ok(self.attributes_reply(inode))
            }
            Command::SetDirectoryPolicy { place, setting } => {
                let (_, _, inode) = self.find(place)?;
                if self.restricted().is_some() {
                    return Err(Code::NotPermitted);
                }
                if !self.is_directory(inode) {
                    return Err(if self.is_symlink(inode) { Code::SymbolicLink } else { Code::NotDirectory });
                }
                let policy = self.policies.entry(inode).or_default();
                match setting {
                    DirectorySetting::Replication { count: Some(0 | 33..) } => return Err(Code::InvalidArgument),
                    DirectorySetting::Replication { count } => policy.replication = *count,
                    DirectorySetting::Spread { rule } => policy.spread = *rule,
                }
                self.object_mut(inode).ctime = self.now;
                Ok(self.attributes_reply(inode))
            }
            Command::SetXattr { place, name, value, mode } => {
                let inode = self.find_inode(place)?;
                self.need_xattr_change(inode, name)?;
                let there = self.objects[&inode].xattrs.contains_key(name);
                match mode {
                    XattrMode::Create if there => return Err(Code::Exists),
                    XattrMode::Replace if !there => return Err(Code::NoAttribute),
                    XattrMode::Any | XattrMode::Create | XattrMode::Replace => {}
                }
                let now = self.now;
                let object = self.object_mut(inode);
                object.xattrs.insert(name.clone(), value.clone());
                object.ctime = now;
                Ok(Reply::Done)
            }
            Command::RemoveXattr { place, name } => {
                let inode = self.find_inode(place)?;
                self.need_xattr_change(inode, name)?;
                let now = self.now;
                let object = self.object_mut(inode);
                object.xattrs.remove(name).ok_or(Code::NoAttribute)?;
                object.ctime = now;
                Ok(Reply::Done)
            }
            Command::Link { from, to } => self.link(from, to),
            Command::Symlink { place, target, ownership } => {
                let ownership = Ownership { mode: 0o777, ..*ownership };
                self.make_other(
                    place,
                    ownership,
                    Other { kind: Kind::Symlink, device: 0, target: Some(target.clone()) },
                )
            }
            Command::Mknod { place, kind, ownership, device } => {
                self.make_other(place, *ownership, Other { kind: *kind, device: *device, target: None })
            }
            Command::Exchange { first, second } => self.exchange(first, second),
            Command::Delete { place, recursive } => {
                let (parent, name, inode) = self.find(place)?;
                if inode == InodeId::ROOT {
                    return Err(Code::InvalidArgument);
                }
                self.need_removable(parent, inode)?;
                if self.children(inode).is_some_and(|children| !children.is_empty()) && !recursive {
                    return Err(Code::NotEmpty);
                }
                if *recursive {
                    self.need_removable_below(inode)?;
                }
                self.remove_entry(parent, &name);
                self.lose(inode, parent, &name);
                Ok(Reply::Done)
            }
            Command::SetAttr { place, change } => {
                let inode = self.find_inode(place)?;
                self.set_attr(inode, change)?;
                Ok(self.attributes_reply(inode))
            }
            Command::AddReplica { block, generation, location } => {
                let row = self.committed(*block, *generation)?;
                if row.replicas.contains(location) {
                    return Ok(Reply::Done);
                }
                if row.replicas.iter().chain(&row.bad).chain(&row.leaving).any(|at| at.storage == location.storage) {
                    return Err(Code::Busy);
                }
                row.replicas.push(*location);
                drop_bad(row);
                Ok(Reply::Done)
            }
            Command::RemoveReplica { block, generation, storage } => {
                let row = self.committed(*block, *generation)?;
                let goes = |at: &BlockLocation| at.storage == *storage;
                if !row.replicas.iter().chain(&row.bad).any(goes) {
                    return Ok(Reply::Done);
                }
                if row.replicas.iter().all(goes) {
                    return Err(Code::Denied);
                }
                row.leaving.extend(row.replicas.iter().chain(&row.bad).copied().filter(goes));
                row.replicas.retain(|at| !goes(at));
                row.bad.retain(|at| !goes(at));
                Ok(Reply::Done)
            }
            Command::ReportBadReplica { block, generation, storage } => {
                let row = self.committed(*block, *generation)?;
                let bad: Vec<_> = row.replicas.iter().copied().filter(|at| at.storage == *storage).collect();
                if bad.is_empty() {
                    return Ok(Reply::Done);
                }
                row.replicas.retain(|at| at.storage != *storage);
                row.bad.extend(bad);
                drop_bad(row);
                Ok(Reply::Done)
            }
            other => panic!("the model does not know {other:?}"),
        }
    }

    /// Whether a sum is over its bound that was less before.
    fn breaks_a_quota(&self, before: &Self) -> bool {
        let grew_over = |limit: Option<u64>, had: u64, has: u64| limit.is_some_and(|limit| has > limit) && has > had;
        self.quotas.iter().filter(|(directory, _)| self.objects.contains_key(directory)).any(|(directory, quota)| {
            let had = self.with_handed_over(*directory, before.usage(*directory));
            let has = self.usage(*directory);
            grew_over(quota.raw_bytes, had.raw_bytes, has.raw_bytes)
                || grew_over(quota.inodes, had.files + had.directories, has.files + has.directories)
        })
    }

    /// What the last step of ending a session leaves.
    pub(crate) fn end_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        let open: Vec<InodeId> =
            self.objects.keys().copied().filter(|inode| self.writer(*inode) == Some(session)).collect();
        for inode in open {
            if self.parent_of(inode).is_none() {
                self.doom(inode);
                continue;
            }
            let file = self.file_mut(inode);
            // What it was writing is to be recovered.
            file.short.clear();
            file.writer = file.open_block().map(|_| SessionId::new(0));
        }
    }

    fn rename(&mut self, from: &Where, to: &Where, overwrite: bool, session: Option<SessionId>) -> Outcome<Reply> {
        let (from_parent, from_name, inode) = self.find(from)?;
        let (to_parent, to_name) = self.slot(to)?;
        if inode == InodeId::ROOT || to_parent == InodeId::NONE {
            return Err(Code::InvalidArgument);
        }
        if (from_parent, &from_name) == (to_parent, &to_name) {
            return Ok(Reply::Done);
        }
        if self.is_directory(inode) && self.ancestors(to_parent).contains(&inode) {
            return Err(Code::Cycle);
        }
        let target = self.child(to_parent, &to_name);
        if target == Some(inode) && overwrite {
            return Ok(Reply::Done);
        }
        if target.is_some() && !overwrite {
            return Err(Code::Exists);
        }
        self.need_removable(from_parent, inode)?;
        match target {
            Some(there) => self.need_removable(to_parent, there)?,
            None => self.need(to_parent, 2)?,
        }
        if self.is_directory(inode) && from_parent != to_parent {
            self.need(inode, 2)?;
        }
        if let Some(there) = target {
            match (self.is_directory(inode), self.children(there)) {
                (false, Some(_)) => return Err(Code::IsDirectory),
                (true, None) => return Err(Code::NotDirectory),
                (true, Some(children)) if !children.is_empty() => return Err(Code::NotEmpty),
                (true, Some(_)) => {}
                (false, None) => self.check_replaceable(there, session)?,
            }
            self.lose(there, to_parent, &to_name);
        }
        self.remove_entry(from_parent, &from_name);
        self.counts_no_more_at(inode, from_parent, &from_name);
        self.add_entry(to_parent, &to_name, inode);
        self.object_mut(inode).ctime = self.now;
        Ok(Reply::Done)
    }

    fn exchange(&mut self, first: &Where, second: &Where) -> Outcome<Reply> {
        let (first_parent, first_name, first) = self.find(first)?;
        let (second_parent, second_name, second) = self.find(second)?;
        if first == InodeId::ROOT || second == InodeId::ROOT {
            return Err(Code::InvalidArgument);
        }
        if first == second {
            return Ok(Reply::Done);
        }
        if self.ancestors(second_parent).contains(&first) || self.ancestors(first_parent).contains(&second) {
            return Err(Code::Cycle);
        }
        self.need_removable(first_parent, first)?;
        self.need_removable(second_parent, second)?;
        for moved in [first, second] {
            if first_parent != second_parent && self.is_directory(moved) {
                self.need(moved, 2)?;
            }
        }
        let counted = [
            self.counts(first, first_parent, &first_name).then_some((first, second_parent, &second_name)),
            self.counts(second, second_parent, &second_name).then_some((second, first_parent, &first_name)),
        ];
        self.counts_no_more_at(first, first_parent, &first_name);
        self.counts_no_more_at(second, second_parent, &second_name);
        for (inode, parent, name) in counted.into_iter().flatten() {
            self.counts_at(inode, parent, name);
        }
        self.add_entry(first_parent, &first_name, second);
        self.add_entry(second_parent, &second_name, first);
        for moved in [first, second] {
            self.object_mut(moved).ctime = self.now;
        }
        Ok(Reply::Done)
    }

    fn set_attr(&mut self, inode: InodeId, change: &AttrChange) -> Outcome<()> {
        self.need_attributes(inode, change)?;
        if self.is_directory(inode) && change.replication.is_some() {
            return Err(Code::IsDirectory);
        }
        if self.is_symlink(inode) && change.mode.is_some()
            || matches!(self.objects[&inode].body, Body::Other(_)) && change.replication.is_some()
        {
            return Err(Code::NotSupported);
        }
        let (now, caller, directory) = (self.now, self.restricted().cloned(), self.is_directory(inode));
        let object = self.object_mut(inode);
        if (change.uid.is_some() || change.gid.is_some()) && !directory {
            object.mode &= if object.mode & 0o010 == 0 { 0o3777 } else { 0o1777 };
        }
        object.uid = change.uid.unwrap_or(object.uid);
        object.gid = change.gid.unwrap_or(object.gid);
        if let Some(mode) = change.mode {
            let lends = caller.is_some_and(|caller| !rights::is_in(&caller, object.gid));
            object.mode = if lends { mode & 0o5777 } else { mode };
        }
        if change.touch {
            (object.mtime, object.atime) = (now, now);
        }
        match change.present {
            Some(TimeKind::Access) => object.atime = now,
            Some(TimeKind::Modification) => object.mtime = now,
            None => {}
        }
        object.mtime = change.mtime.unwrap_or(object.mtime);
        object.atime = change.atime.unwrap_or(object.atime);
        object.ctime = now;
        if let (Some(replication), Body::File(file)) = (change.replication, &mut object.body) {
            file.replication = replication;
            file.blocks.values_mut().for_each(|row| row.wanted = replication);
        }
        Ok(())
    }

    fn finish_block(&mut self, inode: InodeId, done: &BlockDone, min_replicas: u8) -> Outcome<()> {
        let mut row = self.current_block(inode, done.block, Some(done.generation))?;
        if done.length < row.length {
            return Err(Code::InvalidArgument);
        }
        if done.length == ByteSize::ZERO {
            self.file_mut(inode).blocks.remove(&done.block);
            return Ok(());
        }
        give_up_others(&mut row, &done.replicas)?;
        if row.replicas.len() < usize::from(min_replicas.min(row.wanted).max(1)) {
            return Err(Code::NoDatanodes);
        }
        self.set_length(inode, done)?;
        row.length = done.length;
        row.live = done.length;
        row.state = BlockState::Committed;
        self.file_mut(inode).blocks.insert(done.block, row);
        Ok(())
    }

    fn set_length(&mut self, inode: InodeId, done: &BlockDone) -> Outcome<()> {
        if done.length > self.file(inode).block_size {
            return Err(Code::InvalidArgument);
        }
        let now = self.now;
        let row = self.file_mut(inode).blocks.get_mut(&done.block).expect("the caller has found it");
        let grown = done.length != row.length;
        row.length = done.length;
        row.live = done.length;
        if grown {
            let object = self.object_mut(inode);
            object.mtime = now;
            object.ctime = now;
        }
        Ok(())
    }

    fn begin_block(&mut self, inode: InodeId, targets: &[BlockLocation]) -> NewBlock {
        let file = self.file_mut(inode);
        let block = BlockId::new(inode, file.next_block);
        file.next_block += 1;
        let row = BlockRow {
            generation: GenStamp::FIRST,
            length: ByteSize::ZERO,
            state: BlockState::Writing,
            wanted: file.replication,
            replicas: targets.to_vec(),
            bad: Vec::new(),
            leaving: Vec::new(),
            live: ByteSize::ZERO,
            recovery: None,
            spread: file.spread,
        };
        file.blocks.insert(block, row);
        NewBlock { block, generation: GenStamp::FIRST, targets: targets.to_vec() }
    }

    fn current_block(&self, inode: InodeId, block: BlockId, generation: Option<GenStamp>) -> Outcome<BlockRow> {
        let file = self.file(inode);
        if file.open_block() != Some(block) {
            return Err(Code::NoSuchBlock);
        }
        let row = file.blocks[&block].clone();
        match generation {
            Some(generation) if generation != row.generation => Err(Code::StaleGeneration),
            _ => Ok(row),
        }
    }

    fn committed(&mut self, block: BlockId, generation: GenStamp) -> Outcome<&mut BlockRow> {
        let object = self.objects.get_mut(&block.inode()).ok_or(Code::NoSuchBlock)?;
        let Body::File(file) = &mut object.body else { return Err(Code::NoSuchBlock) };
        let row = file.blocks.get_mut(&block).ok_or(Code::NoSuchBlock)?;
        if row.generation != generation {
            return Err(Code::StaleGeneration);
        }
        if row.state == BlockState::Writing { Err(Code::InvalidArgument) } else { Ok(row) }
    }

    fn check_writer(&self, inode: InodeId, session: Option<SessionId>) -> Outcome<()> {
        let session = session.ok_or(Code::InvalidArgument)?;
        if self.writer(inode) == Some(session) { Ok(()) } else { Err(Code::LeaseLost) }
    }

    fn check_replaceable(&self, inode: InodeId, session: Option<SessionId>) -> Outcome<()> {
        let writer = self.writer(inode);
        if writer.is_some() && writer != session { Err(Code::LeaseHeld) } else { Ok(()) }
    }

    fn place(&mut self, inode: InodeId, destination: &Destination, session: Option<SessionId>) -> Outcome<()> {
        // The file itself is no place to put it.
        let object = self.objects.remove(&inode).expect("the file is there");
        let (uid, gid) = (object.uid, object.gid);
        let place = &destination.place;
        let (parent, name) = if destination.parents { self.make_parents(place, uid, gid)? } else { self.slot(place)? };
        self.objects.insert(inode, object);
        let there = self.child(parent, &name);
        if there.is_none() {
            self.need(parent, 2)?;
        }
        if let Some(there) = there {
            if !destination.overwrite {
                return Err(Code::Exists);
            }
            if self.is_directory(there) {
                return Err(Code::IsDirectory);
            }
            self.need_removable(parent, there)?;
            self.check_replaceable(there, session)?;
            self.lose(there, parent, &name);
        }
        self.inherit(parent, inode);
        self.add_entry(parent, &name, inode);
        Ok(())
    }

    /// These replicas have left the disk of `storage`.
    pub(crate) fn deleted(&mut self, storage: StorageId, block: BlockId) {
        if let Some(Object { body: Body::File(file), .. }) = self.objects.get_mut(&block.inode())
            && let Some(row) = file.blocks.get_mut(&block)
        {
            row.leaving.retain(|at| at.storage != storage);
        }
    }

    /// Whatever is there and below is gone for everyone.
    fn doom(&mut self, inode: InodeId) {
        self.doomed.insert(inode);
        if let Some(Object { body: Body::Directory(children), .. }) = self.objects.remove(&inode) {
            children.iter().for_each(|(name, child)| self.lose(*child, inode, name));
        }
    }

    fn slot(&self, place: &Where) -> Outcome<(InodeId, Vec<u8>)> {
        let path = Path::parse(&place.path).expect("the test gives legal paths");
        let Some((parents, last)) = path.split_last() else {
            return match place.base {
                InodeId::ROOT => Ok((InodeId::NONE, Vec::new())),
                base => self.way_to(base),
            };
        };
        let mut at = place.base;
        if !self.objects.contains_key(&at) {
            return Err(Code::NotFound);
        }
        if self.is_directory(at) {
            self.need_way(at)?;
        }
        for name in parents.names() {
            at = match self.children(at) {
                Some(children) => *children.get(name.as_bytes()).ok_or(Code::NotFound)?,
                None => return Err(self.no_directory(at, place.base)),
            };
            if self.is_directory(at) {
                self.need(at, 1)?;
            }
        }
        match self.is_directory(at) {
            true => Ok((at, last.as_bytes().to_vec())),
            false => Err(self.no_directory(at, place.base)),
        }
    }

    fn make_parents(&mut self, place: &Where, uid: u32, gid: u32) -> Outcome<(InodeId, Vec<u8>)> {
        let path = Path::parse(&place.path).expect("the test gives legal paths");
        let Some((parents, last)) = path.split_last() else { return self.slot(place) };
        let mut at = place.base;
        if !self.objects.contains_key(&at) {
            return Err(Code::NotFound);
        }
        if self.is_directory(at) {
            self.need_way(at)?;
        }
        for name in parents.names() {
            let children = self.children(at).ok_or(self.no_directory(at, place.base))?;
            at = match children.get(name.as_bytes()) {
                Some(there) if self.is_directory(*there) => {
                    self.need(*there, 1)?;
                    *there
                }
                Some(there) => *there,
                None => {
                    self.need(at, 2)?;
                    self.add_directory(at, name.as_bytes(), (uid, gid), 0o755)
                }
            };
        }
        match self.is_directory(at) {
            true => Ok((at, last.as_bytes().to_vec())),
            false => Err(self.no_directory(at, place.base)),
        }
    }

    pub(crate) fn find(&self, place: &Where) -> Outcome<(InodeId, Vec<u8>, InodeId)> {
        let (parent, name) = self.slot(place)?;
        let inode = self.child(parent, &name).ok_or(Code::NotFound)?;
        Ok((parent, name, inode))
    }

    /// Also a file without a name.
    fn find_inode(&self, place: &Where) -> Outcome<InodeId> {
        let nameless = |inode: &InodeId| self.objects.contains_key(inode) && self.parent_of(*inode).is_none();
        match place.path.is_empty().then_some(place.base).filter(nameless) {
            Some(InodeId::ROOT) | None => self.find(place).map(|(_, _, inode)| inode),
            Some(inode) => Ok(inode),
        }
    }

    fn child(&self, parent: InodeId, name: &[u8]) -> Option<InodeId> {
        match parent {
            InodeId::NONE => Some(InodeId::ROOT),
            _ => self.children(parent)?.get(name).copied(),
        }
    }

    pub(crate) fn children(&self, inode: InodeId) -> Option<&BTreeMap<Vec<u8>, InodeId>> {
        match &self.objects.get(&inode)?.body {
            Body::Directory(children) => Some(children),
            Body::File(_) | Body::Other(_) => None,
        }
    }

    pub(crate) fn parent_of(&self, inode: InodeId) -> Option<(InodeId, Vec<u8>)> {
        self.objects.keys().find_map(|parent| {
            let name = self.children(*parent)?.iter().find(|(_, child)| **child == inode)?.0;
            Some((*parent, name.clone()))
        })
    }

    fn ancestors(&self, inode: InodeId) -> BTreeSet<InodeId> {
        let mut chain = BTreeSet::from([inode]);
        let mut at = inode;
        while let Some((parent, _)) = self.parent_of(at) {
            chain.insert(parent);
            at = parent;
        }
        chain
    }

    fn is_directory(&self, inode: InodeId) -> bool {
        self.children(inode).is_some()
    }

    pub(crate) fn is_symlink(&self, inode: InodeId) -> bool {
        matches!(&self.objects[&inode].body, Body::Other(Other { kind: Kind::Symlink, .. }))
    }

    /// A path goes on below what is no directory.
    fn no_directory(&self, at: InodeId, base: InodeId) -> Code {
        if at != base && self.is_symlink(at) { Code::SymbolicLink } else { Code::NotDirectory }
    }

    pub(crate) fn changed_at(&mut self, inode: InodeId, ctime: Timestamp) {
        self.object_mut(inode).ctime = ctime;
    }

    fn take_inode(&mut self) -> InodeId {
        let inode = self.next_inode;
        self.next_inode = inode.next();
        inode
    }

    fn object(&self, (uid, gid, mode): (u32, u32, u32), body: Body) -> Object {
        let xattrs = BTreeMap::new();
        Object { mode, uid, gid, atime: self.now, mtime: self.now, ctime: self.now, xattrs, body }
    }

    fn add_directory(&mut self, parent: InodeId, name: &[u8], (uid, gid): (u32, u32), mode: u32) -> InodeId {
        let inode = self.take_inode();
        self.objects.insert(inode, self.object((uid, gid, mode), Body::Directory(BTreeMap::new())));
        self.inherit(parent, inode);
        self.add_entry(parent, name, inode);
        inode
    }

    fn add_entry(&mut self, parent: InodeId, name: &[u8], inode: InodeId) {
        self.counts_at(inode, parent, name);
        self.change_entries(parent, |children| {
            children.insert(name.to_vec(), inode);
        });
    }

    fn remove_entry(&mut self, parent: InodeId, name: &[u8]) {
        self.change_entries(parent, |children| {
            children.remove(name);
        });
    }

    fn change_entries(&mut self, parent: InodeId, change: impl FnOnce(&mut BTreeMap<Vec<u8>, InodeId>)) {
        let now = self.now;
        let object = self.object_mut(parent);
        object.mtime = now;
        object.ctime = now;
        match &mut object.body {
            Body::Directory(children) => change(children),
            Body::File(_) | Body::Other(_) => panic!("only directories have entries"),
        }
    }

    fn object_mut(&mut self, inode: InodeId) -> &mut Object {
        self.objects.get_mut(&inode).expect("the object is there")
    }

    pub(crate) fn writer(&self, inode: InodeId) -> Option<SessionId> {
        match &self.objects.get(&inode)?.body {
            Body::File(file) => file.writer,
            Body::Directory(_) | Body::Other(_) => None,
        }
    }

    pub(crate) fn file(&self, inode: InodeId) -> &File {
        match &self.objects[&inode].body {
            Body::File(file) => file,
            Body::Directory(_) | Body::Other(_) => panic!("a file was asked for"),
        }
    }

    fn file_mut(&mut self, inode: InodeId) -> &mut File {
        match &mut self.object_mut(inode).body {
            Body::File(file) => file,
            Body::Directory(_) | Body::Other(_) => panic!("a file was asked for"),
        }
    }

    fn attributes_reply(&self, inode: InodeId) -> Reply {
        Reply::Attributes { attributes: self.attributes(inode) }
    }

    pub(crate) fn attributes(&self, inode: InodeId) -> Attributes {
        let object = &self.objects[&inode];
        let file = match &object.body {
            Body::File(file) => Some(file),
            Body::Directory(_) | Body::Other(_) => None,
        };
        let (kind, links, other) = match &object.body {
            Body::File(_) => (Kind::File, self.names_of(inode).len(), None),
            Body::Directory(children) => {
                let below = children.values().filter(|child| self.is_directory(**child)).count();
                (Kind::Directory, 2 + below, None)
            }
            Body::Other(other) => (other.kind, self.names_of(inode).len(), Some(other)),
        };
        let target = other.and_then(|other| other.target.clone());
        let length = target.as_ref().map_or(file.map_or(0, File::length), |target| target.len() as u64);
        Attributes {
            inode,
            kind,
            mode: object.mode,
            uid: object.uid,
            gid: object.gid,
            length: ByteSize::new(length),
            atime: object.atime,
            mtime: object.mtime,
            ctime: object.ctime,
            links: u32::try_from(links).expect("few"),
            replication: file.map_or(0, |file| file.replication),
            block_size: file.map_or(ByteSize::ZERO, |file| file.block_size),
            writing: file.is_some_and(|file| file.writer.is_some()),
            usage: (kind == Kind::Directory).then(|| self.usage(inode)),
            device: other.map(|other| other.device).filter(|device| *device != 0),
            target,
            ttl_nanos: None,
            spread: file.and_then(|file| file.spread),
            policy: self.policies.get(&inode).copied().filter(|policy| *policy != DirectoryPolicy::default()),
            lists: None,
            holes: None,
            no_xattrs: object.xattrs.is_empty(),
            quota: self.quotas.get(&inode).copied().filter(|quota| *quota != Quota::default()),
        }
    }

    /// The sums, counted anew.
    fn usage(&self, directory: InodeId) -> Usage {
        let mut sums = Usage::default();
        for (name, child) in self.children(directory).expect("a directory") {
            sums.entries += 1;
            match &self.objects[child].body {
                Body::File(_) | Body::Other(_) if !self.counts(*child, directory, name) => {}
                Body::Other(_) => sums.files += 1,
                Body::File(file) => {
                    sums.files += 1;
                    sums.bytes += file.length();
                    sums.raw_bytes += file.length() * u64::from(file.replication);
                }
                Body::Directory(_) => {
                    let below = self.usage(*child);
                    sums.directories += 1 + below.directories;
                    sums.files += below.files;
                    sums.bytes += below.bytes;
                    sums.raw_bytes += below.raw_bytes;
                }
            }
        }
        sums
    }
}

/// The inode whose lease a command uses, or whose block it changes.
fn target(command: &Command) -> Option<InodeId> {
    match command {
        Command::AddBlock { inode, .. }
        | Command::Extend { inode, .. }
        | Command::NextGeneration { inode, .. }
        | Command::AbandonBlock { inode, .. }
        | Command::Complete { inode, .. }
        | Command::Abandon { inode } => Some(*inode),
        Command::AddReplica { block, .. }
        | Command::RemoveReplica { block, .. }
        | Command::ReportBadReplica { block, .. } => Some(block.inode()),
        _ => None,
    }
}

fn give_up_others(row: &mut BlockRow, kept: &[StorageId]) -> Outcome<()> {
    if kept.iter().any(|storage| row.replicas.iter().all(|at| at.storage != *storage)) {
        return Err(Code::InvalidArgument);
    }
    row.leaving.extend(row.replicas.iter().copied().filter(|at| !kept.contains(&at.storage)));
    row.replicas.retain(|at| kept.contains(&at.storage));
    Ok(())
}

fn drop_bad(row: &mut BlockRow) {
    if !row.replicas.is_empty() && row.replicas.len() >= usize::from(row.wanted) {
        row.leaving.append(&mut row.bad);
    }
}
