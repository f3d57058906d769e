//! `ashlar fs chown`

use client::{AttrChange, Client};

use super::object::{gid, uid};
use super::remote::{self, RemotePath};
use super::{Failures, walk};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct ChownArgs {
    /// OWNER, OWNER:GROUP or :GROUP, names of this machine or numbers; the owner may be a user of the cluster
    #[arg(value_parser = Ownership::parse)]
    ownership: Ownership,
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Change everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Number(u32),
    /// Nobody on this machine is called so.
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ownership {
    owner: Option<Owner>,
    gid: Option<u32>,
}

impl Ownership {
    fn parse(text: &str) -> Result<Self, String> {
        let (owner, group) = text.split_once(':').unwrap_or((text, ""));
        if owner.is_empty() && group.is_empty() {
            return Err("write OWNER, OWNER:GROUP or :GROUP".to_owned());
        }
        let owner = match owner {
            "" => None,
            name => Some(uid(name).map_or_else(|_| Owner::Name(name.to_owned()), Owner::Number)),
        };
        let gid = if group.is_empty() { None } else { Some(gid(group)?) };
        Ok(Self { owner, gid })
    }

    /// The number of the owner, which the cluster may know where this machine does not.
    async fn uid(&self, client: &Client) -> Result<Option<u32>, Failure> {
        match &self.owner {
            None => Ok(None),
            Some(Owner::Number(uid)) => Ok(Some(*uid)),
            Some(Owner::Name(name)) => match client.user(name).await? {
                Some(found) => Ok(Some(found.user.uid)),
                None => {
                    Err(Failure::Usage(format!("no user {name:?} is known here or in the cluster; a number works too")))
                }
            },
        }
    }
}

pub(crate) async fn run(client: &Client, args: ChownArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let found = remote::expand_all(client, &args.paths, &mut failures).await?;
    let (uid, gid) = (args.ownership.uid(client).await?, args.ownership.gid);
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
        assert_eq!(Ownership::parse("root"), Ok(Ownership { owner: Some(Owner::Number(0)), gid: None }));
        assert_eq!(Ownership::parse("12:34"), Ok(Ownership { owner: Some(Owner::Number(12)), gid: Some(34) }));
        assert_eq!(Ownership::parse(":root"), Ok(Ownership { owner: None, gid: Some(0) }));
        assert!(Ownership::parse(":").is_err());
        let unknown = Owner::Name("no such user".to_owned());
        assert_eq!(Ownership::parse("no such user"), Ok(Ownership { owner: Some(unknown), gid: None }));
        assert!(Ownership::parse("root:no such group").is_err());
    }
}
