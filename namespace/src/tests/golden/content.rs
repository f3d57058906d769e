//! The bytes of commands, answers and rows about what files contain.

use types::{BlockId, BlockOffset, ByteSize, GenStamp, InodeId, SessionId, Timestamp};

use super::hex;
use crate::codec::Batch;
use crate::command::{BlockDone, Command, ContentTerms, Edit, Joined, NewBlock, Reply, Request};
use crate::error::Error;
use crate::key;
use crate::row::{self, ExtentRow, ResultRow};
use crate::tests::{LAYOUT, OWNER, at, locations, storages, to};

fn commands() -> Vec<Command> {
    let block = BlockId::new(InodeId::new(42), 1);
    let (length, block_offset) = (ByteSize::new(300), BlockOffset::new(7));
    let done = BlockDone { block, generation: GenStamp::FIRST, length, replicas: storages(&[1]) };
    let mtime = Some(Timestamp::from_nanos(9));
    let terms = ContentTerms { mtime, clear_suid: true, grace_nanos: 600, inline_max: ByteSize::new(16) };
    let piece = Edit::Block { offset: 5, length, block, block_offset };
    let bytes = Edit::Bytes { offset: 5, content: b"hello".to_vec() };
    let write = |blocks, edit| Command::WriteExtents {
        place: at("/f"),
        blocks,
        edits: vec![edit],
        append: true,
        min_replicas: 2,
        terms,
        inline: None,
    };
    let (from, to_place) = (at("/f"), at("/g"));
    vec![
        Command::AllocateBlocks { wanted: 3, targets: vec![locations(&[1])] },
        Command::ReleaseBlocks { blocks: vec![block] },
        write(vec![done.clone()], piece),
        write(Vec::new(), bytes),
        Command::Truncate { place: at("/f"), length: 12, terms },
        Command::Punch { place: at("/f"), offset: 1, length: 2, terms },
        Command::CloneRange { from: from.clone(), offset: 1, length: 2, to: to_place.clone(), to_offset: 3, terms },
        Command::Concat { to: from, from: vec![to_place], terms },
        Command::PutBlocks {
            destination: to("/f"),
            ownership: OWNER,
            layout: LAYOUT,
            blocks: vec![done.clone()],
            min_replicas: 2,
            mtime: None,
        },
        Command::JoinExtents {
            inode: InodeId::new(42),
            block: done,
            pieces: vec![Joined { offset: 5, length, block, block_offset }],
            min_replicas: 2,
            grace_nanos: 600,
        },
    ]
}

#[test]
fn commands_and_rows_of_content_keep_their_bytes() {
    let time = Timestamp::from_nanos(1_000_000_007);
    let request = |command| Request { time, origin: None, command, principal: None };
    let batch = Batch { requests: commands().into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let block = BlockId::new(InodeId::new(42), 1);
    let new = NewBlock { block, generation: GenStamp::FIRST, targets: locations(&[1]) };
    let extent = ExtentRow { block, length: ByteSize::new(300), block_offset: BlockOffset::new(7) };
    let result = |result| row::encode(&ResultRow { sequence: types::Sequence::new(3), result });
    let written = [
        hex(&batch.encode()),
        hex(&row::encode(&extent)),
        hex(&result(Ok(Reply::Blocks { blocks: vec![new] }))),
        hex(&result(Err(Error::InlineInTheWay { inode: InodeId::new(42), length: ByteSize::new(5) }))),
        hex(&key::pending(SessionId::new(7), block)),
    ];
    assert_eq!(written, GOLDEN);
}

const GOLDEN: [&str; 5] = [
    concat!(
        "01818a831a3b9aca07f6821828820381818218655001010101010101010101010101010101831a3b9aca07f6821829818182",
        "182a01831a3b9aca07f682182a868201422f66818482182a010119012c815001010101010101010101010101010101818200",
        "840519012c82182a0107f5028409f519025810831a3b9aca07f682182a868201422f668081820182054568656c6c6ff50284",
        "09f519025810831a3b9aca07f682182b838201422f660c8409f519025810831a3b9aca07f682182c848201422f6601028409",
        "f519025810831a3b9aca07f682182d868201422f6601028201422f67038409f519025810831a3b9aca07f682182e83820142",
        "2f66818201422f678409f519025810831a3b9aca07f682182f85838201422f66f4f4831903e818641901a482031081848218",
        "2a010119012c81500101010101010101010101010101010102831a3b9aca07f682183085182a8482182a010119012c815001",
        "01010101010101010101010101010181840519012c82182a010702190258",
    ),
    "018382182a0119012c07",
    "0182038200820f81818382182a0101818218655001010101010101010101010101010101",
    "018203820182184082182a05",
    "610000000000000007000000000000002a0000000100",
];
