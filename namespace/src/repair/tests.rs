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
    (members, lists, 1_u8..4).prop_map(|(members, lists, wanted)| {
        let of = |list: u8| (0..10).filter(|id| lists[usize::from(*id)] == list).collect::<Vec<u8>>();
        let members =
            (0..).zip(&members).map(|(id, (host, liveness))| (location(id).storage, member(id, *host, *liveness)));
        let row = BlockRow { wanted, ..row(&of(0), &of(1), &of(2)) };
        (Facts { members: members.collect(), ..Facts::default() }, row)
    })
}

proptest! {
    #[test]
    fn plans_keep_what_is_good((facts, row) in case(), seed: u64) {
        let live = |location: &BlockLocation| facts.live(location).is_some();
        let good: Vec<_> = row.replicas.iter().copied().filter(live).collect();
        match plan(BLOCK, &row, &facts, seed).map(|(_, work)| work) {
            None => {}
            Some(Work::RemoveExcess { replica }) => {
                let left = good.iter().filter(|at| **at != replica).count();
                prop_assert!(left >= usize::from(row.wanted), "invariant 1");
                prop_assert!(row.replicas.contains(&replica));
            }
            Some(Work::DropBad { replica }) => {
                prop_assert!(!good.is_empty() && row.bad.contains(&replica), "invariant 1");
            }
            Some(Work::Copy { sources, target }) => {
                prop_assert!(good.len() < usize::from(row.wanted));
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
