//! Steps with several names for one inode, symbolic links and special files.

use proptest::prelude::*;

use super::{History, Index, Place, place};
use crate::access::Caller;
use crate::command::{Command, Where};
use crate::query;
use crate::row::Kind;
use crate::tests::OWNER;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Link { from: Place, to: Place },
    Symlink { place: Place },
    Mknod { place: Place, kind: Kind },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let kinds = prop::sample::select(vec![Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice]);
    prop_oneof![
        6 => (place(), place()).prop_map(|(from, to)| Step::Link { from, to }),
        2 => place().prop_map(|place| Step::Symlink { place }),
        1 => (place(), kinds).prop_map(|(place, kind)| Step::Mknod { place, kind }),
    ]
}

impl History {
    pub(super) fn run_links(&mut self, step: &Step, who: &Index) {
        let command = match step {
            Step::Link { from, to } => Command::Link { from: self.place(from), to: self.place(to) },
            Step::Symlink { place } => {
                Command::Symlink { place: self.place(place), target: b"../there".to_vec(), ownership: OWNER }
            }
            Step::Mknod { place, kind } => {
                let device = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { 0x103 } else { 0 };
                Command::Mknod { place: self.place(place), kind: *kind, ownership: OWNER, device }
            }
        };
        self.client(who, command);
    }

    /// Names in a removed tree are taken away by garbage collection, whenever it comes by; the model does not wait.
    pub(super) fn let_go(&mut self) {
        let late = std::mem::take(&mut self.model.names.late);
        if late.is_empty() {
            return;
        }
        self.steps(None, &Command::GcStep { limit: 1, grace_nanos: 10 });
        for inode in late {
            if !self.model.objects.contains_key(&inode) {
                continue;
            }
            let place = Where { base: inode, path: Vec::new() };
            let found = query::stat(&self.cluster.state, Caller::SYSTEM, &place).expect("it has other names");
            self.model.changed_at(inode, found.ctime);
        }
    }
}
