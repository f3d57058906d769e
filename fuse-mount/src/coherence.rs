//! What the kernel keeps of names, attributes and pages, and how it loses that when others change it.
//!
//! Directories in use are watched, and with them the files in them. What is watched the kernel may keep for long; of other
//! things it asks again soon.
//!
//! Invariants, cited by tests:
//! 1. The kernel keeps for long only what is watched: a name and a file through their directory, a directory itself.
//! 2. Nothing is kept for long that was asked for before it was watched, or before the last news of it.
//! 3. News follows the answers that it overtook: an answer is given with the lock held, and news is first noted under it.
//! 4. A directory that is watched no more is forgotten by the kernel first, with what is in it.
//! 5. What is noted here is bounded, except by a count for each inode that the kernel holds. Past the bound, nothing more is
//!    kept for long.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use client::{Attributes, Changed, Client, Event, Kind, Watcher};
use fuser::{INodeNo, Notifier};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use types::{InodeId, WATCHED_NAMES};

use crate::attributes::Numbers;

/// Directories that are watched at once; the namenode allows more to one client.
const WATCHED: usize = 1 << 14;
/// Names that the kernel keeps for long.
const KEPT: usize = 1 << 18;
/// A directory that was used within this time is not given up for another.
const IN_USE: Duration = Duration::from_secs(10);
/// How long a directory that could not be watched is left alone.
const REFUSED: Duration = Duration::from_secs(10);
/// Of what is not watched, or if the mount keeps nothing for longer.
const SHORT: Duration = Duration::from_secs(1);
/// Notices on their way to the kernel.
const NOTICES: usize = 1 << 12;

/// When something was asked for, in news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) directory: InodeId,
    pub(crate) name: Vec<u8>,
}

/// How long the kernel may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    pub(crate) name: Duration,
    pub(crate) attributes: Duration,
}

/// What the kernel is to drop, besides attributes. It waits for requests that are under way, so it is told by threads that
/// serve none.
#[derive(Debug)]
enum Notice {
    Name(Slot),
    Pages(InodeId),
    /// The kernel has dropped everything that was said before this: it need not be watched any more.
    Unwatch(InodeId),
}

/// What [`Coherence::serve`] passes on.
#[derive(Debug)]
pub(crate) struct Notices {
    names: mpsc::Receiver<Notice>,
    pages: mpsc::Receiver<Notice>,
}

#[derive(Debug)]
pub(crate) struct Coherence {
    numbers: Numbers,
    long: Duration,
    short: Duration,
    state: Mutex<State>,
    watcher: Arc<Watcher>,
    runtime: tokio::runtime::Handle,
    notifier: OnceLock<Notifier>,
    names: mpsc::Sender<Notice>,
    pages: mpsc::Sender<Notice>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct State {
    /// Counts news and new watches.
    clock: u64,
    /// When everything was last in doubt.
    doubted: u64,
    directories: HashMap<InodeId, Directory>,
    nodes: HashMap<InodeId, Node>,
    /// Names in all directories.
    kept: usize,
    /// There is no directory to be given up before.
    full_until: Option<Instant>,
}

#[derive(Debug)]
struct Directory {
    /// Since when it is watched, if it is by now.
    since: Option<u64>,
    news: u64,
    used: Instant,
    refused: Option<Instant>,
    /// Those that the kernel keeps for long.
    names: HashMap<Arc<[u8]>, InodeId>,
}

/// An inode that the kernel holds.
#[derive(Debug, Default)]
struct Node {
    lookups: u64,
    /// The name that the kernel keeps for long.
    place: Option<(InodeId, Arc<[u8]>)>,
    news: u64,
    /// The kernel's pages were read while news of the file was told.
    pages: bool,
}

impl Coherence {
    /// Must be called on a runtime.
    pub(crate) fn new(client: &Client, numbers: Numbers, lifetime: Duration) -> (Arc<Self>, Notices) {
        let (names, names_receiver) = mpsc::channel(NOTICES);
        let (pages, pages_receiver) = mpsc::channel(NOTICES);
        let stop = CancellationToken::new();
        let coherence = Arc::new(Self {
            numbers,
            long: lifetime,
            short: lifetime.min(SHORT),
            state: Mutex::default(),
            watcher: Arc::new(client.watcher()),
            runtime: tokio::runtime::Handle::current(),
            notifier: OnceLock::new(),
            names,
            pages,
            _stop: stop.clone().drop_guard(),
        });
        let listener = listen(Arc::downgrade(&coherence), coherence.watcher.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listener => {}
            }
        });
        (coherence, Notices { names: names_receiver, pages: pages_receiver })
    }

    /// Passes news on to the kernel from now on.
    pub(crate) fn serve(self: &Arc<Self>, notifier: Notifier, notices: Notices) -> std::io::Result<()> {
        for (name, receiver) in [("fuse-names", notices.names), ("fuse-pages", notices.pages)] {
            let (notifier, coherence) = (notifier.clone(), Arc::downgrade(self));
            let run = move || pass_on(receiver, &notifier, &coherence);
            std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        }
        self.notifier.get_or_init(|| notifier);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be taken before anything is asked for.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.lock().clock)
    }

    /// As [`Self::ticket`], for something in a directory, which is to be watched from now on.
    pub(crate) fn ask(self: &Arc<Self>, directory: InodeId) -> Ticket {
        let mut state = self.lock();
        let ticket = Ticket(state.clock);
        self.want(&mut state, directory);
        ticket
    }

    fn want(self: &Arc<Self>, state: &mut State, directory: InodeId) {
        if self.long <= self.short {
            return;
        }
        let now = Instant::now();
        if let Some(known) = state.directories.get_mut(&directory) {
            known.used = now;
            match known.refused {
                Some(refused) if now.duration_since(refused) >= REFUSED => known.refused = None,
                _ => return,
            }
        } else {
            if state.directories.len() >= WATCHED {
                self.make_room(state, now);
            }
            if state.directories.len() >= WATCHED {
                return;
            }
            let fresh = Directory { since: None, news: 0, used: now, refused: None, names: HashMap::new() };
            state.directories.insert(directory, fresh);
        }
        let (coherence, watcher) = (Arc::downgrade(self), self.watcher.clone());
        self.runtime.spawn(async move {
            let watched = watcher.watch(directory).await;
            if let Some(coherence) = coherence.upgrade() {
                coherence.lock().watched(directory, watched);
            }
        });
    }

    /// Gives up the directories that were used least lately, an eighth of all.
    fn make_room(&self, state: &mut State, now: Instant) {
        if state.full_until.is_some_and(|until| now < until) {
            return;
        }
        let idle = |directory: &Directory| now.duration_since(directory.used) >= IN_USE && directory.since.is_some();
        let mut idle: Vec<(Instant, InodeId)> = state
            .directories
            .iter()
            .filter(|(_, known)| idle(known))
            .map(|(inode, known)| (known.used, *inode))
            .collect();
        idle.sort_unstable_by_key(|(used, _)| *used);
        idle.truncate(WATCHED / 8);
        if idle.is_empty() {
            state.full_until = Some(now + SHORT);
        }
        for (_, directory) in idle {
            let mut drops = state.leave(directory);
            drops.names.push(Notice::Unwatch(directory));
            let names = self.names.clone();
            self.drop_attributes(drops.attributes);
            // Invariant 4: in this order, and in its own time.
            self.runtime.spawn(async move {
                for notice in drops.names {
                    if names.send(notice).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    /// Answers a request for a name with what has it.
    pub(crate) fn tell_entry(
        self: &Arc<Self>,
        ticket: Ticket,
        slot: &Slot,
        attributes: &Attributes,
        reply: impl FnOnce(Lifetimes),
    ) {
        let mut state = self.lock();
        if attributes.kind == Kind::Directory {
            self.want(&mut state, attributes.inode);
        }
        reply(self.lifetimes(state.grant(ticket, slot, attributes)));
    }

    /// Answers with entries of one directory, all of them asked for at once.
    pub(crate) fn tell_entries(&self, ticket: Ticket, directory: InodeId, answer: impl FnOnce(Telling<'_>)) {
        answer(Telling { coherence: self, state: self.lock(), ticket, directory });
    }

    /// Answers with attributes.
    pub(crate) fn tell_attributes(
        self: &Arc<Self>,
        ticket: Ticket,
        attributes: &Attributes,
        reply: impl FnOnce(Duration),
    ) {
        let mut state = self.lock();
        let inode = attributes.inode;
        let is_kept = if attributes.kind == Kind::Directory {
            self.want(&mut state, inode);
            state.is_current(inode, ticket)
        } else {
            state.is_fresh(inode, ticket) && attributes.links <= WATCHED_NAMES
        };
        reply(if is_kept { self.long } else { self.short });
    }

    fn lifetimes(&self, (name, attributes): (bool, bool)) -> Lifetimes {
        let lifetime = |is_kept| if is_kept { self.long } else { self.short };
        Lifetimes { name: lifetime(name), attributes: lifetime(attributes) }
    }

    /// Answers a request to open a file: whether the kernel may use the pages that it has.
    pub(crate) fn tell_opened(&self, inode: InodeId, ticket: Ticket, reply: impl FnOnce(bool)) {
        let mut state = self.lock();
        let is_fresh = state.is_fresh(inode, ticket);
        let has_pages = match state.nodes.get_mut(&inode) {
            Some(node) if is_fresh => std::mem::replace(&mut node.pages, true),
            Some(_) | None => false,
        };
        reply(has_pages);
    }

    /// Whether what was asked for then of a file still holds, as far as is told.
    pub(crate) fn is_fresh(&self, inode: InodeId, ticket: Ticket) -> bool {
        self.lock().is_fresh(inode, ticket)
    }

    /// How long what is not watched may be taken for true.
    pub(crate) fn patience(&self) -> Duration {
        self.short
    }

    /// The kernel has dropped an inode.
    pub(crate) fn forget(&self, inode: INodeNo, lookups: u64) {
        self.lock().forget(self.numbers.of_kernel(inode), lookups);
    }

    /// Names were moved or taken away through this mount, which is not told of that: what stood for them is known by
    /// another name now, or by none.
    pub(crate) fn moved(&self, slots: &[Slot]) {
        let mut state = self.lock();
        let mut moved = Vec::new();
        for slot in slots {
            state.clock += 1;
            let clock = state.clock;
            if let Some(directory) = state.directories.get_mut(&slot.directory) {
                directory.news = clock;
            }
            moved.extend(state.drop_name(slot));
        }
        drop(state);
        self.drop_attributes(moved);
    }

    /// The attributes of a file have changed by what this mount did on its own account.
    pub(crate) fn changed_here(&self, inode: InodeId) {
        self.drop_attributes([inode]);
    }

    /// Attributes are dropped without waiting for any request, unlike names and pages.
    fn drop_attributes(&self, inodes: impl IntoIterator<Item = InodeId>) {
        let Some(notifier) = self.notifier.get() else { return };
        for inode in inodes {
            if let Err(error) = notifier.inval_inode(self.numbers.to_kernel(inode), -1, 0) {
                // Nothing is mounted any more.
                debug!(%inode, %error, "the kernel was not told");
                return;
            }
        }
    }

    fn unwatch(&self, directory: InodeId) {
        // It is in use again.
        if self.lock().directories.contains_key(&directory) {
            return;
        }
        let watcher = self.watcher.clone();
        self.runtime.spawn(async move {
            if let Err(error) = watcher.unwatch(directory).await {
                debug!(%directory, %error, "a directory is still watched");
            }
        });
    }

    async fn news(&self, event: Event) {
        let drops = match event {
            Event::Changed(changed) => self.lock().news(changed),
            Event::Everything => self.lock().doubt(),
        };
        self.drop_attributes(drops.attributes);
        for notice in drops.names {
            if self.names.send(notice).await.is_err() {
                return;
            }
        }
        for inode in drops.pages {
            if self.pages.send(Notice::Pages(inode)).await.is_err() {
                return;
            }
        }
    }
}

/// An answer that is being made.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    coherence: &'a Coherence,
    state: MutexGuard<'a, State>,
    ticket: Ticket,
    directory: InodeId,
}

impl Telling<'_> {
    /// How long the kernel may keep an entry that it is told now.
    pub(crate) fn entry(&mut self, name: &[u8], attributes: &Attributes) -> Duration {
        let slot = Slot { directory: self.directory, name: name.to_vec() };
        let kept = self.coherence.lifetimes(self.state.grant(self.ticket, &slot, attributes));
        kept.name.min(kept.attributes)
    }

    /// It did not fit any more.
    pub(crate) fn take_back(&mut self, inode: InodeId) {
        self.state.forget(inode, 1);
    }
}

/// What the kernel is to drop.
#[derive(Debug, Default)]
struct Drops {
    attributes: Vec<InodeId>,
    names: Vec<Notice>,
    pages: Vec<InodeId>,
}

impl State {
    /// Invariant 2, for names in a watched directory and its own attributes.
    fn is_current(&self, directory: InodeId, ticket: Ticket) -> bool {
        let known = self.directories.get(&directory);
        let is_watched =
            known.is_some_and(|known| known.since.is_some_and(|since| since <= ticket.0) && known.news <= ticket.0);
        is_watched && self.doubted <= ticket.0
    }

    /// Invariant 2, for what the kernel knows by a name in a watched directory.
    fn is_fresh(&self, inode: InodeId, ticket: Ticket) -> bool {
        let Some(node) = self.nodes.get(&inode) else { return false };
        let Some((directory, _)) = &node.place else { return false };
        let since = self.directories.get(directory).and_then(|known| known.since);
        since.is_some_and(|since| since <= ticket.0) && node.news <= ticket.0 && self.doubted <= ticket.0
    }

    /// The kernel is given a name: whether it may keep that, and the attributes of what has it.
    fn grant(&mut self, ticket: Ticket, slot: &Slot, attributes: &Attributes) -> (bool, bool) {
        let inode = attributes.inode;
        let is_current = self.is_current(slot.directory, ticket);
        let has_own_watch = self.is_current(inode, ticket);
        let node = self.nodes.entry(inode).or_default();
        node.lookups += 1;
        let is_here = match &node.place {
            Some((directory, name)) => *directory == slot.directory && **name == *slot.name,
            None => false,
        };
        let may_be_noted = node.place.is_none() && self.kept < KEPT;
        if !is_current || !(is_here || may_be_noted) {
            return (false, false);
        }
        if !is_here {
            let name: Arc<[u8]> = slot.name.as_slice().into();
            let directory = self.directories.get_mut(&slot.directory).expect("it is watched");
            if let Some(other) = directory.names.insert(name.clone(), inode) {
                // It stood for another before, which is told of separately.
                if let Some(other) = self.nodes.get_mut(&other) {
                    (other.place, other.pages) = (None, false);
                }
            } else {
                self.kept += 1;
            }
            let node = self.nodes.get_mut(&inode).expect("just seen");
            node.place = Some((slot.directory, name));
        }
        let attributes = match attributes.kind {
            Kind::Directory => has_own_watch,
            _ => attributes.links <= WATCHED_NAMES,
        };
        (true, attributes)
    }

    /// Takes a name out of what is kept. Gives what it stood for.
    fn drop_name(&mut self, slot: &Slot) -> Option<InodeId> {
        let inode = self.directories.get_mut(&slot.directory)?.names.remove(slot.name.as_slice())?;
        self.kept -= 1;
        if let Some(node) = self.nodes.get_mut(&inode) {
            (node.place, node.pages) = (None, false);
        }
        Some(inode)
    }

    fn forget(&mut self, inode: InodeId, lookups: u64) {
        let Some(node) = self.nodes.get_mut(&inode) else { return };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups > 0 {
            return;
        }
        let node = self.nodes.remove(&inode).expect("just seen");
        if let Some((directory, name)) = node.place
            && let Some(directory) = self.directories.get_mut(&directory)
            && directory.names.remove(&name).is_some()
        {
            self.kept -= 1;
        }
    }

    fn watched(&mut self, directory: InodeId, watched: Result<(), client::Error>) {
        self.clock += 1;
        let clock = self.clock;
        let Some(known) = self.directories.get_mut(&directory) else { return };
        match watched {
            Ok(()) => known.since = Some(clock),
            Err(error) => {
                debug!(%directory, %error, "a directory is not watched");
                known.refused = Some(Instant::now());
            }
        }
    }

    fn news(&mut self, changed: Changed) -> Drops {
        let Changed { inode: directory, names, attributes, content, children } = changed;
        self.clock += 1;
        let clock = self.clock;
        let mut drops = Drops::default();
        if let Some(known) = self.directories.get_mut(&directory) {
            known.news = clock;
        }
        for name in names {
            let slot = Slot { directory, name };
            drops.attributes.extend(self.drop_name(&slot));
            drops.names.push(Notice::Name(slot));
        }
        if attributes || content {
            drops.attributes.push(directory);
        }
        for child in children {
            if let Some(node) = self.nodes.get_mut(&child.inode) {
                node.news = clock;
                drops.attributes.push(child.inode);
                if child.content {
                    drops.pages.push(child.inode);
                }
            }
        }
        drops
    }

    /// Anything may have changed.
    fn doubt(&mut self) -> Drops {
        self.clock += 1;
        self.doubted = self.clock;
        let mut drops = Drops::default();
        let directories: Vec<InodeId> = self.directories.keys().copied().collect();
        for directory in directories {
            drops.attributes.push(directory);
            drops.append(self.drop_names(directory));
        }
        drops
    }

    /// The kernel is to know nothing any more of what is in a directory.
    fn drop_names(&mut self, directory: InodeId) -> Drops {
        let mut drops = Drops::default();
        let Some(known) = self.directories.get_mut(&directory) else { return drops };
        let names = std::mem::take(&mut known.names);
        self.kept -= names.len();
        for (name, inode) in names {
            if let Some(node) = self.nodes.get_mut(&inode) {
                (node.place, node.pages) = (None, false);
                drops.attributes.push(inode);
                drops.pages.push(inode);
            }
            drops.names.push(Notice::Name(Slot { directory, name: name.to_vec() }));
        }
        drops
    }

    fn leave(&mut self, directory: InodeId) -> Drops {
        let mut drops = self.drop_names(directory);
        self.directories.remove(&directory);
        drops.attributes.push(directory);
        drops
    }
}

impl Drops {
    fn append(&mut self, other: Self) {
        self.attributes.extend(other.attributes);
        self.names.extend(other.names);
        self.pages.extend(other.pages);
    }
}

/// Takes news until the client is closed, or nobody wants it.
async fn listen(coherence: Weak<Coherence>, watcher: Arc<Watcher>) {
    while let Some(event) = watcher.next().await {
        let Some(coherence) = coherence.upgrade() else { return };
        coherence.news(event).await;
    }
}

/// Tells the kernel what to drop, until nothing is mounted any more. Each waits for requests under way on what it names.
fn pass_on(mut notices: mpsc::Receiver<Notice>, notifier: &Notifier, coherence: &Weak<Coherence>) {
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

#[cfg(test)]
mod tests;
