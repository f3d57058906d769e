//! The task that owns the stream: it waits for one event, applies it, and sends what can be sent.
//!
//! An operation is *queued* (not on this stream), *sent* (on this stream, unanswered) or *delayed* (answered "not now").
//! A lost stream moves what was sent back to the queue, in order; nothing else loses or repeats an operation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use futures::future::BoxFuture;
use prost::Message;
use proto::v1;
use proto::v1::op::Kind as Op;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use types::{ClusterId, Code, SessionId};

use super::dial::{DialError, Live, Search, dial};
use super::{Answer, Request, Scope};
use crate::config::Config;
use crate::error::Fault;
use crate::object::Defaults;
use crate::wire;

/// No more sequences are unanswered at a time: the namenode remembers that many results of a session.
const SEQUENCES: u64 = 1024;
/// Operations taken in at a time, beyond which callers wait.
const TAKEN: usize = 4096;
/// A batch is cut at about this size, well below what the protocol allows.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_OPS: usize = 512;
/// A leader that owes answers and is silent for so long is given up; doubled each time in a row, up to the second.
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));
/// How long an operation waits that was answered "not now", doubled each time.
const NOT_NOW: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// Characters of this machine's name in a session's description.
const HOST_SHOWN: usize = 48;
/// How often deadlines and delays are looked at while there are any.
const SWEEP: Duration = Duration::from_millis(20);

/// What the first leader found says of the cluster.
pub(super) type Welcome = (ClusterId, Defaults);

/// An operation and who waits for it.
#[derive(Debug)]
struct Pending {
    op: Op,
    scope: Scope,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionState {
    None,
    /// Asked for on the present stream.
    Opening,
    Open(SessionId),
    /// Over, but operations that were sent under it are not all answered.
    Ending,
}

enum Link {
    Pause { until: Instant },
    Dialing { attempt: BoxFuture<'static, (String, Result<Live, DialError>)> },
    Live(Box<Live>),
}

enum Event {
    Stop,
    Request(Request),
    Leaving,
    Redial,
    Dialed(String, Result<Live, DialError>),
    Replies(Result<Option<v1::ReplyBatch>, tonic::Status>),
    Room,
    Sweep,
    KeepAlive,
}

pub(super) struct Connection {
    config: Config,
    requests: mpsc::Receiver<Request>,
    say_leader: watch::Sender<Option<String>>,
    say_welcome: Option<oneshot::Sender<Result<Welcome, Fault>>>,
    stop: CancellationToken,
    started: Instant,
    sweep_due: Instant,

    link: Link,
    search: Search,
    cluster: Vec<u8>,
    silence: Duration,
    /// Since when the leader owes an answer.
    owed_since: Option<Instant>,

    session: SessionState,
    next_sequence: u64,
    /// Sequences of the open session that are not answered.
    unanswered: BTreeSet<u64>,
    keep_alive_due: Option<Instant>,
    session_timeout: Duration,

    next_tag: u64,
    reads: VecDeque<Pending>,
    updates: VecDeque<Pending>,
    delayed: Vec<Pending>,
    sent: HashMap<u64, Pending>,
    /// Tags of what the task itself asked on this stream.
    opening: Option<u64>,
    keeping_alive: Option<u64>,
    /// The newest state seen (invariant 5).
    applied: u64,
}

impl Connection {
    pub(super) fn new(
        config: Config,
        requests: mpsc::Receiver<Request>,
        say_leader: watch::Sender<Option<String>>,
        say_welcome: oneshot::Sender<Result<Welcome, Fault>>,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            search: Search::new(config.namenodes.clone()),
            config,
            requests,
            say_leader,
            say_welcome: Some(say_welcome),
            stop,
            started: now,
            sweep_due: now,
            link: Link::Pause { until: now },
            cluster: Vec::new(),
            silence: SILENCE.0,
            owed_since: None,
            session: SessionState::None,
            next_sequence: 1,
            unanswered: BTreeSet::new(),
            keep_alive_due: None,
            session_timeout: Duration::from_secs(60),
            next_tag: 1,
            reads: VecDeque::new(),
            updates: VecDeque::new(),
            delayed: Vec::new(),
            sent: HashMap::new(),
            opening: None,
            keeping_alive: None,
            applied: 0,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.event().await {
                Event::Stop => return self.fail_all(),
                // The last handle is gone: nobody waits for anything any more.
                Event::Leaving => return,
                Event::Request(request) => self.take(request),
                Event::Redial => self.redial(),
                Event::Dialed(address, Ok(live)) => self.welcome(address, live),
                Event::Dialed(address, Err(error)) => self.not_dialed(&address, error),
                Event::Replies(Ok(Some(batch))) => self.replies(batch),
                Event::Replies(Ok(None)) => self.lose("closed the stream".to_owned()),
                Event::Replies(Err(status)) => self.lose(format!("broke off: {}", status.message())),
                Event::Room => {}
                Event::Sweep => self.sweep(),
                Event::KeepAlive => self.keep_alive(),
            }
            self.send();
        }
    }

    async fn event(&mut self) -> Event {
        let waits = !self.delayed.is_empty() || !self.reads.is_empty() || !self.updates.is_empty();
        let sweeps = waits || !self.sent.is_empty() || self.owed_since.is_some() || self.say_welcome.is_some();
        let has_room = self.taken() < TAKEN;
        let sendable = self.has_sendable();
        let keep_alive_due = self.keep_alive_due;
        let sweep_due = self.sweep_due;
        let room = match &self.link {
            Link::Live(live) => Some(live.to.clone()),
            Link::Pause { .. } | Link::Dialing { .. } => None,
        };
        let link = async {
            match &mut self.link {
                Link::Pause { until } => {
                    tokio::time::sleep_until(*until).await;
                    Event::Redial
                }
                Link::Dialing { attempt } => {
                    let (address, outcome) = attempt.await;
                    Event::Dialed(address, outcome)
                }
                Link::Live(live) => Event::Replies(live.from.message().await),
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => Event::Stop,
            event = link => event,
            request = self.requests.recv(), if has_room => request.map_or(Event::Leaving, Event::Request),
            // After `send` something sendable is left only if the channel to the socket was full.
            _ = async { room.as_ref().expect("checked by the guard").reserve().await.map(drop) },
                if sendable && room.is_some() => Event::Room,
            () = async { tokio::time::sleep_until(keep_alive_due.expect("checked by the guard")).await },
                if keep_alive_due.is_some() => Event::KeepAlive,
            () = tokio::time::sleep_until(sweep_due), if sweeps => Event::Sweep,
        }
    }

    fn taken(&self) -> usize {
        self.reads.len() + self.updates.len() + self.delayed.len() + self.sent.len()
    }

    // What comes in from the handles.

    fn take(&mut self, request: Request) {
        self.queue(request);
        while self.taken() < TAKEN {
            match self.requests.try_recv() {
                Ok(request) => self.queue(request),
                Err(_) => break,
            }
        }
    }

    fn queue(&mut self, request: Request) {
        let Request { op, scope, deadline, answer } = request;
        let now = Instant::now();
        let pending = Pending {
            op,
            scope,
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
            Scope::Read => self.reads.push_back(pending),
            Scope::Update => self.updates.push_back(pending),
            Scope::Lease(session) if self.session == SessionState::Open(session) => self.updates.push_back(pending),
            Scope::Lease(_) => finish(pending, Err(Fault::SessionLost)),
            Scope::Leave => match self.session {
                SessionState::Open(_) => self.updates.push_back(pending),
                SessionState::None | SessionState::Opening | SessionState::Ending => {
                    finish(pending, Ok((v1::reply::Result::Done(v1::Done {}), SessionId::default())));
                }
            },
        }
    }

    // The stream: found, lost, looked for again.

    fn redial(&mut self) {
        let address = self.search.address();
        let session = match self.session {
            SessionState::Open(session) => session.get(),
            SessionState::None | SessionState::Opening | SessionState::Ending => 0,
        };
        let hello = v1::Hello { protocol: proto::PROTOCOL, cluster: self.cluster.clone(), session };
        debug!(%address, "looking for the leader");
        let attempt = Box::pin(dial(address, hello, self.config.connect_timeout));
        self.link = Link::Dialing { attempt };
    }

    fn not_dialed(&mut self, address: &str, error: DialError) {
        let now = Instant::now();
        match error {
            DialError::NotLeader { leader } => self.search.not_leader(address, &leader, now),
            DialError::Failed(reason) => {
                debug!(%address, %reason, "namenode is of no use");
                self.search.failed(address, reason, now);
            }
        }
        self.link = Link::Pause { until: now + self.search.pause() };
    }

    fn welcome(&mut self, address: String, live: Live) {
        let (cluster, defaults) = match understand(&address, &live.welcome) {
            Ok(understood) => understood,
            Err(fault) => return self.not_dialed(&address, DialError::Failed(fault.to_string())),
        };
        if !self.cluster.is_empty() && live.welcome.cluster != self.cluster {
            return self.not_dialed(&address, DialError::Failed("belongs to another cluster".to_owned()));
        }
        info!(%address, term = live.welcome.term, "connected to the leader");
        self.cluster = live.welcome.cluster.clone();
        self.session_timeout = defaults.session_timeout;
        if let Some(say_welcome) = self.say_welcome.take() {
            say_welcome.send(Ok((cluster, defaults))).ok();
        }
        self.say_leader.send_replace(Some(address));
        self.link = Link::Live(Box::new(live));
        self.owed_since = None;
        if matches!(self.session, SessionState::Open(_)) {
            // The new leader learns at once that the session lives.
            self.keep_alive_due = Some(Instant::now());
        }
    }

    /// The stream is of no use any more; whatever it did not answer is asked again elsewhere.
    fn lose(&mut self, reason: String) {
        let now = Instant::now();
        if let Link::Live(live) = &self.link {
            let address = live.address.clone();
            info!(%address, %reason, "lost the leader");
            self.search.failed(&address, reason, now);
        }
        self.forget_stream();
        self.link = Link::Pause { until: now + self.search.pause() };
    }

    fn redirect(&mut self, leader: &str) {
        let now = Instant::now();
        if let Link::Live(live) = &self.link {
            let address = live.address.clone();
            info!(%address, %leader, "the namenode does not lead any more");
            self.search.not_leader(&address, leader, now);
        }
        self.forget_stream();
        self.link = Link::Pause { until: now + self.search.pause() };
    }

    fn forget_stream(&mut self) {
        self.say_leader.send_replace(None);
        self.opening = None;
        self.keeping_alive = None;
        self.owed_since = None;
        if self.session == SessionState::Opening {
            self.session = SessionState::None;
        }
        let mut again: Vec<(u64, Pending)> = self.sent.drain().collect();
        again.sort_unstable_by_key(|(tag, _)| std::cmp::Reverse(*tag));
        for (_, pending) in again {
            match pending.scope {
                Scope::Read => self.reads.push_front(pending),
                Scope::Update | Scope::Lease(_) | Scope::Leave => self.updates.push_front(pending),
            }
        }
        self.ended();
    }

    // What goes out.

    fn has_sendable(&self) -> bool {
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

    fn send(&mut self) {
        loop {
            let Link::Live(live) = &self.link else { return };
            if !self.has_sendable() {
                return;
            }
            let to = live.to.clone();
            // A closed channel shows as the end of the replies too.
            let Ok(permit) = to.try_reserve() else { return };
            let ops = self.batch();
            if ops.is_empty() {
                return;
            }
            self.owed_since.get_or_insert_with(Instant::now);
            permit.send(v1::OpBatch { hello: None, ops });
        }
    }

    fn batch(&mut self) -> Vec<v1::Op> {
        let mut ops = Vec::new();
        let mut bytes = 0;
        if self.session == SessionState::None && !self.updates.is_empty() {
            let host: String = self.config.host.chars().take(HOST_SHOWN).collect();
            let client = format!("{host} pid {}", std::process::id());
            let tag = self.tag();
            self.opening = Some(tag);
            self.session = SessionState::Opening;
            ops.push(v1::Op { tag, sequence: 0, kind: Some(Op::OpenSession(v1::OpenSession { client })) });
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
        if let SessionState::Open(_) = self.session
            && self.updates.front().is_some_and(|next| self.may_send(next))
        {
            return self.updates.pop_front();
        }
        self.reads.pop_front()
    }

    /// Notes that `pending` is sent now; nothing if it cannot or need not be.
    fn record(&mut self, mut pending: Pending) -> Option<v1::Op> {
        if pending.answer.is_closed() && pending.identity.is_none() {
            return None;
        }
        let sequence = match (pending.scope, self.session, pending.identity) {
            (Scope::Read, _, _) => 0,
            (_, SessionState::Open(session), Some((given, sequence))) if given == session => sequence,
            (_, SessionState::Open(session), None) => {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                self.unanswered.insert(sequence);
                pending.identity = Some((session, sequence));
                sequence
            }
            // Sent under a session that is over: whether it was applied cannot be found out any more.
            (_, _, Some(_)) | (_, _, None) => {
                finish(pending, Err(Fault::SessionLost));
                return None;
            }
        };
        pending.sends += 1;
        pending.applied = self.applied;
        let tag = self.tag();
        let op = v1::Op { tag, sequence, kind: Some(pending.op.clone()) };
        self.sent.insert(tag, pending);
        Some(op)
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    fn keep_alive(&mut self) {
        let interval = self.session_timeout / 4;
        self.keep_alive_due = None;
        let SessionState::Open(_) = self.session else { return };
        self.keep_alive_due = Some(Instant::now() + interval);
        let Link::Live(live) = &self.link else { return };
        let Ok(permit) = live.to.clone().try_reserve_owned() else { return };
        let tag = self.tag();
        self.keeping_alive = Some(tag);
        self.owed_since.get_or_insert_with(Instant::now);
        let op = v1::Op { tag, sequence: 0, kind: Some(Op::KeepAlive(v1::KeepAlive {})) };
        permit.send(v1::OpBatch { hello: None, ops: vec![op] });
    }

    // What comes back.

    fn replies(&mut self, batch: v1::ReplyBatch) {
        let v1::ReplyBatch { replies, not_leader, welcome: _ } = batch;
        let mut leads = true;
        for reply in replies {
            leads &= self.reply(reply);
        }
        if let Some(not_leader) = not_leader {
            return self.redirect(&not_leader.leader);
        }
        if !leads {
            return self.redirect("");
        }
        let owes = !self.sent.is_empty() || self.opening.is_some() || self.keeping_alive.is_some();
        self.owed_since = owes.then(Instant::now);
    }

    /// Applies one reply; false if it shows that this member is not to be asked further.
    fn reply(&mut self, reply: v1::Reply) -> bool {
        let v1::Reply { tag, applied, result } = reply;
        let code = match &result {
            Some(v1::reply::Result::Error(error)) => Some(error.typed_code()),
            _ => None,
        };
        if code == Some(Code::NotLeader) {
            return false;
        }
        self.search.succeeded();
        self.silence = SILENCE.0;
        if self.keeping_alive == Some(tag) {
            self.keeping_alive = None;
            if code == Some(Code::SessionExpired) {
                self.expire();
            }
            return true;
        }
        if self.opening == Some(tag) {
            self.opened(result);
            return true;
        }
        let Some(pending) = self.sent.remove(&tag) else { return true };
        let mut stale = false;
        match (result, code) {
            (Some(v1::reply::Result::Error(error)), Some(code)) => self.refused(pending, &error, code),
            (Some(_), _) if pending.scope == Scope::Read && applied < pending.applied => {
                warn!(applied, seen = pending.applied, "the namenode answered from an old state");
                self.reads.push_front(pending);
                stale = true;
            }
            (Some(result), _) => {
                let session = self.answered(&pending);
                if pending.scope == Scope::Leave {
                    self.session = SessionState::None;
                    self.unanswered.clear();
                }
                finish(pending, Ok((result, session)));
            }
            (None, _) => {
                self.answered(&pending);
                let problem = "an answer is empty".to_owned();
                finish(pending, Err(Fault::Protocol { peer: "the namenode".to_owned(), problem }));
            }
        }
        self.applied = self.applied.max(applied);
        !stale
    }

    /// The sequence of `pending` has its answer. Gives the session it was sent under.
    fn answered(&mut self, pending: &Pending) -> SessionId {
        let Some((session, sequence)) = pending.identity else { return SessionId::default() };
        if self.session == SessionState::Open(session) {
            self.unanswered.remove(&sequence);
        }
        session
    }

    fn refused(&mut self, mut pending: Pending, error: &v1::Error, code: Code) {
        match code {
            Code::Busy | Code::Unknown | Code::TimedOut | Code::Io => {
                let pause = (NOT_NOW.0 * (1 << pending.retries.min(10))).min(NOT_NOW.1);
                pending.retries += 1;
                pending.not_before = Instant::now() + pause;
                self.delayed.push(pending);
            }
            Code::SessionExpired if pending.identity.is_some() => {
                self.expire();
                match pending.scope {
                    // It was sent once, and refused then: it was never applied.
                    Scope::Update if pending.sends == 1 => {
                        pending.identity = None;
                        pending.sends = 0;
                        self.updates.push_back(pending);
                    }
                    Scope::Update | Scope::Lease(_) | Scope::Leave | Scope::Read => {
                        finish(pending, Err(Fault::SessionLost));
                    }
                }
                self.ended();
            }
            _ => {
                self.answered(&pending);
                finish(pending, Err(Fault::refused(error)));
            }
        }
    }

    // The session.

    fn opened(&mut self, result: Option<v1::reply::Result>) {
        self.opening = None;
        match result {
            Some(v1::reply::Result::Session(v1::Session { session })) if session != 0 => {
                self.session = SessionState::Open(SessionId::new(session));
                self.next_sequence = 1;
                self.unanswered.clear();
                self.keep_alive_due = Some(Instant::now() + self.session_timeout / 4);
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
        let SessionState::Open(session) = self.session else { return };
        warn!(%session, "the session has expired");
        self.session = SessionState::Ending;
        self.keep_alive_due = None;
        self.unanswered.clear();
        let lost =
            |pending: &Pending| pending.identity.is_some() || matches!(pending.scope, Scope::Lease(_) | Scope::Leave);
        let (gone, stays): (VecDeque<_>, _) = std::mem::take(&mut self.updates).into_iter().partition(lost);
        self.updates = stays;
        let (late, stays): (Vec<_>, _) = std::mem::take(&mut self.delayed)
            .into_iter()
            .partition(|pending| pending.scope != Scope::Read && lost(pending));
        self.delayed = stays;
        for pending in gone.into_iter().chain(late) {
            finish(pending, Err(Fault::SessionLost));
        }
        self.ended();
    }

    /// Ends an ending session when nothing that was sent under it is without an answer.
    fn ended(&mut self) {
        if self.session == SessionState::Ending && self.sent.values().all(|pending| pending.identity.is_none()) {
            self.session = SessionState::None;
        }
    }

    // Time.

    fn sweep(&mut self) {
        let now = Instant::now();
        self.sweep_due = now + SWEEP;
        if self.session == SessionState::Ending {
            self.ended();
        }
        for pending in std::mem::take(&mut self.delayed) {
            if pending.not_before > now && pending.deadline > now {
                self.delayed.push(pending);
            } else if pending.scope == Scope::Read {
                self.reads.push_back(pending);
            } else {
                self.updates.push_front(pending);
            }
        }
        self.end_overdue(now);
        if let Some(say_welcome) = self.say_welcome.take() {
            if now.duration_since(self.started) < self.config.op_timeout {
                self.say_welcome = Some(say_welcome);
            } else {
                let reason = self.search.summary();
                say_welcome.send(Err(Fault::NoAnswer { after: self.config.op_timeout, reason })).ok();
            }
        }
        if self.owed_since.is_some_and(|since| now.duration_since(since) > self.silence) {
            self.silence = (self.silence * 2).min(SILENCE.1);
            self.lose("is silent".to_owned());
        }
    }

    /// Gives up operations whose deadline is past (invariant 2).
    fn end_overdue(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for queue in [&mut self.reads, &mut self.updates] {
            if queue.iter().any(|pending| pending.deadline <= now) {
                let (late, stays): (VecDeque<_>, _) =
                    std::mem::take(queue).into_iter().partition(|pending| pending.deadline <= now);
                *queue = stays;
                overdue.extend(late);
            }
        }
        let late: BTreeMap<u64, ()> =
            self.sent.iter().filter(|(_, pending)| pending.deadline <= now).map(|(tag, _)| (*tag, ())).collect();
        overdue.extend(late.keys().filter_map(|tag| self.sent.remove(tag)));
        if overdue.is_empty() {
            return;
        }
        let reason = self.search.summary();
        for pending in overdue {
            self.answered(&pending);
            let after = pending.deadline.duration_since(pending.since);
            finish(pending, Err(Fault::NoAnswer { after, reason: reason.clone() }));
        }
    }

    fn fail_all(mut self) {
        let sent = self.sent.drain().map(|(_, pending)| pending);
        for pending in self.reads.drain(..).chain(self.updates.drain(..)).chain(self.delayed.drain(..)).chain(sent) {
            finish(pending, Err(Fault::Closed));
        }
    }
}

fn understand(address: &str, welcome: &v1::Welcome) -> Result<Welcome, Fault> {
    let cluster = proto::cluster_id(&welcome.cluster, "Welcome.cluster")?;
    let defaults = welcome.defaults.clone().ok_or_else(|| Fault::Protocol {
        peer: address.to_owned(),
        problem: "its welcome has no defaults".to_owned(),
    })?;
    Ok((cluster, wire::defaults(defaults)?))
}

/// Answers, if somebody still waits.
fn finish(pending: Pending, result: Result<Answer, Fault>) {
    pending.answer.send(result).ok();
}
