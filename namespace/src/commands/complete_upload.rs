use types::{ByteSize, InodeId};

use crate::bucket::{self, Key};
use crate::command::{Completion, PartName, Reply};
use crate::error::Error;
use crate::extents;
use crate::key;
use crate::limits::{MAX_FILE, MAX_OBJECT_EXTENTS, MAX_PARTS};
use crate::row::{self, BlockRow, Data, ExtentRow, InodeRow, Wanted};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree::{self, NewFile};
use crate::upload::{self, PartRow, UploadRow};
use crate::view::View;

/// Puts an object at its key, of parts that are there: parents, condition, content and all that belongs to it in one step.
/// Done again, it answers as before, as long as the object is still there as it was made.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, completion: &Completion) -> Outcome<Reply> {
    let name = &completion.upload;
    let bucket = bucket::open(&txn.rows, txn.caller, &name.bucket)?;
    let key = Key::parse(&name.bucket, &name.key)?;
    let found = bucket::lookup(&txn.rows, txn.caller, &bucket, &key)?.map(|(_, row)| row);
    let upload_key = key::upload(bucket.inode, &name.key, name.id);
    if txn.rows.row::<UploadRow>(&upload_key)?.is_none() {
        return completed_before(completion, found, &key);
    }
    bucket::check(completion.condition.as_ref(), found.as_ref(), &key)?;
    let (length, extents) = assemble(txn, name.id, &completion.parts, completion.layout.wanted())?;
    upload::end(txn, upload_key, name.id)?;
    let new = NewFile {
        ownership: completion.ownership,
        layout: completion.layout,
        mtime: txn.now,
        writing: false,
        length: ByteSize::new(length),
        data: Data::Blocks { next_block: 0, extents },
    };
    let mut row = tree::new_file(txn, new)?;
    // Its extents are there already.
    row.inode = name.id;
    let Completion { etag, properties, attributes, part_list, .. } = completion;
    bucket::describe(txn, &mut row, Some(etag), properties, attributes, || key.show())?;
    upload::put_part_list(txn, &mut row, part_list, &key)?;
    let slot = bucket::slot_of(txn, &bucket, &key, (row.uid, row.gid))?;
    tree::place_in_slot(txn, &key.place(&bucket), true, &slot, &mut row)?;
    Ok(Reply::Object { attributes: row.attributes(None), etag: etag.clone() })
}

/// The object of this upload, if it is what is at the key (invariant 1 of module `upload`).
fn completed_before(completion: &Completion, found: Option<InodeRow>, key: &Key) -> Outcome<Reply> {
    match found {
        Some(row) if row.inode == completion.upload.id && bucket::etag(&row)? == completion.etag => {
            Ok(Reply::Object { attributes: row.attributes(None), etag: completion.etag.clone() })
        }
        Some(_) | None => Err(Error::NoSuchUpload { place: key.show() }.into()),
    }
}

/// Moves the extents of parts to an object, one part behind the other. Gives its length and the number of extents.
fn assemble<V: View>(
    txn: &mut Transaction<'_, V>,
    object: InodeId,
    parts: &[PartName],
    wanted: Wanted,
) -> Outcome<(u64, u64)> {
    let ascend = parts.windows(2).all(|two| two[0].number < two[1].number);
    if parts.is_empty() || parts.len() > usize::from(MAX_PARTS) || !ascend {
        return Err(Error::BadParts { limit: MAX_PARTS }.into());
    }
    let (mut length, mut extents) = (0_u64, 0_u64);
    for PartName { number, inode } in parts {
        let part_key = key::part(object, *number);
        let part: PartRow = txn
            .rows
            .row(&part_key)?
            .filter(|part: &PartRow| part.inode == *inode)
            .ok_or(Error::NoSuchPart { number: *number })?;
        let end = length.checked_add(part.length.get()).filter(|end| *end <= MAX_FILE.get());
        let end = end.ok_or(Error::FileTooLarge { inode: object, limit: MAX_FILE })?;
        extents += part.extents;
        if extents > MAX_OBJECT_EXTENTS as u64 {
            return Err(Error::TooManyExtents { inode: object, limit: MAX_OBJECT_EXTENTS as u32 }.into());
        }
        move_extents(txn, &part, object, length, wanted)?;
        txn.remove(part_key);
        length = end;
    }
    Ok((length, extents))
}

fn move_extents<V: View>(
    txn: &mut Transaction<'_, V>,
    part: &PartRow,
    object: InodeId,
    start: u64,
    wanted: Wanted,
) -> Outcome<()> {
    for (key, value) in txn.rows.page(&key::extents(part.inode), MAX_OBJECT_EXTENTS)? {
        let extent: ExtentRow = row::decode(&key, &value)?;
        let offset = start + key::offset_of(&key)?;
        txn.remove(key);
        txn.put(key::extent(object, offset), &extent);
        if !part.wanted().covers(wanted) {
            let mut block: BlockRow = txn.rows.need(&key::block(extent.block))?;
            extents::raise(txn, extent.block, &mut block, wanted);
            txn.put_block(extent.block, &block);
        }
    }
    Ok(())
}
