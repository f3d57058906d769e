//! Questions about the trash.

use types::{Timestamp, TrashId};

use super::{MAX_PAGE, attributes};
use crate::access::Caller;
use crate::error::QueryError;
use crate::key;
use crate::row::{self, Attributes, DirectoryRow, Usage};
use crate::rows::Rows;
use crate::trash::{self, TrashRow};
use crate::view::{View, ViewError};

/// Something that was removed and can be had back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    pub uid: u32,
    pub item: TrashId,
    pub row: TrashRow,
    pub attributes: Attributes,
}

/// At most `limit` items in the trash that follow `after`, of one user or of all, and whether there are more. Each user
/// sees his own; the superuser sees all.
pub fn trash(
    view: &impl View,
    caller: Caller<'_>,
    uid: Option<u32>,
    after: Option<(u32, TrashId)>,
    limit: usize,
) -> Result<(Vec<Trashed>, bool), QueryError> {
    if uid != Some(caller.uid()) || uid == Some(trash::BURIED) {
        caller.check_superuser(|| "the trash of others".to_owned())?;
    }
    let mut range = uid.map_or_else(key::all_trash, key::trash_of);
    if let Some((uid, item)) = after {
        // What follows, but nothing from before the range.
        range.from = range.from.max(key::successor(&key::trash_item(uid, item)));
    }
    let limit = limit.clamp(1, MAX_PAGE);
    let mut page = if range.from < range.to { view.page(&range, limit + 1)? } else { Vec::new() };
    let more = page.len() > limit;
    page.truncate(limit);
    let trashed = |(key, value): (Vec<u8>, Vec<u8>)| {
        let (uid, item) = key::trash_of_key(&key)?;
        let (_, entry) = trash::entry_of(view, item)?;
        Ok(Trashed { uid, item, row: row::decode(&key, &value)?, attributes: attributes(view, &entry)? })
    };
    Ok((page.into_iter().map(trashed).collect::<Result<_, ViewError>>()?, more))
}

/// Whether there is work for `ExpireTrash`.
pub fn trash_is_due(view: &impl View, now: Timestamp) -> Result<bool, ViewError> {
    Ok(!view.page(&key::trash_due_by(now), 1)?.is_empty())
}

/// The sums over all that is in the trash.
pub fn trash_usage(view: &impl View) -> Result<Usage, ViewError> {
    Ok(match trash::top(view)? {
        Some(top) => view.need::<DirectoryRow>(&key::directory(top))?.usage,
        None => Usage::default(),
    })
}
