//! `bench meta`: operations on the namespace, durable, many outstanding at a time.
//!
//! `meta.create` makes an empty file in one command, `meta.create_close` opens one for writing and closes it, which are
//! two. All files lie in [`DIRECTORIES`] directories.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::{Client, CreateOptions, MkdirOptions};
use types::{ByteSize, Name, Path};

use super::load::drive;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed, log_of_leader};

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
    #[command(flatten)]
    pub(super) place: Place,
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
    pub(super) fn shape(&self) -> Shape {
        Shape { namenodes: self.members as usize, datanodes: 1 }
    }

    pub(super) async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        let mut clients = Vec::new();
        for _ in 0..self.clients {
            clients.push(testbed.connect().await?);
        }
        for number in 0..DIRECTORIES {
            let options = MkdirOptions { parents: true, ..MkdirOptions::default() };
            clients[0].mkdir(&directory(testbed.base(), number)?, options).await?;
        }
        let mut samples = vec![Vec::new(); Phase::ALL.len()];
        for _ in 0..self.runs {
            for (phase, samples) in Phase::ALL.into_iter().zip(&mut samples) {
                samples.push(self.run(testbed, &clients, phase).await?);
            }
        }
        for (phase, samples) in Phase::ALL.into_iter().zip(&samples) {
            if let Some(metric) = phase.metric() {
                reporter.print(&Measurement::new(metric, phase.unit(), samples))?;
            }
        }
        for client in clients {
            client.close().await?;
        }
        Ok(())
    }

    async fn run(&self, testbed: &Testbed, clients: &[Client], phase: Phase) -> anyhow::Result<Sample> {
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
