use crate::command::{Reply, Where, XattrMode};
use crate::home::Home;
use crate::key;
use crate::resolve;
use crate::row::{Body, DirectoryRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};
use crate::xattr;

pub(crate) fn set<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    name: &[u8],
    value: &[u8],
    mode: XattrMode,
) -> Outcome<Reply> {
    let (home, mut row) = resolve::find_inode(&txn.rows, txn.caller, place)?;
    xattr::set(txn, &mut row, name, value, mode, || resolve::show(place))?;
    save(txn, &home, row)?;
    Ok(Reply::Done)
}

pub(crate) fn remove<V: View>(txn: &mut Transaction<'_, V>, place: &Where, name: &[u8]) -> Outcome<Reply> {
    let (home, mut row) = resolve::find_inode(&txn.rows, txn.caller, place)?;
    xattr::remove(txn, &mut row, name, || resolve::show(place))?;
    save(txn, &home, row)?;
    Ok(Reply::Done)
}

pub(super) fn save<V: View>(txn: &mut Transaction<'_, V>, home: &Home, mut row: InodeRow) -> Result<(), ViewError> {
    match &row.body {
        Body::File(_) | Body::Symlink(_) | Body::Special(_) => row.set_ctime(txn.now),
        Body::Directory => {
            let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
            directory.ctime = txn.now;
            txn.put_directory(row.inode, &directory);
        }
    }
    home.put(txn, &row);
    Ok(())
}
