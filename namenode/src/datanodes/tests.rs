use types::Timestamp;

use super::*;

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

fn datanodes(settings: &Settings) -> Datanodes {
    Datanodes::new(CLUSTER, settings, Arc::new(Racks::open(settings).expect("there is no map, or a good one")))
}

fn storage(node: u64) -> StorageId {
    StorageId::from_bytes([u8::try_from(node).expect("small"); 16])
}

fn row(node: u64) -> NodeRow {
    NodeRow {
        id: NodeId::new(node),
        host: format!("host{node}"),
        transfer: format!("127.0.0.1:{node}"),
        rack: "rack".to_owned(),
        storages: vec![storage(node)],
        service: None,
    }
}

fn socket() -> v1::LocalSocket {
    v1::LocalSocket { boot: vec![3; 16], path: b"/run/dn".to_vec() }
}

fn heartbeat(node: u64, free: u64) -> Heartbeat {
    let report = StorageReport {
        storage: storage(node),
        capacity: 1000,
        used: 0,
        free,
        replicas: 0,
        failed: false,
        oldest_unverified_ms: 0,
        scrub: None,
    };
    Heartbeat {
        node: NodeId::new(node),
        transfer: row(node).transfer,
        storages: vec![report],
        writers: 0,
        local: Some(socket()),
        instance: 1,
        reads: v1::Served::default(),
        writes: v1::Served::default(),
    }
}

fn wish(replicas: u8, exclude: &[u64]) -> Wish<'_> {
    Wish { replicas, least: 2, block_size: ByteSize::new(100), exclude, writer_host: None, spread: None, seed: 1 }
}

#[test]
fn targets_are_alive_have_room_and_are_not_excluded() {
    let datanodes = datanodes(&Settings::default());
    assert!(!datanodes.hear(heartbeat(1, 500)), "an unknown node is not kept");
    datanodes.load((1..=4).map(row).collect());
    for (node, free) in [(1, 500), (2, 500), (3, 50)] {
        assert!(datanodes.hear(heartbeat(node, free)));
    }
    let chosen = |wish| datanodes.targets(&wish).map(|targets| targets.len());
    assert_eq!(chosen(wish(3, &[])), Ok(2), "one is full and one has not been heard");
    let too_few = TooFew { have: 1, least: 2, want: 3, block_size: ByteSize::new(100) };
    assert_eq!(chosen(wish(3, &[2])), Err(too_few));
}

#[test]
fn nodes_that_leave_or_are_in_maintenance_are_no_targets() {
    let datanodes = datanodes(&Settings::default());
    let set = |node, service| NodeRow { service: Some(service), ..row(node) };
    let (past, later) = (Timestamp::from_nanos(1), Timestamp::from_nanos(u64::MAX));
    datanodes.load(vec![
        row(1),
        set(2, Service::Decommissioning),
        set(3, Service::Decommissioned),
        set(4, Service::Maintenance { until: later }),
        set(5, Service::Maintenance { until: past }),
    ]);
    for node in 1..=5 {
        assert!(datanodes.hear(heartbeat(node, 500)));
    }
    let chosen = datanodes.targets(&wish(5, &[])).expect("two are in service");
    assert_eq!(chosen.iter().map(|target| target.node.get()).collect::<BTreeSet<_>>(), BTreeSet::from([1, 5]));
    let over = (NodeId::new(5), Service::Maintenance { until: past });
    assert_eq!(datanodes.services(), (BTreeSet::from([NodeId::new(2)]), vec![over]));
}

#[test]
fn a_node_that_moved_or_got_a_disk_must_register_again() {
    let datanodes = datanodes(&Settings::default());
    datanodes.load(vec![row(1)]);
    assert!(datanodes.hear(heartbeat(1, 500)));
    assert!(!datanodes.hear(Heartbeat { transfer: "127.0.0.1:9".to_owned(), ..heartbeat(1, 500) }));
    assert!(!datanodes.hear(Heartbeat { storages: heartbeat(2, 500).storages, ..heartbeat(1, 500) }));
    assert!(datanodes.hear(Heartbeat { transfer: String::new(), ..heartbeat(1, 500) }), "it does not say");
}

#[test]
fn a_clone_is_refused_as_long_as_the_first_one_speaks() {
    let settings = Settings { suspect_after: Duration::from_secs(3600), ..Settings::default() };
    let mut datanodes = datanodes(&settings);
    datanodes.load(vec![row(1), row(2)]);
    assert!(datanodes.hear(heartbeat(1, 500)));
    let moved = |row: NodeRow| NodeRow { transfer: "127.0.0.1:9".to_owned(), ..row };
    let first = Some((NodeId::new(1), "127.0.0.1:1".to_owned()));
    assert_eq!(datanodes.speaks_elsewhere(&moved(row(1))), first, "the same node");
    assert_eq!(datanodes.speaks_elsewhere(&moved(NodeRow { id: NodeId::new(0), ..row(1) })), first, "the same disk");
    assert_eq!(datanodes.speaks_elsewhere(&row(1)), None, "it was started again");
    assert_eq!(datanodes.speaks_elsewhere(&moved(row(2))), None, "never heard");
    datanodes.suspect_after = Duration::ZERO;
    assert_eq!(datanodes.speaks_elsewhere(&moved(row(1))), None, "the first is silent");
}

#[test]
fn a_reader_is_sent_to_its_own_host_and_to_suspects_last() {
    let settings = Settings { suspect_after: Duration::from_secs(30), ..Settings::default() };
    let mut datanodes = datanodes(&settings);
    datanodes.load((1..=3).map(row).collect());
    // Node 3 was never heard, and the start was a minute ago.
    datanodes.started = Instant::now().checked_sub(Duration::from_secs(60)).expect("a clock that ran before");
    datanodes.hear(heartbeat(1, 1));
    datanodes.hear(heartbeat(2, 1));
    let all: Vec<BlockLocation> =
        (1..=3).map(|n| BlockLocation { node: NodeId::new(n), storage: storage(n) }).collect();
    let reader = |host: &str, boot: &[u8]| v1::Reader { host: host.to_owned(), boot: boot.to_vec() };
    let order = datanodes.for_reader(&all, &reader("host2", &[]));
    assert_eq!((order[0].node, order[0].silent), (2, false));
    assert_eq!((order[2].node, order[2].silent), (3, true), "never heard, and away");
    assert!(order.iter().all(|wire| wire.local.is_none()), "it may be another machine of that name");
    assert_eq!(datanodes.for_reader(&all, &reader("", &[])).len(), 3);
    let order = datanodes.for_reader(&all, &reader("another name", &socket().boot));
    let sockets: Vec<_> = order.iter().map(|wire| (wire.local.clone(), wire.distance)).collect();
    assert_eq!(sockets, [(Some(socket()), ON_HOST), (Some(socket()), ON_HOST), (None, ELSEWHERE)], "on its machine");
}

#[test]
fn a_reader_is_told_how_far_each_replica_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let map = directory.path().join("map");
    std::fs::write(&map, "gateway /b\n").expect("written");
    let datanodes = datanodes(&Settings { rack_map: Some(map), ..Settings::default() });
    let standing = |node, rack: &str| NodeRow { rack: rack.to_owned(), ..row(node) };
    datanodes.load(vec![standing(1, "/a"), standing(2, "/b"), standing(3, "/a")]);
    for node in 1..=3 {
        assert!(datanodes.hear(heartbeat(node, 1)));
    }
    let all: Vec<BlockLocation> =
        (1..=3).map(|n| BlockLocation { node: NodeId::new(n), storage: storage(n) }).collect();
    let told = |host: &str| {
        let reader = v1::Reader { host: host.to_owned(), boot: vec![1; 16] };
        let told = datanodes.for_reader(&all, &reader).into_iter().map(|wire| (wire.node, wire.distance));
        told.collect::<Vec<_>>()
    };
    assert_eq!(told("host3"), [(3, 0), (1, 2), (2, 4)]);
    assert_eq!(told("gateway"), [(2, 2), (1, 4), (3, 4)], "it is no datanode, and in the map");
    assert_eq!(told("stranger"), [(1, 4), (2, 4), (3, 4)]);
}

#[test]
fn a_node_whose_rack_has_changed_registers_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let map = directory.path().join("map");
    std::fs::write(&map, "host1 /a\n127.0.0.1 /b\n").expect("written");
    let datanodes = datanodes(&Settings { rack_map: Some(map), ..Settings::default() });
    datanodes.load(vec![row(1), NodeRow { rack: "/b".to_owned(), ..row(2) }]);
    assert!(!datanodes.hear(heartbeat(1, 500)), "it says it is elsewhere");
    assert!(datanodes.hear(heartbeat(2, 500)), "by its address");
    datanodes.load(vec![NodeRow { rack: "/a".to_owned(), ..row(1) }]);
    assert!(datanodes.hear(heartbeat(1, 500)));
}

/// Started anew thrice: each time it speaks as another process.
#[test]
fn a_node_that_comes_and_goes_gets_nothing_new_while_there_are_others() {
    let datanodes = datanodes(&Settings { hold_down: Duration::from_secs(3600), ..Settings::default() });
    datanodes.load((1..=4).map(row).collect());
    let hear = |node, instance| datanodes.hear(Heartbeat { instance, ..heartbeat(node, 500) });
    assert!((1..=4).all(|node| hear(node, 1)));
    let chosen = |wish| {
        let targets = datanodes.targets(&wish).expect("there are enough");
        targets.into_iter().map(|target| target.node.get()).collect::<BTreeSet<_>>()
    };
    assert!(hear(1, 2));
    assert_eq!(chosen(wish(4, &[])), BTreeSet::from([1, 2, 3, 4]), "once is a restart");
    assert!(hear(1, 3));
    assert_eq!(chosen(wish(4, &[])), BTreeSet::from([2, 3, 4]));
    assert_eq!(chosen(wish(4, &[2, 3])), BTreeSet::from([1, 4]), "without it there are too few");
    assert_eq!(datanodes.repair_facts().members[&storage(1)].liveness, Liveness::Held);
    let report = datanodes.report(|_| None);
    assert_eq!((report[0].returns, report[1].returns), (2, 0));
    assert!(report[0].held_ms > 3_500_000 && report[1].held_ms == 0);
}

#[test]
fn a_namenode_that_heard_nobody_blames_nobody() {
    let settings =
        Settings { suspect_after: Duration::ZERO, hold_down: Duration::from_secs(3600), ..Settings::default() };
    let datanodes = datanodes(&settings);
    datanodes.load((1..=2).map(row).collect());
    // Without any patience each silence is too long, and all that is heard comes after a time without a word.
    for _ in 0..5 {
        assert!((1..=2).all(|node| datanodes.hear(heartbeat(node, 500))));
        std::thread::yield_now();
    }
    assert!(datanodes.report(|_| None).iter().all(|report| report.held_ms == 0));
}
