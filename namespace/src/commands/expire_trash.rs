use crate::command::Reply;
use crate::transaction::{Outcome, Transaction};
use crate::trash;
use crate::view::View;

pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, limit: u32) -> Outcome<Reply> {
    Ok(Reply::Step { more: trash::expire(txn, limit)? })
}
