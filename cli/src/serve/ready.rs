//! When a cluster is ready: when a write succeeds, shown by one.

use std::time::{Duration, Instant};

use client::{Client, Config, CreateOptions, Liveness};
use types::{ErrorKind, Path};

use crate::exit::Failure;

/// A cluster on one machine that is not ready by then has a reason that a person must look at.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until a file with `replication` copies can be written.
pub(crate) async fn wait(config: Config, replication: usize) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    let config = Config { op_timeout: PATIENCE, ..config };
    let client = Client::connect(config).await?;
    let waited = wait_for_writes(&client, replication, until).await;
    // The probe's session is of no use any more; one that cannot be closed ends by itself.
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session of the probe was not closed in order");
    }
    waited
}

async fn wait_for_writes(client: &Client, replication: usize, until: Instant) -> Result<(), Failure> {
    loop {
        let reason = match datanodes_alive(client).await {
            Ok(alive) if alive < replication => format!("{alive} of {replication} datanodes have registered"),
            Ok(_) => match probe(client).await {
                Ok(()) => return Ok(()),
                // These may pass: a leader changes, a datanode registers again.
                Err(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::Full) => error.brief(),
                Err(error) => return Err(error.into()),
            },
            Err(error) => error.brief(),
        };
        if Instant::now() > until {
            let after = PATIENCE.as_secs();
            return Err(Failure::Failed(format!("the cluster is not ready after {after} s: {reason}; see its logs")));
        }
        tracing::debug!(reason, "not ready yet");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn datanodes_alive(client: &Client) -> Result<usize, client::Error> {
    let report = client.admin().report().await?;
    Ok(report.iter().filter(|datanode| datanode.liveness == Liveness::Alive).count())
}

/// Writes a file that is never given its name, through a whole pipeline.
async fn probe(client: &Client) -> Result<(), client::Error> {
    let path = Path::parse(b"/.ashlar-ready").expect("a legal path");
    let inline_max = client.defaults().inline_max.get() as usize;
    let mut writer = client.create(&path, CreateOptions { atomic: true, ..CreateOptions::default() }).await?;
    writer.write(vec![0; inline_max + 1].into()).await?;
    writer.flush().await?;
    writer.abort().await
}
