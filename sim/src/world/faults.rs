//! What goes wrong.

use std::time::Duration;

use namespace::command::Command;

use super::{Event, World};
use crate::member::Input;

/// Leases that one command ends.
const EXPIRE_STEP: u32 = 2;

impl World {
    /// A member's process ends here and now, if the dice say so. It comes back later.
    pub(super) fn dies(&mut self, member: u64) -> bool {
        let dies = self.dice.happens(self.plan.death_at_io);
        if dies {
            self.crash(member);
        }
        dies
    }

    /// Kills a member; what is not synced is lost, or not.
    fn crash(&mut self, member: u64) {
        let place = &mut self.members[member as usize - 1];
        if place.running.take().is_none() {
            return;
        }
        place.device.crash(&mut self.dice);
        place.store.crash();
        place.paused_until = Duration::ZERO;
        self.seen.crashes += 1;
        self.tell(|_| format!("member {member} dies"));
        let most = self.dice.one_of(&[100_000, 1_000_000, 6_000_000, 6_000_000]);
        let delay = self.dice.micros(20_000, most);
        self.after(delay, Event::Restart { member });
    }

    pub(super) fn restart(&mut self, member: u64) {
        if self.member(member).running.is_none() && !self.member(member).retired {
            self.start(member);
        }
    }

    /// All that there ever were.
    pub(super) fn ids(&self) -> std::ops::RangeInclusive<u64> {
        1..=self.members.len() as u64
    }

    pub(super) fn any_member(&mut self) -> u64 {
        let there: Vec<u64> = self.members.iter().filter(|member| !member.retired).map(|member| member.id).collect();
        self.dice.one_of(&there)
    }

    pub(super) fn the_leader(&self) -> Option<u64> {
        let leads = |member: &crate::member::Member| {
            let leadership = member.running.as_ref().map(|running| running.core.leadership());
            leadership.is_some_and(|leadership| leadership.leader == member.id)
        };
        self.members.iter().find(|member| leads(member)).map(|member| member.id)
    }

    pub(super) fn fault(&mut self) {
        if !self.stormy {
            return;
        }
        let most = self.plan.fault_every.as_micros() as u64;
        let delay = self.dice.micros(most / 10 + 1, most + 2);
        self.after(delay, Event::Fault);
        // Leaders are where it hurts.
        let anyone = self.any_member();
        let member = if self.dice.happens(400_000) { self.the_leader().unwrap_or(anyone) } else { anyone };
        match self.dice.below(14) {
            0 | 1 => self.crash(member),
            2 => {
                self.tell(|_| "the power fails".to_owned());
                self.ids().for_each(|member| self.crash(member));
            }
            3 | 4 => self.pause(member),
            5 => self.isolate(member, true, true),
            6 => {
                let inward = self.dice.happens(500_000);
                self.isolate(member, inward, !inward);
            }
            7 => self.split(),
            8 | 9 => {
                self.tell(|_| "the network heals".to_owned());
                self.network.heal();
            }
            10 => {
                let hours = 3_600_000_000_000;
                let offset = self.dice.below(4 * hours) as i64 - 2 * hours as i64;
                self.tell(|_| format!("the wall clock of member {member} jumps to {offset}"));
                self.member(member).wall_offset = offset;
            }
            11 => {
                let until = self.now + self.dice.micros(100_000, 2_000_000);
                self.tell(|_| format!("the disk of member {member} is slow"));
                self.member(member).slow_until = until;
            }
            12 => self.expire_a_session(),
            _ => {
                if self.member(member).running.is_some() {
                    self.tell(|_| format!("member {member} is to hand over the lead"));
                    self.input(member, Input::Transfer);
                }
            }
        }
    }

    /// As by SIGSTOP and SIGCONT.
    fn pause(&mut self, member: u64) {
        let until = self.now + self.dice.micros(50_000, 2_500_000);
        self.tell(|_| format!("member {member} is stopped until {:.3}", until.as_secs_f64()));
        self.member(member).paused_until = until;
    }

    /// Cuts one direction, or both.
    fn isolate(&mut self, member: u64, inward: bool, outward: bool) {
        self.tell(|_| format!("member {member} is cut off, inward {inward}, outward {outward}"));
        for other in self.ids().filter(|other| *other != member) {
            if inward {
                self.network.cut(other, member);
            }
            if outward {
                self.network.cut(member, other);
            }
        }
    }

    fn split(&mut self) {
        let sides = self.dice.number();
        self.tell(|_| format!("the network splits, {sides:b}"));
        for one in self.ids() {
            for other in self.ids() {
                if (sides >> one ^ sides >> other) & 1 == 1 {
                    self.network.cut(one, other);
                }
            }
        }
    }

    /// As a leader does with a client that is silent.
    pub(super) fn expire_a_session(&mut self) {
        let client = self.dice.below(self.clients.len() as u64) as usize;
        let Some((session, leader)) = self.clients[client].session.zip(self.the_leader()) else { return };
        let place = self.member(leader);
        if place.running().installation.is_some() {
            return;
        }
        self.tell(|_| format!("{session} expires"));
        for _ in 0..4 {
            self.propose(leader, Command::ExpireSession { session, limit: EXPIRE_STEP });
        }
        self.wake(leader);
    }
}
