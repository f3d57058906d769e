//! Which replicas were deleted lately. A setup that was held up on its way, by a node above that was stopped, may come after
//! the deletion of what it sets up: nobody would ever delete what it makes.

use std::collections::{BTreeMap, VecDeque};

use types::{BlockId, GenStamp};

/// Deletions remembered. A setup that is later than all of these is not refused; its replica is an orphan.
const REMEMBERED: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Deleted {
    newest: BTreeMap<BlockId, GenStamp>,
    /// Oldest first.
    order: VecDeque<BlockId>,
}

impl Deleted {
    /// Generations up to this one are deleted.
    pub(super) fn note(&mut self, block: BlockId, generation: GenStamp) {
        match self.newest.get_mut(&block) {
            Some(known) => *known = generation.max(*known),
            None => {
                self.newest.insert(block, generation);
                self.order.push_back(block);
            }
        }
        if self.order.len() > REMEMBERED {
            let oldest = self.order.pop_front().expect("there are many");
            self.newest.remove(&oldest);
        }
    }

    pub(super) fn has(&self, block: BlockId, generation: GenStamp) -> bool {
        self.newest.get(&block).is_some_and(|newest| generation <= *newest)
    }

    /// The leader has a new replica made here.
    pub(super) fn forget(&mut self, block: BlockId) {
        if self.newest.remove(&block).is_some() {
            self.order.retain(|other| *other != block);
        }
    }
}

#[cfg(test)]
mod tests {
    use types::InodeId;

    use super::*;

    #[test]
    fn the_latest_deletions_are_remembered_and_those_before_are_not() {
        let block = |inode| BlockId::new(InodeId::new(inode), 0);
        let mut deleted = Deleted::default();
        deleted.note(block(0), GenStamp::new(3));
        deleted.note(block(0), GenStamp::new(2));
        assert!(deleted.has(block(0), GenStamp::new(3)) && !deleted.has(block(0), GenStamp::new(4)));
        deleted.forget(block(0));
        assert!(!deleted.has(block(0), GenStamp::new(1)));
        (0..=REMEMBERED as u64).for_each(|inode| deleted.note(block(inode), GenStamp::FIRST));
        assert!(!deleted.has(block(0), GenStamp::FIRST) && deleted.has(block(1), GenStamp::FIRST));
        assert_eq!((deleted.newest.len(), deleted.order.len()), (REMEMBERED, REMEMBERED));
    }
}
