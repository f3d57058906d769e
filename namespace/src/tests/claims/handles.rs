use super::*;
use crate::command::{AttrChange, ClosedHandles, HandleRights, NewOpenFile, Principal, Request, XattrMode};
use crate::limits::{MAX_CLOSED, MAX_HANDLES_OF_SESSION};
use crate::query::Content;

const READ: HandleRights = HandleRights { read: true, write: false };
const WRITE: HandleRights = HandleRights { read: false, write: true };

fn open(place: Where) -> Command {
    Command::OpenHandle { place, rights: READ, create: None }
}

fn make(path: &str, exclusive: bool) -> Command {
    let create = Some(NewOpenFile { ownership: OWNER, layout: LAYOUT, exclusive });
    Command::OpenHandle { place: at(path), rights: WRITE, create }
}

fn close(inode: InodeId, count: u32) -> Command {
    Command::CloseHandles { closed: vec![ClosedHandles { inode, count }] }
}

fn itself(inode: InodeId) -> Where {
    Where { base: inode, path: Vec::new() }
}

impl Cluster {
    fn opened(&mut self, session: SessionId, place: Where) -> InodeId {
        match self.by(session, open(place)) {
            Ok(Reply::Attributes { attributes }) => attributes.inode,
            other => panic!("a file was to be opened: {other:?}"),
        }
    }

    fn links(&self, inode: InodeId) -> Option<u32> {
        query::stat(&self.state, Caller::SYSTEM, &itself(inode)).ok().map(|row| row.links)
    }

    fn content(&self, inode: InodeId) -> Content {
        query::open(&self.state, Caller::SYSTEM, &itself(inode), 0, 99).expect("it lives").content
    }
}

#[test]
fn an_open_file_outlives_its_name_and_counts_nowhere() {
    let mut cluster = Cluster::formatted();
    let (session, other) = (cluster.open_session(), cluster.open_session());
    let block = cluster.write(session, "/f");
    let inode = cluster.opened(session, at("/f"));
    let again = cluster.opened(other, itself(inode));
    assert_eq!(inode, again);
    cluster
        .run(Command::SetXattr { place: at("/f"), name: b"user.a".to_vec(), value: vec![7; 400], mode: XattrMode::Any })
        .expect("set");
    cluster.run(delete("/f")).expect("removed");
    cluster.collect();
    invariants::check(&cluster.state);
    assert!(!cluster.is_there("/f"));
    assert_eq!((cluster.links(inode), cluster.stat("/").usage.map(|usage| usage.bytes)), (Some(0), Some(0)));
    assert!(matches!(cluster.content(inode), Content::Blocks { blocks, .. } if blocks.len() == 1));
    assert_eq!(query::xattr(&cluster.state, Caller::SYSTEM, &itself(inode), b"user.a"), Ok(vec![7; 400]));
    let change = AttrChange { mode: Some(0o600), ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: itself(inode), change }).expect("by its number");

    cluster.by(other, close(inode, 1)).expect("closed");
    assert_eq!(cluster.links(inode), Some(0), "open once more");
    cluster.by(session, close(inode, 1)).expect("closed");
    assert_eq!(cluster.links(inode), None);
    cluster.collect();
    assert_eq!(query::block(&cluster.state, block), Ok(None));
    invariants::check(&cluster.state);
    assert!(!invariants::tags(&cluster.state).contains(['f', 'F', 'h', 'x', 'g']));
}

#[test]
fn a_file_that_is_renamed_over_lives_until_it_is_closed() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(put(to("/old"), b"old")).expect("stored");
    cluster.run(put(to("/new"), b"new")).expect("stored");
    let inode = cluster.opened(session, at("/old"));
    cluster.run(rename("/new", "/old", true)).expect("replaced");
    assert_eq!((cluster.links(inode), cluster.content(inode)), (Some(0), Content::Inline(b"old".to_vec())));
    cluster.run(put(over("/old"), b"newest")).expect("replaced again");
    invariants::check(&cluster.state);
    cluster.by(session, close(inode, 1)).expect("closed");
    assert_eq!(cluster.links(inode), None);
    invariants::check(&cluster.state);
}

#[test]
fn an_open_file_in_a_removed_tree_lives_before_and_after_the_tree_is_freed() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/a/b")).expect("made");
    cluster.run(put(to("/a/b/f"), b"kept")).expect("stored");
    cluster.run(put(to("/a/b/g"), b"gone")).expect("stored");
    let inode = cluster.opened(session, at("/a/b/f"));
    let gone = cluster.stat("/a/b/g").inode;
    cluster.run(delete("/a")).expect("removed");
    assert_eq!((cluster.content(inode), cluster.links(gone)), (Content::Inline(b"kept".to_vec()), None));
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!((cluster.links(inode), cluster.content(inode)), (Some(0), Content::Inline(b"kept".to_vec())));
    cluster.run(Command::CloseSession { session }).expect("closed");
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(cluster.links(inode), None);
    assert_eq!(invariants::tags(&cluster.state), "Sdn");
}

#[test]
fn a_writer_whose_open_file_is_removed_loses_the_lease_and_readers_keep_what_was_visible() {
    let mut cluster = Cluster::formatted();
    let (writer, reader) = (cluster.open_session(), cluster.open_session());
    let (inode, block) = cluster.create(writer, Some(to("/f")));
    cluster.by(writer, Command::Extend { inode, written: done(block.block, 7, &[1, 2]) }).expect("flushed");
    cluster.opened(reader, at("/f"));
    cluster.run(delete("/f")).expect("removed");
    invariants::check(&cluster.state);
    let late = Command::Extend { inode, written: done(block.block, 9, &[1, 2]) };
    assert_eq!(code(cluster.by(writer, late)), Code::LeaseLost);
    let row = query::stat(&cluster.state, Caller::SYSTEM, &itself(inode)).expect("it lives");
    assert_eq!((row.length, row.writing, row.links), (ByteSize::new(7), true, 0));
    cluster.by(reader, close(inode, 1)).expect("closed");
    invariants::check(&cluster.state);
    // Its recovery ends it.
    let block = block.block;
    let Ok(Reply::Generation { generation }) = cluster.run(Command::BeginRecovery { block }) else {
        panic!("recovery begins")
    };
    let recovered = BlockDone { generation, ..done(block, 8, &[1, 2]) };
    cluster.run(Command::CommitRecovery { recovered }).expect("recovered");
    assert!(query::stat(&cluster.state, Caller::SYSTEM, &itself(inode)).is_err());
    invariants::check(&cluster.state);
    cluster.collect();
    invariants::check(&cluster.state);
    assert_eq!(query::block(&cluster.state, block), Ok(None));
}

#[test]
fn opening_makes_a_file_if_it_is_asked_to_and_only_once_if_exclusive() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    assert_eq!(code(cluster.by(session, open(at("/f")))), Code::NotFound);
    assert_eq!(code(cluster.by(session, make("/no/f", false))), Code::NotFound);
    cluster.by(session, make("/f", true)).expect("made");
    assert_eq!(code(cluster.by(session, make("/f", true))), Code::Exists);
    cluster.by(session, make("/f", false)).expect("opened");
    let row = cluster.stat("/f");
    assert_eq!((row.length, row.writing, row.uid), (ByteSize::ZERO, false, OWNER.uid));
    assert_eq!(code(cluster.by(session, open(at("/")))), Code::IsDirectory);
    cluster.by(session, close(row.inode, 2)).expect("opened twice");
    assert_eq!(code(cluster.by(session, close(row.inode, 1))), Code::InvalidArgument);
    // A file that its writer has not named is nobody else's.
    let (unnamed, _) = cluster.create(session, None);
    assert_eq!(code(cluster.by(session, open(itself(unnamed)))), Code::NotFound);
    invariants::check(&cluster.state);
}

#[test]
fn opening_takes_the_rights_that_are_asked_for() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(put(to("/f"), b"x")).expect("stored");
    let principal = Some(Principal { uid: 5, gid: 5, groups: Vec::new() });
    let mut by = |command| {
        let request = cluster.request(Some(session), command);
        cluster.apply(&Request { principal: principal.clone(), ..request }).reply
    };
    assert_eq!(code(by(Command::OpenHandle { place: at("/f"), rights: WRITE, create: None })), Code::Denied);
    by(open(at("/f"))).expect("others may read");
    assert_eq!(code(by(make("/mine", true))), Code::Denied, "in the directory of another");
}

#[test]
fn a_batch_is_closed_as_a_whole_and_limits_are_kept() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(put(to("/f"), b"x")).expect("stored");
    let inode = cluster.opened(session, at("/f"));
    let closed = |inodes: &[InodeId]| Command::CloseHandles {
        closed: inodes.iter().map(|inode| ClosedHandles { inode: *inode, count: 1 }).collect(),
    };
    assert_eq!(code(cluster.by(session, closed(&[inode, InodeId::new(77)]))), Code::InvalidArgument);
    assert_eq!(code(cluster.by(session, closed(&vec![inode; MAX_CLOSED + 1]))), Code::InvalidArgument);
    cluster.by(session, closed(&[inode])).expect("still open, and closed now");

    let row = crate::row::SessionRow {
        client: String::new(),
        opened: types::Timestamp::EPOCH,
        ending: false,
        locks: 0,
        open_files: MAX_HANDLES_OF_SESSION,
    };
    let value = Some(crate::row::encode(&row));
    cluster.state.store(vec![crate::view::Write { key: crate::key::session(session), value }]);
    let refused = cluster.by(session, open(at("/f")));
    assert_eq!(refused, Err(Error::TooManyOpen { session, limit: MAX_HANDLES_OF_SESSION }));
}
