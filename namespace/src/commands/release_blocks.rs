use types::BlockId;

use crate::command::Reply;
use crate::error::Error;
use crate::limits::MAX_PENDING;
use crate::pending;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Gives back blocks that were allocated in advance: all of them, or none.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, blocks: &[BlockId]) -> Outcome<Reply> {
    if blocks.len() > MAX_PENDING {
        let count = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
        return Err(Error::BadAllocation { count, limit: MAX_PENDING as u32 }.into());
    }
    for block in blocks {
        pending::release(txn, *block)?;
    }
    Ok(Reply::Done)
}
