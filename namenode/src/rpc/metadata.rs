//! The stream of a client: operations up, replies down, in any order.
//!
//! The leader answers everything. A stream that is for reads alone is answered by any member: from a state of its own, once
//! the leader has told how far that must be.
//!
//! One task owns a stream. It proposes the updates of a batch together and asks for its reads together, and sends every
//! reply as soon as it is there. What a client may have under way is bounded; past that its stream is not read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use namespace::command::{Command, Holder, Origin, Principal, Reply, Request, Where};
use namespace::directory_policy::{self, DirectoryPolicy};
use namespace::lock::{LockKind, LockOwner, LockWish};
use namespace::query;
use namespace::{Caller, Error, QueryError};
use prost::Message as _;
use proto::v1;
use proto::v1::metadata_server;
use proto::v1::op::Kind;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use tracing::{debug, warn};
use types::{BlockId, Code, InodeId, Sequence, SessionId, Timestamp};

use super::Service;
use crate::audit::Entry;
use crate::datanodes::{TooFew, Wish};
use crate::deed::Deed;
use crate::duties::Event;
use crate::locks::{self, Ended, Wait};
use crate::raft::{Answers, ENTRY_BYTES, ENTRY_REQUESTS, Leadership, Refusal, wall_clock};
use crate::readers::Job;
use crate::watches::WATCHES;
use crate::wire::{self, Asked, Query, Refused, Targets};

/// Operations of one stream that are not answered yet; past it the stream is not read.
const UNDER_WAY: usize = 8192;
/// Bytes of replies in one batch, well below the limit of a message.
const BATCH_BYTES: usize = 1 << 20;
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that does not read for so long is left.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Metadata(pub(super) Arc<Service>);

#[tonic::async_trait]
impl metadata_server::Metadata for Metadata {
    type StreamStream = ReceiverStream<Result<v1::ReplyBatch, Status>>;

    async fn stream(
        &self,
        request: tonic::Request<Streaming<v1::OpBatch>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (done, answers) = mpsc::unbounded_channel();
        let from = request.remote_addr().map_or_else(String::new, |address| address.to_string());
        let client = Client {
            service: self.0.clone(),
            batches: request.into_inner(),
            replies: sender,
            leadership: self.0.raft.watch(),
            term: 0,
            reads_only: false,
            session: None,
            principal: None,
            number: self.0.next_stream.fetch_add(1, Ordering::Relaxed),
            changed: Arc::new(Notify::new()),
            renewals: BTreeMap::new(),
            under_way: 0,
            asked: HashMap::new(),
            from: from.into(),
            audited: Vec::new(),
            done,
            answers,
        };
        self.0.tasks.spawn(client.run());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Answers on their way from the threads to the stream. Their number is bounded by what is under way.
enum Done {
    Updates { tags: Vec<u64>, result: Result<Answers, Refusal> },
    Reads(Vec<v1::Reply>),
    ReadsRefused { tags: Vec<u64>, refusal: Refusal },
}

/// An operation that is not answered yet.
struct Asking {
    deed: Deed,
    since: Instant,
    /// On whose behalf.
    principal: Option<Arc<Principal>>,
}

/// Why a stream ends.
enum End {
    /// The client has left, or does not read.
    Gone,
    NotLeader,
    Status(Status),
}

struct Client {
    service: Arc<Service>,
    batches: Streaming<v1::OpBatch>,
    replies: mpsc::Sender<Result<v1::ReplyBatch, Status>>,
    leadership: watch::Receiver<Leadership>,
    /// The term that the client was welcomed in.
    term: u64,
    /// Queries alone, which this member answers whether it leads or not.
    reads_only: bool,
    session: Option<SessionId>,
    /// On whose behalf; without one, nothing that the namespace decides is asked of it.
    principal: Option<Arc<Principal>>,
    /// Told apart from other streams of the same session.
    number: u64,
    /// Something that the client watches has changed.
    changed: Arc<Notify>,
    /// The blocks whose next generation is being asked for, by the tags of the questions.
    renewals: BTreeMap<u64, BlockId>,
    under_way: usize,
    /// What is not answered yet, by the tags of the replies.
    asked: HashMap<u64, Asking>,
    /// The address of the client.
    from: Arc<str>,
    /// What is to have a line in the audit log.
    audited: Vec<Entry>,
    done: mpsc::UnboundedSender<Done>,
    answers: mpsc::UnboundedReceiver<Done>,
}

/// What a batch asks for, sorted by how it is answered.
#[derive(Default)]
struct Sorted {
    updates: Vec<(u64, Request)>,
    reads: Vec<(u64, Query, Option<Arc<Principal>>)>,
    /// Answered at once, refusals mostly.
    answered: Vec<v1::Reply>,
    waits: usize,
    /// Nothing is to be changed.
    safe: bool,
}

/// Why an update is refused then.
const SAFE_MODE: &str =
    "the cluster is in safe mode, in which nothing is changed; an operator ends it with ashlar admin safemode leave";

impl Client {
    async fn run(mut self) {
        self.service.metrics.streams.inc();
        self.service.watches.stream_began(self.number, self.changed.clone());
        let end = match self.greet().await {
            Ok(()) => self.converse().await,
            Err(end) => end,
        };
        self.service.locks.stream_ended(self.number);
        self.service.watches.stream_ended(self.number);
        self.service.metrics.streams.dec();
        match end {
            End::Gone => {}
            End::NotLeader => {
                let batch = v1::ReplyBatch { not_leader: Some(self.service.not_leader()), ..Default::default() };
                // A client that does not read finds out by itself.
                let _ = self.send(batch).await;
            }
            End::Status(status) => {
                debug!(%status, "a client is refused");
                let _ = self.replies.try_send(Err(status));
            }
        }
    }

    /// The first batch: who the client is, and whether this is the place for it.
    async fn greet(&mut self) -> Result<(), End> {
        let batch = tokio::select! {
            () = self.service.stop.cancelled() => return Err(End::NotLeader),
            batch = tokio::time::timeout(HELLO_TIMEOUT, self.batches.message()) => batch,
        };
        let batch = match batch {
            Ok(Ok(Some(batch))) => batch,
            Ok(Ok(None) | Err(_)) => return Err(End::Gone),
            Err(_) => return Err(End::Status(Status::deadline_exceeded("no hello arrived"))),
        };
        let Some(hello) = batch.hello else {
            return Err(End::Status(Status::invalid_argument("the first batch has no hello")));
        };
        if hello.protocol != proto::PROTOCOL {
            let (theirs, ours) = (hello.protocol, proto::PROTOCOL);
            let message = format!("protocol {theirs} is spoken there and {ours} here");
            return Err(End::Status(Status::failed_precondition(message)));
        }
        let cluster = self.service.config.cluster;
        if !hello.cluster.is_empty() && hello.cluster != cluster.as_bytes() {
            return Err(End::Status(Status::failed_precondition(format!("this is cluster {cluster}"))));
        }
        let principal = hello.principal.map(wire::principal).transpose();
        let principal = principal.map_err(|error| End::Status(Status::invalid_argument(error.to_string())))?;
        self.principal = principal.map(Arc::new);
        let leadership = *self.leadership.borrow_and_update();
        self.reads_only = hello.reads_only;
        if self.reads_only && hello.session != 0 {
            return Err(End::Status(Status::invalid_argument("a stream for reads has no session")));
        }
        if !(leadership.serving || self.reads_only && self.may_be_asked(leadership)) {
            return Err(End::NotLeader);
        }
        self.term = leadership.term;
        if hello.session != 0 {
            self.adopt(SessionId::new(hello.session));
        }
        let settings = self.service.effective.now();
        let defaults = v1::Defaults {
            replication: u32::from(settings.replication),
            block_size: settings.block_size.get(),
            inline_max: settings.inline_max.get(),
            min_replicas: u32::from(settings.min_replicas_of(settings.replication)),
            session_timeout_ms: u64::try_from(settings.session_timeout.as_millis()).unwrap_or(u64::MAX),
            durability: settings.durability.name().to_owned(),
            spread: wire::spread_of(Some(settings.placement.policy())).into(),
            trash_ms: u64::try_from(settings.trash_expiry.as_millis()).unwrap_or(u64::MAX),
        };
        let cluster = cluster.as_bytes().to_vec();
        let welcome = v1::Welcome { cluster, term: self.term, defaults: Some(defaults) };
        self.send(v1::ReplyBatch { welcome: Some(welcome), ..Default::default() }).await?;
        self.take(batch.ops).await
    }

    async fn converse(&mut self) -> End {
        loop {
            let step = tokio::select! {
                () = self.service.stop.cancelled() => Err(End::NotLeader),
                () = self.changed.notified() => self.tell_changes().await,
                changed = self.leadership.changed() => self.check_lead(changed.is_ok()),
                answer = self.answers.recv() => match answer {
                    Some(answer) => self.answer(answer).await,
                    None => Err(End::Gone),
                },
                batch = self.batches.message(), if self.under_way < UNDER_WAY => match batch {
                    Ok(Some(batch)) if batch.hello.is_some() => {
                        Err(End::Status(Status::invalid_argument("a second hello")))
                    }
                    Ok(Some(batch)) => self.take(batch.ops).await,
                    // What is under way takes effect or not; there is nobody to tell.
                    Ok(None) | Err(_) => Err(End::Gone),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Whether there is a leader to ask how far the state must be, and there is anything in it.
    fn may_be_asked(&self, leadership: Leadership) -> bool {
        leadership.leader != 0 && self.service.progress.formatted.load(Ordering::Acquire)
    }

    /// A stream belongs to one term: afterwards the client asks again, whoever leads. One for reads goes on.
    fn check_lead(&mut self, known: bool) -> Result<(), End> {
        let leadership = *self.leadership.borrow_and_update();
        if known && self.reads_only {
            return Ok(());
        }
        if known && leadership.serving && leadership.term == self.term { Ok(()) } else { Err(End::NotLeader) }
    }

    fn adopt(&mut self, session: SessionId) {
        self.service.sessions.touch(session);
        self.service.locks.adopt(session, self.number);
        self.service.watches.adopt(session, self.number);
        self.session = Some(session);
    }

    /// Starts the operations of one batch.
    async fn take(&mut self, ops: Vec<v1::Op>) -> Result<(), End> {
        if ops.is_empty() {
            return Ok(());
        }
        if let Some(session) = self.session {
            self.service.sessions.touch(session);
        }
        let mut sorted = Sorted { safe: self.service.effective.is_safe(), ..Sorted::default() };
        let settings = self.service.effective.now();
        for op in ops {
            let tag = op.tag;
            let mut kind = op.kind;
            let inherited = match self.inherited(kind.as_ref(), op.principal.as_ref()) {
                Ok(inherited) => inherited,
                Err(refusal) => {
                    let applied = self.service.progress.applied.get();
                    sorted.answered.push(v1::Reply {
                        tag,
                        applied,
                        result: Some(v1::reply::Result::Error(wire::refusal(&refusal))),
                    });
                    continue;
                }
            };
            if let (Some(kind), Some(policy)) = (&mut kind, inherited) {
                wire::inherit(kind, policy);
            }
            let result = wire::asked(kind, &settings).and_then(|mut asked| {
                if let (Asked::Command(command, _), Some(policy)) = (&mut asked, inherited) {
                    wire::spread(command, policy.spread);
                }
                let principal = self.principal.clone();
                self.asked.insert(tag, Asking { deed: Deed::of(&asked), since: Instant::now(), principal });
                let principal = self.speaks_for(op.principal)?;
                if let Some(asking) = self.asked.get_mut(&tag) {
                    asking.principal.clone_from(&principal);
                }
                self.sort(tag, op.sequence, asked, principal, &mut sorted)
            });
            if let Err(Refused { code, message }) = result {
                let result = Some(v1::reply::Result::Error(proto::error(code, message)));
                sorted.answered.push(v1::Reply { tag, applied: self.service.progress.applied.get(), result });
            }
        }
        self.renewals.extend(sorted.updates.iter().filter_map(|(tag, request)| match &request.command {
            Command::NextGeneration { block, .. } => Some((*tag, *block)),
            _ => None,
        }));
        self.under_way += sorted.updates.len() + sorted.reads.len() + sorted.waits;
        self.propose(sorted.updates);
        self.read(sorted.reads);
        self.reply(sorted.answered).await
    }

    /// What the file has from the directories above it that an operation makes, if it makes one. As this member's state has
    /// it: what was set before the operation was sent is in it.
    fn inherited(&self, kind: Option<&Kind>, named: Option<&v1::Principal>) -> Result<Option<DirectoryPolicy>, Error> {
        let Some(aim) = kind.and_then(wire::aim) else { return Ok(None) };
        // A principal that makes no sense is refused with the operation.
        let Ok(Some(principal)) = self.speaks_for(named.cloned()) else { return Ok(None) };
        let store = &*self.service.store;
        let caller = Caller::of_query(store, Some(&principal)).map_err(QueryError::View);
        match caller.and_then(|caller| directory_policy::of_new_file(store, caller, &aim)) {
            Ok(policy) => Ok(Some(policy)),
            // Without a name nothing else would lead its client to where the file is to be.
            Err(QueryError::Refused(refusal)) if wire::is_nameless(kind) => Err(refusal),
            Err(QueryError::Refused(_)) => Ok(None),
            Err(QueryError::View(error)) => {
                // What cannot be read stops the process elsewhere.
                warn!(%error, "what a directory says cannot be read");
                Ok(None)
            }
        }
    }

    /// On whose behalf an operation is: its own principal's, which only a stream of the superuser may name, or the
    /// stream's.
    fn speaks_for(&self, named: Option<v1::Principal>) -> Result<Option<Arc<Principal>>, Refused> {
        let Some(named) = named else { return Ok(self.principal.clone()) };
        if self.principal.as_ref().is_none_or(|own| own.uid != 0) {
            return Err(refused(Code::NotPermitted, "only a stream of uid 0 may ask on behalf of others"));
        }
        Ok(Some(Arc::new(wire::principal(named)?)))
    }

    fn sort(
        &self,
        tag: u64,
        sequence: u64,
        asked: Asked,
        principal: Option<Arc<Principal>>,
        sorted: &mut Sorted,
    ) -> Result<(), Refused> {
        if self.reads_only && !matches!(asked, Asked::Query(_)) {
            let message = "only queries are answered on a stream for reads; ask the leader on another";
            return Err(refused(Code::NotSupported, message));
        }
        let time = wall_clock();
        match asked {
            Asked::Query(query) => {
                needed(principal.as_ref())?;
                sorted.reads.push((tag, query, principal));
            }
            Asked::KeepAlive => match self.session {
                Some(session) => sorted.reads.push((tag, Query::Session(session), None)),
                None => return Err(refused(Code::InvalidArgument, "a keep-alive without a session")),
            },
            Asked::TestLock { inode, wish } => {
                needed(principal.as_ref())?;
                let query = wire::lock_query(self.session.unwrap_or_default(), inode, wish);
                sorted.reads.push((tag, query, principal));
            }
            Asked::Watch(inode) => {
                needed(principal.as_ref())?;
                // Before the read: what it does not see yet is told.
                if !self.service.watches.watch(self.number, inode) {
                    let message = format!("{WATCHES} inodes are watched already; unwatch some");
                    return Err(refused(Code::NoSpace, message));
                }
                sorted.reads.push((tag, Query::Watch { inode, stream: self.number }, principal));
            }
            Asked::Unwatch(inode) => {
                self.service.watches.unwatch(self.number, inode);
                let applied = self.service.progress.applied.get();
                sorted.answered.push(v1::Reply { tag, applied, result: Some(wire::done()) });
            }
            Asked::WaitForLock { .. } if sequence != 0 => {
                return Err(refused(Code::InvalidArgument, "a lock that is waited for has no sequence number"));
            }
            Asked::WaitForLock { .. } if sorted.safe => return Err(refused(Code::NotPermitted, SAFE_MODE)),
            Asked::WaitForLock { inode, wish, kind } => {
                self.wait_for_lock(tag, inode, wish, kind, needed(principal.as_ref())?.clone())?;
                sorted.waits += 1;
            }
            Asked::CancelLocks { inode, owner } => {
                let owner = LockOwner { session: self.needed_session()?, owner };
                self.service.locks.cancel(owner, inode);
                let applied = self.service.progress.applied.get();
                sorted.answered.push(v1::Reply { tag, applied, result: Some(wire::done()) });
            }
            Asked::Doubt(replica) => {
                needed(principal.as_ref())?;
                // Without room it is lost: the next reader says it again, and the scrubber finds it.
                let _ = self.service.events.try_send(Event::Doubted(replica));
                let applied = self.service.progress.applied.get();
                sorted.answered.push(v1::Reply { tag, applied, result: Some(wire::done()) });
            }
            Asked::OpenSession { client } => {
                let command = Command::OpenSession { client };
                sorted.updates.push((tag, Request { time, origin: None, command, principal: None }));
            }
            Asked::CloseSession => {
                let session = self.needed_session()?;
                // A second close of the same session finds it gone, which is an answer too.
                let command = Command::CloseSession { session };
                sorted.updates.push((tag, Request { time, origin: None, command, principal: None }));
            }
            Asked::Command(mut command, targets) => {
                let session = self.needed_session()?;
                let principal = Some(Principal::clone(needed(principal.as_ref())?));
                if sequence == 0 {
                    return Err(refused(Code::InvalidArgument, "an update without a sequence number"));
                }
                let origin = Origin { session, sequence: Sequence::new(sequence) };
                // A retry of what was done before is answered all the same.
                if sorted.safe && !matches!(query::known_result(&*self.service.store, origin), Ok(Some(_))) {
                    return Err(refused(Code::NotPermitted, SAFE_MODE));
                }
                if let Command::RecoverLease { place, holder, .. } | Command::Append { place, holder } = &mut command {
                    *holder = self.holder(place, time);
                }
                if let Some(targets) = targets
                    && let Err(too_few) = self.choose(&mut command, &targets)
                {
                    // A retry is answered from what is stored, however few datanodes there are by now.
                    let known = query::known_result(&*self.service.store, origin);
                    if !matches!(known, Ok(Some(_))) {
                        return Err(refused(Code::NoDatanodes, too_few));
                    }
                }
                sorted.updates.push((tag, Request { time, origin: Some(origin), command, principal }));
            }
        }
        Ok(())
    }

    fn wait_for_lock(
        &self,
        tag: u64,
        inode: InodeId,
        wish: LockWish,
        kind: LockKind,
        principal: Principal,
    ) -> Result<(), Refused> {
        let session = self.needed_session()?;
        let origin = Some(Origin { session, sequence: Sequence::new(0) });
        let principal = Some(principal);
        let request = Request { time: wall_clock(), origin, command: locks::command(inode, wish), principal };
        let (done, progress) = (self.done.clone(), self.service.progress.clone());
        let answered = Box::new(move |ended| {
            // A stream that has ended wants no answer.
            let _ = done.send(match ended {
                Ended::Proposal(result) => Done::Updates { tags: vec![tag], result },
                Ended::Refused(code, message) => {
                    let result = Some(v1::reply::Result::Error(proto::error(code, message)));
                    Done::Reads(vec![v1::Reply { tag, applied: progress.applied.get(), result }])
                }
            });
        });
        self.service.locks.ask(Wait { stream: self.number, session, inode, wish, kind, request, answered });
        Ok(())
    }

    fn needed_session(&self) -> Result<SessionId, Refused> {
        self.session.ok_or_else(|| refused(Code::InvalidArgument, "an update needs a session; open one first"))
    }

    /// Who writes the file at a place, and until when nobody may take it from that client.
    fn holder(&self, place: &Where, now: Timestamp) -> Option<Holder> {
        let session = match query::holder(&*self.service.store, Caller::SYSTEM, place) {
            Ok(session) => session?,
            // Refused with the command.
            Err(QueryError::Refused(_)) => return None,
            Err(QueryError::View(error)) => {
                warn!(%error, "the holder of a lease cannot be read");
                return None;
            }
        };
        let left = self.service.config.settings.lease_soft_limit.saturating_sub(self.service.sessions.silence(session));
        Some(Holder { session, soft_limit: now.saturating_add(left) })
    }

    /// Puts the targets of the blocks to come into a command.
    fn choose(&self, command: &mut Command, wanted: &Targets) -> Result<(), TooFew> {
        let block_size = self.service.effective.now().block_size;
        let mut spread = wanted.spread;
        let (replicas, block_size, chains) = match command {
            Command::Create { layout, targets, .. } => {
                spread = layout.spread;
                (layout.replication, layout.block_size, std::slice::from_mut(targets))
            }
            Command::AllocateBlocks { wanted, targets } => (*wanted, block_size, targets.as_mut_slice()),
            Command::AddBlock { inode, targets, .. } => {
                let place = Where { base: *inode, path: Vec::new() };
                match query::stat(&*self.service.store, Caller::SYSTEM, &place) {
                    Ok(row) => {
                        spread = row.spread;
                        (row.replication, row.block_size, std::slice::from_mut(targets))
                    }
                    // Refused without targets too, and by the one who decides.
                    Err(QueryError::Refused(_)) => return Ok(()),
                    Err(QueryError::View(error)) => {
                        warn!(%inode, %error, "the layout of a file cannot be read");
                        return Ok(());
                    }
                }
            }
            _ => return Ok(()),
        };
        for targets in chains {
            *targets = self.service.datanodes.targets(&Wish {
                replicas,
                least: self.service.config.settings.min_replicas_of(replicas),
                block_size,
                exclude: &wanted.exclude,
                writer_host: Some(wanted.client_host.as_str()).filter(|host| !host.is_empty()),
                spread,
                seed: self.service.next_seed(),
            })?;
        }
        Ok(())
    }

    /// Proposes updates in their order, in pieces that fit an entry.
    fn propose(&self, updates: Vec<(u64, Request)>) {
        let mut piece = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for (tag, request) in updates {
            let size = match &request.command {
                Command::PutInline { content, .. } => content.len(),
                Command::SetXattr { value, .. } => value.len(),
                Command::Publish { publication } => publication.size(),
                Command::CompleteUpload { completion } => completion.size(),
                Command::CreateUpload { properties, .. } => properties.len(),
                Command::PutPart { part, .. } => part.properties.len(),
                command => wire::size(command).unwrap_or(0),
            } + request.principal.as_ref().map_or(0, |principal| 5 * principal.groups.len());
            if piece.0.len() >= ENTRY_REQUESTS || bytes + size > ENTRY_BYTES {
                self.propose_piece(std::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += size;
            piece.0.push(tag);
            piece.1.push(request);
        }
        self.propose_piece(piece);
    }

    fn propose_piece(&self, (tags, requests): (Vec<u64>, Vec<Request>)) {
        if tags.is_empty() {
            return;
        }
        let done = self.done.clone();
        // A stream that has ended wants no answer.
        self.service.raft.propose(requests, Box::new(move |result| drop(done.send(Done::Updates { tags, result }))));
    }

    fn read(&self, queries: Vec<(u64, Query, Option<Arc<Principal>>)>) {
        if queries.is_empty() {
            return;
        }
        let (done, jobs) = (self.done.clone(), self.service.jobs.clone());
        self.service.raft.read(Box::new(move |readable| match readable {
            Ok(_) => {
                let answered = Box::new(move |replies| drop(done.send(Done::Reads(replies))));
                // The readers end after the streams do.
                let _ = jobs.send(Job::Answer { queries, answered });
            }
            Err(refusal) => {
                let tags = queries.into_iter().map(|(tag, _, _)| tag).collect();
                let _ = done.send(Done::ReadsRefused { tags, refusal });
            }
        }));
    }

    /// Sends an answer, and whatever else has come in meanwhile.
    async fn answer(&mut self, first: Done) -> Result<(), End> {
        let mut replies = Vec::new();
        let mut next = Some(first);
        while let Some(done) = next {
            self.collect(done, &mut replies)?;
            next = self.answers.try_recv().ok();
        }
        self.under_way = self.under_way.saturating_sub(replies.len());
        self.reply(replies).await
    }

    fn collect(&mut self, done: Done, replies: &mut Vec<v1::Reply>) -> Result<(), End> {
        match done {
            Done::Reads(reads) => replies.extend(reads),
            Done::Updates { tags, result: Ok(Answers { applied, outcomes }) } => {
                for (tag, outcome) in tags.into_iter().zip(outcomes) {
                    if let Ok(Reply::Session { session }) = outcome {
                        self.adopt(session);
                    }
                    let datanodes = &self.service.datanodes;
                    let answer = wire::reply(outcome, datanodes);
                    let result = Some(match self.renewals.remove(&tag) {
                        Some(block) => wire::renewed(answer, block, datanodes),
                        None => answer,
                    });
                    replies.push(v1::Reply { tag, applied, result });
                }
            }
            Done::Updates { tags, result: Err(refusal) } | Done::ReadsRefused { tags, refusal } => {
                self.service.metrics.refuse(refusal, tags.len());
                let (code, message) = match refusal {
                    Refusal::NotLeader if self.reads_only => {
                        (Code::NotLeader, "this namenode cannot tell how old its state is; ask another")
                    }
                    Refusal::NotLeader => return Err(End::NotLeader),
                    Refusal::Busy => (Code::Busy, "too much is under way; send it again in a moment"),
                    Refusal::Unknown => (Code::Unknown, "the leader changed; send it again with the same number"),
                };
                let applied = self.service.progress.applied.get();
                for tag in tags {
                    self.renewals.remove(&tag);
                    let result = Some(v1::reply::Result::Error(proto::error(code, message)));
                    replies.push(v1::Reply { tag, applied, result });
                }
            }
        }
        Ok(())
    }

    /// Counts an answer, and notes who is to be remembered for it.
    fn account(&mut self, reply: &v1::Reply) {
        // One that made no sense has no name.
        let Some(Asking { deed, since, principal }) = self.asked.remove(&reply.tag) else { return };
        let refused = match &reply.result {
            Some(v1::reply::Result::Error(error)) => Some(error.typed_code()),
            _ => None,
        };
        self.service.metrics.answered(&deed, refused, since.elapsed());
        if self.service.audit.takes(deed.class, refused) {
            let (at, from, session) = (SystemTime::now(), self.from.clone(), self.session);
            self.audited.push(Entry { at, deed, principal, by: String::new(), from, session, refused });
        }
    }

    /// Tells the client what of that which it watches has changed.
    async fn tell_changes(&mut self) -> Result<(), End> {
        while let Some(told) = self.service.watches.take(self.number) {
            self.send(v1::ReplyBatch { changes: Some(wire::changes(told)), ..Default::default() }).await?;
        }
        Ok(())
    }

    /// Sends replies in batches that fit a message.
    async fn reply(&mut self, replies: Vec<v1::Reply>) -> Result<(), End> {
        let (mut batch, mut bytes, mut sent) = (v1::ReplyBatch::default(), 0, Ok(()));
        for reply in replies {
            self.account(&reply);
            let size = reply.encoded_len();
            if bytes + size > BATCH_BYTES && !batch.replies.is_empty() {
                let full = std::mem::take(&mut batch);
                if sent.is_ok() {
                    sent = self.send(full).await;
                }
                bytes = 0;
            }
            bytes += size;
            batch.replies.push(reply);
        }
        if sent.is_ok() && !batch.replies.is_empty() {
            sent = self.send(batch).await;
        }
        // Not before the answers, which nobody waits for the log with.
        let audited = std::mem::take(&mut self.audited);
        self.service.audit.write(audited).await;
        sent
    }

    async fn send(&self, batch: v1::ReplyBatch) -> Result<(), End> {
        match tokio::time::timeout(SEND_TIMEOUT, self.replies.send(Ok(batch))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                warn!(session = ?self.session, "a client does not read its replies, and is left");
                Err(End::Gone)
            }
        }
    }
}

fn needed(principal: Option<&Arc<Principal>>) -> Result<&Principal, Refused> {
    let missing = || refused(Code::InvalidArgument, "the hello named no principal; say on whose behalf this is asked");
    principal.map(Arc::as_ref).ok_or_else(missing)
}

fn refused(code: Code, message: impl std::fmt::Display) -> Refused {
    Refused { code, message: message.to_string() }
}
