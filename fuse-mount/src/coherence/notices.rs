//! What the kernel is told to drop, besides attributes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Weak;

use fuser::Notifier;
use tokio::sync::mpsc;
use tracing::debug;
use types::InodeId;

use super::Coherence;
use super::kept::Slot;

/// Notices on their way to the kernel.
pub(super) const NOTICES: usize = 1 << 12;

/// What the kernel is to drop, besides attributes. It waits for requests that are under way, so it is told by threads that
/// serve none.
#[derive(Debug)]
pub(super) enum Notice {
    Name(Slot),
    Pages(InodeId),
    /// The kernel has dropped everything that was said before this: it need not be watched any more.
    Unwatch(InodeId),
}

/// What [`Coherence::serve`] passes on.
#[derive(Debug)]
pub(crate) struct Notices {
    pub(super) names: mpsc::Receiver<Notice>,
    pub(super) pages: mpsc::Receiver<Notice>,
}

/// Tells the kernel what to drop, until nothing is mounted any more. Each waits for requests under way on what it names.
pub(super) fn pass_on(mut notices: mpsc::Receiver<Notice>, notifier: &Notifier, coherence: &Weak<Coherence>) {
    while let Some(notice) = notices.blocking_recv() {
        let Some(coherence) = coherence.upgrade() else { return };
        let numbers = coherence.numbers;
        let passed = match &notice {
            Notice::Name(slot) => {
                notifier.inval_entry(numbers.to_kernel(slot.directory), OsStr::from_bytes(&slot.name))
            }
            Notice::Pages(inode) => notifier.inval_inode(numbers.to_kernel(*inode), 0, 0),
            Notice::Unwatch(directory) => {
                coherence.unwatch(*directory);
                Ok(())
            }
        };
        match passed {
            Ok(()) => {}
            // A directory that cannot be dropped now, somewhere above what is in use, is looked up again anyway.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EBUSY | libc::ENOTDIR)) => {}
            Err(error) => {
                debug!(?notice, %error, "nothing is mounted any more");
                return;
            }
        }
    }
}
