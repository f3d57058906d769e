//! Members in temporary directories, on free ports.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::admin_client::AdminClient;
use tempfile::TempDir;
use types::{ByteSize, ClusterId};

use crate::{Config, Namenode, Settings, format};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    dirs: Vec<TempDir>,
    addresses: Vec<SocketAddr>,
    members: Vec<Option<Namenode>>,
    settings: Settings,
}

/// Between two looks at a condition.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        pause().await;
    }
}

/// Ports below those that the kernel gives to outgoing connections, one of which could otherwise hold the port of a
/// member that restarts. Every call of this process gets others.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    const LOWEST: u32 = 10_000;
    const SPAN: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let drawn = std::iter::repeat_with(|| {
        let port = LOWEST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % SPAN;
        SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("the range ends below 2^16")))
    });
    drawn.take(SPAN as usize).filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}

impl Cluster {
    pub(crate) async fn start(members: usize) -> Self {
        // Faster than in earnest, so that an election takes a third of a second.
        // Datanodes are heard when a test has them speak, however long a busy machine takes for what lies between.
        let settings = Settings {
            tick: Duration::from_millis(10),
            cache: ByteSize::mib(8),
            suspect_after: DEADLINE,
            dead_after: DEADLINE,
            ..Settings::default()
        };
        Self::with(members, settings).await
    }

    pub(crate) async fn with(members: usize, settings: Settings) -> Self {
        let dirs = (0..members).map(|_| tempfile::tempdir().expect("a temporary directory")).collect();
        let addresses = free_addresses(members);
        let mut cluster = Self { dirs, addresses, members: (0..members).map(|_| None).collect(), settings };
        for node in 1..=members as u64 {
            cluster.revive(node).await;
        }
        cluster
    }

    pub(crate) async fn revive(&mut self, node: u64) {
        let at = node as usize - 1;
        let dir = self.dirs[at].path().to_owned();
        format(&dir, CLUSTER, node).expect("its own directory");
        let config = Config {
            cluster: CLUSTER,
            namenodes: self.addresses.clone(),
            settings: Settings { node, dir, ..self.settings.clone() },
        };
        self.members[at] = Some(Namenode::start(config).await.expect("starts"));
    }

    pub(crate) async fn stop(&mut self, node: u64) {
        let member = self.members[node as usize - 1].take().expect("it runs");
        member.shutdown().await;
    }

    pub(crate) async fn stop_all(mut self) {
        for member in self.members.drain(..).flatten() {
            member.shutdown().await;
        }
    }

    pub(crate) fn dir(&self, node: u64) -> &Path {
        self.dirs[node as usize - 1].path()
    }

    pub(crate) fn address(&self, node: u64) -> SocketAddr {
        self.addresses[node as usize - 1]
    }

    pub(crate) fn running(&self) -> Vec<u64> {
        (1..).zip(&self.members).filter(|(_, member)| member.is_some()).map(|(node, _)| node).collect()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.running().into_iter().map(|node| self.address(node)).collect()
    }

    pub(crate) async fn status(&self, node: u64) -> v1::StatusReply {
        let client = AdminClient::connect(format!("http://{}", self.address(node))).await;
        let reply = client.expect("it listens").status(v1::StatusRequest {}).await;
        reply.expect("an answer").into_inner()
    }

    /// Asks `node` to hand the lead to `to`.
    pub(crate) async fn transfer(&self, node: u64, to: u64) -> Result<v1::RaftTransferReply, tonic::Status> {
        let client = AdminClient::connect(format!("http://{}", self.address(node))).await;
        let reply = client.expect("it listens").raft_transfer(v1::RaftTransferRequest { node: to }).await;
        Ok(reply?.into_inner())
    }

    /// The member that all running ones call the leader.
    pub(crate) async fn leader(&self) -> u64 {
        let start = Instant::now();
        loop {
            let mut leaders = Vec::new();
            for node in self.running() {
                leaders.push(self.status(node).await.leader);
            }
            leaders.dedup();
            if let [leader] = leaders[..]
                && leader != 0
                && self.running().contains(&leader)
            {
                return leader;
            }
            assert!(start.elapsed() < DEADLINE, "no leader within {DEADLINE:?}");
            pause().await;
        }
    }
}
