//! What the leader does unasked, in numbers, for whoever looks at the jobs: since its term began, and what is left. Nothing of it
//! is kept, and nothing decided by it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A duty that never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Duty {
    Repair,
    Deletion,
    Recovery,
    Garbage,
    Trash,
    Ageing,
    Uploads,
    Compaction,
}

impl Duty {
    pub(crate) const ALL: [Self; 8] = [
        Self::Repair,
        Self::Deletion,
        Self::Recovery,
        Self::Garbage,
        Self::Trash,
        Self::Ageing,
        Self::Uploads,
        Self::Compaction,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Deletion => "deletion",
            Self::Recovery => "recovery",
            Self::Garbage => "garbage",
            Self::Trash => "trash",
            Self::Ageing => "time-to-live",
            Self::Uploads => "uploads",
            Self::Compaction => "compaction",
        }
    }

    /// What is counted.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Repair => "replicas copied or given up",
            Self::Deletion => "replicas deleted from disks",
            Self::Recovery => "files of lost writers closed",
            Self::Garbage => "steps that free what was removed",
            Self::Trash => "steps that empty the trash",
            Self::Ageing => "files removed for their age",
            Self::Uploads => "abandoned uploads ended",
            Self::Compaction => "parts of files joined that were in small pieces",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) done: u64,
    /// Tried again later.
    pub(crate) failed: u64,
    /// Known to be left now.
    pub(crate) left: u64,
}

#[derive(Debug, Default)]
struct Counts {
    since: Option<Instant>,
    counts: [Count; Duty::ALL.len()],
}

#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Counts>);

impl Standing {
    fn change(&self, duty: Duty, change: impl FnOnce(&mut Count)) {
        let mut counts = self.0.lock().expect("no holder of this lock panics");
        change(&mut counts.counts[duty as usize]);
    }

    /// A term begins.
    pub(super) fn begin(&self) {
        *self.0.lock().expect("no holder of this lock panics") =
            Counts { since: Some(Instant::now()), ..Counts::default() };
    }

    /// This member does not lead any more.
    pub(super) fn clear(&self) {
        *self.0.lock().expect("no holder of this lock panics") = Counts::default();
    }

    pub(super) fn done(&self, duty: Duty, count: usize) {
        self.change(duty, |of| of.done += count as u64);
    }

    pub(super) fn failed(&self, duty: Duty) {
        self.change(duty, |of| of.failed += 1);
    }

    pub(super) fn left(&self, duty: Duty, count: usize) {
        self.change(duty, |of| of.left = count as u64);
    }

    /// Each duty with its count, and for how long they have been counted; nothing on a member that does not lead.
    pub(crate) fn read(&self) -> Option<(Duration, Vec<(Duty, Count)>)> {
        let counts = self.0.lock().expect("no holder of this lock panics");
        let since = counts.since?.elapsed();
        Some((since, Duty::ALL.into_iter().map(|duty| (duty, counts.counts[duty as usize])).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_counts_for_itself() {
        let standing = Standing::default();
        assert_eq!(standing.read(), None);
        standing.begin();
        standing.done(Duty::Repair, 2);
        standing.failed(Duty::Repair);
        standing.left(Duty::Uploads, 5);
        let of = |duty: Duty| standing.read().expect("it leads").1[duty as usize];
        assert_eq!(of(Duty::Repair), (Duty::Repair, Count { done: 2, failed: 1, left: 0 }));
        assert_eq!(of(Duty::Uploads), (Duty::Uploads, Count { done: 0, failed: 0, left: 5 }));
        standing.begin();
        assert_eq!(of(Duty::Repair).1, Count::default());
        standing.clear();
        assert_eq!(standing.read(), None);
    }
}
