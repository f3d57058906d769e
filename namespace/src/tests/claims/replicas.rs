use super::*;
use crate::row::{BlockRow, NodeRow, Service};
use types::{NodeId, Timestamp};

fn with_file() -> (Cluster, BlockId) {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let block = cluster.write(session, "/f");
    (cluster, block)
}

impl Cluster {
    fn block(&self, block: BlockId) -> BlockRow {
        query::block(&self.state, block).expect("readable").expect("the block is there")
    }

    fn add(&mut self, block: BlockId, number: u8) -> Result<Reply, Error> {
        self.run(Command::AddReplica { block, generation: GenStamp::FIRST, location: location(number) })
    }

    fn remove(&mut self, block: BlockId, number: u8) -> Result<Reply, Error> {
        self.run(Command::RemoveReplica { block, generation: GenStamp::FIRST, storage: storage(number) })
    }

    fn bad(&mut self, block: BlockId, number: u8) -> Result<Reply, Error> {
        self.run(Command::ReportBadReplica { block, generation: GenStamp::FIRST, storage: storage(number) })
    }
}

#[test]
fn the_last_good_replica_is_never_removed() {
    let (mut cluster, block) = with_file();
    cluster.bad(block, 1).expect("marked");
    cluster.remove(block, 2).expect("removed");
    assert_eq!(code(cluster.remove(block, 3)), Code::Denied, "invariant 6");
    assert_eq!(cluster.block(block).replicas, locations(&[3]));
    cluster.remove(block, 1).expect("a damaged one may go while a good one is there");
    invariants::check(&cluster.state);
}

#[test]
fn even_the_last_replica_is_marked_when_damaged_and_then_kept() {
    let (mut cluster, block) = with_file();
    for number in [1, 2, 3] {
        cluster.bad(block, number).expect("marked");
    }
    let row = cluster.block(block);
    assert_eq!((row.replicas.len(), row.bad.len()), (0, 3));
    assert_eq!(code(cluster.remove(block, 2)), Code::Denied);
    let now = Timestamp::from_nanos(u64::MAX);
    assert_eq!(query::due_deletes(&cluster.state, storage(2), now, 10), Ok(Vec::new()));
}

#[test]
fn damaged_replicas_go_once_enough_good_ones_exist() {
    let (mut cluster, block) = with_file();
    cluster.bad(block, 2).expect("marked");
    assert_eq!((cluster.block(block).bad, cluster.block(block).leaving), (locations(&[2]), vec![]));
    cluster.add(block, 4).expect("copied");
    let row = cluster.block(block);
    assert_eq!((row.replicas, row.bad, row.leaving), (locations(&[1, 3, 4]), vec![], locations(&[2])));
    invariants::check(&cluster.state);
}

#[test]
fn a_storage_gets_no_copy_before_its_old_replica_is_gone() {
    let (mut cluster, block) = with_file();
    cluster.remove(block, 1).expect("removed");
    assert_eq!(code(cluster.add(block, 1)), Code::Busy, "invariant 7");
    let now = Timestamp::from_nanos(cluster.clock);
    let replicas = query::due_deletes(&cluster.state, storage(1), now, 10).expect("readable");
    assert_eq!(replicas.len(), 1);
    cluster.run(Command::ReplicasDeleted { storage: storage(1), replicas }).expect("confirmed");
    cluster.add(block, 1).expect("copied");
    invariants::check(&cluster.state);
}

#[test]
fn duties_done_twice_change_nothing() {
    let (mut cluster, block) = with_file();
    type Duty = fn(&mut Cluster, BlockId) -> Result<Reply, Error>;
    let duties: [Duty; 3] = [|c, b| c.add(b, 4), |c, b| c.bad(b, 4), |c, b| c.remove(b, 4)];
    for duty in duties {
        duty(&mut cluster, block).expect("done");
        let once = cluster.state.clone();
        if duty(&mut cluster, block).is_ok() {
            assert_eq!(cluster.block(block), query::block(&once, block).expect("readable").expect("there"));
        }
    }
}

#[test]
fn replicas_of_another_generation_or_block_are_refused() {
    let (mut cluster, block) = with_file();
    let before = cluster.state.clone();
    let stale = Command::AddReplica { block, generation: GenStamp::new(2), location: location(4) };
    assert_eq!(code(cluster.run(stale)), Code::StaleGeneration);
    let session = cluster.open_session();
    let (_, open) = cluster.create(session, Some(to("/open")));
    assert_eq!(code(cluster.add(open.block, 4)), Code::InvalidArgument, "it is still being written");
    assert_eq!(code(cluster.add(BlockId::new(InodeId::new(99), 0), 4)), Code::NoSuchBlock);
    assert_eq!(cluster.block(block), query::block(&before, block).expect("readable").expect("there"));
}

fn node(id: u64, disks: &[u8]) -> NodeRow {
    NodeRow {
        id: NodeId::new(id),
        host: "dn1".to_owned(),
        transfer: "127.0.0.1:7001".to_owned(),
        rack: "/default".to_owned(),
        storages: storages(disks),
        service: None,
    }
}

fn register(cluster: &mut Cluster, row: NodeRow) -> Result<NodeId, Code> {
    match cluster.run(Command::RegisterDatanode { node: row }) {
        Ok(Reply::Node { node }) => Ok(node),
        Ok(other) => panic!("a node was asked for: {other:?}"),
        Err(error) => Err(error.code()),
    }
}

#[test]
fn a_datanode_is_recognised_by_its_disks_before_its_id() {
    let mut cluster = Cluster::formatted();
    let first = register(&mut cluster, node(0, &[1, 2])).expect("new");
    let second = register(&mut cluster, node(0, &[3])).expect("new");
    assert_eq!((first, second), (NodeId::new(100), NodeId::new(101)));
    let registered = cluster.state.clone();
    assert_eq!(register(&mut cluster, node(100, &[1, 2])), Ok(first));
    assert_eq!(cluster.state, registered, "nothing new, nothing written");
    assert_eq!(register(&mut cluster, node(0, &[2, 4])), Ok(first), "a new disk, and the id forgotten");
    assert_eq!(register(&mut cluster, node(100, &[5])), Ok(first), "all disks replaced");
    assert_eq!(register(&mut cluster, node(100, &[3])), Err(Code::InvalidArgument), "a disk of another node");
    assert_eq!(register(&mut cluster, node(0, &[3, 5])), Err(Code::InvalidArgument), "disks of two nodes");
    assert_eq!(register(&mut cluster, node(55, &[9])), Ok(NodeId::new(102)), "an id nobody gave out");
    assert_eq!(register(&mut cluster, node(0, &[])), Err(Code::InvalidArgument));
    assert_eq!(register(&mut cluster, node(0, &[7, 7])), Err(Code::InvalidArgument));
    let rows = query::nodes(&cluster.state).expect("readable");
    assert_eq!(rows, [node(100, &[5]), node(101, &[3]), node(102, &[9])]);
}

#[test]
fn whether_a_datanode_takes_part_outlives_its_registrations() {
    let mut cluster = Cluster::formatted();
    let first = register(&mut cluster, node(0, &[1])).expect("registered");
    let second = register(&mut cluster, NodeRow { host: "dn2".to_owned(), ..node(0, &[2]) }).expect("registered");
    let set = |node, service, only_if| Command::SetService { node, service, only_if, by: None };
    let service = |cluster: &Cluster, node| {
        let nodes = query::nodes(&cluster.state).expect("readable");
        nodes.into_iter().find(|row| row.id == node).map(|row| row.service())
    };
    cluster.run(set(first, Service::Decommissioning, None)).expect("another one stays");
    register(&mut cluster, node(first.get(), &[1, 3])).expect("started again, with another disk");
    assert_eq!(service(&cluster, first), Some(Service::Decommissioning));
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(set(second, Service::Decommissioning, None))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(set(NodeId::new(999), Service::InService, None))), Code::NotFound);
    let late = set(first, Service::Decommissioned, Some(Service::InService));
    cluster.run(late).expect("what an operator asked for meanwhile stands");
    assert_eq!(cluster.state, before);
    cluster.run(set(first, Service::Decommissioned, Some(Service::Decommissioning))).expect("it may go");
    cluster.run(set(first, Service::Decommissioning, None)).expect("asked again");
    assert_eq!(service(&cluster, first), Some(Service::Decommissioned), "it needs not be drained twice");
    cluster.run(set(first, Service::InService, None)).expect("it is back");
    let until = Timestamp::from_nanos(7);
    cluster.run(set(second, Service::Maintenance { until }, None)).expect("announced");
    assert_eq!(service(&cluster, second), Some(Service::Maintenance { until }));
    assert_eq!(service(&cluster, first), Some(Service::InService));
    invariants::check(&cluster.state);
}

#[test]
fn a_replica_moves_in_one_step_and_never_leaves_a_block_short() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let block = cluster.write(session, "/f");
    let row = |cluster: &Cluster| query::block(&cluster.state, block).expect("readable").expect("there");
    let step = |source, target| Command::MoveReplica {
        block,
        generation: GenStamp::FIRST,
        source: storage(source),
        target: location(target),
    };
    cluster.run(step(1, 4)).expect("there are enough");
    assert_eq!((row(&cluster).replicas, row(&cluster).leaving), (locations(&[2, 3, 4]), locations(&[1])));
    let before = cluster.state.clone();
    cluster.run(step(1, 4)).expect("said twice");
    assert_eq!(query::block(&cluster.state, block), query::block(&before, block), "nothing moves twice");
    assert_eq!(code(cluster.run(step(2, 1))), Code::Busy, "the deletion there is under way");
    // One of the others is lost before the next copy is made.
    cluster.run(Command::ReportBadReplica { block, generation: GenStamp::FIRST, storage: storage(3) }).expect("known");
    cluster.run(step(2, 5)).expect("the copy counts");
    assert_eq!(row(&cluster).replicas, locations(&[2, 4, 5]), "and the source stays");
    let stale = Command::MoveReplica { block, generation: GenStamp::new(9), source: storage(2), target: location(6) };
    assert_eq!(code(cluster.run(stale)), Code::StaleGeneration);
    invariants::check(&cluster.state);
}
