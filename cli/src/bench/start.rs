//! `meta.start`: how long a cluster that was killed takes from the start of its processes to the first answered read.

use std::path::Path as FilePath;
use std::time::Instant;

use anyhow::ensure;
use client::Client;
use types::Path;

use super::processes::Processes;
use super::report::{Measurement, Reporter, Sample};

/// Starts the cluster `runs` times, and kills all of it in between.
pub(super) async fn measure(
    cluster: &mut Processes,
    dir: &FilePath,
    runs: u32,
    reporter: &mut Reporter,
) -> anyhow::Result<()> {
    let root = Path::parse(b"/")?;
    let mut samples = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        cluster.start()?;
        let client = Client::connect(cluster.client_config()).await?;
        let usage = client.stat(&root).await?.usage.unwrap_or_default();
        let seconds = began.elapsed().as_secs_f64();
        ensure!(usage.entries > 0, "{} holds no files: make some with --populate N", dir.display());
        let mut sample = Sample { value: seconds, ..Sample::default() }.with_extra("files", usage.files as f64);
        if let Some(memory) = cluster.namenode_memory_mib() {
            sample = sample.with_extra("namenode_mib", memory);
        }
        samples.push(sample);
        client.close().await?;
        cluster.kill_all()?;
    }
    reporter.print(&Measurement::new("meta.start", "s", &samples))
}
