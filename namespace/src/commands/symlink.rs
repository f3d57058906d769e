use crate::command::{Ownership, Reply, Where};
use crate::error::Error;
use crate::limits::MAX_TARGET;
use crate::row::{Body, InodeRow, SymlinkBody};
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// The mode of every symbolic link: what it leads to decides.
const MODE: u32 = 0o777;

/// A name that stands for a path, which nobody looks into here.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    target: &[u8],
    ownership: Ownership,
) -> Outcome<Reply> {
    if !(1..=MAX_TARGET).contains(&target.len()) || target.contains(&0) {
        return Err(Error::BadTarget { length: target.len() as u64, limit: MAX_TARGET as u64 }.into());
    }
    let ownership = txn.caller.ownership(Ownership { mode: MODE, umask: None, ..ownership });
    let (inode, now) = (txn.next_inode(), txn.now);
    let body = Body::Symlink(SymlinkBody { mtime: now, ctime: now, target: target.to_vec() });
    let mut row = InodeRow::new(inode, ownership, now, body);
    tree::add_one(txn, place, &mut row)?;
    Ok(Reply::Attributes { attributes: row.attributes(None) })
}
