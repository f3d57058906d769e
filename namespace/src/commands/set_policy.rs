use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::policy::{self, Policy, PolicyRow, PolicyValue};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Sets a value for the whole cluster, or leaves it to the configuration of the leader again.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, policy: Policy, value: Option<u64>) -> Outcome<Reply> {
    txn.caller.check_superuser(|| policy.name().to_owned())?;
    let mut values = policy::all(&txn.rows)?;
    match value {
        Some(value) => {
            let wrong = |reason| Error::BadPolicy { policy: policy.name().to_owned(), reason };
            policy.check(value).map_err(wrong)?;
            values.insert(policy, value);
        }
        None => {
            values.remove(&policy);
        }
    }
    let values = values.into_iter().map(|(policy, value)| PolicyValue { policy, value });
    txn.put(key::POLICY.to_vec(), &PolicyRow { values: values.collect() });
    Ok(Reply::Done)
}
