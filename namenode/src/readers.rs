//! The threads that answer queries, off the raft thread and off the RPC runtime, because the store may go to disk.

use std::sync::Arc;
use std::thread::JoinHandle;

use namespace::command::Principal;
use namespace::directory_policy;
use namespace::key_listing::{self, KeyQuery};
use namespace::query::{self, UploadQuery};
use namespace::view::{View, ViewError};
use namespace::{Caller, QueryError};
use proto::v1;
use types::{Code, SessionId};

use crate::datanodes::Datanodes;
use crate::failure::Failures;
use crate::progress::Progress;
use crate::queue::{self, Receiver, Sender};
use crate::store::{Recent, Store};
use crate::watches::Watches;
use crate::wire::{self, Query};

/// Buckets or access keys in one answer.
const BUCKETS: usize = 1000;
/// Items of the trash in one answer.
const TRASHED: usize = 1000;
const THREADS: usize = 2;

/// What the threads do.
pub(crate) enum Job {
    /// Answer queries from one state.
    Answer {
        /// With the tags of their replies, and on whose behalf.
        queries: Vec<(u64, Query, Option<Arc<Principal>>)>,
        answered: Box<dyn FnOnce(Vec<v1::Reply>) + Send>,
    },
    /// One thread ends.
    Stop,
}

/// The threads.
#[derive(Debug)]
pub(crate) struct Readers {
    threads: Vec<JoinHandle<()>>,
}

struct Reader {
    jobs: Receiver<Job>,
    store: Arc<Store>,
    progress: Arc<Progress>,
    datanodes: Arc<Datanodes>,
    watches: Arc<Watches>,
}

impl Readers {
    /// The queue has no bound of its own: each client has one for what it has under way.
    pub(crate) fn start(
        store: &Arc<Store>,
        progress: &Arc<Progress>,
        datanodes: &Arc<Datanodes>,
        watches: &Arc<Watches>,
        waiting: &Arc<telemetry::Queue>,
        failures: &Failures,
    ) -> std::io::Result<(Self, Sender<Job>)> {
        let (sender, jobs) = queue::unbounded(waiting);
        let start = || {
            let (store, progress) = (store.clone(), progress.clone());
            let (datanodes, watches) = (datanodes.clone(), watches.clone());
            let reader = Reader { jobs: jobs.clone(), store, progress, datanodes, watches };
            failures.thread("reader", move || reader.run())
        };
        let threads = (0..THREADS).map(|_| start()).collect::<Result<_, _>>()?;
        Ok((Self { threads }, sender))
    }

    /// Ends the threads, after the jobs that wait.
    pub(crate) fn stop(self, jobs: &Sender<Job>) {
        for _ in &self.threads {
            // They have ended already if nobody receives.
            let _ = jobs.send(Job::Stop);
        }
        for thread in self.threads {
            // A panic has been reported as a failure already.
            let _ = thread.join();
        }
    }
}

impl Reader {
    fn run(self) -> Result<(), String> {
        while let Ok(Job::Answer { queries, answered }) = self.jobs.recv() {
            // Taken before the snapshot, which is therefore at least so far.
            let applied = self.progress.applied.get();
            let state = self.store.state();
            let snapshot = Recent::new(state.snapshot());
            let mut replies = Vec::with_capacity(queries.len());
            for (tag, query, principal) in queries {
                let principal = principal.as_deref();
                let caller = Caller::of_query(&snapshot, principal).map_err(|error| error.to_string())?;
                let result = self.answer(&snapshot, caller, &query).map_err(|error| error.to_string())?;
                replies.push(v1::Reply { tag, applied, result: Some(result) });
            }
            drop(snapshot);
            drop(state);
            answered(replies);
        }
        Ok(())
    }

    fn answer(&self, state: &impl View, caller: Caller<'_>, query: &Query) -> Result<v1::reply::Result, ViewError> {
        let answer = match query {
            Query::Stat(place) => query::stat(state, caller, place).map(|row| wire::stated(&row)),
            Query::List { place, after, limit } => query::list(state, caller, place, after, *limit).map(wire::listing),
            Query::Open { place, offset, length, reader } => query::open(state, caller, place, *offset, *length)
                .map(|opened| wire::opened(opened, reader, &self.datanodes)),
            Query::Xattr { place, name } => query::xattr(state, caller, place, name).map(wire::xattr),
            Query::Access { place, mask } => query::access(state, caller, place, *mask).map(|()| wire::done()),
            Query::XattrNames(place) => query::xattr_names(state, caller, place).map(wire::xattr_names),
            Query::DirectoryPolicy(place) => directory_policy::in_force(state, caller, place).map(wire::in_force),
            Query::Extents { place, offset, limit } => {
                query::extents(state, caller, place, *offset, *limit).map(|map| wire::extents(&map))
            }
            Query::Watch { inode, stream } => {
                let allowed = query::may_watch(state, caller, *inode);
                if allowed.is_err() {
                    self.watches.unwatch(*stream, *inode);
                }
                allowed.map(|()| wire::done())
            }
            Query::LockHolder { session, inode, wish } => {
                query::lock_holder(state, caller, *session, *inode, wish).map(wire::lock_holder)
            }
            Query::Uploads { bucket, prefix, delimiter, after, after_id, max } => {
                let query = UploadQuery { prefix, delimiter, after, after_id: *after_id, max: *max };
                query::uploads(state, caller, bucket, &query).map(wire::uploads)
            }
            Query::Parts { upload, after, max } => query::parts(state, caller, upload, *after, *max).map(wire::parts),
            Query::OpenKey { bucket, key, offset, length, reader, with_parts } => {
                query::open_key(state, caller, bucket, key, *offset, *length, *with_parts)
                    .map(|object| wire::opened_object(object, reader, &self.datanodes))
            }
            Query::Keys { bucket, prefix, delimiter, after, max } => {
                let query = KeyQuery { prefix, delimiter, after, max: *max };
                key_listing::list(state, caller, bucket, &query).map(wire::key_page)
            }
            Query::Bucket(name) => query::bucket(state, caller, name).map(|bucket| wire::buckets(vec![bucket])),
            Query::Buckets { after } => Ok(wire::buckets(query::buckets(state, after, BUCKETS)?)),
            Query::Supergroup => Ok(wire::supergroup(query::supergroup(state)?)),
            Query::User(name) => query::user(state, name).map(|row| wire::users(vec![(name.clone(), row)])),
            Query::Users { after } => Ok(wire::users(query::users(state, after, BUCKETS)?)),
            Query::AccessKey(id) => {
                query::access_key(state, caller, id).map(|row| wire::access_keys(vec![(id.clone(), row)]))
            }
            Query::AccessKeys { after } => query::access_keys(state, caller, after, BUCKETS).map(wire::access_keys),
            Query::Trash { uid, after } => query::trash(state, caller, *uid, *after, TRASHED).map(wire::trash_page),
            Query::Session(session) => return Ok(session_answer(lives(state, *session)?, *session)),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(QueryError::Refused(error)) => Ok(v1::reply::Result::Error(wire::refusal(&error))),
            Err(QueryError::View(error)) => Err(error),
        }
    }
}

fn session_answer(lives: bool, session: SessionId) -> v1::reply::Result {
    if lives {
        wire::done()
    } else {
        let message = format!("{session} is over; open a new session, and open files again");
        v1::reply::Result::Error(proto::error(Code::SessionExpired, message))
    }
}

fn lives(state: &impl View, session: SessionId) -> Result<bool, ViewError> {
    let before = session.get().checked_sub(1).map(SessionId::new);
    Ok(query::sessions(state, before, 1)?.first() == Some(&session))
}
