use std::time::Duration;

use types::Timestamp;

use crate::command::{Reply, Unlisted};
use crate::row::{BlockLocation, BlockState};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};

/// Replicas that a disk has and no block lists there leave it. Each is looked at anew: what was listed, or is needed,
/// meanwhile is left alone.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    location: BlockLocation,
    replicas: &[Unlisted],
    grace_nanos: u64,
) -> Outcome<Reply> {
    let due = txn.now.saturating_add(Duration::from_nanos(grace_nanos));
    for replica in replicas {
        drop_one(txn, location, *replica, due)?;
    }
    Ok(Reply::Done)
}

fn drop_one<V: View>(
    txn: &mut Transaction<'_, V>,
    location: BlockLocation,
    Unlisted { block, generation }: Unlisted,
    due: Timestamp,
) -> Result<(), ViewError> {
    let Some(mut row) = txn.rows.block(block)? else {
        // Ids are handed out once (invariant 8): a block of a known inode that has no row is gone for good. One of an
        // inode that was never handed out is of a state that this one knows nothing of.
        if block.inode() < txn.system.next_inode {
            txn.schedule_removal(location, block, generation, due);
        }
        return Ok(());
    };
    let mut listed = row.replicas.iter().chain(&row.bad).chain(&row.leaving);
    let is_listed = listed.any(|other| other.storage == location.storage);
    let enough = !row.replicas.is_empty() && row.replicas.len() >= usize::from(row.wanted);
    if row.state == BlockState::Committed && !is_listed && enough && generation <= row.generation {
        txn.give_up(block, &mut row, generation, [location]);
        txn.put_block(block, &row);
    }
    Ok(())
}
