use types::InodeId;

use crate::command::Reply;
use crate::commands::end_session;
use crate::error::Error;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;
use crate::writer::OpenFile;

/// Gives up a file without a name.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId) -> Outcome<Reply> {
    let open = OpenFile::of_session(txn, inode)?;
    if open.has_name() {
        return Err(Error::AlreadyNamed { inode }.into());
    }
    end_session::abandon(txn, &open)?;
    Ok(Reply::Done)
}
