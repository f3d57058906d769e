//! The cluster that a benchmark works on: the one that was named, or one of our own that lives as long as the benchmark.

use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use client::{Client, Config, LogStatistics};
use tempfile::TempDir;
use types::{Name, Path};

use super::cost::{Meter, local_servers};
use super::report::Reporter;
use crate::serve::quickstart::{Cluster, Options};

/// How long the removal of deleted files may take.
const REMOVAL: Duration = Duration::from_secs(60);

/// Where temporary files go.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Where temporary files go, and the cluster if none is named [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    /// A directory of our own, which goes when it is dropped.
    pub(crate) fn make(&self, reporter: &Reporter) -> anyhow::Result<TempDir> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new()
            .prefix("ashlar-bench-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        if in_memory(dir.path())? {
            reporter.note(&format!(
                "warning: {} is held in memory: syncs cost nothing there; use --dir to name a directory on a disk",
                parent.display()
            ))?;
        }
        Ok(dir)
    }
}

fn in_memory(dir: &FilePath) -> anyhow::Result<bool> {
    /// TMPFS_MAGIC, see statfs(2).
    const TMPFS: i64 = 0x0102_1994;
    Ok(rustix::fs::statfs(dir)?.f_type as i64 == TMPFS)
}

/// How large a cluster of our own is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) namenodes: usize,
    pub(crate) datanodes: usize,
}

/// A cluster to work on, a place in it, and a local directory.
pub(crate) struct Testbed {
    config: Config,
    own: Option<Cluster>,
    servers: Vec<u32>,
    local: TempDir,
    base: Path,
}

impl Testbed {
    pub(crate) async fn start(
        named: Option<Config>,
        shape: Shape,
        place: &Place,
        reporter: &Reporter,
    ) -> anyhow::Result<Self> {
        let local = place.make(reporter)?;
        let base = Path::parse(format!("/ashlar-bench-{}", std::process::id()).as_bytes())?;
        if let Some(config) = named {
            return Ok(Self { config, own: None, servers: local_servers(), local, base });
        }
        let dir = local.path().join("cluster");
        let cluster = Cluster::start(Options::unattended(dir, shape.namenodes, shape.datanodes))
            .await
            .map_err(|failure| anyhow!("cannot start a cluster for the benchmark: {failure}"))?;
        Ok(Self { config: cluster.client_config(), own: Some(cluster), servers: Vec::new(), local, base })
    }

    /// The directory in the cluster under which everything is made.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// A path of that name in it.
    pub(crate) fn place(&self, name: &str) -> anyhow::Result<Path> {
        Ok(self.base.join(Name::new(name.as_bytes())?)?)
    }

    /// A directory on this machine, on the disk that a cluster of our own uses.
    pub(crate) fn local(&self) -> &FilePath {
        self.local.path()
    }

    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// Where its namenodes are.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.config.namenodes
    }

    /// Processes of this machine that serve the cluster, besides this one.
    pub(crate) fn servers(&self) -> &[u32] {
        &self.servers
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.config.clone()).await?)
    }

    /// A client that reads from files of replicas on this machine, or one that reads over the network as if they were
    /// elsewhere.
    pub(crate) async fn connect_to_read(&self, local_reads: bool) -> anyhow::Result<Client> {
        Ok(Client::connect(Config { local_reads, ..self.config.clone() }).await?)
    }

    /// Measures this process and every server of the cluster.
    pub(crate) fn meter(&self) -> Meter {
        Meter::start_with(&self.servers)
    }

    /// Lets the disks finish what earlier work left them, so that it is not charged to the next.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        Ok(tokio::task::spawn_blocking(rustix::fs::sync).await?)
    }

    /// Waits until the datanodes of a cluster of our own have removed what was deleted: its memory is then free for the
    /// next run, as that of a limit's files is. Elsewhere deleted files stay for a while, as they should.
    pub(crate) async fn emptied(&self, client: &Client) -> anyhow::Result<()> {
        let until = Instant::now() + REMOVAL;
        while self.own.is_some() {
            let report = client.admin().report().await?;
            if report.iter().flat_map(|datanode| &datanode.storages).all(|storage| storage.replicas == 0) {
                break;
            }
            anyhow::ensure!(Instant::now() < until, "deleted files were not removed within {REMOVAL:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Runs `work`; Ctrl-C ends it. Whatever comes of it, what was made is removed and a cluster of our own is stopped.
    pub(crate) async fn during(self, work: impl AsyncFnOnce(&Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let done = tokio::select! {
            done = work(&self) => done,
            _ = tokio::signal::ctrl_c() => Err(super::limits::Interrupted.into()),
        };
        let removed = self.remove().await;
        done.and(removed)
    }

    async fn remove(self) -> anyhow::Result<()> {
        match self.own {
            Some(cluster) => {
                cluster.shutdown().await.map_err(|failure| anyhow!("cannot stop the cluster: {failure}"))?
            }
            None => {
                let client = Client::connect(self.config).await?;
                let removed = client.delete(&self.base, true).await;
                client.close().await?;
                if let Err(error) = removed
                    && error.code() != types::Code::NotFound
                {
                    return Err(error.into());
                }
            }
        }
        Ok(self.local.close()?)
    }
}

/// The leader's log counters; none while there is no leader.
pub(crate) async fn log_of_leader(client: &Client) -> Option<LogStatistics> {
    let members = client.admin().status().await;
    members.into_iter().filter_map(|(_, status)| status.ok()).find(|m| m.leader == Some(m.node)).map(|m| m.log)
}
