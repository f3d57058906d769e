//! Which fault comes when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Dice;

/// Files want three copies, and two datanodes may be out: every write still finds its three.
pub const DATANODES: usize = 5;
/// Datanodes that are out at a time (invariant 5).
const OUT: usize = 2;
/// A datanode that is back has a while to say so, before it does not count as out any more.
const SETTLE: Duration = Duration::from_secs(4);
/// Between two faults.
const PAUSE: (u64, u64) = (300, 2000);
/// How long a datanode is away: some are back before anybody misses them, others when their blocks were made anew.
const AWAY: (u64, u64) = (300, 12_000);
/// How long the leader is: some go on with their lease, others find another leader.
const LEADER_AWAY: (u64, u64) = (300, 6_000);

/// What is done to a process, or to a disk. Datanodes have numbers from 0; which namenode leads is seen at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// kill -9.
    Kill(usize),
    Start(usize),
    /// SIGSTOP.
    Pause(usize),
    Resume(usize),
    /// SIGTERM, and started again when it has ended.
    Restart(usize),
    KillLeader,
    PauseLeader,
    RestartLeader,
    /// The namenode that is dead is started, the one that was stopped goes on.
    LeaderBack,
    HandOver,
    /// A bit of some replica changes, chosen by this number.
    Flip(u64),
    /// The file of some replica is gone.
    Lose(u64),
}

impl Step {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Start(_) => "start",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Restart(_) => "restart",
            Self::KillLeader => "kill leader",
            Self::PauseLeader => "pause leader",
            Self::RestartLeader => "restart leader",
            Self::LeaderBack => "leader back",
            Self::HandOver => "hand over",
            Self::Flip(_) => "flip",
            Self::Lose(_) => "lose",
        }
    }
}

/// Steps with their times, in order; every fault is over at the end. Steps that take longer than planned put the later ones
/// off: the order is what keeps invariant 5.
pub fn plan(seed: u64, duration: Duration) -> Vec<(Duration, Step)> {
    let mut dice = Dice::new(seed);
    let mut steps: Vec<(Duration, Step)> = Vec::new();
    let mut out: BTreeMap<usize, Duration> = BTreeMap::new();
    let mut leader_back = Duration::ZERO;
    let mut now = Duration::ZERO;
    loop {
        now += millis(&mut dice, PAUSE);
        if now >= duration {
            break;
        }
        out.retain(|_, back| *back > now);
        let free: Vec<usize> = (0..DATANODES).filter(|node| !out.contains_key(node)).collect();
        let node = if out.len() < OUT { dice.pick(&free).copied() } else { None };
        let leader = leader_back <= now;
        match (dice.roll(12), node) {
            (at @ 0..=5, Some(node)) => {
                let end = (now + millis(&mut dice, AWAY)).min(duration);
                let faults = match at {
                    0..=1 => [(now, Step::Kill(node)), (end, Step::Start(node))].to_vec(),
                    2..=4 => [(now, Step::Pause(node)), (end, Step::Resume(node))].to_vec(),
                    _ => [(now, Step::Restart(node))].to_vec(),
                };
                let last = faults.last().expect("there is one").0;
                steps.extend(faults);
                out.insert(node, last + SETTLE);
            }
            (6, _) if leader => steps.push((now, Step::HandOver)),
            (at @ 7..=8, _) if leader => {
                let end = (now + millis(&mut dice, LEADER_AWAY)).min(duration);
                let fault = if at == 7 { Step::KillLeader } else { Step::PauseLeader };
                steps.extend([(now, fault), (end, Step::LeaderBack)]);
                leader_back = end + SETTLE;
            }
            (9, _) if leader => {
                steps.push((now, Step::RestartLeader));
                leader_back = now + SETTLE;
            }
            (10, _) => steps.push((now, Step::Flip(dice.next()))),
            (11, _) => steps.push((now, Step::Lose(dice.next()))),
            _ => {}
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn millis(dice: &mut Dice, (least, most): (u64, u64)) -> Duration {
    Duration::from_millis(dice.between(least, most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTES: Duration = Duration::from_secs(180);

    /// Invariant 4.
    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(plan(7, MINUTES), plan(7, MINUTES));
        assert_ne!(plan(7, MINUTES), plan(8, MINUTES));
    }

    /// Invariant 5.
    #[test]
    fn two_datanodes_and_one_namenode_are_out_at_most_and_all_are_back_at_the_end() {
        for seed in 0..200 {
            let (mut out, mut paused, mut leader): (BTreeSet<usize>, BTreeSet<usize>, bool) = Default::default();
            let mut last = Duration::ZERO;
            for (at, step) in plan(seed, MINUTES) {
                assert!(last <= at && at <= MINUTES, "seed {seed}");
                last = at;
                match step {
                    Step::Kill(node) => assert!(out.insert(node), "seed {seed}: {node} runs"),
                    Step::Pause(node) => assert!(out.insert(node) && paused.insert(node), "seed {seed}: {node} runs"),
                    Step::Start(node) => assert!(out.remove(&node) && !paused.contains(&node), "seed {seed}"),
                    Step::Resume(node) => assert!(out.remove(&node) && paused.remove(&node), "seed {seed}"),
                    Step::Restart(node) => assert!(!out.contains(&node) && out.len() < OUT, "seed {seed}"),
                    Step::KillLeader | Step::PauseLeader => assert!(!std::mem::replace(&mut leader, true)),
                    Step::LeaderBack => assert!(std::mem::replace(&mut leader, false)),
                    Step::RestartLeader | Step::HandOver => assert!(!leader, "seed {seed}"),
                    Step::Flip(_) | Step::Lose(_) => {}
                }
                assert!(out.len() <= OUT, "seed {seed}: {out:?}");
            }
            assert!(out.is_empty() && !leader, "seed {seed}");
        }
    }

    #[test]
    fn every_kind_of_fault_comes_within_three_minutes() {
        for seed in 0..50 {
            let kinds: BTreeSet<&str> = plan(seed, MINUTES).iter().map(|(_, step)| step.name()).collect();
            assert!(kinds.len() >= 11, "seed {seed}: {kinds:?}");
        }
    }
}
