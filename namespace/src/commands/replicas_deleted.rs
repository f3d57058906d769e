use types::StorageId;

use crate::command::{DeletedReplica, Reply};
use crate::key;
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// These replicas are gone from the disk: their storage may get copies of the blocks again (invariant 7).
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    storage: StorageId,
    deleted: &[DeletedReplica],
) -> Outcome<Reply> {
    for replica in deleted {
        let key = key::removal(storage, replica);
        if txn.rows.get(&key)?.is_none() {
            continue;
        }
        txn.remove(key);
        if let Some(mut row) = txn.rows.block(replica.block)? {
            row.leaving.retain(|location| location.storage != storage);
            txn.put_block(replica.block, &row);
        }
    }
    Ok(Reply::Done)
}
