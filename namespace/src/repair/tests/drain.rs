//! Nodes that are to leave, and nodes that are away for a while.

use super::*;
use std::cmp::Reverse;

use crate::repair::drain::{Counts, Explained, Held, Hold, NAMED, Tally, explain, hold};
use crate::row::Service;
use types::Timestamp;

use Standing::{Draining, InService, Maintenance};

fn node(id: u8) -> NodeId {
    location(id).node
}

fn standing(mut facts: Facts, standings: &[(u8, Standing)]) -> Facts {
    facts.standings = standings.iter().map(|(id, standing)| (node(*id), *standing)).collect();
    facts
}

#[test]
fn what_a_leaving_node_has_is_copied_and_kept_until_it_is_gone() {
    let all = [(1, Alive), (2, Alive), (3, Alive), (4, Alive)];
    let draining = standing(facts(&all), &[(1, Draining)]);
    let all_sources = vec![location(1), location(2), location(3)];
    let copy = Work::Copy { sources: all_sources, target: location(4) };
    assert_eq!(work(&row(&[1, 2, 3], &[], &[]), &draining), Some(copy), "it is a source, and does not count");
    assert_eq!(work(&row(&[1, 2, 3, 4], &[], &[]), &draining), None, "nothing is taken from it");
    let gone = standing(facts(&[(1, Dead), (2, Alive), (3, Alive), (4, Alive)]), &[(1, Draining)]);
    assert_eq!(work(&row(&[1, 2, 3, 4], &[], &[]), &gone), Some(Work::RemoveExcess { replica: location(1) }));
    let back = facts(&all);
    assert!(matches!(work(&row(&[1, 2, 3, 4], &[], &[]), &back), Some(Work::RemoveExcess { .. })));
}

#[test]
fn a_leaving_node_gets_no_copy() {
    let facts = standing(facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive)]), &[(4, Draining)]);
    let copy = Work::Copy { sources: vec![location(1), location(2)], target: location(3) };
    assert_eq!(work(&row(&[1, 2], &[], &[]), &facts), Some(copy));
    assert_eq!(work(&row(&[1, 2, 3], &[], &[]), &facts), None);
}

#[test]
fn nothing_is_copied_for_a_node_in_maintenance_and_nothing_removed_on_its_word() {
    let away = standing(facts(&[(1, Dead), (2, Alive), (3, Alive), (4, Alive)]), &[(1, Maintenance)]);
    assert_eq!(work(&row(&[1, 2, 3], &[], &[]), &away), None);
    let four_live = standing(facts(&[(1, Dead), (2, Alive), (3, Alive), (4, Alive), (5, Alive)]), &[(1, Maintenance)]);
    assert_eq!(work(&row(&[1, 2, 3, 4], &[], &[]), &four_live), None, "one of four may be gone for good");
    assert!(matches!(work(&row(&[1, 2, 3, 4, 5], &[], &[]), &four_live), Some(Work::RemoveExcess { .. })));
    let copy = Work::Copy { sources: vec![location(2)], target: location(4) };
    let two = standing(facts(&[(1, Dead), (2, Alive), (4, Alive)]), &[(1, Maintenance)]);
    assert_eq!(work(&row(&[1, 2], &[], &[]), &two), Some(copy), "what else is lost is made anew");
    assert_eq!(health(&row(&[1], &[], &[]), &away), Health { wanted: 3, live: 0, counted: 1, unreachable: 1, bad: 0 });
}

#[test]
fn what_a_node_in_maintenance_has_is_in_its_rack_still() {
    let mut all = facts(&[(1, Dead), (2, Alive), (3, Alive), (4, Alive), (5, Alive)]);
    let mut rack =
        |id, name: &str| all.members.get_mut(&location(id).storage).expect("known").candidate.rack = name.to_owned();
    (1..=4).for_each(|id| rack(id, if id == 1 { "/away" } else { "/here" }));
    rack(5, "/there");
    let away = standing(all.clone(), &[(1, Maintenance)]);
    assert_eq!(work(&row(&[1, 2, 3, 4], &[], &[]), &away), None, "it comes back");
    let spread = Some(Work::Copy { sources: vec![location(2), location(3), location(4)], target: location(5) });
    assert_eq!(work(&row(&[2, 3, 4], &[], &[]), &away), spread);
}

#[test]
fn maintenance_ends_by_itself() {
    let service = Service::Maintenance { until: Timestamp::from_nanos(10) };
    assert_eq!(service.standing(Timestamp::from_nanos(9)), Maintenance);
    assert_eq!(service.standing(Timestamp::from_nanos(10)), InService);
    for (service, standing) in
        [(Service::InService, InService), (Service::Decommissioning, Draining), (Service::Decommissioned, Draining)]
    {
        assert_eq!(service.standing(Timestamp::EPOCH), standing);
    }
}

#[test]
fn what_holds_a_node_is_told_by_its_reason() {
    let alive = [(1, Alive), (2, Alive), (3, Alive), (4, Alive)];
    let draining = standing(facts(&alive), &[(1, Draining)]);
    let why = |row: &BlockRow, facts: &Facts| hold(BLOCK, row, facts);
    assert_eq!(why(&row(&[1, 2, 3], &[], &[]), &draining), Some(Hold::Waiting));
    assert_eq!(why(&row(&[1, 2, 3, 4], &[], &[]), &draining), None);
    let writing = BlockRow { state: BlockState::Writing, ..row(&[1, 2, 3], &[], &[]) };
    assert_eq!(why(&writing, &draining), Some(Hold::Written));
    let three = standing(facts(&alive[..3]), &[(1, Draining)]);
    assert_eq!(why(&row(&[1, 2, 3], &[], &[]), &three), Some(Hold::NoTarget));
    let silent = standing(facts(&[(1, Dead), (2, Alive)]), &[(1, Draining)]);
    assert_eq!(why(&row(&[1], &[], &[]), &silent), Some(Hold::NoSource));
    let mut counts = Counts::default();
    for row in [row(&[1, 2, 3], &[], &[]), writing, row(&[1], &[], &[]), row(&[2, 3, 4], &[], &[])] {
        counts.add(BLOCK, &row, &draining);
    }
    let first = Tally { replicas: 3, last: 1, written: 1, waiting: 2, ..Tally::default() };
    assert_eq!((counts.tallies[&node(1)], first.left()), (first, 3));
    assert_eq!(counts.tallies[&node(2)], Tally { replicas: 3, ..Tally::default() });
    assert!(!counts.held.contains_key(&node(2)), "it stays");
}

#[test]
fn the_blocks_that_are_named_are_few_and_those_that_do_not_end_by_themselves() {
    let draining =
        standing(facts(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive), (9, Dead)]), &[(1, Draining), (9, Draining)]);
    let writing = BlockRow { state: BlockState::Writing, ..row(&[1], &[], &[]) };
    let mut counts = Counts::default();
    let block = |number: usize| BlockId::new(InodeId::new(9), u32::try_from(number).expect("few"));
    for number in 0..2 * NAMED {
        counts.add(block(number), &row(&[1, 2, 3], &[], &[]), &draining);
    }
    counts.add(block(50), &writing, &draining);
    counts.add(block(51), &row(&[9], &[], &[]), &draining);
    let held = |hold, number| Held { hold: Reverse(hold), block: block(number) };
    assert_eq!(counts.tallies[&node(1)].left(), 2 * NAMED as u64 + 1);
    let named: Vec<Held> = counts.held[&node(1)].iter().copied().collect();
    let waiting = (0..NAMED - 1).map(|number| held(Hold::Waiting, number));
    assert_eq!(named, [held(Hold::Written, 50)].into_iter().chain(waiting).collect::<Vec<_>>());
    assert_eq!(counts.held[&node(9)].iter().copied().collect::<Vec<_>>(), [held(Hold::NoSource, 51)]);
}

#[test]
fn a_block_that_holds_a_node_back_says_why() {
    let alive = [(1, Alive), (2, Alive), (3, Alive)];
    let draining = |members: &[(u8, Liveness)]| standing(facts(members), &[(1, Draining)]);
    let why = |row: &BlockRow, facts: &Facts| explain(BLOCK, row, facts, node(1));
    let of = |hold| Explained { hold, last: false, lacks_room: false, silent: Vec::new() };
    let all = row(&[1, 2, 3], &[], &[]);
    assert_eq!(why(&all, &draining(&alive)), Some(of(Hold::NoTarget)), "every host has one");
    let mut full = draining(&[(1, Alive), (2, Alive), (3, Alive), (4, Alive)]);
    full.members.get_mut(&location(4).storage).expect("it is there").candidate.free = ByteSize::new(9);
    assert_eq!(why(&all, &full), Some(Explained { lacks_room: true, ..of(Hold::NoTarget) }));
    let silent = draining(&[(1, Dead), (2, Alive), (3, Dead)]);
    let lost = Explained { silent: vec![node(1), node(3)], ..of(Hold::NoSource) };
    assert_eq!(why(&row(&[1, 3], &[], &[]), &silent), Some(lost));
    assert_eq!(why(&row(&[1], &[], &[]), &draining(&alive)), Some(Explained { last: true, ..of(Hold::Waiting) }));
    let writing = BlockRow { state: BlockState::Writing, ..row(&[1], &[], &[]) };
    assert_eq!(why(&writing, &draining(&alive)), Some(of(Hold::Written)), "nothing of it is promised yet");
    assert_eq!(explain(BLOCK, &all, &draining(&alive), node(2)), None, "it stays");
    assert_eq!(why(&row(&[2], &[], &[]), &draining(&alive)), None, "it has none");
}

fn standings() -> impl Strategy<Value = Vec<Standing>> {
    prop::collection::vec(prop_oneof![3 => Just(InService), 2 => Just(Draining), 1 => Just(Maintenance)], 10)
}

/// As [`case`], with nodes that leave or are away.
fn case_of_leave() -> impl Strategy<Value = (Facts, BlockRow)> {
    (case(), standings()).prop_map(|((facts, row), standings)| {
        let standings: Vec<(u8, Standing)> = (0..10).zip(standings).collect();
        (standing(facts, &standings), row)
    })
}

proptest! {
    #[test]
    fn plans_keep_what_is_good_while_nodes_leave((facts, row) in case_of_leave(), seed: u64) {
        let standing_of = |at: &BlockLocation| facts.standing(at.node);
        let live: Vec<_> = row.replicas.iter().copied().filter(|at| facts.live(at).is_some()).collect();
        let stays = |at: &&BlockLocation| standing_of(at) != Draining;
        match plan(BLOCK, &row, &facts, seed).map(|(_, work)| work) {
            None => {}
            Some(Work::RemoveExcess { replica }) => {
                let left = live.iter().filter(stays).filter(|at| **at != replica).count();
                prop_assert!(left >= usize::from(row.wanted), "invariant 1");
                let leaves = standing_of(&replica) == Draining;
                prop_assert!(!(leaves && live.contains(&replica)), "what leaves is a source until it is gone");
            }
            Some(Work::DropBad { replica }) => {
                prop_assert!(!live.is_empty() && row.bad.contains(&replica), "invariant 1");
            }
            Some(Work::Copy { sources, target }) => {
                let counted = || row.replicas.iter().filter_map(|at| facts.counted(at));
                let racks: BTreeSet<_> = counted().map(|member| &member.candidate.rack).collect();
                let is_spread = racks.len() < facts.rule(&row).racks(row.wanted.into())
                    && !racks.contains(&facts.members[&target.storage].candidate.rack);
                prop_assert!(hosts(counted()) < usize::from(row.wanted) || is_spread, "invariants 4 and 5");
                prop_assert_eq!(sources.iter().map(|at| at.storage).collect::<BTreeSet<_>>(),
                    live.iter().map(|at| at.storage).collect::<BTreeSet<_>>());
                let host = |at: &BlockLocation| &facts.members[&at.storage].candidate.host;
                prop_assert!(live.iter().all(|at| host(at) != host(&target)), "invariant 2");
                prop_assert_eq!((standing_of(&target), facts.members[&target.storage].liveness), (InService, Alive));
            }
        }
    }

    /// Then every block that can do without the leaving nodes does, and of the others it is said why not.
    #[test]
    fn draining_comes_to_an_end_and_says_what_is_left((facts, row) in case_of_leave(), seed: u64) {
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
        let counted = hosts(row.replicas.iter().filter_map(|at| facts.counted(at)));
        let live: Vec<_> = row.replicas.iter().filter_map(|at| facts.live(at)).collect();
        let taken = |member: &&Member| {
            let hosts = row.replicas.iter().filter_map(|at| facts.counted(at).or(facts.live(at)));
            hosts.into_iter().any(|other| other.candidate.host == member.candidate.host)
                || row.bad.iter().chain(&row.leaving).any(|at| at.storage == member.candidate.location.storage)
        };
        let free = facts.members.values().filter(|member| {
            member.liveness == Alive && facts.standing(member.candidate.location.node) == InService
        });
        match hold(BLOCK, &row, &facts) {
            None => prop_assert!(counted >= usize::from(row.wanted)),
            Some(Hold::NoSource) => prop_assert!(live.is_empty() && counted < usize::from(row.wanted)),
            Some(Hold::NoTarget) => {
                prop_assert!(counted < usize::from(row.wanted) && free.filter(|member| !taken(member)).count() == 0);
            }
            Some(held @ (Hold::Written | Hold::Waiting)) => prop_assert!(false, "{:?} although nothing is left to do", held),
        }
    }
}
