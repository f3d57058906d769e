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
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, FileType, FopenFlags, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use tracing::debug;

use crate::answer::GENERATION;
use crate::attributes;
use crate::caller;
use crate::coherence::{Coherence, Slot};
use crate::files::Files;
use crate::io::{Flags, WriteTerms};
use crate::locks::Wish;
use crate::names::{AttributesWanted, Names, NewObject};

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
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Mounted {
    pub(crate) fn new(names: Names, files: Arc<Files>, coherence: Arc<Coherence>) -> Self {
        Self { names: Arc::new(names), files, coherence, runtime: tokio::runtime::Handle::current() }
    }

    fn slot(&self, directory: INodeNo, name: &[u8]) -> Slot {
        Slot { directory: self.names.numbers.of_kernel(directory), name: name.to_vec() }
    }
}

/// How the kernel is to treat its pages of a file. `kept`: those that it has are good.
fn page_cache(flags: Flags, kept: bool) -> FopenFlags {
    match (flags.direct(), kept) {
        (true, _) => FopenFlags::FOPEN_DIRECT_IO,
        (false, true) => FopenFlags::FOPEN_KEEP_CACHE,
        (false, false) => FopenFlags::empty(),
    }
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
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP;
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
        let slot = self.slot(parent, &name);
        self.lookup(reply, slot, async move { names.lookup(&user, parent, &name).await });
    }

    fn forget(&self, _: &Request, inode: INodeNo, lookups: u64) {
        self.coherence.forget(inode, lookups);
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
        let slot = self.slot(parent, &name);
        self.entry("mkdir", reply, slot, async move {
            names.make_directory(&user, parent, &name, NewObject { mode, umask }).await
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        let (coherence, slot) = (self.coherence.clone(), self.slot(parent, &name));
        self.empty("unlink", reply, async move {
            names.remove(&user, parent, &name, false).await?;
            coherence.removed(&slot);
            Ok(())
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (names, user, name) = (self.names.clone(), caller::of(request), name.as_bytes().to_vec());
        let (coherence, slot) = (self.coherence.clone(), self.slot(parent, &name));
        self.empty("rmdir", reply, async move {
            names.remove(&user, parent, &name, true).await?;
            coherence.removed(&slot);
            Ok(())
        });
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
        let (coherence, slots) = (self.coherence.clone(), [self.slot(parent, &name), self.slot(newparent, &newname)]);
        slots.iter().for_each(|slot| coherence.making(slot));
        self.empty("rename", reply, async move {
            let renamed = names.rename(&user, (parent, &name), (newparent, &newname), flags).await;
            // It may have been done, whatever the answer was.
            coherence.moved(&slots);
            if renamed.is_err() {
                let [_, to] = slots;
                coherence.not_made(to);
            }
            renamed
        });
    }

    fn opendir(&self, request: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let (names, user) = (&self.names, caller::of(request));
        let directory = names.numbers.of_kernel(inode);
        self.coherence.ask(directory);
        let mut flags = FopenFlags::FOPEN_CACHE_DIR;
        if self.coherence.is_listed(directory) {
            flags |= FopenFlags::FOPEN_KEEP_CACHE;
        }
        reply.opened(names.open_directory(user, inode), flags);
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let (names, coherence) = (self.names.clone(), self.coherence.clone());
        self.runtime.spawn(async move {
            let part = match names.read_directory(&coherence, handle, offset, false).await {
                Ok(part) => part,
                Err(failure) => return reply.error(failure.errno()),
            };
            let numbers = names.numbers;
            for (number, name) in part.dots() {
                if reply.add(numbers.to_kernel(part.directory), number, FileType::Directory, name) {
                    return reply.ok();
                }
            }
            for (number, entry) in part.entries() {
                let (inode, kind) = (numbers.to_kernel(entry.attributes.inode), entry.attributes.kind);
                let name = OsStr::from_bytes(entry.name.as_bytes());
                if reply.add(inode, number, attributes::file_type(kind), name) {
                    break;
                }
            }
            reply.ok();
            if let Some(whole) = part.whole {
                coherence.listed(part.directory, whole);
            }
        });
    }

    fn readdirplus(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let (names, files, coherence) = (self.names.clone(), self.files.clone(), self.coherence.clone());
        self.runtime.spawn(async move {
            let part = match names.read_directory(&coherence, handle, offset, true).await {
                Ok(part) => part,
                Err(failure) => return reply.error(failure.errno()),
            };
            let numbers = names.numbers;
            let dot = attributes::of_dots(numbers.to_kernel(part.directory));
            for (number, name) in part.dots() {
                // The kernel takes no more than the number of these.
                if reply.add(dot.ino, number, name, &Duration::ZERO, &dot, GENERATION) {
                    return reply.ok();
                }
            }
            let entries: Vec<_> = part.entries().collect();
            let seen: Vec<_> = entries.iter().map(|(_, entry)| files.seen(entry.attributes.clone())).collect();
            coherence.tell_entries(part.ticket, part.directory, |mut telling| {
                for ((number, entry), attributes) in entries.iter().zip(&seen) {
                    let (attr, name) = (numbers.attributes(attributes), entry.name.as_bytes());
                    let kept = telling.entry(name, attributes);
                    if reply.add(attr.ino, *number, OsStr::from_bytes(name), &kept, &attr, GENERATION) {
                        telling.take_back(attributes.inode);
                        break;
                    }
                }
                reply.ok();
            });
            if let Some(whole) = part.whole {
                coherence.listed(part.directory, whole);
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
        let slot = self.slot(parent, &name);
        self.entry("symlink", reply, slot, async move { names.symlink(&user, parent, &name, target).await });
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
        let slot = self.slot(parent, &name);
        self.entry("mknod", reply, slot, async move { names.make_node(&user, parent, &name, new, rdev).await });
    }

    fn link(&self, request: &Request, inode: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let (names, user, name) = (self.names.clone(), caller::of(request), newname.as_bytes().to_vec());
        let slot = self.slot(newparent, &name);
        self.entry("link", reply, slot, async move { names.link(&user, inode, newparent, &name).await });
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (names, files, user, flags) = (self.names.clone(), self.files.clone(), caller::of(request), Flags(flags.0));
        let (inode, coherence) = (names.numbers.of_kernel(inode), self.coherence.clone());
        let (ticket, clear_suid) = (coherence.ticket(), names.clears_privileges(user.uid));
        let opened = async move { files.open_file(names.opens_as(&user), inode, (flags, clear_suid), ticket).await };
        self.answer("open", reply, opened, move |reply, handle| {
            coherence.tell_opened(inode, ticket, |kept| reply.opened(handle, page_cache(flags, kept)));
        });
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
        let (name, numbers, coherence) = (name.as_bytes().to_vec(), self.names.numbers, self.coherence.clone());
        let slot = self.slot(parent, &name);
        let ticket = coherence.ask(slot.directory);
        let created = async move {
            let (place, options) = (names.in_directory(parent, &name)?, NewObject { mode, umask }.file(&user));
            files.create_file(&names.of(&user), place, options, flags).await
        };
        self.answer("create", reply, self.made(slot.clone(), created), move |reply, (attributes, handle)| {
            let attr = numbers.attributes(&attributes);
            coherence.tell_entry(ticket, &slot, &attributes, |kept| {
                let kept = kept.name.min(kept.attributes);
                reply.created(&kept, &attr, GENERATION, handle, page_cache(flags, false));
            });
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
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // The kernel's buffer is used again when this returns.
        let (files, data) = (self.files.clone(), data.to_vec());
        let terms = WriteTerms {
            flags: Flags(flags.0),
            from_pages: write_flags.contains(WriteFlags::FUSE_WRITE_CACHE),
            clear_suid: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
        };
        let written = async move { files.write(handle, offset, &data, terms).await };
        self.answer("write", reply, written, |reply, size| reply.written(size));
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
        request: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (files, clear_suid) = (self.files.clone(), self.names.clears_privileges(request.uid()));
        self.empty("fallocate", reply, async move { files.allocate(handle, offset, length, mode, clear_suid).await });
    }

    fn lseek(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let files = self.files.clone();
        let found = async move { files.seek(handle, offset, whence).await };
        self.answer("lseek", reply, found, |reply, offset| reply.offset(offset));
    }

    fn copy_file_range(
        &self,
        request: &Request,
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
        let (files, clear_suid) = (self.files.clone(), self.names.clears_privileges(request.uid()));
        let copied = async move { files.copy((from, offset), (to, to_offset), length, clear_suid).await };
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
