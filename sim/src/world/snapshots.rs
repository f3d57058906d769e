//! Making, pulling and installing snapshots.

use std::time::Duration;

use consensus::Manifest;

use super::{Work, World};
use crate::member::{Input, Pull};
use crate::network::{Parcel, Place};
use crate::state::Files;

const PULL_AGAIN: Duration = Duration::from_millis(60);
/// A pull without an answer for so many times is given up.
const PULL_TRIES: u64 = 6;

impl World {
    pub(super) fn checkpoint(&mut self, member: u64) {
        if self.dies(member) {
            return;
        }
        let place = self.member(member);
        let files = place.store.checkpoint();
        let persisted = place.store.persisted();
        let running = place.running();
        running.exports.made(files);
        running.progressed.persisted = running.progressed.persisted.max(persisted);
        self.wake(member);
    }

    pub(super) fn pull(&mut self, member: u64, from: u64, manifest: &Manifest) {
        let at = manifest.at();
        self.tell(|_| format!("member {member} pulls the snapshot {at:?} of member {from}"));
        let place = self.member(member);
        place.staging = Some(Files::begin(manifest, place.staging.as_ref()));
        place.running().pull = Some(Pull { from, at, tries: 0 });
        self.go_on_pulling(member);
    }

    fn go_on_pulling(&mut self, member: u64) {
        let place = self.member(member);
        let Some(pull) = &mut place.running.as_mut().expect("alive").pull else { return };
        let missing = place.staging.as_ref().expect("it is being pulled").missing();
        let Some(file) = missing.filter(|_| pull.tries < PULL_TRIES) else {
            let (at, whole) = (pull.at, missing.is_none());
            place.running().pull = None;
            self.input(member, Input::Fetched { at, whole });
            return;
        };
        pull.tries += 1;
        let Pull { from, at, tries } = *pull;
        self.send(Place::Member(member), Place::Member(from), Parcel::Pull { at, file });
        self.later(member, PULL_AGAIN, Work::PullAgain { at, tries });
    }

    pub(super) fn pull_again(&mut self, member: u64, at: (u64, u64), tries: u64) {
        let pull = self.member(member).running().pull;
        if pull.is_some_and(|pull| (pull.at, pull.tries) == (at, tries)) {
            self.go_on_pulling(member);
        }
    }

    pub(super) fn serve_file(&mut self, member: u64, from: Place, at: (u64, u64), file: usize) {
        let export = self.member(member).running().exports.get(at);
        let bytes = export.and_then(|files| files.files[file].clone());
        self.send(Place::Member(member), from, Parcel::File { at, file, bytes });
    }

    /// A file has arrived: whole, damaged, or the news that it is gone.
    pub(super) fn take_file(&mut self, member: u64, at: (u64, u64), file: usize, bytes: Option<Vec<u8>>) {
        if self.member(member).running().pull.is_none_or(|pull| pull.at != at) || self.dies(member) {
            return;
        }
        let Some(mut bytes) = bytes else {
            self.member(member).running().pull = None;
            self.input(member, Input::Fetched { at, whole: false });
            return;
        };
        if !bytes.is_empty() && self.dice.happens(self.plan.corruption) {
            let position = self.dice.below(bytes.len() as u64) as usize;
            bytes[position] ^= 0x10;
        }
        let place = self.member(member);
        if place.staging.as_mut().expect("it is being pulled").take(file, bytes) {
            place.running().pull.as_mut().expect("just seen").tries = 0;
        }
        self.go_on_pulling(member);
    }

    /// Begins when the log thread and the apply thread have come to it.
    pub(super) fn begin_installation(&mut self, member: u64) {
        let running = self.member(member).running();
        let idle = running.apply_queue.is_empty() && !running.applying;
        if let Some(installation) = &mut running.installation
            && installation.log_idle
            && idle
            && !installation.begun
        {
            installation.begun = true;
            let delay = self.disk_time(member);
            self.later(member, delay, Work::InstallStep(0));
        }
    }

    pub(super) fn install_step(&mut self, member: u64, step: u8) {
        if self.dies(member) {
            return;
        }
        self.member(member).install_step(step);
        if step == 1 {
            self.member(member).running().store_generation += 1;
        }
        if self.dies(member) {
            return;
        }
        if step < 4 {
            let delay = self.disk_time(member);
            self.later(member, delay, Work::InstallStep(step + 1));
            return;
        }
        let place = self.member(member);
        let (applied, hash, formatted) = (place.store.applied().clone(), place.store.state().hash(), place.formatted());
        let running = place.running();
        let installation = running.installation.take().expect("it began");
        assert_eq!(applied, installation.manifest.applied(), "another state was installed");
        (running.progressed.applied, running.progressed.persisted) = (applied.index, applied.index);
        running.progressed.formatted = formatted;
        running.core.installed();
        self.seen.snapshots += 1;
        self.tell(|_| format!("member {member} has installed the snapshot at {}", applied.index));
        self.oracle.state_at(applied.index, hash);
        self.carry_out(member);
        self.wake(member);
    }
}
