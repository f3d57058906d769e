//! `ashlar fs touch`

use bytes::Bytes;
use client::{AttrChange, Client, CreateOptions};
use types::{Code, Path};

use super::Failures;
use super::remote::{self, RemotePath};
use super::upload::failed;
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct TouchArgs {
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Make nothing that is not there
    #[arg(short = 'c', long)]
    no_create: bool,
}

pub(crate) async fn run(client: &Client, args: TouchArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for RemotePath { path, .. } in &args.paths {
        if let Err(failure) = touch(client, path, args.no_create).await {
            failures.add(failure)?;
        }
    }
    failures.result()
}

async fn touch(client: &Client, path: &Path, no_create: bool) -> Result<(), Failure> {
    if set_times(client, path).await? || no_create {
        return Ok(());
    }
    match client.put(path, Bytes::new(), CreateOptions::default()).await {
        Ok(_) => Ok(()),
        // Somebody else was faster, and it is there.
        Err(error) if error.code() == Code::Exists => set_times(client, path).await.map(|_| ()),
        Err(error) => Err(failed(&error, true)),
    }
}

/// False if nothing is there.
async fn set_times(client: &Client, path: &Path) -> Result<bool, Failure> {
    match client.set_attr(path, AttrChange { touch: true, ..AttrChange::default() }).await {
        Ok(_) => Ok(true),
        Err(error) if remote::is_absent(&error) => Ok(false),
        Err(error) => Err(Failure::Failed(error.brief())),
    }
}
