//! `ashlar datanode`

use datanode::{Config, Datanode};

use super::{ServerArgs, addresses, say_ready, stop_wanted};
use crate::exit::Failure;

pub(crate) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let file = args.load()?;
    let (cluster, texts) = file.membership(&args.config)?;
    let namenodes = addresses(&args.config, &texts)?;
    let Some(settings) = file.datanode else { return Err(file.other_role(&args.config, "datanode").into()) };
    let name = match settings.host.as_str() {
        "" => settings.listen.to_string(),
        host => host.to_owned(),
    };

    let failed = |error: datanode::StartError| Failure::Failed(format!("datanode {name}: {error}"));
    let server = Datanode::start(Config { cluster, namenodes, settings }).await.map_err(failed)?;
    say_ready("datanode", &name, server.address())?;
    tokio::select! {
        failure = server.failed() => {
            tracing::error!(%failure, "the datanode failed");
            return Err(Failure::Failed(format!("datanode {name}: {failure}")));
        }
        stop = stop_wanted() => tracing::info!(reason = stop?, "stopping"),
    }
    server.shutdown().await;
    Ok(())
}
