//! `ashlar fs recover`

use client::Client;

use super::Failures;
use super::remote::{self, RemotePath};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    /// Files that their writers left open
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Also take files whose writers may still be there, and lose them then; only the owner may
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(client: &Client, args: RecoverArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for RemotePath { path, .. } in &args.paths {
        if let Err(error) = client.recover_lease(path, args.force).await {
            failures.add(Failure::Failed(error.brief()))?;
        }
    }
    failures.result()
}
