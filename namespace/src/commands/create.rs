use types::ByteSize;

use crate::command::{Destination, Layout, Ownership, Reply};
use crate::home::Home;
use crate::key;
use crate::row::{BlockLocation, Data};
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, NewFile};
use crate::view::View;
use crate::writer::OpenFile;

/// A new file under the session's lease: in its place at once, or without a name until it is complete.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    destination: Option<&Destination>,
    ownership: Ownership,
    layout: Layout,
    targets: &[BlockLocation],
) -> Outcome<Reply> {
    let session = txn.need_session()?;
    let new = NewFile {
        ownership,
        layout,
        mtime: txn.now,
        writing: true,
        length: ByteSize::ZERO,
        data: Data::Blocks { next_block: 0, extents: 0 },
    };
    let mut row = tree::new_file(txn, new)?;
    row.names = destination.is_none().then_some(0);
    let inode = row.inode;
    let mut open = OpenFile::create(row, session)?;
    if let Some(destination) = destination {
        open.home = Home::Entry(tree::place_file(txn, destination, &mut open.row)?);
    }
    let block = if targets.is_empty() { None } else { Some(open.begin_block(txn, targets)?) };
    let attributes = open.row.attributes(None);
    txn.mark(key::open_file(session, inode));
    open.save(txn)?;
    Ok(Reply::Created { attributes, block })
}
