//! Open files: what the kernel's handles stand for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use client::{Attributes, Client, FileReader};
use fuser::{Errno, FileHandle};
use types::InodeId;

use crate::accesses::Accesses;
use crate::coherence::{Coherence, Ticket};
use crate::errno::Failure;
use crate::file::File;
use crate::holds::Holds;
use crate::io::Flags;
use crate::locks::Locks;
use crate::options::Options;
use crate::write_back::WriteBack;

/// One `open` of a file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: Arc<File>,
    /// The kernel was told to leave its page cache alone.
    pub(crate) direct: bool,
    /// Reads through it change the access time.
    pub(crate) notes: bool,
}

#[derive(Debug)]
pub(crate) struct Files {
    pub(super) client: Client,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) write_back: Arc<WriteBack>,
    /// Whether access times are kept up at all.
    notes: bool,
    open: Mutex<HashMap<u64, Arc<OpenFile>>>,
    by_inode: Mutex<HashMap<InodeId, Weak<File>>>,
    next_handle: AtomicU64,
    pub(crate) holds: Arc<Holds>,
    pub(crate) accesses: Arc<Accesses>,
    pub(crate) locks: Locks,
}

impl Files {
    pub(crate) fn new(client: Client, coherence: Arc<Coherence>, options: &Options) -> Self {
        Self {
            holds: Holds::new(client.clone()),
            accesses: Accesses::new(client.clone()),
            locks: Locks::new(client.clone()),
            client,
            coherence,
            write_back: WriteBack::new(options.write_memory),
            notes: options.access_times && !options.read_only,
            open: Mutex::default(),
            by_inode: Mutex::default(),
            next_handle: AtomicU64::new(1),
        }
    }

    /// The file, if a handle of it is open here.
    pub(crate) fn of_inode(&self, inode: InodeId) -> Option<Arc<File>> {
        self.by_inode.lock().unwrap_or_else(PoisonError::into_inner).get(&inode).and_then(Weak::upgrade)
    }

    /// `attributes` as the cluster told them, with what is dirty here on top.
    pub(crate) fn seen(&self, attributes: Attributes) -> Attributes {
        let attributes = self.accesses.seen(attributes);
        match self.of_inode(attributes.inode) {
            Some(file) => file.seen(attributes),
            None => attributes,
        }
    }

    /// Waits until what was appended to an open file is in the cluster. Tells whether there was anything.
    pub(crate) async fn settle(&self, inode: InodeId) -> bool {
        match self.of_inode(inode) {
            Some(file) => file.settle().await,
            None => false,
        }
    }

    /// A handle of a file; with what is known of its content, if that was asked for.
    pub(crate) fn open(
        &self,
        attributes: Attributes,
        reader: Option<(FileReader, Ticket)>,
        flags: Flags,
    ) -> FileHandle {
        let inode = attributes.inode;
        let file = {
            let mut by_inode = self.by_inode.lock().unwrap_or_else(PoisonError::into_inner);
            match by_inode.get(&inode).and_then(Weak::upgrade) {
                Some(file) => file,
                None => {
                    let file = File::new(
                        self.client.clone(),
                        self.coherence.clone(),
                        self.write_back.clone(),
                        attributes.clone(),
                    );
                    by_inode.insert(inode, Arc::downgrade(&file));
                    file
                }
            }
        };
        file.seen(attributes);
        if let Some((reader, ticket)) = reader {
            file.opened(reader, ticket);
        }
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let open = Arc::new(OpenFile { file, direct: flags.direct(), notes: self.notes && !flags.unnoted() });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(handle, open);
        FileHandle(handle)
    }

    pub(crate) fn handle(&self, handle: FileHandle) -> Result<Arc<OpenFile>, Failure> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&handle.0).cloned().ok_or_else(|| Errno::EBADF.into())
    }

    /// A handle is gone. Gives the file when it was the last one.
    pub(crate) fn close(&self, handle: FileHandle) {
        let closed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
        let Some(closed) = closed else { return };
        let inode = closed.file.inode;
        drop(closed);
        let mut by_inode = self.by_inode.lock().unwrap_or_else(PoisonError::into_inner);
        if by_inode.get(&inode).is_some_and(|file| file.strong_count() == 0) {
            by_inode.remove(&inode);
        }
    }
}
