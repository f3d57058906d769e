//! One core alone: a test plays the threads around it.

use raft::eraftpb::Entry;

use super::*;
use crate::execute::Waiter;
use crate::group::{Change, Group};
use crate::tests::{List, NoSnapshots};

const TICK: Duration = Duration::from_millis(50);

pub(super) struct Alone {
    pub(super) core: Core<u64, u64>,
    pub(super) now: Duration,
    pub(super) progressed: Progressed,
    outputs: Vec<Output<u64, u64>>,
}

impl Alone {
    pub(super) fn start(voters: &[u64]) -> Self {
        Self::with_seed(voters, 7)
    }

    pub(super) fn with_seed(voters: &[u64], seed: u64) -> Self {
        let log: Arc<dyn LogStore> = Arc::new(List::default());
        let settings = Settings { node: 1, tick: TICK, truncate_entries: u64::MAX / 2, log_keep: u64::MAX, seed };
        let applied = AppliedState { index: 0, term: 0, group: Group::of(voters) };
        let now = Duration::from_secs(9);
        let core = Core::new(settings, now, &applied, &log, Arc::new(NoSnapshots)).expect("starts");
        Self { core, now, progressed: Progressed::default(), outputs: Vec::new() }
    }

    /// What a shell does after it has taken something in.
    pub(super) fn turn(&mut self) {
        self.core.advance(self.now, self.progressed, |_| 0);
        self.core.take_outputs(&mut self.outputs);
    }

    pub(super) fn tick(&mut self) {
        self.now = self.core.deadline();
        self.turn();
    }

    pub(super) fn receive(&mut self, message: &Message) {
        self.core.step(self.now, message.clone());
        self.turn();
    }

    pub(super) fn taken<T>(&mut self, take: impl Fn(&mut Output<u64, u64>) -> Option<Vec<T>>) -> Vec<T> {
        self.outputs.iter_mut().filter_map(take).flatten().collect()
    }

    /// The kinds of messages that have left for `node` since this was asked.
    pub(super) fn sent(&mut self, node: u64) -> Vec<MessageType> {
        let kinds = self.taken(|output| match output {
            Output::Send(messages) => Some(messages.extract_if(.., |message| message.to == node).collect()),
            _ => None,
        });
        kinds.iter().map(Message::get_msg_type).collect()
    }

    /// The kinds of messages that wait for the log since this was asked.
    fn waiting(&mut self) -> Vec<MessageType> {
        let messages = self.taken(|output| match output {
            Output::Write(write) => Some(std::mem::take(&mut write.messages)),
            _ => None,
        });
        messages.iter().map(Message::get_msg_type).collect()
    }

    /// The log thread has written all that it was given.
    pub(super) fn written(&mut self) {
        self.progressed.written = self.core.handed;
        self.turn();
    }

    /// Wins, with the vote of member 2, and commits its first entry.
    pub(super) fn lead(&mut self) {
        self.core.node.campaign().expect("it may");
        for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
            self.written();
            self.receive(&message(kind, 1));
        }
        assert!(self.core.is_leader());
        self.written();
        self.receive(&Message { index: 1, ..message(MessageType::MsgAppendResponse, 1) });
        self.progressed.applied = 1;
        self.turn();
    }

    /// Reads that may be answered since this was asked.
    pub(super) fn readable(&mut self) -> Vec<u64> {
        self.taken(|output| match output {
            Output::Readable(ticket, _) => Some(vec![std::mem::take(ticket)]),
            _ => None,
        })
        .into_iter()
        .filter(|ticket| *ticket != 0)
        .collect()
    }

    /// Reads that were refused since this was asked.
    pub(super) fn unreadable(&mut self) -> Vec<u64> {
        self.taken(|output| match output {
            Output::ReadRefused(ticket, Refusal::NotLeader) => Some(vec![std::mem::take(ticket)]),
            _ => None,
        })
        .into_iter()
        .filter(|ticket| *ticket != 0)
        .collect()
    }

    /// The messages of a kind that have left for `node` since this was asked.
    pub(super) fn messages(&mut self, node: u64, kind: MessageType) -> Vec<Message> {
        self.taken(|output| match output {
            Output::Send(messages) => {
                let of_kind = |message: &mut Message| message.to == node && message.get_msg_type() == kind;
                Some(messages.extract_if(.., of_kind).collect())
            }
            _ => None,
        })
    }

    /// Asks for a read.
    pub(super) fn read(&mut self, ticket: u64) {
        self.core.read(ticket);
        self.turn();
    }

    /// Answers for member 2 what the leader asks it.
    pub(super) fn prove(&mut self) {
        let asked = self.taken(|output| match output {
            Output::Send(messages) => Some(messages.extract_if(.., |message| message.to == 2).collect()),
            _ => None,
        });
        let round = asked.iter().rfind(|message| !message.context.is_empty()).expect("a round is under way");
        let context = round.context.clone();
        self.receive(&Message { context, ..message(MessageType::MsgHeartbeatResponse, 1) });
    }

    /// Proposals that were refused since this was asked.
    fn refused(&mut self) -> Vec<(u64, Refusal)> {
        self.core.take_outputs(&mut self.outputs);
        self.taken(|output| match output {
            Output::Refused(ticket, refusal) => Some(vec![(std::mem::take(ticket), *refusal)]),
            _ => None,
        })
        .into_iter()
        .filter(|(ticket, _)| *ticket != 0)
        .collect()
    }
}

pub(super) fn message(kind: MessageType, term: u64) -> Message {
    Message { msg_type: kind, from: 2, to: 1, term, ..Message::default() }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, ..Entry::default() }
}

/// Invariant 1: an acknowledgement goes the way of what it acknowledges. A heartbeat's answer need not wait.
#[test]
fn a_follower_acknowledges_entries_and_votes_only_behind_the_sync() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.receive(&Message { entries: vec![entry(1, 1)].into(), ..message(MessageType::MsgAppend, 1) });
    assert_eq!(alone.sent(2), []);
    assert_eq!(alone.waiting(), [MessageType::MsgAppendResponse]);
    alone.receive(&message(MessageType::MsgHeartbeat, 1));
    assert_eq!(alone.sent(2), [MessageType::MsgHeartbeatResponse]);
    // The vote itself is for a later term, which must be durable first.
    let context = b"CampaignTransfer".to_vec();
    let vote = Message { index: 1, log_term: 1, context: context.into(), ..message(MessageType::MsgRequestVote, 2) };
    alone.receive(&vote);
    assert_eq!(alone.sent(2), []);
    assert_eq!(alone.waiting(), [MessageType::MsgRequestVoteResponse]);
}

/// The library panics if a single member wins while entries are not durable.
#[test]
fn a_single_member_does_not_campaign_before_all_is_durable() {
    let mut alone = Alone::start(&[1]);
    alone.turn();
    assert!(alone.core.is_leader() && alone.core.handed > 0);
    // It hears of a later term, however that came about.
    alone.receive(&message(MessageType::MsgHeartbeat, 9));
    assert!(!alone.core.is_leader());
    let ticks = 3 * ELECTION_TICKS;
    for _ in 0..ticks {
        alone.tick();
    }
    assert!(!alone.core.is_leader());
    alone.written();
    for _ in 0..ticks {
        alone.tick();
        alone.written();
    }
    assert!(alone.core.is_leader());
}

/// Invariant 3: what is at the index of a proposal may be of another leader.
#[test]
fn a_waiter_gets_only_the_entry_of_its_own_term() {
    let mut alone = Alone::start(&[1]);
    let mut wait = |index, term| {
        let waiters = vec![Waiter { requests: 1, ticket: index }];
        alone.core.waiting.push_back(Waiting { index, term, waiters, requests: 1, change: false });
        alone.core.waiting_requests += 1;
    };
    wait(5, 2);
    wait(6, 2);
    wait(7, 2);
    wait(9, 2);
    assert_eq!(alone.core.give_out(entry(5, 2)).waiters.len(), 1);
    assert_eq!(alone.core.give_out(entry(6, 3)).waiters.len(), 0);
    assert_eq!(alone.core.give_out(entry(8, 3)).waiters.len(), 0);
    assert_eq!(alone.refused(), [(6, Refusal::Unknown), (7, Refusal::Unknown)]);
    alone.core.refuse_all();
    assert_eq!(alone.refused(), [(9, Refusal::NotLeader)]);
    assert_eq!(alone.core.waiting_requests, 0);
}

/// Invariant 8: without its files, Raft does not hear of it. One that is of no use is answered.
#[test]
fn a_snapshot_waits_for_its_files_and_an_old_one_is_answered() {
    let mut alone = Alone::start(&[1, 2, 3]);
    let manifest = |index| Manifest { index, term: 1, group: Group::of(&[1, 2, 3]), files: vec![] };
    let snapshot = |index, term| {
        let mut snapshot = raft::eraftpb::Snapshot { data: manifest(index).encode().into(), ..Default::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, 1);
        metadata.mut_conf_state().voters = vec![1, 2, 3];
        let mut message = message(MessageType::MsgSnapshot, term);
        message.set_snapshot(snapshot);
        message
    };
    alone.receive(&snapshot(70, 1));
    let fetch = alone.taken(|output| match output {
        Output::Fetch { from, manifest } => Some(vec![(*from, manifest.at())]),
        _ => None,
    });
    assert_eq!(fetch, [(2, (70, 1))]);
    assert_eq!((alone.core.node.raft.raft_log.committed, alone.core.node.snap().is_some()), (0, false));
    // Of another pull, or one that failed: nothing happens.
    alone.core.fetched((69, 1), true);
    assert!(alone.core.held.is_some());
    alone.core.fetched((70, 1), false);
    assert!(alone.core.held.is_none() && alone.core.staged.is_none());

    // All of it came from the log meanwhile.
    let entries: Vec<Entry> = (1..=80).map(|index| entry(index, 1)).collect();
    alone.receive(&Message { entries: entries.into(), commit: 75, ..message(MessageType::MsgAppend, 1) });
    alone.written();
    assert!(alone.outputs.iter().any(|output| matches!(output, Output::Apply(_))), "committed");
    alone.waiting();
    alone.receive(&snapshot(70, 1));
    assert!(alone.core.held.is_none());
    assert_eq!([alone.sent(2), alone.waiting()].concat(), [MessageType::MsgAppendResponse]);
}

/// Only what is on disk counts: the pulled files become the state before the member says that it has them.
#[test]
fn a_pulled_snapshot_is_installed_before_it_is_acknowledged() {
    let mut alone = Alone::start(&[1, 2, 3]);
    let manifest = Manifest { index: 70, term: 1, group: Group::of(&[1, 2, 3]), files: vec![] };
    let mut snapshot = raft::eraftpb::Snapshot { data: manifest.encode().into(), ..Default::default() };
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (70, 1);
    metadata.mut_conf_state().voters = vec![1, 2, 3];
    let mut told = message(MessageType::MsgSnapshot, 1);
    told.set_snapshot(snapshot);
    alone.receive(&told);
    alone.core.fetched((70, 1), true);
    alone.turn();
    assert!(matches!(alone.outputs.pop(), Some(Output::Install(manifest)) if manifest.at() == (70, 1)));
    assert_eq!(alone.waiting(), []);
    // As the apply thread does.
    alone.progressed.applied = 70;
    alone.core.installed();
    alone.turn();
    assert_eq!(alone.sent(2), []);
    assert_eq!(alone.waiting(), [MessageType::MsgAppendResponse]);
    // The disk takes its time: longer than an election timeout, and the leader would hand over.
    for _ in 0..2 * ELECTION_TICKS {
        alone.tick();
    }
    alone.receive(&message(MessageType::MsgTimeoutNow, 1));
    assert_eq!([alone.sent(2), alone.waiting()].concat(), [], "it does not campaign");
    alone.written();
    let log = &alone.core.node.raft.raft_log;
    assert_eq!((log.first_index(), log.last_index(), log.committed, log.applied), (71, 70, 70, 70));
    alone.receive(&Message {
        index: 70,
        log_term: 1,
        entries: vec![entry(71, 1)].into(),
        ..message(MessageType::MsgAppend, 1)
    });
    assert_eq!(alone.core.node.raft.raft_log.last_index(), 71);
}

/// The library forgets regularly whom it has heard, and a hand-over must not depend on when.
#[test]
fn the_lead_goes_to_a_member_that_was_heard_lately() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.lead();
    for node in [2, 3] {
        alone.core.node.raft.mut_prs().get_mut(node).expect("a member").recent_active = false;
        alone.sent(node);
    }
    alone.core.transfer(alone.now, Some(3));
    alone.turn();
    assert_eq!(alone.sent(3), [], "it was never heard");
    alone.core.transfer(alone.now, None);
    alone.turn();
    assert_eq!(alone.sent(2), [MessageType::MsgTimeoutNow]);
}

/// The ticks between the campaigns of a member that hears nobody, in each of the next terms.
fn campaigns(alone: &mut Alone) -> Vec<u32> {
    let mut ticks = Vec::new();
    for term in 1..60 {
        let mut waited = 0;
        while ![alone.sent(2), alone.waiting()].concat().contains(&MessageType::MsgRequestPreVote) {
            alone.tick();
            alone.written();
            waited += 1;
        }
        ticks.push(waited);
        // Another has won that term meanwhile, and is heard no more.
        alone.receive(&message(MessageType::MsgHeartbeat, term));
        alone.written();
    }
    ticks
}

/// Invariant 7: the library draws election timeouts from the dice of the thread, and nothing that runs on them can be
/// repeated.
#[test]
fn election_timeouts_come_from_the_seed_alone() {
    let of = |seed| campaigns(&mut Alone::with_seed(&[1, 2, 3], seed));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    assert!(of(1).iter().all(|ticks| (16..32).contains(ticks)), "{:?}", of(1));
}

/// Invariant 6, with what a lease takes from it: one round, then no messages while nobody else can lead.
#[test]
fn reads_under_a_lease_need_no_messages_and_end_with_it() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.lead();
    alone.read(5);
    assert_eq!(alone.readable(), [], "nothing is proven yet");
    let asked = alone.now;
    // What takes long in coming back counts from when it was asked.
    alone.now += TICK / 2;
    alone.prove();
    assert_eq!(alone.readable(), [5]);
    let until = alone.core.lease().expect("the round gave one");
    assert_eq!(until, asked + TICK * 6);
    alone.sent(2);
    alone.read(6);
    assert_eq!((alone.readable(), alone.sent(2)), (vec![6], vec![]));
    // Reads late in a lease are answered, and have it renewed.
    alone.now = asked + TICK * 3;
    alone.read(7);
    assert_eq!(alone.readable(), [7]);
    alone.prove();
    assert_eq!(alone.core.lease(), Some(asked + TICK * 9));
    // Stopped until others may have voted, it asks again.
    alone.now = asked + TICK * 9;
    alone.read(8);
    assert_eq!(alone.readable(), []);
    alone.prove();
    assert_eq!(alone.readable(), [8]);
}

/// Whoever hands over is replaced without waiting for a timeout, and nobody knows when.
#[test]
fn a_leader_that_hands_over_takes_no_lease_in_its_term() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.lead();
    alone.read(5);
    alone.prove();
    assert!(alone.core.lease().is_some());
    alone.core.transfer(alone.now, None);
    assert_eq!(alone.core.lease(), None);
    alone.sent(2);
    alone.readable();
    // It comes to nothing: the other one did not take over.
    alone.core.node.raft.abort_leader_transfer();
    for ticket in [6, 7] {
        alone.read(ticket);
        assert_eq!(alone.readable(), [], "it needs a round of its own");
        alone.prove();
        assert_eq!((alone.readable(), alone.core.lease()), (vec![ticket], None));
    }
}

/// A leader may count on a member that it heard just before that member stopped.
#[test]
fn a_member_that_just_started_votes_for_nobody() {
    let mut alone = Alone::start(&[1, 2, 3]);
    let votes = |kind, term| Message { index: 1, log_term: 1, ..message(kind, term) };
    for kind in [MessageType::MsgRequestPreVote, MessageType::MsgRequestVote] {
        alone.receive(&votes(kind, 2));
        assert_eq!([alone.sent(2), alone.waiting()].concat(), []);
    }
    alone.now += TICK * ELECTION_TICKS as u32;
    alone.receive(&votes(MessageType::MsgRequestVote, 2));
    assert_eq!(alone.waiting(), [MessageType::MsgRequestVoteResponse]);
}

/// The library puts entries into a message to the same member that is there already. If that one has none, it does not
/// look whether they follow the index that it tells, and the member acknowledges entries that it does not have.
#[test]
fn entries_sent_again_do_not_pass_for_later_ones() {
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.core.node.campaign().expect("it may");
    for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
        alone.written();
        alone.receive(&message(kind, 1));
    }
    assert!(alone.core.is_leader());
    alone.written();
    let answer = |from, index| Message { from, index, ..message(MessageType::MsgAppendResponse, 1) };
    alone.receive(&answer(2, 1));
    for _ in 0..2 {
        alone.core.node.propose(Vec::new(), vec![1]).expect("it leads");
        alone.turn();
        alone.written();
    }
    alone.sent(2);
    // In one turn: another member's answer commits, which is told; and this one has lost the entries.
    alone.core.step(alone.now, answer(3, 3));
    alone.core.step(alone.now, Message { reject: true, reject_hint: 1, ..answer(2, 2) });
    alone.turn();
    let appends = alone.taken(|output| match output {
        Output::Send(messages) => Some(messages.iter().filter(|message| message.to == 2).cloned().collect()),
        _ => None,
    });
    let first = |message: &Message| message.entries.first().map(|entry| (message.index, entry.index));
    let sent: Vec<(u64, u64)> = appends.iter().filter_map(first).collect();
    assert_eq!(sent, [(1, 2)]);
}

/// Invariant 9: the library has the commit index synced with nothing, and after a power cut it may be forgotten.
#[test]
fn a_change_of_members_goes_to_the_log_with_the_commit_index() {
    let changes = |alone: &mut Alone| {
        alone.taken(|output| match output {
            Output::Write(write) => {
                let change = write.entries.iter().any(|entry| entry.get_entry_type() == EntryType::EntryConfChangeV2);
                change.then(|| vec![write.hard_state.as_ref().map(|state| (state.term, state.commit))])
            }
            _ => None,
        })
    };
    // By the leader, with nothing else new.
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.lead();
    alone.written();
    let change = Change::Record(vec![(2, "elsewhere".to_owned())]);
    assert_eq!(alone.core.change(alone.now, &change, || 7), Ok(()));
    alone.turn();
    assert_eq!(changes(&mut alone), [Some((1, 1))]);
    // By a member that was told of both before.
    let mut alone = Alone::start(&[1, 2, 3]);
    alone.receive(&Message { entries: vec![entry(1, 1)].into(), ..message(MessageType::MsgAppend, 1) });
    alone.receive(&Message { commit: 1, ..message(MessageType::MsgHeartbeat, 1) });
    alone.written();
    let change = Entry { entry_type: EntryType::EntryConfChangeV2, ..entry(2, 1) };
    let append = message(MessageType::MsgAppend, 1);
    alone.receive(&Message { index: 1, log_term: 1, commit: 1, entries: vec![change].into(), ..append });
    assert_eq!(changes(&mut alone), [Some((1, 1))]);
}

/// A majority without this member may commit what is not durable here; applied and flushed, it could be cut. The library
/// still looks at it when it campaigns, and panics if it is gone.
#[test]
fn what_the_library_does_not_know_to_be_applied_is_not_cut() {
    let mut alone = Alone::start(&[1, 2, 3]);
    let entries: Vec<Entry> = (1..=30).map(|index| entry(index, 1)).collect();
    alone.receive(&Message { entries: entries.into(), commit: 30, ..message(MessageType::MsgAppend, 1) });
    // Nothing is written yet, and the state has all of it, as if it were.
    (alone.progressed.applied, alone.progressed.persisted, alone.progressed.truncatable) = (30, 30, 30);
    alone.core.cut(alone.progressed, |_| 30);
    alone.turn();
    for _ in 0..2 * ELECTION_TICKS {
        alone.tick();
    }
    assert!(alone.waiting().contains(&MessageType::MsgRequestPreVote), "it campaigns");
    alone.written();
    alone.core.cut(alone.progressed, |_| 30);
    assert_eq!(alone.core.node.raft.raft_log.first_index(), 31);
}
