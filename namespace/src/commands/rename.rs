use crate::command::Reply;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, Move};
use crate::view::View;

pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, request: &Move<'_>) -> Outcome<Reply> {
    tree::rename(txn, request)?;
    Ok(Reply::Done)
}
