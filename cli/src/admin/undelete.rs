//! `ashlar admin undelete`: what users removed for good, as long as its replicas are kept.

use client::{BURIED, Client, Config};

use crate::exit::Failure;
use crate::fs::trash::{self, Form, Restored};

#[derive(Debug, clap::Args)]
pub(crate) struct UndeleteArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what can be had back
    Ls(Form),
    /// Put it back: the file or tree that was removed last from a path, or an item by its number
    Restore(Restored),
}

pub(crate) async fn run(config: Config, args: UndeleteArgs) -> Result<(), Failure> {
    let client = Client::connect(config).await?;
    let done = match args.command {
        Command::Ls(form) => trash::list(&client, Some(BURIED), &form).await,
        Command::Restore(what) => trash::restore(&client, BURIED, what).await,
    };
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    done
}
