//! The end of a run: nothing fails any more, and within a bound everything is as if nothing ever had.

use std::time::Duration;

use namespace::query;

use super::{Event, World};

/// Clients go on for a while.
const CALM: Duration = Duration::from_millis(500);
/// Virtual time within which all is well.
const BOUND: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn heal(&mut self) {
        self.tell(|_| "nothing fails any more".to_owned());
        self.stormy = false;
        self.plan.heal();
        self.network.heal();
        for member in self.ids() {
            let place = self.member(member);
            (place.paused_until, place.slow_until) = (Duration::ZERO, Duration::ZERO);
            self.at(self.now, Event::Restart { member });
        }
        let end = self.now + CALM;
        while self.step(end) {}
        self.clients.iter_mut().for_each(|client| client.leaving = true);
        let fresh = self.fresh_client() as usize;
        let deadline = self.now + BOUND;
        while !(self.clients[fresh].done >= 2 && self.converged(fresh)) {
            assert!(self.now < deadline, "after {BOUND:?} of calm: {}", self.standing(fresh));
            if self.clients[fresh].done >= 2 {
                self.clients[fresh].leaving = true;
            }
            let next = self.now + LOOK_EVERY;
            while self.step(next) {}
        }
        self.oracle.look();
    }

    /// One leader that all members know, everything applied everywhere, nobody waiting, no garbage, no change half done.
    fn converged(&self, fresh: usize) -> bool {
        let group = self.oracle.group();
        let members = || self.members.iter().filter(|member| group.member(member.id).is_some());
        let mut leaders =
            members().map(|member| member.running.as_ref().map_or(0, |running| running.core.leadership().leader));
        let leader = leaders.next().expect("there are members");
        let agreed = leader != 0 && leaders.all(|other| other == leader);
        let serving =
            members().filter(|member| member.running.as_ref().is_some_and(|running| running.core.leadership().serving));
        let committed = self.oracle.committed();
        let (known, state) = (self.oracle.state().hash(), self.oracle.state());
        agreed
            && serving.count() == 1
            && self.operator.is_idle()
            && group.outgoing.is_empty()
            && group.learners.is_empty()
            && members().all(|member| member.store.applied().index == committed)
            && members().all(|member| member.store.state().hash() == known)
            && self.clients[..fresh].iter().all(|client| client.idle())
            && !query::garbage_pending(state).expect("readable")
    }

    fn standing(&self, fresh: usize) -> String {
        let members: Vec<String> = self
            .members
            .iter()
            .map(|member| {
                let leadership = member.running.as_ref().map(|running| running.core.leadership());
                format!("member {} at {} sees {leadership:?}", member.id, member.store.applied().index)
            })
            .collect();
        let waiting = self.clients[..fresh].iter().filter(|client| !client.idle()).count();
        let done = self.clients[fresh].done;
        let committed = self.oracle.committed();
        let garbage = query::garbage_pending(self.oracle.state());
        let (group, operator) = (self.oracle.group(), self.operator.waits_for());
        format!(
            "{members:?}, {committed} committed, {waiting} clients wait, {done} fresh, garbage {garbage:?}, {group:?}, {operator}"
        )
    }
}
