use types::ByteSize;

use crate::command::{Reply, Where};
use crate::content::{Content, Terms};
use crate::error::Error;
use crate::extents::{self, Splice};
use crate::handles;
use crate::home::Home;
use crate::key;
use crate::limits::{MAX_CONCATENATED, MAX_EXTENTS};
use crate::row::{self, BlockRow, Body, Data, ExtentRow, InodeRow, Wanted};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;
use crate::xattr;

/// Moves the content of files to the end of another, in their order. They vanish. All of it, or nothing.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, to: &Where, from: &[Where], terms: &Terms) -> Outcome<Reply> {
    let mut target = Content::to_change(txn, to)?;
    let inode = target.row.inode;
    let old = target.file()?.length.get();
    if from.is_empty() || from.len() > MAX_CONCATENATED {
        return Err(Error::BadSources { inode, limit: MAX_CONCATENATED as u32 }.into());
    }
    let mut room = MAX_EXTENTS as usize;
    for place in from {
        let source = Content::to_change(txn, place)?;
        if source.row.inode == inode {
            return Err(Error::BadSources { inode, limit: MAX_CONCATENATED as u32 }.into());
        }
        take_over(txn, &mut target, &source, terms, &mut room)?;
        remove(txn, place, &source)?;
    }
    target.save(txn, terms, (old, None))
}

/// The target gets what the source holds.
fn take_over<V: View>(
    txn: &mut Transaction<'_, V>,
    target: &mut Content,
    source: &Content,
    terms: &Terms,
    room: &mut usize,
) -> Outcome<()> {
    let start = target.file()?.length.get();
    let end = target.end(start, source.file()?.length.get())?;
    if let Data::Inline { content, .. } = &source.file()?.data {
        if content.is_empty() {
            return Ok(());
        }
        // Only what is inline as a whole takes bytes.
        if target.inline()?.is_none() || end > terms.inline_max().get() {
            let length = ByteSize::new(content.len() as u64);
            return Err(Error::InlineInTheWay { inode: source.row.inode, length }.into());
        }
        let mut bytes = target.inline_of(end, terms)?;
        bytes[start as usize..].copy_from_slice(content);
        return target.store_inline(bytes);
    }
    if start == end {
        return Ok(());
    }
    target.check_can_hold_extents(0)?;
    let page = txn.rows.page(&key::extents(source.row.inode), *room + 1)?;
    if page.len() > *room {
        return Err(target.too_many_extents().into());
    }
    *room -= page.len();
    let mut splice = target.splice(txn, terms)?;
    let wanted = target.file()?.wanted();
    for (key, value) in page {
        let offset = start + key::offset_of(&key)?;
        let extent: ExtentRow = row::decode(&key, &value)?;
        txn.remove(key);
        move_in(txn, &mut splice, offset, extent, wanted)?;
    }
    target.store_extents(&splice, end)
}

fn move_in<V: View>(
    txn: &mut Transaction<'_, V>,
    splice: &mut Splice,
    offset: u64,
    extent: ExtentRow,
    wanted: Wanted,
) -> Outcome<()> {
    let mut row: BlockRow = txn.rows.need(&key::block(extent.block))?;
    if !row.wanted().covers(wanted) {
        extents::raise(txn, extent.block, &mut row, wanted);
        txn.put_block(extent.block, &row);
    }
    splice.insert(txn, offset, extent);
    Ok(())
}

/// The source goes, and nothing of it is garbage.
fn remove<V: View>(txn: &mut Transaction<'_, V>, place: &Where, source: &Content) -> Outcome<()> {
    let inode = source.row.inode;
    if handles::is_open(&txn.rows, inode)? {
        return Err(Error::SourceShared { inode }.into());
    }
    let slot = match &source.home {
        Home::Entry(slot) => slot,
        // Nobody else can know of a file that this session writes and that has no name yet.
        Home::Shared if source.row.links() == 0 && txn.rows.lease(inode)?.is_some() => {
            txn.remove(key::shared(inode));
            xattr::drop_all(txn, &source.row);
            txn.remove_lease(inode, txn.need_session()?);
            return Ok(());
        }
        Home::Shared => return Err(Error::SourceShared { inode }.into()),
    };
    let mut empty: InodeRow = source.row.clone();
    if let Body::File(file) = &mut empty.body
        && let Data::Blocks { extents, .. } = &mut file.data
    {
        *extents = 0;
    }
    tree::check_remove(txn, place, slot, &source.row)?;
    tree::detach(txn, place, slot, &empty, false)
}
