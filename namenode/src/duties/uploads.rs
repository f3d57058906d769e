//! Ends multipart uploads that have no future: nobody went on with them for long, or their bucket is gone. What they hold
//! fills disks and is seen nowhere.

use std::time::{Duration, Instant};

use namespace::command::Command;
use namespace::query::{self, Abandoned};
use namespace::view::ViewError;
use tracing::{debug, info};
use types::Timestamp;

use super::{Duties, Duty};
use crate::raft::wall_clock;

/// Uploads looked at in one go.
const PAGE: usize = 1000;
/// Uploads that one proposal ends, each with up to ten thousand parts.
const AT_ONCE: usize = 8;
/// Between two rounds over all uploads: this part of their time, within these bounds.
const SHARE: u32 = 64;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// How far a round over all uploads has come, or when the next is due.
pub(super) struct Uploads {
    due: Instant,
    after: Option<Abandoned>,
}

impl Uploads {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, after: None }
    }
}

impl Duties {
    /// Looks at one more page of uploads, and ends those whose time has passed.
    pub(super) fn expire_uploads(&self, uploads: &mut Uploads) -> Result<(), ViewError> {
        let now = Instant::now();
        if now < uploads.due {
            return Ok(());
        }
        let expiry = self.settings.upload_expiry;
        let age = u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX);
        let before = Timestamp::from_nanos(wall_clock().nanos().saturating_sub(age));
        let state = self.store.state();
        let (found, next) = query::abandoned_uploads(&state.snapshot(), uploads.after.as_ref(), before, PAGE)?;
        drop(state);
        for some in found.chunks(AT_ONCE) {
            let end = |upload: &Abandoned| {
                info!(upload = %upload.id, "an abandoned upload ends");
                let Abandoned { directory, key, id } = upload.clone();
                Command::ExpireUpload { directory, key, id }
            };
            for outcome in self.propose(some.iter().map(end).collect()) {
                match outcome {
                    Ok(_) => self.standing.done(Duty::Uploads, 1),
                    Err(error) => {
                        debug!(%error, "an upload does not end");
                        self.standing.failed(Duty::Uploads);
                    }
                }
            }
        }
        if next.is_none() {
            uploads.due = now + (expiry / SHARE).clamp(SHORTEST, LONGEST);
        }
        uploads.after = next;
        Ok(())
    }
}
