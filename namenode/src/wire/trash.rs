//! The trash, off and on the wire.

use std::time::Duration;

use namespace::command::Command;
use namespace::query::Trashed;
use proto::{WireError, v1};
use types::TrashId;

use super::reply::attributes;
use super::{Answer, Query, place, wrong};
use crate::settings::Settings;

/// Items that one command removes for good.
const STEP: u32 = 1000;

/// A removal for good, which the superuser can undo while the replicas would stay on the disks anyhow.
pub(super) fn bury(wire: v1::Delete, settings: &Settings) -> Result<Command, WireError> {
    let keep_nanos = nanos(settings.delete_grace);
    Ok(Command::Bury { place: place(wire.place, "Delete.place")?, recursive: wire.recursive, keep_nanos })
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn trash(wire: v1::Trash, settings: &Settings) -> Result<Command, WireError> {
    let keep_nanos = nanos(settings.trash_expiry);
    Ok(Command::Trash { place: place(wire.place, "Trash.place")?, recursive: wire.recursive, keep_nanos })
}

pub(super) fn restore(wire: v1::RestoreTrash) -> Result<Command, WireError> {
    Ok(Command::RestoreTrash {
        uid: wire.uid,
        item: item(wire.item, "RestoreTrash.item")?,
        to: wire.to.map(|to| place(Some(to), "RestoreTrash.to")).transpose()?,
        parents: wire.parents,
    })
}

pub(super) fn empty(wire: &v1::EmptyTrash) -> Command {
    let item = (wire.item != 0).then_some(TrashId::new(wire.item));
    Command::EmptyTrash { uid: wire.uid, item, limit: STEP }
}

pub(super) fn list(wire: &v1::ListTrash) -> Result<Query, WireError> {
    let after = wire.after.map(|after| Ok((after.uid, item(after.item, "ListTrash.after")?)));
    Ok(Query::Trash { uid: wire.uid, after: after.transpose()? })
}

fn item(wire: u64, field: &'static str) -> Result<TrashId, WireError> {
    if wire == 0 { Err(wrong(field, "names item 0")) } else { Ok(TrashId::new(wire)) }
}

pub(crate) fn trash_page((items, more): (Vec<Trashed>, bool)) -> Answer {
    let trashed = |trashed: Trashed| v1::TrashItem {
        uid: trashed.uid,
        item: trashed.item.get(),
        from: Some(v1::Where { base: trashed.row.from.base.get(), path: trashed.row.from.path }),
        removed: trashed.row.removed.nanos(),
        due: trashed.row.due.nanos(),
        attributes: Some(attributes(&trashed.attributes)),
    };
    Answer::TrashPage(v1::TrashPage { items: items.into_iter().map(trashed).collect(), more })
}
