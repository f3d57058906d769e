//! The bytes of what is in the trash, and of the commands that put it there and take it out.

use types::{InodeId, Sequence, Timestamp, TrashId};

use super::super::{at, to};
use super::hex;
use crate::ageing::Aged;
use crate::codec::Batch;
use crate::command::{Command, Reply, Request};
use crate::error::Error;
use crate::key;
use crate::row::{self, DirectoryRow, ResultRow, Usage};
use crate::trash::TrashRow;

#[test]
fn the_trash_keeps_its_bytes() {
    let item = TrashId::new(42);
    let commands = [
        Command::Trash { place: at("/f"), recursive: true, keep_nanos: 86_400_000_000_000 },
        Command::RestoreTrash { uid: 1000, item, to: None, parents: false },
        Command::RestoreTrash { uid: 1000, item, to: Some(to("/g").place), parents: true },
        Command::EmptyTrash { uid: 1000, item: None, limit: 1000 },
        Command::EmptyTrash { uid: 1000, item: Some(item), limit: 1 },
        Command::ExpireTrash { limit: 500 },
        Command::SetTtl { place: at("/d"), ttl_nanos: Some(1_000_000_000) },
        Command::SetTtl { place: at("/d"), ttl_nanos: None },
        Command::RemoveAged {
            aged: vec![Aged { directory: InodeId::new(7), name: b"f".to_vec(), inode: InodeId::new(9) }],
        },
        Command::Bury { place: at("/f"), recursive: true, keep_nanos: 86_400_000_000_000 },
        Command::BuryKey {
            bucket: "b".to_owned(),
            key: b"k".to_vec(),
            condition: None,
            keep_nanos: 86_400_000_000_000,
        },
    ];
    let request = |command| Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: commands.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let due = Timestamp::from_nanos(86_400_000_000_009);
    let kept = TrashRow { from: at("/d/f"), directory: InodeId::new(7), removed: Timestamp::from_nanos(9), due };
    let ageing = DirectoryRow {
        parent: InodeId::ROOT,
        name: b"d".to_vec(),
        mtime: Timestamp::from_nanos(2),
        ctime: Timestamp::from_nanos(3),
        usage: Usage::default(),
        quota: None,
        implicit: false,
        subdirectories: Some(0),
        ttl_nanos: Some(1_000_000_000),
        policy: None,
    };
    let result = |result| row::encode(&ResultRow { sequence: Sequence::new(3), result });
    let rows = [
        (batch.encode(), LOG),
        (row::encode(&kept), KEPT),
        (result(Ok(Reply::Trashed { item, due })), TRASHED),
        (result(Ok(Reply::Emptied { more: true })), EMPTIED),
        (result(Err(Error::NoSuchTrash { uid: 1000, item })), NO_SUCH),
        (key::ageing_in(InodeId::new(7)), "7a0000000000000007"),
        (row::encode(&ageing), AGEING),
        (key::trash_item(1000, item), "74000003e8000000000000002a"),
        (key::trash_due(due, 1000, item), "5400004e94914f0009000003e8000000000000002a"),
    ];
    let (written, golden): (Vec<_>, Vec<_>) = rows.iter().map(|(bytes, golden)| (hex(bytes), *golden)).unzip();
    assert_eq!(written, golden);
    assert_eq!(row::decode(b"t", &row::encode(&kept)), Ok(kept));
    assert_eq!(key::trash_of_key(&key::trash_item(1000, item)), Ok((1000, item)));
    assert!(key::trash_of_key(b"t123").is_err() && key::trash_of_due(b"T").is_err());
}

const LOG: &str = concat!(
    "01818b8309f6821869838201422f66f51b00004e94914f00008309f682186a841903e8182af6f48309f682186a841903e818",
    "2a8201422f67f58309f682186b831903e8f61903e88309f682186b831903e8182a018309f682186c811901f48309f682186d",
    "828201422f641a3b9aca008309f682186d818201422f648309f682188b818183074166098309f68218a0838201422f66f5",
    "1b00004e94914f00008309f68218a1846162416bf61b00004e94914f0000",
);
const KEPT: &str = "01848201442f642f6607091b00004e94914f0009";
const AGEING: &str = "01890141640203850000000000f6f4001a3b9aca00";
const TRASHED: &str = "018203820082182b82182a1b00004e94914f0009";
const EMPTIED: &str = "018203820082182c81f5";
const NO_SUCH: &str = "0182038201821869821903e8182a";
