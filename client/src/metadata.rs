//! The metadata side: operations go to one task, which owns the stream to the leader. Queries may go to another, with a
//! stream to any member.

mod connection;
mod dial;
mod follow;
mod operations;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::v1;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use types::{ClusterId, SessionId};

use crate::config::{Config, ReadFrom};
use crate::error::Fault;
use crate::object::{Attributes, Defaults};
use crate::watcher::Watching;
use crate::wire;

use connection::{Connection, Lead};
pub(crate) use dial::chain;
use operations::Newest;

/// Operations that wait to be taken up by the task.
const QUEUE: usize = 1024;

/// Longer than anything waits.
const NO_DEADLINE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What an operation needs of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing: it changes nothing and may be asked of anyone, any number of times.
    Read,
    /// A session, so that it is applied once; any will do.
    Update,
    /// A session, and no answer until there is one: it is not missed meanwhile, and sent again on another stream.
    Wait,
    /// This very session, which holds a lease.
    Lease(SessionId),
    /// Ends the session, if there is one.
    Leave,
}

/// An answer, and the session under which it was obtained.
pub(crate) type Answer = (v1::reply::Result, SessionId);

/// An operation on its way to the task.
#[derive(Debug)]
pub(crate) struct Request {
    op: v1::op::Kind,
    scope: Scope,
    /// On whose behalf, if not that of the stream.
    principal: Option<Arc<v1::Principal>>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Answer, Fault>>,
}

/// The handle: it sends operations and waits for answers.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    requests: mpsc::Sender<Request>,
    /// To the task that asks any member.
    reads: Option<mpsc::Sender<Request>>,
    op_timeout: Duration,
    cluster: ClusterId,
    defaults: Defaults,
    leader: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    tasks: Arc<Mutex<Vec<AbortOnDropHandle<()>>>>,
    principal: Option<Arc<v1::Principal>>,
    watching: Arc<Watching>,
}

impl Metadata {
    pub(crate) async fn connect(config: &Config) -> Result<Self, Fault> {
        if config.namenodes.is_empty() {
            return Err(Fault::Configuration("no namenode address is given".to_owned()));
        }
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (say_leader, leader) = watch::channel(None);
        let (say_welcome, welcome) = oneshot::channel();
        let stop = CancellationToken::new();
        let watching = Arc::<Watching>::default();
        let newest = Arc::<Newest>::default();
        let lead = Lead { say_leader, say_welcome: Some(say_welcome), watching: watching.clone() };
        let connection = Connection::new(config.clone(), receiver, Some(lead), stop.clone(), newest.clone());
        let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(connection.run()))];
        let (cluster, defaults) = welcome.await.map_err(|_| Fault::Closed)??;
        let reads = (config.read_from == ReadFrom::Any).then(|| {
            let (reads, receiver) = mpsc::channel(QUEUE);
            let connection = Connection::new(config.clone(), receiver, None, stop.clone(), newest).of(cluster);
            tasks.push(AbortOnDropHandle::new(tokio::spawn(connection.run())));
            reads
        });
        let (tasks, principal, op_timeout) = (Arc::new(Mutex::new(tasks)), None, config.op_timeout);
        Ok(Self { requests, reads, op_timeout, cluster, defaults, leader, stop, tasks, principal, watching })
    }

    /// The same task, asked on behalf of another.
    pub(crate) fn speaking_for(&self, principal: v1::Principal) -> Self {
        Self { principal: Some(Arc::new(principal)), ..self.clone() }
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    pub(crate) fn watching(&self) -> &Watching {
        &self.watching
    }

    /// Until the client is closed.
    pub(crate) async fn closed(&self) {
        self.stop.cancelled().await;
    }

    /// The address of the leader, while connected to it.
    pub(crate) fn leader(&self) -> Option<String> {
        self.leader.borrow().clone()
    }

    /// Sends one operation and waits for its answer, as [`Self::ask`] does. Symbolic links on the way are followed.
    pub(crate) async fn call(&self, op: v1::op::Kind, scope: Scope) -> Result<Answer, Fault> {
        follow::call(self, op, scope).await
    }

    /// What is at a place in the end, if that is a symbolic link.
    pub(crate) async fn stat(&self, place: v1::Where) -> Result<Attributes, Fault> {
        wire::attributes(follow::stat(self, place).await?)
    }

    /// Sends one operation and waits for its answer, through any number of lost connections and leaders, until
    /// `op_timeout`.
    async fn ask(&self, op: v1::op::Kind, scope: Scope) -> Result<Answer, Fault> {
        let deadline = Instant::now() + self.op_timeout;
        let (answer, answered) = oneshot::channel();
        let requests = match &self.reads {
            Some(reads) if scope == Scope::Read && is_for_any(&op) => reads,
            Some(_) | None => &self.requests,
        };
        let request = Request { op, scope, principal: self.principal.clone(), deadline, answer };
        match tokio::time::timeout_at(deadline, requests.send(request)).await {
            Ok(Ok(())) => answered.await.unwrap_or(Err(Fault::Closed)),
            Ok(Err(_)) => Err(Fault::Closed),
            Err(_) => {
                Err(Fault::NoAnswer { after: self.op_timeout, reason: "too many operations are waiting".to_owned() })
            }
        }
    }

    /// Sends one operation that is answered when its time has come, however long that takes.
    pub(crate) async fn wait(&self, op: v1::op::Kind) -> Result<Answer, Fault> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            op,
            scope: Scope::Wait,
            deadline: Instant::now() + NO_DEADLINE,
            principal: self.principal.clone(),
            answer,
        };
        self.requests.send(request).await.map_err(|_| Fault::Closed)?;
        answered.await.unwrap_or(Err(Fault::Closed))
    }

    /// [`Self::call`] for an operation that answers with attributes.
    pub(crate) async fn attributes(&self, op: v1::op::Kind, scope: Scope) -> Result<Attributes, Fault> {
        match self.call(op, scope).await?.0 {
            v1::reply::Result::Attributes(attributes) => wire::attributes(attributes),
            other => Err(Self::unexpected(&other)),
        }
    }

    pub(crate) fn unexpected(answer: &v1::reply::Result) -> Fault {
        let name = match answer {
            v1::reply::Result::Error(_) => "error",
            v1::reply::Result::Done(_) => "done",
            v1::reply::Result::Session(_) => "session",
            v1::reply::Result::Attributes(_) => "attributes",
            v1::reply::Result::Created(_) => "created",
            v1::reply::Result::Block(_) => "block",
            v1::reply::Result::Generation(_) => "generation",
            v1::reply::Result::Lease(_) => "lease",
            v1::reply::Result::Listing(_) => "listing",
            v1::reply::Result::Opened(_) => "opened",
            v1::reply::Result::Xattr(_) => "xattr",
            v1::reply::Result::XattrNames(_) => "xattr names",
            v1::reply::Result::Blocks(_) => "blocks",
            v1::reply::Result::Written(_) => "written",
            v1::reply::Result::ExtentMap(_) => "extent map",
            v1::reply::Result::LockHolder(_) => "lock holder",
            v1::reply::Result::Object(_) => "object",
            v1::reply::Result::KeyPage(_) => "key page",
            v1::reply::Result::Buckets(_) => "buckets",
            v1::reply::Result::AccessKeys(_) => "access keys",
            v1::reply::Result::Trashed(_) => "trashed",
            v1::reply::Result::TrashPage(_) => "trash page",
            v1::reply::Result::Emptied(_) => "emptied",
            v1::reply::Result::Upload(_) => "an upload",
            v1::reply::Result::Part(_) => "a part",
            v1::reply::Result::FoundUploads(_) => "uploads",
            v1::reply::Result::Supergroup(_) => "supergroup",
            v1::reply::Result::InForce(_) => "what a directory says",
            v1::reply::Result::Users(_) => "users",
        };
        Fault::Protocol { peer: "the namenode".to_owned(), problem: format!("an answer of kind {name:?} came unasked") }
    }

    /// Ends the session and the task.
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        let left = self.call(v1::op::Kind::CloseSession(v1::CloseSession {}), Scope::Leave).await;
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("nothing panics while it holds the tasks"));
        for task in tasks {
            // Only a panic of the task is an error here; it has been reported by the runtime.
            task.await.ok();
        }
        match left {
            // An expired session is a closed one.
            Ok(_) | Err(Fault::SessionLost | Fault::Closed) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

/// Whether an operation is a query of the state, which every member has. Locks, watches and sessions are the leader's.
fn is_for_any(op: &v1::op::Kind) -> bool {
    use v1::op::Kind as Op;
    matches!(
        op,
        Op::Stat(_)
            | Op::Access(_)
            | Op::List(_)
            | Op::Open(_)
            | Op::Extents(_)
            | Op::GetXattr(_)
            | Op::ListXattrs(_)
            | Op::OpenKey(_)
            | Op::ListKeys(_)
            | Op::FindBuckets(_)
            | Op::FindAccessKeys(_)
            | Op::FindUsers(_)
            | Op::FindDirectoryPolicy(_)
    )
}
