//! Questions about a state that change nothing.

mod keys;
mod trash;
mod uploads;

use types::{BlockId, ByteSize, ClusterId, InodeId, SessionId, StorageId, Timestamp};

use crate::access::{Caller, Right};
use crate::command::{DeletedReplica, Joined, Origin, Reply, Where};
use crate::error::{Error, QueryError};
use crate::exactly_once;
use crate::home::Home;
use crate::key::{self, Range};
use crate::lock::{HeldLock, LockOwner, LockTable, LockWish};
use crate::resolve;
use crate::row::{
    self, Attributes, BlockRow, BlockState, Body, Data, DirectoryRow, ExtentRow, FileBody, InodeRow, LeaseRow,
    LocatedBlock, NodeRow, Totals,
};
use crate::rows::Rows;
use crate::token_key::{TokenKey, TokenKeysRow};
use crate::view::{View, ViewError};
use crate::xattr;

pub use keys::{Bucket, FoundKey, OpenedObject, access_key, access_keys, bucket, buckets, open_key, user, users};
pub use trash::{Trashed, trash, trash_is_due, trash_usage};
pub use uploads::{
    Abandoned, MAX_UPLOADS, Part, Parts, Upload, UploadItem, UploadPage, UploadQuery, abandoned_uploads, parts, uploads,
};

/// The most entries or blocks that one answer holds.
pub const MAX_PAGE: usize = 10_000;

/// The most extents that one answer tells the replicas of.
pub const MAX_LOCATED: usize = 1000;

/// Extents read at a time.
const EXTENT_PAGE: usize = 256;

/// One page of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Names and what they stand for, in byte order.
    pub entries: Vec<(Vec<u8>, Attributes)>,
    /// Whether names follow after the last one.
    pub more: bool,
}

/// A file as a reader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub attributes: Attributes,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The whole content, whatever range was asked for.
    Inline(Vec<u8>),
    /// The extents that hold bytes of the range, in order.
    Blocks {
        blocks: Vec<LocatedBlock>,
        /// They are all there are up to this offset: what none of them holds before it reads as zeros.
        known_to: u64,
    },
}

/// What is at a place, if every directory on the way lets the caller through. A file without a name is found by its inode.
pub fn stat(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<Attributes, QueryError> {
    let row = find(view, caller, place)?;
    Ok(attributes(view, &row)?)
}

/// Whether the caller may be told of changes of an inode: those of a directory name what is in it.
pub fn may_watch(view: &impl View, caller: Caller<'_>, inode: InodeId) -> Result<(), QueryError> {
    let place = Where { base: inode, path: Vec::new() };
    let row = find(view, caller, &place)?;
    if row.body == Body::Directory {
        caller.check(&row, Right::Read, || resolve::show(&place))?;
    }
    Ok(())
}

/// Whether the caller may do all of `mask` to what is at a place: the bits 4, 2 and 1 as in access(2); 0 asks only whether
/// it is there.
pub fn access(view: &impl View, caller: Caller<'_>, place: &Where, mask: u32) -> Result<(), QueryError> {
    let row = find(view, caller, place)?;
    Ok(caller.check_access(&row, mask, || resolve::show(place))?)
}

/// At most `limit` entries of a directory, in byte order, that follow the name `after`.
pub fn list(
    view: &impl View,
    caller: Caller<'_>,
    place: &Where,
    after: &[u8],
    limit: usize,
) -> Result<Listing, QueryError> {
    let row = find(view, caller, place)?;
    if row.body != Body::Directory {
        return Err(resolve::not_a_directory(place, resolve::count(place)?, &row).into());
    }
    // Names alone would need the first right only, but they are answered with their attributes.
    caller.check(&row, Right::Read, || resolve::show(place))?;
    caller.check(&row, Right::Search, || resolve::show(place))?;
    let limit = limit.clamp(1, MAX_PAGE);
    let mut range = key::entries(row.inode);
    if !after.is_empty() {
        range = range.after(key::entry(row.inode, after));
    }
    let mut rows = view.page(&range, limit + 1)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let row = view.entry_of(&key, &value)?;
        Ok((key::name_of(&key)?.to_vec(), attributes(view, &row)?))
    };
    let entries = rows.into_iter().map(entry).collect::<Result<_, ViewError>>()?;
    Ok(Listing { entries, more })
}

/// A file, and where the bytes `[offset, offset + length)` of it are.
///
/// Of a range of very many only the first [`MAX_LOCATED`] extents are answered: a reader asks again from where they end.
pub fn open(
    view: &impl View,
    caller: Caller<'_>,
    place: &Where,
    offset: u64,
    length: u64,
) -> Result<Opened, QueryError> {
    let (row, attributes) = find_file(view, caller, place)?;
    Ok(Opened { attributes, content: content(view, row.inode, row.need_file()?, (offset, length))? })
}

fn content(
    view: &impl View,
    inode: InodeId,
    file: &FileBody,
    (offset, length): (u64, u64),
) -> Result<Content, ViewError> {
    Ok(match &file.data {
        Data::Inline { content, .. } => Content::Inline(content.clone()),
        Data::Blocks { .. } => {
            let end = offset.saturating_add(length).min(file.length.get());
            let (blocks, known_to) = located(view, inode, (offset, end), MAX_LOCATED)?;
            Content::Blocks { blocks, known_to }
        }
    })
}

/// A file that the caller may read.
fn find_file(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<(InodeRow, Attributes), QueryError> {
    let row = find(view, caller, place)?;
    let attributes = attributes(view, &row)?;
    if !matches!(row.body, Body::File(_)) {
        return Err(resolve::not_a_file(place, &row)?.into());
    }
    caller.check(&row, Right::Read, || resolve::show(place))?;
    Ok((row, attributes))
}

/// The names of the extended attributes that the caller may know of, in byte order.
pub fn xattr_names(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<Vec<Vec<u8>>, QueryError> {
    let row = find(view, caller, place)?;
    Ok(xattr::names(caller, &row))
}

/// The value of an extended attribute.
pub fn xattr(view: &impl View, caller: Caller<'_>, place: &Where, name: &[u8]) -> Result<Vec<u8>, QueryError> {
    let row = find(view, caller, place)?;
    xattr::get(view, caller, &row, name, || resolve::show(place))
}

/// One page of the extents of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentMap {
    pub attributes: Attributes,
    /// Offset and length of what is not a hole, in order. A file that is stored inline has one such range.
    pub data: Vec<(u64, ByteSize)>,
    /// How many extents the file has: far more than its blocks means that it is fragmented.
    pub count: u64,
    /// Whether others follow after the last one.
    pub more: bool,
}

/// Where the bytes of a file are, from `offset` on, at most `limit` ranges; the rest are holes.
pub fn extents(
    view: &impl View,
    caller: Caller<'_>,
    place: &Where,
    offset: u64,
    limit: usize,
) -> Result<ExtentMap, QueryError> {
    let (row, attributes) = find_file(view, caller, place)?;
    let file = row.need_file()?;
    let length = file.length.get();
    let limit = limit.clamp(1, MAX_PAGE);
    let (mut data, count) = match &file.data {
        Data::Inline { .. } if offset < length => (vec![(offset, ByteSize::new(length - offset))], 0),
        Data::Inline { .. } => (Vec::new(), 0),
        Data::Blocks { extents, .. } => {
            let (found, _) = located(view, row.inode, (offset, length), limit + 1)?;
            let range = |block: LocatedBlock| {
                let start = block.offset.max(offset);
                (start, ByteSize::new(block.offset + block.length.get() - start))
            };
            (found.into_iter().map(range).collect(), *extents)
        }
    };
    let more = data.len() > limit;
    data.truncate(limit);
    Ok(ExtentMap { attributes, data, count, more })
}

/// At most `limit` extents that hold bytes of `from..end`, and how far they are all there are.
fn located(
    view: &impl View,
    inode: InodeId,
    (from, end): (u64, u64),
    limit: usize,
) -> Result<(Vec<LocatedBlock>, u64), ViewError> {
    let mut range = Range { from: key::extent(inode, from), to: key::extent(inode, end) };
    // The one before may reach into the range.
    if let Some((key, _)) = view.last(&key::extent(inode, 0), &range.from)? {
        range.from = key;
    }
    let mut found = Vec::new();
    loop {
        let page = view.page(&range, EXTENT_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok((found, end)) };
        let more = page.len() == EXTENT_PAGE;
        range = range.after(last.clone());
        for (key, value) in page {
            let offset = key::offset_of(&key)?;
            let extent: ExtentRow = row::decode(&key, &value)?;
            let row: BlockRow = view.need(&key::block(extent.block))?;
            let length = if row.state == BlockState::Writing { row.length } else { extent.length };
            if length == ByteSize::ZERO || offset.saturating_add(length.get()) <= from || offset >= end {
                continue;
            }
            if found.len() == limit {
                return Ok((found, offset));
            }
            let ExtentRow { block, block_offset, .. } = extent;
            found.push(LocatedBlock { block, offset, length, block_offset, row });
        }
        if !more {
            return Ok((found, end));
        }
    }
}

/// At most `limit` blocks of the whole cluster, in the order of their ids, that follow `after`.
pub fn blocks(view: &impl View, after: Option<BlockId>, limit: usize) -> Result<Vec<(BlockId, BlockRow)>, ViewError> {
    let mut range = key::blocks();
    if let Some(after) = after {
        range = range.after(key::block(after));
    }
    let rows = view.page(&range, limit)?;
    rows.into_iter().map(|(key, value)| Ok((key::block_of(&key)?, row::decode(&key, &value)?))).collect()
}

/// At most `limit` extents of all files, by inode and offset, after this one.
pub fn all_extents(
    view: &impl View,
    after: Option<(InodeId, u64)>,
    limit: usize,
) -> Result<Vec<(InodeId, Joined)>, ViewError> {
    let mut range = key::all_extents();
    if let Some((inode, offset)) = after {
        range = range.after(key::extent(inode, offset));
    }
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let ExtentRow { block, length, block_offset } = row::decode(&key, &value)?;
        Ok((key::owner_of(&key)?, Joined { offset: key::offset_of(&key)?, length, block, block_offset }))
    };
    view.page(&range, limit)?.into_iter().map(read).collect()
}

pub fn block(view: &impl View, block: BlockId) -> Result<Option<BlockRow>, ViewError> {
    view.block(block)
}

/// Whether an inode of this number ever was, or still is.
pub fn was_handed_out(view: &impl View, inode: InodeId) -> Result<bool, ViewError> {
    Ok(view.system()?.is_some_and(|system| inode < system.next_inode))
}

/// Every datanode that ever registered.
pub fn nodes(view: &impl View) -> Result<Vec<NodeRow>, ViewError> {
    let mut range = key::nodes();
    let mut nodes = Vec::new();
    loop {
        let page = view.page(&range, MAX_PAGE)?;
        for (key, value) in &page {
            nodes.push(row::decode(key, value)?);
        }
        match page.last() {
            Some((last, _)) if page.len() == MAX_PAGE => range = range.after(last.clone()),
            _ => return Ok(nodes),
        }
    }
}

/// The keys of block tokens, oldest first.
pub fn token_keys(view: &impl View) -> Result<Vec<TokenKey>, ViewError> {
    let row: Option<TokenKeysRow> = view.row(key::TOKEN_KEYS)?;
    Ok(row.unwrap_or_default().keys)
}

/// The first lock of another that keeps an owner of a session from locking what it wishes; none if nothing does.
pub fn lock_holder(
    view: &impl View,
    caller: Caller<'_>,
    session: SessionId,
    inode: InodeId,
    wish: &LockWish,
) -> Result<Option<HeldLock>, QueryError> {
    find(view, caller, &Where { base: inode, path: Vec::new() })?;
    let owner = LockOwner { session, owner: wish.owner };
    let Some(kind) = wish.kind else { return Ok(None) };
    let table = LockTable::load(view, inode, wish.family)?;
    Ok(table.conflicts(owner, wish.range, kind).min_by_key(|held| held.range.first))
}

/// At most `limit` sessions that are not ended yet, in the order of their ids, that follow `after`.
pub fn sessions(view: &impl View, after: Option<SessionId>, limit: usize) -> Result<Vec<SessionId>, ViewError> {
    let mut range = key::sessions();
    if let Some(after) = after {
        range = range.after(key::session(after));
    }
    let rows = view.page(&range, limit)?;
    rows.iter().map(|(key, _)| Ok(SessionId::new(key::number_of(key)?))).collect()
}

/// What the client of a session said that it is.
pub fn client_of(view: &impl View, session: SessionId) -> Result<Option<String>, ViewError> {
    Ok(view.session(session)?.map(|row| row.client))
}

/// A file whose writer is lost, and the block that it left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovering {
    pub block: BlockId,
    pub row: BlockRow,
    /// The block is at most so long.
    pub block_size: ByteSize,
    /// So many bytes at the beginning of the block are kept elsewhere too, and outlive it.
    pub kept_inline: ByteSize,
}

/// At most `limit` files that wait to be recovered, in the order of their inodes, that follow `after`.
pub fn recovering(view: &impl View, after: Option<InodeId>, limit: usize) -> Result<Vec<Recovering>, ViewError> {
    let mut found = Vec::new();
    for inode in open_files(view, LeaseRow::RECOVERY, after, limit)? {
        let lease: LeaseRow = view.need(&key::lease(inode))?;
        let Some(number) = lease.block else { continue };
        let row = match find(view, Caller::SYSTEM, &Where { base: inode, path: Vec::new() }) {
            Ok(row) => row,
            Err(QueryError::Refused(_)) => match Home::of(view, inode)? {
                Some((Home::Entry(slot), row)) if crate::trash::holds(view, slot.directory)? => row,
                // In a removed tree, and freed with it.
                Some(_) | None => continue,
            },
            Err(QueryError::View(error)) => return Err(error),
        };
        let file = row.need_file()?;
        let kept_inline = match &file.data {
            Data::Blocks { .. } => ByteSize::ZERO,
            Data::Inline { content, .. } => ByteSize::new(content.len() as u64),
        };
        let block = BlockId::new(inode, number);
        found.push(Recovering { block, row: view.need(&key::block(block))?, block_size: file.block_size, kept_inline });
    }
    Ok(found)
}

/// At most `limit` files that a session writes, in the order of their inodes, that follow `after`.
pub fn open_files(
    view: &impl View,
    session: SessionId,
    after: Option<InodeId>,
    limit: usize,
) -> Result<Vec<InodeId>, ViewError> {
    let mut range = key::open_files(session);
    if let Some(after) = after {
        range = range.after(key::open_file(session, after));
    }
    view.page(&range, limit)?.iter().map(|(key, _)| key::inode_of_session(key)).collect()
}

/// Who writes a file, if a client does.
pub fn writer(view: &impl View, inode: InodeId) -> Result<Option<SessionId>, ViewError> {
    let lease = view.lease(inode)?;
    Ok(lease.filter(|lease| !lease.is_recovering()).map(|lease| lease.session))
}

/// Who writes the file at a place, if a client does.
pub fn holder(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<Option<SessionId>, QueryError> {
    let row = find(view, caller, place)?;
    Ok(writer(view, row.inode)?)
}

/// At most `limit` replicas that a storage has to delete by now, the longest due first.
pub fn due_deletes(
    view: &impl View,
    storage: StorageId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DeletedReplica>, ViewError> {
    view.page(&key::removals_due(storage, now), limit)?.iter().map(|(key, _)| key::removal_of(key)).collect()
}

/// At most `limit` replicas that a storage has to delete some time, the longest due first, that follow `after`.
pub fn removals(
    view: &impl View,
    storage: StorageId,
    after: Option<&DeletedReplica>,
    limit: usize,
) -> Result<Vec<DeletedReplica>, ViewError> {
    let mut range = key::removals(storage);
    if let Some(after) = after {
        range = range.after(key::removal(storage, after));
    }
    view.page(&range, limit)?.iter().map(|(key, _)| key::removal_of(key)).collect()
}

/// Whether there is work for `GcStep`.
pub fn garbage_pending(view: &impl View) -> Result<bool, ViewError> {
    Ok(!view.page(&key::all_garbage(), 1)?.is_empty())
}

/// The group whose members may do what uid 0 may.
pub fn supergroup(view: &impl View) -> Result<Option<u32>, ViewError> {
    Ok(view.system()?.and_then(|system| system.supergroup))
}

/// Where an inode is now, as a path from the root: by the first of its names, if it has several. None if it has none that
/// is in the tree.
pub fn path(view: &impl View, inode: InodeId) -> Result<Option<Vec<u8>>, ViewError> {
    resolve::path_to(view, inode)
}

/// The cluster, once it is formatted.
pub fn cluster(view: &impl View) -> Result<Option<ClusterId>, ViewError> {
    Ok(view.system()?.and_then(|system| system.cluster))
}

/// The latest time that a command had: the leader's own clock must not run behind it.
pub fn time(view: &impl View) -> Result<Timestamp, ViewError> {
    Ok(view.system()?.map_or(Timestamp::EPOCH, |system| system.time))
}

pub fn totals(view: &impl View) -> Result<Totals, ViewError> {
    let Some(system) = view.system()? else { return Ok(Totals::default()) };
    let root: DirectoryRow = view.need(&key::directory(InodeId::ROOT))?;
    Ok(Totals {
        blocks: system.blocks,
        files: root.usage.files,
        directories: root.usage.directories,
        bytes: root.usage.bytes,
        raw_bytes: root.usage.raw_bytes,
        sessions: system.sessions,
    })
}

/// The stored answer of an operation, if its session still has it.
pub fn known_result(view: &impl View, origin: Origin) -> Result<Option<Result<Reply, Error>>, ViewError> {
    exactly_once::known_result(view, origin)
}

fn find(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<InodeRow, QueryError> {
    let row = resolve::find_inode(view, caller, place).map(|(_, row)| row);
    if matches!(row, Err(QueryError::Refused(Error::NotFound { .. }))) && view.system()?.is_none() {
        return Err(Error::NotFormatted.into());
    }
    row
}

fn attributes(view: &impl View, row: &InodeRow) -> Result<Attributes, ViewError> {
    let directory = match row.body {
        Body::Directory => Some(view.need::<DirectoryRow>(&key::directory(row.inode))?),
        Body::File(_) | Body::Symlink(_) | Body::Special(_) => None,
    };
    Ok(row.attributes(directory.as_ref()))
}
