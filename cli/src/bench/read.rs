//! `bench read`: a large file from end to end and small pieces of it at random, over the network against a bare `sendfile`, and
//! from the files of replicas on this machine against reading the page cache.

use client::{Client, Durability};
use types::{ByteSize, Path};

use super::limits::{PAGECACHE_READ, SENDFILE};
use super::load::drive;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed};
use super::write::{bare, write_file};

#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    /// Bytes in the file
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Bytes in each random read
    #[arg(long, default_value = "4KiB")]
    random: ByteSize,
    /// Random reads under way at any time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    outstanding: u32,
    /// Random reads in each run
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[command(flatten)]
    pub(super) place: Place,
}

impl ReadArgs {
    pub(super) const SHAPE: Shape = Shape { namenodes: 1, datanodes: 3 };

    pub(super) async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        anyhow::ensure!(self.random.get() > 0 && self.random <= self.size, "a random read is within the file");
        let (far, near) = (testbed.connect_to_read(false).await?, testbed.connect_to_read(true).await?);
        let path = testbed.place("read")?;
        write_file(far.clone(), path.clone(), self.size, Durability::Memory).await?;

        let [mut sendfile, mut sequential, mut random] = [const { Vec::new() }; 3];
        let [mut pagecache, mut local, mut local_random] = [const { Vec::new() }; 3];
        for _ in 0..self.runs {
            testbed.settle().await?;
            sendfile.push(bare(&SENDFILE, testbed, self.size).await?);
            testbed.settle().await?;
            sequential.push(self.sequential(testbed, &far, &path).await?);
            random.push(self.random(testbed, &far, &path).await?);
            testbed.settle().await?;
            pagecache.push(bare(&PAGECACHE_READ, testbed, self.size).await?);
            testbed.settle().await?;
            local.push(self.sequential(testbed, &near, &path).await?);
            local_random.push(self.random(testbed, &near, &path).await?);
        }
        let limit = SENDFILE.measurement(&sendfile);
        reporter.print(&limit)?;
        reporter.print(&Measurement::new("read.sequential", "MB/s", &sequential).against(&limit))?;
        reporter.print(&Measurement::new("read.random_4k", "ops/s", &random))?;
        let limit = PAGECACHE_READ.measurement(&pagecache);
        reporter.print(&limit)?;
        reporter.print(&Measurement::new("read.local", "MB/s", &local).against(&limit))?;
        reporter.print(&Measurement::new("read.local_random_4k", "ops/s", &local_random))?;
        near.close().await?;
        Ok(far.close().await?)
    }

    async fn sequential(&self, testbed: &Testbed, client: &Client, path: &Path) -> anyhow::Result<Sample> {
        let (reading, path) = (client.clone(), path.clone());
        let meter = testbed.meter();
        let read = tokio::spawn(async move {
            let mut reader = reading.open(&path).await?;
            let mut read = 0;
            while let Some(chunk) = reader.next_chunk().await? {
                read += chunk.len() as u64;
            }
            anyhow::Ok(read)
        })
        .await??;
        let cost = meter.stop();
        anyhow::ensure!(read == self.size.get(), "{read} bytes were read of a file of {}", self.size.get());
        Ok(Sample::of_bytes(read, cost.seconds, cost.cpu))
    }

    async fn random(&self, testbed: &Testbed, client: &Client, path: &Path) -> anyhow::Result<Sample> {
        let reader = std::sync::Arc::new(client.open(path).await?);
        let length = self.random.get();
        let places = (self.size.get() - length) / length + 1;
        let meter = testbed.meter();
        let histogram = drive(std::slice::from_ref(client), self.outstanding, self.count, move |_, number| {
            let reader = std::sync::Arc::clone(&reader);
            async move {
                let offset = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % places * length;
                let mut buffer = vec![0; length as usize];
                let got = reader.read_at(offset, &mut buffer).await?;
                anyhow::ensure!(got == buffer.len(), "a read at {offset} came back short");
                Ok(())
            }
        })
        .await?;
        let cost = meter.stop();
        Ok(Sample::of_ops(self.count, cost.seconds, cost.cpu).with_latencies(&histogram))
    }
}
