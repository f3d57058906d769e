//! Locks of fcntl(2) and flock(2), which hold across all mounts.
//!
//! The kernel does not say which of the two a request is: the system call that its thread is in does. Nor does it tell a
//! daemon that a waiting thread was sent a signal: that is looked up while it waits.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::{Client, LockFamily, LockKind, LockRequest};
use fuser::Errno;
use tracing::debug;
use types::InodeId;

use crate::errno::Failure;

/// How often a thread that waits is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A lock as the kernel asks for it; the last byte is included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) owner: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) kind: i32,
    pub(crate) pid: u32,
    /// Which asks.
    pub(crate) thread: u32,
}

/// What stands in the way of a lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conflict {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) kind: i32,
    pub(crate) pid: u32,
}

#[derive(Debug)]
pub(crate) struct Locks {
    client: Client,
    /// Owners that may hold locks, and the handles through which they took them.
    taken: Mutex<HashMap<(InodeId, u64), HashSet<u64>>>,
}

impl Locks {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, taken: Mutex::default() }
    }

    pub(crate) async fn set(&self, inode: InodeId, handle: u64, wish: Wish, wait: bool) -> Result<(), Failure> {
        let request = request(&wish)?;
        if request.kind.is_some() {
            // Before it is asked for: what is granted must be released, whatever becomes of the answer.
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.entry((inode, wish.owner)).or_default().insert(handle);
        }
        if wait && request.kind.is_some() {
            self.client.lock_wait(inode, request, signalled(wish.thread)).await?;
        } else {
            self.client.lock(inode, request).await?;
        }
        Ok(())
    }

    pub(crate) async fn test(&self, inode: InodeId, wish: Wish) -> Result<Option<Conflict>, Failure> {
        let held = self.client.test_lock(inode, request(&wish)?).await?;
        Ok(held.map(|held| Conflict {
            first: held.first,
            last: held.last.min(i64::MAX as u64),
            kind: match held.kind {
                LockKind::Read => libc::F_RDLCK,
                LockKind::Write => libc::F_WRLCK,
            },
            pid: held.pid,
        }))
    }

    /// A process has closed a descriptor of the file: its locks on it are gone.
    pub(crate) async fn closed(&self, inode: InodeId, owner: u64) {
        let had = self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&(inode, owner)).is_some();
        if had {
            self.release(inode, owner).await;
        }
    }

    /// A handle is gone: so is what was locked through it, even by owners that the kernel does not tell of.
    pub(crate) async fn handle_closed(&self, inode: InodeId, handle: u64) {
        let owners: Vec<u64> = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let of_handle =
                |key: &(InodeId, u64), handles: &mut HashSet<u64>| key.0 == inode && handles.contains(&handle);
            taken.extract_if(of_handle).map(|((_, owner), _)| owner).collect()
        };
        for owner in owners {
            self.release(inode, owner).await;
        }
    }

    async fn release(&self, inode: InodeId, owner: u64) {
        if let Err(error) = self.client.release_locks(inode, owner).await {
            // They go with the session at the latest.
            debug!(%inode, owner, %error, "locks were not released");
        }
    }
}

fn request(wish: &Wish) -> Result<LockRequest, Failure> {
    let kind = match wish.kind {
        libc::F_RDLCK => Some(LockKind::Read),
        libc::F_WRLCK => Some(LockKind::Write),
        libc::F_UNLCK => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let family = if is_flock(wish.thread) { LockFamily::Whole } else { LockFamily::Ranges };
    // The kernel's end of everything.
    let last = if wish.last >= i64::MAX as u64 { u64::MAX } else { wish.last };
    Ok(LockRequest { owner: wish.owner, family, first: wish.first, last, kind, pid: wish.pid })
}

/// Whether the thread is in flock(2).
fn is_flock(thread: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(&libc::SYS_flock.to_string())
}

/// Waits until a thread has a signal to take care of, or is gone.
async fn signalled(thread: u32) {
    while !is_signalled(thread) {
        tokio::time::sleep(LOOK).await;
    }
}

fn is_signalled(thread: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{thread}/status")) else { return true };
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0)
    };
    (mask("SigPnd:") | mask("ShdPnd:")) & !mask("SigBlk:") & !mask("SigIgn:") != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_gone_waits_for_nothing() {
        assert!(is_signalled(u32::MAX));
        assert!(!is_signalled(std::process::id()));
        assert!(!is_flock(std::process::id()));
    }
}
