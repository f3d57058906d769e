//! What a session holds, off and on the wire: locks and open files; and what it is told of changes.

use namespace::changes::{Change, What};
use namespace::command::{ClosedHandles, Command, HandleRights, NewOpenFile, NotedRead};
use namespace::lock::{HeldLock, LockFamily, LockKind, LockRange, LockWish};
use proto::{WireError, v1};
use types::{InodeId, Timestamp};

use super::{Answer, Asked, Query, Refused, inode, layout, ownership, place, wrong};
use crate::settings::Settings;
use crate::watches::Told;

/// Files that one message closes.
const CLOSED: usize = 1000;
const NOTED: usize = 1000;

pub(super) fn set_lock(set: v1::SetLock) -> Result<Asked, Refused> {
    let (inode, wish) = (inode(set.inode, "SetLock.inode")?, wish(set.wish)?);
    Ok(match wish.kind {
        Some(kind) if set.wait => Asked::WaitForLock { inode, wish, kind },
        _ => Asked::Command(Command::SetLock { inode, wish, wait: false }, None),
    })
}

pub(super) fn test_lock(test: v1::TestLock) -> Result<Asked, Refused> {
    let (inode, wish) = (inode(test.inode, "TestLock.inode")?, wish(test.wish)?);
    Ok(Asked::TestLock { inode, wish })
}

fn wish(wire: Option<v1::LockWish>) -> Result<LockWish, WireError> {
    let wire = wire.ok_or(wrong("SetLock.wish", "is missing"))?;
    let family = match v1::LockFamily::try_from(wire.family) {
        Ok(v1::LockFamily::Ranges) => LockFamily::Ranges,
        Ok(v1::LockFamily::Whole) => LockFamily::Whole,
        Err(_) => return Err(wrong("LockWish.family", "is not known")),
    };
    let kind = match v1::LockKind::try_from(wire.kind) {
        Ok(v1::LockKind::None) => None,
        Ok(v1::LockKind::Read) => Some(LockKind::Read),
        Ok(v1::LockKind::Write) => Some(LockKind::Write),
        Err(_) => return Err(wrong("LockWish.kind", "is not known")),
    };
    let range = match family {
        LockFamily::Ranges => LockRange { first: wire.first, last: wire.last },
        LockFamily::Whole => LockRange::ALL,
    };
    Ok(LockWish { owner: wire.owner, family, range, kind, pid: wire.pid })
}

pub(super) fn release(release: &v1::ReleaseLocks) -> Result<Command, WireError> {
    Ok(Command::ReleaseLocks { inode: inode(release.inode, "ReleaseLocks.inode")?, owner: release.owner })
}

pub(super) fn cancel(cancel: &v1::CancelLocks) -> Result<Asked, Refused> {
    Ok(Asked::CancelLocks { inode: inode(cancel.inode, "CancelLocks.inode")?, owner: cancel.owner })
}

pub(super) fn open(open: v1::OpenHandle, settings: &Settings) -> Result<Command, WireError> {
    let v1::OpenHandle { place: at, read, write, create } = open;
    let create = match create {
        Some(new) => Some(NewOpenFile {
            ownership: ownership(new.ownership)?,
            layout: layout(new.layout, settings)?,
            exclusive: new.exclusive,
        }),
        None => None,
    };
    Ok(Command::OpenHandle { place: place(at, "OpenHandle.place")?, rights: HandleRights { read, write }, create })
}

pub(super) fn close(close: v1::CloseHandles) -> Result<Command, WireError> {
    if close.closed.len() > CLOSED {
        return Err(wrong("CloseHandles.closed", "names more than 1000 files"));
    }
    let closed = |wire: v1::ClosedHandles| {
        let inode = inode(wire.inode, "ClosedHandles.inode")?;
        Ok(ClosedHandles { inode, count: wire.count })
    };
    Ok(Command::CloseHandles { closed: close.closed.into_iter().map(closed).collect::<Result<_, WireError>>()? })
}

pub(super) fn note_reads(note: v1::NoteReads) -> Result<Command, WireError> {
    if note.reads.len() > NOTED {
        return Err(wrong("NoteReads.reads", "names more than 1000 reads"));
    }
    let read = |wire: v1::NotedRead| {
        let inode = inode(wire.inode, "NotedRead.inode")?;
        Ok(NotedRead { inode, at: Timestamp::from_signed_nanos(wire.at) })
    };
    Ok(Command::NoteReads { reads: note.reads.into_iter().map(read).collect::<Result<_, WireError>>()? })
}

/// What stands in the way of a lock, if anything does.
pub(crate) fn lock_holder(held: Option<HeldLock>) -> Answer {
    let held = held.map(|held| v1::HeldLock {
        session: held.owner.session.get(),
        owner: held.owner.owner,
        first: held.range.first,
        last: held.range.last,
        kind: match held.kind {
            LockKind::Read => v1::LockKind::Read,
            LockKind::Write => v1::LockKind::Write,
        } as i32,
        pid: held.pid,
    });
    Answer::LockHolder(v1::LockHolder { held })
}

/// The query behind [`Asked::TestLock`].
pub(crate) const fn lock_query(session: types::SessionId, inode: InodeId, wish: LockWish) -> Query {
    Query::LockHolder { session, inode, wish }
}

/// What of that which a client watches has changed.
pub(crate) fn changes(told: Told) -> v1::Changes {
    let change = |Change { inode, what }: Change| v1::Change {
        inode: inode.get(),
        what: Some(match what {
            What::Name(name) => v1::change::What::Name(name),
            What::Attributes => v1::change::What::Attributes(true),
            What::Content => v1::change::What::Content(true),
            What::Child { inode, content } => v1::change::What::Child(v1::ChangedChild { inode: inode.get(), content }),
        }),
    };
    match told {
        Told::Everything => v1::Changes { changes: Vec::new(), everything: true },
        Told::Changes(changes) => v1::Changes { changes: changes.into_iter().map(change).collect(), everything: false },
    }
}
