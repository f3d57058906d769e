use super::*;
use crate::ageing::{Aged, Walk};
use crate::command::{AttrChange, Content, Ownership, Principal, Publication, Request};
use types::Timestamp;

const SECOND: u64 = 1_000_000_000;

fn ttl(path: &str, seconds: Option<u64>) -> Command {
    Command::SetTtl { place: at(path), ttl_nanos: seconds.map(|seconds| seconds * SECOND) }
}

impl Cluster {
    /// What the walk finds, in steps of `budget`.
    fn aged(&self, budget: usize) -> Vec<Aged> {
        let (mut walk, mut found) = (Walk::default(), Vec::new());
        let now = Timestamp::from_nanos(self.clock);
        for _ in 0..10_000 {
            let step = walk.step(&self.state, now, budget).expect("readable");
            found.extend(step.aged);
            if step.over {
                return found;
            }
        }
        panic!("the walk has no end");
    }

    /// As the leader does it.
    fn age(&mut self, budget: usize) {
        let aged = self.aged(budget);
        self.run(Command::RemoveAged { aged }).expect("never refused");
        invariants::check(&self.state);
    }

    fn wait(&mut self, seconds: u64) {
        self.clock += seconds * SECOND;
    }
}

/// Invariant 1 of the module.
#[test]
fn what_is_older_than_the_nearest_directory_allows_goes() {
    let mut cluster = Cluster::formatted();
    for path in ["/d/short/deep", "/d/long", "/other"] {
        cluster.run(mkdir(path)).expect("made");
    }
    cluster.run(ttl("/d", Some(10))).expect("set");
    cluster.run(ttl("/d/short", Some(2))).expect("set");
    cluster.run(ttl("/d/long", Some(100))).expect("set");
    assert_eq!(cluster.stat("/d/short").ttl_nanos, Some(2 * SECOND));
    assert_eq!(cluster.stat("/d/short/deep").ttl_nanos, None);
    let files = ["/d/f", "/d/short/f", "/d/short/deep/f", "/d/long/f", "/other/f"];
    for path in files {
        cluster.run(put(to(path), b"x")).expect("put");
    }
    let there = |cluster: &Cluster| files.map(|path| cluster.is_there(path));
    cluster.age(1);
    assert_eq!(there(&cluster), [true; 5]);
    cluster.wait(5);
    cluster.age(1);
    assert_eq!(there(&cluster), [true, false, false, true, true]);
    cluster.wait(6);
    cluster.age(2);
    assert_eq!(there(&cluster), [false, false, false, true, true]);
    assert!(cluster.is_there("/d/short/deep"), "directories stay");
    cluster.run(ttl("/d/long", None)).expect("lifted");
    cluster.age(3);
    assert_eq!(there(&cluster), [false, false, false, false, true], "the one above decides now");
    cluster.run(ttl("/d", None)).expect("lifted");
    cluster.run(ttl("/d/short", None)).expect("lifted");
    assert_eq!(cluster.aged(1), []);
    assert!(!invariants::tags(&cluster.state).contains('z'), "no mark is left");
}

/// Invariant 3 of the module.
#[test]
fn what_changed_since_it_was_found_stays() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/d/in")).expect("made");
    cluster.run(ttl("/d", Some(10))).expect("set");
    for path in ["/d/touched", "/d/moved", "/d/replaced", "/d/written", "/d/in/lifted", "/d/old"] {
        cluster.run(put(to(path), b"x")).expect("put");
    }
    cluster.wait(20);
    let aged = cluster.aged(100);
    assert_eq!(aged.len(), 6);
    let change = AttrChange { touch: true, ..AttrChange::default() };
    cluster.run(Command::SetAttr { place: at("/d/touched"), change }).expect("touched");
    cluster.run(rename("/d/moved", "/moved", false)).expect("moved");
    cluster.run(put(over("/d/replaced"), b"y")).expect("replaced");
    cluster.by(session, Command::Append { place: at("/d/written"), holder: None }).expect("opened");
    cluster.run(ttl("/d/in", Some(100))).expect("set");
    cluster.run(Command::RemoveAged { aged: aged.clone() }).expect("never refused");
    cluster.run(Command::RemoveAged { aged }).expect("twice is as good as once");
    invariants::check(&cluster.state);
    for path in ["/d/touched", "/moved", "/d/replaced", "/d/written", "/d/in/lifted"] {
        assert!(cluster.is_there(path), "{path}");
    }
    assert!(!cluster.is_there("/d/old"));
}

#[test]
fn a_name_goes_and_the_file_stays_under_its_others() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(ttl("/d", Some(1))).expect("set");
    cluster.run(put(to("/f"), b"12345")).expect("put");
    cluster.run(Command::Link { from: at("/f"), to: at("/d/f") }).expect("linked");
    let link = Command::Symlink { place: at("/d/l"), target: b"/f".to_vec(), ownership: OWNER };
    cluster.run(link).expect("linked");
    cluster.wait(2);
    cluster.age(1);
    assert_eq!(cluster.stat("/d").usage.expect("a directory").entries, 0);
    assert_eq!((cluster.stat("/f").links, cluster.stat("/f").length), (1, ByteSize::new(5)));
}

/// Invariant 4 of the module.
#[test]
fn directories_that_only_keys_needed_go_with_the_last_of_them() {
    let mut cluster = Cluster::formatted();
    let bucket = Command::CreateBucket { bucket: "bucket".to_owned(), place: at("/bucket"), ownership: OWNER };
    cluster.run(bucket).expect("made");
    cluster.run(mkdir("/bucket/made")).expect("made");
    for key in ["a/b/c", "a/d", "made/e"] {
        let publication = Publication {
            bucket: "bucket".to_owned(),
            key: key.as_bytes().to_vec(),
            condition: None,
            content: Content::Inline { ownership: OWNER, layout: LAYOUT, content: b"x".to_vec() },
            etag: None,
            properties: Vec::new(),
            attributes: Vec::new(),
        };
        cluster.run(Command::Publish { publication }).expect("published");
    }
    cluster.run(ttl("/bucket", Some(1))).expect("set");
    cluster.wait(2);
    cluster.age(1);
    assert!(cluster.is_there("/bucket/made"));
    assert!(!cluster.is_there("/bucket/a"));
}

#[test]
fn in_the_trash_and_in_what_is_removed_nothing_ages_and_no_mark_is_left() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d/in")).expect("made");
    cluster.run(put(to("/d/in/f"), b"x")).expect("put");
    cluster.run(ttl("/d", Some(1))).expect("set");
    cluster.run(ttl("/d/in", Some(1))).expect("set");
    let gone = Command::Trash { place: at("/d"), recursive: true, keep_nanos: 100 * SECOND };
    let Ok(Reply::Trashed { item, .. }) = cluster.run(gone) else { panic!("to the trash") };
    cluster.wait(2);
    assert_eq!(cluster.aged(10), []);
    cluster.run(Command::RestoreTrash { uid: 0, item, to: None, parents: false }).expect("restored");
    assert_eq!(cluster.aged(10).len(), 1);
    cluster.run(delete("/d")).expect("removed");
    assert_eq!(cluster.aged(10), []);
    invariants::check(&cluster.state);
    cluster.collect();
    assert!(!invariants::tags(&cluster.state).contains('z'), "no mark is left");
    cluster.run(mkdir("/e")).expect("made");
    cluster.run(ttl("/e", Some(1))).expect("set");
    cluster.run(delete("/e")).expect("removed while empty");
    invariants::check(&cluster.state);
    assert!(!invariants::tags(&cluster.state).contains('z'), "no mark is left");
}

#[test]
fn who_may_not_remove_what_is_below_sets_no_time_to_live() {
    let mut cluster = Cluster::formatted();
    let mkdir = |path: &str, uid| Command::Mkdir {
        place: at(path),
        ownership: Ownership { uid, gid: 100, mode: 0o755, umask: None },
        parents: false,
    };
    for (path, uid) in [("/mine", 1001), ("/mine/his", 1002), ("/mine/his/in", 1002), ("/his", 1002)] {
        cluster.run(mkdir(path, uid)).expect("made");
    }
    cluster.run(put(to("/f"), b"x")).expect("put");
    let before = cluster.state.clone();
    let mut by = |command| {
        let principal = Some(Principal { uid: 1001, gid: 100, groups: vec![] });
        let request = Request { principal, ..cluster.request(None, command) };
        cluster.apply(&request).reply
    };
    assert_eq!(code(by(ttl("/his", Some(9)))), Code::NotPermitted);
    assert_eq!(code(by(ttl("/mine", Some(9)))), Code::Denied);
    assert_eq!(code(by(ttl("/none", Some(9)))), Code::NotFound);
    assert_eq!(code(by(ttl("/f", Some(9)))), Code::NotPermitted);
    let short = by(Command::SetTtl { place: at("/mine"), ttl_nanos: Some(SECOND - 1) });
    assert_eq!(code(short), Code::InvalidArgument);
    assert_eq!(cluster.state, before);
    assert_eq!(code(cluster.run(ttl("/f", Some(9)))), Code::NotDirectory);
    cluster.run(Command::SetTtl { place: at("/mine"), ttl_nanos: Some(u64::MAX) }).expect("for ever, or nearly");
    cluster.run(put(to("/mine/f"), b"x")).expect("put");
    cluster.wait(1 << 30);
    assert_eq!(cluster.aged(9), []);
    let of_nobody = Aged { directory: InodeId::new(99), name: b"x".to_vec(), inode: InodeId::new(98) };
    cluster.run(Command::RemoveAged { aged: vec![of_nobody] }).expect("is not there any more");
}

#[test]
fn a_walk_in_steps_of_any_size_finds_the_same() {
    let mut cluster = Cluster::formatted();
    for directory in ["/a", "/a/b", "/a/b/c", "/a/d", "/e"] {
        cluster.run(mkdir(directory)).expect("made");
        for file in 0..7 {
            cluster.run(put(to(&format!("{directory}/{file}")), b"x")).expect("put");
        }
    }
    cluster.run(ttl("/a", Some(1))).expect("set");
    cluster.run(ttl("/a/b", Some(1))).expect("set");
    cluster.run(ttl("/e", Some(1))).expect("set");
    cluster.wait(2);
    let sorted = |mut aged: Vec<Aged>| {
        aged.sort_by_key(|aged| aged.inode);
        aged
    };
    let whole = sorted(cluster.aged(1000));
    assert_eq!(whole.len(), 35);
    for budget in [0, 1, 2, 3, 7, 8, 50] {
        assert_eq!(sorted(cluster.aged(budget)), whole, "{budget}");
    }
}
