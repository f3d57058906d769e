use super::*;

#[test]
fn an_expired_session_leaves_its_open_blocks_to_recovery() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (flushed, block) = cluster.create(session, Some(to("/flushed")));
    cluster.by(session, Command::Extend { inode: flushed, written: done(block.block, 7, &[1, 2]) }).expect("flushed");
    let (_, unflushed) = cluster.create(session, Some(to("/unflushed")));
    let (unnamed, dropped) = cluster.create(session, None);
    let mut steps = 1;
    while cluster.run(Command::ExpireSession { session, limit: 1 }) == Ok(Reply::Step { more: true }) {
        assert_eq!(code(cluster.by(session, mkdir("/late"))), Code::SessionExpired, "fenced from the first step on");
        invariants::check(&cluster.state);
        steps += 1;
    }
    assert_eq!(steps, 3);
    for (path, length) in [("/flushed", 7), ("/unflushed", 0)] {
        let attributes = cluster.stat(path);
        assert_eq!((attributes.length, attributes.writing), (ByteSize::new(length), true), "to be recovered");
    }
    let waiting = query::recovering(&cluster.state, None, 10).expect("readable");
    assert_eq!(waiting.iter().map(|file| file.block).collect::<Vec<_>>(), [block.block, unflushed.block]);
    assert!(query::block(&cluster.state, dropped.block).expect("readable").is_some(), "garbage until it is collected");
    cluster.collect();
    assert_eq!(query::block(&cluster.state, dropped.block), Ok(None));
    assert!(query::stat(&cluster.state, Caller::SYSTEM, &Where { base: unnamed, path: Vec::new() }).is_err());
    assert_eq!(query::sessions(&cluster.state, None, 10), Ok(Vec::new()));
    invariants::check(&cluster.state);
}

#[test]
fn ending_a_session_twice_is_harmless() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.by(session, mkdir("/d")).expect("made");
    assert_eq!(cluster.by(session, Command::CloseSession { session }), Ok(Reply::Step { more: false }));
    let closed = cluster.state.clone();
    assert_eq!(cluster.by(session, Command::CloseSession { session }), Ok(Reply::Step { more: false }));
    assert_eq!(cluster.run(Command::ExpireSession { session, limit: 9 }), Ok(Reply::Step { more: false }));
    assert_eq!(cluster.state, closed);
    assert_eq!(code(cluster.by(session, mkdir("/e"))), Code::SessionExpired);
    assert_ne!(cluster.open_session(), session, "invariant 8");
}

#[test]
fn the_files_of_another_session_stay_open() {
    let mut cluster = Cluster::formatted();
    let (leaving, staying) = (cluster.open_session(), cluster.open_session());
    cluster.by(leaving, create(Some(to("/a")), &[])).expect("created");
    let (inode, block) = cluster.create(staying, Some(to("/b")));
    cluster.run(Command::CloseSession { session: leaving }).expect("closed");
    assert!(!cluster.stat("/a").writing && cluster.stat("/b").writing);
    cluster.by(staying, complete(inode, Some(done(block.block, 3, &[1, 2])), None)).expect("completes");
}
