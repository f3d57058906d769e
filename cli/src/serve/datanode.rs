//! `ashlar datanode`

use std::time::Duration;

use datanode::{Config, Datanode};
use futures::TryFutureExt as _;
use prometheus_client::registry::Registry;

use super::{ServerArgs, Stop, addresses, http, say_ready};
use crate::exit::Failure;

/// How long a datanode that has failed takes to end in order.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let file = args.load()?;
    let (cluster, texts) = file.membership(&args.config)?;
    let namenodes = addresses(&args.config, &texts)?;
    let Some(settings) = file.datanode.clone() else { return Err(file.other_role(&args.config, "datanode").into()) };
    let name = match settings.host.as_str() {
        "" => settings.listen.to_string(),
        host => host.to_owned(),
    };

    let failed = |error: datanode::StartError| Failure::Failed(format!("datanode {name}: {error}"));
    let mut registry = Registry::default();
    let mut stop = Stop::listen()?;
    let starting = Datanode::start(Config { cluster, namenodes, settings }, &mut registry).map_err(failed);
    let server = stop.or(starting).await?;
    let door = match http::datanode(&file.http, registry, &server).await {
        Ok(door) => door,
        Err(failure) => {
            server.shutdown().await;
            return Err(failure);
        }
    };
    say_ready("datanode", &name, server.address())?;
    tokio::select! {
        failure = server.failed() => {
            tracing::error!(%failure, "the datanode failed");
            // It tells the namenodes. A disk that hangs does not keep the process.
            tokio::time::timeout(LAST_WORDS, server.shutdown()).await.ok();
            return Err(Failure::Failed(format!("datanode {name}: {failure}")));
        }
        reason = stop.wanted() => tracing::info!(reason, "stopping"),
    }
    if let Some(door) = door {
        door.close().await;
    }
    server.shutdown().await;
    Ok(())
}
