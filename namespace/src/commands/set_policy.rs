use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::limits::MAX_JOB_TEXT;
use crate::policy::{self, Policy, PolicyRow, PolicyValue};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Sets a value for the whole cluster, or leaves it to the configuration of the leader again.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    policy: Policy,
    value: Option<u64>,
    by: Option<&str>,
) -> Outcome<Reply> {
    txn.caller.check_superuser(|| policy.name().to_owned())?;
    let mut values = policy::set(&txn.rows)?;
    let at = values.binary_search_by_key(&policy, |known| known.policy);
    match (value, at) {
        (Some(value), at) => {
            let wrong = |reason| Error::BadPolicy { policy: policy.name().to_owned(), reason };
            policy.check(value).map_err(wrong)?;
            let by = by.map(|by| by[..by.floor_char_boundary(MAX_JOB_TEXT)].to_owned());
            let new = PolicyValue { policy, value, since: Some(txn.now), by };
            match at {
                // Said again: it holds since it was said first.
                Ok(at) if values[at].value == value => {}
                Ok(at) => values[at] = new,
                Err(at) => values.insert(at, new),
            }
        }
        (None, Ok(at)) => drop(values.remove(at)),
        (None, Err(_)) => {}
    }
    txn.put(key::POLICY.to_vec(), &PolicyRow { values });
    Ok(Reply::Done)
}
