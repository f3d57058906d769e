//! Who sees everything: what was committed, in one plain state, and what must hold of all members.
//!
//! Invariants, checked as things happen; a violation panics:
//! 1. One leader in each term.
//! 2. Logs match: an index and a term are one entry, with one entry before it, on every disk.
//! 3. What is committed is on the disks of a majority of those who vote on it, and no other entry is ever committed in its
//!    place. While a change of the members is under way, of those who vote before it, and of those who do after it.
//! 4. All states at one applied index are equal, and equal to one that took the commands one by one.
//! 5. The rows of that state are whole: counters are the sums, nothing leaks, nothing is an orphan.
//! 6. An operation of a session is applied once; all answers to it are the same.
//! 7. No two members have a lease at one time.
//! 8. A state that answers a read has everything that was answered before the read was asked for, whoever answers.
//! 9. All members agree on who the members are, as of each index.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use consensus::Group;
use namespace::codec::Batch;
use namespace::command::{Origin, Reply, Request};
use namespace::{invariants, query};
use raft::eraftpb::{Entry, EntryType};
use types::{Sequence, SessionId};

use crate::state::HashedState;

/// Entries between two looks at all rows.
const LOOK_EVERY: usize = 60;

type Outcome = Result<Reply, namespace::Error>;

#[derive(Debug)]
struct Entered {
    term: u64,
    data: u64,
    /// Of the state behind it.
    state: u64,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    state: HashedState,
    /// Of index 1 and on.
    committed: Vec<Entered>,
    /// The members, from each index on.
    groups: Vec<(u64, Group)>,
    answers: BTreeMap<(SessionId, Sequence), (u64, Outcome)>,
    leaders: BTreeMap<u64, u64>,
    /// By index and term: the entry's content, and the term of the one before it.
    written: BTreeMap<(u64, u64), (u64, Option<u64>)>,
    /// A client has been told of something at this index.
    answered: u64,
    pub(crate) commands: u64,
    pub(crate) repeated: u64,
}

fn hash_of(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// Whether more than half of them do.
fn most(nodes: &[u64], holds: impl Fn(u64) -> bool) -> bool {
    nodes.iter().filter(|node| holds(**node)).count() * 2 > nodes.len()
}

impl Oracle {
    pub(crate) fn new(founders: &[u64]) -> Self {
        Self {
            state: HashedState::default(),
            committed: Vec::new(),
            groups: vec![(0, Group::of(founders))],
            answers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            written: BTreeMap::new(),
            answered: 0,
            commands: 0,
            repeated: 0,
        }
    }

    /// The members, as of the last that was committed.
    pub(crate) fn group(&self) -> &Group {
        &self.groups.last().expect("it began with one").1
    }

    pub(crate) const fn state(&self) -> &HashedState {
        &self.state
    }

    pub(crate) const fn committed(&self) -> u64 {
        self.committed.len() as u64
    }

    pub(crate) const fn answered(&self) -> u64 {
        self.answered
    }

    /// Invariant 1.
    pub(crate) fn leads(&mut self, node: u64, term: u64) {
        let first = *self.leaders.entry(term).or_insert(node);
        assert_eq!(first, node, "two leaders in term {term}");
    }

    pub(crate) fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// Invariant 2, by induction: each entry tells of the one before it.
    pub(crate) fn written(&mut self, entries: &[Entry], mut before: Option<u64>) {
        for entry in entries {
            let content = (hash_of(&entry.data), before);
            let known = self.written.entry((entry.index, entry.term)).or_insert(content);
            assert_eq!(known.0, content.0, "two entries at {} of term {}", entry.index, entry.term);
            match (known.1, before) {
                (Some(one), Some(other)) => assert_eq!(one, other, "logs differ before {}", entry.index),
                (None, before) => known.1 = before,
                (Some(_), None) => {}
            }
            before = Some(entry.term);
        }
    }

    /// A member is told to apply this, and that the members are `group` from there on, if it is a change of them. `holds`
    /// tells whether it is on the disk of a member, or was when that was lost. Invariants 3 to 6, and 9.
    pub(crate) fn commit(&mut self, entry: &Entry, group: Option<&Group>, holds: impl Fn(u64) -> bool) {
        let at = entry.index as usize;
        let told = (entry.term, hash_of(&entry.data));
        if let Some(known) = self.committed.get(at - 1) {
            assert_eq!((known.term, known.data), told, "another entry is committed at {at}");
            let known = self.groups.iter().find(|(index, _)| *index == entry.index).map(|(_, group)| group);
            assert_eq!(known, group, "other members from {at} on");
            return;
        }
        assert_eq!(at, self.committed.len() + 1, "committed with a hole");
        assert!(self.may_commit(entry, holds), "{at} is committed, and not on most disks of {:?}", self.group());
        if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
            let batch = Batch::decode(&entry.data).expect("a member made it");
            batch.requests.iter().for_each(|request| self.apply(at as u64, request));
        }
        self.committed.push(Entered { term: told.0, data: told.1, state: self.state.hash() });
        self.groups.extend(group.map(|group| (entry.index, group.clone())));
        if self.committed.len().is_multiple_of(LOOK_EVERY) {
            self.look();
        }
    }

    /// Invariant 3. A leader may have the last change in its log, and not have applied it; but none before that, and not
    /// when it proposes the next.
    fn may_commit(&self, entry: &Entry, holds: impl Fn(u64) -> bool) -> bool {
        let candidates = if entry.get_entry_type() == EntryType::EntryNormal { 2 } else { 1 };
        self.groups.iter().rev().take(candidates).any(|(_, group)| {
            most(&group.voters, &holds) && (group.outgoing.is_empty() || most(&group.outgoing, &holds))
        })
    }

    fn apply(&mut self, index: u64, request: &Request) {
        let applied = namespace::apply(&self.state, request).expect("the state is readable");
        self.commands += 1;
        if let Some(Origin { session, sequence }) = request.origin {
            if let Some((_, first)) = self.answers.get(&(session, sequence)) {
                self.repeated += 1;
                assert!(applied.writes.is_empty(), "{sequence} of {session} is applied twice");
                let over = matches!(
                    applied.reply,
                    Err(namespace::Error::SessionExpired { .. } | namespace::Error::BadSequence { .. })
                );
                assert!(over || applied.reply == *first, "{sequence} of {session} has two answers");
            } else {
                self.answers.insert((session, sequence), (index, applied.reply.clone()));
            }
        }
        self.state.store(applied.writes);
    }

    /// Invariant 5.
    pub(crate) fn look(&self) {
        if query::cluster(&self.state).expect("readable").is_some() {
            invariants::check(self.state.view());
        }
    }

    /// Invariant 4.
    pub(crate) fn state_at(&self, index: u64, state: u64) {
        let known = index.checked_sub(1).map_or(HashedState::default().hash(), |at| self.committed[at as usize].state);
        assert_eq!(known, state, "another state at {index}");
    }

    /// A client is told this. Invariants 3 and 6: it is committed, as the only answer.
    pub(crate) fn answers(&mut self, origin: Option<Origin>, applied: u64, outcome: &Outcome) {
        assert!(applied <= self.committed(), "answered before it was committed");
        self.answered = self.answered.max(applied);
        if let Some(Origin { session, sequence }) = origin {
            let known = self.answers.get(&(session, sequence));
            let (index, first) = known.expect("answered, and never applied");
            assert!(*index <= applied, "answered at {applied}, applied at {index}");
            let over =
                matches!(outcome, Err(namespace::Error::SessionExpired { .. } | namespace::Error::BadSequence { .. }));
            assert!(over || outcome == first, "{sequence} of {session}: {outcome:?}, and it was {first:?}");
        }
    }

    /// Invariant 7.
    pub(crate) fn leases(&self, holders: usize) {
        assert!(holders <= 1, "{holders} members have a lease");
    }

    /// Invariant 8.
    pub(crate) fn reads(&self, asked_at: u64, state: u64) {
        assert!(asked_at <= state, "a stale read: {asked_at} had been answered before, and this state is at {state}");
    }
}
