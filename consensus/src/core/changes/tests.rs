//! Some cores in one thread, whose logs are durable at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft::eraftpb::{EntryType, Message};
use types::DiskId;

use super::*;
use crate::core::ELECTION_TICKS;
use crate::group::Member;
use crate::tests::{List, NoSnapshots};
use crate::{AppliedState, LogStore, Output, Progressed, Refusal, Settings};

const TICK: Duration = Duration::from_millis(50);

struct Node {
    core: Core<u64, u64>,
    progressed: Progressed,
    /// What it was told to apply.
    committed: u64,
    group: Group,
}

/// Members that hear each other at once, except the ones that are cut off.
struct Net {
    nodes: BTreeMap<u64, Node>,
    cut_off: Vec<u64>,
    /// These apply nothing.
    slow: Vec<u64>,
    now: Duration,
    answered: Vec<(u64, Result<(), Refusal>)>,
    /// The kinds of the entries that change members, and the empty ones, as node 1 got them.
    kinds: Vec<(EntryType, bool)>,
}

fn member(node: u64) -> Member {
    Member { node, address: format!("127.0.0.1:{node}"), disk: Some(DiskId::from_bytes([node as u8; 16])) }
}

impl Net {
    fn start(voters: &[u64]) -> Self {
        let founders = Group::founding(voters.iter().map(|node| member(*node)).collect());
        let mut net = Self {
            nodes: BTreeMap::new(),
            cut_off: Vec::new(),
            slow: Vec::new(),
            now: Duration::from_secs(1),
            answered: Vec::new(),
            kinds: Vec::new(),
        };
        voters.iter().for_each(|node| net.join(*node, &founders));
        net.until(|net| net.leader().is_some());
        net
    }

    fn join(&mut self, node: u64, founders: &Group) {
        let settings = Settings { node, tick: TICK, truncate_entries: u64::MAX / 2, log_keep: u64::MAX, seed: node };
        let applied = AppliedState { index: 0, term: 0, group: founders.clone() };
        let log: Arc<dyn LogStore> = Arc::new(List::default());
        let core = Core::new(settings, self.now, &applied, &log, Arc::new(NoSnapshots)).expect("starts");
        self.nodes
            .insert(node, Node { core, progressed: Progressed::default(), committed: 0, group: founders.clone() });
    }

    fn leader(&self) -> Option<u64> {
        let leads = |(node, member): (&u64, &Node)| {
            let raft = &member.core.node.raft;
            (member.core.is_leader() && raft.apply_to_current_term() && !self.cut_off.contains(node)).then_some(*node)
        };
        self.nodes.iter().find_map(leads)
    }

    /// One tick of every member, and all messages that come of it.
    fn tick(&mut self) {
        self.now += TICK;
        let mut messages: Vec<Message> = Vec::new();
        for _ in 0..20 {
            for message in std::mem::take(&mut messages) {
                let silent = self.cut_off.contains(&message.to) || self.cut_off.contains(&message.from);
                if let Some(node) = self.nodes.get_mut(&message.to).filter(|_| !silent) {
                    node.core.step(self.now, message);
                }
            }
            for (id, node) in &mut self.nodes {
                if !self.slow.contains(id) {
                    node.progressed.applied = node.committed;
                }
                node.core.advance(self.now, node.progressed, |_| 0);
                let mut outputs = Vec::new();
                node.core.take_outputs(&mut outputs);
                for output in outputs {
                    match output {
                        Output::Send(sent) => messages.extend(sent),
                        Output::Write(write) => {
                            node.progressed.written = write.number;
                            messages.extend(write.messages);
                        }
                        Output::Apply(entries) => {
                            for committed in entries {
                                node.committed = committed.entry.index;
                                let kind = committed.entry.get_entry_type();
                                if *id == 1 {
                                    self.kinds.push((kind, committed.entry.data.is_empty()));
                                }
                                if let Some(group) = committed.group {
                                    node.group = group;
                                }
                                self.answered.extend(committed.waiters.iter().map(|waiter| (waiter.ticket, Ok(()))));
                            }
                        }
                        Output::Refused(ticket, refusal) => self.answered.push((ticket, Err(refusal))),
                        Output::Truncatable(_) | Output::Truncate { .. } => {}
                        other => panic!("node {id}: {other:?}"),
                    }
                }
            }
        }
    }

    fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if condition(self) {
                return;
            }
            self.tick();
        }
        panic!("not within 2000 ticks");
    }

    fn change(&mut self, change: &Change, ticket: u64) -> Result<(), ChangeError> {
        let leader = self.leader().expect("a leader");
        let now = self.now;
        self.nodes.get_mut(&leader).expect("it is one").core.change(now, change, || ticket)
    }

    fn all_vote(&self, voters: &[u64]) -> bool {
        let agree = |node: &Node| node.group.voters == voters && node.group.outgoing.is_empty();
        voters.iter().all(|node| self.nodes.get(node).is_some_and(agree))
    }
}

/// Invariant 3 of `group`: without a vote first, with one by itself once it has the log.
#[test]
fn a_member_is_added_gets_the_log_and_then_votes() {
    let mut net = Net::start(&[1, 2, 3]);
    let founders = Group::founding([1, 2, 3].map(member).to_vec());
    net.cut_off = vec![4];
    net.join(4, &founders);
    assert_eq!(net.change(&Change::Add(member(4)), 7), Ok(()));
    net.until(|net| net.answered.contains(&(7, Ok(()))));
    (0..50).for_each(|_| net.tick());
    assert_eq!(net.nodes[&1].group.learners, [4], "it has not got the log");
    assert_eq!(net.nodes[&1].group.member(4), Some(&member(4)));
    net.cut_off.clear();
    net.until(|net| net.all_vote(&[1, 2, 3, 4]));
    // The same again is harmless; another directory is not the same.
    assert_eq!(net.change(&Change::Add(member(4)), 8), Ok(()));
    let other = Member { disk: Some(DiskId::from_bytes([99; 16])), ..member(4) };
    assert_eq!(net.change(&Change::Add(other), 9), Err(ChangeError::Taken(4)));
    net.until(|net| net.answered.contains(&(8, Ok(()))));
}

/// After a snapshot the leader probes a member, until there is an entry to send; a cluster may be idle for days.
#[test]
fn a_learner_that_has_the_whole_log_votes_without_another_entry() {
    let mut net = Net::start(&[1, 2, 3]);
    let founders = Group::founding([1, 2, 3].map(member).to_vec());
    net.join(4, &founders);
    assert_eq!(net.change(&Change::Add(member(4)), 7), Ok(()));
    let leader = net.leader().expect("a leader");
    for _ in 0..100 {
        net.tick();
        let raft = &mut net.nodes.get_mut(&leader).expect("it is one").core.node.raft;
        if let Some(progress) = raft.mut_prs().get_mut(4) {
            progress.state = ProgressState::Probe;
        }
    }
    assert!(net.all_vote(&[1, 2, 3, 4]));
}

/// Invariant 2 of `group`, and that a dead member is not needed for its removal.
#[test]
fn a_dead_member_is_removed_and_its_number_is_not_used_again() {
    let mut net = Net::start(&[1, 2, 3]);
    let dead = net.leader().expect("a leader") % 3 + 1;
    net.cut_off = vec![dead];
    (0..2 * ALIVE_TICKS).for_each(|_| net.tick());
    assert_eq!(net.change(&Change::Remove(dead), 7), Ok(()));
    let left: Vec<u64> = (1..=3).filter(|node| *node != dead).collect();
    net.until(|net| net.all_vote(&left));
    assert_eq!(net.nodes[&left[0]].group.removed, [dead]);
    assert_eq!(net.nodes[&left[0]].group.member(dead), None);
    assert_eq!(net.change(&Change::Add(member(dead)), 8), Err(ChangeError::Removed(dead)));
    assert_eq!(net.change(&Change::Remove(dead), 8), Err(ChangeError::Stranger(dead)));
    let leader = net.leader().expect("a leader");
    assert_eq!(net.change(&Change::Remove(leader), 8), Err(ChangeError::Leads(leader)));
}

/// Whoever is left must be able to agree.
#[test]
fn a_change_that_would_lose_the_quorum_is_refused() {
    let mut net = Net::start(&[1, 2, 3]);
    let leader = net.leader().expect("a leader");
    let (live, dead) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    net.cut_off = vec![dead];
    (0..2 * ALIVE_TICKS).for_each(|_| net.tick());
    let mut voters = vec![leader, dead];
    voters.sort_unstable();
    let refused = ChangeError::NoQuorum { voters, live: vec![leader], needed: 2 };
    assert_eq!(net.change(&Change::Remove(live), 7), Err(refused));
    assert!(net.all_vote(&[1, 2, 3]), "nothing has happened");
}

/// One at a time. What the library makes an empty entry of is refused, and not taken for done.
#[test]
fn a_second_change_is_refused_while_one_is_under_way() {
    let mut net = Net::start(&[1]);
    assert_eq!(net.change(&Change::Add(member(2)), 7), Ok(()));
    assert_eq!(net.change(&Change::Add(member(3)), 8), Err(ChangeError::Pending));
    // Proposed all the same, as by a leader that does not know of the first.
    let core = &mut net.nodes.get_mut(&1).expect("it is one").core;
    let second = Group::of(&[1]).propose(1, &Change::Add(member(3))).expect("legal by itself");
    core.node.propose_conf_change(Vec::new(), second).expect("taken");
    let (index, term) = (core.node.raft.raft_log.last_index(), core.node.raft.term);
    let waiters = vec![Waiter { requests: 0, ticket: 8 }];
    core.waiting.push_back(Waiting { index, term, waiters, requests: 0, change: true });
    net.kinds.clear();
    net.until(|net| net.answered.len() == 2);
    assert_eq!(net.answered, [(8, Err(Refusal::Busy)), (7, Ok(()))]);
    assert_eq!(net.kinds, [(EntryType::EntryConfChangeV2, false), (EntryType::EntryNormal, true)]);
    assert_eq!(net.nodes[&1].group.learners, [2]);
}

/// A joint change ends by an entry of the library's own, which is empty and no usual one.
#[test]
fn the_empty_entry_that_ends_a_change_is_not_taken_for_nothing() {
    let mut net = Net::start(&[1, 2, 3]);
    let leader = net.leader().expect("a leader");
    net.kinds.clear();
    let gone = leader % 3 + 1;
    assert_eq!(net.change(&Change::Remove(gone), 7), Ok(()));
    let left: Vec<u64> = (1..=3).filter(|node| *node != gone).collect();
    net.until(|net| net.all_vote(&left));
    if gone != 1 {
        let changes = net.kinds.iter().filter(|(kind, _)| *kind == EntryType::EntryConfChangeV2);
        assert_eq!(changes.map(|(_, empty)| *empty).collect::<Vec<_>>(), [false, true]);
    }
}

/// A member whose disk has stalled gives the lead away, and does not ask for it.
#[test]
fn a_stalled_leader_hands_over_and_a_stalled_member_does_not_campaign() {
    let mut net = Net::start(&[1, 2, 3]);
    let stalled = net.leader().expect("a leader");
    let now = net.now;
    net.nodes.get_mut(&stalled).expect("it is one").core.stalled(now, true);
    net.until(|net| net.leader().is_some_and(|leader| leader != stalled));
    // Whoever leads is gone: of the two left, only the other one campaigns.
    for _ in 0..3 {
        let leader = net.leader().expect("a leader");
        net.cut_off = vec![leader];
        net.until(|net| net.leader().is_some());
        assert_ne!(net.leader(), Some(stalled));
        net.cut_off.clear();
        net.until(|net| net.leader().is_some());
    }
}

/// A leader, and the member that it would have take over first, which has a change of members to apply still: so it often
/// is with one that has just come back.
fn with_a_slow_heir() -> (Net, u64, u64) {
    let mut net = Net::start(&[1, 2, 3]);
    let leader = net.leader().expect("a leader");
    let heir = (1..=3).rfind(|node| *node != leader).expect("there are others");
    net.slow = vec![heir];
    assert_eq!(net.change(&Change::Record(vec![(1, "elsewhere".to_owned())]), 7), Ok(()));
    net.until(|net| net.answered.contains(&(7, Ok(()))) && net.nodes[&heir].committed == net.nodes[&leader].committed);
    (net, leader, heir)
}

#[test]
fn the_lead_goes_to_another_member_if_the_first_cannot_take_it() {
    let (mut net, leader, heir) = with_a_slow_heir();
    let now = net.now;
    net.nodes.get_mut(&leader).expect("it is one").core.transfer(now, None);
    net.until(|net| net.leader().is_some_and(|leads| leads != leader));
    assert_ne!(net.leader(), Some(heir));
}

/// The library tells it once, and that comes to nothing.
#[test]
fn the_one_that_is_to_lead_is_told_again_when_it_can() {
    let (mut net, leader, heir) = with_a_slow_heir();
    let now = net.now;
    net.nodes.get_mut(&leader).expect("it is one").core.transfer(now, Some(heir));
    (0..ELECTION_TICKS).for_each(|_| net.tick());
    assert_eq!(net.leader(), Some(leader));
    net.slow.clear();
    net.until(|net| net.leader() == Some(heir));
}

/// In vain: this member leads on, and does what it is asked for.
#[test]
fn a_hand_over_that_nobody_takes_ends() {
    let (mut net, leader, heir) = with_a_slow_heir();
    let now = net.now;
    net.nodes.get_mut(&leader).expect("it is one").core.transfer(now, Some(heir));
    (0..4 * ELECTION_TICKS).for_each(|_| net.tick());
    assert_eq!(net.leader(), Some(leader));
    let other = 6 - leader - heir;
    assert_eq!(net.change(&Change::Remove(other), 8), Ok(()));
}

/// What a leader counts on was acknowledged: with less, a member has lost entries.
#[test]
fn a_member_that_lost_acknowledged_entries_is_found_out() {
    let founders = Group::of(&[1, 2, 3]);
    let mut net = Net::start(&[1, 2, 3]);
    net.nodes.clear();
    net.join(1, &founders);
    let core = &mut net.nodes.get_mut(&1).expect("it is one").core;
    let heartbeat = |commit| Message {
        msg_type: raft::eraftpb::MessageType::MsgHeartbeat,
        from: 2,
        to: 1,
        term: 4,
        commit,
        ..Message::default()
    };
    core.step(net.now, heartbeat(0));
    core.step(net.now, heartbeat(9));
    let mut outputs = Vec::new();
    core.take_outputs(&mut outputs);
    assert!(matches!(outputs[..], [Output::Lost { last: 0, acknowledged: 9 }]), "{outputs:?}");
}
