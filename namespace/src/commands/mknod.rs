use crate::command::{Ownership, Reply, Where};
use crate::error::Error;
use crate::resolve;
use crate::row::{Body, InodeRow, Kind, SpecialBody};
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// A fifo, a socket, or a device, which only the superuser makes: it opens what the kernel of some host has.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    kind: Kind,
    ownership: Ownership,
    device: u64,
) -> Outcome<Reply> {
    match kind {
        Kind::Fifo | Kind::Socket if device == 0 => {}
        Kind::CharDevice | Kind::BlockDevice => txn.caller.check_superuser(|| resolve::show(place))?,
        Kind::File | Kind::Directory | Kind::Symlink | Kind::Fifo | Kind::Socket => {
            return Err(Error::BadKind { kind }.into());
        }
    }
    tree::check_mode(ownership.mode)?;
    let ownership = txn.caller.ownership(ownership);
    let (inode, now) = (txn.next_inode(), txn.now);
    let body = Body::Special(SpecialBody { mtime: now, ctime: now, kind, device });
    let mut row = InodeRow::new(inode, ownership, now, body);
    tree::add_one(txn, place, &mut row)?;
    Ok(Reply::Attributes { attributes: row.attributes(None) })
}
