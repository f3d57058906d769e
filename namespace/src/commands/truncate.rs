use crate::command::{Reply, Where};
use crate::content::{Content, Terms};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Makes a file as long as asked. What is cut off is gone, what is added reads as zeros. Where more extents are cut off
/// than one step takes, they are made a hole first, in steps, and the length changes with the last.
pub(crate) fn run<V: View>(txn: &mut Transaction<'_, V>, place: &Where, length: u64, terms: &Terms) -> Outcome<Reply> {
    let mut content = Content::to_change(txn, place)?;
    content.end(0, length)?;
    let old = content.file()?.length.get();
    if content.inline()?.is_some() && length <= terms.inline_max().get() {
        let bytes = content.inline_of(length, terms)?;
        content.store_inline(bytes)?;
        return content.save(txn, terms, (length, None));
    }
    content.check_can_hold_extents(0)?;
    let mut splice = content.splice(txn, terms)?;
    let reached = splice.clear(txn, length, old)?;
    let next = (reached < old).then_some(reached);
    content.store_extents(&splice, if next.is_some() { old } else { length })?;
    content.save(txn, terms, (length, next))
}
