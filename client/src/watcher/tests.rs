use super::*;

fn watching(inodes: &[u64]) -> (Watching, u64) {
    let watching = Watching::default();
    let watcher = watching.began(Arc::default());
    inodes.iter().for_each(|inode| watching.add(watcher, InodeId::new(*inode)));
    (watching, watcher)
}

fn tell(watching: &Watching, changes: Vec<(u64, Option<What>)>) {
    let changes = changes.into_iter().map(|(inode, what)| v1::Change { inode, what }).collect();
    watching.told(v1::Changes { changes, everything: false });
}

fn name(text: &str) -> Option<What> {
    Some(What::Name(text.as_bytes().to_vec()))
}

fn taken(watching: &Watching, watcher: u64) -> Vec<Event> {
    let next = || match watching.next(watcher) {
        Next::Event(event) => Some(event),
        Next::NewStream { .. } | Next::Nothing => None,
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn changes_of_one_inode_are_told_together_and_of_others_not_at_all() {
    let (watching, watcher) = watching(&[1, 2]);
    let mine = watching.began(Arc::default());
    watching.add(mine, InodeId::new(2));
    tell(&watching, vec![(2, Some(What::Content(true))), (1, name("b")), (3, Some(What::Attributes(true)))]);
    tell(&watching, vec![(1, name("a")), (1, name("b")), (1, Some(What::Attributes(true)))]);
    let child = |inode, content| Some(What::Child(v1::ChangedChild { inode, content }));
    tell(&watching, vec![(1, child(8, false)), (1, child(7, false)), (1, child(8, true)), (1, child(8, false))]);
    let child = |inode, content| ChangedChild { inode: InodeId::new(inode), content };
    let directory = Changed {
        inode: InodeId::new(1),
        names: vec![b"a".to_vec(), b"b".to_vec()],
        attributes: true,
        content: false,
        children: vec![child(7, false), child(8, true)],
    };
    let file = Changed { inode: InodeId::new(2), names: vec![], attributes: true, content: true, children: vec![] };
    assert_eq!(taken(&watching, watcher), [Event::Changed(directory), Event::Changed(file.clone())]);
    assert_eq!(taken(&watching, mine), [Event::Changed(file)]);
    tell(&watching, vec![(2, None)]);
    assert_eq!(taken(&watching, mine), [Event::Everything], "what is not understood may be anything");
    assert!(!watching.remove(watcher, InodeId::new(2)), "the other watches it");
    assert_eq!(watching.ended(mine), [InodeId::new(2)]);
}

/// Invariant 3.
#[test]
fn past_the_bound_everything_may_have_changed() {
    let (watching, watcher) = watching(&[1, 2]);
    for number in 1..PENDING {
        tell(&watching, vec![(1, name(&number.to_string()))]);
    }
    let Some(Event::Changed(changed)) = taken(&watching, watcher).pop() else { panic!("so many may wait") };
    assert_eq!(changed.names.len(), PENDING - 1);
    for number in 0..PENDING {
        tell(&watching, vec![(1, name(&number.to_string()))]);
    }
    tell(&watching, vec![(2, Some(What::Attributes(true)))]);
    assert_eq!(taken(&watching, watcher), [Event::Everything]);
    tell(&watching, vec![(1, name("x"))]);
    watching.remove(watcher, InodeId::new(1));
    assert_eq!(taken(&watching, watcher), [], "what is not watched any more is not told");
    assert_eq!(watching.state().watchers[&watcher].size, 0);
    let child = |inode| Some(What::Child(v1::ChangedChild { inode, content: true }));
    for number in 0..PENDING as u64 {
        tell(&watching, vec![(2, child(number))]);
    }
    assert_eq!(taken(&watching, watcher), [Event::Everything]);
    assert_eq!(watching.state().watchers[&watcher].size, 0);
}

/// Invariant 2.
#[test]
fn on_a_new_stream_nothing_is_told_before_all_is_watched_again() {
    let (watching, watcher) = watching(&[1, 2]);
    watching.stream_lost();
    assert_eq!(taken(&watching, watcher), [Event::Everything], "nothing is told from now on");
    watching.stream_began();
    let Next::NewStream { stream, inodes } = watching.next(watcher) else { panic!("first things first") };
    assert_eq!((stream, inodes), (1, vec![InodeId::new(1), InodeId::new(2)]));
    watching.stream_lost();
    watching.stream_began();
    watching.watched_again(watcher, stream);
    assert!(matches!(watching.next(watcher), Next::NewStream { stream: 2, .. }), "that one is lost already");
    watching.watched_again(watcher, 2);
    assert_eq!(taken(&watching, watcher), [Event::Everything]);
}
