use types::InodeId;

use crate::access::Right;
use crate::command::{NotedRead, Reply, Where};
use crate::error::{Error, QueryError};
use crate::limits::MAX_NOTED;
use crate::resolve;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Notes when things were read.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, reads: &[NotedRead]) -> Outcome<Reply> {
    if reads.len() > MAX_NOTED {
        return Err(Error::TooManyNoted { limit: MAX_NOTED as u32 }.into());
    }
    for NotedRead { inode, at } in reads {
        let (home, mut row) = match resolve::find_inode(&txn.rows, txn.caller, &place(*inode)) {
            Err(QueryError::Refused(_)) => continue,
            found => found?,
        };
        let at = (*at).min(txn.now);
        if row.atime < at && txn.caller.check(&row, Right::Read, String::new).is_ok() {
            row.atime = at;
            home.put(txn, &row);
        }
    }
    Ok(Reply::Done)
}

fn place(inode: InodeId) -> Where {
    Where { base: inode, path: Vec::new() }
}
