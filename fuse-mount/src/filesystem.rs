//! The kernel's requests: decoded here, carried out on the runtime, answered from there.
//!
//! A handler runs on a thread that reads requests from the kernel, so it never waits: it takes what it needs out of the
//! request and spawns. How much is in flight is bounded by the kernel: one request for each thread that asks, and
//! `max_background` of its own.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, FopenFlags, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tracing::debug;

use crate::answer::GENERATION;
use crate::attributes;
use crate::caller;
use crate::files::Files;
use crate::io::{Flags, WriteTerms};
use crate::locks::Wish;
use crate::names::{AttributesWanted, Names, NewObject};
use crate::options::Options;

/// The longest read or write that the kernel asks for.
const MAX_IO: u32 = 1 << 20;
/// `statfs` counts in these.
const BLOCK: u32 = 4096;
/// Requests that the kernel has under way on its own account: read-ahead and write-back.
const BACKGROUND: u16 = 256;

/// A mounted directory of the namespace.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) names: Arc<Names>,
    files: Arc<Files>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) options: Arc<Options>,
}

impl Mounted {
    pub(crate) fn new(names: Names, files: Arc<Files>, runtime: tokio::runtime::Handle, options: Arc<Options>) -> Self {
        Self { names: Arc::new(names), files, runtime, options }
    }
}

/// How the kernel is to treat its pages of a file.
fn page_cache(flags: Flags) -> FopenFlags {
    if flags.direct() { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() }
}

impl fuser::Filesystem for Mounted {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_POSIX_ACL
            | InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_ATOMIC_O_TRUNC
            | InitFlags::FUSE_POSIX_LOCKS
            | InitFlags::FUSE_FLOCK_LOCKS
            | InitFlags::FUSE_CACHE_SYMLINKS;
        if let Err(missing) = config.add_capabilities(wanted) {
            // An older kernel: each of them makes something exact that is then nearly so.
            let _ = config.add_capabilities(wanted - missing);
            debug!(?missing, "this kernel lacks abilities");
        }
        let at_most = |set: Result<u32, u32>| set.is_ok();
        if !at_most(config.set_max_write(MAX_IO)) {
            debug!("this kernel writes less at a time");
        }
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        self.entry("lookup", reply, async move { names.lookup(&user, parent, &name).await });
    }

    fn getattr(&self, request: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let (names, user) = (self.names.clone(), caller::of(request));
        self.attributes("getattr", reply, async move { names.attributes(&user, inode).await });
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (names, user) = (self.names.clone(), caller::of(request));
        let wanted = AttributesWanted { mode, uid, gid, size, atime, mtime };
        self.attributes("setattr", reply, async move { names.set_attributes(&user, inode, wanted).await });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        self.entry("mkdir", reply, async move {
            names.make_directory(&user, parent, &name, NewObject { mode, umask }).await
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        self.empty("unlink", reply, async move { names.remove(&user, parent, &name, false).await });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        self.empty("rmdir", reply, async move { names.remove(&user, parent, &name, true).await });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (names, user) = (self.names.clone(), caller::of(request));
        let (name, newname) = (name.as_bytes().to_vec(), newname.as_bytes().to_vec());
        self.empty(
            "rename",
            reply,
            async move { names.rename(&user, (parent, &name), (newparent, &newname), flags).await },
        );
    }

    fn opendir(&self, request: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let (names, user) = (self.names.clone(), caller::of(request));
        let opened = async move { names.open_directory(user, inode) };
        self.answer("opendir", reply, opened, |reply, handle| reply.opened(handle, FopenFlags::empty()));
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let names = self.names.clone();
        self.runtime.spawn(async move {
            let numbers = names.numbers;
            let read = names.read_directory(handle, offset, |number, name, attributes| {
                let (number_of, kind) = (numbers.to_kernel(attributes.inode), attributes::file_type(attributes.kind));
                !reply.add(number_of, number, kind, OsStr::from_bytes(name))
            });
            match read.await {
                Ok(()) => reply.ok(),
                Err(failure) => reply.error(failure.errno()),
            }
        });
    }

    fn readdirplus(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (names, ttl) = (self.names.clone(), self.options.attr_timeout);
        self.runtime.spawn(async move {
            let numbers = names.numbers;
            let read = names.read_directory(handle, offset, |number, name, attributes| {
                let attr = numbers.attributes(attributes);
                !reply.add(attr.ino, number, OsStr::from_bytes(name), &ttl, &attr, GENERATION)
            });
            match read.await {
                Ok(()) => reply.ok(),
                Err(failure) => reply.error(failure.errno()),
            }
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.names.close_directory(handle);
        reply.ok();
    }

    /// What a directory holds is durable when the operation that changed it is answered.
    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        let target = target.as_os_str().as_bytes().to_vec();
        self.entry("symlink", reply, async move { names.symlink(&user, parent, &name, target).await });
    }

    fn readlink(&self, request: &Request, inode: INodeNo, reply: ReplyData) {
        let (names, user) = (self.names.clone(), caller::of(request));
        let target = async move { names.read_link(&user, inode).await };
        self.answer("readlink", reply, target, |reply, target| reply.data(&target));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        let new = NewObject { mode, umask };
        self.entry("mknod", reply, async move { names.make_node(&user, parent, &name, new, rdev).await });
    }

    fn link(&self, request: &Request, inode: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let (names, user, name) = (self.names.clone(), caller::of(request), newname.as_bytes().to_vec());
        self.entry("link", reply, async move { names.link(&user, inode, newparent, &name).await });
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (names, files, user, flags) = (self.names.clone(), self.files.clone(), caller::of(request), Flags(flags.0));
        let opened = async move { files.open_file(&names.of(&user), names.numbers.of_kernel(inode), flags).await };
        self.answer("open", reply, opened, move |reply, handle| reply.opened(handle, page_cache(flags)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (names, files, user, flags) = (self.names.clone(), self.files.clone(), caller::of(request), Flags(flags));
        let (name, numbers, ttl) = (name.as_bytes().to_vec(), self.names.numbers, self.options.attr_timeout);
        let created = async move {
            let (place, options) = (names.in_directory(parent, &name)?, NewObject { mode, umask }.file(&user));
            files.create_file(&names.of(&user), place, options, flags).await
        };
        self.answer("create", reply, created, move |reply, (attributes, handle)| {
            reply.created(&ttl, &numbers.attributes(&attributes), GENERATION, handle, page_cache(flags));
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
        let files = self.files.clone();
        let read = async move { files.read(handle, offset, size).await };
        self.answer("read", reply, read, |reply, data| reply.data(&data));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // The kernel's buffer is used again when this returns.
        let (files, data) = (self.files.clone(), data.to_vec());
        let size = u32::try_from(data.len()).expect("the kernel writes at most MAX_IO");
        let terms = WriteTerms { clear_suid: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) };
        let written = async move { files.write(handle, offset, &data, terms).await };
        self.answer("write", reply, written, move |reply, ()| reply.written(size));
    }

    fn flush(&self, _: &Request, _: INodeNo, handle: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        let files = self.files.clone();
        self.empty("flush", reply, async move { files.flush(handle, owner).await });
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let files = self.files.clone();
        self.empty("fsync", reply, async move { files.sync(handle).await });
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        owner: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let files = self.files.clone();
        self.empty("release", reply, async move { files.release(handle, owner).await });
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let files = self.files.clone();
        self.empty("fallocate", reply, async move { files.allocate(handle, offset, length, mode).await });
    }

    fn lseek(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let files = self.files.clone();
        let found = async move { files.seek(handle, offset, whence).await };
        self.answer("lseek", reply, found, |reply, offset| reply.offset(offset));
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        from: FileHandle,
        offset: u64,
        _: INodeNo,
        to: FileHandle,
        to_offset: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let files = self.files.clone();
        let copied = async move { files.copy((from, offset), (to, to_offset), length).await };
        self.answer("copy_file_range", reply, copied, |reply, copied| reply.written(copied));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let names = self.names.clone();
        let room = async move { names.room(BLOCK).await };
        self.answer("statfs", reply, room, |reply, room| {
            reply.statfs(room.blocks, room.free, room.free, room.files, room.files_free, BLOCK, 255, BLOCK);
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        inode: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (names, user) = (self.names.clone(), caller::of(request));
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        self.empty("setxattr", reply, async move { names.set_xattr(&user, inode, &name, &value, flags).await });
    }

    fn getxattr(&self, request: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        let value = async move { names.xattr(&user, inode, &name).await };
        self.sized("getxattr", reply, size, value);
    }

    fn listxattr(&self, request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        let (names, user) = (self.names.clone(), caller::of(request));
        let list = async move { names.xattr_names(&user, inode).await };
        self.sized("listxattr", reply, size, list);
    }

    fn removexattr(&self, request: &Request, inode: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        self.empty("removexattr", reply, async move { names.remove_xattr(&user, inode, &name).await });
    }

    fn getlk(
        &self,
        request: &Request,
        inode: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let (files, inode) = (self.files.clone(), self.names.numbers.of_kernel(inode));
        let wish = Wish { owner: owner.0, first: start, last: end, kind: typ, pid, thread: request.pid() };
        let found = async move { files.locks.test(inode, wish).await };
        self.answer("getlk", reply, found, move |reply, conflict| match conflict {
            Some(held) => reply.locked(held.first, held.last, held.kind, held.pid),
            None => reply.locked(start, end, libc::F_UNLCK, 0),
        });
    }

    fn setlk(
        &self,
        request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let (files, inode) = (self.files.clone(), self.names.numbers.of_kernel(inode));
        let wish = Wish { owner: owner.0, first: start, last: end, kind: typ, pid, thread: request.pid() };
        self.empty("setlk", reply, async move { files.locks.set(inode, handle.0, wish, sleep).await });
    }
}
