use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn candidate(id: u8, rack: &str) -> Candidate {
    Candidate {
        location: BlockLocation { node: NodeId::new(100 + u64::from(id)), storage: StorageId::from_bytes([id; 16]) },
        host: format!("dn{id}"),
        rack: rack.to_owned(),
        capacity: ByteSize::new(1000),
        free: ByteSize::new(1000),
        writers: 0,
    }
}

fn ids(locations: &[BlockLocation]) -> Vec<u64> {
    locations.iter().map(|location| location.node.get() - 100).collect()
}

#[test]
fn the_first_replica_is_on_the_writers_host() {
    let candidates: Vec<_> = (1..=5).map(|id| candidate(id, "/r")).collect();
    for seed in 0..50 {
        assert_eq!(ids(&place(&candidates, 3, Some("dn4"), Policy::TwoRacks, seed))[0], 4);
    }
    assert_eq!(place(&candidates, 3, Some("elsewhere"), Policy::TwoRacks, 1).len(), 3);
}

#[test]
fn the_second_replica_is_on_another_rack_and_the_third_next_to_it() {
    let candidates: Vec<_> = (1..=9).map(|id| candidate(id, ["/a", "/b", "/c"][usize::from(id % 3)])).collect();
    let rack = |id: u64| id % 3;
    for seed in 0..50 {
        let chosen = ids(&place(&candidates, 3, None, Policy::TwoRacks, seed));
        assert_ne!(rack(chosen[0]), rack(chosen[1]));
        assert_eq!(rack(chosen[1]), rack(chosen[2]));
    }
}

#[test]
fn spread_replicas_are_on_as_many_racks_as_there_are() {
    let candidates: Vec<_> = (1..=9).map(|id| candidate(id, ["/a", "/b", "/c"][usize::from(id % 3)])).collect();
    for seed in 0..50 {
        let chosen = ids(&place(&candidates, 5, None, Policy::Spread, seed));
        let racks = |count: usize| chosen[..count].iter().map(|id| id % 3).collect::<BTreeSet<_>>().len();
        assert_eq!((racks(2), racks(3), racks(5)), (2, 3, 3), "{chosen:?}");
    }
}

/// Losing a rack leaves a replica, whatever the policy, wherever two racks have a host to choose.
#[test]
fn no_rack_has_all_replicas_where_there_is_another() {
    for racks in 2..5_u8 {
        let candidates: Vec<_> = (1..=8).map(|id| candidate(id, &format!("/r{}", id % racks))).collect();
        for (policy, want) in [(Policy::TwoRacks, 2), (Policy::TwoRacks, 3), (Policy::Spread, 3)] {
            for seed in 0..50 {
                let chosen = ids(&place(&candidates, want, Some("dn5"), policy, seed));
                let used: BTreeSet<_> = chosen.iter().map(|id| id % u64::from(racks)).collect();
                assert_eq!(used.len(), policy.racks(want).min(racks.into()), "{policy:?} of {racks}: {chosen:?}");
            }
        }
    }
}

#[test]
fn emptier_storages_come_first_and_then_those_with_fewer_writers() {
    let mut candidates: Vec<_> = (1..=4).map(|id| candidate(id, "/r")).collect();
    candidates[0].free = ByteSize::new(500);
    candidates[1].writers = 2;
    candidates[2].free = ByteSize::new(990);
    candidates[2].writers = 1;
    for seed in 0..20 {
        assert_eq!(ids(&place(&candidates, 4, None, Policy::TwoRacks, seed)), [4, 3, 2, 1]);
    }
}

#[test]
fn equal_storages_take_turns() {
    let candidates: Vec<_> = (1..=6).map(|id| candidate(id, "/r")).collect();
    let mut firsts = [0; 7];
    for seed in 0..600 {
        firsts[usize::try_from(ids(&place(&candidates, 1, None, Policy::TwoRacks, seed))[0]).expect("small")] += 1;
    }
    assert!(firsts[1..].iter().all(|count| (50..150).contains(count)), "{firsts:?}");
}

proptest! {
    #[test]
    fn no_two_replicas_share_a_host(
        hosts in prop::collection::vec((0_u8..6, 0_u8..3, 0_u64..1000, 0_u32..3), 0..12),
        want in 0_usize..6,
        seed: u64,
    ) {
        let candidates: Vec<_> = (0..).zip(&hosts).map(|(id, (host, rack, free, writers))| Candidate {
            host: format!("dn{host}"),
            free: ByteSize::new(*free),
            writers: *writers,
            ..candidate(id, &format!("/r{rack}"))
        }).collect();
        let chosen = place(&candidates, want, Some("dn0"), Policy::TwoRacks, seed);
        let host_of = |location: &BlockLocation| {
            candidates.iter().find(|candidate| candidate.location == *location).expect("a candidate").host.clone()
        };
        let used: BTreeSet<_> = chosen.iter().map(host_of).collect();
        let all: BTreeSet<_> = candidates.iter().map(|candidate| candidate.host.clone()).collect();
        prop_assert_eq!(used.len(), chosen.len());
        prop_assert_eq!(chosen.len(), want.min(all.len()), "as many as there are hosts");
        prop_assert_eq!(&chosen, &place(&candidates, want, Some("dn0"), Policy::TwoRacks, seed));
        let mut turned = candidates.clone();
        turned.reverse();
        prop_assert_eq!(&chosen, &place(&turned, want, Some("dn0"), Policy::TwoRacks, seed), "the order of candidates does not matter");
    }
}
