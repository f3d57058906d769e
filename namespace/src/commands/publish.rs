use types::{ByteSize, InodeId};

use crate::bucket::{self, Key};
use crate::command::{Content, Layout, Ownership, Publication, Reply, Source};
use crate::commands::complete;
use crate::error::Error;
use crate::key;
use crate::limits::MAX_INLINE;
use crate::resolve::Slot;
use crate::row::{Body, Data, InodeRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, NewFile};
use crate::upload;
use crate::view::View;
use crate::writer::OpenFile;

/// Puts an object at its key: parents, condition, content and all that belongs to it in one step.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, publication: &Publication) -> Outcome<Reply> {
    let Publication { bucket: name, key, content, etag, properties, attributes, condition } = publication;
    let bucket = bucket::open(&txn.rows, txn.caller, name)?;
    let key = Key::parse(name, key)?;
    let found = bucket::lookup(&txn.rows, txn.caller, &bucket, &key)?;
    bucket::check(condition.as_ref(), found.as_ref().map(|(_, row)| row), &key)?;
    let mut row = match content {
        Content::Inline { ownership, layout, content } => {
            let length = ByteSize::new(content.len() as u64);
            if length > MAX_INLINE {
                return Err(Error::InlineTooLarge { length, limit: MAX_INLINE }.into());
            }
            let data = Data::Inline { content: content.clone(), next_block: None };
            let (ownership, layout, mtime) = (*ownership, *layout, txn.now);
            tree::new_file(txn, NewFile { ownership, layout, mtime, writing: false, length, data })?
        }
        Content::Written { inode, last, min_replicas } => {
            let mut open = OpenFile::of_session(txn, *inode)?;
            complete::finish_content(txn, &mut open, last.as_ref(), *min_replicas)?;
            unname(txn, open)?
        }
        Content::Copied { ownership, layout, source } => copy(txn, source, *ownership, *layout, &key)?,
        Content::Directory { ownership } => {
            let (slot, mut row) = directory(txn, &bucket, &key, *ownership)?;
            bucket::describe(txn, &mut row, None, properties, attributes, || key.show())?;
            txn.put_entry(slot.directory, &slot.name, &row);
            return object(row);
        }
    };
    if key.is_directory {
        return Err(Error::IsDirectory { place: key.show() }.into());
    }
    bucket::describe(txn, &mut row, etag.as_deref(), properties, attributes, || key.show())?;
    let slot = bucket::slot_of(txn, &bucket, &key, (row.uid, row.gid))?;
    tree::place_in_slot(txn, &key.place(&bucket), true, &slot, &mut row)?;
    object(row)
}

fn object(row: InodeRow) -> Outcome<Reply> {
    let etag = bucket::etag(&row)?;
    Ok(Reply::Object { attributes: row.attributes(None), etag })
}

/// A new file with the content of an object, about to get a name.
fn copy<V: View>(
    txn: &mut Transaction<'_, V>,
    source: &Source,
    ownership: Ownership,
    layout: Layout,
    key: &Key,
) -> Outcome<InodeRow> {
    let (_, from) = upload::source(txn, source)?;
    let file = from.need_file()?;
    let data = match &file.data {
        Data::Inline { content, .. } => Data::Inline { content: content.clone(), next_block: None },
        Data::Blocks { .. } => Data::Blocks { next_block: 0, extents: 0 },
    };
    let (mtime, length) = (txn.now, file.length);
    let mut row = tree::new_file(txn, NewFile { ownership, layout, mtime, writing: false, length, data })?;
    let inode = row.inode;
    if let Data::Blocks { extents, .. } = &mut row.need_file_mut()?.data {
        *extents = upload::share(txn, from.inode, (0, length.get()), inode, layout.wanted())?;
    }
    if bucket::is_as_given(&from)? {
        let list = upload::part_list(&txn.rows, &from)?;
        upload::put_part_list(txn, &mut row, &list, key)?;
    }
    Ok(row)
}

/// A written file that is about to get a name.
fn unname<V: View>(txn: &mut Transaction<'_, V>, open: OpenFile) -> Outcome<InodeRow> {
    let inode: InodeId = open.inode();
    if open.has_name() {
        return Err(Error::AlreadyNamed { inode }.into());
    }
    txn.remove(key::shared(inode));
    txn.remove_lease(inode, open.lease.session);
    Ok(InodeRow { names: None, ..open.row })
}

/// The object of a directory: the directory itself, which stays from now on.
fn directory<V: View>(
    txn: &mut Transaction<'_, V>,
    bucket: &bucket::BucketRow,
    key: &Key,
    ownership: Ownership,
) -> Outcome<(Slot, InodeRow)> {
    if !key.is_directory {
        return Err(Error::NotDirectory { place: key.show() }.into());
    }
    tree::check_mode(ownership.mode)?;
    let ownership = txn.caller.ownership(ownership);
    let slot = bucket::slot_of(txn, bucket, key, (ownership.uid, ownership.gid))?;
    match txn.rows.entry(slot.directory, &slot.name)? {
        Some(row) if row.body == Body::Directory => {
            txn.caller.check_add(&txn.rows, row.inode, || key.show())?;
            bucket::set_implicit(txn, row.inode, false)?;
            Ok((slot, row))
        }
        Some(_) => Err(Error::NotDirectory { place: key.show() }.into()),
        None => {
            tree::check_add(txn, &key.place(bucket), &slot)?;
            let row = tree::add_directory(txn, &slot, ownership)?;
            Ok((slot, row))
        }
    }
}
