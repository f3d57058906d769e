//! Being told of changes that others make. For those who cache what they read.
//!
//! 1. A change that is made after [`Watcher::watch`] has answered is told, or [`Event::Everything`] is.
//! 2. After a lost stream, all that was watched is watched again, and then [`Event::Everything`] is told.
//! 3. What waits to be taken is bounded: past that it becomes [`Event::Everything`].
//! 4. What this client itself changes, under its present session, is not told.
//!
//! An answer can be older than a change that is told before it arrives. Whoever keeps answers keeps none that was asked for
//! before the last event of its inode was taken and arrived after it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use futures::{StreamExt, stream};
use proto::v1;
use proto::v1::change::What;
use proto::v1::op::Kind as Op;
use tokio::sync::Notify;
use types::InodeId;

use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::store::Client;

/// Inodes with changes, and names and children in them, that wait to be taken by one watcher.
const PENDING: usize = 4096;
/// Operations under way while everything is watched again.
const AT_ONCE: usize = 256;

/// What others did to inodes that are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Changed(Changed),
    /// More than can be listed: anything that is watched may have changed.
    Everything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub inode: InodeId,
    /// In a directory: names that came, went, or stand for something else, in order.
    pub names: Vec<Vec<u8>>,
    pub attributes: bool,
    /// The bytes of a file. Then `attributes` is set too.
    pub content: bool,
    /// Of a directory: what has, or just had, a name there and is no directory itself, in order. A watch on a directory is
    /// one on all of these that have at most [`types::WATCHED_NAMES`] names.
    pub children: Vec<ChangedChild>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedChild {
    pub inode: InodeId,
    /// Its bytes, and not only its attributes.
    pub content: bool,
}

/// Told of the changes of some inodes. One task takes the events; any may watch and unwatch.
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    number: u64,
    wake: Arc<Notify>,
}

impl Client {
    /// A watcher that watches nothing yet.
    pub fn watcher(&self) -> Watcher {
        let wake = Arc::new(Notify::new());
        let number = self.0.metadata.watching().began(wake.clone());
        Watcher { client: self.clone(), number, wake }
    }
}

impl Watcher {
    fn metadata(&self) -> &Metadata {
        &self.client.0.metadata
    }

    /// Tells of changes of this inode from the answer on. [`types::Code::NoSpace`]: too many are watched; unwatch some first.
    pub async fn watch(&self, inode: InodeId) -> Result<(), Error> {
        self.metadata().watching().add(self.number, inode);
        let asked = ask(self.metadata(), inode).await;
        if asked.is_err() {
            self.metadata().watching().remove(self.number, inode);
        }
        asked.map_err(|fault| Error::new("watch", inode, fault))
    }

    /// Tells of it no more.
    pub async fn unwatch(&self, inode: InodeId) -> Result<(), Error> {
        let watching = self.metadata().watching();
        if watching.remove(self.number, inode) {
            forget(self.metadata(), inode).await.map_err(|fault| Error::new("unwatch", inode, fault))?;
        }
        Ok(())
    }

    /// The next event; none once the client is closed. May be dropped while it waits: nothing is lost.
    pub async fn next(&self) -> Option<Event> {
        loop {
            match self.metadata().watching().next(self.number) {
                Next::Event(event) => return Some(event),
                Next::NewStream { stream, inodes } => {
                    // Any other failure: it is begun again, on whatever stream there is then.
                    if let Err(Fault::Closed) = self.watch_again(stream, inodes).await {
                        return None;
                    }
                }
                Next::Nothing => tokio::select! {
                    () = self.metadata().closed() => return None,
                    () = self.wake.notified() => {}
                },
            }
        }
    }

    /// Invariant 2. Dropped halfway, or overtaken by another stream, it is begun again.
    async fn watch_again(&self, number: u64, inodes: Vec<InodeId>) -> Result<(), Fault> {
        let asked = stream::iter(inodes).map(|inode| async move { (inode, ask(self.metadata(), inode).await) });
        let mut asked = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
        let watching = self.metadata().watching();
        while let Some((inode, answer)) = asked.next().await {
            match answer {
                Ok(()) if watching.wants(inode) => {}
                // Unwatched meanwhile, and that may have come first.
                Ok(()) => forget(self.metadata(), inode).await?,
                // It is gone, or is not for this user any more: there is nothing to be told of it.
                Err(Fault::Refused { .. }) => drop(watching.remove(self.number, inode)),
                Err(fault) => return Err(fault),
            }
        }
        watching.watched_again(self.number, number);
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let watched = self.metadata().watching().ended(self.number);
        if watched.is_empty() {
            return;
        }
        let metadata = self.metadata().clone();
        // Without a runtime the connection is gone too, and what it watched with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for inode in watched {
                    if forget(&metadata, inode).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}

async fn ask(metadata: &Metadata, inode: InodeId) -> Result<(), Fault> {
    metadata.call(Op::Watch(v1::Watch { inode: inode.get() }), Scope::Read).await.map(drop)
}

/// Nobody wanted to know of it any more. Who began to meanwhile may have been overtaken: then it is watched again.
async fn forget(metadata: &Metadata, inode: InodeId) -> Result<(), Fault> {
    metadata.call(Op::Unwatch(v1::Unwatch { inode: inode.get() }), Scope::Read).await?;
    if metadata.watching().wants(inode) {
        match ask(metadata, inode).await {
            Ok(()) | Err(Fault::Refused { .. }) => metadata.watching().doubt(inode),
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// What the watchers of a client watch, and what they have not taken yet. The connection tells it.
#[derive(Debug, Default)]
pub(crate) struct Watching(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many there have been.
    streams: u64,
    /// The number of the next watcher.
    next: u64,
    watchers: BTreeMap<u64, Wanted>,
    by_inode: HashMap<InodeId, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Wanted {
    /// The stream on which all inodes are watched.
    stream: u64,
    inodes: BTreeSet<InodeId>,
    pending: BTreeMap<InodeId, Pending>,
    /// Inodes, names and children in `pending`.
    size: usize,
    everything: bool,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Pending {
    names: BTreeSet<Vec<u8>>,
    attributes: bool,
    content: bool,
    /// And whether their content changed.
    children: BTreeMap<InodeId, bool>,
}

impl Pending {
    fn size(&self) -> usize {
        1 + self.names.len() + self.children.len()
    }
}

enum Next {
    Event(Event),
    /// All of this is to be watched on the new stream first.
    NewStream {
        stream: u64,
        inodes: Vec<InodeId>,
    },
    Nothing,
}

impl Watching {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn began(&self, wake: Arc<Notify>) -> u64 {
        let mut state = self.state();
        let (number, stream) = (state.next, state.streams);
        state.next += 1;
        let (inodes, pending) = (BTreeSet::new(), BTreeMap::new());
        state.watchers.insert(number, Wanted { stream, inodes, pending, size: 0, everything: false, wake });
        number
    }

    /// What only this watcher watched.
    fn ended(&self, watcher: u64) -> Vec<InodeId> {
        let mut state = self.state();
        let Some(ended) = state.watchers.remove(&watcher) else { return Vec::new() };
        ended.inodes.into_iter().filter(|inode| state.forget(watcher, *inode)).collect()
    }

    fn add(&self, watcher: u64, inode: InodeId) {
        let mut state = self.state();
        state.by_inode.entry(inode).or_default().insert(watcher);
        state.watchers.get_mut(&watcher).expect("it is dropped last").inodes.insert(inode);
    }

    /// Whether nobody watches it any more.
    fn remove(&self, watcher: u64, inode: InodeId) -> bool {
        let mut state = self.state();
        let wanted = state.watchers.get_mut(&watcher).expect("it is dropped last");
        if let Some(pending) = wanted.pending.remove(&inode) {
            wanted.size -= pending.size();
        }
        wanted.inodes.remove(&inode) && state.forget(watcher, inode)
    }

    fn wants(&self, inode: InodeId) -> bool {
        self.state().by_inode.contains_key(&inode)
    }

    /// Something about it may have been missed.
    fn doubt(&self, inode: InodeId) {
        self.state().each(inode, Wanted::doubt);
    }

    fn watched_again(&self, watcher: u64, stream: u64) {
        let mut state = self.state();
        let wanted = state.watchers.get_mut(&watcher).expect("it is dropped last");
        wanted.stream = stream;
        wanted.doubt();
    }

    fn next(&self, watcher: u64) -> Next {
        let mut state = self.state();
        let streams = state.streams;
        let wanted = state.watchers.get_mut(&watcher).expect("it is dropped last");
        if wanted.stream != streams {
            return Next::NewStream { stream: streams, inodes: wanted.inodes.iter().copied().collect() };
        }
        if std::mem::take(&mut wanted.everything) {
            return Next::Event(Event::Everything);
        }
        let Some((inode, pending)) = wanted.pending.pop_first() else { return Next::Nothing };
        wanted.size -= pending.size();
        let Pending { names, attributes, content, children } = pending;
        let children = children.into_iter().map(|(inode, content)| ChangedChild { inode, content });
        Next::Event(Event::Changed(Changed {
            inode,
            names: names.into_iter().collect(),
            attributes: attributes || content,
            content,
            children: children.collect(),
        }))
    }

    /// There is a new stream, on which nothing is watched yet.
    pub(crate) fn stream_began(&self) {
        let mut state = self.state();
        state.streams += 1;
        state.watchers.values().for_each(|wanted| wanted.wake.notify_one());
    }

    /// Nothing is told until there is another.
    pub(crate) fn stream_lost(&self) {
        self.state().watchers.values_mut().for_each(Wanted::doubt);
    }

    /// What the leader tells.
    pub(crate) fn told(&self, changes: v1::Changes) {
        let mut state = self.state();
        if changes.everything {
            state.watchers.values_mut().for_each(Wanted::doubt);
        }
        for v1::Change { inode, what } in changes.changes {
            let inode = InodeId::new(inode);
            state.each(inode, |wanted| wanted.add(inode, what.as_ref()));
        }
    }
}

impl State {
    /// Whether nobody watches it any more.
    fn forget(&mut self, watcher: u64, inode: InodeId) -> bool {
        let Some(watchers) = self.by_inode.get_mut(&inode) else { return false };
        watchers.remove(&watcher);
        let nobody = watchers.is_empty();
        if nobody {
            self.by_inode.remove(&inode);
        }
        nobody
    }

    fn each(&mut self, inode: InodeId, mut act: impl FnMut(&mut Wanted)) {
        for watcher in self.by_inode.get(&inode).into_iter().flatten() {
            act(self.watchers.get_mut(watcher).expect("it watches"));
        }
    }
}

impl Wanted {
    fn doubt(&mut self) {
        self.pending.clear();
        self.size = 0;
        self.everything = true;
        self.wake.notify_one();
    }

    fn add(&mut self, inode: InodeId, what: Option<&What>) {
        if self.everything {
            return;
        }
        let is_new = !self.pending.contains_key(&inode);
        let pending = self.pending.entry(inode).or_default();
        self.size += usize::from(is_new);
        match what {
            Some(What::Name(name)) => self.size += usize::from(pending.names.insert(name.clone())),
            Some(What::Attributes(_)) => pending.attributes = true,
            Some(What::Content(_)) => pending.content = true,
            Some(What::Child(v1::ChangedChild { inode, content })) => {
                let known = pending.children.len();
                *pending.children.entry(InodeId::new(*inode)).or_default() |= content;
                self.size += pending.children.len() - known;
            }
            // Of a newer leader: it can be anything.
            None => return self.doubt(),
        }
        if self.size > PENDING {
            return self.doubt();
        }
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests;
