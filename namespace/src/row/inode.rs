//! Inodes: what is known of a file, a directory or a link, and where it stands.

use minicbor::{Decode, Encode};
use types::acl::Acl;
use types::{ByteSize, InodeId, Timestamp};

use super::{DirectoryRow, Quota, Usage, Wanted};
use crate::acl;
use crate::command::Ownership;
use crate::directory_policy::DirectoryPolicy;
use crate::placement;
use crate::view::ViewError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    #[n(0)]
    File,
    #[n(1)]
    Directory,
    #[n(2)]
    Symlink,
    #[n(3)]
    Fifo,
    #[n(4)]
    Socket,
    #[n(5)]
    CharDevice,
    #[n(6)]
    BlockDevice,
}

/// What `stat` tells. For a directory, `usage` holds the sums over everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attributes {
    #[n(0)]
    pub inode: InodeId,
    #[n(1)]
    pub kind: Kind,
    #[n(2)]
    pub mode: u32,
    #[n(3)]
    pub uid: u32,
    #[n(4)]
    pub gid: u32,
    #[n(5)]
    pub length: ByteSize,
    #[n(6)]
    pub atime: Timestamp,
    #[n(7)]
    pub mtime: Timestamp,
    #[n(8)]
    pub ctime: Timestamp,
    #[n(9)]
    pub links: u32,
    /// Of files: wanted replicas and the longest block; zero for directories.
    #[n(10)]
    pub replication: u8,
    #[n(11)]
    pub block_size: ByteSize,
    /// Whether a writer holds the lease.
    #[n(12)]
    pub writing: bool,
    /// Of directories: direct entries, and the sums over everything below.
    #[n(13)]
    pub usage: Option<Usage>,
    /// Of directories that have one.
    #[n(14)]
    pub quota: Option<Quota>,
    /// Of devices: major and minor number, as the caller encodes them.
    #[n(15)]
    pub device: Option<u64>,
    /// Of symbolic links: where it leads.
    #[n(16)]
    #[cbor(with = "minicbor::bytes")]
    pub target: Option<Vec<u8>>,
    /// Of directories that have one of their own: the time to live of what is below, in nanoseconds.
    #[n(17)]
    pub ttl_nanos: Option<u64>,
    /// Which access control lists it has that say more than the mode.
    #[n(18)]
    pub lists: Option<Lists>,
    /// Of files: the bytes of the length that are holes; absent if there are none.
    #[n(19)]
    pub holes: Option<ByteSize>,
    /// Of files: how replicas are spread over racks; absent: as the cluster does it.
    #[n(20)]
    pub spread: Option<placement::Policy>,
    /// Of directories that say something of the files that are made below.
    #[n(21)]
    pub policy: Option<DirectoryPolicy>,
    /// It has no extended attributes. An answer that is remembered from before this was told says less.
    #[n(22)]
    #[cbor(default)]
    pub no_xattrs: bool,
}

/// The access control lists of an object, where it has any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Lists {
    #[n(0)]
    Access,
    #[n(1)]
    Default,
    #[n(2)]
    Both,
}

/// An inode: part of the entry of its only name, or a row of its own (module `home`).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct InodeRow {
    #[n(0)]
    pub(crate) inode: InodeId,
    #[n(1)]
    pub(crate) mode: u32,
    #[n(2)]
    pub(crate) uid: u32,
    #[n(3)]
    pub(crate) gid: u32,
    #[n(4)]
    pub(crate) atime: Timestamp,
    #[n(5)]
    pub(crate) body: Body,
    /// Sorted by name; absent rather than empty.
    #[n(6)]
    pub(crate) xattrs: Option<Vec<Xattr>>,
    /// Of a row under `h`: how many entries refer to it. Absent in an entry, which is the only one then.
    #[n(7)]
    pub(crate) names: Option<u32>,
    /// Where it says more than the mode, which shows it (module `acl`).
    #[n(8)]
    pub(crate) acl: Option<Box<Acl>>,
    /// Of directories: the list that decides what is granted of what is made in it.
    #[n(9)]
    pub(crate) default_acl: Option<Box<Acl>>,
    /// Of what has no name yet: bits that a umask took from the mode, and that a default list gives back.
    #[n(10)]
    pub(crate) withheld: Option<u32>,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryRow {
    Inode(InodeRow),
    /// The row is under `h`: the inode has, or had, several names.
    Reference(InodeId),
}

/// A row is an array, a reference a plain number.
impl<'b> Decode<'b, ()> for EntryRow {
    fn decode(decoder: &mut minicbor::Decoder<'b>, context: &mut ()) -> Result<Self, minicbor::decode::Error> {
        match decoder.datatype()? {
            minicbor::data::Type::Array => InodeRow::decode(decoder, context).map(Self::Inode),
            _ => InodeId::decode(decoder, context).map(Self::Reference),
        }
    }
}

/// An extended attribute as it stands in the row of its inode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Xattr {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) name: Vec<u8>,
    /// Absent if it is long: then it has a row of its own.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) value: Option<Vec<u8>>,
}

/// The value of a long extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct XattrRow {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) value: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Body {
    /// Its other times are in the [`DirectoryRow`]: a new entry then touches no row of the directory above.
    #[n(0)]
    Directory,
    #[n(1)]
    File(#[n(0)] FileBody),
    #[n(2)]
    Symlink(#[n(0)] SymlinkBody),
    #[n(3)]
    Special(#[n(0)] SpecialBody),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SymlinkBody {
    #[n(0)]
    pub(crate) mtime: Timestamp,
    #[n(1)]
    pub(crate) ctime: Timestamp,
    /// 1 to 4095 bytes, never looked into here.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) target: Vec<u8>,
}

/// A fifo, a socket or a device: a name for something on the host that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SpecialBody {
    #[n(0)]
    pub(crate) mtime: Timestamp,
    #[n(1)]
    pub(crate) ctime: Timestamp,
    #[n(2)]
    pub(crate) kind: Kind,
    /// Zero but for devices.
    #[n(3)]
    pub(crate) device: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct FileBody {
    #[n(0)]
    pub(crate) mtime: Timestamp,
    #[n(1)]
    pub(crate) ctime: Timestamp,
    /// The last extent ends here or before: what no extent holds reads as zeros.
    #[n(2)]
    pub(crate) length: ByteSize,
    #[n(3)]
    pub(crate) replication: u8,
    #[n(4)]
    pub(crate) block_size: ByteSize,
    /// Whether there is a lease.
    #[n(5)]
    pub(crate) writing: bool,
    #[n(6)]
    pub(crate) data: Data,
    /// How often the content has changed since the file was made: an etag belongs to one of these.
    #[n(7)]
    #[cbor(default)]
    pub(crate) changes: u64,
    /// Bytes of the length that no extent holds; absent if there are none. Programs before this one did not count them.
    #[n(8)]
    pub(crate) holes: Option<ByteSize>,
    /// How replicas are spread over racks; absent: as the cluster does it.
    #[n(9)]
    pub(crate) spread: Option<placement::Policy>,
}

impl FileBody {
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted { replicas: self.replication, spread: self.spread }
    }
}

impl InodeRow {
    /// Something new that has no name yet.
    pub(crate) fn new(inode: InodeId, ownership: Ownership, now: Timestamp, body: Body) -> Self {
        let Ownership { uid, gid, mode, umask } = ownership;
        let withheld = mode & umask.unwrap_or(0);
        Self {
            inode,
            mode: mode & !withheld,
            uid,
            gid,
            atime: now,
            body,
            xattrs: None,
            names: None,
            acl: None,
            default_acl: None,
            withheld: (withheld != 0).then_some(withheld),
        }
    }

    /// The body of what a lease, a block or another row says is a file.
    pub(crate) fn need_file(&self) -> Result<&FileBody, ViewError> {
        match &self.body {
            Body::File(file) => Ok(file),
            Body::Directory | Body::Symlink(_) | Body::Special(_) => Err(self.not_a_file()),
        }
    }

    pub(crate) fn need_file_mut(&mut self) -> Result<&mut FileBody, ViewError> {
        if !matches!(self.body, Body::File(_)) {
            return Err(self.not_a_file());
        }
        match &mut self.body {
            Body::File(file) => Ok(file),
            Body::Directory | Body::Symlink(_) | Body::Special(_) => unreachable!("looked at above"),
        }
    }

    fn not_a_file(&self) -> ViewError {
        ViewError::Row { key: self.inode.to_string(), reason: "something else stands where a file must be".to_owned() }
    }

    /// Times of modification and change; those of a directory are in its [`DirectoryRow`].
    pub(crate) const fn times_mut(&mut self) -> Option<(&mut Timestamp, &mut Timestamp)> {
        match &mut self.body {
            Body::Directory => None,
            Body::File(file) => Some((&mut file.mtime, &mut file.ctime)),
            Body::Symlink(link) => Some((&mut link.mtime, &mut link.ctime)),
            Body::Special(special) => Some((&mut special.mtime, &mut special.ctime)),
        }
    }

    /// Not of a directory.
    pub(crate) const fn set_ctime(&mut self, now: Timestamp) {
        if let Some((_, ctime)) = self.times_mut() {
            *ctime = now;
        }
    }

    /// The number of names.
    pub(crate) fn links(&self) -> u32 {
        self.names.unwrap_or(1)
    }

    /// What `stat` tells; `directory` is the row of a directory.
    pub(crate) fn attributes(&self, directory: Option<&DirectoryRow>) -> Attributes {
        let mut attributes = Attributes {
            inode: self.inode,
            kind: Kind::Directory,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            length: ByteSize::ZERO,
            atime: self.atime,
            mtime: self.atime,
            ctime: self.atime,
            links: self.links(),
            replication: 0,
            block_size: ByteSize::ZERO,
            writing: false,
            usage: directory.map(|row| row.usage),
            quota: directory.and_then(|row| row.quota),
            device: None,
            target: None,
            ttl_nanos: directory.and_then(|row| row.ttl_nanos),
            lists: acl::lists(self),
            holes: None,
            spread: None,
            policy: directory.and_then(|row| row.policy),
            no_xattrs: self.xattrs.is_none(),
        };
        if let Some(directory) = directory {
            attributes.mtime = directory.mtime;
            attributes.ctime = directory.ctime;
            // Its name, its `.` and the `..` of each in it. Where that is not known, 1 says so, as in other file systems.
            let known = directory.subdirectories.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            attributes.links = known.map_or(1, |count| count.saturating_add(2));
        }
        match &self.body {
            Body::Directory => {}
            Body::File(file) => {
                attributes.kind = Kind::File;
                attributes.length = file.length;
                (attributes.mtime, attributes.ctime) = (file.mtime, file.ctime);
                attributes.replication = file.replication;
                attributes.block_size = file.block_size;
                attributes.writing = file.writing;
                attributes.holes = file.holes;
                attributes.spread = file.spread;
            }
            Body::Symlink(link) => {
                attributes.kind = Kind::Symlink;
                attributes.length = ByteSize::new(link.target.len() as u64);
                (attributes.mtime, attributes.ctime) = (link.mtime, link.ctime);
                attributes.target = Some(link.target.clone());
            }
            Body::Special(special) => {
                attributes.kind = special.kind;
                (attributes.mtime, attributes.ctime) = (special.mtime, special.ctime);
                attributes.device = (special.device != 0).then_some(special.device);
            }
        }
        attributes
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Data {
    /// Extents over blocks; `next_block` is the number that the next block gets that its writer asks for.
    #[n(0)]
    Blocks {
        #[n(0)]
        next_block: u32,
        /// How many there are.
        #[n(1)]
        extents: u64,
    },
    #[n(1)]
    Inline {
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        content: Vec<u8>,
        /// As for blocks, once the file was opened to be continued; its first block repeats the content, and takes over
        /// when it holds all of it.
        #[n(1)]
        next_block: Option<u32>,
    },
}
