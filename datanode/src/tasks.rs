//! What a leader tells this node to do. Doing a task twice is harmless; doing one of a leader that was deposed is not
//! (invariant 2 of the crate).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use proto::v1;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use types::{BlockId, ByteSize, Code, GenStamp, StorageId, Term};

use crate::copy::{self, Copy};
use crate::gather::{self, Gather, Gathered};
use crate::node::Node;
use crate::store::{Offered, StoreError, Volume};

/// Tasks that wait. What finds no room is sent again by the leader, which has no result for it.
const QUEUE: usize = 4096;

/// Replicas without a writer that are read and ended at a time.
const TAKEOVERS: usize = 4;

/// Where tasks are handed in. Clones share the queues.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    deletes: mpsc::Sender<Queued>,
    /// Copies and checks: they read whole replicas.
    copies: mpsc::Sender<Queued>,
    takeovers: mpsc::Sender<Queued>,
    known: Known,
}

/// The tasks that wait or run.
type Known = Arc<Mutex<BTreeSet<Key>>>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Delete(StorageId, BlockId, GenStamp, u64),
    Copy(StorageId, BlockId, GenStamp),
    Gather(StorageId, BlockId, GenStamp),
    Check(StorageId, BlockId, GenStamp),
    Offer(StorageId, BlockId, GenStamp),
    End(StorageId, BlockId, GenStamp, ByteSize),
}

#[derive(Debug)]
struct Queued {
    term: Term,
    key: Key,
    task: v1::Task,
}

/// The receiving ends.
#[derive(Debug)]
pub(crate) struct Work {
    deletes: mpsc::Receiver<Queued>,
    copies: mpsc::Receiver<Queued>,
    takeovers: mpsc::Receiver<Queued>,
    known: Known,
}

pub(crate) fn queues() -> (Tasks, Work) {
    let (deletes, take_deletes) = mpsc::channel(QUEUE);
    let (copies, take_copies) = mpsc::channel(QUEUE);
    let (takeovers, take_takeovers) = mpsc::channel(QUEUE);
    let known = Known::default();
    let work =
        Work { deletes: take_deletes, copies: take_copies, takeovers: take_takeovers, known: Arc::clone(&known) };
    (Tasks { deletes, copies, takeovers, known }, work)
}

impl Tasks {
    /// Takes a task, unless it waits or runs already. False: there is no room.
    pub(crate) fn add(&self, term: Term, task: v1::Task) -> bool {
        let key = match key(&task) {
            Ok(key) => key,
            Err(reason) => {
                warn!(reason, "a task makes no sense");
                return true;
            }
        };
        let queue = match key {
            Key::Delete(..) => &self.deletes,
            Key::Copy(..) | Key::Gather(..) | Key::Check(..) => &self.copies,
            Key::Offer(..) | Key::End(..) => &self.takeovers,
        };
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return true;
        }
        if let Err(refused) = queue.try_send(Queued { term, key, task }) {
            forget(&self.known, &refused.into_inner().key);
            return false;
        }
        true
    }
}

fn forget(known: &Known, key: &Key) {
    known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
}

fn key(task: &v1::Task) -> Result<Key, String> {
    let (storage, block, generation) = match &task.kind {
        Some(v1::task::Kind::Delete(task)) => (&task.storage, task.block, task.generation),
        Some(v1::task::Kind::Copy(task)) => (&task.storage, task.block, task.generation),
        Some(v1::task::Kind::Gather(task)) => (&task.storage, task.block, task.generation),
        Some(v1::task::Kind::Check(task)) => (&task.storage, task.block, task.generation),
        Some(v1::task::Kind::Offer(task)) => (&task.storage, task.block, task.generation),
        Some(v1::task::Kind::End(task)) => (&task.storage, task.block, task.generation),
        Some(v1::task::Kind::Scrub(_)) => return Err("a scrub is not of one replica".to_owned()),
        None => return Err("it is of an unknown kind".to_owned()),
    };
    let storage = proto::storage_id(storage, "Task.storage").map_err(|error| error.to_string())?;
    let block = proto::block_id(block, "Task.block").map_err(|error| error.to_string())?;
    let generation = GenStamp::new(generation);
    match &task.kind {
        Some(v1::task::Kind::Delete(task)) => Ok(Key::Delete(storage, block, generation, task.due)),
        Some(v1::task::Kind::Copy(_)) => Ok(Key::Copy(storage, block, generation)),
        Some(v1::task::Kind::Gather(_)) => Ok(Key::Gather(storage, block, generation)),
        Some(v1::task::Kind::Check(_)) => Ok(Key::Check(storage, block, generation)),
        Some(v1::task::Kind::Offer(_)) => Ok(Key::Offer(storage, block, generation)),
        Some(v1::task::Kind::End(task)) => Ok(Key::End(storage, block, generation, ByteSize::new(task.length))),
        Some(v1::task::Kind::Scrub(_)) | None => Err("it is of an unknown kind".to_owned()),
    }
}

/// Does the tasks until `stop`: deletions one after the other, copies and replicas without a writer a few at a time.
pub(crate) async fn run(node: Arc<Node>, work: Work, stop: CancellationToken) {
    let Work { mut deletes, mut copies, mut takeovers, known } = work;
    let room = Arc::new(Semaphore::new(node.settings.max_copies));
    let takeover_room = Arc::new(Semaphore::new(TAKEOVERS));
    let mut copying = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(queued) = deletes.recv() => {
                if node.is_current(queued.term) {
                    let error = delete(&node, &queued.key).await.err();
                    node.add_result(v1::TaskResult { task: Some(queued.task), error, ..v1::TaskResult::default() });
                }
                forget(&known, &queued.key);
            }
            Some(_) = copying.join_next() => {}
            Some((queued, permit)) = async {
                let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
                Some((copies.recv().await?, permit))
            } => {
                let (node, known) = (Arc::clone(&node), Arc::clone(&known));
                copying.spawn(async move {
                    match &queued.task.kind {
                        Some(v1::task::Kind::Check(check)) => check_task(&node, &queued, check).await,
                        Some(v1::task::Kind::Gather(gather)) => gather_task(&node, &queued, gather).await,
                        Some(
                            v1::task::Kind::Copy(_)
                            | v1::task::Kind::Delete(_)
                            | v1::task::Kind::Offer(_)
                            | v1::task::Kind::End(_)
                            | v1::task::Kind::Scrub(_),
                        )
                        | None => copy_task(&node, &queued).await,
                    }
                    forget(&known, &queued.key);
                    drop(permit);
                });
            }
            Some((queued, permit)) = async {
                let permit = Arc::clone(&takeover_room).acquire_owned().await.expect("never closed");
                Some((takeovers.recv().await?, permit))
            } => {
                let (node, known) = (Arc::clone(&node), Arc::clone(&known));
                copying.spawn(async move {
                    takeover_task(&node, queued, &known).await;
                    drop(permit);
                });
            }
        }
    }
    copying.shutdown().await;
}

async fn delete(node: &Node, key: &Key) -> Result<(), v1::Error> {
    let Key::Delete(storage, block, generation, _) = *key else {
        unreachable!("only deletions are in the queue of deletions");
    };
    let Some(volume) = node.volumes.get(&storage) else {
        return Err(proto::error(Code::NotFound, format!("storage {storage} is not on this node")));
    };
    let on = Arc::clone(volume);
    match volume.disk.run(move || on.delete(block, generation)).await {
        Ok(Ok(())) => {
            info!(%block, %generation, %storage, "deleted a replica");
            Ok(())
        }
        Ok(Err(error)) => Err(proto::error(error.code(), error)),
        Err(gone) => Err(proto::error(Code::Io, gone)),
    }
}

/// Reads all of a replica. What is wrong with it is the result: the leader decides what follows.
async fn check_task(node: &Node, queued: &Queued, check: &v1::CheckReplica) {
    let Key::Check(storage, block, generation) = queued.key else {
        unreachable!("the key was made of a check");
    };
    if !node.is_current(queued.term) {
        return;
    }
    let length = ByteSize::new(check.length);
    let error = match node.volumes.get(&storage) {
        None => Some(proto::error(Code::Io, format!("storage {storage} is not on this node"))),
        Some(volume) => {
            let on = Arc::clone(volume);
            match volume.disk.run(move || on.verify(block, generation, length)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) if error.is_damage() => Some(proto::error(Code::Corrupt, error)),
                Ok(Err(error)) => Some(proto::error(error.code(), error)),
                Err(gone) => Some(proto::error(Code::Io, gone)),
            }
        }
    };
    if let Some(error) = &error {
        warn!(%block, %generation, %storage, reason = error.message, "a replica was looked at, and is not what it should be");
    }
    node.add_result(v1::TaskResult { task: Some(queued.task.clone()), error, ..v1::TaskResult::default() });
}

async fn copy_task(node: &Node, queued: &Queued) {
    let Some(v1::task::Kind::Copy(task)) = &queued.task.kind else {
        unreachable!("only copies are in the queue of copies");
    };
    if !node.is_current(queued.term) {
        return;
    }
    let (error, bad_sources) = match Copy::read(task) {
        Ok(copy) => {
            let done = copy::run(node, &copy).await;
            match &done.result {
                Ok(()) => {
                    info!(block = %copy.block, generation = %copy.generation, storage = %copy.storage, "copied a replica")
                }
                Err((code, reason)) => {
                    warn!(block = %copy.block, generation = %copy.generation, %code, reason, "a replica cannot be copied");
                }
            }
            let error = done.result.err().map(|(code, reason)| proto::error(code, reason));
            (error, done.bad_sources)
        }
        Err(wrong) => (Some(proto::error(Code::InvalidArgument, wrong)), Vec::new()),
    };
    let bad_sources = bad_sources.iter().map(|storage| storage.as_bytes().to_vec()).collect();
    node.add_result(v1::TaskResult {
        task: Some(queued.task.clone()),
        error,
        bad_sources,
        ..v1::TaskResult::default()
    });
}

async fn gather_task(node: &Node, queued: &Queued, task: &v1::GatherReplica) {
    if !node.is_current(queued.term) {
        return;
    }
    let (error, gathered) = match Gather::read(task) {
        Ok(gather) => {
            let Gathered { result, bad } = gather::run(node, &gather).await;
            let (block, storage) = (gather.block, gather.storage);
            match &result {
                Ok(_) => info!(%block, %storage, parts = task.pieces.len(), "gathered a replica"),
                Err((code, reason)) => warn!(%block, %storage, %code, reason, "a replica cannot be gathered"),
            }
            let checksum = *result.as_ref().unwrap_or(&0);
            (result.err().map(|(code, reason)| proto::error(code, reason)), v1::Gathered { checksum, bad })
        }
        Err(wrong) => (Some(proto::error(Code::InvalidArgument, wrong)), v1::Gathered::default()),
    };
    let task = v1::GatherReplica { pieces: Vec::new(), ..task.clone() };
    let task = Some(v1::Task { kind: Some(v1::task::Kind::Gather(task)) });
    node.add_result(v1::TaskResult { task, error, gathered: Some(gathered), ..v1::TaskResult::default() });
}

/// One step of ending a replica whose writer is lost.
async fn takeover_task(node: &Node, queued: Queued, known: &Known) {
    let Queued { term, key, task } = queued;
    if !node.is_current(term) {
        return forget(known, &key);
    }
    let outcome = match key {
        Key::Offer(storage, block, generation) => {
            on_volume(node, storage, move |volume| volume.offer(block, generation).map(Some)).await
        }
        Key::End(storage, block, generation, length) => {
            on_volume(node, storage, move |volume| volume.end(block, generation, length).map(|()| None)).await
        }
        Key::Delete(..) | Key::Copy(..) | Key::Gather(..) | Key::Check(..) => {
            unreachable!("they have queues of their own")
        }
    };
    match &outcome {
        Ok(offered) => info!(?key, ?offered, "a step of the recovery of a replica is done"),
        Err((code, reason)) => warn!(?key, %code, reason, "a step of the recovery of a replica failed"),
    }
    let (offered, error) = match outcome {
        Ok(offered) => (offered, None),
        Err((code, reason)) => (None, Some(proto::error(code, reason))),
    };
    let offered = offered.map(|Offered { length, intact }| v1::Offered { length: length.get(), intact });
    // Forgotten first: whoever hears the result may ask for the next step at once.
    forget(known, &key);
    node.add_result(v1::TaskResult { task: Some(task), error, offered, ..v1::TaskResult::default() });
}

async fn on_volume<T: Send + 'static>(
    node: &Node,
    storage: StorageId,
    work: impl FnOnce(&Volume) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, (Code, String)> {
    let Some(volume) = node.volumes.get(&storage) else {
        return Err((Code::NotFound, format!("storage {storage} is not on this node")));
    };
    let on = Arc::clone(volume);
    match volume.disk.run(move || work(&on)).await {
        Ok(result) => result.map_err(|error| (error.code(), error.to_string())),
        Err(gone) => Err((Code::Io, gone.to_string())),
    }
}
