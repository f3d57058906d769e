//! The raft thread of a member: takes inputs, advances the core, and hands out what comes of it.

use std::time::Duration;

use consensus::{Output, Proposal};
use namespace::command::{Command, Request};
use namespace::query;
use raft::eraftpb::Message;
use types::{ClusterId, StorageId};

use super::{Event, Work, World};
use crate::member::{Input, Installation, LogTask, MemberOutput, Reading};
use crate::network::{Answer, Call, Parcel, Place};

const CLUSTER: ClusterId = ClusterId::from_bytes(*b"simulated system");
/// Between two looks of the leader for what is to be freed.
const DUTIES: Duration = Duration::from_millis(100);
/// Entries and blocks that one command frees.
const GC_STEP: u32 = 20;
pub(super) const STORAGES: u8 = 4;

pub(super) fn storage(number: u8) -> StorageId {
    StorageId::from_bytes([number + 1; 16])
}

impl World {
    pub(super) fn start(&mut self, member: u64) {
        let (now, plan, seed) = (self.now, self.plan.clone(), self.seed);
        self.member(member).start(now, &plan, seed);
        let applied = self.member(member).store.applied().index;
        let hash = self.member(member).store.state().hash();
        self.oracle.state_at(applied, hash);
        self.tell(|_| format!("member {member} starts at {applied}"));
        self.turn_at(member, now);
        let flush = self.plan.flush_every;
        self.later(member, flush, Work::FlushBegins);
        self.later(member, DUTIES, Work::Duties);
    }

    pub(super) fn arrive(&mut self, from: Place, to: Place, parcel: Parcel) {
        match (to, parcel) {
            (Place::Client(client), Parcel::Answer { token, answer }) => self.answered(client, token, *answer),
            (Place::Client(_), _) => unreachable!("clients get answers"),
            (Place::Member(member), parcel) => {
                let place = self.member(member);
                if place.running.is_none() {
                    return;
                }
                let until = place.paused_until;
                if until > self.now {
                    self.at(until, Event::Arrival { from, to, parcel: Box::new(parcel) });
                    return;
                }
                if let (Place::Member(from), Parcel::Raft { .. } | Parcel::Pull { .. }) = (from, &parcel)
                    && self.is_refused(member, from)
                {
                    return;
                }
                match parcel {
                    Parcel::Pull { at, file } => self.serve_file(member, from, at, file),
                    Parcel::File { at, file, bytes } => self.take_file(member, at, file, bytes),
                    parcel => self.input(member, Input::Parcel(from, Box::new(parcel))),
                }
            }
        }
    }

    pub(super) fn input(&mut self, member: u64, input: Input) {
        self.member(member).running().inbox.push_back(input);
        self.wake(member);
    }

    pub(super) fn wake(&mut self, member: u64) {
        let at = self.now + self.dice.micros(5, 60);
        self.turn_at(member, at);
    }

    fn turn_at(&mut self, member: u64, at: Duration) {
        let running = self.member(member).running();
        if running.turn_at.is_none_or(|known| at < known) {
            running.turn_at = Some(at);
            let delay = at.saturating_sub(self.now);
            self.later(member, delay, Work::Turn);
        }
    }

    pub(super) fn turn(&mut self, member: u64) {
        let now = self.now;
        let expiry = self.plan.snapshot_expiry;
        let running = self.member(member).running();
        // An earlier one took its place. A paused process is late.
        if running.turn_at.is_none_or(|at| at > now) {
            return;
        }
        running.turn_at = None;
        running.exports.at(now, expiry);
        if running.installation.is_some() {
            // It goes on when the installation is done.
            return;
        }
        let inputs = std::mem::take(&mut running.inbox);
        for input in inputs {
            self.take(member, input);
        }
        self.advance(member);
        if self.member(member).running().core.format_due() {
            self.propose(member, Command::Format { cluster: CLUSTER, owner: Some((1000, 100)) });
            self.advance(member);
        }
        self.carry_out(member);
        if self.member(member).running().exports.ordered() {
            let delay = self.dice.micros(500, 40_000);
            self.later(member, delay, Work::Checkpoint);
        }
        let deadline = self.member(member).running().core.deadline();
        self.turn_at(member, deadline.max(now));
    }

    fn take(&mut self, member: u64, input: Input) {
        let now = self.now;
        let answered = self.oracle.answered();
        let time = self.member(member).wall_clock(now);
        let running = self.member(member).running();
        let leadership = running.core.leadership();
        let refusal = consensus::Refusal::NotLeader;
        let (from, parcel) = match input {
            Input::Fetched { at, whole } => return running.core.fetched(at, whole),
            Input::Transfer => return running.core.transfer(now, None),
            Input::Change(change) => {
                // Refused, the operator asks again.
                let _ = running.core.change(now, &change, || Call { client: None, token: 0, origin: None });
                return;
            }
            Input::Parcel(from, parcel) => (from, *parcel),
        };
        match parcel {
            Parcel::Raft { messages, persisted, truncatable } => {
                if let Place::Member(from) = from {
                    let known = running.persisted_by.entry(from).or_default();
                    *known = persisted.max(*known);
                }
                running.progressed.truncatable = running.progressed.truncatable.max(truncatable);
                messages.into_iter().for_each(|message| running.core.step(now, message));
            }
            Parcel::Operation { call, .. } if !leadership.serving => {
                self.answer(member, call, Answer::Refused { refusal, leader: leadership.leader });
            }
            Parcel::Operation { call, request } => {
                let request = Request { time, ..*request };
                running.core.take(Proposal { requests: vec![request], ticket: call });
            }
            Parcel::Read { call } => running.core.read(Reading { call, asked_at: answered }),
            Parcel::Pull { .. } | Parcel::File { .. } | Parcel::Answer { .. } => {
                unreachable!("not for this thread")
            }
        }
    }

    /// The leader's own, which nobody waits for.
    pub(super) fn propose(&mut self, member: u64, command: Command) {
        let time = self.members[member as usize - 1].wall_clock(self.now);
        let request = Request { time, origin: None, command, principal: None };
        let ticket = Call { client: None, token: 0, origin: None };
        self.member(member).running().core.take(Proposal { requests: vec![request], ticket });
    }

    fn advance(&mut self, member: u64) {
        let now = self.now;
        let running = self.member(member).running();
        let progressed = running.progressed;
        let persisted_by = &running.persisted_by;
        running.core.advance(now, progressed, |node| persisted_by.get(&node).copied().unwrap_or_default());
    }

    pub(super) fn carry_out(&mut self, member: u64) {
        let mut outputs = Vec::new();
        self.member(member).running().core.take_outputs(&mut outputs);
        // Invariant 1 of the oracle. Who leads without knowing of a later leader leads in its own term still.
        let leadership = self.member(member).running().core.leadership();
        if leadership.leader == member {
            self.oracle.leads(member, leadership.term);
        }
        self.oracle.leases(self.members.iter().filter(|member| member.has_lease(self.now)).count());
        for output in outputs {
            self.carry_out_one(member, output);
        }
    }

    fn carry_out_one(&mut self, member: u64, output: MemberOutput) {
        match output {
            Output::Send(messages) => self.send_messages(member, messages),
            Output::Write(write) => self.hand_to_log(member, LogTask::Write(write)),
            Output::Truncate { index, term } => self.hand_to_log(member, LogTask::Truncate { index, term }),
            Output::Apply(entries) => self.hand_to_apply(member, entries),
            Output::Fetch { from, manifest } => self.pull(member, from, &manifest),
            Output::Install(manifest) => {
                self.member(member).running().installation =
                    Some(Installation { manifest, log_idle: false, begun: false });
                self.hand_to_log(member, LogTask::Barrier);
            }
            Output::Lost { last, acknowledged } => panic!("member {member} ends at {last} and has had {acknowledged}"),
            Output::Truncatable(index) => {
                let known = &mut self.member(member).running().progressed.truncatable;
                *known = index.max(*known);
            }
            Output::Refused(call, refusal) => {
                let leader = self.member(member).running().core.leadership().leader;
                self.answer(member, call, Answer::Refused { refusal, leader });
            }
            Output::Readable(Reading { call, asked_at }, applied) => {
                assert!(applied <= self.member(member).store.applied().index, "a read of what is not there");
                self.oracle.reads(asked_at, applied);
                self.answer(member, call, Answer::Read);
            }
            Output::ReadRefused(Reading { call, .. }, refusal) => {
                let leader = self.member(member).running().core.leadership().leader;
                self.answer(member, call, Answer::Refused { refusal, leader });
            }
        }
    }

    pub(super) fn answer(&mut self, member: u64, call: Call, answer: Answer) {
        if let Some(client) = call.client {
            let parcel = Parcel::Answer { token: call.token, answer: Box::new(answer) };
            self.send(Place::Member(member), Place::Client(client), parcel);
        }
    }

    /// Messages to one member go together, as over one connection; so they are lost together.
    pub(super) fn send_messages(&mut self, member: u64, messages: Vec<Message>) {
        let progressed = self.member(member).running().progressed;
        let (persisted, truncatable) = (progressed.persisted, progressed.truncatable);
        for to in self.ids() {
            let messages: Vec<Message> = messages.iter().filter(|message| message.to == to).cloned().collect();
            if !messages.is_empty() {
                self.tell(|_| format!("member {member} to {to}: {}", brief(&messages)));
                let parcel = Parcel::Raft { messages, persisted, truncatable };
                self.send(Place::Member(member), Place::Member(to), parcel);
            }
        }
    }

    /// What a leader does unasked: it removes for good what was in the trash for its time, and frees what was removed.
    pub(super) fn duties(&mut self, member: u64) {
        self.later(member, DUTIES, Work::Duties);
        let place = self.member(member);
        if place.running().installation.is_some() || !place.running().core.leadership().serving {
            return;
        }
        let view = self.member(member).store.state();
        let mut commands = Vec::new();
        if query::garbage_pending(view).expect("readable") {
            commands.push(Command::GcStep { limit: GC_STEP, grace_nanos: 0 });
        }
        let time = query::time(view).expect("readable");
        if query::trash_is_due(view, time).expect("readable") {
            commands.push(Command::ExpireTrash { limit: GC_STEP });
        }
        for storage in (0..STORAGES).map(storage) {
            let replicas = query::due_deletes(view, storage, time, 9).expect("readable");
            if !replicas.is_empty() {
                commands.push(Command::ReplicasDeleted { storage, replicas });
            }
        }
        commands.into_iter().for_each(|command| self.propose(member, command));
        self.wake(member);
    }
}

/// Messages in a line of the trace: kind, index, and how many entries follow it.
fn brief(messages: &[Message]) -> String {
    let one = |message: &Message| {
        let Message { msg_type, term, index, commit, reject, .. } = message;
        let (entries, no) = (message.entries.len(), if *reject { ", refused" } else { "" });
        format!("{msg_type:?} {index}+{entries} of term {term}, commit {commit}{no}")
    };
    messages.iter().map(one).collect::<Vec<_>>().join("; ")
}
