use types::{BlockId, GenStamp, StorageId};

use crate::apply::Effect;
use crate::command::Reply;
use crate::replicas;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A replica is damaged: it is neither read nor counted any more. It stays where it is until enough good ones exist;
/// even the last one is marked, since it cannot be read, and then stays for good.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    block: BlockId,
    generation: GenStamp,
    storage: StorageId,
) -> Outcome<Reply> {
    let mut row = replicas::committed(txn, block, generation)?;
    let Some(location) = replicas::take(&mut row.replicas, storage) else { return Ok(Reply::Done) };
    row.bad.push(location);
    replicas::drop_bad_if_enough(txn, block, &mut row);
    txn.put_block(block, &row);
    if row.replicas.len() < usize::from(row.wanted) {
        txn.effect(Effect::ReplicationShort(block));
    }
    Ok(Reply::Done)
}
