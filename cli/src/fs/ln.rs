//! `ashlar fs ln`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use client::Client;
use types::{Name, Path};

use super::remote::{self, RemotePath};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct LnArgs {
    /// What the link leads to: a file of the cluster, or with -s any path, which need not be there
    target: OsString,
    /// The new name, or a directory to put it into
    #[arg(value_parser = remote::argument())]
    link: RemotePath,
    /// Make a symbolic link instead of another name for the same file
    #[arg(short, long)]
    symbolic: bool,
}

pub(crate) async fn run(client: &Client, args: LnArgs) -> Result<(), Failure> {
    let target = args.target.as_bytes();
    let link = place(client, &args.link, target).await?;
    if args.symbolic {
        client.symlink(target, &link).await?;
    } else {
        let from = RemotePath::parse(target).map_err(|error| Failure::Usage(error.to_string()))?;
        client.link(&from.path, &link).await?;
    }
    Ok(())
}

/// In a directory, the link is called after what it leads to.
async fn place(client: &Client, link: &RemotePath, target: &[u8]) -> Result<Path, Failure> {
    let there = remote::stat_if_there(client, &link.path).await?;
    if !there.is_some_and(|there| there.is_directory()) {
        return Ok(link.path.clone());
    }
    let last = target.split(|byte| *byte == b'/').rfind(|name| !name.is_empty());
    let failed = |problem: String| Failure::Failed(format!("{}: {problem}", link.path));
    let last = last.ok_or_else(|| failed("is there already; give the link a name".to_owned()))?;
    let name = Name::new(last).map_err(|error| failed(error.to_string()))?;
    link.path.join(name).map_err(|error| failed(error.to_string()))
}
