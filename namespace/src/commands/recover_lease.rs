use crate::access::Right;
use crate::command::{Holder, Reply, Where};
use crate::resolve;
use crate::row::Body;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::{self, OpenFile};

/// Takes a file from its writer. One that nobody writes is as it should be already.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    force: bool,
    holder: Option<Holder>,
) -> Outcome<Reply> {
    let (_, row) = resolve::find(&txn.rows, txn.caller, place)?;
    let shown = || resolve::show(place);
    let Body::File(file) = &row.body else { return Err(resolve::not_a_file(place, &row)?.into()) };
    txn.caller.check(&row, Right::Write, shown)?;
    let lease = if file.writing { txn.rows.lease(row.inode)? } else { None };
    let Some(lease) = lease else { return Ok(Reply::Lease { recovering: false }) };
    if lease.is_recovering() {
        return Ok(Reply::Lease { recovering: true });
    }
    if force {
        txn.caller.check_owner(&row, shown)?;
    } else {
        writer::check_soft_limit(txn, place, &lease, holder)?;
    }
    let open = OpenFile::load(txn, row.inode, lease)?;
    Ok(Reply::Lease { recovering: open.take_over(txn)? })
}
