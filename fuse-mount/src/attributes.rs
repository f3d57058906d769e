//! Attributes as the kernel wants them.

use std::time::{Duration, SystemTime};

use client::{Attributes, Kind};
use fuser::{FileAttr, FileType, INodeNo};
use types::{InodeId, Timestamp};

/// What `stat` gives as the size of an efficient read.
const PREFERRED_IO: u32 = 1 << 20;
/// `st_blocks` counts in these, whatever the file system.
const SECTOR: u64 = 512;

/// The kernel's number of an inode: the same, but for the directory that is mounted, which is the kernel's root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) root: InodeId,
}

impl Numbers {
    pub(crate) fn to_kernel(self, inode: InodeId) -> INodeNo {
        if inode == self.root { INodeNo::ROOT } else { INodeNo(inode.get()) }
    }

    pub(crate) fn of_kernel(self, number: INodeNo) -> InodeId {
        if number == INodeNo::ROOT { self.root } else { InodeId::new(number.0) }
    }

    pub(crate) fn attributes(self, attributes: &Attributes) -> FileAttr {
        let length = match attributes.kind {
            Kind::Directory => u64::from(PREFERRED_IO.min(4096)),
            _ => attributes.length.get(),
        };
        FileAttr {
            ino: self.to_kernel(attributes.inode),
            size: length,
            blocks: length.div_ceil(SECTOR),
            atime: time(attributes.atime),
            mtime: time(attributes.mtime),
            ctime: time(attributes.ctime),
            crtime: SystemTime::UNIX_EPOCH,
            kind: file_type(attributes.kind),
            perm: u16::try_from(attributes.mode & 0o7777).expect("twelve bits"),
            nlink: attributes.links,
            uid: attributes.uid,
            gid: attributes.gid,
            rdev: attributes.device.and_then(|device| u32::try_from(device).ok()).unwrap_or(0),
            blksize: PREFERRED_IO,
            flags: 0,
        }
    }
}

/// What stands for `.` and `..` in a listing: the kernel looks at the number alone.
pub(crate) fn of_dots(ino: INodeNo) -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    let (size, blocks, nlink, uid, gid, rdev, flags) = (0, 0, 1, 0, 0, 0, 0);
    let (kind, perm, blksize) = (FileType::Directory, 0, PREFERRED_IO);
    let (atime, mtime, ctime, crtime) = (epoch, epoch, epoch, epoch);
    FileAttr { ino, size, blocks, atime, mtime, ctime, crtime, kind, perm, nlink, uid, gid, rdev, blksize, flags }
}

pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

fn time(timestamp: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(timestamp.nanos())
}

/// Times before 1970 are not kept: they become 1970.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
