use types::{BlockId, GenStamp, StorageId};

use crate::command::Reply;
use crate::error::Error;
use crate::replicas;
use crate::row::BlockLocation;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A copy was made in place of another replica: that one goes, unless the block needs it by now.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    block: BlockId,
    generation: GenStamp,
    source: StorageId,
    target: BlockLocation,
) -> Outcome<Reply> {
    let mut row = replicas::committed(txn, block, generation)?;
    if !row.replicas.contains(&target) {
        let mut listed = row.replicas.iter().chain(&row.bad).chain(&row.leaving);
        if listed.any(|other| other.storage == target.storage) {
            return Err(Error::ReplicaInTheWay { block, storage: target.storage }.into());
        }
        row.replicas.push(target);
    }
    if row.replicas.len() > usize::from(row.wanted)
        && source != target.storage
        && let Some(location) = replicas::take(&mut row.replicas, source)
    {
        txn.give_up(block, &mut row, generation, [location]);
    }
    replicas::drop_bad_if_enough(txn, block, &mut row);
    txn.put_block(block, &row);
    Ok(Reply::Done)
}
