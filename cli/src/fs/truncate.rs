//! `ashlar fs truncate`

use bytes::Bytes;
use client::{Client, ContentOptions, CreateOptions};
use types::{ByteSize, Code, Path};

use super::Failures;
use super::remote::{self, RemotePath};
use super::upload::failed;
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct TruncateArgs {
    /// How long to make them; what is added reads as zeros and takes no space on the disks
    #[arg(short, long)]
    size: ByteSize,
    /// Make nothing that is not there
    #[arg(short = 'c', long)]
    no_create: bool,
    /// Files
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
}

pub(crate) async fn run(client: &Client, args: TruncateArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for RemotePath { path, .. } in &args.paths {
        if let Err(failure) = truncate(client, path, &args).await {
            failures.add(failure)?;
        }
    }
    failures.result()
}

async fn truncate(client: &Client, path: &Path, args: &TruncateArgs) -> Result<(), Failure> {
    if set_length(client, path, args.size).await? || args.no_create {
        return Ok(());
    }
    match client.put(path, Bytes::new(), CreateOptions::default()).await {
        Ok(_) => {}
        // Somebody else was faster, and it is there.
        Err(error) if error.code() == Code::Exists => {}
        Err(error) => return Err(failed(&error, true)),
    }
    set_length(client, path, args.size).await.map(|_| ())
}

/// False if nothing is there.
async fn set_length(client: &Client, path: &Path, size: ByteSize) -> Result<bool, Failure> {
    match client.truncate(path, size.get(), ContentOptions::default()).await {
        Ok(_) => Ok(true),
        Err(error) if remote::is_absent(&error) => Ok(false),
        Err(error) => Err(Failure::Failed(error.brief())),
    }
}
