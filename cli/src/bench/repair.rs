//! `bench repair`: a datanode is killed, and what it had is made anew on the others; nobody else uses the cluster meanwhile.
//!
//! The time counts from the moment that the leader misses the first replica until it misses none. Each byte is read once,
//! written once, synced, and read back; it is set against a file of as many bytes that is written and synced.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use client::{Admin, Client, Durability, Redundancy};
use types::{ByteSize, Path};

use super::limits::{DISK_WRITE, Ground, Stop};
use super::meta::until_interrupted;
use super::processes::Processes;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape};
use super::write::write_file;

/// One more datanode than replicas: all of them get something to copy, and each block has one place to go.
const SHAPE: Shape = Shape { namenodes: 1, datanodes: 4 };
/// The killed datanode: the copies of one block have one host each, so any will do.
const VICTIM: &str = "dn2";
/// The leader looks for missing replicas, and counts them, this often.
const SCAN: &str = "200ms";
/// A datanode that has been silent for so long is lost. Longer than a busy one ever is.
const LOST: &str = "5s";
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    /// Bytes in the files, without their copies; a datanode of four has three quarters of that
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    /// Files that they are in
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    files: u32,
    #[command(flatten)]
    place: Place,
}

impl RepairArgs {
    pub(super) async fn run(&self, reporter: &mut Reporter) -> anyhow::Result<()> {
        let mut cluster = Processes::prepare(None, SHAPE, &self.place, reporter)?;
        for (name, value) in [
            ("ASHLAR_NAMENODE__SCAN_INTERVAL", SCAN),
            ("ASHLAR_NAMENODE__SUSPECT_AFTER", LOST),
            ("ASHLAR_NAMENODE__DEAD_AFTER", LOST),
            ("ASHLAR_NAMENODE__REPAIR_AFTER", LOST),
        ] {
            cluster.set(name, value);
        }
        let done = until_interrupted(self.measure(&mut cluster, reporter)).await;
        let stopped = cluster.stop().await;
        done.and(stopped)
    }

    async fn measure(&self, cluster: &mut Processes, reporter: &mut Reporter) -> anyhow::Result<()> {
        cluster.start()?;
        cluster.ready().await?;
        let config = cluster.client_config();
        let client = Client::connect(config.clone()).await?;
        let each = ByteSize::new(self.size.get() / u64::from(self.files));
        for file in 0..self.files {
            let path = Path::parse(format!("/repair/{file}").as_bytes())?;
            write_file(client.clone(), path, each, Durability::Close).await?;
        }
        client.close().await?;
        // The limit, and the page cache as it is after writing.
        let dir = cluster.dir().to_owned();
        let bytes = ByteSize::new(self.size.get() * 3 / 4);
        let limit = tokio::task::spawn_blocking(move || {
            rustix::fs::sync();
            DISK_WRITE.run_once(&Ground { dir: &dir, bytes, stop: Stop::default() })
        });
        let limit = DISK_WRITE.measurement(&[limit.await??]);
        tokio::task::spawn_blocking(rustix::fs::sync).await?;

        let admin = Admin::unconnected(&config);
        let report = admin.report().await?;
        let lost = report.iter().find(|datanode| datanode.host == VICTIM).context("the victim has registered")?;
        let held: u64 = lost.storages.iter().map(|storage| storage.used.get()).sum();
        let replicas: u64 = lost.storages.iter().map(|storage| storage.replicas).sum();
        ensure!(held > 0, "the victim has nothing; write more with --size");
        cluster.kill(VICTIM)?;
        until(&admin, "the lost replicas are missed", |found| found.under_replicated > 0).await?;
        let meter = cluster.meter();
        until(&admin, "all replicas are there again", |found| found.under_replicated == 0).await?;
        let cost = meter.stop();
        cluster.check()?;
        let sample = Sample::of_bytes(held, cost.seconds, cost.cpu)
            .with_extra("bytes", held as f64)
            .with_extra("replicas", replicas as f64)
            .with_extra("seconds", cost.seconds);
        reporter.print(&limit)?;
        reporter.print(&Measurement::new("repair.node", "MB/s", &[sample]).against(&limit))
    }
}

/// Waits until the leader's last count of the blocks is as it should be.
async fn until(admin: &Admin, what: &str, is_so: impl Fn(&Redundancy) -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let members = admin.status().await;
        let leader = members.into_iter().filter_map(|(_, status)| status.ok()).find(|m| m.leader == Some(m.node));
        if leader.and_then(|leader| leader.redundancy).is_some_and(|found| is_so(&found)) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "within {PATIENCE:?} it did not come true that {what}");
        tokio::time::sleep(LOOK).await;
    }
}
