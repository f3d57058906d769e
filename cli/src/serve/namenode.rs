//! `ashlar namenode`

use futures::TryFutureExt as _;
use namenode::{Config, Namenode};
use prometheus_client::registry::Registry;

use super::{ServerArgs, Stop, addresses, http, say_ready};
use crate::exit::Failure;

pub(crate) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let file = args.load()?;
    let (cluster, texts) = file.membership(&args.config)?;
    let namenodes = addresses(&args.config, &texts)?;
    let Some(settings) = file.namenode.clone() else { return Err(file.other_role(&args.config, "namenode").into()) };
    let name = format!("nn{}", settings.node);

    let failed = |error: namenode::StartError| Failure::Failed(format!("namenode {name}: {error}"));
    let mut registry = Registry::default();
    let mut stop = Stop::listen()?;
    let starting = Namenode::start(Config { cluster, namenodes, settings }, &mut registry).map_err(failed);
    let server = stop.or(starting).await?;
    let client = client::Config { namenodes: texts, ..file.client };
    let door = match http::namenode(&file.http, registry, &server, client).await {
        Ok(door) => door,
        Err(failure) => {
            server.shutdown().await;
            return Err(failure);
        }
    };
    say_ready("namenode", &name, server.address())?;
    tokio::select! {
        failure = server.failed() => {
            tracing::error!(part = failure.part, reason = failure.reason, "the namenode failed");
            return Err(Failure::Failed(format!("namenode {name}: {failure}")));
        }
        reason = stop.wanted() => tracing::info!(reason, "stopping"),
    }
    if let Some(door) = door {
        door.close().await;
    }
    server.shutdown().await;
    Ok(())
}
