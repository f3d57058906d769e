//! The bytes of what a session holds: locks and open files.

use types::{InodeId, Sequence, SessionId, Timestamp};

use super::super::{LAYOUT, OWNER, to};
use super::hex;
use crate::codec::Batch;
use crate::command::{ClosedHandles, Command, HandleRights, NewOpenFile, NotedRead, Origin, Request};
use crate::error::Error;
use crate::key;
use crate::lock::{HeldLock, HeldRange, LockFamily, LockKind, LockOwner, LockRange, LockWish, LocksRow};
use crate::row::{self, HandlesRow, ResultRow, SessionRow};

#[test]
fn locks_and_open_files_keep_their_bytes() {
    let (inode, session) = (InodeId::new(42), SessionId::new(7));
    let range = LockRange { first: 10, last: u64::MAX };
    let owner = LockOwner { session, owner: 5 };
    let wish = LockWish { owner: 5, family: LockFamily::Ranges, range, kind: Some(LockKind::Write), pid: 99 };
    let whole = LockWish { family: LockFamily::Whole, range: LockRange::ALL, kind: None, ..wish };
    let create = Some(NewOpenFile { ownership: OWNER, layout: LAYOUT, exclusive: true });
    let rights = HandleRights { read: true, write: false };
    let commands = [
        Command::SetLock { inode, wish, wait: true },
        Command::SetLock { inode, wish: whole, wait: false },
        Command::ReleaseLocks { inode, owner: 5 },
        Command::OpenHandle { place: to("/f").place, rights, create },
        Command::CloseHandles { closed: vec![ClosedHandles { inode, count: 2 }] },
        Command::NoteReads { reads: vec![NotedRead { inode, at: Timestamp::from_nanos(8) }] },
    ];
    let origin = Some(Origin { session, sequence: Sequence::new(3) });
    let request = |command| Request { time: Timestamp::from_nanos(9), origin, command, principal: None };
    let batch = Batch { requests: commands.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let held = vec![HeldRange { range, kind: LockKind::Write }];
    let conflict = Error::LockConflict { inode, held: HeldLock { owner, range, kind: LockKind::Read, pid: 99 } };
    let row = SessionRow { client: "c".to_owned(), opened: Timestamp::EPOCH, ending: false, locks: 2, open_files: 3 };
    let rows = [
        (batch.encode(), LOG),
        (row::encode(&LocksRow { pid: 99, held }), LOCKS),
        (row::encode(&HandlesRow { count: 2 }), "018102"),
        (row::encode(&row), "0185616300f40203"),
        (row::encode(&ResultRow { sequence: Sequence::new(3), result: Err(conflict) }), CONFLICT),
        (key::lock(inode, LockFamily::Whole, owner), "6b000000000000002a0000000000000007010000000000000005"),
        (key::locked_inode(session, inode), "4b0000000000000007000000000000002a"),
        (key::handle(inode, session), "66000000000000002a0000000000000007"),
        (key::opened_inode(session, inode), "460000000000000007000000000000002a"),
    ];
    let (written, golden): (Vec<_>, Vec<_>) = rows.iter().map(|(bytes, golden)| (hex(bytes), *golden)).unzip();
    assert_eq!(written, golden);
    // A session of before there were locks has none.
    let older: SessionRow = row::decode(b"s", &[1, 0x83, 0x61, b'c', 0, 0xf4]).expect("still legal");
    assert_eq!(older, SessionRow { locks: 0, open_files: 0, ..row });
}

const LOG: &str = concat!(
    "0181868309820703821832",
    "83182a850500820a1bffffffffffffffff011863f5",
    "830982070382183283182a85050182001bfffffffffffffffff61863f4",
    "830982070382183382182a05",
    "8309820703821834838201422f6682f5f483831903e818641901a4820310f5",
    "8309820703821835818182182a02",
    "83098207038218b4818182182a08",
);
const LOCKS: &str = "018218638182820a1bffffffffffffffff01";
const CONFLICT: &str = "018203820182184682182a84820705820a1bffffffffffffffff001863";
