//! The limit: a FUSE file system that does nothing itself, over a directory of the local disk.
//!
//! It keeps what it may keep for as long as a mount of the cluster does, so that the kernel spares both the same questions.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, WriteFlags,
};

/// As the mount has it.
const KEPT: Duration = Duration::from_secs(60);
const MAX_IO: u32 = 1 << 20;
const BACKGROUND: u16 = 256;
const THREADS: usize = 4;

/// Serves `source` on `point` until somebody unmounts it.
pub(super) fn serve(source: &Path, point: &Path, ready: impl FnOnce()) -> io::Result<()> {
    let mut config = fuser::Config::default();
    config.mount_options = vec![MountOption::FSName("passthrough".to_owned()), MountOption::DefaultPermissions];
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = Session::new(Passthrough::new(source), point, &config)?;
    fuse_mount::raise_read_ahead(point)?;
    ready();
    session.run()
}

/// Names, inode numbers and kinds, as they were when the directory was opened.
type Listing = Arc<Vec<(OsString, u64, FileType)>>;

#[derive(Debug)]
struct Passthrough {
    root: PathBuf,
    known: Mutex<HashMap<u64, Known>>,
    files: Mutex<HashMap<u64, Arc<File>>>,
    directories: Mutex<HashMap<u64, Listing>>,
    next: AtomicU64,
}

/// An inode that the kernel holds.
#[derive(Debug)]
struct Known {
    path: Arc<Path>,
    lookups: u64,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Passthrough {
    fn new(root: &Path) -> Self {
        let (known, files, directories) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { root: root.to_owned(), known, files, directories, next: AtomicU64::new(1) }
    }

    fn path(&self, inode: INodeNo) -> io::Result<Arc<Path>> {
        if inode == INodeNo::ROOT {
            return Ok(self.root.as_path().into());
        }
        lock(&self.known).get(&inode.0).map(|known| known.path.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    /// What the kernel is told of a path, which it holds from then on.
    fn entry(&self, path: &Path) -> io::Result<FileAttr> {
        let metadata = fs::symlink_metadata(path)?;
        let mut known = lock(&self.known);
        let known = known.entry(metadata.ino()).or_insert_with(|| Known { path: path.into(), lookups: 0 });
        known.lookups += 1;
        Ok(attributes(&metadata))
    }

    fn open(&self, file: File) -> FileHandle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.files).insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        lock(&self.files).get(&handle.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn listing(&self, handle: FileHandle) -> io::Result<Arc<Vec<(OsString, u64, FileType)>>> {
        lock(&self.directories).get(&handle.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn attributes(metadata: &Metadata) -> FileAttr {
    let time = |time: io::Result<SystemTime>| time.unwrap_or(SystemTime::UNIX_EPOCH);
    let ctime = Duration::new(metadata.ctime().unsigned_abs(), metadata.ctime_nsec().unsigned_abs() as u32);
    FileAttr {
        ino: INodeNo(metadata.ino()),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: SystemTime::UNIX_EPOCH + ctime,
        crtime: SystemTime::UNIX_EPOCH,
        kind: FileType::from_std(metadata.file_type()).unwrap_or(FileType::RegularFile),
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: metadata.rdev() as u32,
        blksize: MAX_IO,
        flags: 0,
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_i32(error.raw_os_error().unwrap_or(5))
}

/// Where `?` ends.
fn attempt<T>(what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    what()
}

/// Answers with what went well, or with the errno.
macro_rules! answer {
    ($reply:expr, $done:expr, $accept:expr) => {
        match attempt(|| $done) {
            Ok(value) => $accept(value),
            Err(error) => $reply.error(errno(&error)),
        }
    };
}

impl Filesystem for Passthrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_ATOMIC_O_TRUNC;
        // An older kernel lacks some of them, for the mount as well.
        if let Err(missing) = config.add_capabilities(wanted) {
            let _ = config.add_capabilities(wanted - missing);
        }
        let _ = config.set_max_write(MAX_IO);
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer!(reply, self.entry(&self.child(parent, name)?), |attr| reply.entry(&KEPT, &attr, Generation(0)));
    }

    fn forget(&self, _: &Request, inode: INodeNo, lookups: u64) {
        let mut known = lock(&self.known);
        if let Some(of_inode) = known.get_mut(&inode.0) {
            of_inode.lookups = of_inode.lookups.saturating_sub(lookups);
            if of_inode.lookups == 0 {
                known.remove(&inode.0);
            }
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = || {
            let mut attr = attributes(&fs::symlink_metadata(self.path(inode)?)?);
            attr.ino = inode;
            Ok(attr)
        };
        answer!(reply, found(), |attr| reply.attr(&KEPT, &attr));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = || {
            let path = self.child(parent, name)?;
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & !umask))?;
            self.entry(&path)
        };
        answer!(reply, made(), |attr| reply.entry(&KEPT, &attr, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, fs::remove_file(self.child(parent, name)?), |()| reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, fs::remove_dir(self.child(parent, name)?), |()| reply.ok());
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = || {
            let path = self.path(inode)?;
            let mode = flags.0 & 0b11;
            let mut options = OpenOptions::new();
            // O_TRUNC, see open(2).
            let empty = flags.0 & 0o1000 != 0;
            Ok(self.open(options.read(mode != 1).write(mode != 0).truncate(empty).open(path)?))
        };
        answer!(reply, opened(), |handle| reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let created = || {
            let path = self.child(parent, name)?;
            let file = OpenOptions::new().read(true).write(true).create(true).mode(mode & !umask).open(&path)?;
            Ok((self.entry(&path)?, self.open(file)))
        };
        answer!(reply, created(), |(attr, handle)| {
            reply.created(&KEPT, &attr, Generation(0), handle, FopenFlags::empty());
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let mut buffer = vec![0; size as usize];
            let length = self.file(handle)?.read_at(&mut buffer, offset)?;
            buffer.truncate(length);
            Ok(buffer)
        };
        answer!(reply, read(), |data: Vec<u8>| reply.data(&data));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(reply, self.file(handle)?.write_at(data, offset), |length| reply.written(length as u32));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, self.file(handle)?.sync_all(), |()| reply.ok());
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.files).remove(&handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listed = || {
            let mut entries = Vec::new();
            for entry in fs::read_dir(self.path(inode)?)? {
                let entry = entry?;
                let kind = FileType::from_std(entry.file_type()?).unwrap_or(FileType::RegularFile);
                entries.push((entry.file_name(), std::os::unix::fs::DirEntryExt::ino(&entry), kind));
            }
            let handle = self.next.fetch_add(1, Ordering::Relaxed);
            lock(&self.directories).insert(handle, Arc::new(entries));
            Ok(FileHandle(handle))
        };
        answer!(reply, listed(), |handle| reply.opened(handle, FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match self.listing(handle) {
            Ok(entries) => entries,
            Err(error) => return reply.error(errno(&error)),
        };
        for (index, (name, inode, kind)) in entries.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*inode), index as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(&self, _: &Request, inode: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listing = || Ok::<_, io::Error>((self.path(inode)?, self.listing(handle)?));
        let (path, entries) = match listing() {
            Ok(found) => found,
            Err(error) => return reply.error(errno(&error)),
        };
        for (index, (name, ..)) in entries.iter().enumerate().skip(offset as usize) {
            // What is gone meanwhile is left out.
            let Ok(attr) = self.entry(&path.join(name)) else { continue };
            if reply.add(attr.ino, index as u64 + 1, name, &KEPT, &attr, Generation(0)) {
                if let Some(known) = lock(&self.known).get_mut(&attr.ino.0) {
                    known.lookups -= 1;
                }
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        lock(&self.directories).remove(&handle.0);
        reply.ok();
    }
}
