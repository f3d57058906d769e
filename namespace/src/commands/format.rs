use types::{ClusterId, InodeId};

use crate::command::{Ownership, Reply};
use crate::error::Error;
use crate::resolve::Slot;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

const ROOT_MODE: u32 = 0o755;

/// Gives the cluster its id and its root directory. The same id again changes nothing.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    cluster: ClusterId,
    owner: Option<(u32, u32)>,
) -> Outcome<Reply> {
    match txn.system.cluster {
        Some(there) if there == cluster => return Ok(Reply::Done),
        Some(there) => return Err(Error::AlreadyFormatted { cluster: there }.into()),
        None => txn.system.cluster = Some(cluster),
    }
    let (uid, gid) = owner.unwrap_or((0, 0));
    let root = tree::add_directory(txn, &Slot::root(), Ownership { uid, gid, mode: ROOT_MODE, umask: None })?;
    assert_eq!(root.inode, InodeId::ROOT, "the first inode is the root");
    Ok(Reply::Done)
}
