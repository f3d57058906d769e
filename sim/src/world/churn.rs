//! Members come and go: as an operator does it who keeps at it until it is done.
//!
//! New members begin with an empty disk and a new number, and get a vote when they have the log. Members are removed, the
//! leader too once it has handed over, and one whose disk is lost is replaced. Whoever was removed is told so by the next
//! member that it speaks to, and stops for good. All of it goes on while members die, stop and cannot hear each other.

use std::collections::BTreeSet;

use consensus::{Change, Group, Member};
use types::DiskId;

use super::{Event, World};
use crate::dice::Dice;
use crate::member::Input;

/// Between two looks of the operator.
const LOOK: (u64, u64) = (50_000, 300_000);
/// As many members at once, at most.
const MEMBERS: usize = 7;
/// Fewer voters are not left behind on purpose.
const VOTERS: usize = 3;

/// Who changes the members.
#[derive(Debug)]
pub(super) struct Operator {
    /// Its own, so that a seed without churn is the run that it was.
    dice: Dice,
    /// That it begins something new at a look, per million.
    chance: u64,
    joining: BTreeSet<u64>,
    leaving: BTreeSet<u64>,
}

impl Operator {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x6f70_6572_6174_6f72);
        let chance = dice.one_of(&[0, 50_000, 150_000, 400_000]);
        Self { dice, chance, joining: BTreeSet::new(), leaving: BTreeSet::new() }
    }

    /// Whether it does anything at all.
    pub(super) const fn is_there(&self) -> bool {
        self.chance > 0
    }

    /// Whether everything that was begun is done.
    pub(super) fn is_idle(&self) -> bool {
        self.joining.is_empty() && self.leaving.is_empty()
    }

    pub(super) fn waits_for(&self) -> String {
        format!("joining {:?}, leaving {:?}", self.joining, self.leaving)
    }

    /// Lets go of what is done.
    fn note(&mut self, group: &Group) {
        self.joining.retain(|node| group.member(*node).is_none());
        self.leaving.retain(|node| !group.removed.contains(node));
    }
}

impl World {
    pub(super) fn churn(&mut self) {
        let delay = self.operator.dice.micros(LOOK.0, LOOK.1);
        self.after(delay, Event::Churn);
        let group = self.oracle.group().clone();
        self.operator.note(&group);
        if self.operator.is_idle() {
            if self.stormy && self.is_settled(&group) && self.operator.dice.happens(self.operator.chance) {
                self.begin_change(&group);
            }
            return;
        }
        let next = self.operator.leaving.first().copied().map(Change::Remove);
        let joining = || self.operator.joining.first().copied().map(|node| Change::Add(described(node)));
        if let Some(change) = next.or_else(joining) {
            self.ask_for(change);
        }
    }

    /// Whether all members know for good that the last change is done. One that does not counts on the members before it,
    /// and with one of those gone by that change, the loss of one more disk would be the second.
    fn is_settled(&self, group: &Group) -> bool {
        let mut members = self.members.iter().filter(|member| !member.retired && group.member(member.id).is_some());
        group.outgoing.is_empty() && members.all(|member| member.store.persisted() >= group.changed)
    }

    fn begin_change(&mut self, group: &Group) {
        let dice = &mut self.operator.dice;
        let victim = dice.one_of(&group.voters);
        match dice.below(3) {
            0 if group.members.len() < MEMBERS => self.join(),
            1 if group.voters.len() > VOTERS => drop(self.operator.leaving.insert(victim)),
            2 if group.voters.len() >= VOTERS && group.members.len() < MEMBERS => {
                self.tell(|_| format!("the disk of member {victim} is lost"));
                self.retire(victim);
                self.operator.leaving.insert(victim);
                self.join();
            }
            _ => {}
        }
    }

    /// A new member starts on an empty disk. It is of no group yet.
    fn join(&mut self) {
        let member = self.members.len() as u64 + 1;
        let founders: Vec<u64> = (1..=self.plan.members).collect();
        self.members.push(crate::member::Member::new(member, &founders));
        self.operator.joining.insert(member);
        self.seen.joined += 1;
        self.start(member);
    }

    /// Whoever leads is asked. What comes of it shows in the group.
    fn ask_for(&mut self, change: Change) {
        let Some(leader) = self.the_leader() else { return };
        self.tell(|_| format!("member {leader} is asked for {change:?}"));
        let input = if change == Change::Remove(leader) { Input::Transfer } else { Input::Change(change) };
        self.input(leader, input);
    }

    /// A member stops, and never starts again. What it had on its disk is of no use to anybody, but was there.
    pub(super) fn retire(&mut self, member: u64) {
        let place = self.member(member);
        place.running = None;
        place.retired = true;
        self.seen.retired += 1;
        self.tell(|_| format!("member {member} is gone for good"));
    }

    /// A member that knows `from` to be removed does not listen to it, and tells it.
    pub(super) fn is_refused(&mut self, member: u64, from: u64) -> bool {
        let removed = self.member(member).store.applied().group.removed.contains(&from);
        if removed && self.network.is_open(member, from) && self.members[from as usize - 1].running.is_some() {
            self.retire(from);
        }
        removed
    }
}

fn described(node: u64) -> Member {
    Member { node, address: String::new(), disk: Some(DiskId::from_bytes([node as u8; 16])) }
}
