//! What datanodes tell of their disks, between the RPC that takes it in and the duty that works on it.
//!
//! 1. A change is acknowledged when the duty has it. When some were missed, or the datanode or the leader is a new one,
//!    the whole storage is due for a comparison.
//! 2. Nothing here grows with the number of blocks: a storage has its digests, and a few pages are asked for at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use namespace::inventory::Page;
use namespace::row::BlockLocation;
use proto::v1;
use types::inventory::{Bucket, Digest};
use types::{BlockId, NodeId, StorageId};

use crate::wire::{Delta, Deltas};

/// A page that does not come is asked for again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Pages that one answer to a heartbeat asks for.
const PAGES: usize = 16;

/// One bucket of one storage.
pub(super) type Place = (StorageId, Bucket);

#[derive(Debug)]
struct Told {
    instance: u64,
    node: NodeId,
    /// The number of the next change, once one instance of the datanode has spoken.
    next: u64,
    /// To be compared as a whole.
    due: bool,
    digests: Option<Vec<Digest>>,
}

#[derive(Debug)]
struct Ask {
    node: NodeId,
    after: Option<BlockId>,
    asked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Known {
    storages: BTreeMap<StorageId, Told>,
    pages: BTreeMap<Place, Ask>,
}

#[derive(Debug, Default)]
pub(crate) struct Inventories(Mutex<Known>);

impl Inventories {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// A new term: nobody has told anything.
    pub(super) fn clear(&self) {
        *self.known() = Known::default();
    }

    /// Takes in changes of one storage; `take` says whether there was room for one. The answer is the number of the first
    /// that was not taken (invariant 1).
    pub(crate) fn changed(&self, node: NodeId, news: &Deltas, mut take: impl FnMut(Delta) -> bool) -> u64 {
        let Deltas { storage, instance, first, deltas } = news;
        let mut known = self.known();
        let fresh = || Told { instance: *instance, node, next: *first, due: true, digests: None };
        let told = known.storages.entry(*storage).or_insert_with(fresh);
        if (told.instance, told.node) != (*instance, node) || told.next < *first {
            *told = fresh();
        }
        let known_already = usize::try_from(told.next - first).unwrap_or(usize::MAX);
        for delta in deltas.iter().skip(known_already) {
            if !take(*delta) {
                break;
            }
            told.next += 1;
        }
        told.next
    }

    /// The digests of a storage that were asked for.
    pub(crate) fn summed(&self, storage: StorageId, digests: Vec<Digest>) {
        if let Some(told) = self.known().storages.get_mut(&storage) {
            told.digests = Some(digests);
        }
    }

    /// What a node is to tell: the digests of storages that are due, and pages.
    pub(crate) fn wanted(&self, node: NodeId) -> (Vec<Vec<u8>>, Vec<v1::PageRequest>) {
        let mut known = self.known();
        let digests = known.storages.iter().filter(|(_, told)| told.node == node && told.due && told.digests.is_none());
        let digests = digests.map(|(storage, _)| storage.as_bytes().to_vec()).collect();
        let now = Instant::now();
        let is_open = |ask: &Ask| ask.asked.is_none_or(|asked| now - asked >= ASK_AGAIN);
        let asks = known.pages.iter_mut().filter(|(_, ask)| ask.node == node && is_open(ask)).take(PAGES);
        let pages = asks.map(|((storage, bucket), ask)| {
            ask.asked = Some(now);
            v1::PageRequest {
                storage: storage.as_bytes().to_vec(),
                bucket: bucket.number(),
                after: ask.after.map(Into::into),
            }
        });
        (digests, pages.collect())
    }

    /// Every storage that has told something is due.
    pub(super) fn all_due(&self) {
        for told in self.known().storages.values_mut() {
            told.due = true;
            told.digests = None;
        }
    }

    /// Whether a storage is due and its digests are there.
    pub(super) fn any_ready(&self) -> bool {
        self.known().storages.values().any(|told| told.due && told.digests.is_some())
    }

    /// The storages that are due and whose digests are there; they are not due any more.
    pub(super) fn take_due(&self) -> Vec<(BlockLocation, Vec<Digest>)> {
        let mut known = self.known();
        let due = known.storages.iter_mut().filter(|(_, told)| told.due);
        due.filter_map(|(storage, told)| {
            let digests = told.digests.take()?;
            told.due = false;
            Some((BlockLocation { node: told.node, storage: *storage }, digests))
        })
        .collect()
    }

    /// The node that speaks for a storage.
    pub(super) fn node_of(&self, storage: StorageId) -> Option<NodeId> {
        self.known().storages.get(&storage).map(|told| told.node)
    }

    /// Asks for the part of a bucket behind a block.
    pub(super) fn ask(&self, (storage, bucket): Place, node: NodeId, after: Option<BlockId>) {
        self.known().pages.insert((storage, bucket), Ask { node, after, asked: None });
    }

    pub(super) fn ask_no_more(&self, place: &Place) {
        self.known().pages.remove(place);
    }

    /// Whether a page is the one that was asked for; it is not asked for any more.
    pub(super) fn is_answered(&self, place: &Place, page: &Page) -> bool {
        let mut known = self.known();
        let answers = known.pages.get(place).is_some_and(|ask| ask.after == page.after);
        if answers {
            known.pages.remove(place);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use types::GenStamp;
    use types::InodeId;

    use super::*;

    const STORAGE: StorageId = StorageId::from_bytes([1; 16]);
    const NODE: NodeId = NodeId::new(1);

    fn gone(inode: u64) -> Delta {
        Delta::Deleted { block: BlockId::new(InodeId::new(inode), 0), generation: GenStamp::FIRST }
    }

    fn news(instance: u64, first: u64, inodes: &[u64]) -> Deltas {
        let deltas = inodes.iter().map(|inode| gone(*inode)).collect();
        Deltas { storage: STORAGE, instance, first, deltas }
    }

    /// Tells, with room for `room`: what was taken, the number of the next, and whether the storage is due.
    fn tell(inventories: &Inventories, room: usize, news: &Deltas) -> (Vec<Delta>, u64, bool) {
        let mut taken = Vec::new();
        let next = inventories.changed(NODE, news, |delta| {
            let fits = taken.len() < room;
            if fits {
                taken.push(delta);
            }
            fits
        });
        let due = !inventories.wanted(NODE).0.is_empty();
        inventories.summed(STORAGE, Vec::new());
        inventories.take_due();
        (taken, next, due)
    }

    /// Invariant 1.
    #[test]
    fn changes_are_taken_once_and_a_gap_makes_the_storage_due() {
        let inventories = Inventories::default();
        assert_eq!(tell(&inventories, 9, &news(7, 5, &[1, 2])), (vec![gone(1), gone(2)], 7, true), "new to the leader");
        assert_eq!(
            tell(&inventories, 9, &news(7, 5, &[1, 2, 3])),
            (vec![gone(3)], 8, false),
            "said again, and one more"
        );
        assert_eq!(tell(&inventories, 0, &news(7, 8, &[4])), (vec![], 8, false), "no room");
        assert_eq!(tell(&inventories, 9, &news(7, 8, &[4])), (vec![gone(4)], 9, false));
        assert_eq!(tell(&inventories, 9, &news(7, 11, &[6])), (vec![gone(6)], 12, true), "9 and 10 are missing");
        assert_eq!(tell(&inventories, 9, &news(8, 0, &[])), (vec![], 0, true), "the datanode was started again");
        assert_eq!(tell(&inventories, 9, &news(8, 0, &[])), (vec![], 0, false));
    }

    #[test]
    fn a_page_is_asked_for_until_it_comes_and_only_that_one_counts() {
        let inventories = Inventories::default();
        tell(&inventories, 9, &news(7, 0, &[]));
        let place = (STORAGE, Bucket::new(3).expect("a bucket"));
        let block = |inode| Some(BlockId::new(InodeId::new(inode), 0));
        inventories.ask(place, NODE, block(1));
        let request = v1::PageRequest { storage: vec![1; 16], bucket: 3, after: block(1).map(Into::into) };
        assert_eq!(inventories.wanted(NODE), (vec![], vec![request]));
        assert_eq!(inventories.wanted(NODE), (vec![], vec![]), "it has been asked just now");
        let page = |after| Page { after, stored: vec![], until: None };
        assert!(!inventories.is_answered(&place, &page(None)));
        assert!(inventories.is_answered(&place, &page(block(1))));
        assert!(!inventories.is_answered(&place, &page(block(1))), "it came twice");
    }
}
