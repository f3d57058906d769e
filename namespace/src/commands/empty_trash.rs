use types::TrashId;

use crate::command::Reply;
use crate::transaction::{Outcome, Transaction};
use crate::trash;
use crate::view::View;

pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    uid: u32,
    item: Option<TrashId>,
    limit: u32,
) -> Outcome<Reply> {
    Ok(Reply::Emptied { more: trash::empty(txn, uid, item, limit)? })
}
