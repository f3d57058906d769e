//! The operations of a client, from the question to the answer, and the session they run under. No IO here: the
//! connection says what happened, and sends what is given to it.
//!
//! An operation is *queued* (not on the present stream), *sent* (on it, unanswered) or *delayed* (answered "not now"). A
//! lost stream moves what was sent back to the queue, in order; nothing else loses or repeats an operation.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message;
use proto::v1;
use proto::v1::op::Kind as Op;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};
use types::{Code, SessionId};

use super::{Answer, Request, Scope};
use crate::error::Fault;

/// No more sequences are unanswered at a time: the namenode remembers that many results of a session.
const SEQUENCES: u64 = 1024;
/// A batch is cut at about this size, well below what the protocol allows.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_OPS: usize = 512;
/// How long an operation waits that was answered "not now", doubled each time.
const NOT_NOW: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// An operation and who waits for it.
#[derive(Debug)]
struct Pending {
    op: Op,
    scope: Scope,
    principal: Option<Arc<v1::Principal>>,
    deadline: Instant,
    since: Instant,
    answer: oneshot::Sender<Result<Answer, Fault>>,
    /// Given when first sent, and kept (invariant 1).
    identity: Option<(SessionId, u64)>,
    /// How often it was sent.
    sends: u32,
    /// The newest state seen when it was last sent.
    applied: u64,
    retries: u32,
    not_before: Instant,
}

impl Pending {
    fn finish(self, result: Result<Answer, Fault>) {
        // Whoever asked may have gone.
        self.answer.send(result).ok();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionState {
    None,
    /// Asked for on the present stream.
    Opening,
    Open(SessionId),
    /// Over, but operations that were sent under it are not all answered.
    Ending,
}

/// The newest state that the client has seen, on any stream (invariant 5).
#[derive(Debug, Default)]
pub(super) struct Newest(AtomicU64);

impl Newest {
    fn seen(&self, applied: u64) {
        self.0.fetch_max(applied, Ordering::AcqRel);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a reply tells about the member that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Leads,
    /// It does not lead, or answers from an old state: it is not to be asked further.
    Behind,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Operations {
    session: SessionState,
    next_sequence: u64,
    /// Sequences of the open session that are not answered.
    unanswered: BTreeSet<u64>,
    next_tag: u64,
    reads: VecDeque<Pending>,
    updates: VecDeque<Pending>,
    delayed: Vec<Pending>,
    sent: HashMap<u64, Pending>,
    /// Tags of what is asked for the session's own sake on this stream.
    opening: Option<u64>,
    keeping_alive: Option<u64>,
    newest: Arc<Newest>,
}

impl Operations {
    pub(super) fn new(newest: Arc<Newest>) -> Self {
        Self {
            session: SessionState::None,
            next_sequence: 1,
            unanswered: BTreeSet::new(),
            next_tag: 1,
            reads: VecDeque::new(),
            updates: VecDeque::new(),
            delayed: Vec::new(),
            sent: HashMap::new(),
            opening: None,
            keeping_alive: None,
            newest,
        }
    }

    /// Operations without an answer.
    pub(super) fn len(&self) -> usize {
        self.reads.len() + self.updates.len() + self.delayed.len() + self.sent.len()
    }

    /// Whether the stream owes an answer.
    pub(super) fn is_owed(&self) -> bool {
        self.sent.values().any(|pending| pending.scope != Scope::Wait)
            || self.opening.is_some()
            || self.keeping_alive.is_some()
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        match self.session {
            SessionState::Open(session) => Some(session),
            SessionState::None | SessionState::Opening | SessionState::Ending => None,
        }
    }

    /// Takes in an operation.
    pub(super) fn queue(&mut self, request: Request, now: Instant) {
        let Request { op, scope, principal, deadline, answer } = request;
        let pending = Pending {
            op,
            scope,
            principal,
            deadline,
            since: now,
            answer,
            identity: None,
            sends: 0,
            applied: 0,
            retries: 0,
            not_before: now,
        };
        match scope {
            Scope::Read | Scope::Wait => self.reads.push_back(pending),
            Scope::Update => self.updates.push_back(pending),
            Scope::Lease(session) if self.session == SessionState::Open(session) => self.updates.push_back(pending),
            Scope::Lease(_) => pending.finish(Err(Fault::SessionLost)),
            Scope::Leave if self.session().is_some() => self.updates.push_back(pending),
            Scope::Leave => pending.finish(Ok((v1::reply::Result::Done(v1::Done {}), SessionId::default()))),
        }
    }

    /// Whether [`Self::batch`] would give something.
    pub(super) fn has_sendable(&self) -> bool {
        !self.reads.is_empty()
            || match self.session {
                SessionState::Open(_) => self.updates.front().is_some_and(|next| self.may_send(next)),
                SessionState::None => !self.updates.is_empty(),
                SessionState::Opening | SessionState::Ending => false,
            }
    }

    /// Whether the window of sequences has room for `next`.
    fn may_send(&self, next: &Pending) -> bool {
        next.identity.is_some() || self.unanswered.first().is_none_or(|oldest| self.next_sequence - oldest < SEQUENCES)
    }

    /// What is to be sent next; noted as sent. `describe` is how a new session introduces itself.
    pub(super) fn batch(&mut self, describe: impl FnOnce() -> String) -> Vec<v1::Op> {
        let mut ops = Vec::new();
        let mut bytes = 0;
        if self.session == SessionState::None && !self.updates.is_empty() {
            let tag = self.tag();
            self.opening = Some(tag);
            self.session = SessionState::Opening;
            let open = v1::OpenSession { client: describe() };
            ops.push(v1::Op { tag, sequence: 0, principal: None, kind: Some(Op::OpenSession(open)) });
        }
        while ops.len() < BATCH_OPS && bytes < BATCH_BYTES {
            let Some(pending) = self.next_sendable() else { break };
            let Some(op) = self.record(pending) else { continue };
            bytes += op.encoded_len();
            ops.push(op);
        }
        ops
    }

    fn next_sendable(&mut self) -> Option<Pending> {
        if self.session().is_some() && self.updates.front().is_some_and(|next| self.may_send(next)) {
            return self.updates.pop_front();
        }
        self.reads.pop_front()
    }

    /// Notes that `pending` is sent now; nothing if it cannot or need not be.
    fn record(&mut self, mut pending: Pending) -> Option<v1::Op> {
        if pending.answer.is_closed() && (pending.identity.is_none() || pending.scope == Scope::Wait) {
            return None;
        }
        let sequence = match (pending.scope, self.session, pending.identity) {
            (Scope::Read, _, _) => 0,
            (_, SessionState::Open(session), Some((given, sequence))) if given == session => sequence,
            (Scope::Wait, SessionState::Open(session), None) => {
                pending.identity = Some((session, 0));
                0
            }
            (_, SessionState::Open(session), None) => {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                self.unanswered.insert(sequence);
                pending.identity = Some((session, sequence));
                sequence
            }
            (_, _, Some(_)) | (_, _, None) => {
                let fault = lost_with_session(&pending);
                pending.finish(Err(fault));
                return None;
            }
        };
        pending.sends += 1;
        pending.applied = self.newest.get();
        let tag = self.tag();
        let principal = pending.principal.as_deref().cloned();
        let op = v1::Op { tag, sequence, principal, kind: Some(pending.op.clone()) };
        self.sent.insert(tag, pending);
        Some(op)
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    /// What keeps the session alive, if there is one; noted as sent.
    pub(super) fn keep_alive(&mut self) -> Option<v1::Op> {
        self.session()?;
        let tag = self.tag();
        self.keeping_alive = Some(tag);
        Some(v1::Op { tag, sequence: 0, principal: None, kind: Some(Op::KeepAlive(v1::KeepAlive {})) })
    }

    /// Applies one reply.
    pub(super) fn reply(&mut self, reply: v1::Reply, now: Instant) -> Verdict {
        let v1::Reply { tag, applied, result } = reply;
        let code = match &result {
            Some(v1::reply::Result::Error(error)) => Some(error.typed_code()),
            _ => None,
        };
        if code == Some(Code::NotLeader) {
            return Verdict::Behind;
        }
        if self.keeping_alive == Some(tag) {
            self.keeping_alive = None;
            if code == Some(Code::SessionExpired) {
                self.expire();
            }
            return Verdict::Leads;
        }
        if self.opening == Some(tag) {
            self.opened(result);
            return Verdict::Leads;
        }
        let Some(pending) = self.sent.remove(&tag) else { return Verdict::Leads };
        if pending.scope == Scope::Read && applied < pending.applied {
            // That something is not there is an answer too.
            warn!(applied, seen = pending.applied, "the namenode answered from an old state");
            self.reads.push_front(pending);
            return Verdict::Behind;
        }
        // Before anybody is told: who is may ask the next thing on another stream.
        self.newest.seen(applied);
        match (result, code) {
            (Some(v1::reply::Result::Error(error)), Some(code)) => self.refused(pending, &error, code, now),
            (Some(result), _) => {
                let session = self.answered(&pending);
                if pending.scope == Scope::Leave {
                    self.session = SessionState::None;
                    self.unanswered.clear();
                }
                pending.finish(Ok((result, session)));
            }
            (None, _) => {
                self.answered(&pending);
                let problem = "an answer is empty".to_owned();
                pending.finish(Err(Fault::Protocol { peer: "the namenode".to_owned(), problem }));
            }
        }
        Verdict::Leads
    }

    /// The sequence of `pending` has its answer. Gives the session it was sent under.
    fn answered(&mut self, pending: &Pending) -> SessionId {
        let Some((session, sequence)) = pending.identity else { return SessionId::default() };
        if self.session == SessionState::Open(session) {
            self.unanswered.remove(&sequence);
        }
        session
    }

    fn refused(&mut self, mut pending: Pending, error: &v1::Error, code: Code, now: Instant) {
        match code {
            Code::Busy | Code::Unknown | Code::TimedOut | Code::Io => {
                let pause = (NOT_NOW.0 * (1 << pending.retries.min(10))).min(NOT_NOW.1);
                pending.retries += 1;
                pending.not_before = now + pause;
                self.delayed.push(pending);
            }
            Code::SessionExpired if pending.identity.is_some() => {
                self.expire();
                if pending.scope == Scope::Update && pending.sends == 1 {
                    // It was sent once, and refused then: it was never applied.
                    pending.identity = None;
                    pending.sends = 0;
                    self.updates.push_back(pending);
                } else {
                    let fault = lost_with_session(&pending);
                    pending.finish(Err(fault));
                }
                self.end();
            }
            _ => {
                self.answered(&pending);
                pending.finish(Err(Fault::refused(error)));
            }
        }
    }

    fn opened(&mut self, result: Option<v1::reply::Result>) {
        self.opening = None;
        match result {
            Some(v1::reply::Result::Session(v1::Session { session })) if session != 0 => {
                self.session = SessionState::Open(SessionId::new(session));
                self.next_sequence = 1;
                self.unanswered.clear();
                debug!(session, "session opened");
            }
            // Refused or nonsense: the next sweep asks again, until the deadlines of those who need it.
            other => {
                debug!(?other, "no session was opened");
                self.session = SessionState::Ending;
            }
        }
    }

    /// The session is over: leases under it are lost, a new one is opened once the old one owes no answers.
    fn expire(&mut self) {
        let Some(session) = self.session() else { return };
        warn!(%session, "the session has expired");
        self.session = SessionState::Ending;
        self.unanswered.clear();
        let lost =
            |pending: &Pending| pending.identity.is_some() || matches!(pending.scope, Scope::Lease(_) | Scope::Leave);
        // What waits at the namenode is not answered any more unless a lock is released.
        let waits = self.sent.extract_if(|_, pending| pending.scope == Scope::Wait).map(|(_, wait)| wait);
        for wait in waits.collect::<Vec<_>>() {
            wait.finish(Err(Fault::SessionLost));
        }
        let waiting = std::mem::take(&mut self.updates).into_iter().chain(std::mem::take(&mut self.delayed));
        let (gone, stays): (Vec<_>, Vec<_>) = waiting.partition(lost);
        for pending in stays {
            if matches!(pending.scope, Scope::Read | Scope::Wait) {
                self.delayed.push(pending);
            } else {
                self.updates.push_back(pending);
            }
        }
        for pending in gone {
            let fault = lost_with_session(&pending);
            pending.finish(Err(fault));
        }
        self.end();
    }

    /// Ends an ending session when nothing that was sent under it is without an answer.
    fn end(&mut self) {
        if self.session == SessionState::Ending && self.sent.values().all(|pending| pending.identity.is_none()) {
            self.session = SessionState::None;
        }
    }

    /// The stream is gone; whatever it did not answer is asked again on the next.
    pub(super) fn stream_lost(&mut self) {
        self.opening = None;
        self.keeping_alive = None;
        if self.session == SessionState::Opening {
            self.session = SessionState::None;
        }
        let mut again: Vec<(u64, Pending)> = self.sent.drain().collect();
        again.sort_unstable_by_key(|(tag, _)| std::cmp::Reverse(*tag));
        for (_, pending) in again {
            if matches!(pending.scope, Scope::Read | Scope::Wait) {
                self.reads.push_front(pending);
            } else {
                self.updates.push_front(pending);
            }
        }
        self.end();
    }

    /// Puts delayed operations back into the queue when their time has come, and gives up those whose deadline is past
    /// (invariant 2), for `reason`.
    pub(super) fn sweep(&mut self, now: Instant, reason: impl FnOnce() -> String) {
        self.end();
        for pending in std::mem::take(&mut self.delayed) {
            if pending.not_before > now && pending.deadline > now {
                self.delayed.push(pending);
            } else if matches!(pending.scope, Scope::Read | Scope::Wait) {
                self.reads.push_back(pending);
            } else {
                self.updates.push_front(pending);
            }
        }
        let is_late = |pending: &Pending| pending.deadline <= now;
        let mut late: Vec<Pending> =
            self.sent.extract_if(|_, pending| is_late(pending)).map(|(_, late)| late).collect();
        for queue in [&mut self.reads, &mut self.updates] {
            if queue.iter().any(is_late) {
                let (overdue, stays): (Vec<_>, _) = std::mem::take(queue).into_iter().partition(is_late);
                *queue = stays.into();
                late.extend(overdue);
            }
        }
        if late.is_empty() {
            return;
        }
        let reason = reason();
        for pending in late {
            self.answered(&pending);
            let after = pending.deadline.duration_since(pending.since);
            pending.finish(Err(Fault::NoAnswer { after, reason: reason.clone() }));
        }
    }

    /// Nobody is asked any more.
    pub(super) fn fail_all(mut self) {
        let sent = self.sent.drain().map(|(_, pending)| pending);
        for pending in self.reads.drain(..).chain(self.updates.drain(..)).chain(self.delayed.drain(..)).chain(sent) {
            pending.finish(Err(Fault::Closed));
        }
    }
}

/// Why an operation of a session that is over has no answer.
fn lost_with_session(pending: &Pending) -> Fault {
    match pending.scope {
        Scope::Lease(_) | Scope::Leave | Scope::Wait => Fault::SessionLost,
        // It may have been applied before the session ended; that cannot be found out any more.
        Scope::Read | Scope::Update => Fault::OutcomeUnknown,
    }
}

#[cfg(test)]
mod tests;
