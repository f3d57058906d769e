//! What a session holds besides leases: open files and locks. Both go with the session: who gets another [`SessionId`] in an
//! answer than before has lost what it held under the old one.

use std::future::Future;
use std::time::Duration;

use proto::v1;
use proto::v1::op::Kind as Op;
use tokio::time::Instant;
use types::{ByteSize, Code, InodeId, SessionId, Timestamp};

use crate::error::{Error, Fault};
use crate::metadata::{Answer, Metadata, Scope};
use crate::object::{Attributes, HandleOptions, HeldLock, LockFamily, LockKind, LockRequest};
use crate::place::Place;
use crate::store::Client;
use crate::wire;

/// How often a wait that is given up is given up again, until it has its answer.
const INSIST: Duration = Duration::from_secs(1);
/// Files closed with one operation.
const CLOSED: usize = 1000;
/// Reads that one request may note.
const NOTED: usize = 1000;

impl Client {
    /// Opens a file, so that it lives until [`Client::close_handles`], whatever happens to its names; makes it first if that
    /// is asked for. Takes no lease. Says under which session.
    pub async fn open_handle(
        &self,
        at: impl Into<Place>,
        options: HandleOptions,
    ) -> Result<(Attributes, SessionId), Error> {
        let at = &at.into();
        let create = options.create.map(|new| v1::NewOpenFile {
            ownership: Some(v1::Ownership {
                umask: new.umask,
                ..wire::ownership(&self.0.config.user, new.mode, new.uid, new.gid)
            }),
            layout: Some(v1::Layout {
                replication: new.replication.map_or(0, u32::from),
                block_size: new.block_size.map_or(0, ByteSize::get),
            }),
            exclusive: new.exclusive,
        });
        let (read, write) = (options.read, options.write);
        let op = Op::OpenHandle(v1::OpenHandle { place: Some(wire::place(at)), read, write, create });
        let opened = match self.0.metadata.call(op, Scope::Update).await {
            Ok((v1::reply::Result::Attributes(row), session)) => wire::attributes(row).map(|row| (row, session)),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        opened.map_err(|fault| Error::new("open", at, fault))
    }

    /// Closes files that were opened so often under `session`. What an ended session had open is closed already.
    pub async fn close_handles(&self, session: SessionId, closed: &[(InodeId, u32)]) -> Result<(), Error> {
        for part in closed.chunks(CLOSED) {
            let wire = |(inode, count): &(InodeId, u32)| v1::ClosedHandles { inode: inode.get(), count: *count };
            let op = Op::CloseHandles(v1::CloseHandles { closed: part.iter().map(wire).collect() });
            match self.0.metadata.call(op, Scope::Lease(session)).await {
                Ok(_) | Err(Fault::SessionLost) => {}
                Err(fault) => return Err(Error::new("close", format_args!("{} files", part.len()), fault)),
            }
        }
        Ok(())
    }

    /// Notes when files and directories were read: their access times never run backwards, and nothing else changes. What is
    /// gone meanwhile, or may not be read, is left out.
    pub async fn note_reads(&self, reads: &[(InodeId, Timestamp)]) -> Result<(), Error> {
        for part in reads.chunks(NOTED) {
            let wire = |(inode, at): &(InodeId, Timestamp)| v1::NotedRead { inode: inode.get(), at: at.signed_nanos() };
            let op = Op::NoteReads(v1::NoteReads { reads: part.iter().map(wire).collect() });
            let noted = self.0.metadata.call(op, Scope::Update).await;
            noted.map_err(|fault| Error::new("note", format_args!("{} reads", part.len()), fault))?;
        }
        Ok(())
    }

    /// Locks, changes or unlocks a range without waiting. [`Code::LockConflict`]: another owner is in the way.
    pub async fn lock(&self, inode: InodeId, request: LockRequest) -> Result<SessionId, Error> {
        let op = Op::SetLock(v1::SetLock { inode: inode.get(), wish: Some(wish(&request)), wait: false });
        locked(inode, self.0.metadata.call(op, Scope::Update).await)
    }

    /// Locks a range, and waits until that can be or until `interrupted`: [`Code::Interrupted`] then, unless it was just
    /// granted. [`Code::Deadlock`]: the holder waits for this owner. Whoever drops this rather than interrupt it may
    /// have the lock or not, and releases it.
    ///
    /// A lock on a whole file loses what the owner has before it waits for more, as with flock(2).
    pub async fn lock_wait(
        &self,
        inode: InodeId,
        request: LockRequest,
        interrupted: impl Future<Output = ()>,
    ) -> Result<SessionId, Error> {
        match self.lock(inode, request).await {
            Err(error) if error.code() == Code::LockConflict => {}
            done => return done,
        }
        if request.family == LockFamily::Whole {
            self.lock(inode, LockRequest { kind: None, ..request }).await?;
        }
        let op = Op::SetLock(v1::SetLock { inode: inode.get(), wish: Some(wish(&request)), wait: true });
        let mut waiting = std::pin::pin!(self.0.metadata.wait(op));
        tokio::select! {
            answer = &mut waiting => return locked(inode, answer),
            () = interrupted => {}
        }
        let deadline = Instant::now() + self.0.config.op_timeout;
        let insist = async {
            loop {
                let cancel = v1::CancelLocks { inode: inode.get(), owner: request.owner };
                // With another leader the wait may have come after it: hence again.
                self.0.metadata.call(Op::CancelLocks(cancel), Scope::Read).await.ok();
                tokio::time::sleep(INSIST).await;
            }
        };
        let after = self.0.config.op_timeout;
        let reason = || "whether the lock was granted is not known; release it".to_owned();
        tokio::select! {
            answer = &mut waiting => locked(inode, answer),
            never = insist => never,
            () = tokio::time::sleep_until(deadline) => {
                locked(inode, Err(Fault::NoAnswer { after, reason: reason() }))
            }
        }
    }

    /// Which lock of another would be in the way.
    pub async fn test_lock(&self, inode: InodeId, request: LockRequest) -> Result<Option<HeldLock>, Error> {
        let op = Op::TestLock(v1::TestLock { inode: inode.get(), wish: Some(wish(&request)) });
        let held = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::LockHolder(v1::LockHolder { held }), _)) => held.map(wire::held_lock).transpose(),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        held.map_err(|fault| Error::new("test a lock on", inode, fault))
    }

    /// Releases everything that an owner holds on a file, of both families.
    pub async fn release_locks(&self, inode: InodeId, owner: u64) -> Result<(), Error> {
        let op = Op::ReleaseLocks(v1::ReleaseLocks { inode: inode.get(), owner });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(drop).map_err(|fault| Error::new("release locks on", inode, fault))
    }
}

fn locked(inode: InodeId, answer: Result<Answer, Fault>) -> Result<SessionId, Error> {
    let session = match answer {
        Ok((v1::reply::Result::Done(_), session)) => Ok(session),
        Ok((other, _)) => Err(Metadata::unexpected(&other)),
        Err(fault) => Err(fault),
    };
    session.map_err(|fault| Error::new("lock", inode, fault))
}

fn wish(request: &LockRequest) -> v1::LockWish {
    v1::LockWish {
        owner: request.owner,
        family: match request.family {
            LockFamily::Ranges => v1::LockFamily::Ranges,
            LockFamily::Whole => v1::LockFamily::Whole,
        } as i32,
        first: request.first,
        last: request.last,
        kind: match request.kind {
            None => v1::LockKind::None,
            Some(LockKind::Read) => v1::LockKind::Read,
            Some(LockKind::Write) => v1::LockKind::Write,
        } as i32,
        pid: request.pid,
    }
}
