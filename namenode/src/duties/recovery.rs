//! Ends the blocks whose writers are lost. Each attempt has its own generation, which fences the attempts before it and the
//! writer. It goes in two steps: the datanodes stop older writers and offer what they can vouch for; those that have
//! enough end their replicas at the length that follows from the offers ([`namespace::recovery`]). Then the block is
//! committed with the replicas that have ended.
//!
//! 1. An attempt begins with the knowledge of its own term only: after a change of leaders another begins anew.
//! 2. A datanode that does not answer is waited for, but not for ever. Only where readers were shown bytes that nobody who
//!    answers has, or where nothing is left and somebody may still have it, the file waits until that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use namespace::Error;
use namespace::command::{BlockDone, Command, Reply};
use namespace::query::{self, Recovering};
use namespace::recovery::{self, Bounds, Ending, Offer};
use namespace::repair::Liveness;
use namespace::row::BlockLocation;
use namespace::view::ViewError;
use proto::v1;
use proto::v1::task::Kind as Task;
use tracing::{debug, info, warn};
use types::{BlockId, ByteSize, GenStamp, InodeId, StorageId};

use super::{Duties, Duty};
use crate::wire::{Offered, Replica};

/// A recovery that takes so many times its patience is told of.
const OVERDUE: u32 = 2;
/// Files that are recovered at a time; more wait for their turn.
const AT_ONCE: usize = 256;

/// What became of a step on one datanode.
#[derive(Debug)]
pub(super) struct Result {
    pub(super) replica: Replica,
    pub(super) done: std::result::Result<Done, String>,
}

#[derive(Debug)]
pub(super) enum Done {
    Offered(Offered),
    Ended(ByteSize),
}

/// Files whose recovery does not come to an end, for a doctor.
#[derive(Debug, Default)]
pub(crate) struct Stuck(Mutex<Vec<(InodeId, v1::StuckFile)>>);

impl Stuck {
    pub(super) fn clear(&self) {
        self.set(Vec::new());
    }

    fn set(&self, files: Vec<(InodeId, v1::StuckFile)>) {
        *self.0.lock().expect("no holder of this lock panics") = files;
    }

    pub(crate) fn read(&self) -> Vec<(InodeId, v1::StuckFile)> {
        self.0.lock().expect("no holder of this lock panics").clone()
    }
}

/// The recoveries of a term.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    attempts: BTreeMap<BlockId, Attempt>,
    /// When this leader saw a block first that waits to be recovered.
    first: BTreeMap<BlockId, Instant>,
    /// Blocks that can only end at what was visible, because a quota forbids more.
    only_visible: BTreeSet<BlockId>,
}

#[derive(Debug)]
struct Attempt {
    generation: GenStamp,
    bounds: Bounds,
    kept_inline: ByteSize,
    replicas: Vec<BlockLocation>,
    since: Instant,
    /// Storages that have not answered in this step.
    silent: BTreeSet<StorageId>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Offering(Vec<Offer>),
    Ending(Ending, Vec<StorageId>),
    /// It came to nothing; another attempt begins after a pause.
    Failed,
}

/// What is to be done for an attempt now.
enum Next {
    Wait,
    Commit(BlockDone),
    Again,
}

impl Duties {
    /// Begins what is to be recovered, forgets what is not any more.
    pub(super) fn look_for_recoveries(&self, recoveries: &mut Recoveries) -> std::result::Result<(), ViewError> {
        let waiting = query::recovering(&self.store.state().snapshot(), None, AT_ONCE)?;
        let blocks: BTreeSet<BlockId> = waiting.iter().map(|file| file.block).collect();
        for (block, _) in recoveries.attempts.extract_if(.., |block, _| !blocks.contains(block)) {
            self.board.withdraw(block);
        }
        recoveries.only_visible.retain(|block| blocks.contains(block));
        self.standing.left(Duty::Recovery, waiting.len());
        self.tell_stuck(recoveries, &waiting);
        let new: Vec<Recovering> =
            waiting.into_iter().filter(|file| !recoveries.attempts.contains_key(&file.block)).collect();
        let begin = new.iter().map(|file| Command::BeginRecovery { block: file.block }).collect();
        for (file, outcome) in new.into_iter().zip(self.propose(begin)) {
            match outcome {
                Ok(Reply::Generation { generation }) => self.begin_attempt(recoveries, file, generation),
                other => debug!(block = %file.block, ?other, "a recovery does not begin"),
            }
        }
        Ok(())
    }

    /// Tells of what should have ended long ago.
    fn tell_stuck(&self, recoveries: &mut Recoveries, waiting: &[Recovering]) {
        if waiting.is_empty() {
            recoveries.first.clear();
            return self.stuck.clear();
        }
        let now = Instant::now();
        recoveries.first.retain(|block, _| waiting.iter().any(|file| file.block == *block));
        let facts = self.datanodes.health_facts();
        let is_dead = |location: &&BlockLocation| {
            facts.members.get(&location.storage).is_none_or(|member| member.liveness == Liveness::Dead)
        };
        let mut stuck = Vec::new();
        for file in waiting {
            let since = now - *recoveries.first.entry(file.block).or_insert(now);
            if since < self.settings.recovery_patience * OVERDUE {
                continue;
            }
            let inode = file.block.inode();
            let told = v1::StuckFile {
                inode: inode.get(),
                silent_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
                recovering: true,
                nodes: file.row.replicas.iter().filter(is_dead).map(|location| location.node.get()).collect(),
                ..Default::default()
            };
            stuck.push((inode, told));
        }
        self.stuck.set(stuck);
    }

    fn begin_attempt(&self, recoveries: &mut Recoveries, file: Recovering, generation: GenStamp) {
        let Recovering { block, row, block_size, kept_inline } = file;
        info!(%block, %generation, visible = %row.length, "the recovery of a block begins");
        let only_visible = recoveries.only_visible.contains(&block);
        for location in &row.replicas {
            let offer = v1::OfferReplica {
                storage: location.storage.as_bytes().to_vec(),
                block: Some(block.into()),
                generation: generation.get(),
            };
            self.board.order(block, *location, Task::Offer(offer));
        }
        let attempt = Attempt {
            generation,
            bounds: Bounds { visible: row.length, block_size, only_visible },
            kept_inline,
            silent: row.replicas.iter().map(|location| location.storage).collect(),
            replicas: row.replicas,
            since: Instant::now(),
            step: Step::Offering(Vec::new()),
        };
        recoveries.attempts.insert(block, attempt);
    }

    /// Takes in results, and goes on with every attempt that can.
    pub(super) fn recover(&self, recoveries: &mut Recoveries, results: Vec<Result>) {
        for Result { replica, done } in results {
            if let Some(attempt) = recoveries.attempts.get_mut(&replica.block)
                && attempt.take(&replica, done)
            {
                self.board.ordered(replica.block, replica.storage);
            }
        }
        let mut commits = Vec::new();
        let mut again = Vec::new();
        for (block, attempt) in &mut recoveries.attempts {
            match self.advance(*block, attempt) {
                Next::Wait => {}
                Next::Commit(recovered) => commits.push(recovered),
                Next::Again => again.push(*block),
            }
        }
        for block in again {
            self.board.withdraw(block);
            recoveries.attempts.remove(&block);
        }
        let commands =
            commits.iter().map(|recovered| Command::CommitRecovery { recovered: recovered.clone() }).collect();
        for (BlockDone { block, length, replicas, .. }, outcome) in commits.iter().zip(self.propose(commands)) {
            match outcome {
                Ok(_) => {
                    info!(%block, %length, replicas = replicas.len(), "a block is recovered");
                    self.standing.done(Duty::Recovery, 1);
                }
                Err(error) => {
                    self.standing.failed(Duty::Recovery);
                    warn!(%block, %length, %error, "the recovery of a block is refused");
                    if matches!(error, Error::QuotaExceeded { .. }) {
                        recoveries.only_visible.insert(*block);
                    }
                }
            }
            self.board.withdraw(*block);
            recoveries.attempts.remove(block);
        }
    }

    fn advance(&self, block: BlockId, attempt: &mut Attempt) -> Next {
        let late = attempt.since.elapsed() >= self.settings.recovery_patience;
        if !attempt.silent.is_empty() && !late {
            return Next::Wait;
        }
        let commit = |attempt: &Attempt, length, replicas| {
            Next::Commit(BlockDone { block, generation: attempt.generation, length, replicas })
        };
        match &attempt.step {
            Step::Offering(offers) => match recovery::ending(offers, attempt.bounds) {
                // Somebody who is only silent may have what the others lack.
                Some(Ending { survivors, .. }) if survivors.is_empty() && self.is_anybody_alive(&attempt.silent) => {
                    Next::Wait
                }
                Some(Ending { length, survivors }) if survivors.is_empty() || length <= attempt.kept_inline => {
                    commit(attempt, length, Vec::new())
                }
                Some(ending) => {
                    self.order_end(block, attempt, ending);
                    Next::Wait
                }
                None => {
                    warn!(
                        %block, visible = %attempt.bounds.visible, ?offers,
                        "no datanode that answers has what readers were shown; the file waits for the others"
                    );
                    attempt.fail();
                    Next::Wait
                }
            },
            Step::Ending(_, ended) if ended.is_empty() => {
                attempt.fail();
                Next::Wait
            }
            Step::Ending(ending, ended) => commit(attempt, ending.length, ended.clone()),
            Step::Failed if late => Next::Again,
            Step::Failed => Next::Wait,
        }
    }

    fn order_end(&self, block: BlockId, attempt: &mut Attempt, ending: Ending) {
        self.board.withdraw(block);
        let survives = |location: &&BlockLocation| ending.survivors.contains(&location.storage);
        for location in attempt.replicas.iter().filter(survives) {
            let end = v1::EndReplica {
                storage: location.storage.as_bytes().to_vec(),
                block: Some(block.into()),
                generation: attempt.generation.get(),
                length: ending.length.get(),
            };
            self.board.order(block, *location, Task::End(end));
        }
        attempt.silent = ending.survivors.iter().copied().collect();
        attempt.since = Instant::now();
        attempt.step = Step::Ending(ending, Vec::new());
    }

    fn is_anybody_alive(&self, storages: &BTreeSet<StorageId>) -> bool {
        let facts = self.datanodes.health_facts();
        let alive = |storage| facts.members.get(storage).is_some_and(|member| member.liveness != Liveness::Dead);
        storages.iter().any(alive)
    }
}

impl Attempt {
    /// Takes in a result; false if it is of no use, and the step still has none.
    fn take(&mut self, replica: &Replica, done: std::result::Result<Done, String>) -> bool {
        let Replica { storage, block, generation } = *replica;
        if generation != self.generation || !self.silent.contains(&storage) {
            return false;
        }
        match (done, &mut self.step) {
            (Ok(Done::Offered(Offered { length, intact })), Step::Offering(offers)) => {
                debug!(%block, %storage, %length, intact, "a replica is offered");
                offers.push(Offer { storage, length, intact });
            }
            (Ok(Done::Ended(length)), Step::Ending(ending, ended)) if length == ending.length => ended.push(storage),
            (Err(error), Step::Offering(_) | Step::Ending(..)) => {
                info!(%block, %storage, error, "a replica is of no use to a recovery");
            }
            (Ok(Done::Offered(_) | Done::Ended(_)), _) | (Err(_), Step::Failed) => return false,
        }
        self.silent.remove(&storage)
    }

    /// Leaves it; another attempt follows when the time for the step is over.
    fn fail(&mut self) {
        self.since = Instant::now();
        self.silent.clear();
        self.step = Step::Failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(number: u8) -> StorageId {
        StorageId::from_bytes([number; 16])
    }

    fn attempt() -> Attempt {
        Attempt {
            generation: GenStamp::new(5),
            bounds: Bounds { visible: ByteSize::ZERO, block_size: ByteSize::mib(1), only_visible: false },
            kept_inline: ByteSize::ZERO,
            replicas: Vec::new(),
            since: Instant::now(),
            silent: BTreeSet::from([storage(1), storage(2)]),
            step: Step::Offering(Vec::new()),
        }
    }

    #[test]
    fn a_result_of_another_attempt_step_or_length_does_not_count() {
        let mut attempt = attempt();
        let block = BlockId::new(InodeId::new(2), 0);
        let replica =
            |number, generation| Replica { storage: storage(number), block, generation: GenStamp::new(generation) };
        let offered = || Ok(Done::Offered(Offered { length: ByteSize::new(7), intact: true }));
        assert!(!attempt.take(&replica(1, 4), offered()), "of an attempt before");
        assert!(!attempt.take(&replica(3, 5), offered()), "of a stranger");
        assert!(!attempt.take(&replica(1, 5), Ok(Done::Ended(ByteSize::new(7)))), "of another step");
        assert!(attempt.take(&replica(1, 5), offered()));
        assert!(!attempt.take(&replica(1, 5), offered()), "twice");
        assert!(attempt.take(&replica(2, 5), Err("gone".to_owned())));
        let Step::Offering(offers) = &attempt.step else { panic!("{:?}", attempt.step) };
        assert_eq!(offers, &[Offer { storage: storage(1), length: ByteSize::new(7), intact: true }]);
        assert!(attempt.silent.is_empty());

        attempt.silent = BTreeSet::from([storage(1)]);
        attempt.step = Step::Ending(Ending { length: ByteSize::new(7), survivors: vec![storage(1)] }, Vec::new());
        assert!(!attempt.take(&replica(1, 5), Ok(Done::Ended(ByteSize::new(8)))));
        assert!(attempt.take(&replica(1, 5), Ok(Done::Ended(ByteSize::new(7)))));
        assert!(matches!(&attempt.step, Step::Ending(_, ended) if ended == &[storage(1)]));
    }
}
