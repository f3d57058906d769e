//! From requests to entries of the log, and back to who waits for them.

use namespace::codec::Batch;
use namespace::command::{Command, Request};
use raft::eraftpb::{Entry, EntryType};
use tracing::debug;

use super::{Core, Output};
use crate::execute::{Committed, Waiter};
use crate::{ENTRY_BYTES, ENTRY_REQUESTS, Proposal, Refusal};

/// Requests in the log that are not answered yet; past it, proposals are refused as busy.
const WAITING_REQUESTS: usize = 1 << 16;

/// A proposal in the log.
pub(super) struct Waiting<P> {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) waiters: Vec<Waiter<P>>,
    pub(super) requests: usize,
    /// It is a change of the group.
    pub(super) change: bool,
}

impl<P, R> Core<P, R> {
    /// Takes in requests, to be applied if this member leads when it [`advance`](Self::advance)s.
    pub fn take(&mut self, proposal: Proposal<P>) {
        self.proposals.push(proposal);
    }

    /// The first leader of an empty cluster makes its root: whether `Format` is to be proposed now. True once in a term.
    pub fn format_due(&mut self) -> bool {
        let due = self.is_leader()
            && self.node.raft.apply_to_current_term()
            && !self.known.formatted
            && self.format_proposed != self.node.raft.term;
        if due {
            self.format_proposed = self.node.raft.term;
        }
        due
    }

    pub(super) fn propose(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let proposals = std::mem::take(&mut self.proposals);
        if !self.is_leader() {
            let refused = proposals.into_iter().map(|proposal| Output::Refused(proposal.ticket, Refusal::NotLeader));
            self.outputs.extend(refused);
            return;
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut waiters = Vec::new();
        for proposal in proposals {
            if self.waiting_requests + batch.requests.len() >= WAITING_REQUESTS {
                self.outputs.push(Output::Refused(proposal.ticket, Refusal::Busy));
                continue;
            }
            let size = proposal.requests.iter().map(estimate).sum::<usize>();
            let requests = batch.requests.len() + proposal.requests.len();
            if !batch.requests.is_empty() && (requests > ENTRY_REQUESTS || bytes + size > ENTRY_BYTES) {
                self.propose_entry(std::mem::take(&mut batch), std::mem::take(&mut waiters));
                bytes = 0;
            }
            bytes += size;
            waiters.push(Waiter { requests: proposal.requests.len(), ticket: proposal.ticket });
            batch.requests.extend(proposal.requests);
        }
        if !batch.requests.is_empty() {
            self.propose_entry(batch, waiters);
        }
    }

    fn propose_entry(&mut self, batch: Batch, waiters: Vec<Waiter<P>>) {
        let requests = batch.requests.len();
        if let Err(error) = self.node.propose(Vec::new(), batch.encode()) {
            // Dropped by the library: too much is uncommitted, or the lead is being handed over.
            debug!(%error, requests, "a proposal is refused");
            self.outputs.extend(waiters.into_iter().map(|waiter| Output::Refused(waiter.ticket, Refusal::Busy)));
            return;
        }
        let (index, term) = (self.node.raft.raft_log.last_index(), self.node.raft.term);
        self.waiting_requests += requests;
        self.waiting.push_back(Waiting { index, term, waiters, requests, change: false });
    }

    /// Invariant 3. A change that came to the log while another was under way is an empty entry there, of the usual kind.
    pub(super) fn give_out(&mut self, entry: Entry) -> Committed<P> {
        let changes = entry.get_entry_type() == EntryType::EntryConfChangeV2;
        let mut waiters = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.index <= entry.index) {
            let waiting = self.waiting.pop_front().expect("just seen");
            self.waiting_requests -= waiting.requests;
            let refusal = if (waiting.index, waiting.term) != (entry.index, entry.term) {
                Refusal::Unknown
            } else if waiting.change != changes {
                Refusal::Busy
            } else {
                waiters = waiting.waiters;
                continue;
            };
            self.outputs.extend(waiting.waiters.into_iter().map(|waiter| Output::Refused(waiter.ticket, refusal)));
        }
        let group = if changes { self.regroup(&entry) } else { None };
        Committed { entry, waiters, group }
    }

    pub(super) fn refuse_proposals(&mut self) {
        let proposed = std::mem::take(&mut self.proposals).into_iter().map(|proposal| proposal.ticket);
        let waiting = std::mem::take(&mut self.waiting).into_iter().flat_map(|waiting| waiting.waiters);
        let tickets = proposed.chain(waiting.map(|waiter| waiter.ticket));
        self.outputs.extend(tickets.map(|ticket| Output::Refused(ticket, Refusal::NotLeader)));
        self.waiting_requests = 0;
    }
}

/// About how many bytes a request takes in an entry; only contents and paths are of a size that matters.
fn estimate(request: &Request) -> usize {
    const REST: usize = 160;
    let groups = request.principal.as_ref().map_or(0, |principal| 5 * principal.groups.len());
    REST + groups
        + match &request.command {
            Command::PutInline { content, destination, .. } => content.len() + destination.place.path.len(),
            Command::Mkdir { place, .. }
            | Command::Delete { place, .. }
            | Command::SetAttr { place, .. }
            | Command::SetQuota { place, .. } => place.path.len(),
            Command::Rename { from, to, .. } | Command::Exchange { first: from, second: to } => {
                from.path.len() + to.path.len()
            }
            Command::SetXattr { place, name, value, .. } => place.path.len() + name.len() + value.len(),
            Command::RemoveXattr { place, name } => place.path.len() + name.len(),
            Command::ReplicasDeleted { replicas, .. } => 32 * replicas.len(),
            Command::DropUnlisted { replicas, .. } => 24 * replicas.len(),
            _ => 0,
        }
}
