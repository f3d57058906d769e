//! What a directory says of the files that are made below it: how many copies, and over which racks.
//!
//! 1. The nearest directory above that says something decides, for each field by itself.
//! 2. It decides when a file is made. The file keeps what it was made with, wherever it is moved and whatever is said later.
//! 3. The system row counts the directories that say something: while there are none, nobody looks for one.

use minicbor::{Decode, Encode};
use types::InodeId;

use crate::access::{Caller, Right};
use crate::bucket::{self, Key};
use crate::command::Where;
use crate::error::{Error, QueryError};
use crate::placement;
use crate::resolve;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};

/// What is absent is left to the directories above, and at last to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct DirectoryPolicy {
    /// Wanted replicas of each block.
    #[n(0)]
    pub replication: Option<u8>,
    #[n(1)]
    pub spread: Option<placement::Policy>,
}

/// One field of a [`DirectoryPolicy`] as it is to be from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum DirectorySetting {
    #[n(0)]
    Replication {
        #[n(0)]
        count: Option<u8>,
    },
    #[n(1)]
    Spread {
        #[n(0)]
        rule: Option<placement::Policy>,
    },
}

/// What holds in a directory, and which directory says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inherited {
    pub replication: Option<(u8, InodeId)>,
    pub spread: Option<(placement::Policy, InodeId)>,
}

impl Inherited {
    pub fn policy(&self) -> DirectoryPolicy {
        DirectoryPolicy {
            replication: self.replication.map(|(count, _)| count),
            spread: self.spread.map(|(rule, _)| rule),
        }
    }
}

/// What holds in a directory, and the path of the directory that says so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InForce {
    pub replication: Option<(u8, Vec<u8>)>,
    pub spread: Option<(placement::Policy, Vec<u8>)>,
}

/// Where a file is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    Place(Where),
    Key { bucket: String, key: Vec<u8> },
}

/// What holds in a directory (invariant 1).
pub(crate) fn nearest(view: &impl View, directory: InodeId) -> Result<Inherited, ViewError> {
    let mut found = Inherited::default();
    let mut at = directory;
    while let Some(row) = view.directory(at)? {
        let DirectoryPolicy { replication, spread } = row.policy.unwrap_or_default();
        found.replication = found.replication.or(replication.map(|count| (count, at)));
        found.spread = found.spread.or(spread.map(|rule| (rule, at)));
        if found.replication.is_some() && found.spread.is_some() {
            break;
        }
        at = row.parent;
    }
    Ok(found)
}

/// What holds for files that are made in a directory.
pub fn in_force(view: &impl View, caller: Caller<'_>, place: &Where) -> Result<InForce, QueryError> {
    let (_, row) = resolve::find(view, caller, place)?;
    if row.body != Body::Directory {
        return Err(resolve::not_a_directory(place, resolve::count(place)?, &row).into());
    }
    let Inherited { replication, spread } = nearest(view, row.inode)?;
    let path = |directory| Ok::<_, ViewError>(resolve::path_to(view, directory)?.unwrap_or_default());
    Ok(InForce {
        replication: replication.map(|(count, from)| Ok::<_, ViewError>((count, path(from)?))).transpose()?,
        spread: spread.map(|(rule, from)| Ok::<_, ViewError>((rule, path(from)?))).transpose()?,
    })
}

/// What a file that is to be at `aim` inherits. Directories that are not there yet will say nothing. Whoever may not get to
/// the place is told nothing, and is refused by the command that makes the file. Refused here for a symbolic link on the way
/// only, so that the client looks where it leads.
pub fn of_new_file(view: &impl View, caller: Caller<'_>, aim: &Aim) -> Result<DirectoryPolicy, QueryError> {
    if view.system()?.is_none_or(|system| system.policies.is_none()) {
        return Ok(DirectoryPolicy::default());
    }
    match directory_of(view, caller, aim) {
        Ok(directory) => Ok(nearest(view, directory)?.policy()),
        Err(QueryError::Refused(error)) if !matches!(error, Error::SymlinkOnTheWay { .. }) => {
            Ok(DirectoryPolicy::default())
        }
        Err(error) => Err(error),
    }
}

/// The lowest directory on the way to a place that is there.
fn directory_of(view: &impl View, caller: Caller<'_>, aim: &Aim) -> Outcome<InodeId> {
    let (mut directory, path) = match aim {
        Aim::Place(place) => (resolve::base_directory(view, caller, place.base)?, resolve::parse(place)?),
        Aim::Key { bucket, key } => (bucket::open(view, caller, bucket)?.inode, Key::parse(bucket, key)?.path),
    };
    let parents = path.names().len().saturating_sub(1);
    for (at, name) in path.names()[..parents].iter().enumerate() {
        match (view.entry(directory, name.as_bytes())?, aim) {
            (Some(row), _) if row.body == Body::Directory => {
                caller.check(&row, Right::Search, || String::from_utf8_lossy(name.as_bytes()).into_owned())?;
                directory = row.inode;
            }
            (Some(row), Aim::Place(place)) => return Err(resolve::not_a_directory(place, at + 1, &row).into()),
            (Some(_), Aim::Key { .. }) | (None, _) => break,
        }
    }
    Ok(directory)
}

/// Has a directory say something else.
pub(crate) fn set<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    directory: &mut DirectoryRow,
    setting: DirectorySetting,
) {
    let before = directory.policy;
    let mut policy = before.unwrap_or_default();
    match setting {
        DirectorySetting::Replication { count } => policy.replication = count,
        DirectorySetting::Spread { rule } => policy.spread = rule,
    }
    directory.policy = (policy != DirectoryPolicy::default()).then_some(policy);
    directory.ctime = txn.now;
    txn.put_directory(inode, directory);
    match (before, directory.policy) {
        (None, Some(_)) => txn.system.policies = Some(txn.system.policies.unwrap_or(0) + 1),
        (Some(_), None) => count_one_less(txn),
        (None, None) | (Some(_), Some(_)) => {}
    }
}

/// A directory goes (invariant 3).
pub(crate) fn forget<V: View>(txn: &mut Transaction<'_, V>, directory: &DirectoryRow) {
    if directory.policy.is_some() {
        count_one_less(txn);
    }
}

fn count_one_less<V: View>(txn: &mut Transaction<'_, V>) {
    let left = txn.system.policies.and_then(|count| count.checked_sub(1)).expect("this one was counted");
    txn.system.policies = (left > 0).then_some(left);
}
