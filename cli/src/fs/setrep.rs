//! `ashlar fs setrep`

use std::time::Duration;

use client::{Admin, AttrChange, Client, Found, Kind};
use types::Path;

use super::remote::{self, RemotePath};
use super::{Failures, walk};
use crate::cluster::ClusterArgs;
use crate::exit::{self, Failure};
use crate::output::count;

/// Between two looks whether the replicas are there.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct SetrepArgs {
    /// How many copies of each block there are to be
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    replicas: u8,
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Change every file below directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Wait until the copies are there, and those that are too many are not
    #[arg(short, long)]
    wait: bool,
}

pub(crate) async fn run(client: &Client, cluster: &ClusterArgs, args: SetrepArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let found = remote::expand_all(client, &args.paths, &mut failures).await?;
    let named: Vec<Path> = found.iter().map(|found| found.path.clone()).collect();
    let change = async |visited: &walk::Visited| {
        match visited.attributes.kind {
            Kind::File => {}
            Kind::Directory if !args.recursive => {
                let path = &visited.path;
                return Err(Failure::Failed(format!("{path}: is a directory; -R changes every file below it")));
            }
            // What has no content has no copies.
            _ => return Ok(()),
        }
        let change = AttrChange { replication: Some(args.replicas), ..AttrChange::default() };
        client.set_attr(&visited.place, change).await?;
        Ok(())
    };
    walk::each(client, found, args.recursive, &mut failures, change).await?;
    if args.wait {
        wait(&Admin::unconnected(&cluster.client_config()?), &named).await?;
    }
    failures.result()
}

/// Waits until every block has as many replicas as its files want, and no more.
async fn wait(admin: &Admin, paths: &[Path]) -> Result<(), Failure> {
    let mut told = 0;
    loop {
        let mut left = 0;
        for path in paths {
            let mut fsck = admin.fsck(path, true, false).await?;
            while let Some((findings, _)) = fsck.next().await? {
                let is_open = |what: &Found| match what {
                    Found::Block(block) => {
                        !block.writing && (block.live < block.wanted || block.replicas.len() > block.wanted as usize)
                    }
                    Found::Broken(_) => false,
                };
                left += findings.iter().filter(|finding| is_open(&finding.what)).count() as u64;
            }
        }
        if left == 0 {
            return Ok(());
        }
        if left != told {
            exit::complain(&format!("{} with too few or too many copies", count(left, "block", "blocks")));
            told = left;
        }
        tokio::time::sleep(LOOK).await;
    }
}
