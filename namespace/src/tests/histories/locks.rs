//! Random locks against an oracle that knows the kind of lock of each owner on each byte.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use types::{Code, InodeId, SessionId};

use super::super::{Cluster, LAYOUT, OWNER, invariants, to};
use crate::access::Caller;
use crate::command::{Command, Reply};
use crate::lock::{LockFamily, LockKind, LockOwner, LockRange, LockWish};
use crate::query;

/// The oracle's file has so many bytes; the last stands for everything from there on.
const BYTES: u64 = 12;
const OWNERS: u64 = 3;

#[derive(Debug, Clone)]
enum Step {
    Set { session: Index, wish: LockWish },
    Release { session: Index, owner: u64 },
    End { session: Index, limit: u32 },
}

fn wish() -> impl Strategy<Value = LockWish> {
    let kind = prop_oneof![Just(None), Just(Some(LockKind::Read)), Just(Some(LockKind::Write))];
    let family = prop_oneof![5 => Just(LockFamily::Ranges), 1 => Just(LockFamily::Whole)];
    (0..OWNERS, family, 0..BYTES, 0..BYTES, kind, 1_u32..9).prop_map(|(owner, family, one, other, kind, pid)| {
        let (first, last) = (one.min(other), one.max(other));
        let last = if last == BYTES - 1 { u64::MAX } else { last };
        let range = if family == LockFamily::Whole { LockRange::ALL } else { LockRange { first, last } };
        LockWish { owner, family, range, kind, pid }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (any::<Index>(), wish()).prop_map(|(session, wish)| Step::Set { session, wish }),
        2 => (any::<Index>(), 0..OWNERS).prop_map(|(session, owner)| Step::Release { session, owner }),
        1 => (any::<Index>(), 1_u32..3).prop_map(|(session, limit)| Step::End { session, limit }),
    ]
}

/// Who has locked which byte, and how.
#[derive(Default)]
struct Oracle(BTreeMap<(LockFamily, LockOwner, u64), LockKind>);

fn bytes(range: LockRange) -> impl Iterator<Item = u64> {
    range.first..=range.last.min(BYTES - 1)
}

impl Oracle {
    fn conflict(&self, owner: LockOwner, wish: &LockWish) -> bool {
        let Some(kind) = wish.kind else { return false };
        self.0.iter().any(|((family, holder, byte), held)| {
            let exclusive = kind == LockKind::Write || *held == LockKind::Write;
            *family == wish.family && *holder != owner && exclusive && bytes(wish.range).any(|wanted| wanted == *byte)
        })
    }

    fn set(&mut self, owner: LockOwner, wish: &LockWish) {
        for byte in bytes(wish.range) {
            match wish.kind {
                Some(kind) => drop(self.0.insert((wish.family, owner, byte), kind)),
                None => drop(self.0.remove(&(wish.family, owner, byte))),
            }
        }
    }
}

fn file(cluster: &mut Cluster) -> InodeId {
    let put = Command::PutInline {
        destination: to("/f"),
        ownership: OWNER,
        layout: LAYOUT,
        content: b"x".to_vec(),
        mtime: None,
    };
    match cluster.run(put) {
        Ok(Reply::Attributes { attributes }) => attributes.inode,
        other => panic!("a file was asked for: {other:?}"),
    }
}

/// Every question about one byte is answered as the oracle answers it.
fn check(cluster: &Cluster, oracle: &Oracle, inode: InodeId, sessions: &[SessionId]) {
    invariants::check(&cluster.state);
    for session in sessions {
        for (owner, byte) in (0..OWNERS).flat_map(|owner| (0..BYTES).map(move |byte| (owner, byte))) {
            for kind in [LockKind::Read, LockKind::Write] {
                let last = if byte == BYTES - 1 { u64::MAX } else { byte };
                let range = LockRange { first: byte, last };
                let wish = LockWish { owner, family: LockFamily::Ranges, range, kind: Some(kind), pid: 0 };
                let held = query::lock_holder(&cluster.state, Caller::SYSTEM, *session, inode, &wish);
                let held = held.expect("the file is there");
                let conflict = oracle.conflict(LockOwner { session: *session, owner }, &wish);
                assert_eq!(held.is_some(), conflict, "{held:?}");
                if let Some(held) = held {
                    let known = oracle.0.get(&(LockFamily::Ranges, held.owner, byte));
                    assert_eq!(known, Some(&held.kind), "the lock that is told is one that is held");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn locks_are_held_as_byte_for_byte(steps in prop::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::formatted();
        let inode = file(&mut cluster);
        let mut sessions = vec![cluster.open_session(), cluster.open_session()];
        let mut oracle = Oracle::default();
        for step in steps {
            match step {
                Step::Set { session, wish } => {
                    let session = sessions[session.index(sessions.len())];
                    let owner = LockOwner { session, owner: wish.owner };
                    let reply = cluster.by(session, Command::SetLock { inode, wish, wait: false });
                    if oracle.conflict(owner, &wish) {
                        assert_eq!(reply.map_err(|error| error.code()), Err(Code::LockConflict));
                    } else {
                        assert_eq!(reply, Ok(Reply::Done));
                        oracle.set(owner, &wish);
                    }
                }
                Step::Release { session, owner } => {
                    let session = sessions[session.index(sessions.len())];
                    let released = cluster.by(session, Command::ReleaseLocks { inode, owner });
                    assert_eq!(released, Ok(Reply::Done));
                    oracle.0.retain(|(_, holder, _), _| *holder != LockOwner { session, owner });
                }
                Step::End { session, limit } => {
                    let at = session.index(sessions.len());
                    let session = std::mem::replace(&mut sessions[at], cluster.open_session());
                    while cluster.run(Command::ExpireSession { session, limit }) == Ok(Reply::Step { more: true }) {
                        invariants::check(&cluster.state);
                    }
                    oracle.0.retain(|(_, holder, _), _| holder.session != session);
                }
            }
            check(&cluster, &oracle, inode, &sessions);
        }
    }
}
