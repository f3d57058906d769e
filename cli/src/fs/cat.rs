//! `ashlar fs cat`

use client::Client;

use super::Failures;
use super::download::to_stdout;
use super::remote::{self, RemotePath};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct CatArgs {
    /// Files, printed one after the other
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
}

pub(crate) async fn run(client: &Client, args: CatArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for found in remote::expand_all(client, &args.paths, &mut failures).await? {
        if found.attributes.is_directory() {
            failures.add(Failure::Failed(format!("{}: is a directory", found.path)))?;
        } else if let Err(failure) = to_stdout(client, &found.path).await {
            failures.add(failure)?;
        }
    }
    failures.result()
}
