use proptest::prelude::*;
use types::{InodeId, NodeId};

use super::*;
use crate::placement::Candidate;

const CAPACITY: u64 = 1000;

fn location(id: u8) -> BlockLocation {
    BlockLocation { node: NodeId::new(100 + u64::from(id)), storage: StorageId::from_bytes([id; 16]) }
}

fn block(number: u32) -> BlockId {
    BlockId::new(InodeId::new(9), number)
}

/// Volume `id` on host `id`, in one of two racks.
fn member(id: u8, free: u64) -> Member {
    let candidate = Candidate {
        location: location(id),
        host: format!("dn{id}"),
        rack: format!("/r{}", id % 2),
        capacity: ByteSize::new(CAPACITY),
        free: ByteSize::new(free),
        writers: 0,
    };
    Member { candidate, liveness: Liveness::Alive }
}

fn facts(members: impl IntoIterator<Item = Member>) -> Facts {
    let members = members.into_iter().map(|member| (member.candidate.location.storage, member)).collect();
    Facts { members, ..Facts::default() }
}

fn row(replicas: &[u8], length: u64) -> BlockRow {
    BlockRow {
        generation: GenStamp::FIRST,
        length: ByteSize::new(length),
        state: BlockState::Committed,
        wanted: u8::try_from(replicas.len()).expect("few"),
        replicas: replicas.iter().map(|id| location(*id)).collect(),
        bad: Vec::new(),
        leaving: Vec::new(),
        live: ByteSize::new(length),
        recovery: None,
        spread: None,
    }
}

fn used(rows: &[BlockRow]) -> BTreeMap<StorageId, u64> {
    let mut used = BTreeMap::new();
    rows.iter().for_each(|row| weigh(row, &mut used));
    used
}

/// Plans once over all blocks: the moves.
fn plan(rows: &[BlockRow], facts: &Facts, threshold: u32) -> (Vec<(usize, Move)>, Plan) {
    let mut plan = Plan::new(facts, &used(rows), threshold);
    let moves = rows
        .iter()
        .enumerate()
        .filter_map(|(at, row)| Some((at, plan.consider(block(u32::try_from(at).expect("few")), row, facts)?)))
        .collect();
    (moves, plan)
}

#[test]
fn who_may_yet_take_part_is_awaited() {
    let with = |id, liveness| Member { liveness, ..member(id, 500) };
    let mut unheard = member(3, 0);
    unheard.candidate.capacity = ByteSize::ZERO;
    let dead = with(5, Liveness::Dead);
    let mut facts =
        facts([member(1, 500), with(2, Liveness::Suspect), unheard, with(4, Liveness::Held), dead, member(6, 0)]);
    let node = |id| location(id).node;
    assert_eq!(awaited(&facts), BTreeSet::from([node(2), node(3), node(4)]));
    facts.standings.insert(node(2), Standing::Draining);
    assert_eq!(awaited(&facts), BTreeSet::from([node(3), node(4)]));
}

fn carry_out(rows: &mut [BlockRow], moves: &[(usize, Move)]) {
    for (at, step) in moves {
        rows[*at].replicas.retain(|location| *location != step.source);
        rows[*at].replicas.push(step.target);
    }
}

#[test]
fn an_empty_volume_gets_its_share() {
    let facts = facts((1..=4).map(|id| member(id, 400)));
    let mut rows: Vec<BlockRow> = (0..60).map(|_| row(&[1, 2, 3], 10)).collect();
    let (moves, after) = plan(&rows, &facts, 50);
    assert!(after.is_even());
    assert_eq!(after.mean(), 450_000);
    assert!(moves.iter().all(|(_, step)| step.target == location(4)));
    let bytes: u64 = moves.iter().map(|(_, step)| step.length.get()).sum();
    assert!((400..=450).contains(&bytes), "no more than its share is moved there: {bytes}");
    carry_out(&mut rows, &moves);
    assert_eq!(plan(&rows, &facts, 50).0, [], "there is nothing left to do");
}

#[test]
fn what_is_within_the_threshold_stays() {
    let facts = facts((1..=2).map(|id| member(id, 400)));
    let rows: Vec<BlockRow> = (0..52).map(|at| row(&[if at < 27 { 1 } else { 2 }], 10)).collect();
    let (moves, plan_of_all) = plan(&rows, &facts, 50);
    assert!(moves.is_empty() && plan_of_all.is_even());
    assert!(!plan(&rows, &facts, 9).0.is_empty(), "27 to 25 of 100 is 1% from the mean");
}

#[test]
fn only_what_is_well_moves() {
    let all = facts((1..=4).map(|id| member(id, 400)));
    let full: Vec<BlockRow> = (0..60).map(|_| row(&[1, 2, 3], 10)).collect();
    let used = used(&full);
    let considered = |row: &BlockRow, facts: &Facts| Plan::new(facts, &used, 50).consider(block(0), row, facts);
    let good = row(&[1, 2, 3], 10);
    assert!(considered(&good, &all).is_some());
    let short = BlockRow { wanted: 4, ..good.clone() };
    let damaged = BlockRow { bad: vec![location(4)], ..good.clone() };
    let leaving = BlockRow { leaving: vec![location(4)], ..good.clone() };
    let written = BlockRow { state: BlockState::Writing, ..good.clone() };
    let empty = BlockRow { length: ByteSize::ZERO, ..good.clone() };
    for row in [short, damaged, leaving, written, empty] {
        assert_eq!(considered(&row, &all), None, "{row:?}");
    }
    let step = considered(&good, &all).expect("above");
    assert!(is_sound(&step, &good, &all));
    let mut silent = all.clone();
    silent.members.get_mut(&location(4).storage).expect("it is there").liveness = Liveness::Suspect;
    let mut draining = all.clone();
    draining.standings.insert(location(4).node, Standing::Draining);
    for facts in [&silent, &draining] {
        assert_eq!(considered(&good, facts), None);
        assert!(!is_sound(&step, &good, facts), "what was planned before is not done");
    }
    assert!(!is_sound(&step, &BlockRow { generation: GenStamp::new(2), ..good.clone() }, &all));
}

#[test]
fn the_source_is_kept_where_others_are_lost_meanwhile() {
    let mut facts = facts((1..=4).map(|id| member(id, 400)));
    let copied = row(&[1, 2, 3], 10);
    assert!(may_give_up(&copied, location(1).storage, location(4), &facts));
    facts.members.get_mut(&location(2).storage).expect("it is there").liveness = Liveness::Dead;
    assert!(!may_give_up(&copied, location(1).storage, location(4), &facts));
}

/// Up to eight volumes on six hosts, some of them unfit, and blocks that lie on different hosts.
fn case() -> impl Strategy<Value = (Facts, Vec<BlockRow>)> {
    let liveness = prop_oneof![6 => Just(Liveness::Alive), 1 => Just(Liveness::Suspect), 1 => Just(Liveness::Dead)];
    let members = prop::collection::vec((0_u8..6, 0_u8..3, 0..CAPACITY, liveness, 0_u8..10), 2..8);
    let blocks = prop::collection::vec((prop::collection::vec(0_u8..8, 1..4), 1_u64..40), 0..80);
    (members, blocks).prop_map(|(members, blocks)| {
        let mut standings = BTreeMap::new();
        let members: Vec<Member> = (0..)
            .zip(&members)
            .map(|(id, (host, rack, free, liveness, standing))| {
                if *standing == 0 {
                    standings.insert(location(id).node, Standing::Draining);
                }
                let Member { candidate, .. } = member(id, *free);
                let candidate = Candidate { host: format!("dn{host}"), rack: format!("/r{rack}"), ..candidate };
                Member { candidate, liveness: *liveness }
            })
            .collect();
        let count = members.len();
        let facts = Facts { standings, ..facts(members) };
        let host = |id: &u8| facts.members[&location(*id).storage].candidate.host.clone();
        let rows = blocks.into_iter().map(|(ids, length)| {
            let mut hosts = BTreeSet::new();
            let ids: Vec<u8> =
                ids.into_iter().filter(|id| usize::from(*id) < count).filter(|id| hosts.insert(host(id))).collect();
            row(&ids, length)
        });
        let rows = rows.filter(|row| !row.replicas.is_empty()).collect();
        (facts, rows)
    })
}

proptest! {
    #[test]
    fn moves_keep_copies_hosts_and_racks((facts, mut rows) in case(), threshold in 1_u32..200) {
        let candidate = |at: &BlockLocation| &facts.members[&at.storage].candidate;
        let racks = |row: &BlockRow| row.replicas.iter().map(|at| &candidate(at).rack).collect::<BTreeSet<_>>().len();
        let before = rows.clone();
        let (moves, _) = plan(&rows, &facts, threshold);
        for (at, step) in &moves {
            prop_assert!(is_sound(step, &rows[*at], &facts));
            prop_assert!(may_give_up(&rows[*at], step.source.storage, step.target, &facts), "invariant 1");
        }
        carry_out(&mut rows, &moves);
        for (before, after) in before.iter().zip(&rows) {
            prop_assert_eq!(before.replicas.len(), after.replicas.len(), "invariant 1");
            let hosts: BTreeSet<_> = after.replicas.iter().map(|at| &candidate(at).host).collect();
            prop_assert_eq!(hosts.len(), after.replicas.len(), "invariant 2");
            prop_assert!(racks(after) >= racks(before), "invariant 2");
        }
    }

    /// Invariant 3, over as many rounds as it takes: what was moved once stays, room is never overrun, and it ends.
    #[test]
    fn balancing_ends_and_moves_no_byte_twice((facts, mut rows) in case(), threshold in 1_u32..200) {
        let start = rows.clone();
        let uneven = |rows: &[BlockRow]| -> u64 {
            Plan::new(&facts, &used(rows), threshold).volumes().map(|volume| volume.used.abs_diff(volume.share)).sum()
        };
        let mut taken: BTreeMap<StorageId, u64> = BTreeMap::new();
        let mut rounds = 0;
        loop {
            let (moves, _) = plan(&rows, &facts, threshold);
            if moves.is_empty() {
                break;
            }
            let bytes: u64 = moves.iter().map(|(_, step)| step.length.get()).sum();
            let distance = uneven(&rows);
            for (at, step) in &moves {
                prop_assert!(start[*at].replicas.contains(&step.source), "what was moved once is moved again");
                *taken.entry(step.target.storage).or_default() += step.length.get();
            }
            carry_out(&mut rows, &moves);
            prop_assert_eq!(uneven(&rows), distance - 2 * bytes);
            rounds += 1;
            prop_assert!(rounds < 200);
        }
        for (storage, bytes) in taken {
            // Each round knows what was free in the beginning only, as a leader does until the next report.
            prop_assert!(rounds > 1 || bytes <= facts.members[&storage].candidate.free.get());
        }
    }
}
