use client::ChangedChild;
use types::{ByteSize, Timestamp};

use super::*;

const DIRECTORY: InodeId = InodeId::new(7);
const FILE: InodeId = InodeId::new(8);

fn attributes(inode: InodeId, kind: Kind, links: u32) -> Attributes {
    Attributes {
        inode,
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        length: ByteSize::ZERO,
        atime: Timestamp::from_nanos(1),
        mtime: Timestamp::from_nanos(1),
        ctime: Timestamp::from_nanos(1),
        links,
        replication: 0,
        block_size: ByteSize::ZERO,
        writing: false,
        usage: None,
        quota: None,
        ttl: None,
        device: None,
        target: None,
        access_acl: false,
        default_acl: false,
        holes: ByteSize::ZERO,
        spread: None,
        policy: None,
        no_xattrs: true,
    }
}

fn file() -> Attributes {
    attributes(FILE, Kind::File, 1)
}

fn slot(name: &str) -> Slot {
    Slot { directory: DIRECTORY, name: name.as_bytes().to_vec() }
}

fn watched(inodes: &[InodeId]) -> State {
    let mut state = State::default();
    for inode in inodes {
        state.directories.insert(*inode, Directory::new(Instant::now()));
        state.watched(*inode, Ok(()));
    }
    state
}

fn now(state: &State) -> Ticket {
    Ticket(state.clock)
}

fn grant(state: &mut State, ticket: Ticket, slot: &Slot, attributes: &Attributes) -> (bool, bool) {
    state.grant(ticket, slot, attributes, Instant::now())
}

fn news(names: &[&str], children: &[(InodeId, bool)]) -> Changed {
    Changed {
        inode: DIRECTORY,
        names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        attributes: !names.is_empty(),
        content: false,
        children: children.iter().map(|(inode, content)| ChangedChild { inode: *inode, content: *content }).collect(),
    }
}

fn names(drops: &Drops) -> Vec<String> {
    let name = |notice: &Notice| match notice {
        Notice::Name(slot) => String::from_utf8(slot.name.clone()).expect("text"),
        Notice::Pages(_) | Notice::Unwatch(_) => panic!("names only"),
    };
    drops.names.iter().map(name).collect()
}

/// Invariants 1 and 2.
#[test]
fn only_what_was_asked_for_under_a_watch_and_after_the_last_news_is_kept() {
    let mut state = watched(&[]);
    let early = now(&state);
    assert_eq!(grant(&mut state, early, &slot("f"), &file()), (false, false), "nobody watches");
    let mut state = watched(&[DIRECTORY]);
    assert_eq!(grant(&mut state, early, &slot("f"), &file()), (false, false), "it was asked for before");
    let asked = now(&state);
    assert_eq!(grant(&mut state, asked, &slot("f"), &file()), (true, true));
    assert!(state.is_fresh(FILE, asked));
    state.news(news(&[], &[(FILE, false)]));
    assert!(!state.is_fresh(FILE, asked), "the answer was overtaken");
    assert_eq!(grant(&mut state, asked, &slot("f"), &file()), (false, false));
    let asked = now(&state);
    assert_eq!(grant(&mut state, asked, &slot("f"), &file()), (true, true));
    assert!(state.is_fresh(FILE, asked));
    assert_eq!(grant(&mut state, asked, &slot("other"), &file()), (false, false), "one name of each is noted");
    let many = attributes(InodeId::new(9), Kind::File, WATCHED_NAMES + 1);
    assert_eq!(grant(&mut state, asked, &slot("many"), &many), (true, false), "its directories are not told of it");
}

#[test]
fn a_directory_is_known_by_its_own_watch_and_its_name_by_that_above() {
    let below = InodeId::new(9);
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    assert_eq!(grant(&mut state, asked, &slot("d"), &attributes(below, Kind::Directory, 2)), (true, false));
    let mut state = watched(&[DIRECTORY, below]);
    let asked = now(&state);
    assert_eq!(grant(&mut state, asked, &slot("d"), &attributes(below, Kind::Directory, 2)), (true, true));
}

#[test]
fn news_names_what_the_kernel_has_to_drop() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    grant(&mut state, asked, &slot("f"), &file());
    let drops = state.news(news(&[], &[(FILE, true), (InodeId::new(99), true)]));
    assert_eq!((names(&drops), drops.attributes, drops.pages), (vec![], vec![FILE], vec![FILE]), "99 is not known");
    let drops = state.news(news(&["f", "new"], &[(FILE, false)]));
    assert_eq!(names(&drops), ["f", "new"]);
    assert_eq!((drops.attributes, drops.pages), (vec![FILE, DIRECTORY, FILE], vec![]));
    assert_eq!(state.kept, 0);
    assert!(!state.is_fresh(FILE, now(&state)), "it is somewhere else now, or nowhere");
}

#[test]
fn in_doubt_everything_is_dropped_and_noted_again_afterwards() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    grant(&mut state, asked, &slot("f"), &file());
    let drops = state.doubt();
    assert_eq!(names(&drops), ["f"]);
    assert_eq!((drops.attributes, drops.pages), (vec![DIRECTORY, FILE], vec![FILE]));
    assert_eq!(grant(&mut state, asked, &slot("f"), &file()), (false, false));
    let asked = now(&state);
    assert_eq!(grant(&mut state, asked, &slot("f"), &file()), (true, true));
}

/// Invariant 5.
#[test]
fn what_the_kernel_forgets_is_not_noted_any_more() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    for _ in 0..3 {
        grant(&mut state, asked, &slot("f"), &file());
    }
    state.forget(FILE, 2);
    assert!(state.is_fresh(FILE, asked), "it was looked up once more meanwhile");
    state.forget(FILE, 1);
    assert_eq!((state.lookups.len(), state.nodes.len(), state.kept), (0, 0, 0));
    assert!(state.directories[&DIRECTORY].names.is_empty());
    state.forget(FILE, 1);
}

#[test]
fn a_name_that_was_moved_here_is_noted_in_its_new_place() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    grant(&mut state, asked, &slot("f"), &file());
    assert_eq!(state.drop_name(&slot("f")), Some(FILE));
    assert_eq!(state.drop_name(&slot("f")), None);
    assert!(!state.is_fresh(FILE, asked));
    assert_eq!(grant(&mut state, asked, &slot("g"), &file()), (true, true));
    // A file that replaced another under its name.
    let other = InodeId::new(9);
    assert_eq!(grant(&mut state, asked, &slot("g"), &attributes(other, Kind::File, 1)), (true, true));
    assert!(!state.is_fresh(FILE, asked) && state.is_fresh(other, asked));
    assert_eq!(state.kept, 1);
}

/// Invariant 4.
#[test]
fn a_directory_that_is_given_up_takes_along_what_is_in_it() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    grant(&mut state, asked, &slot("f"), &file());
    let drops = state.leave(DIRECTORY);
    assert_eq!((names(&drops), drops.attributes), (vec!["f".to_owned()], vec![FILE, DIRECTORY]));
    assert!(!state.is_current(DIRECTORY, now(&state)) && !state.is_fresh(FILE, now(&state)));
    assert_eq!(state.kept, 0);
}

/// Invariant 2, for names that nothing has.
#[test]
fn that_a_name_is_absent_is_kept_until_somebody_makes_it() {
    let (mut state, start) = (watched(&[]), Instant::now());
    let until = start + std::time::Duration::from_secs(60);
    let early = now(&state);
    assert!(!state.grant_absence(early, &slot("f"), start, until), "nobody watches");
    let mut state = watched(&[DIRECTORY]);
    assert!(!state.grant_absence(early, &slot("f"), start, until), "it was asked for before");
    let asked = now(&state);
    assert!(state.grant_absence(asked, &slot("f"), start, until));
    assert_eq!(names(&state.news(news(&["f"], &[]))), ["f"]);
    assert!(!state.grant_absence(asked, &slot("f"), start, until), "the answer was overtaken");
    assert_eq!(names(&state.doubt()), Vec::<String>::new(), "the kernel knows nothing any more");
    let asked = now(&state);
    assert!(state.grant_absence(asked, &slot("f"), start, until));
    assert_eq!(grant(&mut state, asked, &slot("f"), &file()), (true, true));
    assert_eq!(names(&state.doubt()), ["f"], "once, as what it stands for");
    let asked = now(&state);
    assert!(state.grant_absence(asked, &slot("g"), start, until));
    assert_eq!(names(&state.doubt()), ["g"]);
    let asked = now(&state);
    assert!(state.grant_absence(asked, &slot("g"), start, until));
    // Invariant 4.
    assert_eq!(names(&state.leave(DIRECTORY)), ["g"]);
}

#[test]
fn what_has_no_extended_attributes_is_known_until_somebody_may_have_set_one() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    assert!(!state.is_bare(FILE));
    grant(&mut state, asked, &slot("f"), &file());
    assert!(state.is_bare(FILE));
    state.news(news(&[], &[(FILE, false)]));
    assert!(!state.is_bare(FILE), "another mount may have set one");
    let asked = now(&state);
    assert!(state.grant_attributes(asked, &file(), Instant::now()) && state.is_bare(FILE));
    state.changing_xattrs(FILE);
    assert!(!state.is_bare(FILE));
    assert!(state.grant_attributes(asked, &file(), Instant::now()) && !state.is_bare(FILE), "it was asked for before");
    let asked = now(&state);
    assert!(state.grant_attributes(asked, &file(), Instant::now()) && state.is_bare(FILE));
    for described in [
        Attributes { no_xattrs: false, ..file() },
        Attributes { access_acl: true, ..file() },
        Attributes { default_acl: true, ..file() },
    ] {
        assert!(state.grant_attributes(asked, &described, Instant::now()) && !state.is_bare(FILE));
    }
}

/// Of a directory only its own watch tells, which the one above it outlives.
#[test]
fn a_directory_that_is_watched_no_more_may_have_extended_attributes() {
    let below = attributes(InodeId::new(9), Kind::Directory, 2);
    let mut state = watched(&[DIRECTORY, below.inode]);
    let asked = now(&state);
    assert_eq!(grant(&mut state, asked, &slot("d"), &below), (true, true));
    assert!(state.is_bare(below.inode));
    state.leave(below.inode);
    assert!(!state.is_bare(below.inode));
}

/// Invariant 6.
#[test]
fn a_directory_that_was_made_here_is_known_until_others_change_it() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    let empty = || Ok((Vec::new(), false));
    state.own.made(DIRECTORY);
    state.news(news(&[], &[(FILE, false)]));
    state.own_listed(DIRECTORY, asked, empty());
    assert!(!state.own.is_absent(&slot("f")), "the list is older than the news");
    let known = |state: &mut State| {
        let asked = now(state);
        state.own.made(DIRECTORY);
        state.own_listed(DIRECTORY, asked, empty());
        assert!(state.own.is_absent(&slot("f")));
    };
    known(&mut state);
    state.news(news(&[], &[(FILE, true)]));
    assert!(state.own.is_absent(&slot("f")), "no name has changed");
    state.news(news(&["f"], &[]));
    assert!(!state.own.is_absent(&slot("f")) && !state.own.is_absent(&slot("g")));
    known(&mut state);
    state.doubt();
    assert!(!state.own.is_absent(&slot("f")));
    known(&mut state);
    state.leave(DIRECTORY);
    assert!(!state.own.is_absent(&slot("f")));
    state.own.made(DIRECTORY);
    state.own_listed(DIRECTORY, asked, Ok((Vec::new(), true)));
    assert!(!state.own.is_absent(&slot("f")), "there is more than the list has");
}

/// Invariant 2, for the list of a directory.
#[test]
fn a_list_is_kept_until_there_is_news_of_its_directory_and_not_for_long() {
    let mut state = watched(&[DIRECTORY]);
    let (early, start) = (now(&state), Instant::now());
    let later = start + std::time::Duration::from_secs(5);
    assert!(!state.is_listed(DIRECTORY, start), "nothing was told");
    state.listed(DIRECTORY, early, start, 1);
    assert!(!state.is_listed(DIRECTORY, start), "what is in it could not be kept");
    state.listed(DIRECTORY, early, start, 0);
    assert!(state.is_listed(DIRECTORY, start) && !state.is_listed(DIRECTORY, later));
    state.news(news(&[], &[(FILE, true)]));
    assert!(!state.is_listed(DIRECTORY, start), "something in it has other attributes");
    state.listed(DIRECTORY, early, later, 0);
    assert!(!state.is_listed(DIRECTORY, start), "it was asked for before the news");
    let ticket = now(&state);
    state.listed(DIRECTORY, ticket, later, 0);
    assert!(state.is_listed(DIRECTORY, later));
    state.doubt();
    assert!(!state.is_listed(DIRECTORY, later));
    state.listed(InodeId::new(9), ticket, later, 0);
    assert!(!state.is_listed(InodeId::new(9), later), "nobody watches");
}

/// The rule of a list that came without attributes: it is as old as the oldest of those that the kernel has.
#[test]
fn what_the_kernel_has_the_attributes_of_is_known_and_since_when() {
    let mut state = watched(&[DIRECTORY]);
    let asked = now(&state);
    let start = Instant::now();
    let at = |seconds| start + std::time::Duration::from_secs(seconds);
    let since =
        |state: &State, names: &[&str]| state.told_since(DIRECTORY, names.iter().map(|name| name.as_bytes()), at(9));
    assert_eq!(since(&state, &[]), Some(at(9)));
    assert_eq!(since(&state, &["f"]), None);
    let other = attributes(InodeId::new(9), Kind::File, 1);
    state.grant(asked, &slot("f"), &file(), at(1));
    state.grant(asked, &slot("g"), &other, at(2));
    assert_eq!((since(&state, &["g"]), since(&state, &["f", "g"])), (Some(at(2)), Some(at(1))));
    assert!(state.grant_attributes(asked, &file(), at(3)), "asked for by number");
    assert_eq!((since(&state, &["f", "g"]), since(&state, &["f", "x"])), (Some(at(2)), None));
    state.news(news(&[], &[(FILE, false)]));
    assert_eq!(since(&state, &["f"]), None, "the kernel dropped them");
    let asked = now(&state);
    let below = attributes(InodeId::new(10), Kind::Directory, 2);
    state.grant(asked, &slot("d"), &below, at(4));
    assert_eq!(since(&state, &["d"]), None, "it is not watched itself");
    assert_eq!(state.told_since(InodeId::new(10), std::iter::empty(), at(9)), None);
}
