//! `ashlar admin supergroup`: whose members may do what root may, in the whole namespace.

use client::{Client, Config};

use crate::exit::Failure;
use crate::fs::{gid, group};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct SupergroupArgs {
    /// The group from now on: a name of this machine, or a number
    #[arg(value_name = "GROUP|GID", value_parser = gid, conflicts_with = "none")]
    group: Option<u32>,
    /// Have no such group
    #[arg(long)]
    none: bool,
}

pub(crate) async fn run(config: Config, args: SupergroupArgs) -> Result<(), Failure> {
    let client = Client::connect(config).await?;
    let done = if args.none || args.group.is_some() {
        client.set_supergroup(args.group).await.map_err(Failure::from)
    } else {
        show(&client).await
    };
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    done
}

async fn show(client: &Client) -> Result<(), Failure> {
    let mut out = Output::stdout();
    out.line(client.supergroup().await?.map_or_else(|| "none".to_owned(), group))?;
    out.flush()
}
