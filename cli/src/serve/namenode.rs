//! `ashlar namenode`

use namenode::{Config, Namenode};

use super::{ServerArgs, addresses, say_ready, stop_wanted};
use crate::exit::Failure;

pub(crate) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let file = args.load()?;
    let (cluster, texts) = file.membership(&args.config)?;
    let namenodes = addresses(&args.config, &texts)?;
    let Some(settings) = file.namenode else { return Err(file.other_role(&args.config, "namenode").into()) };
    let name = format!("nn{}", settings.node);

    let failed = |error: namenode::StartError| Failure::Failed(format!("namenode {name}: {error}"));
    let server = Namenode::start(Config { cluster, namenodes, settings }).await.map_err(failed)?;
    say_ready("namenode", &name, server.address())?;
    tokio::select! {
        failure = server.failed() => {
            tracing::error!(part = failure.part, reason = failure.reason, "the namenode failed");
            return Err(Failure::Failed(format!("namenode {name}: {failure}")));
        }
        stop = stop_wanted() => tracing::info!(reason = stop?, "stopping"),
    }
    server.shutdown().await;
    Ok(())
}
