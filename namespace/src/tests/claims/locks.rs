use super::*;
use crate::apply::Effect;
use crate::command::{AttrChange, Principal, Request};
use crate::limits::{MAX_LOCKS_OF_INODE, MAX_LOCKS_OF_SESSION};
use crate::lock::{HeldLock, LockFamily, LockKind, LockOwner, LockRange, LockWish};

fn wish(owner: u64, (first, last): (u64, u64), kind: Option<LockKind>) -> LockWish {
    LockWish { owner, family: LockFamily::Ranges, range: LockRange { first, last }, kind, pid: 7 }
}

fn set(inode: InodeId, wish: LockWish) -> Command {
    Command::SetLock { inode, wish, wait: false }
}

const WRITE: Option<LockKind> = Some(LockKind::Write);
const READ: Option<LockKind> = Some(LockKind::Read);

impl Cluster {
    fn file(&mut self, path: &str) -> InodeId {
        self.run(put(over(path), b"content")).expect("stored");
        self.stat(path).inode
    }
}

#[test]
fn a_conflict_names_the_lock_in_the_way_and_changes_nothing() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let (one, two) = (cluster.open_session(), cluster.open_session());
    cluster.by(one, set(inode, wish(1, (10, 19), WRITE))).expect("free");
    let held = HeldLock {
        owner: LockOwner { session: one, owner: 1 },
        range: LockRange { first: 10, last: 19 },
        kind: LockKind::Write,
        pid: 7,
    };
    let request = cluster.request(Some(two), set(inode, wish(1, (0, 10), READ)));
    let applied = cluster.apply(&request);
    assert_eq!(applied.reply, Err(Error::LockConflict { inode, held }));
    assert_eq!(applied.writes.len(), 1, "the stored answer alone");
    // Another owner of the same session is another.
    assert_eq!(code(cluster.by(one, set(inode, wish(2, (19, 19), READ)))), Code::LockConflict);
    let asked = wish(1, (0, u64::MAX), READ);
    assert_eq!(query::lock_holder(&cluster.state, Caller::SYSTEM, two, inode, &asked), Ok(Some(held)));
    cluster.by(two, set(inode, wish(1, (0, 9), WRITE))).expect("before it");
    cluster.by(two, set(inode, wish(1, (20, u64::MAX), WRITE))).expect("behind it");
    invariants::check(&cluster.state);
}

#[test]
fn a_lock_that_is_waited_for_keeps_no_refusal_and_is_granted_with_the_same_words() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let (holder, waiter) = (cluster.open_session(), cluster.open_session());
    cluster.by(holder, set(inode, wish(1, (0, 9), WRITE))).expect("free");
    let mut asked = cluster.request(Some(waiter), Command::SetLock { inode, wish: wish(1, (5, 5), READ), wait: true });
    asked.origin = asked.origin.map(|origin| crate::command::Origin { sequence: types::Sequence::new(0), ..origin });
    let refused = cluster.apply(&asked);
    assert_eq!((code(refused.reply), refused.writes), (Code::LockConflict, Vec::new()));
    let unlock = cluster.request(Some(holder), set(inode, wish(1, (0, 9), None)));
    assert_eq!(cluster.apply(&unlock).effects, vec![Effect::LocksReleased(inode)]);
    assert_eq!(cluster.apply(&asked).reply, Ok(Reply::Done));
    assert_eq!(cluster.apply(&asked).reply, Ok(Reply::Done), "once more is as good as once");
    cluster.run(Command::CloseSession { session: waiter }).expect("closed");
    assert_eq!(code(cluster.apply(&asked).reply), Code::SessionExpired, "a ghost locks nothing");
    invariants::check(&cluster.state);
}

#[test]
fn an_upgrade_passes_its_own_lock_and_waits_for_those_of_others() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let session = cluster.open_session();
    cluster.by(session, set(inode, wish(1, (0, 9), READ))).expect("shared");
    cluster.by(session, set(inode, wish(2, (5, 14), READ))).expect("shared");
    assert_eq!(code(cluster.by(session, set(inode, wish(1, (0, 9), WRITE)))), Code::LockConflict);
    cluster.by(session, set(inode, wish(1, (0, 4), WRITE))).expect("its own part");
    let weaker = cluster.request(Some(session), set(inode, wish(1, (0, 9), READ)));
    assert_eq!(cluster.apply(&weaker).effects, vec![Effect::LocksReleased(inode)], "a downgrade lets others in");
    invariants::check(&cluster.state);
}

#[test]
fn whole_files_and_ranges_do_not_see_each_other() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let (one, two) = (cluster.open_session(), cluster.open_session());
    // The range that comes with it means nothing.
    let whole = |kind| LockWish { family: LockFamily::Whole, ..wish(1, (3, 3), kind) };
    cluster.by(one, set(inode, whole(WRITE))).expect("free");
    cluster.by(two, set(inode, wish(1, (0, 9), WRITE))).expect("of the other family");
    assert_eq!(code(cluster.by(two, set(inode, whole(READ)))), Code::LockConflict);
    cluster.by(one, Command::ReleaseLocks { inode, owner: 1 }).expect("closed");
    cluster.by(two, set(inode, whole(READ))).expect("free again");
    invariants::check(&cluster.state);
}

#[test]
fn a_session_takes_its_locks_along_when_it_ends() {
    let mut cluster = Cluster::formatted();
    let (session, other) = (cluster.open_session(), cluster.open_session());
    let files: Vec<InodeId> = (0..4).map(|number| cluster.file(&format!("/f{number}"))).collect();
    for inode in &files {
        for owner in 0..3 {
            cluster.by(session, set(*inode, wish(owner, (owner, owner), WRITE))).expect("free");
        }
    }
    let mut steps = 0;
    let mut released = Vec::new();
    loop {
        let request = cluster.request(None, Command::ExpireSession { session, limit: 2 });
        let applied = cluster.apply(&request);
        invariants::check(&cluster.state);
        released.extend(applied.effects);
        steps += 1;
        if applied.reply == Ok(Reply::Step { more: false }) {
            break;
        }
    }
    assert!((6..=7).contains(&steps), "twelve owners by twos: {steps}");
    for inode in files {
        assert!(released.contains(&Effect::LocksReleased(inode)));
        cluster.by(other, set(inode, wish(0, (0, u64::MAX), WRITE))).expect("free");
    }
}

#[test]
fn locks_outlive_the_file_until_they_are_released() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let session = cluster.open_session();
    cluster.by(session, set(inode, wish(1, (0, 9), WRITE))).expect("free");
    cluster.run(delete("/f")).expect("removed");
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(code(cluster.by(session, set(inode, wish(1, (20, 29), WRITE)))), Code::NotFound);
    cluster.by(session, set(inode, wish(1, (0, 4), None))).expect("unlocked in part");
    cluster.by(session, Command::ReleaseLocks { inode, owner: 1 }).expect("closed");
    cluster.by(session, Command::ReleaseLocks { inode, owner: 1 }).expect("nothing is left to release");
    assert!(!invariants::tags(&cluster.state).contains(['k', 'K']));
}

#[test]
fn who_may_not_open_a_file_may_not_lock_it() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let session = cluster.open_session();
    let change = AttrChange { mode: Some(0o604), uid: Some(1), gid: Some(1), ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: at("/f"), change }).expect("changed");
    let principal = Some(Principal { uid: 5, gid: 5, groups: Vec::new() });
    let mut by = |wish| {
        let request = cluster.request(Some(session), set(inode, wish));
        cluster.apply(&Request { principal: principal.clone(), ..request }).reply
    };
    assert_eq!(code(by(wish(1, (0, 0), WRITE))), Code::Denied);
    assert_eq!(by(wish(1, (0, 0), READ)), Ok(Reply::Done));
    assert_eq!(by(LockWish { family: LockFamily::Whole, ..wish(1, (0, 0), WRITE) }), Ok(Reply::Done));
}

#[test]
fn ranges_that_are_none_and_locks_beyond_the_limits_are_refused() {
    let mut cluster = Cluster::formatted();
    let inode = cluster.file("/f");
    let session = cluster.open_session();
    assert_eq!(code(cluster.by(session, set(inode, wish(1, (5, 4), READ)))), Code::InvalidArgument);
    for at in 0..u64::from(MAX_LOCKS_OF_INODE) {
        cluster.by(session, set(inode, wish(at % 7, (2 * at, 2 * at), WRITE))).expect("within the limit");
    }
    let limit = MAX_LOCKS_OF_INODE;
    let one_more = cluster.by(session, set(inode, wish(9, (1 << 40, 1 << 40), WRITE)));
    assert_eq!(one_more, Err(Error::TooManyLocks { inode, limit }));
    cluster.by(session, set(inode, wish(0, (0, 0), None))).expect("fewer");
    // To unlock the middle of a range makes two of it.
    cluster.by(session, set(inode, wish(9, (1 << 40, 1 << 41), WRITE))).expect("there is room for one");
    let split = cluster.by(session, set(inode, wish(9, ((1 << 40) + 1, (1 << 40) + 1), None)));
    assert_eq!(split, Err(Error::TooManyLocks { inode, limit }));

    let held = MAX_LOCKS_OF_SESSION;
    let key = crate::key::session(session);
    let row = crate::row::SessionRow {
        client: String::new(),
        opened: types::Timestamp::EPOCH,
        ending: false,
        locks: held,
        open_files: 0,
    };
    cluster.state.store(vec![crate::view::Write { key, value: Some(crate::row::encode(&row)) }]);
    let other = cluster.file("/other");
    let refused = cluster.by(session, set(other, wish(1, (0, 0), READ)));
    assert_eq!(refused, Err(Error::TooManyLocksHeld { session, limit: held }));
}
