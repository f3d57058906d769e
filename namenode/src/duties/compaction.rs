//! Joins the short extents of files that were written in small pieces.
//!
//! A pass over all extents finds runs that are worth it (`namespace::compaction`). For each, a block is allocated in advance by a
//! session of the leader's own, and every datanode that is to have a replica of it gathers the bytes for itself. When they are
//! there, `JoinExtents` puts the block in the place of what the file still holds of the run.
//!
//! 1. What is under way is known to this leader only. With it goes its session, and with that the blocks that are in no file.
//! 2. A block is put into a file only if all its replicas came out alike: each was made of bytes that were checked, and what
//!    one alone got wrong after that is seen here.
//! 3. A few runs are under way at once. The pass waits for them, so nothing grows.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use namespace::command::{BlockDone, Command, Origin, Reply};
use namespace::compaction::{Planner, Run};
use namespace::query;
use namespace::repair::{Facts, Liveness};
use namespace::row::{BlockLocation, BlockState, Kind};
use namespace::view::{View, ViewError};
use namespace::{Caller, QueryError};
use proto::v1;
use tracing::{debug, error, info, warn};
use types::{BlockId, GenStamp, InodeId, Sequence, SessionId, StorageId};

use super::{Duties, Duty};
use crate::datanodes::Wish;

/// Extents looked at in one go.
const PAGE: usize = 1000;
/// A pass takes at most this part of the time, however many extents there are.
const SHARE: u32 = 20;
/// Runs under way at a time, and found beyond these.
const AT_ONCE: usize = 4;
const WAITING: usize = 64;
/// Replicas that are named as sources of one piece.
const SOURCES: usize = 3;
/// What stands for the leader among the clients.
const CLIENT: &str = "compaction of the leading namenode";

/// The compaction of one term.
pub(super) struct Compaction {
    due: Instant,
    pass: Option<Pass>,
    waiting: VecDeque<Run>,
    session: Option<Own>,
    running: BTreeMap<BlockId, Gathering>,
}

struct Pass {
    started: Instant,
    after: Option<(InodeId, u64)>,
    planner: Planner,
}

/// The leader's own session, and the last operation of it.
#[derive(Clone, Copy)]
struct Own {
    session: SessionId,
    sequence: u64,
}

struct Gathering {
    run: Run,
    generation: GenStamp,
    least: u8,
    given_up_at: Instant,
    /// What each of the replicas became; not known yet.
    replicas: BTreeMap<StorageId, Option<Result<u32, String>>>,
}

/// What a datanode says of a replica that it was to gather.
pub(super) struct Gathered {
    pub(super) block: BlockId,
    pub(super) storage: StorageId,
    /// Over the checksums of its chunks.
    pub(super) made: Result<u32, String>,
}

impl Compaction {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self { due: now + interval, pass: None, waiting: VecDeque::new(), session: None, running: BTreeMap::new() }
    }

    /// Whether it has work that waits for nobody.
    pub(super) fn running(&self) -> bool {
        self.pass.is_some() && self.waiting.len() < WAITING
    }

    fn is_idle(&self) -> bool {
        self.pass.is_none() && self.waiting.is_empty() && self.running.is_empty()
    }
}

impl Duties {
    pub(super) fn compact(&self, compaction: &mut Compaction, gathered: Vec<Gathered>) -> Result<(), ViewError> {
        for Gathered { block, storage, made } in gathered {
            self.board.ordered(block, storage);
            if let Some(Gathering { replicas, .. }) = compaction.running.get_mut(&block)
                && let Some(result) = replicas.get_mut(&storage)
            {
                *result = Some(made);
            }
        }
        self.finish_joins(compaction);
        self.look_for_runs(compaction)?;
        while compaction.running.len() < AT_ONCE
            && let Some(run) = compaction.waiting.pop_front()
        {
            self.begin_join(compaction, run)?;
        }
        if let Some(own) = compaction.session {
            self.sessions.touch(own.session);
            if compaction.is_idle() {
                self.propose(vec![Command::CloseSession { session: own.session }]);
                compaction.session = None;
            }
        }
        self.standing.left(Duty::Compaction, compaction.waiting.len() + compaction.running.len());
        Ok(())
    }

    /// Goes on with the pass over all extents, by one page.
    fn look_for_runs(&self, compaction: &mut Compaction) -> Result<(), ViewError> {
        let now = Instant::now();
        if compaction.pass.is_none() && now >= compaction.due && compaction.is_idle() {
            compaction.pass = Some(Pass { started: now, after: None, planner: Planner::default() });
        }
        let Some(pass) = compaction.pass.as_mut().filter(|_| compaction.waiting.len() < WAITING) else { return Ok(()) };
        let page = query::all_extents(&self.store.state().snapshot(), pass.after, PAGE)?;
        for (inode, extent) in &page {
            compaction.waiting.extend(pass.planner.next(*inode, *extent));
        }
        pass.after = page.last().map(|(inode, extent)| (*inode, extent.offset));
        if page.len() < PAGE {
            compaction.waiting.extend(pass.planner.end());
            let took = pass.started.elapsed();
            debug!(?took, "a look for short extents has ended");
            compaction.due = Instant::now() + self.settings.compaction_interval.max(took.saturating_mul(SHARE));
            compaction.pass = None;
        }
        Ok(())
    }

    /// Has a run gathered. One that cannot be is found again by a later pass.
    fn begin_join(&self, compaction: &mut Compaction, run: Run) -> Result<(), ViewError> {
        let place = namespace::command::Where { base: run.inode, path: Vec::new() };
        let held = self.store.state();
        let state = held.snapshot();
        let file = match query::stat(&state, Caller::SYSTEM, &place) {
            // Who writes it with a lease of its own keeps everybody else from it.
            Ok(file) if file.kind == Kind::File && !file.writing => file,
            Ok(_) | Err(QueryError::Refused(_)) => return Ok(()),
            Err(QueryError::View(error)) => return Err(error),
        };
        let Some(run) = run.that_fits(file.block_size) else { return Ok(()) };
        let Some(pieces) = self.pieces(&state, &run, &self.datanodes.repair_facts())? else {
            debug!(inode = %run.inode, "some of its bytes cannot be read now");
            return Ok(());
        };
        drop(state);
        drop(held);
        let (replicas, least) = (file.replication, self.settings.min_replicas_of(file.replication));
        let seed = run.inode.get() ^ run.pieces[0].offset;
        let (block_size, spread) = (run.bytes(), file.spread);
        let wish = Wish { replicas, least, block_size, exclude: &[], writer_host: None, spread, seed };
        let targets = match self.datanodes.targets(&wish) {
            Ok(targets) => targets,
            Err(reason) => {
                debug!(%reason, "nothing is joined now");
                return Ok(());
            }
        };
        let Some((block, generation)) = self.allocate(&mut compaction.session, replicas, &targets) else {
            return Ok(());
        };
        info!(inode = %run.inode, pieces = run.pieces.len(), bytes = %run.bytes(), %block, "short extents are joined");
        let rate = self.settings.compaction_rate.get();
        for target in &targets {
            let task = v1::GatherReplica {
                storage: target.storage.as_bytes().to_vec(),
                block: Some(block.into()),
                generation: generation.get(),
                pieces: pieces.clone(),
                rate,
            };
            self.board.order(block, *target, v1::task::Kind::Gather(task));
        }
        let paced = Duration::from_secs(AT_ONCE as u64 * run.bytes().get().checked_div(rate).unwrap_or(0));
        let given_up_at = Instant::now() + self.settings.copy_timeout + paced;
        let replicas = targets.iter().map(|target| (target.storage, None)).collect();
        compaction.running.insert(block, Gathering { run, generation, least, given_up_at, replicas });
        Ok(())
    }

    /// What is to be read where; nothing if some of it cannot be read.
    fn pieces(&self, state: &impl View, run: &Run, facts: &Facts) -> Result<Option<Vec<v1::GatherPiece>>, ViewError> {
        let mut pieces = Vec::with_capacity(run.pieces.len());
        for piece in &run.pieces {
            let row = query::block(state, piece.block)?;
            let Some(row) = row.filter(|row| row.state == BlockState::Committed) else { return Ok(None) };
            let mut sources: Vec<(Liveness, BlockLocation)> = row
                .replicas
                .iter()
                .filter_map(|location| Some((facts.members.get(&location.storage)?.liveness, *location)))
                .filter(|(liveness, _)| *liveness != Liveness::Dead)
                .collect();
            sources.sort_by_key(|(liveness, _)| *liveness);
            let sources: Vec<BlockLocation> = sources.into_iter().map(|(_, location)| location).take(SOURCES).collect();
            if sources.is_empty() {
                return Ok(None);
            }
            pieces.push(v1::GatherPiece {
                block: Some(piece.block.into()),
                generation: row.generation.get(),
                offset: piece.block_offset.get(),
                length: piece.length.get(),
                sources: self.datanodes.locations(&sources),
                token: None,
            });
        }
        Ok(Some(pieces))
    }

    fn allocate(&self, own: &mut Option<Own>, wanted: u8, targets: &[BlockLocation]) -> Option<(BlockId, GenStamp)> {
        if own.is_none() {
            let client = CLIENT.to_owned();
            match self.propose(vec![Command::OpenSession { client }]).pop() {
                Some(Ok(Reply::Session { session })) => *own = Some(Own { session, sequence: 0 }),
                other => {
                    debug!(?other, "no session is opened");
                    return None;
                }
            }
        }
        match self.propose_own(own, Command::AllocateBlocks { wanted, targets: vec![targets.to_vec()] })? {
            Ok(Reply::Blocks { blocks }) => blocks.first().map(|new| (new.block, new.generation)),
            other => {
                debug!(?other, "no block is allocated");
                None
            }
        }
    }

    /// An operation of the leader's own session. One without an answer may have been done: the session is left then, to be
    /// ended with what it holds. A refusal leaves everything as it was.
    fn propose_own(&self, own: &mut Option<Own>, command: Command) -> Option<Result<Reply, namespace::Error>> {
        let Own { session, sequence } = own.as_mut()?;
        *sequence += 1;
        let origin = Some(Origin { session: *session, sequence: Sequence::new(*sequence) });
        let answer = self.propose_of(origin, vec![command]).pop();
        if matches!(&answer, None | Some(Err(namespace::Error::SessionExpired { .. }))) {
            *own = None;
        }
        answer
    }

    /// Ends the joins of which all is known, or whose time is over.
    fn finish_joins(&self, compaction: &mut Compaction) {
        if compaction.running.is_empty() {
            return;
        }
        let (now, facts) = (Instant::now(), self.datanodes.repair_facts());
        let is_lost =
            |storage: &StorageId| facts.members.get(storage).is_none_or(|member| member.liveness == Liveness::Dead);
        for (storage, result) in compaction.running.values_mut().flat_map(|gathering| &mut gathering.replicas) {
            if result.is_none() && is_lost(storage) {
                *result = Some(Err("its datanode is lost".to_owned()));
            }
        }
        let is_over =
            |gathering: &Gathering| now >= gathering.given_up_at || gathering.replicas.values().all(Option::is_some);
        let over: Vec<BlockId> =
            compaction.running.iter().filter(|(_, gathering)| is_over(gathering)).map(|(block, _)| *block).collect();
        for block in over {
            self.board.withdraw(block);
            let Some(gathering) = compaction.running.remove(&block) else { continue };
            let inode = gathering.run.inode;
            match self.finish_join(&mut compaction.session, block, gathering) {
                Ok(()) => self.standing.done(Duty::Compaction, 1),
                Err(reason) => {
                    debug!(%block, %inode, reason, "extents are not joined");
                    self.standing.failed(Duty::Compaction);
                    self.propose_own(&mut compaction.session, Command::ReleaseBlocks { blocks: vec![block] });
                }
            }
        }
    }

    fn finish_join(&self, own: &mut Option<Own>, block: BlockId, gathering: Gathering) -> Result<(), String> {
        let Gathering { run, generation, least, replicas, .. } = gathering;
        let (made, failed) = sort(replicas);
        for (storage, reason) in &failed {
            self.metrics.task_failed("gather");
            warn!(%block, %storage, reason, "a replica was not gathered");
        }
        let mut sums: Vec<u32> = made.iter().map(|(_, sum)| *sum).collect();
        sums.sort_unstable();
        sums.dedup();
        // Invariant 2.
        if sums.len() > 1 {
            error!(%block, inode = %run.inode, ?made, "replicas that were gathered from the same bytes differ");
            return Err("replicas of the same bytes differ".to_owned());
        }
        if made.len() < usize::from(least) {
            return Err(format!("{} replicas were made, and {least} are needed", made.len()));
        }
        let replicas = made.into_iter().map(|(storage, _)| storage).collect();
        let grace = self.effective.now().delete_grace;
        let join = Command::JoinExtents {
            inode: run.inode,
            block: BlockDone { block, generation, length: run.bytes(), replicas },
            min_replicas: least,
            grace_nanos: u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX),
            pieces: run.pieces,
        };
        match self.propose_own(own, join) {
            Some(Ok(_)) => Ok(()),
            Some(Err(refused)) => Err(refused.to_string()),
            None => Err("there was no answer".to_owned()),
        }
    }
}

/// Replicas that were made, with their checksums, and those that were not, with the reason.
type Sorted = (Vec<(StorageId, u32)>, Vec<(StorageId, String)>);

fn sort(replicas: BTreeMap<StorageId, Option<Result<u32, String>>>) -> Sorted {
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for (storage, result) in replicas {
        match result {
            Some(Ok(sum)) => made.push((storage, sum)),
            Some(Err(reason)) => failed.push((storage, reason)),
            None => failed.push((storage, "its datanode gave no answer in time".to_owned())),
        }
    }
    (made, failed)
}
