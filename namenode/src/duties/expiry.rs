//! What goes by itself when its time is over: items of the trash, and what is older than its directory allows. A step that is
//! refused, or lost with its leader, is found again at the next look at the state.

use std::time::{Duration, Instant};

use namespace::ageing::Walk;
use namespace::command::{Command, Reply};
use namespace::query;
use namespace::view::ViewError;
use tracing::{debug, info};

use super::{Duties, Duty};
use crate::raft::wall_clock;

/// Items of the trash that one command removes. Each may change the sums of the trash, and nothing else that is large.
const ITEMS: u32 = 500;
/// Entries looked at in one go; one command removes what of them is too old.
const PAGE: usize = 1000;
/// A walk takes at most this part of the time, however much there is to look at.
const SHARE: u32 = 10;

/// A walk over what can grow old, or the pause after it.
pub(super) struct Ageing {
    due: Instant,
    running: Option<Running>,
}

struct Running {
    started: Instant,
    walk: Walk,
    removed: usize,
}

impl Ageing {
    pub(super) const fn new(now: Instant) -> Self {
        Self { due: now, running: None }
    }

    pub(super) const fn running(&self) -> bool {
        self.running.is_some()
    }
}

impl Duties {
    pub(super) fn trash_is_due(&self) -> Result<bool, ViewError> {
        query::trash_is_due(&self.store.state().snapshot(), wall_clock())
    }

    /// Removes one step of what is due. True: there is more.
    pub(super) fn expire_trash(&self) -> bool {
        let Some(Ok(Reply::Step { more })) =
            self.propose(vec![Command::ExpireTrash { limit: ITEMS }]).into_iter().next()
        else {
            return false;
        };
        self.standing.done(Duty::Trash, 1);
        self.standing.left(Duty::Trash, usize::from(more));
        more
    }

    /// Looks at one more page of what can grow old.
    pub(super) fn age(&self, ageing: &mut Ageing) -> Result<(), ViewError> {
        let now = Instant::now();
        if ageing.running.is_none() && now >= ageing.due {
            ageing.running = Some(Running { started: now, walk: Walk::default(), removed: 0 });
        }
        let Some(running) = &mut ageing.running else { return Ok(()) };
        let step = running.walk.step(&self.store.state().snapshot(), wall_clock(), PAGE)?;
        if !step.aged.is_empty() {
            running.removed += step.aged.len();
            self.standing.done(Duty::Ageing, step.aged.len());
            for outcome in self.propose(vec![Command::RemoveAged { aged: step.aged }]) {
                if let Err(error) = outcome {
                    debug!(%error, "what is too old is not removed");
                }
            }
        }
        if step.over {
            let took = running.started.elapsed();
            if running.removed > 0 {
                info!(count = running.removed, ?took, "what was older than its directory allows is removed");
            }
            ageing.due = Instant::now() + self.settings.ttl_interval.max(took.saturating_mul(SHARE)).max(LEAST);
            ageing.running = None;
        }
        Ok(())
    }
}

/// Between two walks, whatever the settings say.
const LEAST: Duration = Duration::from_millis(100);
