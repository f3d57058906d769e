//! A datanode: keeps replicas of blocks on its disks, takes and serves them over the transfer protocol, and does what
//! the leader of the namenodes tells it.
//!
//! Invariants, cited by tests (those of the replicas are in `store`):
//! 1. A directory without the identity of a volume of this cluster is never written to.
//! 2. No task is done for a leader whose term is below the highest one seen.
//! 3. One failing volume takes its replicas out of service and nothing else; the node goes on while one volume works.
//! 4. Nobody reads or writes a block without a token for it, on whatever way.
//! 5. A result or a damaged replica is told until a leader has heard it.

mod connection;
mod copy;
mod disk;
mod foreground;
mod gather;
mod heartbeat;
mod identity;
mod inventory;
mod local;
mod making;
mod metrics;
mod node;
mod pace;
mod pull;
mod replica;
mod scrub;
mod server;
mod settings;
mod store;
mod tasks;
mod throttle;
mod tokens;
mod write_behind;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;
use types::{NodeId, StorageId};

pub use identity::{IdentityError, format};
pub use metrics::Probe;
pub use settings::{Config, Settings};

use crate::local::LocalListener;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::store::Volume;

/// What this program says that it is, so that a cluster of several versions can be told.
pub(crate) const VERSION: &str = concat!("ashlar-", env!("CARGO_PKG_VERSION"));

/// Why a datanode did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is wrong: {0}")]
    Config(String),
    #[error(transparent)]
    Volume(#[from] IdentityError),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: SocketAddr, reason: std::io::Error },
    #[error("cannot listen on {}: {reason}", path.display())]
    ListenLocal { path: PathBuf, reason: std::io::Error },
}

/// Why a running datanode had to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {reason}")]
pub struct Failure {
    /// The part that failed.
    pub part: &'static str,
    pub reason: String,
}

/// A running datanode.
#[derive(Debug)]
pub struct Datanode {
    node: Arc<Node>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    failure: watch::Receiver<Option<Failure>>,
}

impl Datanode {
    /// Opens the volumes, serves, and begins to report. What happens is counted, and shown by `registry`.
    pub async fn start(config: Config, registry: &mut Registry) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let volume_failed = Arc::new(Notify::new());
        let volumes = open_volumes(&config, &volume_failed)?;
        let id = known_id(&volumes)?;
        let Config { cluster, namenodes, settings } = config;
        let address = settings.listen;
        let listen = |reason| StartError::Listen { address, reason };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let address = settings.advertise.unwrap_or(address);
        let metrics = Metrics::new(registry, volumes.values());
        let local = LocalListener::open(&settings).await?;
        let told = local.as_ref().map(LocalListener::told);
        let node = Arc::new(Node::new(cluster, settings, address, told, volumes, id, metrics));
        node.set_reports(heartbeat::probe_once(&node).await);

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(Arc::clone(&node), listener, stop.clone()));
        if let Some(local) = local {
            tasks.spawn(server::serve_local(Arc::clone(&node), local, stop.clone()));
        }
        tasks.spawn(heartbeat::probe(Arc::clone(&node), stop.clone()));
        let (queues, work) = tasks::queues();
        tasks.spawn(tasks::run(Arc::clone(&node), work, stop.clone()));
        tasks.spawn(heartbeat::report_to_all(Arc::clone(&node), namenodes, queues, stop.clone()));
        for volume in node.volumes.values() {
            tasks.spawn(inventory::walk(Arc::clone(&node), Arc::clone(volume), stop.clone()));
            tasks.spawn(scrub::run(Arc::clone(&node), Arc::clone(volume), stop.clone()));
        }
        let (failed, failure) = watch::channel(None);
        tasks.spawn(watch_volumes(Arc::clone(&node), volume_failed, failed, stop.clone()));
        info!(%address, volumes = node.volumes.len(), "the datanode serves");
        Ok(Self { node, stop, tasks, failure })
    }

    /// Looks into it, for as long as it runs.
    pub fn probe(&self) -> Probe {
        Probe::of(&self.node)
    }

    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        self.node.address
    }

    /// The id that a leader gave it, once there is one.
    pub fn id(&self) -> Option<NodeId> {
        self.node.id()
    }

    /// The storage ids of its volumes.
    pub fn storages(&self) -> Vec<StorageId> {
        self.node.volumes.keys().copied().collect()
    }

    /// Resolves when the node had to stop: no volume is left.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + 'static {
        let mut failure = self.failure.clone();
        async move {
            let found = failure.wait_for(Option::is_some).await.map(|found| found.clone());
            match found {
                Ok(found) => found.expect("waited for"),
                // Shut down in order: that is no failure.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Stops taking connections, closes those that are open, finishes what the disks are at.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let volumes: Vec<_> = self.node.volumes.values().map(Arc::clone).collect();
        while self.tasks.join_next().await.is_some() {}
        let stopped = tokio::task::spawn_blocking(move || volumes.iter().for_each(|volume| volume.stop()));
        stopped.await.expect("stopping a volume does not panic");
    }
}

impl Drop for Datanode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn open_volumes(config: &Config, failed: &Arc<Notify>) -> Result<BTreeMap<StorageId, Arc<Volume>>, IdentityError> {
    let Settings { threads_per_volume, reserve, ref volumes, .. } = config.settings;
    let mut opened = BTreeMap::new();
    for path in volumes {
        let volume = Volume::open(path, config.cluster, threads_per_volume, reserve, Arc::clone(failed))?;
        let storage = volume.storage;
        if opened.insert(storage, Arc::new(volume)).is_some() {
            return Err(IdentityError::Twice { path: path.clone(), storage });
        }
    }
    Ok(opened)
}

/// The node id that the volumes agree on, if any has one.
fn known_id(volumes: &BTreeMap<StorageId, Arc<Volume>>) -> Result<Option<NodeId>, IdentityError> {
    let mut known = None;
    for volume in volumes.values() {
        match (known, volume.node()) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(IdentityError::OtherNode { path: volume.root.clone(), found, expected });
            }
            (None, found) => known = found,
            (Some(_), _) => {}
        }
    }
    Ok(known)
}

/// Tells when no volume is left (invariant 3).
async fn watch_volumes(
    node: Arc<Node>,
    changed: Arc<Notify>,
    failed: watch::Sender<Option<Failure>>,
    stop: CancellationToken,
) {
    loop {
        if node.volumes.values().all(|volume| volume.has_failed()) {
            failed.send_replace(Some(Failure { part: "volumes", reason: "every volume has failed".to_owned() }));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {}
        }
    }
}
