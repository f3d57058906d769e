//! Attributes as the kernel wants them.

use std::time::{Duration, SystemTime};

use client::{Attributes, Kind};
use fuser::{FileAttr, FileType, INodeNo};
use types::{InodeId, Timestamp};

/// What `stat` gives as the size of an efficient read.
const PREFERRED_IO: u32 = 1 << 20;
const PAGE: u64 = 4096;
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
            Kind::Directory => PAGE,
            _ => attributes.length.get(),
        };
        FileAttr {
            ino: self.to_kernel(attributes.inode),
            size: length,
            blocks: blocks(attributes, length),
            atime: attributes.atime.into(),
            mtime: attributes.mtime.into(),
            ctime: attributes.ctime.into(),
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

/// What stands for a name that nothing has: number 0, by which the kernel knows it.
pub(crate) fn of_nothing() -> FileAttr {
    of_number(INodeNo(0))
}

/// What stands for `.` and `..` in a listing: the kernel looks at the number alone.
pub(crate) fn of_dots(ino: INodeNo) -> FileAttr {
    of_number(ino)
}

fn of_number(ino: INodeNo) -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    let (size, blocks, nlink, uid, gid, rdev, flags) = (0, 0, 1, 0, 0, 0, 0);
    let (kind, perm, blksize) = (FileType::Directory, 0, PREFERRED_IO);
    let (atime, mtime, ctime, crtime) = (epoch, epoch, epoch, epoch);
    FileAttr { ino, size, blocks, atime, mtime, ctime, crtime, kind, perm, nlink, uid, gid, rdev, blksize, flags }
}

/// In the unit of `st_blocks`. Nobody stores less than a page, and what is no file or directory is in its inode.
fn blocks(attributes: &Attributes, length: u64) -> u64 {
    match attributes.kind {
        Kind::File | Kind::Directory => length.saturating_sub(attributes.holes.get()).div_ceil(PAGE) * (PAGE / SECTOR),
        Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => 0,
    }
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

/// A time that a program has set. The library below takes the nanoseconds away from seconds before 1970 that they are to be
/// added to (`-1 s + 0.3 s` comes as 1.3 s before): what it was given can be told from what it makes of it.
pub(crate) fn given(time: SystemTime) -> Timestamp {
    let Err(before) = time.duration_since(SystemTime::UNIX_EPOCH) else { return time.into() };
    let (seconds, nanos) = (before.duration().as_secs(), before.duration().subsec_nanos());
    let whole: Timestamp = SystemTime::UNIX_EPOCH
        .checked_sub(Duration::from_secs(seconds))
        .map_or(Timestamp::from_signed_nanos(i64::MIN), Timestamp::from);
    whole.saturating_add(Duration::from_nanos(nanos.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_those_that_the_program_gave() {
        let second = Duration::from_secs(1);
        let told = |distance| given(SystemTime::UNIX_EPOCH - distance).signed_nanos();
        // Seconds and nanoseconds of the program: (-1, 300000000), (-1, 0), (-5, 1).
        assert_eq!(told(second + Duration::from_millis(300)), -700_000_000);
        assert_eq!(told(second), -1_000_000_000);
        assert_eq!(told(5 * second + Duration::from_nanos(1)), -4_999_999_999);
        assert_eq!(given(SystemTime::UNIX_EPOCH + second).signed_nanos(), 1_000_000_000);
    }
}
