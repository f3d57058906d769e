use types::ByteSize;

use crate::access::Right;
use crate::command::{ClosedHandles, Destination, HandleRights, NewOpenFile, Reply, Where};
use crate::error::{Error, QueryError};
use crate::handles;
use crate::limits::MAX_CLOSED;
use crate::resolve;
use crate::row::{Body, Data};
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, NewFile};
use crate::view::View;

/// Opens a file, or makes it first if that is asked for and it is not there. Who makes a file has it open whatever its
/// mode says.
pub(crate) fn open<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    rights: HandleRights,
    create: Option<NewOpenFile>,
) -> Outcome<Reply> {
    let session = txn.need_session()?;
    let found = match resolve::find_inode(&txn.rows, txn.caller, place) {
        Err(QueryError::Refused(Error::NotFound { .. })) if create.is_some() => None,
        found => Some(found?.1),
    };
    let row = match (found, create) {
        (Some(_), Some(NewOpenFile { exclusive: true, .. })) => {
            return Err(Error::Exists { place: resolve::show(place) }.into());
        }
        (Some(row), _) => {
            let shown = || resolve::show(place);
            let file = match &row.body {
                Body::File(file) => file,
                Body::Directory | Body::Symlink(_) | Body::Special(_) => {
                    return Err(resolve::not_a_file(place, &row)?.into());
                }
            };
            // One that never had a name is its writer's alone.
            if row.links() == 0 && file.writing {
                return Err(Error::NotFound { place: shown() }.into());
            }
            let asked = |asked: bool, right: Right| if asked { right.bit() } else { 0 };
            let mask = asked(rights.read, Right::Read) | asked(rights.write, Right::Write);
            txn.caller.check_all(&row, mask, shown)?;
            row
        }
        (None, Some(NewOpenFile { ownership, layout, .. })) => {
            let data = Data::Inline { content: Vec::new(), next_block: None };
            let new = NewFile { ownership, layout, mtime: txn.now, writing: false, length: ByteSize::ZERO, data };
            let mut row = tree::new_file(txn, new)?;
            let destination = Destination { place: place.clone(), overwrite: false, parents: false };
            tree::place_file(txn, &destination, &mut row)?;
            row
        }
        (None, None) => return Err(Error::NotFound { place: resolve::show(place) }.into()),
    };
    handles::open(txn, session, row.inode)?;
    Ok(Reply::Attributes { attributes: row.attributes(None) })
}

/// Closes handles of the session, all of them or none.
pub(crate) fn close<V: View>(txn: &mut Transaction<'_, V>, closed: &[ClosedHandles]) -> Outcome<Reply> {
    let session = txn.need_session()?;
    if closed.len() > MAX_CLOSED {
        return Err(Error::TooManyClosed { limit: MAX_CLOSED as u32 }.into());
    }
    closed.iter().try_for_each(|closed| handles::close(txn, session, *closed))?;
    Ok(Reply::Done)
}
