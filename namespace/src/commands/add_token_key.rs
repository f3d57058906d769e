use types::Timestamp;
use types::token::Secret;

use crate::command::Reply;
use crate::key;
use crate::rows::Rows;
use crate::token_key::TokenKeysRow;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Adds a key of block tokens behind `after`. If another one is the newest by now, somebody else was faster: nothing changes.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    secret: &Secret,
    after: u32,
    unused_since: Timestamp,
) -> Outcome<Reply> {
    let mut row: TokenKeysRow = txn.rows.row(key::TOKEN_KEYS)?.unwrap_or_default();
    if row.newest() == after {
        row.add(secret.clone(), txn.now, unused_since);
        txn.put(key::TOKEN_KEYS.to_vec(), &row);
    }
    Ok(Reply::Done)
}
