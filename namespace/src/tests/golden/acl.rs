//! Access control lists, modes with a umask, and the supergroup.

use types::acl::{Acl, AclEntries, Named, Permissions};
use types::{InodeId, Timestamp};

use super::super::{CLUSTER, OWNER, to};
use super::hex;
use crate::codec::Batch;
use crate::command::{Command, Ownership, Request};
use crate::error::Error;
use crate::row::{self, Body, EntryRow, InodeRow, Kind, SpecialBody, SystemRow};

fn fifo(umask: Option<u32>) -> InodeRow {
    let (mtime, ctime) = (Timestamp::from_nanos(2), Timestamp::from_nanos(3));
    let body = Body::Special(SpecialBody { mtime, ctime, kind: Kind::Fifo, device: 0 });
    InodeRow::new(InodeId::new(42), Ownership { mode: 0o662, umask, ..OWNER }, Timestamp::from_nanos(1), body)
}

#[test]
fn rows_with_lists_keep_their_bytes() {
    let bits = Permissions::of_bits;
    let users = vec![Named { id: 7, permissions: bits(6) }];
    let list = AclEntries { mask: Some(bits(6)), users, ..Acl::of_mode(0o642).into_entries() };
    let acl = Some(Box::new(list.build().expect("whole")));
    let listed = InodeRow { acl, default_acl: Some(Box::new(Acl::of_mode(0o750))), ..fifo(None) };
    let withheld = InodeRow { names: Some(0), ..fifo(Some(0o22)) };
    let system = SystemRow {
        cluster: Some(CLUSTER),
        time: Timestamp::from_nanos(5),
        next_inode: InodeId::new(43),
        next_session: types::SessionId::new(8),
        next_node: types::NodeId::new(103),
        blocks: 1,
        sessions: 1,
        policies: None,
        supergroup: Some(500),
    };
    let bad = Error::BadAcl { place: "/x".to_owned(), reason: "r".to_owned() };
    let of_symlink = Error::AclOfSymlink { place: "/x".to_owned() };
    let of_file = Error::DefaultAclOfFile { place: "/x".to_owned() };
    let rows = [
        (row::encode(&listed), LISTED),
        (row::encode(&withheld), WITHHELD),
        (row::encode(&system), SUPERGROUP),
        (row::encode(&bad), "01821864 82622f786172"),
        (row::encode(&of_symlink), "0182186581622f78"),
        (row::encode(&of_file), "0182186681622f78"),
    ];
    let (written, golden): (Vec<_>, Vec<_>) =
        rows.iter().map(|(bytes, golden)| (hex(bytes), golden.replace(' ', ""))).unzip();
    assert_eq!(written, golden);
    assert_eq!(row::decode(b"n", &row::encode(&listed)), Ok(EntryRow::Inode(listed)));
    assert_eq!(row::decode(b"n", &row::encode(&withheld)), Ok(EntryRow::Inode(withheld)));
    assert_eq!(row::decode(b"S", &row::encode(&system)), Ok(system));
}

#[test]
fn log_entries_keep_their_bytes() {
    let masked = Ownership { mode: 0o666, umask: Some(0o22), ..OWNER };
    let mkdir = Command::Mkdir { place: to("/d").place, ownership: masked, parents: false };
    let time = Timestamp::from_nanos(1);
    let request = |command| Request { time, origin: None, command, principal: None };
    let supergroup = |gid| request(Command::SetSupergroup { gid });
    let batch = Batch { requests: vec![request(mkdir), supergroup(Some(500)), supergroup(None)] };
    assert_eq!(hex(&batch.encode()), LOG.replace(' ', ""));
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
}

const LISTED: &str = "018a182a1901b21903e8186401 82038184020303 00 f6f6 8606040206818207 0680 8607 0500f68080";
const WITHHELD: &str = "018b182a1901a01903e8186401 82038184020303 00 f600 f6f6 12";
const SUPERGROUP: &str = "018850636c7573746572206f6620746573747305182b08186701011901f4";
const LOG: &str = concat!(
    "01818383 01f6",
    "8204 83 820142 2f64 84 1903e8 1864 1901b6 12 f4",
    "8301f6 821864 81 1901f4",
    "8301f6 821864 80",
);
