mod drain;

use std::collections::BTreeSet;

use proptest::prelude::*;
use types::{ByteSize, GenStamp, InodeId, NodeId};

use super::*;

const BLOCK: BlockId = BlockId::new(InodeId::new(9), 0);

fn location(id: u8) -> BlockLocation {
    BlockLocation { node: NodeId::new(100 + u64::from(id)), storage: StorageId::from_bytes([id; 16]) }
}

fn member(id: u8, host: u8, liveness: Liveness) -> Member {
    let candidate = Candidate {
        location: location(id),
        host: format!("dn{host}"),
        rack: format!("/r{}", host % 2),
        capacity: ByteSize::new(1000),
        free: ByteSize::new(500),
        writers: u32::from(id),
    };
    Member { candidate, liveness }
}

fn facts(members: &[(u8, Liveness)]) -> Facts {
    let members = members.iter().map(|(id, liveness)| (location(*id).storage, member(*id, *id, *liveness)));
    Facts { members: members.collect(), ..Facts::default() }
}

fn row(replicas: &[u8], bad: &[u8], leaving: &[u8]) -> BlockRow {
    let list = |ids: &[u8]| ids.iter().map(|id| location(*id)).collect();
    BlockRow {
        generation: GenStamp::FIRST,
        length: ByteSize::new(10),
        state: BlockState::Committed,
        wanted: 3,
        replicas: list(replicas),
        bad: list(bad),
        leaving: list(leaving),
        live: ByteSize::new(10),
        recovery: None,
        spread: None,
    }
}

fn work(row: &BlockRow, facts: &Facts) -> Option<Work> {
    plan(BLOCK, row, facts, 1).map(|(_, work)| work)
}

use Liveness::{Alive, Dead, Suspect};

#[test]
fn a_lost_replica_is_copied_from_the_least_busy_source() {
    let facts = facts(&[(1, Dead), (2, Alive), (3, Alive), (4, Alive)]);
    let expected = Work::Copy { sources: vec![location(2), location(3)], target: location(4) };
    assert_eq!(work(&row(&[1, 2, 3], &[], &[]), &facts), Some(expected));
}

#[test]
fn a_suspect_counts_is_the_last_source_and_never_the_target() {
    let members = [(1, Suspect), (2, Alive), (3, Suspect), (4, Alive)];
    assert_eq!(work(&row(&[1, 2, 4], &[], &[]), &facts(&members)), None);
    let expected = Work::Copy { sources: vec![location(2), location(1)], target: location(4) };
    assert_eq!(work(&row(&[1, 2], &[], &[]), &facts(&members)), Some(expected));
}

#[test]
fn well_unreadable_and_unfinished_blocks_need_nothing() {
    let all = facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive)]);
    assert_eq!(work(&row(&[1, 2, 3], &[], &[]), &all), None);
    assert_eq!(work(&row(&[], &[1, 2], &[]), &all), None);
    assert_eq!(work(&row(&[5], &[], &[]), &all), None);
    let writing = BlockRow { state: BlockState::Writing, ..row(&[1], &[], &[]) };
    assert_eq!(work(&writing, &all), None);
}

#[test]
fn a_storage_that_still_gives_one_up_gets_no_copy() {
    let facts = facts(&[(1, Alive), (2, Alive), (3, Alive)]);
    assert_eq!(work(&row(&[1, 2], &[], &[3]), &facts), None);
}

#[test]
fn a_damaged_replica_makes_room_when_there_is_no_other_place() {
    let three = facts(&[(1, Alive), (2, Alive), (3, Alive)]);
    assert_eq!(work(&row(&[1, 2], &[3], &[]), &three), Some(Work::DropBad { replica: location(3) }));
    let four = facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive)]);
    assert!(matches!(work(&row(&[1, 2], &[3], &[]), &four), Some(Work::Copy { target, .. }) if target == location(4)));
}

#[test]
fn what_is_too_much_goes_dead_ones_first() {
    let facts = facts(&[(1, Dead), (2, Alive), (3, Alive), (4, Alive), (5, Alive)]);
    let remove = |id| Some(Work::RemoveExcess { replica: location(id) });
    assert_eq!(work(&row(&[1, 2, 3, 4], &[], &[]), &facts), remove(1));
    // Hosts 3 and 5 share a rack with no other; 2 and 4 share the other one.
    assert!(matches!(work(&row(&[2, 3, 4, 5], &[], &[]), &facts), Some(Work::RemoveExcess { .. })));
}

#[test]
fn the_most_at_risk_come_first() {
    let facts = facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive), (5, Alive)]);
    let urgency = |row: &BlockRow| plan(BLOCK, row, &facts, 1).expect("there is work").0;
    let one = urgency(&row(&[1], &[], &[]));
    let two_on_a_rack = urgency(&row(&[1, 3], &[], &[]));
    let two = urgency(&row(&[1, 2], &[], &[]));
    let tidying = urgency(&row(&[1, 2, 3, 4], &[], &[]));
    assert!(one < two_on_a_rack && two_on_a_rack < two && two < tidying);
}

/// Invariant 5: first the copy elsewhere, then one of those that share a rack goes.
#[test]
fn replicas_that_share_one_rack_are_spread() {
    let all = facts(&[(1, Alive), (2, Alive), (3, Alive), (5, Alive)]);
    let (urgency, work) = plan(BLOCK, &row(&[1, 3, 5], &[], &[]), &all, 1).expect("there is work");
    assert_eq!(work, Work::Copy { sources: vec![location(1), location(3), location(5)], target: location(2) });
    let short = plan(BLOCK, &row(&[1, 2], &[], &[]), &all, 1).expect("there is work").0;
    let tidying = plan(BLOCK, &row(&[1, 2, 3, 5], &[], &[]), &all, 1).expect("there is work");
    assert!(short < urgency && urgency < tidying.0, "it is not as urgent as one that is short");
    assert!(matches!(tidying.1, Work::RemoveExcess { replica } if replica != location(2)), "{tidying:?}");
    assert_eq!(work_of(&[1, 2, 5], &all), None, "two racks are enough");
    let no_other = facts(&[(1, Alive), (3, Alive), (5, Alive), (7, Alive)]);
    assert_eq!(work_of(&[1, 3, 5], &no_other), None, "there is no other rack");
    let suspect = facts(&[(1, Alive), (2, Suspect), (3, Alive), (5, Alive)]);
    assert_eq!(work_of(&[1, 3, 5], &suspect), None, "nobody there takes a copy now");
}

fn work_of(replicas: &[u8], facts: &Facts) -> Option<Work> {
    work(&row(replicas, &[], &[]), facts)
}

#[test]
fn spreading_wants_a_rack_for_each() {
    let mut all = facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive)]);
    all.members.get_mut(&location(4).storage).expect("known").candidate.rack = "/third".to_owned();
    assert_eq!(work_of(&[1, 2, 3], &all), None);
    all.policy = Policy::Spread;
    assert!(matches!(work_of(&[1, 2, 3], &all), Some(Work::Copy { target, .. }) if target == location(4)));
    assert!(
        matches!(work_of(&[1, 2, 3, 4], &all), Some(Work::RemoveExcess { replica }) if [1, 3].map(location).contains(&replica))
    );
}

#[test]
fn a_block_with_a_rule_of_its_own_is_spread_by_that_one() {
    let mut all = facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive)]);
    all.members.get_mut(&location(4).storage).expect("known").candidate.rack = "/third".to_owned();
    let of = |spread| BlockRow { spread, ..row(&[1, 2, 3], &[], &[]) };
    let is_spread = |work| matches!(work, Some(Work::Copy { target, .. }) if target == location(4));
    assert!(is_spread(work(&of(Some(Policy::Spread)), &all)));
    assert_eq!(work(&of(Some(Policy::TwoRacks)), &all), None);
    all.policy = Policy::Spread;
    assert!(is_spread(work(&of(None), &all)) && is_spread(work(&of(Some(Policy::Spread)), &all)));
    assert_eq!(work(&of(Some(Policy::TwoRacks)), &all), None, "two racks are enough for this one");
}

#[test]
fn a_storage_without_room_gets_no_copy() {
    let mut all = facts(&[(1, Alive), (2, Alive), (3, Alive)]);
    assert!(work_of(&[1, 2], &all).is_some());
    all.members.get_mut(&location(3).storage).expect("known").candidate.free = ByteSize::new(9);
    assert_eq!(work_of(&[1, 2], &all), None, "the block has 10 bytes");
}

/// A host that got another name, or a disk that was carried over, hides no missing copy.
#[test]
fn two_replicas_on_one_host_count_once() {
    let members = [(1, 1), (2, 1), (3, 3), (4, 4)];
    let members = members.map(|(id, host)| (location(id).storage, member(id, host, Alive)));
    let facts = Facts { members: members.into_iter().collect(), ..Facts::default() };
    let three = row(&[1, 2, 3], &[], &[]);
    assert_eq!(health(&three, &facts).counted, 2);
    assert!(matches!(work(&three, &facts), Some(Work::Copy { target, .. }) if target == location(4)));
    let four = row(&[1, 2, 3, 4], &[], &[]);
    assert!(
        matches!(work(&four, &facts), Some(Work::RemoveExcess { replica }) if [1, 2].map(location).contains(&replica))
    );
}

#[test]
fn health_tells_missing_from_short() {
    let facts = facts(&[(1, Alive), (2, Dead)]);
    let health = health(&row(&[1, 2], &[3], &[]), &facts);
    assert_eq!(health, Health { wanted: 3, live: 1, counted: 1, unreachable: 1, bad: 1 });
    assert!(health.short() && !health.missing());
}

fn liveness() -> impl Strategy<Value = Liveness> {
    prop_oneof![3 => Just(Alive), 1 => Just(Suspect), 1 => Just(Dead)]
}

/// Up to ten storages on six hosts, and a row over some of them.
fn case() -> impl Strategy<Value = (Facts, BlockRow)> {
    let members = prop::collection::vec((0_u8..6, liveness()), 1..10);
    let lists = prop::collection::vec(0_u8..5, 10);
    let rules = prop::sample::select(vec![None, Some(Policy::TwoRacks), Some(Policy::Spread)]);
    (members, lists, 1_u8..4, rules).prop_map(|(members, lists, wanted, spread)| {
        let of = |list: u8| (0..10).filter(|id| lists[usize::from(*id)] == list).collect::<Vec<u8>>();
        let members =
            (0..).zip(&members).map(|(id, (host, liveness))| (location(id).storage, member(id, *host, *liveness)));
        let row = BlockRow { wanted, spread, ..row(&of(0), &of(1), &of(2)) };
        (Facts { members: members.collect(), ..Facts::default() }, row)
    })
}

proptest! {
    #[test]
    fn plans_keep_what_is_good((facts, row) in case(), seed: u64) {
        let live = |location: &BlockLocation| facts.live(location).is_some();
        let good: Vec<_> = row.replicas.iter().copied().filter(live).collect();
        let member = |at: &BlockLocation| &facts.members[&at.storage];
        match plan(BLOCK, &row, &facts, seed).map(|(_, work)| work) {
            None => {}
            Some(Work::RemoveExcess { replica }) => {
                let left = good.iter().filter(|at| **at != replica);
                prop_assert!(hosts(left.map(member)) >= usize::from(row.wanted), "invariant 1");
                prop_assert!(row.replicas.contains(&replica));
            }
            Some(Work::DropBad { replica }) => {
                prop_assert!(!good.is_empty() && row.bad.contains(&replica), "invariant 1");
            }
            Some(Work::Copy { sources, target }) => {
                let rack = |at: &BlockLocation| &facts.members[&at.storage].candidate.rack;
                let racks: BTreeSet<_> = good.iter().map(rack).collect();
                let is_spread = good.len() == usize::from(row.wanted)
                    && racks.len() < facts.rule(&row).racks(good.len())
                    && !racks.contains(rack(&target));
                prop_assert!(hosts(good.iter().map(member)) < usize::from(row.wanted) || is_spread, "invariant 5");
                prop_assert_eq!(sources.iter().map(|at| at.storage).collect::<BTreeSet<_>>(),
                    good.iter().map(|at| at.storage).collect::<BTreeSet<_>>());
                let host = |at: &BlockLocation| &facts.members[&at.storage].candidate.host;
                prop_assert!(good.iter().all(|at| host(at) != host(&target)), "invariant 2");
                let listed = || row.replicas.iter().chain(&row.bad).chain(&row.leaving);
                prop_assert!(listed().all(|at| at.storage != target.storage), "invariant 3");
                prop_assert_eq!(facts.members[&target.storage].liveness, Alive);
            }
        }
    }

    /// Doing what is planned, again and again, comes to an end, and leaves as many copies as the hosts allow.
    #[test]
    fn repair_comes_to_an_end((facts, row) in case(), seed: u64) {
        let mut row = row;
        for _ in 0..60 {
            match plan(BLOCK, &row, &facts, seed).map(|(_, work)| work) {
                None => break,
                Some(Work::Copy { target, .. }) => row.replicas.push(target),
                Some(Work::DropBad { replica }) => row.bad.retain(|at| *at != replica),
                Some(Work::RemoveExcess { replica }) => row.replicas.retain(|at| *at != replica),
            }
        }
        prop_assert_eq!(plan(BLOCK, &row, &facts, seed), None);
        let live = health(&row, &facts).live;
        let hosts: BTreeSet<_> = facts.members.values().filter(|member| member.liveness == Alive
            && row.leaving.iter().all(|at| at.storage != member.candidate.location.storage))
            .map(|member| &member.candidate.host).collect();
        prop_assert!(live == 0 || live >= usize::from(row.wanted).min(hosts.len()));
    }
}
