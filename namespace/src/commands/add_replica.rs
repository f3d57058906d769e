use types::{BlockId, GenStamp};

use crate::command::Reply;
use crate::error::Error;
use crate::replicas;
use crate::row::BlockLocation;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A copy was made and read back: it counts from here on.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    block: BlockId,
    generation: GenStamp,
    location: BlockLocation,
) -> Outcome<Reply> {
    let mut row = replicas::committed(txn, block, generation)?;
    if row.replicas.contains(&location) {
        return Ok(Reply::Done);
    }
    let mut listed = row.replicas.iter().chain(&row.bad).chain(&row.leaving);
    if listed.any(|other| other.storage == location.storage) {
        return Err(Error::ReplicaInTheWay { block, storage: location.storage }.into());
    }
    row.replicas.push(location);
    replicas::drop_bad_if_enough(txn, block, &mut row);
    txn.put_block(block, &row);
    Ok(Reply::Done)
}
