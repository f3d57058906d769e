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
//! 5. What is noted here is bounded, except by a count for each inode that the kernel holds. Past the bound, what was used least
//!    lately is given up; while all is in use, nothing more is kept for long.
//! 6. Of a directory that was made here, and that nobody else has changed, at least the names that are in it are noted.

mod absent;
mod kept;
mod notices;
mod own;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use client::{Attributes, Client, Event, Kind, Watcher};
use fuser::{INodeNo, Notifier};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use types::{InodeId, Name};

use kept::{Directory, KEPT, State};
pub(crate) use kept::{Slot, Ticket};
pub(crate) use notices::Notices;
use notices::{NOTICES, Notice, pass_on};

use crate::attributes::Numbers;

/// Directories that are watched at once; the namenode allows more to one client.
const WATCHED: usize = 1 << 14;
/// Of these, and of names, one in so many is made free at a time.
const ROOM: usize = 32;
/// A directory that was used within this time is not given up for another.
const IN_USE: Duration = Duration::from_secs(10);
/// How long a directory that could not be watched is left alone.
const REFUSED: Duration = Duration::from_secs(10);
/// How long a name is kept as absent. The kernel does not tell when it has dropped one: the longer, the more have to be noted.
const ABSENT: Duration = Duration::from_secs(60);
/// Of what is not watched, or if the mount keeps nothing for longer.
const SHORT: Duration = Duration::from_secs(1);

/// What the kernel was told of a directory, from its first entry to the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    /// When the first was asked for.
    pub(crate) ticket: Ticket,
    /// Since when the kernel has the attributes of all.
    pub(crate) since: Instant,
    pub(crate) entries: u64,
}

/// How long the kernel may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    pub(crate) name: Duration,
    pub(crate) attributes: Duration,
}

#[derive(Debug)]
pub(crate) struct Coherence {
    client: Client,
    numbers: Numbers,
    long: Duration,
    short: Duration,
    state: Mutex<State>,
    watcher: Arc<Watcher>,
    /// Somebody learned whether a directory is watched.
    told: Notify,
    runtime: tokio::runtime::Handle,
    notifier: OnceLock<Notifier>,
    names: mpsc::Sender<Notice>,
    pages: mpsc::Sender<Notice>,
    _stop: DropGuard,
}

impl Coherence {
    /// Must be called on a runtime.
    pub(crate) fn new(client: &Client, numbers: Numbers, lifetime: Duration) -> (Arc<Self>, Notices) {
        let (names, names_receiver) = mpsc::channel(NOTICES);
        let (pages, pages_receiver) = mpsc::channel(NOTICES);
        let stop = CancellationToken::new();
        let coherence = Arc::new(Self {
            client: client.clone(),
            numbers,
            long: lifetime,
            short: lifetime.min(SHORT),
            state: Mutex::default(),
            watcher: Arc::new(client.watcher()),
            told: Notify::new(),
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

    /// As [`Self::ask`], for all that is in a directory: as so much is asked for, it waits until that may be kept.
    pub(crate) async fn ask_for_all(self: &Arc<Self>, directory: InodeId) -> Ticket {
        self.ask(directory);
        loop {
            // Told from now on, whether or not anybody waits yet.
            let told = self.told.notified();
            {
                let state = self.lock();
                if state.directories.get(&directory).is_none_or(Directory::is_decided) {
                    return Ticket(state.clock);
                }
            }
            told.await;
        }
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
            state.directories.insert(directory, Directory::new(now));
        }
        let (coherence, watcher) = (Arc::downgrade(self), self.watcher.clone());
        self.runtime.spawn(async move {
            let watched = watcher.watch(directory).await;
            let Some(coherence) = coherence.upgrade() else { return };
            let (ticket, is_own) = {
                let mut state = coherence.lock();
                state.watched(directory, watched);
                coherence.told.notify_waiters();
                (Ticket(state.clock), state.own.is_made(directory))
            };
            if is_own {
                let listed = coherence.client.list_page(directory, &[]).await;
                coherence.lock().own_listed(directory, ticket, listed);
            }
        });
    }

    /// A directory was made through this mount: until others change it, it is known what is not in it.
    pub(crate) fn made_directory(self: &Arc<Self>, directory: InodeId) {
        let mut state = self.lock();
        self.want(&mut state, directory);
        if state.directories.contains_key(&directory) {
            state.own.made(directory);
        }
    }

    /// To be told before something of that name is asked to be made through this mount.
    pub(crate) fn making(&self, slot: &Slot) {
        self.lock().own.making(slot);
    }

    /// A name was taken away through this mount.
    pub(crate) fn removed(&self, slot: &Slot) {
        self.lock().own.removed(slot);
        self.moved(std::slice::from_ref(slot));
    }

    /// Whether it is certain that there is no such name, though there might be.
    pub(crate) fn is_absent(&self, slot: &Slot) -> bool {
        self.lock().own.is_absent(slot) && Name::new(&slot.name).is_ok()
    }

    /// Gives up the directories that were used least lately, until a part of all is free.
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
        if idle.is_empty() {
            state.full_until = Some(now + SHORT);
        }
        for (_, directory) in idle {
            if state.directories.len() <= WATCHED - WATCHED / ROOM && state.kept <= KEPT - KEPT / ROOM {
                return;
            }
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
        if state.kept >= KEPT {
            self.make_room(&mut state, Instant::now());
        }
        reply(self.lifetimes(state.grant(ticket, slot, attributes, Instant::now())));
    }

    /// Answers a request for a name that nothing has: with how long the kernel may keep that, if it may at all.
    pub(crate) fn tell_absent(&self, ticket: Ticket, slot: &Slot, reply: impl FnOnce(Option<Duration>)) {
        let mut state = self.lock();
        let (now, lifetime) = (Instant::now(), self.long.min(ABSENT));
        let is_kept = self.long > self.short && state.grant_absence(ticket, slot, now, now + lifetime);
        reply(is_kept.then_some(lifetime));
    }

    /// Answers with entries of one directory, all of them asked for at once.
    pub(crate) fn tell_entries(&self, ticket: Ticket, directory: InodeId, answer: impl FnOnce(Telling<'_>)) {
        let (mut state, now) = (self.lock(), Instant::now());
        if state.kept >= KEPT {
            self.make_room(&mut state, now);
        }
        answer(Telling { coherence: self, state, ticket, directory, now });
    }

    /// Answers with attributes.
    pub(crate) fn tell_attributes(
        self: &Arc<Self>,
        ticket: Ticket,
        attributes: &Attributes,
        reply: impl FnOnce(Duration),
    ) {
        let mut state = self.lock();
        if attributes.kind == Kind::Directory {
            self.want(&mut state, attributes.inode);
        }
        let is_kept = state.grant_attributes(ticket, attributes, Instant::now());
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

    /// To be told before and after extended attributes or access control lists are changed through this mount.
    pub(crate) fn changing_xattrs(&self, inode: InodeId) {
        self.lock().changing_xattrs(inode);
    }

    /// Whether it is certain that something has neither extended attributes nor access control lists.
    pub(crate) fn is_bare(&self, inode: InodeId) -> bool {
        self.lock().is_bare(inode)
    }

    /// The kernel has been told of all that is in a directory.
    pub(crate) fn listed(&self, directory: InodeId, whole: Whole) {
        let Whole { ticket, since, entries } = whole;
        self.lock().listed(directory, ticket, since, entries);
    }

    /// Since when the kernel has the attributes of all of these in a directory, if it has.
    pub(crate) fn told_since<'a>(&self, directory: InodeId, names: impl Iterator<Item = &'a [u8]>) -> Option<Instant> {
        self.lock().told_since(directory, names, Instant::now())
    }

    /// Whether the kernel may use the list of a directory that it has. Not for quite as long as the attributes of what is in
    /// it: a list of its own brings it no new ones, and they would be asked for one by one.
    pub(crate) fn is_listed(&self, directory: InodeId) -> bool {
        let since = Instant::now().checked_sub(self.long - self.long / 4);
        since.is_some_and(|since| self.lock().is_listed(directory, since))
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
            state.absent.drop_name(slot);
        }
        drop(state);
        self.drop_attributes(moved);
    }

    /// A name was not made through this mount; or it was, and only the answer is lost. The kernel is to ask for it again.
    pub(crate) fn not_made(&self, slot: Slot) {
        if self.lock().absent.drop_name(&slot) {
            let names = self.names.clone();
            // In its own time: the kernel waits for the answer to what it asked. Nobody takes it once nothing is mounted any more.
            self.runtime.spawn(async move { drop(names.send(Notice::Name(slot)).await) });
        }
    }

    /// The attributes of a file have changed by what this mount did on its own account.
    pub(crate) fn changed_here(&self, inode: InodeId) {
        self.drop_attributes([inode]);
    }

    /// The kernel has put bytes into its pages of a file that may belong elsewhere. It is told when what it waits for now is
    /// answered.
    pub(crate) fn misplaced(&self, inode: InodeId) {
        self.changed_here(inode);
        let pages = self.pages.clone();
        // Nobody takes it once nothing is mounted any more.
        self.runtime.spawn(async move { drop(pages.send(Notice::Pages(inode)).await) });
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
    now: Instant,
}

impl Telling<'_> {
    /// How long the kernel may keep an entry that it is told now.
    pub(crate) fn entry(&mut self, name: &[u8], attributes: &Attributes) -> Duration {
        let slot = Slot { directory: self.directory, name: name.to_vec() };
        let kept = self.coherence.lifetimes(self.state.grant(self.ticket, &slot, attributes, self.now));
        kept.name.min(kept.attributes)
    }

    /// It did not fit any more.
    pub(crate) fn take_back(&mut self, inode: InodeId) {
        self.state.forget(inode, 1);
    }
}

/// Takes news until the client is closed, or nobody wants it.
async fn listen(coherence: Weak<Coherence>, watcher: Arc<Watcher>) {
    while let Some(event) = watcher.next().await {
        let Some(coherence) = coherence.upgrade() else { return };
        coherence.news(event).await;
    }
}
