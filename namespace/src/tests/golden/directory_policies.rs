//! The bytes of what directories say, and of files and blocks that were made so.

use types::{ByteSize, GenStamp, InodeId, Timestamp};

use super::super::{LAYOUT, OWNER, at, locations, to};
use super::hex;
use crate::codec::Batch;
use crate::command::{Command, Layout, Request};
use crate::directory_policy::{DirectoryPolicy, DirectorySetting};
use crate::placement::Policy;
use crate::row::{self, BlockRow, BlockState, Data, DirectoryRow, FileBody, Usage};

#[test]
fn policies_of_directories_keep_their_bytes() {
    let set = |setting| Command::SetDirectoryPolicy { place: at("/d"), setting };
    let layout = Layout { spread: Some(Policy::Spread), ..LAYOUT };
    let commands = [
        set(DirectorySetting::Replication { count: Some(2) }),
        set(DirectorySetting::Replication { count: None }),
        set(DirectorySetting::Spread { rule: Some(Policy::TwoRacks) }),
        set(DirectorySetting::Spread { rule: None }),
        Command::Create { destination: Some(to("/d/f")), ownership: OWNER, layout, targets: Vec::new() },
    ];
    let request = |command| Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: commands.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let directory = DirectoryRow {
        parent: InodeId::ROOT,
        name: b"d".to_vec(),
        mtime: Timestamp::from_nanos(2),
        ctime: Timestamp::from_nanos(3),
        usage: Usage::default(),
        quota: None,
        implicit: false,
        subdirectories: Some(0),
        ttl_nanos: None,
        policy: Some(DirectoryPolicy { replication: Some(2), spread: Some(Policy::Spread) }),
    };
    let file = FileBody {
        mtime: Timestamp::from_nanos(2),
        ctime: Timestamp::from_nanos(3),
        length: ByteSize::ZERO,
        replication: 2,
        block_size: ByteSize::new(16),
        writing: false,
        data: Data::Blocks { next_block: 0, extents: 0 },
        changes: 0,
        holes: None,
        spread: Some(Policy::Spread),
    };
    let block = BlockRow {
        generation: GenStamp::FIRST,
        length: ByteSize::new(9),
        state: BlockState::Committed,
        wanted: 2,
        replicas: locations(&[1]),
        bad: Vec::new(),
        leaving: Vec::new(),
        live: ByteSize::new(9),
        recovery: None,
        spread: Some(Policy::TwoRacks),
    };
    let found =
        [hex(&batch.encode()), hex(&row::encode(&directory)), hex(&row::encode(&file)), hex(&row::encode(&block))];
    assert_eq!(found, GOLDEN);
    assert_eq!(row::decode(b"d", &row::encode(&directory)), Ok(directory));
    assert_eq!(row::decode(b"n", &row::encode(&file)), Ok(file));
    assert_eq!(row::decode(b"b", &row::encode(&block)), Ok(block));
}

const GOLDEN: [&str; 4] = [
    concat!(
        "0181858309f68218f3828201422f64820081028309f68218f3828201422f648200808309f68218f3828201422f64820181008309f68218f3",
        "828201422f648201808309f6820584838201442f642f66f4f4831903e818641901a48303100180",
    ),
    "018a0141640203850000000000f6f400f6820201",
    "018a0203000210f4820082000000f601",
    "018a01090102818218655001010101010101010101010101010101808009f600",
];
