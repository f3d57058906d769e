//! Members in temporary directories, on free ports.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use proto::v1;
use proto::v1::admin_client::AdminClient;
use tempfile::TempDir;
use types::{ByteSize, ClusterId, DiskId};

use crate::{Config, Founder, Namenode, Settings, found, join};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    id: ClusterId,
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

    /// Another cluster, of one.
    pub(crate) async fn foreign() -> Self {
        let settings = Settings { tick: Duration::from_millis(10), cache: ByteSize::mib(8), ..Settings::default() };
        Self::with_id(ClusterId::from_bytes([8; 16]), 1, settings).await
    }

    pub(crate) async fn with(members: usize, settings: Settings) -> Self {
        Self::with_id(CLUSTER, members, settings).await
    }

    async fn with_id(id: ClusterId, members: usize, settings: Settings) -> Self {
        let dirs: Vec<TempDir> = (0..members).map(|_| tempfile::tempdir().expect("a temporary directory")).collect();
        let paths: Vec<_> = dirs.iter().map(|dir| dir.path().to_owned()).collect();
        found(&paths, id).expect("empty directories");
        let addresses = free_addresses(members);
        let mut cluster = Self { id, dirs, addresses, members: (0..members).map(|_| None).collect(), settings };
        for node in 1..=members as u64 {
            cluster.revive(node).await;
        }
        cluster
    }

    pub(crate) async fn revive(&mut self, node: u64) {
        self.try_revive(node).await.expect("starts");
    }

    pub(crate) async fn try_revive(&mut self, node: u64) -> Result<(), crate::StartError> {
        let at = node as usize - 1;
        let dir = self.dirs[at].path().to_owned();
        let config = Config {
            cluster: self.id,
            namenodes: self.addresses.clone(),
            settings: Settings { node, dir, ..self.settings.clone() },
        };
        self.members[at] = Some(Namenode::start(config, &mut Registry::default()).await?);
        Ok(())
    }

    /// Starts a namenode that no cluster counts on yet: its number.
    pub(crate) async fn join(&mut self) -> u64 {
        let node = self.dirs.len() as u64 + 1;
        let founders: Vec<Founder> = self.founders().await;
        let dir = tempfile::tempdir().expect("a temporary directory");
        join(dir.path(), self.id, node, &founders).expect("an empty directory");
        self.dirs.push(dir);
        self.addresses.extend(free_addresses(1));
        self.members.push(None);
        self.revive(node).await;
        node
    }

    async fn founders(&self) -> Vec<Founder> {
        let known = self.status(self.running()[0]).await.founders;
        let founders = known.iter().map(|founder| Founder {
            node: founder.node,
            disk: DiskId::from_bytes(founder.disk.as_slice().try_into().expect("16 bytes")),
        });
        founders.collect()
    }

    /// Makes the directory of a member anew, under the number that it had.
    pub(crate) async fn format_again(&self, node: u64) {
        let founders = self.founders().await;
        join(self.dir(node), self.id, node, &founders).expect("an empty directory");
    }

    pub(crate) fn wipe(&self, node: u64, names: &[&str]) {
        for name in names {
            let path = self.dir(node).join(name);
            if path.is_dir() {
                std::fs::remove_dir_all(path).expect("removed");
            } else if path.exists() {
                std::fs::remove_file(path).expect("removed");
            }
        }
    }

    /// Waits until a member stops by itself: why.
    pub(crate) async fn until_failed(&mut self, node: u64) -> String {
        let member = self.members[node as usize - 1].take().expect("it runs");
        let failure = tokio::time::timeout(DEADLINE, member.failed()).await.expect("it stops");
        member.shutdown().await;
        failure.reason
    }

    async fn admin(&self, node: u64) -> AdminClient<tonic::transport::Channel> {
        AdminClient::connect(format!("http://{}", self.address(node))).await.expect("it listens")
    }

    /// Has the member `leader` add one; asks again while another change is under way.
    pub(crate) async fn add(&self, leader: u64, address: &str) -> Result<v1::RaftAddReply, tonic::Status> {
        loop {
            let request = v1::RaftAddRequest { address: address.to_owned() };
            match self.admin(leader).await.raft_add(request).await {
                Err(status) if status.code() == tonic::Code::Aborted => pause().await,
                answer => return answer.map(tonic::Response::into_inner),
            }
        }
    }

    /// As [`add`](Self::add).
    pub(crate) async fn remove(&self, leader: u64, node: u64) -> Result<v1::RaftRemoveReply, tonic::Status> {
        loop {
            let mut client = self.admin(leader).await;
            match client.raft_remove(v1::RaftRemoveRequest { node }).await {
                Err(status) if status.code() == tonic::Code::Aborted => pause().await,
                answer => return answer.map(tonic::Response::into_inner),
            }
        }
    }

    pub(crate) async fn try_status(&self, node: u64) -> Result<v1::StatusReply, tonic::Status> {
        let client = AdminClient::connect(format!("http://{}", self.address(node))).await;
        let mut client = client.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        client.status(v1::StatusRequest {}).await.map(tonic::Response::into_inner)
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
