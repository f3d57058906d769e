use std::collections::BTreeMap;

use types::{BlockId, InodeId, Timestamp};

use crate::access;
use crate::apply::Effect;
use crate::command::{AttrChange, Reply, TimeKind, Where};
use crate::error::Error;
use crate::home::Home;
use crate::key;
use crate::limits::MAX_BLOCKS_CHANGED;
use crate::resolve;
use crate::row::{self, BlockRow, BlockState, Body, DirectoryRow, ExtentRow, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Delta};
use crate::view::View;
use crate::xattr;

/// Changes attributes; what is absent stays.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, change: &AttrChange) -> Outcome<Reply> {
    let (home, mut row) = resolve::find_inode(&txn.rows, txn.caller, place)?;
    txn.caller.check_attributes(&row, change, || resolve::show(place))?;
    let (atime, mtime) = times(change, txn.now);
    // As if the owner were given first: a mode given with it holds.
    if (change.uid.is_some() || change.gid.is_some()) && row.body != Body::Directory {
        row.mode = access::without_privileges(row.mode);
        xattr::drop_capabilities(txn, &mut row);
    }
    row.uid = change.uid.unwrap_or(row.uid);
    row.gid = change.gid.unwrap_or(row.gid);
    if let Some(mode) = change.mode {
        tree::check_mode(mode)?;
        row.mode = txn.caller.settable(mode, row.gid);
        row.withheld = None;
        if let Some(acl) = &mut row.acl {
            acl.set_mode(mode);
        }
    }
    row.atime = atime.unwrap_or(row.atime);
    let attributes = match row.body {
        Body::Directory => {
            if change.replication.is_some() {
                return Err(Error::IsDirectory { place: resolve::show(place) }.into());
            }
            let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
            directory.mtime = mtime.unwrap_or(directory.mtime);
            directory.ctime = txn.now;
            txn.put_directory(row.inode, &directory);
            row.attributes(Some(&directory))
        }
        Body::File(_) | Body::Symlink(_) | Body::Special(_) => {
            if matches!(row.body, Body::Symlink(_)) && change.mode.is_some() {
                return Err(Error::NotAFile { place: resolve::show(place) }.into());
            }
            if let Some((kept, ctime)) = row.times_mut() {
                *kept = mtime.unwrap_or(*kept);
                *ctime = txn.now;
            }
            if let Some(replication) = change.replication {
                change_replication(txn, place, &home, &mut row, replication)?;
            }
            row.attributes(None)
        }
    };
    home.put(txn, &row);
    Ok(Reply::Attributes { attributes })
}

/// Access and modification times as the change wants them.
fn times(change: &AttrChange, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    let present = |kind| (change.touch || change.present == Some(kind)).then_some(now);
    (change.atime.or(present(TimeKind::Access)), change.mtime.or(present(TimeKind::Modification)))
}

fn change_replication<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    home: &Home,
    row: &mut InodeRow,
    replication: u8,
) -> Outcome<()> {
    let inode = row.inode;
    let Body::File(file) = &mut row.body else { return Err(Error::NotAFile { place: resolve::show(place) }.into()) };
    if file.replication == replication {
        return Ok(());
    }
    tree::check_replication(replication)?;
    let before = Delta::file(file);
    file.replication = replication;
    let delta = Delta::between(before, Delta::file(file));
    for (block, held) in held(txn, inode, || resolve::show(place))? {
        let mut row: BlockRow = txn.rows.need(&key::block(block))?;
        // What another file holds a part of is not taken from that one.
        let shared = row.state == BlockState::Committed && row.live.get() > held;
        row.wanted = if shared { row.wanted.max(replication) } else { replication };
        txn.put_block(block, &row);
        if row.replicas.len() < usize::from(row.wanted) {
            txn.effect(Effect::ReplicationShort(block));
        }
    }
    if let Some(directory) = home.counted_in(&txn.rows, inode)? {
        tree::account_change(txn, directory, delta)?;
    }
    Ok(())
}

/// The blocks of a file, and how many bytes of each its extents hold.
fn held<V: View>(
    txn: &Transaction<'_, V>,
    inode: InodeId,
    place: impl FnOnce() -> String,
) -> Outcome<BTreeMap<BlockId, u64>> {
    let extents = txn.rows.page(&key::extents(inode), MAX_BLOCKS_CHANGED as usize + 1)?;
    if extents.len() > MAX_BLOCKS_CHANGED as usize {
        return Err(Error::TooManyBlocks { place: place(), limit: MAX_BLOCKS_CHANGED }.into());
    }
    let mut held = BTreeMap::new();
    for (key, value) in extents {
        let extent: ExtentRow = row::decode(&key, &value)?;
        *held.entry(extent.block).or_default() += extent.length.get();
    }
    Ok(held)
}
