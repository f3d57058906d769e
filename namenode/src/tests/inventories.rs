//! What the leader makes of what datanodes tell of their disks.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::v1;
use proto::v1::op::Kind;
use proto::v1::task::Kind as TaskKind;
use types::inventory::{BUCKETS, Bucket, Digest, Stored};
use types::{BlockId, ByteSize, GenStamp};

use super::client::{self, Client, NodeClient};
use super::cluster::{Cluster, eventually};
use super::duties::{hasty, write};
use crate::Settings;

/// A datanode with a disk: it answers what it is asked, and notes what it is told to do.
struct Disk {
    node: NodeClient,
    instance: u64,
    stored: BTreeMap<BlockId, Stored>,
    deltas: Vec<v1::ReplicaDelta>,
    tasks: Vec<TaskKind>,
}

impl Disk {
    async fn start(cluster: &Cluster, host: u8) -> Self {
        let node = NodeClient::register(cluster, host).await;
        node.heartbeat(cluster, vec![]).await;
        Self { node, instance: 1, stored: BTreeMap::new(), deltas: Vec::new(), tasks: Vec::new() }
    }

    fn storage(&self) -> Vec<u8> {
        vec![self.node.host; 16]
    }

    fn store(&mut self, block: BlockId, generation: u64, length: u64) {
        let stored = Stored { block, generation: GenStamp::new(generation), length: ByteSize::new(length) };
        self.stored.insert(block, stored);
    }

    fn digests(&self) -> v1::StorageDigests {
        let mut digests = vec![Digest::default(); BUCKETS];
        self.stored.values().for_each(|stored| digests[Bucket::of(stored.block).index()].add(stored));
        let digests = digests.iter().flat_map(|digest| digest.get().to_le_bytes()).collect();
        v1::StorageDigests { storage: self.storage(), digests }
    }

    /// Two replicas at a time.
    fn page(&self, request: &v1::PageRequest) -> v1::BucketPage {
        let after = request.after.map(|block| proto::block_id(Some(block), "after").expect("a block"));
        let behind = |stored: &&Stored| after.is_none_or(|after| stored.block > after);
        let in_bucket = |stored: &&Stored| Bucket::of(stored.block).number() == request.bucket;
        let found: Vec<&Stored> = self.stored.values().filter(behind).filter(in_bucket).collect();
        let wire = |stored: &&Stored| v1::StoredReplica {
            block: Some(stored.block.into()),
            generation: stored.generation.get(),
            length: stored.length.get(),
        };
        v1::BucketPage {
            storage: request.storage.clone(),
            bucket: request.bucket,
            after: request.after,
            replicas: found.iter().take(2).map(wire).collect(),
            until: if found.len() > 2 { Some(found[1].block.into()) } else { None },
        }
    }

    /// Heartbeats until the leader has nothing more to say.
    async fn talk(&mut self, cluster: &Cluster) {
        let mut more = v1::HeartbeatRequest::default();
        loop {
            more.instance = self.instance;
            let deltas = std::mem::take(&mut self.deltas);
            more.deltas = vec![v1::StorageDeltas { storage: self.storage(), first: 0, deltas }];
            let reply = self.node.tell(cluster, 1, more).await;
            assert_eq!(reply.error, None);
            more = v1::HeartbeatRequest::default();
            more.pages = reply.want_pages.iter().map(|request| self.page(request)).collect();
            more.digests = reply.want_digests.iter().map(|_| self.digests()).collect();
            more.results = reply.tasks.iter().map(|task| self.done(task)).collect();
            if more == v1::HeartbeatRequest::default() {
                return;
            }
        }
    }

    fn done(&mut self, task: &v1::Task) -> v1::TaskResult {
        let kind = task.kind.clone().expect("a task");
        let mut error = None;
        match &kind {
            TaskKind::Check(check) => {
                let block = proto::block_id(check.block, "block").expect("a block");
                let fits = self.stored.get(&block).is_some_and(|stored| {
                    (stored.generation.get(), stored.length.get()) == (check.generation, check.length)
                });
                error = (!fits).then(|| proto::error(types::Code::NoSuchBlock, "it is not here"));
            }
            TaskKind::Delete(delete) => {
                self.stored.remove(&proto::block_id(delete.block, "block").expect("a block"));
            }
            TaskKind::Copy(copy) => {
                let block = proto::block_id(copy.block, "block").expect("a block");
                self.store(block, copy.generation, copy.length);
            }
            TaskKind::Offer(_) | TaskKind::End(_) | TaskKind::Scrub(_) | TaskKind::Gather(_) => {
                panic!("no writer was lost, and nobody asked")
            }
        }
        self.tasks.push(kind);
        v1::TaskResult { task: Some(task.clone()), error, bad_sources: vec![], offered: None, gathered: None }
    }
}

fn settings() -> Settings {
    Settings {
        digest_interval: Duration::from_millis(300),
        suspect_after: Duration::from_secs(3600),
        dead_after: Duration::from_secs(3600),
        repair_after: Duration::from_secs(3600),
        // A task that came with a first heartbeat, which is not listened to, is given again.
        copy_timeout: Duration::from_secs(1),
        ..hasty()
    }
}

/// Three datanodes and a file of one block that all of them have.
async fn three(settings: Settings) -> (Cluster, Vec<Disk>, Client, BlockId) {
    let cluster = Cluster::with(1, settings).await;
    let mut disks = Vec::new();
    for host in 1..=3 {
        disks.push(Disk::start(&cluster, host).await);
    }
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    let block = write(&mut client, "/file").await;
    let block = proto::block_id(block.block, "block").expect("a block");
    disks.iter_mut().for_each(|disk| disk.store(block, 1, 1000));
    (cluster, disks, client, block)
}

async fn talk_until(
    what: &str,
    cluster: &Cluster,
    disks: &mut [Disk],
    met: impl Fn(&[Disk], &v1::StatusReply) -> bool,
) {
    let disks = tokio::sync::Mutex::new(disks);
    let (disks, met) = (&disks, &met);
    eventually(what, || async move {
        let mut disks = disks.lock().await;
        for disk in disks.iter_mut() {
            disk.talk(cluster).await;
        }
        met(&disks, &cluster.status(1).await)
    })
    .await;
}

fn is_whole(status: &v1::StatusReply) -> bool {
    let whole =
        |found: &v1::Redundancy| (found.under_replicated, found.corrupt_replicas, found.pending_copies) == (0, 0, 0);
    status.redundancy.as_ref().is_some_and(|found| found.scanned_blocks == 1 && whole(found))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_vanished_is_looked_for_and_made_anew() {
    let (cluster, mut disks, _client, block) = three(settings()).await;
    disks.push(Disk::start(&cluster, 4).await);
    disks[1].stored.clear();
    talk_until("a copy is on the fourth disk", &cluster, &mut disks, |disks, status| {
        disks[3].stored.contains_key(&block) && is_whole(status)
    })
    .await;
    let checks = disks[1].tasks.iter().filter(|task| matches!(task, TaskKind::Check(_))).count();
    assert!(checks >= 1, "the datanode was asked first: {:?}", disks[1].tasks);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_deleted_and_what_is_listed_stays() {
    let (cluster, mut disks, mut client, block) = three(settings()).await;
    assert_eq!(client::code(&client.update(3, client::put("/other", b"x")).await), None);
    let orphans: Vec<BlockId> = (1..=5).map(|number| BlockId::new(block.inode(), number)).collect();
    orphans.iter().for_each(|orphan| disks[0].store(*orphan, 1, 77));
    let never = BlockId::new(types::InodeId::new(1 << 40), 0);
    disks[0].store(never, 1, 5);
    disks.push(Disk::start(&cluster, 4).await);
    // One copy more than wanted, which nobody lists.
    disks[3].store(block, 1, 1000);
    talk_until("the orphans are gone", &cluster, &mut disks, |disks, status| {
        let left: Vec<&BlockId> = disks[0].stored.keys().collect();
        left == [&block, &never] && disks[3].stored.is_empty() && is_whole(status)
    })
    .await;
    assert!(disks[1].stored.contains_key(&block) && disks[2].stored.contains_key(&block));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_of_a_block_that_is_short_is_adopted() {
    let (cluster, mut disks, _client, block) = three(settings()).await;
    let mut fourth = Disk::start(&cluster, 4).await;
    fourth.store(block, 1, 1000);
    disks.push(fourth);
    disks[2].deltas = vec![v1::ReplicaDelta {
        kind: v1::replica_delta::Kind::Bad as i32,
        block: Some(block.into()),
        generation: 1,
        ..Default::default()
    }];
    disks[2].stored.clear();
    disks[2].talk(&cluster).await;
    talk_until("the block is whole", &cluster, &mut disks, |_, status| is_whole(status)).await;
    assert!(disks[3].stored.contains_key(&block));
    assert!(!disks[3].tasks.iter().any(|task| matches!(task, TaskKind::Delete(_))), "{:?}", disks[3].tasks);
    cluster.stop_all().await;
}

/// Invariant 3 of the duties.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_deletes_no_orphan() {
    let settings = Settings { delete_holdoff: Duration::from_secs(3600), ..settings() };
    let (cluster, mut disks, _client, block) = three(settings).await;
    disks[0].store(BlockId::new(block.inode(), 1), 1, 77);
    // A vanished replica is found in the same comparison: once that is marked, the orphan has been seen, too.
    disks[0].stored.remove(&block);
    talk_until("the vanished replica is marked", &cluster, &mut disks, |_, status| {
        status.redundancy.as_ref().is_some_and(|found| found.corrupt_replicas == 1)
    })
    .await;
    for disk in &mut disks {
        disk.talk(&cluster).await;
        assert!(!disk.tasks.iter().any(|task| matches!(task, TaskKind::Delete(_))), "{:?}", disk.tasks);
    }
    cluster.stop_all().await;
}

/// Invariant 5 of the duties.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_a_reader_could_not_use_is_damaged_when_its_datanode_says_so() {
    let (cluster, mut disks, mut client, block) = three(settings()).await;
    let report = |disk: &Disk| {
        let (storage, block) = (disk.storage(), Some(block.into()));
        Kind::ReportBadReplica(v1::ReportBadReplica { block, generation: 1, storage })
    };
    // The bits changed on the way to the reader: all three replicas are good.
    for disk in &disks {
        assert_eq!(client::code(&client.read(report(disk)).await), None);
    }
    talk_until("each datanode has looked", &cluster, &mut disks, |disks, _| {
        disks.iter().all(|disk| disk.tasks.iter().any(|task| matches!(task, TaskKind::Check(_))))
    })
    .await;
    talk_until("nothing came of it", &cluster, &mut disks, |_, status| is_whole(status)).await;
    assert!(disks.iter().all(|disk| disk.stored.contains_key(&block)));

    disks[1].stored.clear();
    assert_eq!(client::code(&client.read(report(&disks[1])).await), None);
    talk_until("it is made anew", &cluster, &mut disks, |disks, status| {
        disks[1].stored.contains_key(&block) && is_whole(status)
    })
    .await;
    assert!(disks[1].tasks.iter().any(|task| matches!(task, TaskKind::Copy(_))), "{:?}", disks[1].tasks);
    cluster.stop_all().await;
}
