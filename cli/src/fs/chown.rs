//! `ashlar fs chown`

use client::{AttrChange, Client};

use super::object::{gid, uid};
use super::remote::{self, RemotePath};
use super::{Failures, walk};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct ChownArgs {
    /// OWNER, OWNER:GROUP or :GROUP, names of this machine or numbers
    #[arg(value_parser = Ownership::parse)]
    ownership: Ownership,
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Change everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ownership {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Ownership {
    fn parse(text: &str) -> Result<Self, String> {
        let (owner, group) = text.split_once(':').unwrap_or((text, ""));
        if owner.is_empty() && group.is_empty() {
            return Err("write OWNER, OWNER:GROUP or :GROUP".to_owned());
        }
        let some = |text: &str, id: fn(&str) -> Result<u32, String>| match text {
            "" => Ok(None),
            _ => id(text).map(Some),
        };
        Ok(Self { uid: some(owner, uid)?, gid: some(group, gid)? })
    }
}

pub(crate) async fn run(client: &Client, args: ChownArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let found = remote::expand_all(client, &args.paths, &mut failures).await?;
    let Ownership { uid, gid } = args.ownership;
    let change = async |visited: &walk::Visited| {
        client.set_attr(&visited.place, AttrChange { uid, gid, ..AttrChange::default() }).await?;
        Ok(())
    };
    walk::each(client, found, args.recursive, &mut failures, change).await?;
    failures.result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_read_as_with_chown() {
        assert_eq!(Ownership::parse("root"), Ok(Ownership { uid: Some(0), gid: None }));
        assert_eq!(Ownership::parse("12:34"), Ok(Ownership { uid: Some(12), gid: Some(34) }));
        assert_eq!(Ownership::parse(":root"), Ok(Ownership { uid: None, gid: Some(0) }));
        assert!(Ownership::parse(":").is_err());
        assert!(Ownership::parse("no such user").is_err());
    }
}
