//! `bench write`: large files, replicated, set against the bare chain of three hops, and where they are safe on disk, against
//! one that syncs its files.

use bytes::Bytes;
use client::{Client, CreateOptions, Durability};
use futures::future::try_join_all;
use types::{ByteSize, Path};

use super::limits::{CHAIN3, FSYNC3, Ground, Limit, PIECE, Stop};
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed};

#[derive(Debug, clap::Args)]
pub(crate) struct WriteArgs {
    /// Bytes in each file
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    /// When the bytes count as safe: memory, close or always [default: memory, then close]
    #[arg(long)]
    level: Vec<Durability>,
    /// Files written at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    files: u32,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    pub(super) place: Place,
}

impl WriteArgs {
    pub(super) const SHAPE: Shape = Shape { namenodes: 1, datanodes: 3 };

    pub(super) async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        let client = testbed.connect().await?;
        let default = [Durability::Memory, Durability::Close];
        let levels = if self.level.is_empty() { &default[..] } else { &self.level[..] };
        let mut limits = vec![Vec::new(); levels.len()];
        let mut samples = vec![Vec::new(); levels.len()];
        // Not counted: it makes the machine touch the memory that the files will take.
        bare(&CHAIN3, testbed, ByteSize::new(self.total())).await?;
        // Each limit is measured in turn with its level: what else the machine does meets both.
        for _ in 0..self.runs {
            for (at, level) in levels.iter().enumerate() {
                testbed.settle().await?;
                limits[at].push(bare(&limit_of(*level), testbed, ByteSize::new(self.total())).await?);
                testbed.settle().await?;
                samples[at].push(self.run(testbed, &client, *level).await?);
            }
        }
        for (at, level) in levels.iter().enumerate() {
            let limit = limit_of(*level).measurement(&limits[at]);
            reporter.print(&limit)?;
            reporter.print(&Measurement::new(metric(*level), "MB/s", &samples[at]).against(&limit))?;
        }
        Ok(client.close().await?)
    }

    fn total(&self) -> u64 {
        self.size.get() * u64::from(self.files)
    }

    async fn run(&self, testbed: &Testbed, client: &Client, level: Durability) -> anyhow::Result<Sample> {
        let paths: Vec<Path> =
            (0..self.files).map(|file| testbed.place(&format!("write-{file}"))).collect::<Result<_, _>>()?;
        let meter = testbed.meter();
        try_join_all(paths.iter().map(|path| write_file(client.clone(), path.clone(), self.size, level))).await?;
        let cost = meter.stop();
        for path in &paths {
            client.delete(path, false).await?;
        }
        testbed.emptied(client).await?;
        Ok(Sample::of_bytes(self.total(), cost.seconds, cost.cpu))
    }
}

const fn limit_of(level: Durability) -> Limit {
    match level {
        Durability::Memory => CHAIN3,
        Durability::Close | Durability::Always => FSYNC3,
    }
}

const fn metric(level: Durability) -> &'static str {
    match level {
        Durability::Memory => "write.memory",
        Durability::Close => "write.close",
        Durability::Always => "write.always",
    }
}

/// Writes a file of `size` bytes in a task of its own.
pub(super) async fn write_file(client: Client, path: Path, size: ByteSize, level: Durability) -> anyhow::Result<()> {
    let write = async move {
        let piece = Bytes::from_iter((0..PIECE).map(|at| (at / 7) as u8));
        let options = CreateOptions { parents: true, durability: Some(level), ..CreateOptions::default() };
        let mut writer = client.create(&path, options).await?;
        let mut left = size.get();
        while left > 0 {
            let length = left.min(PIECE as u64);
            writer.write(piece.slice(..length as usize)).await?;
            left -= length;
        }
        writer.close().await?;
        anyhow::Ok(())
    };
    tokio::spawn(write).await?
}

/// One run of a limit, on the disk of the cluster.
pub(super) async fn bare(limit: &Limit, testbed: &Testbed, bytes: ByteSize) -> anyhow::Result<Sample> {
    let limit = *limit;
    let dir = testbed.local().to_owned();
    tokio::task::spawn_blocking(move || limit.run_once(&Ground { dir: &dir, bytes, stop: Stop::default() })).await?
}
