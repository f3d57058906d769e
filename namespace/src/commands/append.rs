use types::ByteSize;

use crate::access::Right;
use crate::command::{Holder, Reply, Where};
use crate::error::Error;
use crate::key;
use crate::resolve;
use crate::row::{Body, Data, LeaseRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::{self, OpenFile};

/// Opens a file at its end. What is appended goes into new blocks: those that are there stay as they are.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, holder: Option<Holder>) -> Outcome<Reply> {
    let session = txn.need_session()?;
    let (_, row) = resolve::find(&txn.rows, txn.caller, place)?;
    let shown = || resolve::show(place);
    let (inode, Body::File(file)) = (row.inode, &row.body) else {
        return Err(resolve::not_a_file(place, &row)?.into());
    };
    txn.caller.check(&row, Right::Write, shown)?;
    if let Data::Inline { content, .. } = &file.data
        && content.len() as u64 > file.block_size.get()
    {
        let (length, block_size) = (ByteSize::new(content.len() as u64), file.block_size);
        return Err(Error::InlineBeyondBlock { place: shown(), length, block_size }.into());
    }
    let lease = if file.writing { txn.rows.lease(inode)? } else { None };
    if let Some(lease) = lease {
        if lease.is_recovering() {
            return Ok(Reply::Lease { recovering: true });
        }
        writer::check_soft_limit(txn, place, &lease, holder)?;
        if OpenFile::load(txn, inode, lease)?.take_over(txn)? {
            return Ok(Reply::Lease { recovering: true });
        }
    }
    let mut open = OpenFile::load(txn, inode, LeaseRow::new(session))?;
    open.row.need_file_mut()?.writing = true;
    let attributes = open.row.attributes(None);
    txn.mark(key::open_file(session, inode));
    open.save(txn)?;
    Ok(Reply::Created { attributes, block: None })
}
