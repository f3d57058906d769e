//! When the state of a member may be read.
//!
//! The leader proves its lead. Another member asks the leader how far the state must be (invariant 2), and waits until its
//! own is. It asks again when no answer comes, and when another leads; in vain for long enough, it refuses what waits, and
//! whoever asked goes to another member.

use raft::eraftpb::{Message, MessageType};
use tracing::debug;

use super::{Core, ELECTION_TICKS, Output};
use crate::Refusal;
use crate::reads::Askers;

/// A member that got no answer from the leader asks again after so many ticks.
const ASK_TICKS: u64 = 4;
/// Reads of one that does not lead are refused when none was answered in so many ticks.
const PATIENCE_TICKS: u64 = ELECTION_TICKS as u64;

/// What a member that does not lead has asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// Whom, and in which term.
    of: (u64, u64),
    /// The tick at which it asked, and the one since which reads wait without any answer.
    at: u64,
    since: u64,
}

impl<P, R> Core<P, R> {
    /// Asks when the state may be read.
    pub fn read(&mut self, ticket: R) {
        self.reads.add(ticket);
    }

    pub(super) fn begin_reads(&mut self) {
        if self.is_leader() {
            self.asking = None;
            self.prove_lead();
        } else if self.leading.is_none() {
            self.ask_leader();
        }
    }

    fn prove_lead(&mut self) {
        // Before an entry of its own term is committed, a leader does not know what is; the library would drop the
        // round without a word.
        if !self.node.raft.commit_to_current_term() {
            return;
        }
        let (now, tick) = (self.now, self.settings.tick);
        let committed = self.node.raft.raft_log.committed;
        let granted = if self.lease.is_valid(now) { self.reads.grant(committed, self.ticks) } else { None };
        let renew = granted.is_some() && self.lease.is_old(now, tick);
        if let Some(askers) = granted {
            self.tell_askers(askers, committed);
        }
        if let Some(context) = self.reads.begin(renew) {
            self.lease.asked(now);
            self.node.read_index(context);
        }
    }

    /// A round of this leader has its answer.
    pub(super) fn lead_proven(&mut self, context: &[u8], index: u64) {
        if let Some(askers) = self.reads.prove(context, index, self.ticks) {
            self.lease.proven(self.node.raft.term, self.settings.tick);
            self.tell_askers(askers, index);
        }
    }

    fn tell_askers(&mut self, askers: Askers, index: u64) {
        let answer = |(member, context): (u64, Vec<u8>)| Message {
            index,
            context: context.into(),
            ..self.message(MessageType::MsgReadIndexResp, member)
        };
        let messages = askers.into_iter().map(answer).collect();
        self.send(messages);
    }

    fn message(&self, kind: MessageType, to: u64) -> Message {
        Message { msg_type: kind, from: self.settings.node, to, term: self.node.raft.term, ..Message::default() }
    }

    /// Another member wants to know how far its state must be. One that does not lead leaves it without an answer.
    pub(super) fn asked(&mut self, message: &Message) {
        let known = self.node.raft.prs().get(message.from).is_some();
        if known && self.is_leader() {
            self.reads.ask(message.from, &message.context);
        }
    }

    /// The leader's answer. Whoever led when the round began, what it proves holds.
    pub(super) fn told(&mut self, message: &Message) {
        if !self.is_leader() && self.reads.prove(&message.context, message.index, self.ticks).is_some() {
            self.asking = None;
        }
    }

    fn ask_leader(&mut self) {
        let (ticks, of) = (self.ticks, (self.node.raft.leader_id, self.node.raft.term));
        let known = self.asking.filter(|_| self.reads.is_unproven());
        let since = known.map_or(ticks, |asking| asking.since).min(self.reads.oldest_proven().unwrap_or(ticks));
        if ticks - since >= PATIENCE_TICKS {
            debug!(leader = of.0, "no leader says how far the state must be, or the state does not get there");
            self.asking = None;
            self.refuse_reads();
            return;
        }
        if !self.reads.is_unproven() {
            self.asking = None;
            return;
        }
        let waits = known.is_some_and(|asking| asking.of == of && ticks - asking.at < ASK_TICKS);
        if !waits {
            self.reads.give_up_round();
        }
        let begun = if of.0 == 0 { None } else { self.reads.begin(false) };
        let at = if waits { known.map_or(ticks, |asking| asking.at) } else { ticks };
        self.asking = Some(Asking { of, at, since });
        if let Some(context) = begun {
            let ask = Message { context: context.into(), ..self.message(MessageType::MsgReadIndex, of.0) };
            self.send(vec![ask]);
        }
    }

    pub(super) fn refuse_reads(&mut self) {
        let reads = self.reads.refuse();
        self.outputs.extend(reads.map(|ticket| Output::ReadRefused(ticket, Refusal::NotLeader)));
    }
}

#[cfg(test)]
mod tests;
