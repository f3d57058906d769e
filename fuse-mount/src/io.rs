//! What is done with open files.

use client::{Attributes, Client, ContentOptions, HandleOptions, NewHandleFile};
use fuser::{Errno, FileHandle, LockOwner};
use types::{InodeId, MAX_FILE, Name};

use crate::coherence::Ticket;
use crate::errno::Failure;
use crate::files::Files;

/// Flags of open(2), as the kernel passes them on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags(pub(crate) i32);

impl Flags {
    fn has(self, flag: i32) -> bool {
        self.0 & flag == flag
    }

    pub(crate) fn append(self) -> bool {
        self.has(libc::O_APPEND)
    }

    pub(crate) fn sync(self) -> bool {
        // O_SYNC includes O_DSYNC.
        self.has(libc::O_DSYNC)
    }

    pub(crate) fn truncate(self) -> bool {
        self.has(libc::O_TRUNC)
    }

    pub(crate) fn reads(self) -> bool {
        self.0 & libc::O_ACCMODE != libc::O_WRONLY
    }

    /// Reads are to leave the access time alone.
    pub(crate) fn unnoted(self) -> bool {
        self.has(libc::O_NOATIME)
    }

    pub(crate) fn exclusive(self) -> bool {
        self.has(libc::O_EXCL)
    }

    /// Whether the kernel is to leave the page cache alone: its idea of the end of the file would be wrong for appends.
    pub(crate) fn direct(self) -> bool {
        self.has(libc::O_DIRECT) || self.append()
    }
}

/// What one call copies at most: the reply counts in 32 bits.
const MAX_COPY: u64 = 1 << 30;

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).expect("files are shorter than 2^63")
}

/// What a write carries besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteTerms {
    /// Of the descriptor as they are now: fcntl(2) may have changed them since it was opened.
    pub(crate) flags: Flags,
    /// The kernel writes pages that were changed through a mapping, by whatever handle of the file it finds: the flags of
    /// that mean nothing.
    pub(crate) from_pages: bool,
    /// The writer may not keep setuid and setgid on the file.
    pub(crate) clear_suid: bool,
}

impl Files {
    /// With `clear_suid`, emptying the file takes setuid and setgid away.
    pub(crate) async fn open_file(
        &self,
        client: Client,
        inode: InodeId,
        (flags, clear_suid): (Flags, bool),
        ticket: Ticket,
    ) -> Result<FileHandle, Failure> {
        self.settle(inode).await;
        let (attributes, reader) = if flags.truncate() {
            let truncated = match self.of_inode(inode) {
                Some(file) => file.truncate(0, clear_suid).await?,
                None => {
                    let options = ContentOptions { clear_suid, ..ContentOptions::default() };
                    let truncated = client.truncate(inode, 0, options).await?;
                    if clear_suid {
                        self.coherence.changed_here(inode);
                    }
                    truncated
                }
            };
            (truncated, None)
        } else if flags.reads() {
            // One question for the attributes, and for a short file's content or a long one's map.
            let reader = client.open(inode).await?;
            (reader.attributes().clone(), Some((reader, ticket)))
        } else {
            (client.lstat(inode).await?, None)
        };
        if attributes.is_directory() {
            return Err(Errno::EISDIR.into());
        }
        self.holds.open(inode, None);
        Ok(self.open(attributes, reader, flags))
    }

    pub(crate) async fn create_file(
        &self,
        client: &Client,
        place: (InodeId, Name),
        new: NewHandleFile,
        flags: Flags,
    ) -> Result<(Attributes, FileHandle), Failure> {
        let create = Some(NewHandleFile { exclusive: flags.exclusive(), ..new });
        let (mut attributes, session) =
            client.open_handle(place, HandleOptions { read: false, write: false, create }).await?;
        self.holds.open(attributes.inode, Some(session));
        if flags.truncate() {
            // It was there already, made by another machine since the kernel asked, or only what is dirty here has a length.
            match self.of_inode(attributes.inode) {
                Some(file) => attributes = file.truncate(0, false).await?,
                None if attributes.length.get() > 0 => {
                    attributes = client.truncate(attributes.inode, 0, ContentOptions::default()).await?;
                }
                None => {}
            }
        }
        let handle = self.open(attributes.clone(), None, flags);
        Ok((attributes, handle))
    }

    pub(crate) async fn read(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Failure> {
        let open = self.handle(handle)?;
        let mut buffer = vec![0; size as usize];
        let filled = open.file.read(offset, &mut buffer).await?;
        buffer.truncate(filled);
        if open.notes && size > 0 {
            open.file.note_read(&self.accesses);
        }
        Ok(buffer)
    }

    /// Tells how many bytes were taken in: fewer only at the end of the longest file.
    pub(crate) async fn write(
        &self,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        terms: WriteTerms,
    ) -> Result<u32, Failure> {
        let open = self.handle(handle)?;
        let room = usize::try_from(MAX_FILE.get().saturating_sub(offset)).unwrap_or(usize::MAX);
        if room == 0 && !data.is_empty() {
            return Err(Errno::EFBIG.into());
        }
        let data = &data[..data.len().min(room)];
        if terms.flags.append() && !terms.from_pages {
            open.file.append(data, terms.clear_suid).await?;
            if !open.direct {
                // The kernel has put it into its pages, at the end that it knew.
                self.coherence.misplaced(open.file.inode);
            }
        } else {
            open.file.write(offset, data, terms.clear_suid).await?;
        }
        // What a program may not keep it loses with the write, on every machine, as on a local disk.
        if terms.flags.sync() || (terms.clear_suid && open.file.has_privileges()) {
            open.file.flush().await?;
        }
        Ok(u32::try_from(data.len()).expect("the kernel writes at most MAX_IO"))
    }

    /// A descriptor of the handle is closed: everything is written, and what its process had locked is free.
    pub(crate) async fn flush(&self, handle: FileHandle, owner: LockOwner) -> Result<(), Failure> {
        let open = self.handle(handle)?;
        self.locks.closed(open.file.inode, owner.0).await;
        open.file.flush().await
    }

    pub(crate) async fn sync(&self, handle: FileHandle) -> Result<(), Failure> {
        self.handle(handle)?.file.flush().await
    }

    /// The last descriptor of the handle is closed. What its flushes told is told already.
    pub(crate) async fn release(&self, handle: FileHandle, owner: Option<LockOwner>) -> Result<(), Failure> {
        let open = self.handle(handle)?;
        let inode = open.file.inode;
        if let Some(owner) = owner {
            self.locks.closed(inode, owner.0).await;
        }
        drop(open);
        self.locks.handle_closed(inode, handle.0).await;
        self.close(handle);
        self.holds.close(inode);
        Ok(())
    }

    /// fallocate(2). Room is not reserved: what is asked for beyond the end becomes a hole.
    pub(crate) async fn allocate(
        &self,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        clear_suid: bool,
    ) -> Result<(), Failure> {
        let file = &self.handle(handle)?.file;
        let end = offset.checked_add(length).filter(|_| length > 0).ok_or(Errno::EINVAL)?;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => {}
            libc::FALLOC_FL_PUNCH_HOLE if keep => return file.punch(offset, length, clear_suid).await,
            libc::FALLOC_FL_ZERO_RANGE => file.punch(offset, length, clear_suid).await?,
            _ => return Err(Errno::EOPNOTSUPP.into()),
        }
        // It is a change of the file even where nothing is added.
        if keep { file.touch().await } else { file.extend(end, clear_suid).await }
    }

    /// lseek(2) to data or to a hole.
    pub(crate) async fn seek(&self, handle: FileHandle, offset: i64, whence: i32) -> Result<i64, Failure> {
        let file = &self.handle(handle)?.file;
        let mut at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        loop {
            let map = file.extents(at).await?;
            let length = map.attributes.length.get();
            if at >= length {
                return Err(Errno::ENXIO.into());
            }
            for (start, size) in &map.data {
                let (start, end) = (*start, start + size);
                match whence {
                    libc::SEEK_DATA if end > at => return Ok(signed(start.max(at))),
                    libc::SEEK_HOLE if start > at => return Ok(signed(at)),
                    libc::SEEK_HOLE => at = at.max(end),
                    libc::SEEK_DATA => {}
                    _ => return Err(Errno::EINVAL.into()),
                }
            }
            match (whence, map.more) {
                (_, true) => at = at.max(map.data.last().map_or(at, |(start, size)| start + size)),
                (libc::SEEK_HOLE, false) => return Ok(signed(at.min(length))),
                (_, false) => return Err(Errno::ENXIO.into()),
            }
        }
    }

    /// copy_file_range(2), without copying.
    pub(crate) async fn copy(
        &self,
        (from, offset): (FileHandle, u64),
        (to, to_offset): (FileHandle, u64),
        length: u64,
        clear_suid: bool,
    ) -> Result<u32, Failure> {
        let (from, to) = (self.handle(from)?, self.handle(to)?);
        let length = from.file.length().saturating_sub(offset).min(length).min(MAX_COPY);
        if length > 0 {
            to.file.clone_from(&from.file, (offset, length), to_offset, clear_suid).await?;
        }
        Ok(u32::try_from(length).expect("it is at most MAX_COPY"))
    }
}
