//! What commands change, as those see it who watch.

use super::*;
use crate::changes::{Change, What, changes};
use crate::command::{AttrChange, ContentTerms, Principal};
use crate::error::QueryError;

/// What a command changes; all inodes are watched.
fn of(cluster: &mut Cluster, command: Command) -> Vec<Change> {
    let request = cluster.request(None, command);
    let before = cluster.state.clone();
    let applied = cluster.apply(&request);
    applied.reply.expect("it can be done");
    changes(&before, &request.command, &applied.writes, |_| true).expect("a state in memory is readable")
}

fn name(inode: InodeId, name: &str) -> Change {
    Change { inode, what: What::Name(name.as_bytes().to_vec()) }
}

fn attributes(inode: InodeId) -> Change {
    Change { inode, what: What::Attributes }
}

fn content(inode: InodeId) -> Change {
    Change { inode, what: What::Content }
}

fn child(directory: InodeId, inode: InodeId, content: bool) -> Change {
    Change { inode: directory, what: What::Child { inode, content } }
}

/// Invariants 1 and 2 of `changes`.
#[test]
fn a_name_that_comes_or_goes_changes_its_directory_and_none_above() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/above/d")).expect("made");
    let directory = cluster.stat("/above/d").inode;
    let made = of(&mut cluster, put(to("/above/d/f"), b"one"));
    let file = cluster.stat("/above/d/f").inode;
    assert_eq!(made, [name(directory, "f"), attributes(directory), attributes(file)]);
    let written = of(
        &mut cluster,
        Command::SetAttr { place: at("/above/d/f"), change: AttrChange { mode: Some(0o600), ..AttrChange::default() } },
    );
    let expected = [child(directory, file, false), attributes(file)];
    assert_eq!(written, expected, "the name stands for what it stood for");
    let removed = of(&mut cluster, delete("/above/d/f"));
    let expected = [name(directory, "f"), attributes(directory), child(directory, file, false), attributes(file)];
    assert_eq!(removed, expected);
}

#[test]
fn a_replaced_file_changes_its_name_and_a_changed_one_its_content() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"one")).expect("put");
    let old = cluster.stat("/f").inode;
    let replaced = of(&mut cluster, put(over("/f"), b"two"));
    let new = cluster.stat("/f").inode;
    assert_ne!(old, new);
    let root = [name(InodeId::ROOT, "f"), attributes(InodeId::ROOT), child(InodeId::ROOT, old, false)];
    assert_eq!(replaced, [&root[..], &[attributes(old), attributes(new)]].concat());
    let terms = ContentTerms { inline_max: ByteSize::new(8), ..ContentTerms::default() };
    let truncate = Command::Truncate { place: at("/f"), length: 1, terms };
    let emptied = of(&mut cluster, truncate);
    assert_eq!(emptied, [child(InodeId::ROOT, new, true), content(new)]);
}

#[test]
fn a_rename_changes_both_names_and_what_it_moves() {
    let mut cluster = Cluster::formatted();
    for path in ["/a/moved", "/b"] {
        cluster.run(mkdir(path)).expect("made");
    }
    let [a, b, moved] = ["/a", "/b", "/a/moved"].map(|path| cluster.stat(path).inode);
    let renamed = of(&mut cluster, rename("/a/moved", "/b/here", false));
    let mut expected = vec![name(a, "moved"), attributes(a), name(b, "here"), attributes(b), attributes(moved)];
    expected.push(child(a, moved, false));
    expected.sort_unstable();
    assert_eq!(renamed, expected);
    let removed = of(&mut cluster, delete("/b"));
    let root = [name(InodeId::ROOT, "b"), attributes(InodeId::ROOT), child(InodeId::ROOT, b, false)];
    assert_eq!(removed, [&root[..], &[attributes(b)]].concat(), "invariant 3");
}

/// Invariant 5.
#[test]
fn a_directory_tells_of_files_that_have_a_name_in_it() {
    let mut cluster = Cluster::formatted();
    for path in ["/d", "/d/below", "/other"] {
        cluster.run(mkdir(path)).expect("made");
    }
    cluster.run(put(to("/d/f"), b"one")).expect("put");
    let [directory, file] = ["/d", "/d/f"].map(|path| cluster.stat(path).inode);
    let heard = |cluster: &mut Cluster, command: Command| {
        let request = cluster.request(None, command);
        let before = cluster.state.clone();
        let applied = cluster.apply(&request);
        applied.reply.expect("it can be done");
        changes(&before, &request.command, &applied.writes, |inode| inode == directory)
            .expect("a state in memory is readable")
    };
    let mode = |path, mode| Command::SetAttr {
        place: at(path),
        change: AttrChange { mode: Some(mode), ..AttrChange::default() },
    };
    let terms = ContentTerms { inline_max: ByteSize::new(8), ..ContentTerms::default() };
    assert_eq!(heard(&mut cluster, mode("/d/f", 0o600)), [child(directory, file, false)]);
    let truncate = Command::Truncate { place: at("/d/f"), length: 1, terms };
    assert_eq!(heard(&mut cluster, truncate), [child(directory, file, true)]);
    assert_eq!(heard(&mut cluster, mode("/d/below", 0o700)), [], "a directory is watched itself");
    let link = Command::Link { from: at("/d/f"), to: at("/other/f") };
    assert_eq!(heard(&mut cluster, link), [child(directory, file, false)]);
    assert_eq!(heard(&mut cluster, mode("/other/f", 0o644)), [child(directory, file, false)], "by whatever name");
    let gone = heard(&mut cluster, delete("/d/f"));
    assert_eq!(gone, [name(directory, "f"), attributes(directory), child(directory, file, false)]);
    assert_eq!(heard(&mut cluster, mode("/other/f", 0o640)), [], "it is not here any more");
}

#[test]
fn of_what_has_very_many_names_only_its_own_watchers_are_told() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"one")).expect("put");
    let file = cluster.stat("/f").inode;
    for number in 1..types::WATCHED_NAMES {
        let link = Command::Link { from: at("/f"), to: at(&format!("/{number}")) };
        cluster.run(link).expect("linked");
    }
    let chmod =
        |mode| Command::SetAttr { place: at("/f"), change: AttrChange { mode: Some(mode), ..AttrChange::default() } };
    assert_eq!(of(&mut cluster, chmod(0o600)), [child(InodeId::ROOT, file, false), attributes(file)]);
    cluster.run(Command::Link { from: at("/f"), to: at("/last") }).expect("linked");
    assert_eq!(of(&mut cluster, chmod(0o644)), [attributes(file)]);
}

/// Invariant 4: rows of what nobody watches are not read, damaged as they may be.
#[test]
fn what_nobody_watches_is_not_looked_at() {
    struct Unreadable;
    impl crate::view::View for Unreadable {
        fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, crate::view::ViewError> {
            panic!("it is not to be read")
        }
        fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<crate::view::Page, crate::view::ViewError> {
            panic!("it is not to be read")
        }
        fn last(&self, _: &[u8], _: &[u8]) -> Result<Option<crate::view::Row>, crate::view::ViewError> {
            panic!("it is not to be read")
        }
    }
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    let request = cluster.request(None, put(to("/d/f"), b"one"));
    let writes = cluster.apply(&request).writes;
    assert_eq!(changes(&Unreadable, &request.command, &writes, |inode| inode == InodeId::new(99)), Ok(vec![]));
}

#[test]
fn only_who_may_list_a_directory_is_told_the_names_in_it() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(put(to("/d/f"), b"one")).expect("put");
    let change = AttrChange { mode: Some(0o711), ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: at("/d"), change }).expect("changed");
    let [directory, file] = ["/d", "/d/f"].map(|path| cluster.stat(path).inode);
    let stranger = Principal { uid: 7, gid: 7, groups: Vec::new() };
    let stranger = Caller::from(Some(&stranger));
    let refused = query::may_watch(&cluster.state, stranger, directory).expect_err("names are not for all");
    let QueryError::Refused(error) = refused else { panic!("{refused}") };
    assert_eq!(error.code(), Code::Denied);
    assert_eq!(query::may_watch(&cluster.state, stranger, file), Ok(()), "as stat does");
    assert_eq!(query::may_watch(&cluster.state, Caller::SYSTEM, directory), Ok(()));
    let missing = query::may_watch(&cluster.state, Caller::SYSTEM, InodeId::new(99)).expect_err("not there");
    let QueryError::Refused(error) = missing else { panic!("{missing}") };
    assert_eq!(error.code(), Code::NotFound);
}
