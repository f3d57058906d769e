use namespace::changes::What;

use super::*;

const DIRECTORY: InodeId = InodeId::new(7);

fn name(text: &str) -> Change {
    Change { inode: DIRECTORY, what: What::Name(text.as_bytes().to_vec()) }
}

fn attributes(inode: u64) -> Change {
    Change { inode: InodeId::new(inode), what: What::Attributes }
}

fn stream(watches: &Watches, number: u64, session: u64) {
    watches.stream_began(number, Arc::default());
    watches.adopt(SessionId::new(session), number);
}

/// Invariant 2.
#[test]
fn a_change_goes_to_those_who_watch_its_inode_and_did_not_make_it() {
    let watches = Watches::default();
    for (number, session) in [(1, 10), (2, 20), (3, 30)] {
        stream(&watches, number, session);
    }
    assert!(watches.watch(1, DIRECTORY) && watches.watch(1, DIRECTORY));
    assert!(watches.watch(2, DIRECTORY) && watches.watch(3, InodeId::new(8)));
    watches.changed(Some(SessionId::new(10)), vec![name("a"), attributes(9)]);
    assert_eq!([1, 2, 3].map(|number| watches.take(number)), [None, Some(Told::Changes(vec![name("a")])), None]);
    watches.changed(None, vec![name("b"), name("b"), attributes(8)]);
    assert_eq!(watches.take(1), Some(Told::Changes(vec![name("b")])));
    assert_eq!(watches.take(2), Some(Told::Changes(vec![name("b")])));
    assert_eq!(watches.take(3), Some(Told::Changes(vec![attributes(8)])));
    watches.unwatch(2, DIRECTORY);
    watches.changed(None, vec![name("c")]);
    assert_eq!([1, 2].map(|number| watches.take(number)), [Some(Told::Changes(vec![name("c")])), None]);
}

/// Invariant 3.
#[test]
fn a_slow_client_is_told_in_parts_and_past_the_bound_that_all_may_have_changed() {
    let watches = Watches::default();
    stream(&watches, 1, 10);
    watches.watch(1, DIRECTORY);
    let many = |count: usize| (0..count).map(|number| name(&format!("{number:05}"))).collect::<Vec<_>>();
    watches.changed(None, many(PENDING));
    let mut told = Vec::new();
    while let Some(part) = watches.take(1) {
        let Told::Changes(part) = part else { panic!("no more than may wait") };
        assert!(part.len() <= TOLD);
        told.extend(part);
    }
    assert_eq!(told, many(PENDING));
    watches.changed(None, many(PENDING + 1));
    watches.changed(None, vec![name("late")]);
    assert_eq!([watches.take(1), watches.take(1)], [Some(Told::Everything), None]);
    watches.changed(None, vec![name("after")]);
    assert_eq!(watches.take(1), Some(Told::Changes(vec![name("after")])));
}

/// Invariant 4.
#[test]
fn what_is_watched_is_counted_and_goes_with_its_stream() {
    let watches = Watches::default();
    stream(&watches, 1, 10);
    stream(&watches, 2, 20);
    assert!(!watches.any());
    watches.watch(1, DIRECTORY);
    watches.watch(2, DIRECTORY);
    watches.watch(2, InodeId::new(8));
    watches.unwatch(1, DIRECTORY);
    watches.unwatch(1, DIRECTORY);
    assert!(watches.any() && watches.has(DIRECTORY));
    watches.stream_ended(2);
    assert!(!watches.any() && !watches.has(DIRECTORY) && !watches.has(InodeId::new(8)));
    assert!(watches.watch(2, DIRECTORY), "of a stream that has ended, nothing is kept");
    assert!(!watches.any());
}

#[test]
fn a_stream_watches_so_many_inodes_and_no_more() {
    let watches = Watches::default();
    stream(&watches, 1, 10);
    assert!((0..WATCHES as u64).all(|inode| watches.watch(1, InodeId::new(inode))));
    assert!(!watches.watch(1, InodeId::new(WATCHES as u64)));
    assert!(watches.watch(1, InodeId::new(0)), "watched already");
}
