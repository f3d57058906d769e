//! `bench meta`: operations on the namespace, durable, many outstanding at a time.
//!
//! `meta.create` makes an empty file in one command, `meta.create_close` opens one for writing and closes it, which are
//! two. All files lie in [`DIRECTORIES`] directories. With `--populate`, `--failover` or `--start` it measures that alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::{Client, CreateOptions, MkdirOptions};
use types::{ByteSize, Name, Path};

use super::cost::Meter;
use super::limits::Interrupted;
use super::load::drive;
use super::populate::Populate;
use super::processes::Processes;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed, log_of_leader};
use super::{failover, start};

const DIRECTORIES: u64 = 16;
const SMALL_FILE: ByteSize = ByteSize::kib(4);
/// Reads are cheaper than changes: so many of them for each file.
const STATS_PER_FILE: u64 = 5;
const LISTS_PER_DIRECTORY: u64 = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct MetaArgs {
    /// Namenodes of the cluster that is started when none is named
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=5))]
    members: u32,
    /// Connections, each with a session of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Operations under way at any time, over all clients
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    outstanding: u32,
    /// Files to make in each run
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(16..))]
    count: u64,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Make a namespace of so many small files in /populated, or what is missing of it, and keep it
    #[arg(long, value_name = "FILES", value_parser = clap::value_parser!(u64).range(1..))]
    populate: Option<u64>,
    /// Files in each directory of it
    #[arg(long, value_name = "FILES", default_value_t = 1000, requires = "populate",
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    files_per_directory: u64,
    /// Bytes in each file of it, at most what the cluster keeps with the inode
    #[arg(long, default_value = "0B", requires = "populate")]
    size: ByteSize,
    /// Measure only how long clients wait when the leader is killed, and when it hands over
    #[arg(long, conflicts_with = "populate")]
    failover: bool,
    /// Kills and hand-overs to measure; without any, they are left out
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=10_000))]
    kills: u32,
    /// Measure only how long a killed cluster in --cluster-dir takes to answer a first read
    #[arg(long, requires = "cluster_dir", conflicts_with_all = ["populate", "failover"])]
    start: bool,
    /// For --populate, --failover and --start: a directory as of `ashlar quickstart`, whose cluster is started, and made
    /// if there is none, and stays
    #[arg(long, value_name = "DIR")]
    cluster_dir: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// The operations, in the order in which they need each other.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Create,
    Stat,
    List,
    Rename,
    Delete,
    SmallFile,
    DeleteSmall,
    CreateClose,
    DeleteClosed,
}

impl Phase {
    const ALL: [Self; 9] = [
        Self::Create,
        Self::Stat,
        Self::List,
        Self::Rename,
        Self::Delete,
        Self::SmallFile,
        Self::DeleteSmall,
        Self::CreateClose,
        Self::DeleteClosed,
    ];

    /// None for what only makes room for the next.
    const fn metric(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("meta.create"),
            Self::Stat => Some("meta.stat"),
            Self::List => Some("meta.list"),
            Self::Rename => Some("meta.rename"),
            Self::Delete => Some("meta.delete"),
            Self::SmallFile => Some("meta.small_file"),
            Self::CreateClose => Some("meta.create_close"),
            Self::DeleteSmall | Self::DeleteClosed => None,
        }
    }

    const fn unit(self) -> &'static str {
        if matches!(self, Self::List) { "entries/s" } else { "ops/s" }
    }

    const fn is_read(self) -> bool {
        matches!(self, Self::Stat | Self::List)
    }
}

impl MetaArgs {
    fn shape(&self) -> Shape {
        Shape { namenodes: self.members as usize, datanodes: 1 }
    }

    pub(super) async fn run(&self, named: Option<client::Config>, reporter: &mut Reporter) -> anyhow::Result<()> {
        let own = self.cluster_dir.is_some();
        anyhow::ensure!(
            !own || self.populate.is_some() || self.failover || self.start,
            "--cluster-dir goes with --populate, --failover or --start"
        );
        anyhow::ensure!(
            named.is_none() || !(own || self.failover),
            "servers are killed only in a cluster of the benchmark's own: name none with --cluster or --config"
        );
        match (self.populate, named) {
            (Some(files), Some(config)) => {
                return until_interrupted(self.populate(files, &config, Meter::named(), reporter)).await;
            }
            (Some(_), None) => {
                anyhow::ensure!(own, "say which cluster: with --config, --cluster or --cluster-dir");
            }
            (None, named) if !self.failover && !self.start => {
                let kills = if named.is_none() && self.members >= 3 { self.kills } else { 0 };
                let testbed = Testbed::start(named, self.shape(), &self.place, reporter).await?;
                testbed.during(async |testbed| self.measure(testbed, reporter).await).await?;
                if kills == 0 {
                    return Ok(());
                }
            }
            (None, _) => {}
        }
        self.with_processes(reporter).await
    }

    /// What needs servers in processes of their own.
    async fn with_processes(&self, reporter: &mut Reporter) -> anyhow::Result<()> {
        let dir = self.cluster_dir.as_deref();
        let mut cluster = Processes::prepare(dir, self.shape(), &self.place, reporter)?;
        let done = until_interrupted(self.on_processes(&mut cluster, reporter)).await;
        let stopped = cluster.stop().await;
        done.and(stopped)
    }

    async fn on_processes(&self, cluster: &mut Processes, reporter: &mut Reporter) -> anyhow::Result<()> {
        if let Some(files) = self.populate {
            cluster.start()?;
            cluster.ready().await?;
            let meter = cluster.meter();
            self.populate(files, &cluster.client_config(), meter, reporter).await?;
            return cluster.check();
        }
        match &self.cluster_dir {
            Some(dir) if self.start => start::measure(cluster, dir, self.runs, reporter).await,
            Some(_) | None => failover::measure(cluster, self.kills, reporter).await,
        }
    }

    async fn populate(
        &self,
        files: u64,
        config: &client::Config,
        meter: Meter,
        reporter: &mut Reporter,
    ) -> anyhow::Result<()> {
        let clients = self.connect(async || Ok(Client::connect(config.clone()).await?)).await?;
        let wanted =
            Populate { files, per_directory: self.files_per_directory, size: self.size, outstanding: self.outstanding };
        let made = wanted.measure(&clients, meter).await?;
        reporter.print(&made)?;
        close(clients).await
    }

    async fn connect(&self, connect: impl AsyncFn() -> anyhow::Result<Client>) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(connect().await?);
        }
        Ok(clients)
    }

    async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        let clients = self.connect(|| testbed.connect()).await?;
        for number in 0..DIRECTORIES {
            let options = MkdirOptions { parents: true, ..MkdirOptions::default() };
            clients[0].mkdir(&directory(testbed.base(), number)?, options).await?;
        }
        let mut samples = vec![Vec::new(); Phase::ALL.len()];
        for _ in 0..self.runs {
            for (phase, samples) in Phase::ALL.into_iter().zip(&mut samples) {
                samples.push(self.run_phase(testbed, &clients, phase).await?);
            }
        }
        for (phase, samples) in Phase::ALL.into_iter().zip(&samples) {
            if let Some(metric) = phase.metric() {
                reporter.print(&Measurement::new(metric, phase.unit(), samples))?;
            }
        }
        close(clients).await
    }

    async fn run_phase(&self, testbed: &Testbed, clients: &[Client], phase: Phase) -> anyhow::Result<Sample> {
        let listed = Arc::new(AtomicU64::new(0));
        let count = match phase {
            Phase::Stat => self.count * STATS_PER_FILE,
            Phase::List => DIRECTORIES * LISTS_PER_DIRECTORY,
            _ => self.count,
        };
        let files = self.count;
        let before = log_of_leader(&clients[0]).await;
        let meter = testbed.meter();
        let histogram = drive(clients, self.outstanding, count, {
            let (base, listed) = (testbed.base().clone(), Arc::clone(&listed));
            move |client, number| {
                let (base, listed) = (base.clone(), Arc::clone(&listed));
                async move { operate(&client, &base, phase, number, files, &listed).await }
            }
        })
        .await?;
        let cost = meter.stop();
        let after = log_of_leader(&clients[0]).await;

        let done = if matches!(phase, Phase::List) { listed.load(Ordering::Relaxed) } else { count };
        let mut sample = Sample::of_ops(done, cost.seconds, cost.cpu).with_latencies(&histogram);
        if let (false, Some(before), Some(after)) = (phase.is_read(), before, after) {
            // A change of leader in between starts other counters: then there is nothing to say.
            let syncs = after.syncs.saturating_sub(before.syncs) as f64;
            let commands = after.commands.saturating_sub(before.commands) as f64;
            if syncs > 0.0 {
                sample = sample
                    .with_extra("fsyncs_per_s", syncs / cost.seconds)
                    .with_extra("commands_per_sync", commands / syncs);
            }
        }
        Ok(sample)
    }
}

/// Ctrl-C drops the work.
pub(super) async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    }
}

async fn close(clients: Vec<Client>) -> anyhow::Result<()> {
    for client in clients {
        client.close().await?;
    }
    Ok(())
}

async fn operate(
    client: &Client,
    base: &Path,
    phase: Phase,
    number: u64,
    files: u64,
    listed: &AtomicU64,
) -> anyhow::Result<()> {
    match phase {
        Phase::Create => {
            client.put(&file(base, "f", number)?, Bytes::new(), CreateOptions::default()).await?;
        }
        Phase::Stat => {
            client.stat(&file(base, "f", scattered(number, files))?).await?;
        }
        Phase::List => {
            let mut listing = client.list(&directory(base, number)?).await?;
            while let Some(page) = listing.next_page().await? {
                listed.fetch_add(page.len() as u64, Ordering::Relaxed);
            }
        }
        Phase::Rename => client.rename(&file(base, "f", number)?, &file(base, "r", number)?, false).await?,
        Phase::Delete => client.delete(&file(base, "r", number)?, false).await?,
        Phase::SmallFile => {
            const CONTENT: [u8; SMALL_FILE.get() as usize] = [7; SMALL_FILE.get() as usize];
            client.put(&file(base, "s", number)?, Bytes::from_static(&CONTENT), CreateOptions::default()).await?;
        }
        Phase::DeleteSmall => client.delete(&file(base, "s", number)?, false).await?,
        Phase::CreateClose => {
            client.create(&file(base, "c", number)?, CreateOptions::default()).await?.close().await?;
        }
        Phase::DeleteClosed => client.delete(&file(base, "c", number)?, false).await?,
    }
    Ok(())
}

fn directory(base: &Path, number: u64) -> anyhow::Result<Path> {
    Ok(base.join(Name::new(format!("d{}", number % DIRECTORIES).as_bytes())?)?)
}

fn file(base: &Path, kind: &str, number: u64) -> anyhow::Result<Path> {
    Ok(directory(base, number)?.join(Name::new(format!("{kind}{number}").as_bytes())?)?)
}

/// Numbers that come in order, turned into numbers below `files` in no order (a Weyl sequence).
fn scattered(number: u64, files: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % files
}
