use crate::command::{Reply, Where};
use crate::content::{Content, Terms};
use crate::transaction::{Outcome, Transaction};
use crate::view::View;

/// Makes a range of a file a hole, which reads as zeros. Its length stays.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    (offset, length): (u64, u64),
    terms: &Terms,
) -> Outcome<Reply> {
    let mut content = Content::to_change(txn, place)?;
    let old = content.file()?.length.get();
    let end = offset.saturating_add(length).min(old);
    let start = offset.min(end);
    if content.inline()?.is_some_and(|bytes| bytes.len() as u64 == old) {
        // Inline as it is: a change of nothing does not change how it is stored, and needs no limit.
        let mut bytes = content.inline()?.unwrap_or_default().to_vec();
        bytes[start as usize..end as usize].fill(0);
        if !bytes.is_empty() {
            content.store_inline(bytes)?;
        }
        return content.save(txn, terms, (offset, None));
    }
    let mut splice = content.splice(txn, terms)?;
    let reached = splice.clear(txn, start, end)?;
    content.store_extents(&splice, old)?;
    content.save(txn, terms, (offset, (reached < end).then_some(reached)))
}
