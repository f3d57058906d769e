use crate::command::Reply;
use crate::pending;
use crate::row::BlockLocation;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// Allocates blocks in advance.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, wanted: u8, chains: &[Vec<BlockLocation>]) -> Outcome<Reply> {
    tree::check_replication(wanted)?;
    Ok(Reply::Blocks { blocks: pending::allocate(txn, wanted, chains)? })
}
