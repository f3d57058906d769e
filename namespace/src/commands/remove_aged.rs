use crate::ageing::{self, Aged};
use crate::command::Reply;
use crate::error::Error;
use crate::limits::MAX_STEP;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Removes what is still too old for the directory that it is in.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, aged: &[Aged]) -> Outcome<Reply> {
    if aged.len() > MAX_STEP as usize {
        return Err(Error::TooManyAged { count: aged.len() as u64, limit: MAX_STEP }.into());
    }
    aged.iter().try_for_each(|aged| ageing::remove(txn, aged))?;
    Ok(Reply::Done)
}
