use types::{ByteSize, Timestamp};

use crate::command::{Destination, Layout, Ownership, Reply};
use crate::error::Error;
use crate::limits::MAX_INLINE;
use crate::row::Data;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, NewFile};
use crate::view::View;

/// A whole small file in one command.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    destination: &Destination,
    ownership: Ownership,
    layout: Layout,
    content: &[u8],
    mtime: Option<Timestamp>,
) -> Outcome<Reply> {
    let length = ByteSize::new(content.len() as u64);
    if length > MAX_INLINE {
        return Err(Error::InlineTooLarge { length, limit: MAX_INLINE }.into());
    }
    let new = NewFile {
        ownership,
        layout,
        mtime: mtime.unwrap_or(txn.now),
        writing: false,
        length,
        data: Data::Inline { content: content.to_vec(), next_block: None },
    };
    let mut row = tree::new_file(txn, new)?;
    tree::place_file(txn, destination, &mut row)?;
    Ok(Reply::Attributes { attributes: row.attributes(None) })
}
