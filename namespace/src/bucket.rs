//! Buckets and keys: the names that objects have for S3, on the same directories and files.
//!
//! 1. A bucket is a directory with a record; a key is a path below it, and means one inode or none. A key that ends with a
//!    slash means a directory.
//! 2. Nothing is rewritten: an empty component, `.`, `..` or a NUL in a key is refused.
//! 3. A directory that was made only because a key needed it is *implicit*: it is no object itself, and goes with the last
//!    object in it that is removed by its key.
//! 4. An etag given by a writer holds as long as the content is the one that it was given for.

use minicbor::{Decode, Encode};
use types::{InodeId, Path, PathError, Timestamp};

use crate::access::{self, Caller, Right};
use crate::command::{Attribute, Where, XattrMode};
use crate::error::Error;
use crate::key;
use crate::limits::MAX_XATTR_VALUE;
use crate::resolve::{self, Slot};
use crate::row::{self, Body, DirectoryRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::{View, ViewError};
use crate::xattr;

/// Of a key, in bytes, as for S3 itself.
pub(crate) const MAX_KEY: usize = 1024;
/// Of a bucket's name.
pub(crate) const MAX_BUCKET: usize = 63;
pub(crate) const MIN_BUCKET: usize = 3;

/// The attribute of a file that holds an [`EtagRow`].
const ETAG: &[u8] = b"trusted.s3.etag";
/// The attribute that holds what the writer of an object wants kept with it.
pub(crate) const PROPERTIES: &[u8] = b"trusted.s3.properties";
/// The attribute that holds the tags of an object.
pub(crate) const TAGS: &[u8] = b"user.s3.tags";
/// What an object without content has.
const EMPTY_ETAG: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// The record of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BucketRow {
    /// The directory; wherever it is moved, it stays this bucket.
    #[n(0)]
    pub inode: InodeId,
    #[n(1)]
    pub created: Timestamp,
    #[n(2)]
    pub layout: BucketLayout,
}

/// How keys stand for inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum BucketLayout {
    /// A key is a path below the directory.
    #[n(0)]
    Tree,
}

/// What S3 keeps with a bucket: an attribute of its directory, not looked into here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum BucketSetting {
    #[n(0)]
    Policy,
    #[n(1)]
    PublicAccessBlock,
    #[n(2)]
    Cors,
}

impl BucketSetting {
    pub const ALL: [Self; 3] = [Self::Policy, Self::PublicAccessBlock, Self::Cors];

    pub(crate) const fn attribute(self) -> &'static [u8] {
        match self {
            Self::Policy => b"trusted.s3.policy",
            Self::PublicAccessBlock => b"trusted.s3.public-access-block",
            Self::Cors => b"trusted.s3.cors",
        }
    }
}

/// An etag, and the content that it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct EtagRow {
    #[n(0)]
    etag: String,
    /// [`FileBody::changes`](crate::row::FileBody) of that content.
    #[n(1)]
    changes: u64,
}

/// What must hold of the object at a key for a command to happen.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Condition {
    #[n(0)]
    Absent,
    #[n(1)]
    Exists,
    /// It has one of these etags.
    #[n(2)]
    Matches {
        #[n(0)]
        etags: Vec<String>,
    },
}

/// A key in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    bucket: String,
    pub(crate) path: Path,
    /// It ends with a slash.
    pub(crate) is_directory: bool,
}

impl Key {
    /// Reads a key as it is (invariant 2).
    pub(crate) fn parse(bucket: &str, bytes: &[u8]) -> Result<Self, Error> {
        let refused = |reason: String| {
            let shown = &bytes[..bytes.len().min(200)];
            Error::BadKey { key: String::from_utf8_lossy(shown).into_owned(), reason }
        };
        if bytes.len() > MAX_KEY {
            let reason = PathError::PathTooLong { length: bytes.len() }.to_string();
            return Err(Error::NameTooLong { path: String::from_utf8_lossy(&bytes[..200]).into_owned(), reason });
        }
        let (names, is_directory) = match bytes.strip_suffix(b"/") {
            Some(names) => (names, true),
            None => (bytes, false),
        };
        if names.split(|byte| *byte == b'/').any(<[u8]>::is_empty) {
            return Err(refused(PathError::EmptyName.to_string()));
        }
        let path = Path::parse(names).map_err(|reason| refused(reason.to_string()))?;
        Ok(Self { bucket: bucket.to_owned(), path, is_directory })
    }

    /// As error messages show it.
    pub(crate) fn show(&self) -> String {
        self.show_names(self.path.names().len())
    }

    pub(crate) fn show_names(&self, count: usize) -> String {
        let mut shown = self.bucket.clone();
        for name in &self.path.names()[..count] {
            shown.push('/');
            shown.push_str(&name.to_string());
        }
        shown
    }

    pub(crate) fn place(&self, bucket: &BucketRow) -> Where {
        Where { base: bucket.inode, path: self.path.to_bytes() }
    }
}

/// A bucket that the caller can get to.
pub(crate) fn open(view: &impl View, caller: Caller<'_>, name: &str) -> Outcome<BucketRow> {
    let bucket = find(view, name)?.ok_or_else(|| Error::NoSuchBucket { bucket: name.to_owned() })?;
    caller.check_way(view, bucket.inode)?;
    Ok(bucket)
}

/// A bucket whose directory is still there.
pub(crate) fn find(view: &impl View, name: &str) -> Result<Option<BucketRow>, ViewError> {
    let Some(bucket) = view.row::<BucketRow>(&key::bucket(name))? else { return Ok(None) };
    Ok(if resolve::is_attached(view, bucket.inode)? { Some(bucket) } else { None })
}

/// The object at a key, if there is one.
pub(crate) fn lookup(
    view: &impl View,
    caller: Caller<'_>,
    bucket: &BucketRow,
    key: &Key,
) -> Outcome<Option<(Slot, InodeRow)>> {
    let Some((last, parents)) = key.path.names().split_last() else { return Ok(None) };
    let mut directory = bucket.inode;
    for (at, name) in parents.iter().enumerate() {
        directory = match view.entry(directory, name.as_bytes())? {
            Some(row) if row.body == Body::Directory => {
                caller.check(&row, Right::Search, || key.show_names(at + 1))?;
                row.inode
            }
            Some(_) | None => return Ok(None),
        };
    }
    let Some(row) = view.entry(directory, last.as_bytes())? else { return Ok(None) };
    let is_object = match row.body {
        Body::File(_) => !key.is_directory,
        // Names for other things than bytes are no objects.
        Body::Symlink(_) | Body::Special(_) => false,
        Body::Directory => key.is_directory && !view.need::<DirectoryRow>(&key::directory(row.inode))?.implicit,
    };
    Ok(is_object.then(|| (Slot { directory, name: last.as_bytes().to_vec() }, row)))
}

/// The etag of what an inode holds now.
pub(crate) fn etag(row: &InodeRow) -> Result<String, ViewError> {
    let Body::File(file) = &row.body else { return Ok(EMPTY_ETAG.to_owned()) };
    if let Some(given) = given_etag(row)?.filter(|given| given.changes == file.changes) {
        return Ok(given.etag);
    }
    Ok(format!("{}-{}", row.inode.get(), file.changes))
}

/// Whether what was given with the content still belongs to it (invariant 4).
pub(crate) fn is_as_given(row: &InodeRow) -> Result<bool, ViewError> {
    let Body::File(file) = &row.body else { return Ok(true) };
    Ok(given_etag(row)?.is_some_and(|given| given.changes == file.changes))
}

/// What the writer of an object wanted kept with it.
pub(crate) fn properties(view: &impl View, row: &InodeRow) -> Result<Vec<u8>, ViewError> {
    xattr::stored(view, row, PROPERTIES).map(Option::unwrap_or_default)
}

fn given_etag(row: &InodeRow) -> Result<Option<EtagRow>, ViewError> {
    let found = row.xattrs.iter().flatten().find(|xattr| xattr.name == ETAG);
    match found.and_then(|xattr| xattr.value.as_ref()) {
        Some(value) => Ok(Some(row::decode(ETAG, value)?)),
        None => Ok(None),
    }
}

/// Gives a file that is about to be placed its etag and what else belongs to it. The etag comes first: it must be short
/// enough to stand in the row, where listings find it.
pub(crate) fn describe<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &mut InodeRow,
    etag: Option<&str>,
    properties: &[u8],
    attributes: &[Attribute],
    place: impl Fn() -> String,
) -> Outcome<()> {
    if let (Some(etag), Body::File(file)) = (etag, &row.body) {
        let given = row::encode(&EtagRow { etag: etag.to_owned(), changes: file.changes });
        xattr::put(txn, row, ETAG, &given);
    }
    if properties.len() > MAX_XATTR_VALUE {
        let (name, limit) = (String::from_utf8_lossy(PROPERTIES).into_owned(), MAX_XATTR_VALUE as u64);
        return Err(Error::XattrTooLarge { place: place(), name, limit }.into());
    }
    if !properties.is_empty() {
        xattr::put(txn, row, PROPERTIES, properties);
    }
    for Attribute { name, value } in attributes {
        xattr::set(txn, row, name, value, XattrMode::Any, &place)?;
    }
    Ok(())
}

/// Refuses unless `condition` holds of what is at a key. There is nothing to match where there is nothing.
pub(crate) fn check(condition: Option<&Condition>, found: Option<&InodeRow>, key: &Key) -> Outcome<()> {
    let failed = || Error::PreconditionFailed { place: key.show() };
    match (condition, found) {
        (None, _) | (Some(Condition::Absent), None) | (Some(Condition::Exists), Some(_)) => Ok(()),
        (Some(Condition::Absent), Some(_)) => Err(failed().into()),
        (Some(Condition::Exists | Condition::Matches { .. }), None) => {
            Err(Error::NotFound { place: key.show() }.into())
        }
        (Some(Condition::Matches { etags }), Some(row)) => {
            if etags.contains(&etag(row)?) {
                Ok(())
            } else {
                Err(failed().into())
            }
        }
    }
}

/// The slot of a key, whose missing directories are made (invariant 3).
pub(crate) fn slot_of<V: View>(
    txn: &mut Transaction<'_, V>,
    bucket: &BucketRow,
    key: &Key,
    owner: (u32, u32),
) -> Outcome<Slot> {
    let names = key.path.names();
    let (last, parents) = names.split_last().expect("a key has at least one name");
    let mut directory = bucket.inode;
    for (at, name) in parents.iter().enumerate() {
        directory = match txn.rows.entry(directory, name.as_bytes())? {
            Some(row) if row.body == Body::Directory => {
                txn.caller.check(&row, Right::Search, || key.show_names(at + 1))?;
                row.inode
            }
            Some(_) => return Err(Error::NotDirectory { place: key.show_names(at + 1) }.into()),
            None => {
                txn.caller.check_add(&txn.rows, directory, || key.show_names(at))?;
                let slot = Slot { directory, name: name.as_bytes().to_vec() };
                let made = tree::add_directory(txn, &slot, tree::parent(owner))?;
                set_implicit(txn, made.inode, true)?;
                made.inode
            }
        };
    }
    Ok(Slot { directory, name: last.as_bytes().to_vec() })
}

pub(crate) fn set_implicit<V: View>(
    txn: &mut Transaction<'_, V>,
    directory: InodeId,
    implicit: bool,
) -> Result<(), ViewError> {
    let row: DirectoryRow = txn.rows.need(&key::directory(directory))?;
    if row.implicit != implicit {
        txn.put_directory(directory, &DirectoryRow { implicit, ..row });
    }
    Ok(())
}

/// Removes implicit directories that have become empty, from `directory` up to `top`, which stays. One that the caller may
/// not remove stays, with those above it.
pub(crate) fn prune<V: View>(txn: &mut Transaction<'_, V>, top: InodeId, directory: InodeId) -> Outcome<()> {
    let mut at = directory;
    while at != top {
        let row: DirectoryRow = txn.rows.need(&key::directory(at))?;
        // One that has a policy was made for more than the keys by now.
        if !row.implicit || row.usage.entries > 0 || row.policy.is_some() {
            break;
        }
        let slot = Slot { directory: row.parent, name: row.name };
        let (entry, _) = access::directory_entry(&txn.rows, at)?;
        let place = Where { base: at, path: Vec::new() };
        if tree::check_remove(txn, &place, &slot, &entry).is_err() {
            break;
        }
        tree::detach(txn, &place, &slot, &entry, false)?;
        at = slot.directory;
    }
    Ok(())
}
