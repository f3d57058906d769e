use types::{ByteSize, InodeId};

use crate::command::{BlockDone, NewPart, PartContent, Reply, Source, UploadName};
use crate::commands::complete;
use crate::error::Error;
use crate::key;
use crate::limits::{MAX_PARTS, MAX_XATTR_VALUE};
use crate::row::{Data, Wanted};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::upload::{self, PartRow};
use crate::view::View;
use crate::writer::OpenFile;
use crate::xattr;

/// What a part holds.
struct Held {
    inode: InodeId,
    length: ByteSize,
    extents: u64,
    wanted: Wanted,
}

/// Adds a part to an upload, in place of one with the same number.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    name: &UploadName,
    number: u16,
    part: &NewPart,
) -> Outcome<Reply> {
    let (bucket, key, _) = upload::find(&txn.rows, txn.caller, name)?;
    upload::check_put(&txn.rows, txn.caller, &bucket, &key)?;
    if !(1..=MAX_PARTS).contains(&number) {
        return Err(Error::BadPartNumber { number, limit: MAX_PARTS }.into());
    }
    if part.properties.len() > MAX_XATTR_VALUE {
        let (place, name, limit) = (key.show(), "properties".to_owned(), MAX_XATTR_VALUE as u64);
        return Err(Error::XattrTooLarge { place, name, limit }.into());
    }
    let held = match &part.content {
        PartContent::Written { inode, last, min_replicas } => written(txn, *inode, last.as_ref(), *min_replicas)?,
        PartContent::Shared { source, offset, length, replication, spread } => {
            let wanted = Wanted { replicas: *replication, spread: *spread };
            shared(txn, source, (*offset, *length), wanted)?
        }
    };
    let part_key = key::part(name.id, number);
    if let Some(former) = txn.rows.row::<PartRow>(&part_key)? {
        upload::free(txn, &former);
    }
    let Held { inode, length, extents, wanted } = held;
    let Wanted { replicas: replication, spread } = wanted;
    let (modified, etag, properties) = (txn.now, part.etag.clone(), part.properties.clone());
    txn.put(part_key, &PartRow { inode, length, extents, replication, modified, etag, properties, spread });
    Ok(Reply::Part { inode, length, modified })
}

/// The content of a file without a name, which is no file any more.
fn written<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    last: Option<&BlockDone>,
    min_replicas: u8,
) -> Outcome<Held> {
    let mut open = OpenFile::of_session(txn, inode)?;
    complete::finish_content(txn, &mut open, last, min_replicas)?;
    if open.has_name() {
        return Err(Error::AlreadyNamed { inode }.into());
    }
    txn.remove(key::shared(inode));
    txn.remove_lease(inode, open.lease.session);
    xattr::drop_all(txn, &open.row);
    let file = open.row.need_file()?;
    match &file.data {
        Data::Blocks { extents, .. } => {
            Ok(Held { inode, length: file.length, extents: *extents, wanted: file.wanted() })
        }
        Data::Inline { content, .. } => {
            let length = ByteSize::new(content.len() as u64);
            Err(Error::InlineInTheWay { inode, length }.into())
        }
    }
}

/// A range of an object, whose blocks are shared.
fn shared<V: View>(
    txn: &mut Transaction<'_, V>,
    source: &Source,
    (offset, length): (u64, u64),
    wanted: Wanted,
) -> Outcome<Held> {
    tree::check_replication(wanted.replicas)?;
    let (_, row) = upload::source(txn, source)?;
    let file = row.need_file()?;
    if let Data::Inline { content, .. } = &file.data {
        let length = ByteSize::new(content.len() as u64);
        return Err(Error::InlineInTheWay { inode: row.inode, length }.into());
    }
    let end = offset.checked_add(length).filter(|end| *end <= file.length.get());
    let end = end.ok_or_else(|| Error::SourceChanged { place: row.inode.to_string() })?;
    let inode = txn.next_inode();
    let extents = upload::share(txn, row.inode, (offset, end), inode, wanted)?;
    Ok(Held { inode, length: ByteSize::new(length), extents, wanted })
}
