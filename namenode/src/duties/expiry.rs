//! What goes by itself when its time is over. A step that is refused, or lost with its leader, is found again at the next
//! look at the state.

use namespace::command::{Command, Reply};
use namespace::query;
use namespace::view::ViewError;

use super::Duties;
use crate::raft::wall_clock;

/// Items of the trash that one command removes. Each may change the sums of the trash, and nothing else that is large.
const ITEMS: u32 = 500;

impl Duties {
    pub(super) fn trash_is_due(&self) -> Result<bool, ViewError> {
        query::trash_is_due(&self.store.state().snapshot(), wall_clock())
    }

    /// Removes one step of what is due. True: there is more.
    pub(super) fn expire_trash(&self) -> bool {
        matches!(
            self.propose(vec![Command::ExpireTrash { limit: ITEMS }]).first(),
            Some(Ok(Reply::Step { more: true }))
        )
    }
}
