//! Data that goes to the end of a file, wherever that is when the cluster puts it there.
//!
//! It is on its way at once. What programs append meanwhile gathers, and follows with the next commit: however many short
//! lines a program writes, each commit takes all that are there.
//!
//! Invariants:
//! 1. What one call appends is in one piece, and follows what was appended before through this mount.
//! 2. What was written elsewhere in the file before is in the cluster first, and what is written elsewhere later waits until
//!    what was appended is: at the end of the file as it was then.
//! 3. What is gathered has its permits of the budget.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use client::ContentOptions;
use tracing::warn;
use types::Timestamp;

use crate::errno::Failure;
use crate::file::File;

/// What one commit takes, unless a single call brings more: a block of a good size.
const AT_ONCE: usize = 4 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    gathered: BytesMut,
    clear_suid: bool,
    /// Calls taken in so far, and those of `gathered` among them.
    taken: u64,
    calls: u64,
    /// Bytes on their way.
    under_way: u64,
    /// A task takes what is gathered.
    is_running: bool,
}

/// What one commit takes.
struct Part {
    data: Bytes,
    calls: u64,
    clear_suid: bool,
}

impl Appends {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// That are not known to be in the cluster.
    pub(crate) fn bytes(&self) -> u64 {
        self.gathered.len() as u64 + self.under_way
    }

    /// How many calls were taken in.
    fn taken(&self) -> u64 {
        self.taken
    }

    /// Gathers what a call brings. True: somebody is to carry it off.
    fn gather(&mut self, data: &[u8], clear_suid: bool) -> bool {
        self.gathered.extend_from_slice(data);
        self.clear_suid |= clear_suid;
        self.taken += 1;
        self.calls += 1;
        !std::mem::replace(&mut self.is_running, true)
    }

    /// Everything that is gathered. Nothing: whoever asks need not ask again.
    fn take(&mut self) -> Option<Part> {
        if self.calls == 0 {
            self.is_running = false;
            return None;
        }
        let data = self.gathered.split().freeze();
        self.under_way = data.len() as u64;
        let (calls, clear_suid) = (std::mem::take(&mut self.calls), std::mem::take(&mut self.clear_suid));
        Some(Part { data, calls, clear_suid })
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= AT_ONCE
    }
}

impl File {
    /// Takes in what is to go to the end of the file. Waits for memory.
    pub(crate) async fn append(self: &Arc<Self>, data: &[u8], clear_suid: bool) -> Result<(), Failure> {
        if self.lock().appends.is_full() {
            self.settle().await;
        }
        self.write_back.reserve(data.len()).await?;
        let is_idle = {
            let mut state = self.lock();
            if let Some(errno) = state.failed {
                self.write_back.give_back(data.len() as u64);
                return Err(errno.into());
            }
            state.written = Some(SystemTime::now());
            state.dirty_since.get_or_insert_with(Instant::now);
            state.appends.gather(data, clear_suid)
        };
        self.write_back.note(self);
        if is_idle {
            let file = self.clone();
            self.write_back.spawn(async move { file.carry_off().await });
        }
        Ok(())
    }

    /// Waits until what was appended so far is in the cluster, or given up. Tells whether there was anything.
    pub(crate) async fn settle(&self) -> bool {
        let taken = self.lock().appends.taken();
        let mut appended = self.appended.subscribe();
        if *appended.borrow_and_update() >= taken {
            return false;
        }
        appended.wait_for(|appended| *appended >= taken).await.expect("the sender is in this file");
        true
    }

    /// Commits what is gathered, again and again, until there is nothing.
    async fn carry_off(self: &Arc<Self>) {
        loop {
            let (part, written) = {
                let mut state = self.lock();
                let Some(part) = state.appends.take() else { return };
                (part, state.written)
            };
            let bytes = part.data.len() as u64;
            let options =
                ContentOptions { mtime: written.map(Timestamp::from), clear_suid: part.clear_suid, durability: None };
            let appended = async {
                self.flush_runs().await?;
                Ok::<_, Failure>(self.client.append_whole(self.inode, part.data, options).await?)
            };
            let appended = appended.await;
            {
                let mut state = self.lock();
                state.let_go();
                state.appends.under_way = 0;
                match appended {
                    Ok(written) => state.told(written.attributes),
                    Err(failure) => {
                        warn!(inode = %self.inode, bytes, ?failure, "appended data could not be stored");
                        self.fail(&mut state, &failure);
                    }
                }
                state.settled();
            }
            self.write_back.give_back(bytes);
            self.changed();
            self.appended.send_modify(|appended| *appended += part.calls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_during_a_commit_goes_with_the_next_in_its_order() {
        let mut appends = Appends::default();
        assert!(appends.gather(b"one ", false), "somebody is to be sent");
        let first = appends.take().expect("there is something");
        assert!(!appends.gather(b"two ", true) && !appends.gather(b"three", false), "and is on the way");
        assert_eq!((&first.data[..], first.calls, first.clear_suid), (&b"one "[..], 1, false));
        assert_eq!((appends.bytes(), appends.taken()), (13, 3));
        let second = appends.take().expect("there is more");
        assert_eq!((&second.data[..], second.calls, second.clear_suid), (&b"two three"[..], 2, true));
        assert!(appends.take().is_none());
        assert!(appends.gather(b"four", false), "nobody is on the way any more");
    }
}
