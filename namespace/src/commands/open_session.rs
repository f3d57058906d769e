use crate::command::Reply;
use crate::error::Error;
use crate::key;
use crate::limits::MAX_TEXT;
use crate::row::SessionRow;
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// A new session. A retry opens another one; the first is never used and expires.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, client: &str) -> Outcome<Reply> {
    if client.len() > MAX_TEXT {
        let length = u32::try_from(client.len()).unwrap_or(u32::MAX);
        return Err(Error::ClientNameTooLong { length, limit: MAX_TEXT as u32 }.into());
    }
    let session = txn.system.next_session;
    txn.system.next_session = session.next();
    txn.system.sessions += 1;
    let row = SessionRow { client: client.to_owned(), opened: txn.now, ending: false, locks: 0, open_files: 0 };
    txn.put(key::session(session), &row);
    Ok(Reply::Session { session })
}
