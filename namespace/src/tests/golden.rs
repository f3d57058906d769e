//! The bytes of the log and of rows. A change here is a change of a stored format: it needs a new version byte and a
//! reader for the old one.

mod acl;
mod content;
mod directory_policies;
mod jobs;
mod policies;
mod service;
mod sessions;
mod token_keys;
mod trash;
mod users;

use proptest::prelude::*;
use types::{BlockId, ByteSize, GenStamp, InodeId, NodeId, Sequence, SessionId, Timestamp};

use super::{CLUSTER, LAYOUT, OWNER, location, locations, storages, to};
use crate::access::Right;
use crate::codec::{Batch, DecodeError};
use crate::command::{AttrChange, BlockDone, Command, Origin, Principal, Reply, Request, TimeKind};
use crate::error::Error;
use crate::key;
use crate::resolve::Slot;
use crate::row::{
    self, BlockRow, BlockState, Body, Data, DirectoryRow, EntryRow, FileBody, InodeRow, Kind, LeaseRow, Quota,
    ResultRow, SpecialBody, SymlinkBody, SystemRow, Usage, Xattr, XattrRow,
};
use crate::view::ViewError;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn batch() -> Batch {
    let origin = Some(Origin { session: SessionId::new(7), sequence: Sequence::new(3) });
    let time = Timestamp::from_nanos(1_000_000_007);
    let block = BlockId::new(InodeId::new(42), 1);
    let last = BlockDone { block, generation: GenStamp::new(2), length: ByteSize::new(300), replicas: storages(&[1]) };
    let put = Command::PutInline {
        destination: to("/f"),
        ownership: OWNER,
        layout: LAYOUT,
        content: b"hello".to_vec(),
        mtime: None,
    };
    let complete = Command::Complete {
        inode: InodeId::new(42),
        last: Some(last),
        min_replicas: 2,
        publish: Some(to("/g")),
        mtime: None,
    };
    let change = AttrChange { mode: Some(0o750), touch: true, ..AttrChange::default() };
    let set_attr = Command::SetAttr { place: to("/g").place, change };
    let one_time = AttrChange { present: Some(TimeKind::Modification), ..AttrChange::default() };
    let one_time = Command::SetAttr { place: to("/g").place, change: one_time };
    let principal = Principal { uid: 1000, gid: 100, groups: vec![4, 27] };
    let owned = Command::Format { cluster: CLUSTER, owner: Some((1000, 100)) };
    let exchange = Command::Exchange { first: to("/f").place, second: to("/g").place };
    let quota = Quota { raw_bytes: None, inodes: Some(9) };
    let bounds = Command::SetQuota { place: to("/d").place, quota };
    let named = Command::Link { from: to("/f").place, to: to("/g").place };
    let symlink = Command::Symlink { place: to("/l").place, target: b"t".to_vec(), ownership: OWNER };
    let node = Command::Mknod { place: to("/c").place, kind: Kind::CharDevice, ownership: OWNER, device: 259 };
    let requests = vec![
        Request { time, origin: None, command: Command::Noop, principal: None },
        Request { time, origin: None, command: Command::Format { cluster: CLUSTER, owner: None }, principal: None },
        Request { time, origin, command: put, principal: None },
        Request { time, origin, command: complete, principal: None },
        Request { time, origin: None, command: Command::GcStep { limit: 1000, grace_nanos: 600 }, principal: None },
        Request { time, origin, command: set_attr, principal: Some(principal) },
        Request { time, origin: None, command: owned, principal: None },
        Request { time, origin, command: exchange, principal: None },
        Request { time, origin, command: bounds, principal: None },
        Request { time, origin, command: named, principal: None },
        Request { time, origin, command: symlink, principal: None },
        Request { time, origin, command: node, principal: None },
        Request { time, origin, command: one_time, principal: None },
    ];
    Batch { requests }
}

#[test]
fn log_entries_keep_their_bytes() {
    assert_eq!(hex(&batch().encode()), LOG);
    assert_eq!(Batch::decode(&batch().encode()), Ok(batch()));
}

/// Entries of before there were principals, owners of the root and touching are read as they were meant.
#[test]
fn older_entries_still_read() {
    let older = "018181831a3b9aca078207038210828201422f678619_01e8_f6f6f6f6f6".replace('_', "");
    let older: Vec<u8> = (0..older.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&older[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    let decoded = Batch::decode(&older).expect("still legal");
    let change = AttrChange { mode: Some(0o750), ..AttrChange::default() };
    let [request] = decoded.requests.try_into().expect("one request");
    assert_eq!((request.command, request.principal), (Command::SetAttr { place: to("/g").place, change }, None));
}

#[test]
fn rows_keep_their_bytes() {
    let file = InodeRow {
        inode: InodeId::new(42),
        mode: 0o644,
        uid: 1000,
        gid: 100,
        atime: Timestamp::from_nanos(1),
        body: Body::File(FileBody {
            mtime: Timestamp::from_nanos(2),
            ctime: Timestamp::from_nanos(3),
            length: ByteSize::new(300),
            replication: 3,
            block_size: ByteSize::mib(128),
            writing: true,
            data: Data::Blocks { next_block: 2, extents: 2 },
            changes: 3,
            holes: None,
            spread: None,
        }),
        xattrs: None,
        names: None,
        acl: None,
        default_acl: None,
        withheld: None,
    };
    let xattr = |name: &str, value: Option<&[u8]>| Xattr { name: name.into(), value: value.map(Vec::from) };
    let xattrs = Some(vec![xattr("user.a", Some(b"1")), xattr("user.b", None)]);
    let described = InodeRow { xattrs, ..file.clone() };
    let shared = InodeRow { names: Some(2), ..file.clone() };
    let directory = DirectoryRow {
        parent: InodeId::ROOT,
        name: b"d".to_vec(),
        mtime: Timestamp::from_nanos(2),
        ctime: Timestamp::from_nanos(3),
        usage: Usage { entries: 1, files: 2, directories: 3, bytes: 400, raw_bytes: 1200 },
        quota: None,
        implicit: true,
        subdirectories: None,
        ttl_nanos: None,
        policy: None,
    };
    let bounded =
        DirectoryRow { quota: Some(Quota { raw_bytes: Some(1 << 40), inodes: Some(9) }), ..directory.clone() };
    let counted = DirectoryRow { subdirectories: Some(2), ..directory.clone() };
    let (mtime, ctime) = (Timestamp::from_nanos(2), Timestamp::from_nanos(3));
    let symlink = Body::Symlink(SymlinkBody { mtime, ctime, target: b"../t".to_vec() });
    let symlink = InodeRow { body: symlink, ..file.clone() };
    let device = Body::Special(SpecialBody { mtime, ctime, kind: Kind::CharDevice, device: 259 });
    let device = InodeRow { body: device, ..file.clone() };
    let block = BlockRow {
        generation: GenStamp::new(2),
        length: ByteSize::new(300),
        state: BlockState::Committed,
        wanted: 3,
        replicas: locations(&[1]),
        bad: Vec::new(),
        leaving: vec![location(2)],
        live: ByteSize::new(200),
        recovery: None,
        spread: None,
    };
    let system = SystemRow {
        cluster: Some(CLUSTER),
        time: Timestamp::from_nanos(5),
        next_inode: InodeId::new(43),
        next_session: SessionId::new(8),
        next_node: NodeId::new(103),
        blocks: 1,
        sessions: 1,
        policies: None,
        supergroup: None,
    };
    let denied = Error::AccessDenied { place: "/x".to_owned(), uid: 1000, right: Right::Search };
    let refused = Err(Error::NotFound { place: "/x".to_owned() });
    let rows = [
        (row::encode(&file), FILE),
        (row::encode(&described), DESCRIBED),
        (row::encode(&shared), SHARED),
        (row::encode(&InodeId::new(42)), "01182a"),
        (row::encode(&XattrRow { value: b"long".to_vec() }), XATTR),
        (key::xattr(InodeId::new(1), b"user.b"), "780000000000000001757365722e62"),
        (row::encode(&directory), DIRECTORY),
        (row::encode(&bounded), BOUNDED),
        (row::encode(&block), BLOCK),
        (row::encode(&system), SYSTEM),
        (row::encode(&LeaseRow { block: Some(1), ..LeaseRow::new(SessionId::new(7)) }), LEASE),
        (row::encode(&ResultRow { sequence: Sequence::new(3), result: Ok(Reply::Done) }), RESULT),
        (row::encode(&ResultRow { sequence: Sequence::new(4), result: refused }), REFUSED),
        (row::encode(&ResultRow { sequence: Sequence::new(5), result: Err(denied) }), DENIED),
        (key::entry(InodeId::new(1), b"name"), "6e00000000000000016e616d65"),
        (
            key::back_link(InodeId::new(2), &Slot { directory: InodeId::new(1), name: b"name".to_vec() }),
            "70000000000000000200000000000000016e616d65",
        ),
        (row::encode(&symlink), SYMLINK),
        (row::encode(&device), DEVICE),
        (row::encode(&counted), COUNTED),
        (key::block(BlockId::new(InodeId::new(42), 1)), "62000000000000002a0000000100"),
    ];
    let (written, golden): (Vec<_>, Vec<_>) = rows.iter().map(|(bytes, golden)| (hex(bytes), *golden)).unzip();
    assert_eq!(written, golden);
    assert_eq!(row::decode(b"n", &row::encode(&file)), Ok(EntryRow::Inode(file)));
    assert_eq!(row::decode(b"n", &row::encode(&InodeId::new(42))), Ok(EntryRow::Reference(InodeId::new(42))));
    assert_eq!(row::decode(b"b", &row::encode(&block)), Ok(block));
}

#[test]
fn another_version_is_refused_rather_than_guessed() {
    let mut bytes = batch().encode();
    bytes[0] = 2;
    assert_eq!(Batch::decode(&bytes), Err(DecodeError::Version { found: 2 }));
    assert_eq!(Batch::decode(&[]), Err(DecodeError::Empty));
    let damaged = row::decode::<LeaseRow>(b"l\0\0", &[9, 0x80]);
    assert!(matches!(damaged, Err(ViewError::Row { key, .. }) if key == "l:0000"));
}

#[test]
fn bytes_after_the_end_are_damage() {
    let mut bytes = batch().encode();
    bytes.push(0);
    assert_eq!(Batch::decode(&bytes), Err(DecodeError::Trailing { extra: 1 }));
}

proptest! {
    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(&bytes);
        let versioned = [&[row::VERSION], bytes.as_slice()].concat();
        let _ = Batch::decode(&versioned);
        let _ = Request::decode(&versioned);
        let _ = row::decode::<EntryRow>(b"n", &versioned);
        let _ = row::decode::<BlockRow>(b"b", &versioned);
        let _ = row::decode::<ResultRow>(b"q", &versioned);
        let _ = (key::block_of(&bytes), key::removal_of(&bytes), key::offset_of(&bytes), key::name_of(&bytes));
    }

    #[test]
    fn a_damaged_entry_never_panics(
        at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = batch().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = Batch::decode(&bytes);
        prop_assert!(Batch::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

const LOG: &str = concat!(
    "01818d831a3b9aca07f6820080831a3b9aca07f682168150636c7573746572206f66207465737473831a3b9aca0782070382",
    "0684838201422f66f4f4831903e818641901a48203104568656c6c6f831a3b9aca07820703820b84182a8482182a01021901",
    "2c81500101010101010101010101010101010102838201422f67f4f4831a3b9aca07f6820f821903e8190258",
    "841a3b9aca078207038210828201422f67871901e8f6f6f6f6f6f5831903e818648204181b",
    "831a3b9aca07f682168250636c7573746572206f66207465737473821903e81864",
    "831a3b9aca07820703821782820142",
    "2f66820142",
    "2f67",
    "831a3b9aca07820703821818828201422f6482f609",
    "831a3b9aca0782070382181e828201422f668201422f67",
    "831a3b9aca0782070382181f838201422f6c4174831903e818641901a4",
    "831a3b9aca07820703821820848201422f6305831903e818641901a4190103",
    "831a3b9aca078207038210828201422f6788f6f6f6f6f6f6f401",
);
const FILE: &str = "0186182a1901a41903e818640182018188020319012c031a08000000f5820082020203";
const DESCRIBED: &str =
    "0187182a1901a41903e818640182018188020319012c031a08000000f5820082020203828246757365722e6141318146757365722e62";
const SHARED: &str = "0188182a1901a41903e818640182018188020319012c031a08000000f5820082020203f602";
const SYMLINK: &str = "0186182a1901a41903e8186401820281830203442e2e2f74";
const DEVICE: &str = "0186182a1901a41903e818640182038184020305190103";
const COUNTED: &str = "01880141640203850102031901901904b0f6f502";
const XATTR: &str = "0181446c6f6e67";
const DIRECTORY: &str = "01870141640203850102031901901904b0f6f5";
const BOUNDED: &str = "01870141640203850102031901901904b0821b000001000000000009f5";
const BLOCK: &str =
    "01880219012c01038182186550010101010101010101010101010101018081821866500202020202020202020202020202020218c8";
const SYSTEM: &str = "018750636c7573746572206f6620746573747305182b0818670101";
const LEASE: &str = "01820701";
const RESULT: &str = "0182038200820080";
const DENIED: &str = "018205820182182683622f781903e802";
const REFUSED: &str = "0182048201820481622f78";
