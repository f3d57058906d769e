//! `bench small`: whole files that are too large to live with their inode and too small to stream.

use bytes::Bytes;
use client::{Client, CreateOptions};
use types::{ByteSize, Name, Path};

use super::load::drive;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed};

#[derive(Debug, clap::Args)]
pub(crate) struct SmallArgs {
    /// Bytes in each file
    #[arg(long, default_value = "64KiB")]
    size: ByteSize,
    /// Files to put, and to get, in each run
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Files under way at any time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    outstanding: u32,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    pub(super) place: Place,
}

impl SmallArgs {
    pub(super) const SHAPE: Shape = Shape { namenodes: 3, datanodes: 3 };

    pub(super) async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        let client = testbed.connect().await?;
        let content = Bytes::from(vec![7; usize::try_from(self.size.get())?]);
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for run in 0..self.runs {
            let directory = testbed.place(&format!("small-{run}"))?;
            let (from, to) = (directory.clone(), content.clone());
            puts.push(
                self.timed(testbed, &client, move |client, number| put(client, from.clone(), number, to.clone()))
                    .await?,
            );
            let (from, expected) = (directory.clone(), content.len());
            gets.push(
                self.timed(testbed, &client, move |client, number| get(client, from.clone(), number, expected)).await?,
            );
            client.delete(&directory, true).await?;
        }
        reporter.print(&Measurement::new("small.put", "ops/s", &puts))?;
        reporter.print(&Measurement::new("small.get", "ops/s", &gets))?;
        Ok(client.close().await?)
    }

    async fn timed<F, O>(&self, testbed: &Testbed, client: &Client, op: F) -> anyhow::Result<Sample>
    where
        F: Fn(Client, u64) -> O + Clone + Send + 'static,
        O: Future<Output = anyhow::Result<()>> + Send,
    {
        let meter = testbed.meter();
        let histogram = drive(std::slice::from_ref(client), self.outstanding, self.count, op).await?;
        let cost = meter.stop();
        Ok(Sample::of_ops(self.count, cost.seconds, cost.cpu).with_latencies(&histogram))
    }
}

async fn put(client: Client, directory: Path, number: u64, content: Bytes) -> anyhow::Result<()> {
    let options = CreateOptions { parents: true, ..CreateOptions::default() };
    client.put(&numbered(&directory, number)?, content, options).await?;
    Ok(())
}

async fn get(client: Client, directory: Path, number: u64, expected: usize) -> anyhow::Result<()> {
    let mut reader = client.open(&numbered(&directory, number)?).await?;
    let mut got = 0;
    while let Some(chunk) = reader.next_chunk().await? {
        got += chunk.len();
    }
    anyhow::ensure!(got == expected, "file {number} came back with {got} bytes of {expected}");
    Ok(())
}

fn numbered(directory: &Path, number: u64) -> anyhow::Result<Path> {
    Ok(directory.join(Name::new(number.to_string().as_bytes())?)?)
}
