//! The apply thread and the flush thread of a member.

use consensus::{Answered, Committed, execute};
use namespace::overlay::Overlay;

use super::{Work, World};
use crate::network::{Answer, Call};

impl World {
    pub(super) fn hand_to_apply(&mut self, member: u64, entries: Vec<Committed<Call>>) {
        for Committed { entry, group, .. } in &entries {
            let holds = |node: u64| self.members[node as usize - 1].device.holds(entry.index, entry.term);
            self.oracle.commit(entry, group.as_ref(), holds);
        }
        self.member(member).running().apply_queue.extend(entries);
        self.begin_applying(member);
    }

    fn begin_applying(&mut self, member: u64) {
        let running = self.member(member).running();
        if running.applying || running.apply_queue.is_empty() {
            return;
        }
        running.applying = true;
        let delay = self.dice.micros(20, 900);
        self.later(member, delay, Work::Applied);
    }

    /// Some of the entries that wait become one batch.
    pub(super) fn applied(&mut self, member: u64) {
        let waiting = self.member(member).running().apply_queue.len() as u64;
        let count = self.dice.between(1, waiting + 1) as usize;
        let place = &mut self.members[member as usize - 1];
        let running = place.running.as_mut().expect("alive");
        let entries: Vec<Committed<Call>> = running.apply_queue.drain(..count).collect();
        let mut applied = place.store.applied().clone();
        let mut overlay = Overlay::new(place.store.state());
        let executed = execute(&mut overlay, &mut applied, entries).expect("what is committed can be executed");
        let writes = overlay.into_writes();
        place.store.commit(writes, applied.clone());
        running.progressed.applied = applied.index;
        running.progressed.formatted |= executed.formatted;
        running.applying = false;
        self.oracle.state_at(applied.index, place.store.state().hash());
        for Answered { ticket, mut outcomes } in executed.answers {
            // A change of the members has none.
            let Some(outcome) = outcomes.pop() else { continue };
            self.oracle.answers(ticket.origin, applied.index, &outcome);
            self.answer(member, ticket, Answer::Done { outcome });
        }
        self.wake(member);
        self.begin_applying(member);
        self.begin_installation(member);
    }

    pub(super) fn flush_begins(&mut self, member: u64) {
        let batches = self.member(member).store.unflushed();
        let generation = self.member(member).running().store_generation;
        let delay = self.disk_time(member);
        self.later(member, delay, Work::FlushEnds { batches, generation });
    }

    pub(super) fn flush_ends(&mut self, member: u64, batches: usize, generation: u64) {
        if self.dies(member) {
            return;
        }
        let place = self.member(member);
        // A checkpoint may have flushed meanwhile.
        let batches = batches.min(place.store.unflushed());
        if place.running().store_generation == generation {
            place.store.flushed(batches);
            place.running.as_mut().expect("alive").progressed.persisted = place.store.persisted();
        }
        if !self.dies(member) {
            self.wake(member);
            let delay = self.plan.flush_every;
            self.later(member, delay, Work::FlushBegins);
        }
    }
}
