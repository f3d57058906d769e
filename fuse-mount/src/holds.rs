//! Files that are open here, as the cluster knows them: a file that loses its last name lives on until it is closed.
//!
//! Opening does not wait for that to be known. What takes names away through this mount waits until everything is known that was
//! opened before ([`Holds::settle`]); another mount is slower than that. Closing is said some time later, many files at once.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::{Client, HandleOptions};
use tokio::sync::{Notify, watch};
use tracing::debug;
use types::{InodeId, SessionId};

/// Files closed within this time are told of at once.
const GATHER: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Holds {
    client: Client,
    state: Mutex<State>,
    closed: Notify,
    /// Everything below this number in [`State::next`] has been said.
    said: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<InodeId, Held>,
    /// To be told, by session.
    closed: HashMap<SessionId, Vec<(InodeId, u32)>>,
    /// The next `open` that is said by itself, and those that are being said.
    next: u64,
    unsaid: BTreeSet<u64>,
}

/// How often a file is open here, and under which session the cluster knows it.
#[derive(Debug, Default)]
struct Held {
    count: u32,
    known: Option<SessionId>,
}

impl Holds {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        let said = watch::Sender::new(0);
        let holds = Arc::new(Self { client, state: Mutex::default(), closed: Notify::new(), said });
        let teller = Arc::downgrade(&holds);
        tokio::spawn(async move {
            while let Some(holds) = teller.upgrade() {
                // Without news it looks from time to time whether it is still needed.
                let told = tokio::time::timeout(Duration::from_secs(10), holds.closed.notified()).await;
                if told.is_ok() {
                    tokio::time::sleep(GATHER).await;
                    holds.tell().await;
                }
            }
        });
        holds
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file is opened here; `known` if the cluster has been told by what opened it.
    pub(crate) fn open(self: &Arc<Self>, inode: InodeId, known: Option<SessionId>) {
        let number = {
            let mut state = self.lock();
            let held = state.held.entry(inode).or_default();
            held.count += 1;
            let first = held.count == 1;
            match known {
                // It is open twice for the cluster: once is enough.
                Some(session) if held.known.is_some() => {
                    state.closed.entry(session).or_default().push((inode, 1));
                    self.closed.notify_one();
                }
                Some(session) => held.known = Some(session),
                None => {}
            }
            if !first || known.is_some() {
                return;
            }
            let number = state.next;
            state.next += 1;
            state.unsaid.insert(number);
            number
        };
        let holds = self.clone();
        tokio::spawn(async move {
            match holds.client.open_handle(inode, HandleOptions::default()).await {
                Ok((_, session)) => holds.known(inode, session),
                // It was removed before it could be said: whoever reads it finds out.
                Err(error) => debug!(%inode, %error, "an open file is not held"),
            }
            let mut state = holds.lock();
            state.unsaid.remove(&number);
            let below = state.unsaid.first().copied().unwrap_or(state.next);
            // Under the lock, so that it never runs backwards.
            holds.said.send_replace(below);
        });
    }

    /// Waits until the cluster knows of every file that was opened here before.
    pub(crate) async fn settle(&self) {
        let next = self.lock().next;
        let mut said = self.said.subscribe();
        said.wait_for(|below| *below >= next).await.expect("the sender is in this");
    }

    fn known(&self, inode: InodeId, session: SessionId) {
        let mut state = self.lock();
        match state.held.get_mut(&inode) {
            Some(held) if held.known.is_none() => held.known = Some(session),
            // Closed, or told by another, meanwhile.
            _ => {
                state.closed.entry(session).or_default().push((inode, 1));
                self.closed.notify_one();
            }
        }
    }

    /// One handle of a file is closed here.
    pub(crate) fn close(&self, inode: InodeId) {
        let mut state = self.lock();
        let Some(held) = state.held.get_mut(&inode) else { return };
        held.count -= 1;
        if held.count > 0 {
            return;
        }
        let held = state.held.remove(&inode).expect("just seen");
        if let Some(session) = held.known {
            state.closed.entry(session).or_default().push((inode, 1));
            self.closed.notify_one();
        }
    }

    async fn tell(&self) {
        let closed = mem::take(&mut self.lock().closed);
        for (session, files) in closed {
            if let Err(error) = self.client.close_handles(session, &files).await {
                // They are closed with the session at the latest.
                debug!(%error, files = files.len(), "closed files were not told of");
            }
        }
    }
}
