//! Multipart uploads: objects that arrive in parts, in any order, and are put together when all are there.
//!
//! 1. An upload is found by bucket, key and id. The id is the number of the inode that its object will have: who finds that
//!    inode at the key knows that this upload was completed.
//! 2. A part is no file. Nothing but its upload leads to it, it has no name, and it counts nowhere until it is in an object.
//!    It holds extents, under an inode number of its own.
//! 3. A part that is put again takes the place of the former one, which becomes garbage in the same command.
//! 4. Completing moves extents, and copies no byte. Parts that the object does not use become garbage in the same command.

use minicbor::{Decode, Encode};
use types::{ByteSize, InodeId, Timestamp};

use crate::access::{self, Caller, Right};
use crate::bucket::{self, BucketRow, Condition, Key};
use crate::command::{Attribute, BlockDone, Layout, Ownership};
use crate::error::{Error, QueryError};
use crate::extents;
use crate::key;
use crate::limits::{MAX_OBJECT_EXTENTS, MAX_PART_LIST, MAX_PARTS, MAX_XATTR_VALUE};
use crate::placement;
use crate::publication::Source;
use crate::resolve::Slot;
use crate::row::{Body, GarbageRow, InodeRow, Wanted};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{View, ViewError};
use crate::xattr;

/// The attributes of an object that tell of its parts begin so; a number follows.
const PART_LIST: &str = "trusted.s3.parts.";

/// An upload as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UploadName {
    #[n(0)]
    pub bucket: String,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub key: Vec<u8>,
    #[n(2)]
    pub id: InodeId,
}

/// A part to add.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewPart {
    #[n(0)]
    pub content: PartContent,
    #[n(1)]
    pub etag: String,
    /// What the writer wants back with the part; not looked into.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub properties: Vec<u8>,
}

/// Where the bytes of a part come from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PartContent {
    /// A file without a name that this session has written, in blocks.
    #[n(0)]
    Written {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        last: Option<BlockDone>,
        #[n(2)]
        min_replicas: u8,
    },
    /// A range of an object, which is stored in blocks. Both share them.
    #[n(1)]
    Shared {
        #[n(0)]
        source: Source,
        #[n(1)]
        offset: u64,
        #[n(2)]
        length: u64,
        /// Wanted replicas of each block.
        #[n(3)]
        replication: u8,
        /// How they are spread over racks; absent: as the cluster does it.
        #[n(4)]
        spread: Option<placement::Policy>,
    },
}

/// A part as whoever completes an upload has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PartName {
    #[n(0)]
    pub number: u16,
    /// Tells it from others that had the number before or have it since.
    #[n(1)]
    pub inode: InodeId,
}

/// An object to put together.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Completion {
    #[n(0)]
    pub upload: UploadName,
    /// In the order of their numbers.
    #[n(1)]
    pub parts: Vec<PartName>,
    #[n(2)]
    pub ownership: Ownership,
    #[n(3)]
    pub layout: Layout,
    #[n(4)]
    pub etag: String,
    /// As in a [`Publication`](crate::command::Publication).
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub properties: Vec<u8>,
    #[n(6)]
    pub attributes: Vec<Attribute>,
    #[n(7)]
    pub condition: Option<Condition>,
    /// What is kept about the parts with the object; not looked into.
    #[n(8)]
    #[cbor(with = "minicbor::bytes")]
    pub part_list: Vec<u8>,
}

impl Completion {
    /// Bytes in the log, roughly.
    pub fn size(&self) -> usize {
        /// Of a part, or of an attribute besides name and value.
        const ITEM: usize = 14;
        let attributes = self.attributes.iter().map(|attribute| ITEM + attribute.name.len() + attribute.value.len());
        ITEM * self.parts.len() + self.properties.len() + self.part_list.len() + attributes.sum::<usize>()
    }
}

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct UploadRow {
    #[n(0)]
    pub(crate) initiated: Timestamp,
    /// Who began it.
    #[n(1)]
    pub(crate) uid: u32,
    #[n(2)]
    pub(crate) gid: u32,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) properties: Vec<u8>,
}

/// A part: its extents are under its inode number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PartRow {
    #[n(0)]
    pub(crate) inode: InodeId,
    #[n(1)]
    pub(crate) length: ByteSize,
    #[n(2)]
    pub(crate) extents: u64,
    /// What its blocks want at least.
    #[n(3)]
    pub(crate) replication: u8,
    #[n(4)]
    pub(crate) modified: Timestamp,
    #[n(5)]
    pub(crate) etag: String,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) properties: Vec<u8>,
    /// How the replicas of its blocks are spread over racks at least; absent: as the cluster does it.
    #[n(7)]
    pub(crate) spread: Option<placement::Policy>,
}

impl PartRow {
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted { replicas: self.replication, spread: self.spread }
    }
}

/// An upload that the caller can get to.
pub(crate) fn find(view: &impl View, caller: Caller<'_>, name: &UploadName) -> Outcome<(BucketRow, Key, UploadRow)> {
    let bucket = bucket::open(view, caller, &name.bucket)?;
    let key = Key::parse(&name.bucket, &name.key)?;
    let row = view.row(&key::upload(bucket.inode, &name.key, name.id))?;
    let row = row.ok_or_else(|| Error::NoSuchUpload { place: key.show() })?;
    Ok((bucket, key, row))
}

/// Refuses unless the caller may put an object at the key, as far as that can be told before it is done.
pub(crate) fn check_put(view: &impl View, caller: Caller<'_>, bucket: &BucketRow, key: &Key) -> Outcome<()> {
    if key.is_directory {
        return Err(Error::IsDirectory { place: key.show() }.into());
    }
    let names = key.path.names();
    let (last, parents) = names.split_last().expect("a key has at least one name");
    let mut directory = bucket.inode;
    for (at, name) in parents.iter().enumerate() {
        directory = match view.entry(directory, name.as_bytes())? {
            Some(row) if row.body == Body::Directory => {
                caller.check(&row, Right::Search, || key.show_names(at + 1))?;
                row.inode
            }
            Some(_) => return Err(Error::NotDirectory { place: key.show_names(at + 1) }.into()),
            None => return caller.check_add(view, directory, || key.show_names(at)),
        };
    }
    let parent = || key.show_names(names.len() - 1);
    match view.entry(directory, last.as_bytes())? {
        None => caller.check_add(view, directory, parent),
        Some(row) if row.body == Body::Directory => Err(Error::IsDirectory { place: key.show() }.into()),
        Some(row) => caller.check_remove(view, directory, &row, parent, || key.show()),
    }
}

/// Refuses everybody but who began the upload and who owns the bucket.
pub(crate) fn check_manage(
    view: &impl View,
    caller: Caller<'_>,
    bucket: &BucketRow,
    key: &Key,
    upload: &UploadRow,
) -> Outcome<()> {
    if caller.ids().0 == upload.uid {
        return Ok(());
    }
    let (directory, _) = access::directory_entry(view, bucket.inode)?;
    Ok(caller.check_owner(&directory, || key.show())?)
}

/// As [`check_manage`], and whoever may add to it may look too.
pub(crate) fn check_look(
    view: &impl View,
    caller: Caller<'_>,
    bucket: &BucketRow,
    key: &Key,
    upload: &UploadRow,
) -> Outcome<()> {
    match check_manage(view, caller, bucket, key, upload) {
        Err(QueryError::Refused(_)) => check_put(view, caller, bucket, key),
        known => known,
    }
}

/// An upload is over: what is left of its parts becomes garbage.
pub(crate) fn end<V: View>(txn: &mut Transaction<'_, V>, row_key: Vec<u8>, id: InodeId) -> Result<(), ViewError> {
    for (part_key, value) in txn.rows.page(&key::parts(id), usize::from(MAX_PARTS))? {
        let part: PartRow = crate::row::decode(&part_key, &value)?;
        txn.remove(part_key);
        free(txn, &part);
    }
    txn.remove(row_key);
    Ok(())
}

/// Leaves the extents of a part to garbage collection. It was never seen, so its replicas have no grace.
pub(crate) fn free<V: View>(txn: &mut Transaction<'_, V>, part: &PartRow) {
    if part.extents > 0 {
        tree::add_garbage(txn, part.inode, GarbageRow::file(true));
    }
}

/// The file that is to be copied, if it is still the one that was looked at, and nothing of it is being written.
pub(crate) fn source<V: View>(txn: &Transaction<'_, V>, source: &Source) -> Outcome<(Slot, InodeRow)> {
    let bucket = bucket::open(&txn.rows, txn.caller, &source.bucket)?;
    let key = Key::parse(&source.bucket, &source.key)?;
    let changed = || Error::SourceChanged { place: key.show() };
    let (slot, row) = bucket::lookup(&txn.rows, txn.caller, &bucket, &key)?.ok_or_else(changed)?;
    txn.caller.check(&row, Right::Read, || key.show())?;
    if row.inode != source.inode || bucket::etag(&row)? != source.etag {
        return Err(changed().into());
    }
    let Body::File(file) = &row.body else { return Err(Error::NotAFile { place: key.show() }.into()) };
    let lease = if file.writing { txn.rows.lease(row.inode)? } else { None };
    match lease {
        Some(lease) if lease.block.is_some() => {
            Err(Error::LeaseHeld { place: key.show(), holder: lease.session, soft_limit: None }.into())
        }
        Some(_) | None => Ok((slot, row)),
    }
}

/// Has `to` share a range of a file from its start on. Gives the number of extents.
pub(crate) fn share<V: View>(
    txn: &mut Transaction<'_, V>,
    from: InodeId,
    (start, end): (u64, u64),
    to: InodeId,
    wanted: Wanted,
) -> Outcome<u64> {
    let found = extents::within(&txn.rows, from, (start, end), MAX_OBJECT_EXTENTS + 1)?;
    if found.len() > MAX_OBJECT_EXTENTS {
        return Err(Error::TooManyExtents { inode: from, limit: MAX_OBJECT_EXTENTS as u32 }.into());
    }
    let count = found.len() as u64;
    for (at, extent) in found {
        extents::hold(txn, extent.block, extent.length, wanted)?;
        txn.put(key::extent(to, at - start), &extent);
    }
    Ok(count)
}

/// Keeps what is to be known about the parts of an object, in attributes of its inode.
pub(crate) fn put_part_list<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &mut InodeRow,
    list: &[u8],
    key: &Key,
) -> Outcome<()> {
    if list.len() > MAX_PART_LIST {
        let (name, limit) = (PART_LIST.to_owned(), MAX_PART_LIST as u64);
        return Err(Error::XattrTooLarge { place: key.show(), name, limit }.into());
    }
    for (at, chunk) in list.chunks(MAX_XATTR_VALUE).enumerate() {
        xattr::put(txn, row, format!("{PART_LIST}{at}").as_bytes(), chunk);
    }
    Ok(())
}

/// What is known about the parts of an object; empty if it was stored in one piece.
pub(crate) fn part_list(view: &impl View, row: &InodeRow) -> Result<Vec<u8>, ViewError> {
    let mut list = Vec::new();
    for at in 0..MAX_PART_LIST.div_ceil(MAX_XATTR_VALUE) {
        match xattr::stored(view, row, format!("{PART_LIST}{at}").as_bytes())? {
            Some(chunk) => list.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(list)
}
