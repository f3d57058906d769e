//! Carries a balance out: weighs what every volume holds, plans moves over all blocks, has them made, and begins again until
//! there is nothing to move (`namespace::balance`).
//!
//! 1. A move is a copy that is read back, and then one command that lists it and gives the source up. Whoever dies between
//!    the two leaves a copy too many, which the comparison of disks finds, or repair tidies.
//! 2. No datanode is given more to take in, or to give away, than the bandwidth allows, but for [`AHEAD`] and one block. Of that
//!    it is given the share that its clients leave (`namespace::balance::foreground`).
//! 3. When another set of volumes takes part than was planned for, the plan is dropped and made anew.
//! 4. A balance does not end as even while a datanode is awaited that would take part if it were heard of: a new leader has
//!    heard of none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use namespace::balance::foreground::{self, Foreground, Suffering};
use namespace::balance::{self, Move, Plan};
use namespace::command::Command;
use namespace::job::{self, JobPlan, JobRow, JobState};
use namespace::query;
use namespace::repair::Urgency;
use namespace::row::BlockLocation;
use namespace::view::{View, ViewError};
use proto::v1;
use tracing::{debug, info, warn};
use types::{BlockId, ByteSize, GenStamp, JobId, NodeId, StorageId};

use super::Duties;
use super::jobs::{Looked, Progress};

/// Blocks looked at in one go.
const PAGE: usize = 1000;
/// Moves that are kept of one plan; more are planned when these are made.
const MOVES: usize = 10_000;
/// Moves looked at for one that may begin.
const LOOKED_AT: usize = 1000;
/// Moves on their way to one datanode: enough that it need not wait for the next.
const PER_TARGET: u32 = 2;
/// What may be begun ahead of the bandwidth, so that datanodes need not wait for the leader.
const AHEAD: Duration = Duration::from_secs(1);
/// Plans of which no move could be made, before the job gives up.
const FRUITLESS: u32 = 3;

/// The balance of a term.
#[derive(Debug, Default)]
pub(super) struct Balance {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    job: JobId,
    threshold_permille: u32,
    bandwidth: ByteSize,
    paused: bool,
    /// Moved by the job, in bytes: as it was written down, and since then.
    done: u64,
    total: u64,
    phase: Phase,
    /// The volumes that the plan is for.
    participants: BTreeSet<StorageId>,
    /// Until when each datanode has enough to give away and to take in.
    gives: BTreeMap<NodeId, Instant>,
    takes: BTreeMap<NodeId, Instant>,
    under_way: BTreeMap<BlockId, Move>,
    /// Datanodes on which clients suffer.
    yielding: BTreeMap<NodeId, Foreground>,
    made: u64,
    /// Of the plan that is carried out.
    made_of_plan: u64,
    failed_of_plan: u64,
    fruitless: u32,
    ended: Option<(bool, String)>,
}

#[derive(Debug)]
enum Phase {
    Weighing {
        after: Option<BlockId>,
        used: BTreeMap<StorageId, u64>,
    },
    Planning {
        after: Option<BlockId>,
        plan: Plan,
        moves: VecDeque<Move>,
        bytes: u64,
    },
    Moving {
        moves: VecDeque<Move>,
    },
    /// Those that take part are even, and these datanodes may yet take part.
    Waiting {
        nodes: BTreeSet<NodeId>,
    },
}

impl Phase {
    const fn begin() -> Self {
        Self::Weighing { after: None, used: BTreeMap::new() }
    }
}

/// A copy that was made in place of another replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) block: BlockId,
    pub(super) generation: GenStamp,
    pub(super) source: StorageId,
    pub(super) target: BlockLocation,
}

impl Balance {
    /// Whether it has work that waits for nobody.
    pub(super) fn running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let works = matches!(running.phase, Phase::Weighing { .. } | Phase::Planning { .. });
            works && !running.paused && running.ended.is_none()
        })
    }
}

impl Running {
    fn new(job: JobId, row: &JobRow, threshold_permille: u32, bandwidth: ByteSize) -> Self {
        Self {
            job,
            threshold_permille,
            bandwidth,
            paused: false,
            done: row.done,
            total: row.total,
            phase: Phase::begin(),
            participants: BTreeSet::new(),
            gives: BTreeMap::new(),
            takes: BTreeMap::new(),
            under_way: BTreeMap::new(),
            yielding: BTreeMap::new(),
            made: 0,
            made_of_plan: 0,
            failed_of_plan: 0,
            fruitless: 0,
            ended: None,
        }
    }

    fn progress(&self) -> Progress {
        let note = match &self.phase {
            _ if self.paused => format!("paused; {} moves are on their way", self.under_way.len()),
            Phase::Weighing { .. } => "adding up what every volume holds".to_owned(),
            Phase::Planning { .. } => "looking for what to move".to_owned(),
            Phase::Waiting { nodes } => {
                let nodes: Vec<String> = nodes.iter().map(|node| node.get().to_string()).collect();
                format!("waits for datanode {}, which is not steadily there", nodes.join(", "))
            }
            Phase::Moving { moves } => {
                let failed = match self.failed_of_plan {
                    0 => String::new(),
                    failed => format!(", {failed} failed"),
                };
                let (under_way, wait) = (self.under_way.len(), moves.len());
                let held_back = self.held_back(moves);
                format!("{} replicas moved, {under_way} on their way, {wait} wait{failed}{held_back}", self.made)
            }
        };
        Progress { done: self.done, total: self.total.max(self.done), note, eta: None }
    }

    /// What a move may have of the bandwidth, for the sake of the clients of its two datanodes.
    fn bandwidth(&self, step: &Move) -> ByteSize {
        let share = |node| self.yielding.get(&node).map_or(foreground::WHOLE, Foreground::share);
        let share = share(step.source.node).min(share(step.target.node));
        ByteSize::new((self.bandwidth.get() / u64::from(foreground::WHOLE)).saturating_mul(share.into()).max(1))
    }

    /// Of the datanodes that moves are for, the one that holds them back most, with the reason.
    fn held_back(&self, waiting: &VecDeque<Move>) -> String {
        let moves = self.under_way.values().chain(waiting);
        let nodes: BTreeSet<NodeId> = moves.flat_map(|step| [step.source.node, step.target.node]).collect();
        let yielding = self.yielding.iter().filter(|(node, _)| nodes.contains(node));
        let Some((node, foreground)) = yielding.min_by_key(|(_, foreground)| foreground.share()) else {
            return String::new();
        };
        let percent = foreground.share() * 100 / foreground::WHOLE;
        let why = foreground.why().map_or_else(String::new, |Suffering { kind, takes, usually }| {
            let (takes, usually) = (millis(takes), millis(usually));
            format!(": {} on datanode {} take {takes}, {usually} usually", kind.name(), node.get())
        });
        format!("; at {percent}% of its bandwidth{why}")
    }

    /// Whether both datanodes of a move may begin it now; then it counts.
    fn admit(&mut self, step: &Move, now: Instant) -> bool {
        let free = |until: Option<&Instant>| until.is_none_or(|until| *until <= now + AHEAD);
        let (source, target) = (step.source.node, step.target.node);
        if !free(self.gives.get(&source)) || !free(self.takes.get(&target)) {
            return false;
        }
        let took = duration(step.length, self.bandwidth(step));
        for (budget, node) in [(&mut self.gives, source), (&mut self.takes, target)] {
            let until = budget.entry(node).or_insert(now);
            *until = (*until).max(now) + took;
        }
        true
    }
}

/// `40 ms`, and below ten with a digit more.
fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

/// How long so many bytes take.
fn duration(length: ByteSize, bandwidth: ByteSize) -> Duration {
    let nanos = u128::from(length.get()) * 1_000_000_000 / u128::from(bandwidth.get().max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Duties {
    /// What the job is at. Called at every look; the work is done in between.
    pub(super) fn look_at_balance(&self, balance: &mut Balance, job: JobId, row: &JobRow) -> Looked {
        let JobPlan::Balance { threshold_permille, bandwidth } = row.plan else {
            unreachable!("the caller has looked at the kind");
        };
        let running = match &mut balance.running {
            Some(running) if running.job == job => running,
            other => {
                info!(%job, "a balance begins");
                other.insert(Running::new(job, row, threshold_permille, bandwidth))
            }
        };
        running.paused = row.state == JobState::Paused;
        match &running.ended {
            Some((failed, result)) => {
                Looked::Ends { failed: *failed, result: result.clone(), progress: running.progress() }
            }
            None => Looked::Goes(running.progress()),
        }
    }

    /// Forgets a balance that is not among the jobs any more. What is on its way is finished.
    pub(super) fn forget_balance(&self, balance: &mut Balance, jobs: &[job::Numbered]) {
        balance.running.take_if(|running| jobs.iter().all(|(job, _)| *job != running.job));
    }

    /// Takes in copies that were made in place of others: lists them, and gives the others up.
    pub(super) fn finish_moves(
        &self,
        balance: &mut Balance,
        made: Vec<Made>,
        may_delete: bool,
    ) -> Result<(), ViewError> {
        if made.is_empty() {
            return Ok(());
        }
        let facts = self.datanodes.repair_facts();
        let mut commands = Vec::new();
        for Made { block, generation, source, target } in &made {
            let (block, generation, target) = (*block, *generation, *target);
            let row = query::block(&self.store.state().snapshot(), block)?;
            let goes = row.is_some_and(|row| balance::may_give_up(&row, *source, target, &facts));
            commands.push(if may_delete && goes {
                Command::MoveReplica { block, generation, source: *source, target }
            } else {
                Command::AddReplica { block, generation, location: target }
            });
        }
        let mut outcomes = self.propose(commands).into_iter();
        for made in &made {
            let outcome = outcomes.next();
            let Some(running) = &mut balance.running else { continue };
            let Some(step) = running.under_way.remove(&made.block) else { continue };
            match outcome {
                Some(Ok(_)) => {
                    running.done += step.length.get();
                    running.made += 1;
                    running.made_of_plan += 1;
                }
                Some(Err(error)) => {
                    debug!(block = %made.block, %error, "a move is refused");
                    running.failed_of_plan += 1;
                }
                None => running.failed_of_plan += 1,
            }
        }
        Ok(())
    }

    /// Goes on with the balance, if there is one.
    pub(super) fn balance(&self, balance: &mut Balance, may_delete: bool) -> Result<(), ViewError> {
        let Some(running) = &mut balance.running else { return Ok(()) };
        running.under_way.retain(|block, _| {
            // A copy that failed, took too long or lost its target is planned anew.
            let runs = self.board.is_copying(*block);
            running.failed_of_plan += u64::from(!runs);
            runs
        });
        if running.paused || running.ended.is_some() || !may_delete {
            return Ok(());
        }
        match &mut running.phase {
            Phase::Weighing { after, used } => {
                let held = self.store.state();
                if weigh_page(&held.snapshot(), after, used)? {
                    let facts = self.datanodes.repair_facts();
                    running.participants = balance::participants(&facts);
                    let plan = Plan::new(&facts, used, running.threshold_permille);
                    running.phase = Phase::Planning { after: None, plan, moves: VecDeque::new(), bytes: 0 };
                }
            }
            Phase::Planning { after, plan, moves, bytes } => {
                let facts = self.datanodes.repair_facts();
                let held = self.store.state();
                let over = plan_page(&held.snapshot(), after, plan, &facts, |step| {
                    *bytes += step.length.get();
                    if moves.len() < MOVES && !self.board.is_copying(step.block) {
                        moves.push_back(step);
                    }
                })?;
                if over {
                    self.planned(running);
                }
            }
            Phase::Moving { .. } => self.move_on(running)?,
            Phase::Waiting { nodes } => {
                let awaited = balance::awaited(&self.datanodes.repair_facts());
                if awaited.is_empty() || awaited != *nodes {
                    running.phase = Phase::begin();
                }
            }
        }
        Ok(())
    }

    /// A plan is made: carries it out, or ends the job.
    fn planned(&self, running: &mut Running) {
        let Phase::Planning { plan, moves, bytes, .. } = &mut running.phase else {
            unreachable!("the caller has looked at the phase");
        };
        let awaited = balance::awaited(&self.datanodes.repair_facts());
        if moves.is_empty() && !awaited.is_empty() {
            running.phase = Phase::Waiting { nodes: awaited };
            return;
        }
        if moves.is_empty() {
            running.total = running.done;
            let moved = format!("{} moved in {} moves", ByteSize::new(running.done).human(), running.made);
            let outside: Vec<String> = plan
                .volumes()
                .filter(|volume| plan.is_outside(volume))
                .map(|volume| format!("datanode {} at {}", volume.location.node.get(), percent(volume.fullness())))
                .collect();
            let mean = percent(plan.mean());
            running.ended = Some(if outside.is_empty() {
                (false, format!("every volume is as full as the threshold wants around the mean of {mean}; {moved}"))
            } else {
                let outside = outside.join(", ");
                let why = "no move that keeps copies on different hosts and racks would bring it closer";
                (true, format!("away from the mean of {mean}: {outside}; {why}; {moved}"))
            });
            return;
        }
        info!(job = %running.job, moves = moves.len(), bytes, "a balance is planned");
        running.total = running.done + *bytes;
        running.made_of_plan = 0;
        running.failed_of_plan = 0;
        running.phase = Phase::Moving { moves: std::mem::take(moves) };
    }

    /// Begins what may begin, and plans anew when all is made.
    fn move_on(&self, running: &mut Running) -> Result<(), ViewError> {
        let Phase::Moving { moves } = &mut running.phase else {
            unreachable!("the caller has looked at the phase");
        };
        let mut moves = std::mem::take(moves);
        running.yielding = self.datanodes.yielding();
        let facts = self.datanodes.repair_facts();
        if balance::participants(&facts) != running.participants && !moves.is_empty() {
            info!(job = %running.job, "other volumes take part than were planned for; the rest is planned anew");
            moves.clear();
        }
        let now = Instant::now();
        let most = (self.settings.copies_per_node * PER_TARGET) as usize;
        let mut on_the_way: BTreeMap<NodeId, usize> = BTreeMap::new();
        for step in running.under_way.values() {
            *on_the_way.entry(step.target.node).or_default() += 1;
        }
        let held = self.store.state();
        let state = held.snapshot();
        let mut later = VecDeque::new();
        for _ in 0..LOOKED_AT {
            let Some(step) = moves.pop_front() else { break };
            let of_target = on_the_way.entry(step.target.node).or_default();
            let row = query::block(&state, step.block)?;
            let row = row.filter(|row| balance::is_sound(&step, row, &facts) && !self.board.is_copying(step.block));
            let Some(row) = row else {
                debug!(block = %step.block, "a move makes no sense any more");
                running.failed_of_plan += 1;
                continue;
            };
            if *of_target >= most || !self.board.has_room() || !running.admit(&step, now) {
                later.push_back(step);
                continue;
            }
            *of_target += 1;
            let mut sources = row.replicas.clone();
            sources.sort_by_key(|location| *location != step.source);
            self.begin_move(running.bandwidth(&step), &step, &sources);
            running.under_way.insert(step.block, step);
        }
        later.append(&mut moves);
        if later.is_empty() && running.under_way.is_empty() {
            let in_vain = running.made_of_plan == 0 && running.failed_of_plan > 0;
            running.fruitless = if in_vain { running.fruitless + 1 } else { 0 };
            if running.fruitless >= FRUITLESS {
                warn!(job = %running.job, failed = running.failed_of_plan, "no move of a balance can be made");
                let result = format!(
                    "no move can be made: all {} of the last plan failed; the logs of the datanodes say why",
                    running.failed_of_plan
                );
                running.ended = Some((true, result));
                return Ok(());
            }
            running.phase = Phase::begin();
        } else {
            running.phase = Phase::Moving { moves: later };
        }
        Ok(())
    }

    fn begin_move(&self, bandwidth: ByteSize, step: &Move, sources: &[BlockLocation]) {
        let task = v1::CopyReplica {
            storage: step.target.storage.as_bytes().to_vec(),
            block: Some(step.block.into()),
            generation: step.generation.get(),
            length: step.length.get(),
            sources: self.datanodes.locations(sources),
            instead_of: step.source.storage.as_bytes().to_vec(),
            rate: bandwidth.get(),
            // Made when it is handed out: tokens do not last as long as duties may wait.
            token: None,
        };
        debug!(block = %step.block, from = %step.source.node, to = %step.target.node, "a move begins");
        let urgency = Urgency { tidying: true, live: usize::MAX, racks: usize::MAX };
        self.board.copy(step.block, step.target, urgency, 1, task);
    }
}

/// Adds one more page of blocks. True: that was the last.
pub(crate) fn weigh_page(
    state: &impl View,
    after: &mut Option<BlockId>,
    used: &mut BTreeMap<StorageId, u64>,
) -> Result<bool, ViewError> {
    let page = query::blocks(state, *after, PAGE)?;
    page.iter().for_each(|(_, row)| balance::weigh(row, used));
    *after = page.last().map(|(block, _)| *block).or(*after);
    Ok(page.len() < PAGE)
}

/// Plans one more page of blocks. True: that was the last, or there is nothing left to plan.
pub(crate) fn plan_page(
    state: &impl View,
    after: &mut Option<BlockId>,
    plan: &mut Plan,
    facts: &namespace::repair::Facts,
    mut take: impl FnMut(Move),
) -> Result<bool, ViewError> {
    if plan.is_even() {
        return Ok(true);
    }
    let page = query::blocks(state, *after, PAGE)?;
    for (block, row) in &page {
        if let Some(step) = plan.consider(*block, row, facts) {
            take(step);
        }
    }
    *after = page.last().map(|(block, _)| *block).or(*after);
    Ok(page.len() < PAGE)
}

/// `45.1%`, of parts of a million.
fn percent(millionths: u64) -> String {
    format!("{}.{}%", millionths / 10_000, millionths % 10_000 / 1000)
}

#[cfg(test)]
mod tests {
    use namespace::balance::foreground::Served;

    use super::*;

    fn location(node: u64) -> BlockLocation {
        BlockLocation { node: NodeId::new(node), storage: StorageId::from_bytes([1; 16]) }
    }

    fn step(length: u64, source: u64, target: u64) -> Move {
        Move {
            block: BlockId::new(types::InodeId::new(9), 0),
            generation: GenStamp::FIRST,
            length: ByteSize::new(length),
            source: location(source),
            target: location(target),
        }
    }

    fn running(bandwidth: ByteSize) -> Running {
        let row = JobRow {
            plan: JobPlan::Balance { threshold_permille: 50, bandwidth },
            owner: String::new(),
            reason: String::new(),
            state: JobState::Running,
            started: types::Timestamp::EPOCH,
            changed: types::Timestamp::EPOCH,
            done: 5,
            total: 9,
            result: None,
            token: 0,
        };
        Running::new(JobId::new(1), &row, 50, bandwidth)
    }

    /// Invariant 2.
    #[test]
    fn a_datanode_gets_no_more_than_the_bandwidth_allows() {
        let mut running = running(ByteSize::new(1000));
        let now = Instant::now();
        let admitted = (0..100).filter(|_| running.admit(&step(100, 1, 2), now)).count();
        assert_eq!(admitted, 11, "one second ahead, and one block");
        assert!(!running.admit(&step(1, 3, 2), now), "the target has enough");
        assert!(!running.admit(&step(1, 1, 4), now), "the source has enough");
        assert!(running.admit(&step(1, 3, 4), now), "others go on");
        let later = now + Duration::from_secs(10);
        let admitted = (0..100).filter(|_| running.admit(&step(100, 1, 2), later)).count();
        assert_eq!(admitted, 11, "what was not used is not saved up");
        assert_eq!((running.progress().done, running.progress().total), (5, 9), "of the leader before");
    }

    #[test]
    fn clients_that_suffer_on_either_datanode_hold_a_move_back_and_the_job_says_so() {
        let served = |millis: u64| Served { requests: 10, took: Duration::from_millis(10 * millis) };
        let mut slow = Foreground::default();
        slow.look(served(5), Served::default());
        (0..2).for_each(|_| slow.look(served(40), Served::default()));
        let mut running = running(ByteSize::new(1_000_000));
        running.yielding.insert(NodeId::new(3), slow);
        let of = |running: &Running, source, target| running.bandwidth(&step(1, source, target)).get();
        assert_eq!([of(&running, 1, 2), of(&running, 3, 2), of(&running, 1, 3)], [1_000_000, 250_000, 250_000]);
        let now = Instant::now();
        let admitted = (0..100).filter(|_| running.admit(&step(100_000, 3, 2), now)).count();
        assert_eq!(admitted, 3, "a second ahead at a quarter of the bandwidth, and one block");
        running.phase = Phase::Moving { moves: VecDeque::from([step(1, 1, 3)]) };
        let note = running.progress().note;
        assert!(note.ends_with("; at 25% of its bandwidth: reads on datanode 3 take 40 ms, 5.1 ms usually"), "{note}");
        running.phase = Phase::Moving { moves: VecDeque::from([step(1, 1, 2)]) };
        assert!(running.progress().note.ends_with("1 wait"), "another datanode's clients are no matter");
    }

    #[test]
    fn parts_read_as_percents() {
        assert_eq!([0, 451_000, 1_000_000].map(percent), ["0.0%", "45.1%", "100.0%"]);
    }
}
