//! What was removed and can be had back for a while.

use proto::v1;
use proto::v1::op::Kind as Op;
use proto::v1::reply::Result as Answer;
use types::{InodeId, Path, Timestamp, TrashId};

use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::Attributes;
use crate::place::Place;
use crate::store::Client;
use crate::wire;

/// Whose is in the trash what users removed for good: the superuser can have it back for a while.
pub const BURIED: u32 = u32::MAX;

/// Where something went that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trashed {
    pub item: TrashId,
    /// When it goes for good.
    pub due: Timestamp,
}

/// Something in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashItem {
    /// Whose it is.
    pub uid: u32,
    pub item: TrashId,
    /// Where it was.
    pub from: Place,
    pub removed: Timestamp,
    /// When it goes for good.
    pub due: Timestamp,
    pub attributes: Attributes,
}

impl Client {
    /// The user on whose behalf this client asks.
    pub fn uid(&self) -> u32 {
        self.0.config.user.uid
    }

    /// Moves an object to the trash of this client's user, with the rights that a removal takes. None: it is gone for good,
    /// because the cluster keeps no trash or because the file has other names.
    pub async fn trash(&self, at: impl Into<Place>, recursive: bool) -> Result<Option<Trashed>, Error> {
        let at = &at.into();
        let op = Op::Trash(v1::Trash { place: Some(wire::place(at)), recursive });
        let trashed = match self.0.metadata.call(op, Scope::Update).await {
            Ok((Answer::Trashed(v1::Trashed { item, due }), _)) => {
                Ok(Some(Trashed { item: TrashId::new(item), due: Timestamp::from_nanos(due) }))
            }
            Ok((Answer::Done(_), _)) => Ok(None),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        trashed.map_err(|fault| Error::new("move to the trash", at, fault))
    }

    /// What one user has in the trash, or what all have, longest ago first: the items behind `after`, and whether more
    /// follow these. The trash of others is the superuser's to see.
    pub async fn trash_page(
        &self,
        uid: Option<u32>,
        after: Option<&TrashItem>,
    ) -> Result<(Vec<TrashItem>, bool), Error> {
        let after = after.map(|after| v1::TrashCursor { uid: after.uid, item: after.item.get() });
        let op = Op::ListTrash(v1::ListTrash { uid, after });
        let page = match self.0.metadata.call(op, Scope::Read).await {
            // A page that is empty and promises more would be asked for again and again.
            Ok((Answer::TrashPage(page), _)) => {
                let more = page.more && !page.items.is_empty();
                page.items.into_iter().map(item).collect::<Result<_, _>>().map(|items| (items, more))
            }
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        page.map_err(|fault| Error::new("list", "the trash", fault))
    }

    /// Takes an item of a user out of the trash, to where it was unless `to` says otherwise. Nothing may be there. With
    /// `parents`, missing directories on the way are made.
    pub async fn restore_trash(
        &self,
        uid: u32,
        item: TrashId,
        to: Option<Place>,
        parents: bool,
    ) -> Result<Attributes, Error> {
        let to = to.as_ref().map(wire::place);
        let op = Op::RestoreTrash(v1::RestoreTrash { uid, item: item.get(), to, parents });
        self.0.metadata.attributes(op, Scope::Update).await.map_err(|fault| Error::new("restore", item, fault))
    }

    /// Removes for good what a user has in the trash: one item, or all.
    pub async fn empty_trash(&self, uid: u32, item: Option<TrashId>) -> Result<(), Error> {
        let emptied = self.empty_steps(uid, item).await;
        emptied.map_err(|fault| match item {
            Some(item) => Error::new("remove", item, fault),
            None => Error::new("empty", "the trash", fault),
        })
    }

    async fn empty_steps(&self, uid: u32, item: Option<TrashId>) -> Result<(), Fault> {
        let op = Op::EmptyTrash(v1::EmptyTrash { uid, item: item.map_or(0, TrashId::get) });
        loop {
            match self.0.metadata.call(op.clone(), Scope::Update).await?.0 {
                Answer::Emptied(v1::Emptied { more: true }) => {}
                Answer::Emptied(v1::Emptied { more: false }) => return Ok(()),
                other => return Err(Metadata::unexpected(&other)),
            }
        }
    }
}

fn item(wire: v1::TrashItem) -> Result<TrashItem, Fault> {
    let from = wire.from.ok_or_else(|| wire::broken("an item of the trash comes from nowhere"))?;
    let path = Path::parse(&from.path).map_err(|error| wire::broken(format!("a path in the trash: {error}")))?;
    let attributes = wire.attributes.ok_or_else(|| wire::broken("an item of the trash has no attributes"))?;
    Ok(TrashItem {
        uid: wire.uid,
        item: TrashId::new(wire.item),
        from: Place { base: InodeId::new(from.base), path },
        removed: Timestamp::from_nanos(wire.removed),
        due: Timestamp::from_nanos(wire.due),
        attributes: wire::attributes(attributes)?,
    })
}
