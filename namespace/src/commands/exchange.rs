use crate::command::{Reply, Where};
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, first: &Where, second: &Where) -> Outcome<Reply> {
    tree::exchange(txn, first, second)?;
    Ok(Reply::Done)
}
