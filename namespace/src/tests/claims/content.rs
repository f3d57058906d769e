//! Content that is written without a lease: blocks allocated in advance, splices, holes, shared blocks.

use super::*;
use crate::apply::Effect;
use crate::command::{AttrChange, ContentTerms, Edit, HandleRights, Joined, Principal};
use crate::limits::MAX_PENDING;
use crate::query::Content;
use crate::row::{BlockRow, BlockState, Quota};
use types::{BlockOffset, Timestamp};

const TERMS: ContentTerms =
    ContentTerms { mtime: None, clear_suid: false, grace_nanos: 500, inline_max: ByteSize::new(8) };

fn edit(offset: u64, block: BlockId, length: u64) -> Edit {
    Edit::Block { offset, length: ByteSize::new(length), block, block_offset: BlockOffset::ZERO }
}

fn bytes(offset: u64, content: &[u8]) -> Command {
    let edits = vec![Edit::Bytes { offset, content: content.to_vec() }];
    let (blocks, inline) = (vec![], None);
    Command::WriteExtents { place: at("/f"), blocks, edits, append: false, min_replicas: 2, terms: TERMS, inline }
}

fn splice(blocks: Vec<BlockDone>, edits: Vec<Edit>, append: bool) -> Command {
    Command::WriteExtents { place: at("/f"), blocks, edits, append, min_replicas: 2, terms: TERMS, inline: None }
}

fn put_blocks(destination: Destination, blocks: Vec<BlockDone>) -> Command {
    Command::PutBlocks { destination, ownership: OWNER, layout: LAYOUT, blocks, min_replicas: 2, mtime: None }
}

fn clone(from: &str, to: &str) -> Command {
    let (from, to) = (at(from), at(to));
    Command::CloneRange { from, offset: 0, length: u64::MAX, to, to_offset: 0, terms: TERMS }
}

impl Cluster {
    fn allocate(&mut self, session: SessionId, count: usize) -> Vec<BlockId> {
        let targets = vec![locations(&[1, 2, 3]); count];
        match self.by(session, Command::AllocateBlocks { wanted: 3, targets }) {
            Ok(Reply::Blocks { blocks }) => blocks.iter().map(|new| new.block).collect(),
            other => panic!("blocks were asked for: {other:?}"),
        }
    }

    /// A file of one block of `length` bytes, put there in one command.
    fn put_block(&mut self, session: SessionId, path: &str, length: u64) -> BlockId {
        let block = self.allocate(session, 1)[0];
        self.by(session, put_blocks(to(path), vec![done(block, length, &[1, 2, 3])])).expect("put");
        block
    }

    fn row(&self, block: BlockId) -> Option<BlockRow> {
        query::block(&self.state, block).expect("readable")
    }

    /// The blocks of a file: offset in the file, length, block, offset in it.
    fn map(&self, path: &str) -> Vec<(u64, u64, BlockId, u64)> {
        match query::open(&self.state, Caller::SYSTEM, &at(path), 0, u64::MAX).expect("a file").content {
            Content::Blocks { blocks, .. } => {
                blocks.iter().map(|at| (at.offset, at.length.get(), at.block, at.block_offset.get())).collect()
            }
            Content::Inline(content) => panic!("inline: {content:?}"),
        }
    }
}

#[test]
fn a_small_file_of_a_block_is_created_written_and_closed_by_one_command() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let block = cluster.allocate(session, 1)[0];
    assert_eq!(cluster.row(block).map(|row| (row.state, row.live)), Some((BlockState::Pending, ByteSize::ZERO)));
    let reply = cluster.by(session, put_blocks(to("/f"), vec![done(block, 12, &[1, 2])]));
    let attributes = cluster.stat("/f");
    assert_eq!(reply, Ok(Reply::Attributes { attributes: attributes.clone() }));
    assert_eq!((attributes.length, attributes.writing, attributes.links), (ByteSize::new(12), false, 1));
    let row = cluster.row(block).expect("it lives");
    assert_eq!((row.state, row.live, row.replicas), (BlockState::Committed, ByteSize::new(12), locations(&[1, 2])));
    assert_eq!(row.leaving, locations(&[3]), "what was not finished there goes");
    assert_eq!(cluster.stat("/").usage.expect("a directory").raw_bytes, 36);
    // It is no block in advance any more.
    assert_eq!(code(cluster.by(session, put_blocks(to("/g"), vec![done(block, 12, &[1, 2])]))), Code::NoSuchBlock);
    assert_eq!(code(cluster.by(session, Command::ReleaseBlocks { blocks: vec![block] })), Code::NoSuchBlock);
    invariants::check(&cluster.state);
}

#[test]
fn a_block_in_advance_is_used_by_its_session_only_and_as_it_was_written() {
    let mut cluster = Cluster::formatted();
    let (session, other) = (cluster.open_session(), cluster.open_session());
    let block = cluster.allocate(session, 1)[0];
    let put = |done| put_blocks(to("/f"), vec![done]);
    assert_eq!(code(cluster.by(other, put(done(block, 12, &[1, 2])))), Code::NoSuchBlock);
    assert_eq!(code(cluster.by(session, put(done(block, 12, &[1])))), Code::NoDatanodes);
    assert_eq!(code(cluster.by(session, put(done(block, 17, &[1, 2])))), Code::InvalidArgument);
    assert_eq!(code(cluster.by(session, put(done(block, 0, &[1, 2])))), Code::InvalidArgument);
    assert_eq!(code(cluster.by(session, put(done(block, 12, &[1, 4])))), Code::InvalidArgument);
    let stale = BlockDone { generation: GenStamp::new(2), ..done(block, 12, &[1, 2]) };
    assert_eq!(code(cluster.by(session, put(stale))), Code::StaleGeneration);
    let twice = vec![done(block, 12, &[1, 2]), done(block, 12, &[1, 2])];
    assert_eq!(code(cluster.by(session, put_blocks(to("/f"), twice))), Code::NoSuchBlock);
    assert_eq!(code(cluster.by(session, put_blocks(to("/f"), vec![]))), Code::InvalidArgument);
    assert!(!cluster.is_there("/f"));
    cluster.by(session, put(done(block, 12, &[1, 2]))).expect("it was left as it was");
    // The repair leaves it alone until then, and nothing else is said of it.
    let block = cluster.allocate(session, 1)[0];
    let add = Command::AddReplica { block, generation: GenStamp::FIRST, location: location(4) };
    assert_eq!(code(cluster.run(add)), Code::InvalidArgument);
}

#[test]
fn blocks_in_advance_are_bounded_and_go_with_their_session_without_grace() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    for count in [0, 65] {
        let targets = vec![locations(&[1, 2, 3]); count];
        assert_eq!(code(cluster.by(session, Command::AllocateBlocks { wanted: 3, targets })), Code::InvalidArgument);
    }
    let targets = vec![locations(&[1, 1])];
    assert_eq!(code(cluster.by(session, Command::AllocateBlocks { wanted: 3, targets })), Code::InvalidArgument);
    assert_eq!(
        code(cluster.run(Command::AllocateBlocks { wanted: 3, targets: vec![locations(&[1])] })),
        Code::InvalidArgument
    );
    let mut blocks = Vec::new();
    while blocks.len() < MAX_PENDING {
        blocks.extend(cluster.allocate(session, 64));
    }
    let targets = vec![locations(&[1])];
    assert_eq!(code(cluster.by(session, Command::AllocateBlocks { wanted: 1, targets })), Code::TooLarge);
    let released = blocks.split_off(MAX_PENDING - 2);
    assert_eq!(cluster.by(session, Command::ReleaseBlocks { blocks: released.clone() }), Ok(Reply::Done));
    assert_eq!(cluster.row(released[0]), None);
    cluster.allocate(session, 2);
    let mut steps = 0;
    while cluster.run(Command::ExpireSession { session, limit: 100 }) == Ok(Reply::Step { more: true }) {
        steps += 1;
        invariants::check(&cluster.state);
    }
    assert_eq!(steps, MAX_PENDING / 100);
    assert_eq!(query::totals(&cluster.state).expect("readable").blocks, 0);
    let now = Timestamp::from_nanos(cluster.clock);
    let due = query::due_deletes(&cluster.state, storage(1), now, 2 * MAX_PENDING).expect("readable");
    assert_eq!(due.len(), MAX_PENDING + 2);
}

#[test]
fn an_overwrite_cuts_old_extents_and_a_block_dies_with_its_last_byte() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let old = cluster.put_block(session, "/f", 16);
    let new = cluster.allocate(session, 2);
    let request =
        cluster.request(Some(session), splice(vec![done(new[0], 4, &[1, 2, 3])], vec![edit(6, new[0], 4)], false));
    let applied = cluster.apply(&request);
    assert!(matches!(applied.reply, Ok(Reply::Written { offset: 6, next: None, .. })));
    assert_eq!(cluster.map("/f"), [(0, 6, old, 0), (6, 4, new[0], 0), (10, 6, old, 10)]);
    assert_eq!(cluster.row(old).map(|row| row.live), Some(ByteSize::new(12)));
    let whole = splice(vec![done(new[1], 16, &[1, 2, 3])], vec![edit(0, new[1], 16)], false);
    let request = cluster.request(Some(session), whole);
    let applied = cluster.apply(&request);
    assert!(applied.effects.contains(&Effect::ReplicasToDelete(storage(1))), "{:?}", applied.effects);
    assert_eq!((cluster.row(old), cluster.row(new[0])), (None, None));
    assert_eq!(cluster.map("/f"), [(0, 16, new[1], 0)]);
    // A reader may be at the old blocks still.
    let due =
        |nanos| query::due_deletes(&cluster.state, storage(1), Timestamp::from_nanos(nanos), 9).expect("readable");
    assert_eq!((due(cluster.clock + 499).len(), due(cluster.clock + 500).len()), (0, 2));
    assert_eq!(cluster.stat("/").usage.expect("a directory").bytes, 16);
    invariants::check(&cluster.state);
}

#[test]
fn appends_of_two_clients_follow_each_other() {
    let mut cluster = Cluster::formatted();
    let (one, two) = (cluster.open_session(), cluster.open_session());
    let first = cluster.put_block(one, "/f", 10);
    let (a, b) = (cluster.allocate(one, 1)[0], cluster.allocate(two, 1)[0]);
    // Both looked at the file before either wrote.
    let append = |block| splice(vec![done(block, 3, &[1, 2, 3])], vec![edit(0, block, 3)], true);
    let reply = cluster.by(one, append(a)).expect("appended");
    assert!(matches!(reply, Reply::Written { offset: 10, .. }));
    let reply = cluster.by(two, append(b)).expect("appended");
    assert!(matches!(reply, Reply::Written { offset: 13, .. }));
    assert_eq!(cluster.map("/f"), [(0, 10, first, 0), (10, 3, a, 0), (13, 3, b, 0)]);
}

#[test]
fn edits_that_make_no_sense_write_nothing() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.put_block(session, "/f", 10);
    let [a, b] = cluster.allocate(session, 2)[..] else { panic!("two blocks") };
    let before = cluster.map("/f");
    let (whole, other) = (done(a, 4, &[1, 2, 3]), done(b, 4, &[1, 2, 3]));
    let inside = |offset, length, block_offset| Edit::Block {
        offset,
        length: ByteSize::new(length),
        block: a,
        block_offset: BlockOffset::new(block_offset),
    };
    for (blocks, edits) in [
        (vec![], vec![]),
        (vec![whole.clone()], vec![]),
        (vec![whole.clone()], vec![edit(0, b, 4)]),
        (vec![whole.clone(), other.clone()], vec![edit(0, a, 4)]),
        (vec![whole.clone()], vec![edit(0, a, 0)]),
        (vec![whole.clone()], vec![edit(0, a, 5)]),
        (vec![whole.clone()], vec![inside(0, 2, 3)]),
        (vec![whole.clone()], vec![inside(0, 2, u64::MAX)]),
        (vec![whole.clone()], vec![edit(4, a, 4), edit(0, a, 4)]),
        (vec![whole.clone()], vec![edit(0, a, 4), edit(3, a, 4)]),
        (vec![whole.clone()], vec![edit(0, a, 4), Edit::Bytes { offset: 9, content: b"x".to_vec() }]),
        (vec![], vec![edit(0, a, 4)]),
    ] {
        let command = splice(blocks, edits, false);
        assert_eq!(code(cluster.by(session, command.clone())), Code::InvalidArgument, "{command:?}");
    }
    for offset in [u64::MAX, 1 << 50] {
        let command = splice(vec![whole.clone()], vec![edit(offset, a, 4)], false);
        assert_eq!(code(cluster.by(session, command)), Code::TooLarge);
        let truncate = Command::Truncate { place: at("/f"), length: offset + (offset == 1 << 50) as u64, terms: TERMS };
        assert_eq!(code(cluster.by(session, truncate)), Code::TooLarge);
    }
    assert_eq!(cluster.map("/f"), before);
    invariants::check(&cluster.state);
}

#[test]
fn what_is_stored_inline_stays_there_while_it_is_short() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), b"abc")).expect("put");
    cluster.by(session, bytes(5, b"xy")).expect("written");
    let content = |cluster: &Cluster| match query::open(&cluster.state, Caller::SYSTEM, &at("/f"), 0, 1) {
        Ok(query::Opened { content: Content::Inline(content), .. }) => content,
        other => panic!("it is inline: {other:?}"),
    };
    assert_eq!(content(&cluster), b"abc\0\0xy");
    cluster.by(session, Command::Punch { place: at("/f"), offset: 1, length: 1, terms: TERMS }).expect("punched");
    cluster.by(session, Command::Truncate { place: at("/f"), length: 6, terms: TERMS }).expect("shortened");
    assert_eq!(content(&cluster), b"a\0c\0\0x");
    assert_eq!(code(cluster.by(session, bytes(8, b"z"))), Code::TooLarge);
    let truncate = |length| Command::Truncate { place: at("/f"), length, terms: TERMS };
    assert_eq!(code(cluster.by(session, truncate(9))), Code::StoredOtherwise);
    // The way out of both: a block over all of it.
    let block = cluster.allocate(session, 1)[0];
    let done = done(block, 9, &[1, 2, 3]);
    let short = splice(vec![BlockDone { length: ByteSize::new(5), ..done.clone() }], vec![edit(0, block, 5)], false);
    assert_eq!(code(cluster.by(session, short)), Code::StoredOtherwise);
    cluster.by(session, splice(vec![done], vec![edit(0, block, 9)], false)).expect("written");
    assert_eq!(cluster.map("/f"), [(0, 9, block, 0)]);
    assert_eq!(code(cluster.by(session, bytes(0, b"z"))), Code::StoredOtherwise);
    cluster.by(session, truncate(0)).expect("emptied");
    cluster.by(session, bytes(0, b"z")).expect("an empty file takes either");
    assert_eq!(content(&cluster), b"z");
}

#[test]
fn a_file_under_an_exclusive_lease_is_changed_by_nobody_else() {
    let mut cluster = Cluster::formatted();
    let (writer, other) = (cluster.open_session(), cluster.open_session());
    let (inode, block) = cluster.create(writer, Some(to("/f")));
    cluster.put_block(other, "/g", 10);
    let new = cluster.allocate(other, 1)[0];
    let commands = [
        splice(vec![done(new, 3, &[1, 2, 3])], vec![edit(0, new, 3)], false),
        Command::Truncate { place: at("/f"), length: 0, terms: TERMS },
        Command::Punch { place: at("/f"), offset: 0, length: 1, terms: TERMS },
        clone("/g", "/f"),
        Command::Concat { to: at("/f"), from: vec![at("/g")], terms: TERMS },
        Command::Concat { to: at("/g"), from: vec![at("/f")], terms: TERMS },
    ];
    for command in &commands {
        assert_eq!(code(cluster.by(other, command.clone())), Code::LeaseHeld, "{command:?}");
    }
    // What is being written is not shared either; the writer itself may change the file between blocks.
    assert_eq!(code(cluster.by(other, clone("/f", "/g"))), Code::InvalidArgument);
    let truncate = Command::Truncate { place: at("/f"), length: 4, terms: TERMS };
    assert_eq!(code(cluster.by(writer, truncate.clone())), Code::InvalidArgument);
    cluster.by(writer, Command::AbandonBlock { inode, block: block.block }).expect("dropped");
    cluster.by(writer, truncate).expect("its own");
    cluster.by(writer, complete(inode, None, None)).expect("closed");
    cluster.by(other, commands[0].clone()).expect("closed by now");
    invariants::check(&cluster.state);
}

#[test]
fn a_clone_shares_blocks_and_each_holder_keeps_them_alive() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let block = cluster.put_block(session, "/f", 16);
    cluster.by(session, put(to("/g"), b"")).expect("put");
    cluster.by(session, clone("/f", "/g")).expect("cloned");
    assert_eq!(cluster.map("/g"), [(0, 16, block, 0)]);
    assert_eq!(cluster.row(block).map(|row| row.live), Some(ByteSize::new(32)));
    assert_eq!(cluster.stat("/").usage.expect("a directory").raw_bytes, 96, "each file counts as what it is");
    // What one of them wants is not taken from the other.
    let wants = |path: &str, replication| Command::SetAttr {
        place: at(path),
        change: AttrChange { replication: Some(replication), ..AttrChange::default() },
    };
    cluster.by(session, wants("/f", 4)).expect("raised");
    cluster.by(session, wants("/g", 1)).expect("lowered");
    assert_eq!(cluster.row(block).map(|row| row.wanted), Some(4));
    cluster.run(delete("/f")).expect("removed");
    cluster.collect();
    assert_eq!(cluster.row(block).map(|row| row.live), Some(ByteSize::new(16)));
    cluster.by(session, wants("/g", 2)).expect("its own by now");
    assert_eq!(cluster.row(block).map(|row| row.wanted), Some(2));
    cluster.by(session, Command::Punch { place: at("/g"), offset: 0, length: 99, terms: TERMS }).expect("punched");
    assert_eq!(cluster.row(block), None);
    assert_eq!(cluster.stat("/g").length, ByteSize::new(16));
    invariants::check(&cluster.state);
}

#[test]
fn parts_without_a_name_become_one_file_and_no_byte_is_copied() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let other = cluster.open_session();
    let mut parts = Vec::new();
    for length in [16, 7, 16] {
        let (inode, block) = cluster.create(session, None);
        let last = done(block.block, length, &[1, 2, 3]);
        let add = Command::AddBlock { inode, previous: Some(last), targets: locations(&[1, 2, 3]), min_replicas: 2 };
        let Ok(Reply::Block { block: next }) = cluster.by(session, add) else { panic!("a block was asked for") };
        cluster.by(session, Command::AbandonBlock { inode, block: next.block }).expect("dropped");
        parts.push((Where { base: inode, path: Vec::new() }, block.block, length));
    }
    let from: Vec<_> = parts[1..].iter().map(|(place, ..)| place.clone()).collect();
    let concat = Command::Concat { to: parts[0].0.clone(), from, terms: TERMS };
    assert_eq!(code(cluster.by(other, concat.clone())), Code::LeaseHeld);
    cluster.by(session, concat).expect("put together");
    cluster.by(session, complete(parts[0].0.base, None, Some(to("/whole")))).expect("published");
    assert_eq!(cluster.map("/whole"), [(0, 16, parts[0].1, 0), (16, 7, parts[1].1, 0), (23, 16, parts[2].1, 0)]);
    assert!(query::stat(&cluster.state, Caller::SYSTEM, &parts[1].0).is_err(), "the parts are gone");
    cluster.run(Command::CloseSession { session }).expect("closed");
    cluster.collect();
    assert_eq!(cluster.map("/whole").len(), 3);
    invariants::check(&cluster.state);
}

#[test]
fn changing_content_takes_the_right_to_write_and_respects_quotas() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.put_block(session, "/f", 10);
    cluster.run(mkdir("/d")).expect("made");
    cluster.put_block(session, "/d/f", 10);
    let stranger = Principal { uid: 7, gid: 7, groups: vec![] };
    for command in [
        Command::Truncate { place: at("/f"), length: 0, terms: TERMS },
        Command::Punch { place: at("/f"), offset: 0, length: 1, terms: TERMS },
        clone("/d/f", "/f"),
        Command::Concat { to: at("/f"), from: vec![at("/d/f")], terms: TERMS },
    ] {
        let mut request = cluster.request(Some(session), command);
        request.principal = Some(stranger.clone());
        assert_eq!(code(cluster.apply(&request).reply), Code::Denied);
    }
    let quota = Quota { raw_bytes: Some(60), inodes: None };
    cluster.run(Command::SetQuota { place: at("/d"), quota }).expect("set");
    let truncate = |length| Command::Truncate { place: at("/d/f"), length, terms: TERMS };
    cluster.by(session, truncate(20)).expect("holes count");
    assert_eq!(code(cluster.by(session, truncate(21))), Code::QuotaExceeded);
    assert_eq!(
        code(cluster.by(session, Command::Truncate { place: at("/d"), length: 0, terms: TERMS })),
        Code::IsDirectory
    );
}

#[test]
fn a_write_takes_setuid_away_and_records_the_time_it_was_given() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), b"x")).expect("put");
    let change = AttrChange { mode: Some(0o6755), ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: at("/f"), change }).expect("changed");
    let mtime = Some(Timestamp::from_nanos(77));
    let terms = ContentTerms { mtime, clear_suid: true, ..TERMS };
    cluster.by(session, Command::Truncate { place: at("/f"), length: 2, terms }).expect("longer");
    let attributes = cluster.stat("/f");
    assert_eq!((attributes.mode, attributes.mtime), (0o755, Timestamp::from_nanos(77)));
    assert_eq!(attributes.ctime, Timestamp::from_nanos(cluster.clock));
}

#[test]
fn an_owner_writes_what_he_has_open_whatever_the_mode_says_and_nobody_else_does() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), b"")).expect("put");
    let change = AttrChange { mode: Some(0o444), ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: at("/f"), change }).expect("changed");
    let mut by = |uid, command| {
        let mut request = cluster.request(Some(session), command);
        request.principal = Some(Principal { uid, gid: 7, groups: vec![] });
        cluster.apply(&request).reply
    };
    assert_eq!(code(by(OWNER.uid, bytes(0, b"x"))), Code::Denied);
    let rights = HandleRights { read: true, write: false };
    by(OWNER.uid, Command::OpenHandle { place: at("/f"), rights, create: None }).expect("opened");
    by(OWNER.uid, bytes(0, b"x")).expect("it is open");
    assert_eq!(code(by(OWNER.uid + 1, bytes(0, b"y"))), Code::Denied);
}

#[test]
fn a_file_that_is_open_does_not_vanish_into_another() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.put_block(session, "/f", 10);
    cluster.put_block(session, "/g", 10);
    let rights = HandleRights { read: true, write: false };
    cluster.by(session, Command::OpenHandle { place: at("/g"), rights, create: None }).expect("opened");
    let concat = Command::Concat { to: at("/f"), from: vec![at("/g")], terms: TERMS };
    assert_eq!(code(cluster.by(session, concat)), Code::InvalidArgument);
    assert_eq!((cluster.map("/f").len(), cluster.map("/g").len()), (1, 1));
    invariants::check(&cluster.state);
}

#[test]
fn what_was_inline_becomes_a_block_only_while_it_is_what_the_writer_saw() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, put(to("/f"), b"abc")).expect("put");
    let block = cluster.allocate(session, 1)[0];
    let convert = |content: &[u8]| Command::WriteExtents {
        place: at("/f"),
        blocks: vec![done(block, 3, &[1, 2, 3])],
        edits: vec![edit(0, block, 3)],
        append: false,
        min_replicas: 2,
        terms: TERMS,
        inline: Some(content.to_vec()),
    };
    cluster.by(session, bytes(1, b"X")).expect("another was faster");
    assert_eq!(code(cluster.by(session, convert(b"abc"))), Code::StoredOtherwise);
    cluster.by(session, convert(b"aXc")).expect("looked again");
    assert_eq!(code(cluster.by(session, convert(b"aXc"))), Code::StoredOtherwise);
    invariants::check(&cluster.state);
}

/// A file of four short blocks; where each is.
fn in_pieces(cluster: &mut Cluster, session: SessionId) -> Vec<Joined> {
    let blocks = cluster.allocate(session, 4);
    let pieces = blocks.iter().map(|block| done(*block, 3, &[1, 2, 3])).collect();
    cluster.by(session, put_blocks(to("/f"), pieces)).expect("put");
    let map = cluster.map("/f").into_iter();
    map.map(|(offset, length, block, at)| Joined {
        offset,
        length: ByteSize::new(length),
        block,
        block_offset: BlockOffset::new(at),
    })
    .collect()
}

fn join(cluster: &Cluster, block: BlockDone, pieces: &[Joined]) -> Command {
    let (inode, pieces) = (cluster.stat("/f").inode, pieces.to_vec());
    Command::JoinExtents { inode, block, pieces, min_replicas: 2, grace_nanos: 500 }
}

#[test]
fn extents_are_joined_without_anybody_seeing_it() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let pieces = in_pieces(&mut cluster, session);
    let before = cluster.stat("/f");
    let block = cluster.allocate(session, 1)[0];
    let command = join(&cluster, done(block, 12, &[1, 2]), &pieces);
    assert_eq!(cluster.by(session, command), Ok(Reply::Done));
    assert_eq!(cluster.map("/f"), [(0, 12, block, 0)]);
    assert_eq!(cluster.stat("/f"), before, "no time, no length, no sum");
    assert!(pieces.iter().all(|piece| cluster.row(piece.block).is_none()), "what held it before is gone");
    assert_eq!(cluster.row(block).map(|row| (row.live, row.wanted)), Some((ByteSize::new(12), 3)));
    invariants::check(&cluster.state);
}

#[test]
fn what_was_written_meanwhile_stays_when_extents_are_joined() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let pieces = in_pieces(&mut cluster, session);
    let [block, newer] = cluster.allocate(session, 2)[..] else { panic!("two were asked for") };
    // One byte of the second piece, and all of the third.
    cluster.by(session, splice(vec![done(newer, 4, &[1, 2, 3])], vec![edit(5, newer, 4)], false)).expect("written");
    let command = join(&cluster, done(block, 12, &[1, 2, 3]), &pieces);
    assert_eq!(cluster.by(session, command), Ok(Reply::Done));
    assert_eq!(cluster.map("/f"), [(0, 5, block, 0), (5, 4, newer, 0), (9, 3, block, 9)]);
    assert_eq!(cluster.row(block).map(|row| row.live), Some(ByteSize::new(8)));
    invariants::check(&cluster.state);
}

#[test]
fn joining_is_refused_where_it_is_not_worth_it_or_makes_no_sense() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let pieces = in_pieces(&mut cluster, session);
    let block = cluster.allocate(session, 1)[0];
    let whole = || done(block, 12, &[1, 2, 3]);
    let refused = |cluster: &mut Cluster, block: BlockDone, pieces: &[Joined]| {
        let command = join(cluster, block, pieces);
        code(cluster.by(session, command))
    };
    let longer = Joined { length: ByteSize::new(u64::MAX), ..pieces[3] };
    let empty = Joined { length: ByteSize::ZERO, ..pieces[1] };
    let mut too_many = vec![pieces[0]; crate::limits::MAX_JOINED + 1];
    for (at, piece) in (0..).zip(&mut too_many) {
        (piece.offset, piece.length) = (at, ByteSize::new(1));
    }
    for bad in [
        vec![],
        pieces[..3].to_vec(),
        vec![pieces[0], pieces[2], pieces[1], pieces[3]],
        vec![pieces[0], pieces[1], pieces[2], longer],
        vec![pieces[0], empty, pieces[1], pieces[2], pieces[3]],
        too_many,
    ] {
        assert_eq!(refused(&mut cluster, whole(), &bad), Code::InvalidArgument, "{bad:?}");
    }
    assert_eq!(refused(&mut cluster, done(block, 12, &[1]), &pieces), Code::NoDatanodes);
    assert_eq!(refused(&mut cluster, done(pieces[0].block, 12, &[1, 2, 3]), &pieces), Code::NoSuchBlock);
    // Less than half is left.
    cluster.run(Command::Punch { place: at("/f"), offset: 2, length: 7, terms: TERMS }).expect("punched");
    assert_eq!(refused(&mut cluster, whole(), &pieces), Code::SourceChanged);
    assert_eq!(cluster.map("/f").len(), 2);
    assert_eq!(cluster.by(session, Command::ReleaseBlocks { blocks: vec![block] }), Ok(Reply::Done));
    invariants::check(&cluster.state);
}
