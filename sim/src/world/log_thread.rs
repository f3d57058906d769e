//! The log thread of a member. It may die before and after each write and each sync.

use consensus::LogStore as _;

use super::{Work, World};
use crate::device::Record;
use crate::member::LogTask;

impl World {
    pub(super) fn hand_to_log(&mut self, member: u64, task: LogTask) {
        self.member(member).running().log_queue.push_back(task);
        self.begin_log_job(member);
    }

    fn begin_log_job(&mut self, member: u64) {
        let running = self.member(member).running();
        if running.log_job.is_some() {
            return;
        }
        running.log_job = running.next_job();
        let Some(job) = &running.log_job else { return };
        let (sync, number) = (job.merged.sync, job.merged.number);
        if sync {
            let delay = self.disk_time(member) / 4;
            self.later(member, delay, Work::LogWritten);
        } else if number > 0 {
            let delay = self.dice.micros(5, 50);
            self.later(member, delay, Work::LogSynced);
        } else {
            self.cut_or_end(member);
        }
    }

    pub(super) fn log_written(&mut self, member: u64) {
        if self.dies(member) {
            return;
        }
        let place = &mut self.members[member as usize - 1];
        let running = place.running.as_mut().expect("alive");
        let append = &running.log_job.as_ref().expect("it began").merged.append;
        if let Some(first) = append.entries.first() {
            self.oracle.written(&append.entries, place.device.term(first.index - 1));
        }
        let record = Record::Append { entries: append.entries.clone(), hard_state: append.hard_state.clone() };
        place.device.write(record);
        if !self.dies(member) {
            let delay = self.disk_time(member);
            self.later(member, delay, Work::LogSynced);
        }
    }

    pub(super) fn log_synced(&mut self, member: u64) {
        if self.dies(member) {
            return;
        }
        self.member(member).device.sync();
        if self.dies(member) {
            return;
        }
        let running = self.member(member).running();
        let merged = &mut running.log_job.as_mut().expect("it began").merged;
        let messages = std::mem::take(&mut merged.messages);
        running.progressed.written = running.progressed.written.max(merged.number);
        self.send_messages(member, messages);
        self.wake(member);
        self.cut_or_end(member);
    }

    fn cut_or_end(&mut self, member: u64) {
        let place = self.member(member);
        let truncate = place.running().log_job.as_mut().expect("it began").truncate.take();
        if let Some((index, term)) = truncate {
            place.device.write(Record::Truncate { index, term });
            let delay = self.disk_time(member);
            self.later(member, delay, Work::LogCut);
        } else {
            self.end_log_job(member);
        }
    }

    pub(super) fn log_cut(&mut self, member: u64) {
        if self.dies(member) {
            return;
        }
        self.member(member).device.sync();
        let truncated = self.member(member).device.contents().expect("readable").truncated.0;
        self.tell(|_| format!("member {member} has cut its log at {truncated}"));
        if !self.dies(member) {
            self.end_log_job(member);
        }
    }

    fn end_log_job(&mut self, member: u64) {
        let running = self.member(member).running();
        let job = running.log_job.take().expect("it began");
        if job.barrier
            && let Some(installation) = &mut running.installation
        {
            installation.log_idle = true;
            self.begin_installation(member);
        }
        self.begin_log_job(member);
    }
}
