use types::TrashId;

use crate::command::{Reply, Where};
use crate::key;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::trash;
use crate::view::View;

pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    item: (u32, TrashId),
    to: Option<&Where>,
    parents: bool,
) -> Outcome<Reply> {
    let row = trash::restore(txn, item, to, parents)?;
    let directory = match row.body {
        Body::Directory => Some(txn.rows.need::<DirectoryRow>(&key::directory(row.inode))?),
        Body::File(_) | Body::Symlink(_) | Body::Special(_) => None,
    };
    Ok(Reply::Attributes { attributes: row.attributes(directory.as_ref()) })
}
