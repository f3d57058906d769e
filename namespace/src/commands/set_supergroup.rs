use crate::command::Reply;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Names the group whose members may do what uid 0 may, or none.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, gid: Option<u32>) -> Outcome<Reply> {
    txn.caller.check_superuser(|| "the supergroup".to_owned())?;
    txn.set_supergroup(gid);
    Ok(Reply::Done)
}
