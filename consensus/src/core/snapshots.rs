//! What the core does about snapshots: sees that they are pulled, and has them installed.

use raft::eraftpb::Message;
use raft::{ProgressState, Ready, SnapshotStatus};
use tracing::{debug, info, warn};

use super::{Core, Output};
use crate::manifest::Manifest;

/// A member that is to pull a snapshot, and does not for so many ticks, is told of it again.
const PULL_TICKS: u32 = 200;

impl<P, R> Core<P, R> {
    /// Invariant 8: the message waits until the files are there. One that Raft will not install goes to it
    /// at once, for the answer.
    pub(super) fn take_snapshot(&mut self, message: Message) {
        let metadata = message.get_snapshot().get_metadata();
        let (index, term) = (metadata.index, metadata.term);
        if self.staged.is_some() {
            return;
        }
        let raft = &self.node.raft;
        if message.term < raft.term || index <= raft.raft_log.committed || raft.raft_log.match_term(index, term) {
            if let Err(error) = self.node.step(message) {
                debug!(%error, "a snapshot is refused");
            }
            return;
        }
        if let Some((held, manifest)) = &mut self.held
            && (held.from, manifest.at()) == (message.from, (index, term))
        {
            *held = message;
            return;
        }
        match Manifest::decode(&message.get_snapshot().data) {
            Ok(manifest) if manifest.at() == (index, term) => {
                info!(from = message.from, index, bytes = manifest.bytes(), "a snapshot is needed and pulled");
                self.outputs.push(Output::Fetch { from: message.from, manifest: manifest.clone() });
                self.held = Some((message, manifest));
            }
            Ok(manifest) => warn!(index, told = ?manifest.at(), "a manifest is of another snapshot"),
            Err(reason) => warn!(index, reason, "a manifest cannot be read"),
        }
    }

    /// Tells that the files of the snapshot at this index and term are there, or cannot be had.
    pub fn fetched(&mut self, at: (u64, u64), whole: bool) {
        let Some((message, manifest)) = self.held.take_if(|(_, manifest)| manifest.at() == at) else { return };
        // Otherwise the leader sends it again: its answer does not come.
        if whole {
            self.staged = Some(manifest);
            if let Err(error) = self.node.step(message) {
                debug!(%error, "a snapshot is refused");
            }
        }
    }

    /// Has the snapshot installed, while nothing else happens: a member that needs one serves nothing.
    pub(super) fn install(&mut self, ready: Ready) {
        let metadata = ready.snapshot().get_metadata();
        let at = (metadata.index, metadata.term);
        let manifest = self.staged.take().filter(|manifest| manifest.at() == at).expect("invariant 8");
        self.outputs.push(Output::Install(manifest.clone()));
        self.installing = Some((ready, manifest));
    }

    /// Tells that state and log are those of the snapshot that was to be installed.
    pub fn installed(&mut self) {
        let Some((ready, manifest)) = self.installing.take() else { return };
        let (index, term) = manifest.at();
        self.node.mut_store().reset(index, term, manifest.group);
        self.take_ready(ready);
        self.handle_readies();
    }

    /// A member that does not pull its snapshot is told again, or of a newer one.
    pub(super) fn watch_snapshots(&mut self) {
        let idle = self.node.store().snapshots().idle();
        if !self.is_leader() || idle.is_some_and(|idle| idle < self.settings.tick * PULL_TICKS) {
            return;
        }
        let pulls =
            |(node, progress): (&u64, &raft::Progress)| (progress.state == ProgressState::Snapshot).then_some(*node);
        let silent: Vec<u64> = self.node.raft.prs().iter().filter_map(pulls).collect();
        for node in silent {
            debug!(node, "a member does not pull its snapshot");
            self.node.report_snapshot(node, SnapshotStatus::Failure);
        }
    }
}
