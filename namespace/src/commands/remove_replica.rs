use types::{BlockId, GenStamp, StorageId};

use crate::apply::Effect;
use crate::command::Reply;
use crate::error::Error;
use crate::replicas;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A replica is damaged, lost or one too many: it leaves, unless no good one would be left (invariant 6).
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    block: BlockId,
    generation: GenStamp,
    storage: StorageId,
) -> Outcome<Reply> {
    let mut row = replicas::committed(txn, block, generation)?;
    let taken = replicas::take(&mut row.replicas, storage).or_else(|| replicas::take(&mut row.bad, storage));
    let Some(location) = taken else { return Ok(Reply::Done) };
    if row.replicas.is_empty() {
        return Err(Error::LastReplica { block, storage }.into());
    }
    txn.give_up(block, &mut row, generation, [location]);
    txn.put_block(block, &row);
    if row.replicas.len() < usize::from(row.wanted) {
        txn.effect(Effect::ReplicationShort(block));
    }
    Ok(Reply::Done)
}
