use types::NodeId;

use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::limits::{MAX_STORAGES, MAX_TEXT};
use crate::query;
use crate::row::NodeRow;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A datanode came up, moved or got other disks. Its disks say which one it is, before the id that it names.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, node: &NodeRow) -> Outcome<Reply> {
    check(node)?;
    let known = query::nodes(&txn.rows)?;
    let mut owners = known.iter().filter(|row| row.storages.iter().any(|storage| node.storages.contains(storage)));
    let by_id = known.iter().find(|row| row.id == node.id);
    let found = owners.next().or(by_id);
    let others = known.iter().filter(|row| Some(row.id) != found.map(|row| row.id));
    for owner in others {
        if let Some(storage) = owner.storages.iter().find(|storage| node.storages.contains(storage)) {
            return Err(Error::StorageTaken { storage: *storage, owner: owner.id }.into());
        }
    }
    let id = match (found, by_id) {
        // A machine with an id of its own shows a disk of another one.
        (Some(found), Some(by_id)) if found.id != by_id.id => {
            let storage = found.storages.iter().find(|storage| node.storages.contains(storage));
            let storage = *storage.expect("another node than the one named is found by a storage only");
            return Err(Error::StorageTaken { storage, owner: found.id }.into());
        }
        (Some(found), _) => found.id,
        (None, _) => {
            let id: NodeId = txn.system.next_node;
            txn.system.next_node = id.next();
            id
        }
    };
    let row = NodeRow { id, service: found.and_then(|row| row.service), ..node.clone() };
    if found != Some(&row) {
        txn.put(key::node(id), &row);
    }
    Ok(Reply::Node { node: id })
}

fn check(node: &NodeRow) -> Outcome<()> {
    let texts = [&node.host, &node.transfer, &node.rack];
    let distinct = |at: usize| !node.storages[..at].contains(&node.storages[at]);
    let count = node.storages.len();
    if (1..=MAX_STORAGES).contains(&count)
        && (0..count).all(distinct)
        && texts.iter().all(|text| text.len() <= MAX_TEXT)
    {
        return Ok(());
    }
    Err(Error::BadNode { storages: MAX_STORAGES as u32, text: MAX_TEXT as u32 }.into())
}
