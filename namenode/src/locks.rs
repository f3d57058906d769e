//! Who waits for a lock, as this leader knows. Not replicated: with another leader every client asks again.
//!
//! 1. Who waits is asked for again, in the order of coming, as soon as the state lets the lock be; whether it is granted
//!    is decided where the command is applied.
//! 2. No release is missed: who waits is known here before the first attempt is proposed.
//! 3. A wait belongs to one stream, and to the latest of its session. What an older stream asked for is never proposed
//!    after something of a newer one: a client that gave up gets no lock behind its back.
//! 4. Owners that wait for each other in a circle are found when the last of them begins to wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use namespace::command::{Command, Request};
use namespace::lock::{LockFamily, LockKind, LockOwner, LockTable, LockWish};
use namespace::view::{View, ViewError};
use types::{Code, InodeId, SessionId};

use crate::queue::{self, Receiver, Sender};
use crate::raft::{Answers, Handle, Refusal};
use crate::store::Store;

/// Locks that one session waits for.
const WAITS: usize = 1024;

/// How a wait ends.
pub(crate) enum Ended {
    /// The state machine's last word, or why there is none.
    Proposal(Result<Answers, Refusal>),
    /// Given up here.
    Refused(Code, String),
}

type Answered = Box<dyn FnOnce(Ended) + Send>;

/// A wish to wait for.
pub(crate) struct Wait {
    pub(crate) stream: u64,
    pub(crate) session: SessionId,
    pub(crate) inode: InodeId,
    pub(crate) wish: LockWish,
    pub(crate) kind: LockKind,
    /// The command, proposed until it is granted.
    pub(crate) request: Request,
    pub(crate) answered: Answered,
}

impl Wait {
    const fn owner(&self) -> LockOwner {
        LockOwner { session: self.session, owner: self.wish.owner }
    }
}

/// What proposes for those who wait.
pub(crate) trait Propose: Send + 'static {
    fn propose(&self, request: Request, answered: Box<dyn FnOnce(Result<Answers, Refusal>) + Send>);
}

impl Propose for Handle {
    fn propose(&self, request: Request, answered: Box<dyn FnOnce(Result<Answers, Refusal>) + Send>) {
        Self::propose(self, vec![request], answered);
    }
}

enum Message {
    Outcome(Place, Result<Answers, Refusal>),
    Released,
    Stop,
}

/// The inode, and the number in the order of coming.
type Place = (InodeId, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Proposed; something was released meanwhile; given up by the client meanwhile.
    Attempting {
        again: bool,
        cancelled: bool,
    },
    Waiting,
}

#[derive(Default)]
struct Queue {
    waits: BTreeMap<Place, (Wait, State)>,
    next: u64,
    /// The latest stream of each session that has one.
    streams: HashMap<SessionId, u64>,
}

/// What the apply thread looks at.
#[derive(Default)]
struct Interest {
    waited_for: HashMap<InodeId, usize>,
    released: BTreeSet<InodeId>,
}

/// Everybody who waits.
pub(crate) struct LockQueue {
    queue: Mutex<Queue>,
    interest: Mutex<Interest>,
    /// How many wait: with none, a release costs nothing.
    waiting: AtomicUsize,
    /// Every message but `Stop` is one of those who wait, or the one `Released` under way.
    messages: Sender<Message>,
    proposals: OnceLock<Box<dyn Propose + Sync>>,
}

impl std::fmt::Debug for LockQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockQueue").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// The thread's end of a queue.
pub(crate) struct LockThread {
    messages: Receiver<Message>,
}

impl LockThread {
    /// Until the queue is stopped.
    pub(crate) fn run(self, queue: &Arc<LockQueue>, store: &Store) -> Result<(), String> {
        while let Ok(message) = self.messages.recv() {
            let done = match message {
                Message::Stop => return Ok(()),
                Message::Outcome(place, outcome) => queue.outcome(&store.state().snapshot(), place, outcome),
                Message::Released => queue.look(&store.state().snapshot()),
            };
            done.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl LockQueue {
    /// To be connected before anybody asks.
    pub(crate) fn new(waiting: &Arc<telemetry::Queue>) -> (Arc<Self>, LockThread) {
        let (messages, receiver) = queue::unbounded(waiting);
        let queue = Self {
            queue: Mutex::default(),
            interest: Mutex::default(),
            waiting: AtomicUsize::new(0),
            messages,
            proposals: OnceLock::new(),
        };
        (Arc::new(queue), LockThread { messages: receiver })
    }

    pub(crate) fn connect(&self, proposals: impl Propose + Sync) {
        assert!(self.proposals.set(Box::new(proposals)).is_ok(), "connected once");
    }

    pub(crate) fn stop(&self) {
        // The thread may have ended.
        let _ = self.messages.send(Message::Stop);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }

    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().expect("no holder of this lock panics")
    }

    /// A session is on this stream from now on (invariant 3).
    pub(crate) fn adopt(&self, session: SessionId, stream: u64) {
        let mut queue = self.queue();
        queue.streams.insert(session, stream);
        self.drop_waits(&mut queue, |wait| wait.session == session && wait.stream != stream);
    }

    /// Nobody is there any more to be answered.
    pub(crate) fn stream_ended(&self, stream: u64) {
        let mut queue = self.queue();
        queue.streams.retain(|_, latest| *latest != stream);
        self.drop_waits(&mut queue, |wait| wait.stream == stream);
    }

    fn drop_waits(&self, queue: &mut Queue, is_over: impl Fn(&Wait) -> bool) {
        let over: Vec<Place> =
            queue.waits.iter().filter(|(_, (wait, _))| is_over(wait)).map(|(place, _)| *place).collect();
        for place in over {
            self.take(queue, place);
        }
    }

    fn take(&self, queue: &mut Queue, place: Place) -> Option<Wait> {
        let (wait, _) = queue.waits.remove(&place)?;
        let mut interest = self.interest();
        if let Some(count) = interest.waited_for.get_mut(&place.0) {
            *count -= 1;
            if *count == 0 {
                interest.waited_for.remove(&place.0);
                interest.released.remove(&place.0);
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(wait)
    }

    /// Tries to lock, and waits if that does not succeed.
    pub(crate) fn ask(self: &Arc<Self>, wait: Wait) {
        let mut queue = self.queue();
        if queue.streams.get(&wait.session) != Some(&wait.stream) {
            let message = "the session has gone on to another stream";
            return (wait.answered)(Ended::Refused(Code::Busy, message.to_owned()));
        }
        if queue.waits.values().filter(|(other, _)| other.session == wait.session).count() >= WAITS {
            let message = format!("{} waits for {WAITS} locks already", wait.session);
            return (wait.answered)(Ended::Refused(Code::NoLocks, message));
        }
        queue.next += 1;
        let place = (wait.inode, queue.next);
        *self.interest().waited_for.entry(wait.inode).or_default() += 1;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let attempting = State::Attempting { again: false, cancelled: false };
        let request = wait.request.clone();
        queue.waits.insert(place, (wait, attempting));
        self.attempt(place, request);
    }

    /// Proposes under the lock of the queue, so that invariant 3 holds of the log too.
    fn attempt(self: &Arc<Self>, place: Place, request: Request) {
        let messages = self.messages.clone();
        // The thread ends after everybody who could be answered.
        let answered = Box::new(move |outcome| drop(messages.send(Message::Outcome(place, outcome))));
        let proposals = self.proposals.get().expect("connected before anybody asks");
        proposals.propose(request, answered);
    }

    /// Ends the waits of an owner on an inode. One that is being granted is granted.
    pub(crate) fn cancel(&self, owner: LockOwner, inode: InodeId) {
        let mut queue = self.queue();
        let mut given_up = Vec::new();
        for (place, (wait, state)) in queue.waits.range_mut((inode, 0)..=(inode, u64::MAX)) {
            match state {
                _ if wait.owner() != owner => {}
                State::Attempting { cancelled, .. } => *cancelled = true,
                State::Waiting => given_up.push(*place),
            }
        }
        for place in given_up {
            if let Some(wait) = self.take(&mut queue, place) {
                (wait.answered)(interrupted(inode));
            }
        }
    }

    /// Locks on this inode are gone or weaker. For the apply thread.
    pub(crate) fn released(&self, inode: InodeId) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut interest = self.interest();
        if !interest.waited_for.contains_key(&inode) {
            return;
        }
        let idle = interest.released.is_empty();
        interest.released.insert(inode);
        if idle {
            let _ = self.messages.send(Message::Released);
        }
    }

    /// An attempt has its answer.
    fn outcome(
        self: &Arc<Self>,
        state: &impl View,
        place: Place,
        outcome: Result<Answers, Refusal>,
    ) -> Result<(), ViewError> {
        let mut queue = self.queue();
        let Some((wait, waiting)) = queue.waits.get_mut(&place) else { return Ok(()) };
        let refused = matches!(&outcome, Ok(Answers { outcomes, .. })
            if matches!(&outcomes[..], [Err(namespace::Error::LockConflict { .. })]));
        let ended = match *waiting {
            _ if !refused => Ended::Proposal(outcome),
            State::Attempting { cancelled: true, .. } => interrupted(place.0),
            State::Attempting { again: true, .. } => {
                *waiting = State::Attempting { again: false, cancelled: false };
                let request = wait.request.clone();
                self.attempt(place, request);
                return Ok(());
            }
            State::Attempting { again: false, .. } | State::Waiting => {
                *waiting = State::Waiting;
                if !circle(state, &queue, place)? {
                    return Ok(());
                }
                let message = format!("{}: waiting would never end, since the holder waits for this owner", place.0);
                Ended::Refused(Code::Deadlock, message)
            }
        };
        if let Some(wait) = self.take(&mut queue, place) {
            (wait.answered)(ended);
        }
        Ok(())
    }

    /// Lets those try again who may succeed (invariant 1).
    fn look(self: &Arc<Self>, state: &impl View) -> Result<(), ViewError> {
        let released = std::mem::take(&mut self.interest().released);
        let mut queue = self.queue();
        for inode in released {
            let mut tables = BTreeMap::new();
            let mut attempts = Vec::new();
            for (place, (wait, waiting)) in queue.waits.range_mut((inode, 0)..=(inode, u64::MAX)) {
                if let State::Attempting { again, .. } = waiting {
                    *again = true;
                    continue;
                }
                let table = match tables.entry(wait.wish.family) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        entry.insert(LockTable::load(state, inode, wait.wish.family)?)
                    }
                };
                if table.conflicts(wait.owner(), wait.wish.range, wait.kind).next().is_none() {
                    // As it will be, for those who came later.
                    table.set(wait.owner(), &wait.wish);
                    *waiting = State::Attempting { again: false, cancelled: false };
                    attempts.push((*place, wait.request.clone()));
                }
            }
            for (place, request) in attempts {
                self.attempt(place, request);
            }
        }
        Ok(())
    }
}

fn interrupted(inode: InodeId) -> Ended {
    Ended::Refused(Code::Interrupted, format!("waiting for a lock on {inode} was given up"))
}

/// Whether one who begins to wait is waited for by those it waits for (invariant 4). As with fcntl(2), only locks on
/// ranges count: the owner of a lock on a whole file is an open file, and any process that has it may unlock it.
fn circle(state: &impl View, queue: &Queue, place: Place) -> Result<bool, ViewError> {
    let (first, _) = &queue.waits[&place];
    if first.wish.family == LockFamily::Whole {
        return Ok(false);
    }
    let mut by_owner: BTreeMap<LockOwner, Vec<&Wait>> = BTreeMap::new();
    for (wait, waiting) in queue.waits.values() {
        if *waiting == State::Waiting && wait.wish.family == LockFamily::Ranges {
            by_owner.entry(wait.owner()).or_default().push(wait);
        }
    }
    let mut seen = BTreeSet::new();
    let mut waits = vec![first];
    while let Some(wait) = waits.pop() {
        let table = LockTable::load(state, wait.inode, LockFamily::Ranges)?;
        for held in table.conflicts(wait.owner(), wait.wish.range, wait.kind) {
            if held.owner == first.owner() {
                return Ok(true);
            }
            if seen.insert(held.owner) {
                waits.extend(by_owner.get(&held.owner).into_iter().flatten());
            }
        }
    }
    Ok(false)
}

/// The command that is proposed for a wait.
pub(crate) const fn command(inode: InodeId, wish: LockWish) -> Command {
    Command::SetLock { inode, wish, wait: true }
}

#[cfg(test)]
mod tests;
