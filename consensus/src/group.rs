//! Who belongs to the Raft group, as of an index of the log, and how that changes.
//!
//! 1. The group changes by entries of the log only. What a cluster begins with is the same on every member.
//! 2. The number of a member that was removed is never used again.
//! 3. One change at a time. A member joins without a vote, and votes when it has the log; whoever gets or loses a vote does
//!    so by joint consensus.

use minicbor::{Decode, Encode};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use types::DiskId;

/// More members than this do not vote faster, nor live longer.
const MEMBERS: usize = 9;

/// A namenode that belongs to the group, whether it votes or not.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    #[n(0)]
    pub node: u64,
    /// Where it listens; empty while no leader has recorded it.
    #[n(1)]
    pub address: String,
    /// Of its directory: another one is not this member. Absent if it was formatted without.
    #[n(2)]
    pub disk: Option<DiskId>,
}

/// The members, and how they vote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Group {
    #[n(0)]
    pub voters: Vec<u64>,
    #[n(1)]
    pub learners: Vec<u64>,
    /// The voters before the change that is under way; a majority of these is needed too.
    #[n(2)]
    pub outgoing: Vec<u64>,
    /// Outgoing voters that are learners after the change.
    #[n(3)]
    pub learners_next: Vec<u64>,
    #[n(4)]
    pub auto_leave: bool,
    /// In the order of their numbers.
    #[n(5)]
    pub members: Vec<Member>,
    /// Invariant 2.
    #[n(6)]
    pub removed: Vec<u64>,
    /// The index of the last change.
    #[n(7)]
    pub changed: u64,
}

/// A change that a leader may propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A member that gets the log, and a vote once it has it.
    Add(Member),
    Remove(u64),
    Promote(u64),
    /// Where members listen, if that is not what the group says.
    Record(Vec<(u64, String)>),
}

/// Why a change is not proposed. It has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("this member does not lead")]
    NotLeader,
    #[error("another change of the members is under way, or the lead is new; try again")]
    Pending,
    #[error("node {0} is a member already, with another directory")]
    Taken(u64),
    #[error("node {0} was removed, and its number is not used again; join with a new directory")]
    Removed(u64),
    #[error("node {0} is no member")]
    Stranger(u64),
    #[error("node {0} leads; have another take over first")]
    Leads(u64),
    #[error("there are {MEMBERS} members, and no more are supported")]
    Full,
    #[error("of the voters {voters:?} only {live:?} would live, and {needed} are needed; bring others back first")]
    NoQuorum { voters: Vec<u64>, live: Vec<u64>, needed: usize },
}

impl Group {
    /// The group that a cluster begins with (invariant 1).
    pub fn founding(members: Vec<Member>) -> Self {
        let voters = members.iter().map(|member| member.node).collect();
        Self { voters, members, ..Self::default() }
    }

    /// Voters of whom nothing else is known.
    pub fn of(voters: &[u64]) -> Self {
        let member = |node: &u64| Member { node: *node, address: String::new(), disk: None };
        Self::founding(voters.iter().map(member).collect())
    }

    pub fn member(&self, node: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// Whether a member votes, and did so before the change that is under way.
    pub fn votes(&self, node: u64) -> bool {
        self.voters.contains(&node) && (self.outgoing.is_empty() || self.outgoing.contains(&node))
    }

    pub(crate) fn conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.outgoing.clone(),
            learners_next: self.learners_next.clone(),
            auto_leave: self.auto_leave,
            ..ConfState::default()
        }
    }

    /// The group after the entry at `index`, which led to `state` and tells of `told`.
    pub(crate) fn after(&self, index: u64, state: ConfState, told: Vec<Member>) -> Self {
        let sorted = |mut nodes: Vec<u64>| {
            nodes.sort_unstable();
            nodes
        };
        let mut next = Self {
            voters: sorted(state.voters),
            learners: sorted(state.learners),
            outgoing: sorted(state.voters_outgoing),
            learners_next: sorted(state.learners_next),
            auto_leave: state.auto_leave,
            members: self.members.clone(),
            removed: self.removed.clone(),
            changed: index,
        };
        for member in told {
            next.members.retain(|known| known.node != member.node);
            next.members.push(member);
        }
        let belongs = |node: u64| {
            [&next.voters, &next.learners, &next.outgoing, &next.learners_next].iter().any(|list| list.contains(&node))
        };
        let (mut members, gone): (Vec<Member>, Vec<Member>) =
            std::mem::take(&mut next.members).into_iter().partition(|member| belongs(member.node));
        members.sort_by_key(|member| member.node);
        next.members = members;
        next.removed.extend(gone.iter().map(|member| member.node));
        next.removed.sort_unstable();
        next
    }

    /// The entry of a change that goes together with this group. `me` proposes it.
    pub(crate) fn propose(&self, me: u64, change: &Change) -> Result<ConfChangeV2, ChangeError> {
        use ConfChangeTransition::{Auto, Implicit};
        use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        let (kind, node, transition, told) = match change {
            Change::Add(member) if self.removed.contains(&member.node) => {
                return Err(ChangeError::Removed(member.node));
            }
            Change::Add(member) => match self.member(member.node) {
                Some(known) if known.disk != member.disk => return Err(ChangeError::Taken(member.node)),
                Some(_) => return self.propose(me, &Change::Record(vec![(member.node, member.address.clone())])),
                None if self.members.len() >= MEMBERS => return Err(ChangeError::Full),
                None => (AddLearnerNode, member.node, Auto, vec![member.clone()]),
            },
            Change::Promote(node) if self.learners.contains(node) => (AddNode, *node, Implicit, vec![]),
            Change::Remove(node) if *node == me => return Err(ChangeError::Leads(*node)),
            Change::Remove(node) if self.voters.contains(node) => (RemoveNode, *node, Implicit, vec![]),
            Change::Remove(node) if self.learners.contains(node) => (RemoveNode, *node, Auto, vec![]),
            Change::Promote(node) | Change::Remove(node) => return Err(ChangeError::Stranger(*node)),
            // For the library, a voter that is one already becomes one.
            Change::Record(addresses) => (AddNode, me, Auto, self.with_addresses(addresses)),
        };
        let single = ConfChangeSingle { change_type: kind, node_id: node, ..ConfChangeSingle::default() };
        let context = encode(&told).into();
        let mut change = ConfChangeV2 { changes: vec![single].into(), context, ..ConfChangeV2::default() };
        change.set_transition(transition);
        Ok(change)
    }

    fn with_addresses(&self, addresses: &[(u64, String)]) -> Vec<Member> {
        let told = |(node, address): &(u64, String)| {
            let member = self.member(*node)?;
            Some(Member { address: address.clone(), ..member.clone() })
        };
        addresses.iter().filter_map(told).collect()
    }

    /// The voters when `change` is done.
    pub(crate) fn voters_after(&self, change: &Change) -> Vec<u64> {
        let mut voters = self.voters.clone();
        match change {
            Change::Remove(gone) => voters.retain(|node| node != gone),
            Change::Promote(node) => voters.push(*node),
            Change::Add(_) | Change::Record(_) => {}
        }
        voters
    }
}

fn encode(told: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    minicbor::encode(told, &mut bytes).expect("writing to memory does not fail");
    bytes
}

/// What an entry that changes the group says; nothing if it cannot be read.
pub(crate) fn read(data: &[u8]) -> Option<(ConfChangeV2, Vec<Member>)> {
    // The library's own entry, which ends a joint change, is empty.
    let change = ConfChangeV2::parse_from_bytes(data).ok()?;
    let told = if change.context.is_empty() { Vec::new() } else { minicbor::decode(&change.context).ok()? };
    Some((change, told))
}

#[cfg(test)]
mod tests;
