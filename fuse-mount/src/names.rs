//! The tree: names, attributes, directories.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use client::{
    AttrChange, Attributes, Client, ContentOptions, CreateOptions, Kind, MkdirOptions, NewHandleFile, NodeOptions, User,
};
use fuser::{Errno, FileHandle, INodeNo, RenameFlags, TimeOrNow};
use types::{InodeId, Name};

use crate::attributes::{self, Numbers};
use crate::coherence::Coherence;
use crate::directory::{Directory, Part};
use crate::errno::Failure;
use crate::files::Files;
use crate::room::{Room, RoomCache};

/// Whom a squashed root acts as: the customary user and group without rights.
const NOBODY: u32 = 65_534;

/// What `setattr` asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributesWanted {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Option<TimeOrNow>,
    pub(crate) mtime: Option<TimeOrNow>,
}

/// The mode that a program gives a new object, and what its umask takes away where the directory has no default access
/// control list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewObject {
    pub(crate) mode: u32,
    pub(crate) umask: u32,
}

impl NewObject {
    pub(crate) fn permissions(self) -> u32 {
        self.mode & 0o7777
    }

    /// A new file of `user`.
    pub(crate) fn file(self, user: &User) -> NewHandleFile {
        let (uid, gid) = (Some(user.uid), Some(user.gid));
        NewHandleFile { mode: self.permissions(), umask: self.umask, uid, gid, ..NewHandleFile::default() }
    }
}

#[derive(Debug)]
pub(crate) struct Names {
    client: Client,
    pub(crate) files: Arc<Files>,
    room: RoomCache,
    is_superuser: bool,
    root_squash: bool,
    pub(crate) numbers: Numbers,
    directories: Mutex<HashMap<u64, Arc<OpenDirectory>>>,
    /// Directories that were removed through this mount while they are open here, as they were.
    removed: Mutex<HashMap<InodeId, Attributes>>,
    next_handle: AtomicU64,
}

#[derive(Debug)]
struct OpenDirectory {
    directory: Directory,
    client: Client,
}

impl Names {
    pub(crate) fn new(client: Client, files: Arc<Files>, numbers: Numbers, root_squash: bool) -> Self {
        Self {
            is_superuser: User::of_process().uid == 0,
            root_squash,
            client,
            files,
            room: RoomCache::default(),
            numbers,
            directories: Mutex::default(),
            removed: Mutex::default(),
            next_handle: AtomicU64::new(1),
        }
    }

    pub(crate) async fn room(&self, unit: u32) -> Result<Room, Failure> {
        self.room.get(&self.client, unit.into()).await
    }

    /// The client, asking on behalf of `user`.
    pub(crate) fn of(&self, user: &User) -> Client {
        // A client of another user speaks for that one alone, as a mount by that user is for.
        if !self.is_superuser {
            return self.client.clone();
        }
        match user.uid {
            0 if self.root_squash => self.client.as_user(User { uid: NOBODY, gid: NOBODY, groups: Vec::new() }),
            _ => self.client.as_user(user.clone()),
        }
    }

    /// The client that opens files for `user`: the kernel has checked that one's rights, unless it is somebody else in the
    /// cluster.
    pub(crate) fn opens_as(&self, user: &User) -> Client {
        let is_squashed = self.root_squash && user.uid == 0;
        if is_squashed { self.of(user) } else { self.client.clone() }
    }

    /// Whether a change of content by a user takes setuid and setgid away. The cluster decides where it is asked on behalf of
    /// that user; what is open here is changed in the name of the mount.
    pub(crate) const fn clears_privileges(&self, uid: u32) -> bool {
        uid != 0 || self.root_squash
    }

    pub(crate) fn in_directory(&self, parent: INodeNo, name: &[u8]) -> Result<(InodeId, Name), Failure> {
        Ok((self.numbers.of_kernel(parent), self::name(name)?))
    }

    pub(crate) async fn lookup(&self, user: &User, parent: INodeNo, name: &[u8]) -> Result<Attributes, Failure> {
        let (client, place) = (self.of(user), self.in_directory(parent, name)?);
        let mut found = client.lstat(place.clone()).await?;
        if self.files.settle(found.inode).await {
            found = client.lstat(place).await?;
        }
        Ok(self.files.seen(found))
    }

    pub(crate) async fn attributes(&self, user: &User, inode: INodeNo) -> Result<Attributes, Failure> {
        let inode = self.numbers.of_kernel(inode);
        if let Some(removed) = self.removed.lock().unwrap_or_else(PoisonError::into_inner).get(&inode) {
            return Ok(removed.clone());
        }
        self.files.settle(inode).await;
        Ok(self.files.seen(self.of(user).lstat(inode).await?))
    }

    pub(crate) async fn set_attributes(
        &self,
        user: &User,
        inode: INodeNo,
        wanted: AttributesWanted,
    ) -> Result<Attributes, Failure> {
        let AttributesWanted { mode, uid, gid, size, atime, mtime } = wanted;
        let number = self.numbers.of_kernel(inode);
        let open = self.files.of_inode(number);
        let mut resized = None;
        match (size, &open) {
            // As a write by anybody but the superuser, it takes privileges away.
            (Some(size), Some(file)) => resized = Some(file.truncate(size, self.clears_privileges(user.uid)).await?),
            (Some(size), None) => {
                let options = ContentOptions { clear_suid: user.uid != 0, ..ContentOptions::default() };
                resized = Some(self.of(user).truncate(number, size, options).await?);
            }
            // Times that are set now must not be overtaken by those of what was written before.
            (None, Some(file)) if atime.is_some() || mtime.is_some() => file.flush().await?,
            (None, _) => {}
        }
        if let Some(attributes) = resized
            && mode.is_none()
            && uid.is_none()
            && gid.is_none()
            && atime.is_none()
            && mtime.is_none()
        {
            return Ok(attributes);
        }
        if atime.is_some() {
            self.files.accesses.forget(number).await;
        }
        let given = |time: Option<TimeOrNow>| match time {
            Some(TimeOrNow::SpecificTime(time)) => Some(attributes::given(time)),
            Some(TimeOrNow::Now) | None => None,
        };
        // The present is the cluster's, and whoever may write may have both times set to it.
        let now = |time: Option<TimeOrNow>| matches!(time, Some(TimeOrNow::Now));
        let change = AttrChange {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            atime: given(atime),
            mtime: given(mtime),
            atime_now: now(atime),
            mtime_now: now(mtime),
            ..AttrChange::default()
        };
        Ok(self.files.seen(self.of(user).set_attr(number, change).await?))
    }

    pub(crate) async fn make_directory(
        &self,
        user: &User,
        parent: INodeNo,
        name: &[u8],
        new: NewObject,
    ) -> Result<Attributes, Failure> {
        let (uid, gid) = (Some(user.uid), Some(user.gid));
        let options = MkdirOptions { parents: false, mode: new.permissions(), umask: new.umask, uid, gid };
        Ok(self.of(user).mkdir(self.in_directory(parent, name)?, options).await?)
    }

    pub(crate) async fn symlink(
        &self,
        user: &User,
        parent: INodeNo,
        name: &[u8],
        target: Vec<u8>,
    ) -> Result<Attributes, Failure> {
        Ok(self.of(user).symlink(&target, self.in_directory(parent, name)?).await?)
    }

    pub(crate) async fn read_link(&self, user: &User, inode: INodeNo) -> Result<Vec<u8>, Failure> {
        Ok(self.of(user).read_link(self.numbers.of_kernel(inode)).await?)
    }

    pub(crate) async fn link(
        &self,
        user: &User,
        inode: INodeNo,
        parent: INodeNo,
        name: &[u8],
    ) -> Result<Attributes, Failure> {
        let place = self.in_directory(parent, name)?;
        let attributes = self.of(user).link(self.numbers.of_kernel(inode), place).await?;
        Ok(self.files.seen(attributes))
    }

    /// mknod(2): a FIFO, a socket, a device, or an empty file.
    pub(crate) async fn make_node(
        &self,
        user: &User,
        parent: INodeNo,
        name: &[u8],
        new: NewObject,
        device: u32,
    ) -> Result<Attributes, Failure> {
        let (client, place) = (self.of(user), self.in_directory(parent, name)?);
        let kind = match new.mode & libc::S_IFMT {
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFCHR => Kind::CharDevice,
            libc::S_IFBLK => Kind::BlockDevice,
            0 | libc::S_IFREG => {
                let options = CreateOptions { mode: new.permissions(), umask: new.umask, ..CreateOptions::default() };
                return Ok(client.put(place, bytes::Bytes::new(), options).await?);
            }
            _ => return Err(Errno::EINVAL.into()),
        };
        let options = NodeOptions { mode: new.permissions(), umask: new.umask, device: device.into() };
        Ok(client.mknod(place, kind, options).await?)
    }

    pub(crate) async fn remove(
        &self,
        user: &User,
        parent: INodeNo,
        name: &[u8],
        directory: bool,
    ) -> Result<(), Failure> {
        let client = self.of(user);
        let place = self.in_directory(parent, name)?;
        let found = client.lstat(place.clone()).await?;
        match (directory, found.is_directory()) {
            (false, true) => Err(Errno::EISDIR.into()),
            (true, false) => Err(Errno::ENOTDIR.into()),
            _ => {
                // Whoever has it open keeps it.
                self.files.holds.settle().await;
                client.delete(place, false).await?;
                if directory && self.is_open(found.inode) {
                    let removed = Attributes { links: 0, ..found };
                    self.removed.lock().unwrap_or_else(PoisonError::into_inner).insert(removed.inode, removed);
                }
                Ok(())
            }
        }
    }

    pub(crate) async fn rename(
        &self,
        user: &User,
        from: (INodeNo, &[u8]),
        to: (INodeNo, &[u8]),
        flags: RenameFlags,
    ) -> Result<(), Failure> {
        let client = self.of(user);
        let (from, to) = (self.in_directory(from.0, from.1)?, self.in_directory(to.0, to.1)?);
        // Whoever has open what is replaced keeps it.
        self.files.holds.settle().await;
        match flags {
            RenameFlags::RENAME_EXCHANGE => Ok(client.exchange(from, to).await?),
            RenameFlags::RENAME_NOREPLACE => Ok(client.rename(from, to, false).await?),
            flags if flags.is_empty() => Ok(client.rename(from, to, true).await?),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    pub(crate) fn open_directory(&self, user: User, inode: INodeNo) -> FileHandle {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let directory = Directory::new(self.numbers.of_kernel(inode));
        let open = OpenDirectory { directory, client: self.of(&user) };
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).insert(handle, Arc::new(open));
        FileHandle(handle)
    }

    pub(crate) fn close_directory(&self, handle: FileHandle) {
        let closed = self.directories.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
        if let Some(closed) = closed
            && !self.is_open(closed.directory.inode)
        {
            self.removed.lock().unwrap_or_else(PoisonError::into_inner).remove(&closed.directory.inode);
        }
    }

    fn is_open(&self, directory: InodeId) -> bool {
        let open = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().any(|open| open.directory.inode == directory)
    }

    /// Entries of an open directory, from where the kernel is.
    pub(crate) async fn read_directory(
        &self,
        coherence: &Arc<Coherence>,
        handle: FileHandle,
        from: u64,
        plus: bool,
    ) -> Result<Part, Failure> {
        let open = self.directories.lock().unwrap_or_else(PoisonError::into_inner).get(&handle.0).cloned();
        let open = open.ok_or(Errno::EBADF)?;
        open.directory.read(&open.client, coherence, from, plus).await
    }
}

/// A name that the kernel gave: it has no slashes, but may be too long.
fn name(bytes: &[u8]) -> Result<Name, Failure> {
    Name::new(bytes).map_err(|error| match error {
        types::PathError::NameTooLong { .. } | types::PathError::PathTooLong { .. } => Errno::ENAMETOOLONG.into(),
        types::PathError::EmptyName | types::PathError::DotName { .. } | types::PathError::BadByte => {
            Errno::EINVAL.into()
        }
    })
}
