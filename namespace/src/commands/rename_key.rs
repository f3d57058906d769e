use crate::bucket::{self, Key};
use crate::command::{KeyRename, Reply};
use crate::error::Error;
use crate::row::{Body, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Move};
use crate::view::View;

/// Moves the object at a key to another of the same bucket, in place of one that is there: parents are made, and implicit
/// directories that it leaves empty go, in one step. The object keeps its inode and all that belongs to it.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, rename: &KeyRename) -> Outcome<Reply> {
    let KeyRename { bucket: name, from, to, from_condition, to_condition } = rename;
    let bucket = bucket::open(&txn.rows, txn.caller, name)?;
    let (from, to) = (Key::parse(name, from)?, Key::parse(name, to)?);
    for key in [&from, &to] {
        if key.is_directory {
            return Err(Error::IsDirectory { place: key.show() }.into());
        }
    }
    let Some((slot, row)) = bucket::lookup(&txn.rows, txn.caller, &bucket, &from)? else {
        return Err(Error::NotFound { place: from.show() }.into());
    };
    bucket::check(from_condition.as_ref(), Some(&row), &from)?;
    let there = bucket::lookup(&txn.rows, txn.caller, &bucket, &to)?.map(|(_, row)| row);
    bucket::check(to_condition.as_ref(), there.as_ref(), &to)?;
    if from.path == to.path {
        return Ok(Reply::Done);
    }
    let target = bucket::slot_of(txn, &bucket, &to, (row.uid, row.gid))?;
    let is_directory = |row: InodeRow| row.body == Body::Directory;
    if txn.rows.entry(target.directory, &target.name)?.is_some_and(is_directory) {
        return Err(Error::IsDirectory { place: to.show() }.into());
    }
    let (source, destination) = (from.place(&bucket), to.place(&bucket));
    if there.is_some_and(|there| there.inode == row.inode) {
        // Two names of one inode: what rename(2) leaves as it is, has one key less here.
        tree::check_remove(txn, &source, &slot, &row)?;
        tree::detach(txn, &source, &slot, &row, false)?;
    } else {
        tree::rename(txn, &Move { from: &source, to: &destination, overwrite: true })?;
    }
    bucket::prune(txn, bucket.inode, slot.directory)?;
    Ok(Reply::Done)
}
