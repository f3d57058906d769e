use crate::command::{Reply, Where};
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// One more name for what is no directory.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, from: &Where, to: &Where) -> Outcome<Reply> {
    let row = tree::add_name(txn, from, to)?;
    Ok(Reply::Attributes { attributes: row.attributes(None) })
}
