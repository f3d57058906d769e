//! `ashlar fs getfacl` and `ashlar fs setfacl`

mod spec;

use client::{Attributes, Client, Kind};
use types::acl::{Acl, AclEntries, Permissions};

use self::spec::Spec;
use super::object::{group, user};
use super::remote::{self, RemotePath};
use super::walk::Visited;
use super::{Failures, walk};
use crate::exit::Failure;
use crate::output::{Output, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Go down into directories
    #[arg(short = 'R', long)]
    recursive: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// Entries to set: u:NAME:rwx, g:NAME:rx, u::rwx, g::rx, m::rx, o::-, with d: in front for the default list; several
    /// with commas between them
    #[arg(
        short,
        long,
        value_name = "ENTRIES",
        value_parser = Spec::modify,
        required_unless_present_any = ["remove", "remove_all", "remove_default"]
    )]
    modify: Option<Spec>,
    /// Entries to take away: u:NAME, g:NAME, m, with d: in front for the default list
    #[arg(short = 'x', long, value_name = "ENTRIES", value_parser = Spec::remove)]
    remove: Option<Spec>,
    /// Take both lists away; owner, group and others keep what they have
    #[arg(short = 'b', long)]
    remove_all: bool,
    /// Take the default list away
    #[arg(short = 'k', long)]
    remove_default: bool,
    /// Have all entries mean the default list of directories
    #[arg(short, long)]
    default: bool,
    /// Change everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
}

pub(crate) async fn get(client: &Client, args: GetArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut out = Output::stdout();
    let found = remote::expand_all(client, &args.paths, &mut failures).await?;
    let print = async |visited: &Visited| {
        if visited.attributes.kind == Kind::Symlink {
            return Err(Failure::Failed(format!("{}: a symbolic link has no access control list", visited.path)));
        }
        let acl = client.acl(visited.place.clone()).await?;
        let default = match visited.attributes.default_acl {
            true => client.default_acl(visited.place.clone()).await?,
            false => None,
        };
        let path = shown(&visited.path.to_bytes(), out.is_terminal());
        out.line([b"# file: ".to_vec(), path].concat())?;
        listing(&visited.attributes, &acl, default.as_ref()).iter().try_for_each(|line| out.line(line))
    };
    walk::each(client, found, args.recursive, &mut failures, print).await?;
    out.flush()?;
    failures.result()
}

/// In the form of getfacl(1), behind its first line.
fn listing(attributes: &Attributes, acl: &Acl, default: Option<&Acl>) -> Vec<String> {
    let mut lines = vec![format!("# owner: {}", user(attributes.uid)), format!("# group: {}", group(attributes.gid))];
    if attributes.mode & 0o7000 != 0 {
        let flag = |bit, letter| if attributes.mode & bit == 0 { '-' } else { letter };
        lines.push(format!("# flags: {}{}{}", flag(0o4000, 's'), flag(0o2000, 's'), flag(0o1000, 't')));
    }
    lines.extend(entries(acl));
    lines.extend(default.into_iter().flat_map(entries).map(|entry| format!("default:{entry}")));
    lines.push(String::new());
    lines
}

fn entries(acl: &Acl) -> Vec<String> {
    let mask = acl.mask().unwrap_or(Permissions::ALL);
    // What the mask takes away is said beside it.
    let masked = |entry: String, permissions: Permissions| match mask.contain(permissions) {
        true => format!("{entry}:{permissions}"),
        false => format!("{entry}:{permissions}\t#effective:{}", permissions.and(mask)),
    };
    let mut lines = vec![format!("user::{}", acl.owner())];
    lines.extend(acl.users().iter().map(|named| masked(format!("user:{}", user(named.id)), named.permissions)));
    lines.push(masked("group:".to_owned(), acl.group()));
    lines.extend(acl.groups().iter().map(|named| masked(format!("group:{}", group(named.id)), named.permissions)));
    lines.extend(acl.mask().map(|mask| format!("mask::{mask}")));
    lines.push(format!("other::{}", acl.others()));
    lines
}

pub(crate) async fn set(client: &Client, args: SetArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let found = remote::expand_all(client, &args.paths, &mut failures).await?;
    let change = async |visited: &Visited| set_one(client, &args, visited).await;
    walk::each(client, found, args.recursive, &mut failures, change).await?;
    failures.result()
}

async fn set_one(client: &Client, args: &SetArgs, visited: &Visited) -> Result<(), Failure> {
    let (place, attributes) = (&visited.place, &visited.attributes);
    let directory = attributes.is_directory();
    let wanted = |default: bool| {
        let of = |spec: &Option<Spec>| spec.as_ref().map(|spec| spec.of(args.default, default)).unwrap_or_default();
        (of(&args.modify), of(&args.remove))
    };
    let (access, default) = (wanted(false), wanted(true));
    let changes_default = !(default.0.is_empty() && default.1.is_empty());
    if changes_default && !directory && !args.recursive {
        return Err(Failure::Failed(format!("{}: only a directory has a default list", visited.path)));
    }
    let senseless = |reason| Failure::Failed(format!("{}: the list would make no sense: {reason}", visited.path));
    let before = client.acl(place.clone()).await?;
    let mut acl = before.clone();
    if args.remove_all {
        acl = base(&acl).build().map_err(senseless)?;
    }
    acl = spec::changed(acl.into_entries(), &access.0, &access.1, directory).map_err(senseless)?;
    if acl != before {
        client.set_acl(place.clone(), &acl).await?;
    }
    if !directory {
        return Ok(());
    }
    let kept = match attributes.default_acl && !(args.remove_all || args.remove_default) {
        true => client.default_acl(place.clone()).await?,
        false => None,
    };
    if changes_default {
        // What a default list does not say is taken from the list beside it.
        let entries = kept.map_or_else(|| base(&acl), Acl::into_entries);
        let list = spec::changed(entries, &default.0, &default.1, true).map_err(senseless)?;
        client.set_default_acl(place.clone(), Some(&list)).await?;
    } else if attributes.default_acl && kept.is_none() {
        client.set_default_acl(place.clone(), None).await?;
    }
    Ok(())
}

/// Owner, group and others alone.
fn base(acl: &Acl) -> AclEntries {
    let (owner, group, others) = (Some(acl.owner()), Some(acl.group()), Some(acl.others()));
    AclEntries { owner, group, others, ..AclEntries::default() }
}
