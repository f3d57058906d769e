//! The keys of the state: one tag byte, then numbers in big-endian, so that byte order is their order.
//!
//! | key | value |
//! |---|---|
//! | `S` | [`SystemRow`](crate::row::SystemRow): cluster, time, counters |
//! | `n` directory name | [`EntryRow`](crate::row::EntryRow): a directory entry with its inode, or its number; the root under directory 0 and no name |
//! | `d` directory | [`DirectoryRow`](crate::row::DirectoryRow): its parent and name, times, sums |
//! | `i` inode | [`LinkRow`](crate::row::LinkRow): directory and name of a file |
//! | `h` inode | [`InodeRow`](crate::row::InodeRow) of an inode with several names or none (module `home`) |
//! | `e` inode offset | [`ExtentRow`](crate::row::ExtentRow): what holds the bytes from this offset |
//! | `b` block | [`BlockRow`](crate::row::BlockRow) |
//! | `l` inode | [`LeaseRow`](crate::row::LeaseRow): who writes the file |
//! | `a` session block | nothing: a block that was allocated in advance |
//! | `s` session | [`SessionRow`](crate::row::SessionRow) |
//! | `q` session slot | [`ResultRow`](crate::row::ResultRow): the answer of an operation |
//! | `o` session inode | nothing: a file that the session writes |
//! | `g` inode | [`GarbageRow`](crate::row::GarbageRow): what was removed and is not freed yet |
//! | `r` storage due block generation | nothing: a replica to delete |
//! | `p` inode directory name | nothing: a name of an inode with a row under `h` |
//! | `x` inode name | the value of a long extended attribute |
//! | `k` inode session family owner | [`LocksRow`](crate::lock::LocksRow): what one owner of a session has locked |
//! | `K` session inode | nothing: an inode on which the session holds locks |
//! | `f` inode session | [`HandlesRow`](crate::row::HandlesRow): how often the session has the file open |
//! | `F` session inode | nothing: a file that the session has open |
//! | `B` name | [`BucketRow`](crate::bucket::BucketRow) |
//! | `A` access key | [`AccessKeyRow`](crate::access_key::AccessKeyRow) |
//! | `V` name | [`UserRow`](crate::user::UserRow) |
//! | `v` user 0 access key | nothing: an access key of a user |
//! | `t` uid item | [`TrashRow`](crate::trash::TrashRow): what a user moved to the trash |
//! | `T` due uid item | nothing: such an item, by when it goes for good |
//! | `z` directory | nothing: a directory with a time to live |
//! | `u` directory key 0 upload | [`UploadRow`](crate::upload::UploadRow): an object that arrives in parts |
//! | `U` upload number | [`PartRow`](crate::upload::PartRow) |
//! | `Y` | [`TokenKeysRow`](crate::token_key::TokenKeysRow): the keys of block tokens |
//! | `N` node | [`NodeRow`](crate::row::NodeRow) |
//! | `P` | [`PolicyRow`](crate::policy::PolicyRow): values for the whole cluster |
//! | `J` job | [`JobRow`](crate::job::JobRow) |

use types::{BlockId, GenStamp, InodeId, JobId, NodeId, SessionId, StorageId, Timestamp, TrashId};

use crate::command::DeletedReplica;
use crate::lock::{LockFamily, LockOwner};
use crate::resolve::Slot;
use crate::view::ViewError;

/// The one row of counters.
pub(crate) const SYSTEM: &[u8] = b"S";
/// The one row of the keys of block tokens.
pub(crate) const TOKEN_KEYS: &[u8] = b"Y";

/// The one row of policies.
pub(crate) const POLICY: &[u8] = b"P";

/// A block key ends in the index inside an erasure-coded group, which is always zero so far.
const GROUP_INDEX: u8 = 0;

/// Keys that start alike: `from <= key < to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
}

impl Range {
    /// Every key that starts with `prefix`.
    fn under(prefix: Vec<u8>) -> Self {
        let mut to = prefix.clone();
        while let Some(last) = to.last_mut() {
            if *last < u8::MAX {
                *last += 1;
                break;
            }
            to.pop();
        }
        Self { from: prefix, to }
    }

    /// What is left of the range behind `key`.
    pub(crate) fn after(mut self, mut key: Vec<u8>) -> Self {
        key.push(0);
        self.from = key;
        self
    }
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn number(tag: u8, number: u64) -> Vec<u8> {
    tagged(tag, &[&number.to_be_bytes()])
}

pub(crate) fn entry(directory: InodeId, name: &[u8]) -> Vec<u8> {
    tagged(b'n', &[&directory.get().to_be_bytes(), name])
}

pub(crate) fn entries(directory: InodeId) -> Range {
    Range::under(entry(directory, b""))
}

/// Those of a directory whose names begin with `prefix`.
pub(crate) fn entries_with(directory: InodeId, prefix: &[u8]) -> Range {
    Range::under(entry(directory, prefix))
}

/// The first key behind `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

pub(crate) fn xattr(inode: InodeId, name: &[u8]) -> Vec<u8> {
    tagged(b'x', &[&inode.get().to_be_bytes(), name])
}

pub(crate) fn directory(inode: InodeId) -> Vec<u8> {
    number(b'd', inode.get())
}

pub(crate) fn link(inode: InodeId) -> Vec<u8> {
    number(b'i', inode.get())
}

pub(crate) fn shared(inode: InodeId) -> Vec<u8> {
    number(b'h', inode.get())
}

pub(crate) fn back_link(inode: InodeId, slot: &Slot) -> Vec<u8> {
    tagged(b'p', &[&inode.get().to_be_bytes(), &slot.directory.get().to_be_bytes(), &slot.name])
}

pub(crate) fn back_links(inode: InodeId) -> Range {
    Range::under(number(b'p', inode.get()))
}

pub(crate) fn extent(inode: InodeId, offset: u64) -> Vec<u8> {
    tagged(b'e', &[&inode.get().to_be_bytes(), &offset.to_be_bytes()])
}

pub(crate) fn extents(inode: InodeId) -> Range {
    Range::under(number(b'e', inode.get()))
}

pub(crate) fn all_extents() -> Range {
    Range::under(vec![b'e'])
}

pub(crate) fn block(block: BlockId) -> Vec<u8> {
    tagged(b'b', &[&block_part(block)])
}

pub(crate) fn blocks() -> Range {
    Range::under(vec![b'b'])
}

pub(crate) fn lease(inode: InodeId) -> Vec<u8> {
    number(b'l', inode.get())
}

pub(crate) fn session(session: SessionId) -> Vec<u8> {
    number(b's', session.get())
}

pub(crate) fn sessions() -> Range {
    Range::under(vec![b's'])
}

pub(crate) fn result(session: SessionId, slot: u16) -> Vec<u8> {
    tagged(b'q', &[&session.get().to_be_bytes(), &slot.to_be_bytes()])
}

pub(crate) fn results(session: SessionId) -> Range {
    Range::under(number(b'q', session.get()))
}

pub(crate) fn open_file(session: SessionId, inode: InodeId) -> Vec<u8> {
    tagged(b'o', &[&session.get().to_be_bytes(), &inode.get().to_be_bytes()])
}

pub(crate) fn open_files(session: SessionId) -> Range {
    Range::under(number(b'o', session.get()))
}

pub(crate) fn lock(inode: InodeId, family: LockFamily, owner: LockOwner) -> Vec<u8> {
    let (inode, session, number) = (inode.get().to_be_bytes(), owner.session.get().to_be_bytes(), [family.number()]);
    tagged(b'k', &[&inode, &session, &number, &owner.owner.to_be_bytes()])
}

pub(crate) fn locks(inode: InodeId) -> Range {
    Range::under(number(b'k', inode.get()))
}

pub(crate) fn locks_of_session(inode: InodeId, session: SessionId) -> Range {
    Range::under(tagged(b'k', &[&inode.get().to_be_bytes(), &session.get().to_be_bytes()]))
}

pub(crate) fn locked_inode(session: SessionId, inode: InodeId) -> Vec<u8> {
    tagged(b'K', &[&session.get().to_be_bytes(), &inode.get().to_be_bytes()])
}

pub(crate) fn locked_inodes(session: SessionId) -> Range {
    Range::under(number(b'K', session.get()))
}

pub(crate) fn handle(inode: InodeId, session: SessionId) -> Vec<u8> {
    tagged(b'f', &[&inode.get().to_be_bytes(), &session.get().to_be_bytes()])
}

pub(crate) fn handles(inode: InodeId) -> Range {
    Range::under(number(b'f', inode.get()))
}

pub(crate) fn opened_inode(session: SessionId, inode: InodeId) -> Vec<u8> {
    tagged(b'F', &[&session.get().to_be_bytes(), &inode.get().to_be_bytes()])
}

pub(crate) fn opened_inodes(session: SessionId) -> Range {
    Range::under(number(b'F', session.get()))
}

pub(crate) fn pending(session: SessionId, block: BlockId) -> Vec<u8> {
    tagged(b'a', &[&session.get().to_be_bytes(), &block_part(block)])
}

pub(crate) fn pending_of(session: SessionId) -> Range {
    Range::under(number(b'a', session.get()))
}

pub(crate) fn garbage(inode: InodeId) -> Vec<u8> {
    number(b'g', inode.get())
}

pub(crate) fn all_garbage() -> Range {
    Range::under(vec![b'g'])
}

pub(crate) fn removal(storage: StorageId, replica: &DeletedReplica) -> Vec<u8> {
    let due = replica.due.nanos().to_be_bytes();
    tagged(b'r', &[storage.as_bytes(), &due, &block_part(replica.block), &replica.generation.get().to_be_bytes()])
}

/// The removals of a storage that are due at `now`.
pub(crate) fn removals_due(storage: StorageId, now: Timestamp) -> Range {
    let from = tagged(b'r', &[storage.as_bytes()]);
    let to = Range::under(tagged(b'r', &[storage.as_bytes(), &now.nanos().to_be_bytes()])).to;
    Range { from, to }
}

/// Every removal of a storage, the longest due first.
pub(crate) fn removals(storage: StorageId) -> Range {
    Range::under(tagged(b'r', &[storage.as_bytes()]))
}

pub(crate) fn trash_item(uid: u32, item: TrashId) -> Vec<u8> {
    tagged(b't', &[&uid.to_be_bytes(), &item.get().to_be_bytes()])
}

/// What one user has in the trash, in the order in which it came there.
pub(crate) fn trash_of(uid: u32) -> Range {
    Range::under(tagged(b't', &[&uid.to_be_bytes()]))
}

pub(crate) fn all_trash() -> Range {
    Range::under(vec![b't'])
}

pub(crate) fn trash_due(due: Timestamp, uid: u32, item: TrashId) -> Vec<u8> {
    tagged(b'T', &[&due.nanos().to_be_bytes(), &uid.to_be_bytes(), &item.get().to_be_bytes()])
}

/// What goes for good by `now`.
pub(crate) fn trash_due_by(now: Timestamp) -> Range {
    let to = Range::under(tagged(b'T', &[&now.nanos().to_be_bytes()])).to;
    Range { from: vec![b'T'], to }
}

pub(crate) fn ageing_in(directory: InodeId) -> Vec<u8> {
    number(b'z', directory.get())
}

/// Every directory with a time to live.
pub(crate) fn ageing() -> Range {
    Range::under(vec![b'z'])
}

pub(crate) fn node(node: NodeId) -> Vec<u8> {
    number(b'N', node.get())
}

pub(crate) fn nodes() -> Range {
    Range::under(vec![b'N'])
}

pub(crate) fn job(job: JobId) -> Vec<u8> {
    number(b'J', job.get())
}

pub(crate) fn jobs() -> Range {
    Range::under(vec![b'J'])
}

pub(crate) fn bucket(name: &str) -> Vec<u8> {
    tagged(b'B', &[name.as_bytes()])
}

pub(crate) fn buckets() -> Range {
    Range::under(vec![b'B'])
}

pub(crate) fn access_key(id: &str) -> Vec<u8> {
    tagged(b'A', &[id.as_bytes()])
}

pub(crate) fn access_keys() -> Range {
    Range::under(vec![b'A'])
}

pub(crate) fn user(name: &str) -> Vec<u8> {
    tagged(b'V', &[name.as_bytes()])
}

pub(crate) fn users() -> Range {
    Range::under(vec![b'V'])
}

/// No name of a user has a zero.
pub(crate) fn key_of(user: &str, access_key: &str) -> Vec<u8> {
    tagged(b'v', &[user.as_bytes(), &[0], access_key.as_bytes()])
}

pub(crate) fn keys_of_user(user: &str) -> Range {
    Range::under(tagged(b'v', &[user.as_bytes(), &[0]]))
}

/// The access key that such a mark is for.
pub(crate) fn key_of_user(mark: &[u8]) -> Result<String, ViewError> {
    let zero = mark.iter().position(|byte| *byte == 0).unwrap_or(mark.len());
    text_of(&mark[zero..])
}

/// No key of an object has a zero, so uploads are in the order of their keys, and those of one key in that of their ids.
pub(crate) fn upload(directory: InodeId, key: &[u8], id: InodeId) -> Vec<u8> {
    tagged(b'u', &[&directory.get().to_be_bytes(), key, &[0], &id.get().to_be_bytes()])
}

/// Uploads to keys of a bucket that begin with `prefix`.
pub(crate) fn uploads(directory: InodeId, prefix: &[u8]) -> Range {
    Range::under(tagged(b'u', &[&directory.get().to_be_bytes(), prefix]))
}

/// The least that is behind every upload to `key`, and not behind one to any later key.
pub(crate) fn behind_uploads(directory: InodeId, key: &[u8]) -> Vec<u8> {
    tagged(b'u', &[&directory.get().to_be_bytes(), key, &[1]])
}

pub(crate) fn all_uploads() -> Range {
    Range::under(vec![b'u'])
}

pub(crate) fn part(upload: InodeId, number: u16) -> Vec<u8> {
    tagged(b'U', &[&upload.get().to_be_bytes(), &number.to_be_bytes()])
}

pub(crate) fn parts(upload: InodeId) -> Range {
    Range::under(number(b'U', upload.get()))
}

/// The text in the key of a bucket or of an access key.
pub(crate) fn text_of(key: &[u8]) -> Result<String, ViewError> {
    let text = key.get(1..).unwrap_or_default().to_vec();
    String::from_utf8(text).map_err(|_| ViewError::Row { key: show(key), reason: "the key is not a text".to_owned() })
}

fn block_part(block: BlockId) -> [u8; 13] {
    let mut part = [0; 13];
    part[..8].copy_from_slice(&block.inode().get().to_be_bytes());
    part[8..12].copy_from_slice(&block.number().to_be_bytes());
    part[12] = GROUP_INDEX;
    part
}

/// The key as people may be shown it: the tag, then hexadecimal digits.
pub(crate) fn show(key: &[u8]) -> String {
    match key.split_first() {
        Some((tag, rest)) => {
            let digits: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}:{digits}", tag.escape_ascii())
        }
        None => "no key".to_owned(),
    }
}

/// Reads the numbers of a key back.
struct Reader<'a> {
    key: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(key: &'a [u8]) -> Self {
        Self { key, rest: key.get(1..).unwrap_or_default() }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ViewError> {
        let (part, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*part)
    }

    fn u64(&mut self) -> Result<u64, ViewError> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, ViewError> {
        self.take().map(u32::from_be_bytes)
    }

    fn block(&mut self) -> Result<BlockId, ViewError> {
        let inode = InodeId::new(self.u64()?);
        let number = u32::from_be_bytes(self.take()?);
        let [GROUP_INDEX] = self.take::<1>()? else { return Err(self.damaged()) };
        Ok(BlockId::new(inode, number))
    }

    fn end<T>(self, value: T) -> Result<T, ViewError> {
        if self.rest.is_empty() { Ok(value) } else { Err(self.damaged()) }
    }

    fn damaged(&self) -> ViewError {
        ViewError::Row { key: show(self.key), reason: "the key has the wrong length".to_owned() }
    }
}

/// The inode that a key begins with.
pub(crate) fn owner_of(key: &[u8]) -> Result<InodeId, ViewError> {
    Reader::new(key).u64().map(InodeId::new)
}

/// The name in the key of a directory entry.
pub(crate) fn name_of(key: &[u8]) -> Result<&[u8], ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    Ok(reader.rest)
}

/// The name that a back link leads to.
pub(crate) fn back_link_of(key: &[u8]) -> Result<Slot, ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    let directory = InodeId::new(reader.u64()?);
    Ok(Slot { directory, name: reader.rest.to_vec() })
}

pub(crate) fn block_of(key: &[u8]) -> Result<BlockId, ViewError> {
    let mut reader = Reader::new(key);
    let block = reader.block()?;
    reader.end(block)
}

/// Owner and id of an item in the trash.
pub(crate) fn trash_of_key(key: &[u8]) -> Result<(u32, TrashId), ViewError> {
    let mut reader = Reader::new(key);
    let owned = (reader.u32()?, TrashId::new(reader.u64()?));
    reader.end(owned)
}

/// The same, of the key that says when it goes.
pub(crate) fn trash_of_due(key: &[u8]) -> Result<(u32, TrashId), ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    let owned = (reader.u32()?, TrashId::new(reader.u64()?));
    reader.end(owned)
}

/// The offset in the key of an extent.
pub(crate) fn offset_of(key: &[u8]) -> Result<u64, ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    let offset = reader.u64()?;
    reader.end(offset)
}

/// The number in a key that holds one.
pub(crate) fn number_of(key: &[u8]) -> Result<u64, ViewError> {
    let mut reader = Reader::new(key);
    let number = reader.u64()?;
    reader.end(number)
}

/// The family and owner in the key of locks.
pub(crate) fn lock_of(key: &[u8]) -> Result<(LockFamily, LockOwner), ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    let session = SessionId::new(reader.u64()?);
    let [family] = reader.take::<1>()?;
    let family = LockFamily::from_number(family).ok_or_else(|| reader.damaged())?;
    let owner = LockOwner { session, owner: reader.u64()? };
    reader.end((family, owner))
}

/// The inode in a key of a session and an inode.
pub(crate) fn inode_of_session(key: &[u8]) -> Result<InodeId, ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    let inode = InodeId::new(reader.u64()?);
    reader.end(inode)
}

/// The block in the key of one that was allocated in advance.
pub(crate) fn pending_block(key: &[u8]) -> Result<BlockId, ViewError> {
    let mut reader = Reader::new(key);
    reader.u64()?;
    let block = reader.block()?;
    reader.end(block)
}

/// The directory of the bucket, the key and the id of an upload.
pub(crate) fn upload_of(key: &[u8]) -> Result<(InodeId, &[u8], InodeId), ViewError> {
    let mut reader = Reader::new(key);
    let directory = InodeId::new(reader.u64()?);
    match reader.rest.split_last_chunk::<8>() {
        Some(([name @ .., 0], id)) => Ok((directory, name, InodeId::new(u64::from_be_bytes(*id)))),
        Some(_) | None => Err(reader.damaged()),
    }
}

/// The upload and the number of a part.
pub(crate) fn part_of(key: &[u8]) -> Result<(InodeId, u16), ViewError> {
    let mut reader = Reader::new(key);
    let upload = InodeId::new(reader.u64()?);
    let number = u16::from_be_bytes(reader.take()?);
    reader.end((upload, number))
}

pub(crate) fn removal_of(key: &[u8]) -> Result<DeletedReplica, ViewError> {
    let mut reader = Reader::new(key);
    reader.take::<16>()?;
    let due = Timestamp::from_nanos(reader.u64()?);
    let block = reader.block()?;
    let generation = GenStamp::new(reader.u64()?);
    reader.end(DeletedReplica { due, block, generation })
}
