//! Files that are open here, as the cluster knows them: a file that loses its last name lives on until it is closed.
//!
//! Opening does not wait for that to be known: it is said at once, or as soon as what was opened before is known, if the file is
//! still open then. What takes names away through this mount waits until everything is known that was opened before
//! ([`Holds::settle`]); another mount is slower than that. Closing is said some time later, many files at once.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::{Client, HandleOptions};
use futures::{StreamExt as _, stream};
use tokio::sync::{Notify, watch};
use tracing::debug;
use types::{InodeId, SessionId};

/// Files closed within this time are told of at once.
const GATHER: Duration = Duration::from_millis(100);
/// Opened files that are being said.
const AT_ONCE: usize = 256;
/// Without news it is looked from time to time whether anybody is still there to be told for.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Holds {
    client: Client,
    state: Mutex<State>,
    closed: Notify,
    opened: Notify,
    /// Everything below this number in [`State::next`] has been said.
    said: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<InodeId, Held>,
    /// To be told, by session.
    closed: HashMap<SessionId, Vec<(InodeId, u32)>>,
    /// To be told, and the number of the next that will be.
    opened: VecDeque<InodeId>,
    next: u64,
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
        let (closed, opened) = (Notify::new(), Notify::new());
        let holds = Arc::new(Self { client, state: Mutex::default(), closed, opened, said });
        let (closed, opened) = (Arc::downgrade(&holds), Arc::downgrade(&holds));
        tokio::spawn(async move {
            while let Some(holds) = closed.upgrade() {
                if tokio::time::timeout(IDLE, holds.closed.notified()).await.is_ok() {
                    tokio::time::sleep(GATHER).await;
                    holds.tell_closed().await;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(holds) = opened.upgrade() {
                if tokio::time::timeout(IDLE, holds.opened.notified()).await.is_ok() {
                    holds.tell_opened().await;
                }
            }
        });
        holds
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file is opened here; `known` if the cluster has been told by what opened it.
    pub(crate) fn open(&self, inode: InodeId, known: Option<SessionId>) {
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
            None if first => {
                state.opened.push_back(inode);
                state.next += 1;
                self.opened.notify_one();
            }
            None => {}
        }
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

    /// Says what was opened until now.
    async fn tell_opened(&self) {
        let (opened, next) = {
            let mut state = self.lock();
            (mem::take(&mut state.opened), state.next)
        };
        let say = |inode| async move {
            // What was closed again need not be known, nor what another told meanwhile.
            if self.lock().held.get(&inode).is_none_or(|held| held.known.is_some()) {
                return;
            }
            match self.client.open_handle(inode, HandleOptions::default()).await {
                Ok((_, session)) => self.known(inode, session),
                // It was removed before it could be said: whoever reads it finds out.
                Err(error) => debug!(%inode, %error, "an open file is not held"),
            }
        };
        stream::iter(opened).map(say).buffer_unordered(AT_ONCE).collect::<()>().await;
        self.said.send_replace(next);
    }

    async fn tell_closed(&self) {
        let closed = mem::take(&mut self.lock().closed);
        for (session, files) in closed {
            if let Err(error) = self.client.close_handles(session, &files).await {
                // They are closed with the session at the latest.
                debug!(%error, files = files.len(), "closed files were not told of");
            }
        }
    }
}
