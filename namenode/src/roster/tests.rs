use super::*;
use crate::raft::Member;

const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);

fn disk(byte: u8) -> DiskId {
    DiskId::from_bytes([byte; 16])
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Member 1 of three, of which the third is recorded elsewhere; node 9 was removed.
fn roster() -> Roster {
    let member =
        |node: u8, address: &str| Member { node: u64::from(node), address: address.to_owned(), disk: Some(disk(node)) };
    let mut group = Group::founding(vec![member(1, "127.0.0.1:1"), member(2, ""), member(3, "127.0.0.1:33")]);
    group.removed = vec![9];
    let own = Own { cluster: CLUSTER, node: 1, disk: Some(disk(1)), instance: 7, address: address(1) };
    Roster::new(own, vec![address(1), address(2), address(3)], group)
}

fn greeting(from: u8) -> Greeting {
    Greeting {
        cluster: CLUSTER.as_bytes().to_vec(),
        from: u64::from(from),
        to: 1,
        disk: Some(disk(from)),
        instance: 70,
        address: None,
        persisted: 10,
    }
}

/// Invariants 1 and 2.
#[test]
fn only_the_recorded_directory_is_the_member() {
    let (roster, now) = (roster(), Instant::now());
    assert_eq!(roster.admit(&greeting(2), now), Ok(()));
    assert_eq!(roster.admit(&greeting(4), now), Ok(()), "this one may be behind");
    let refusals = [
        (Greeting { cluster: vec![2; 16], ..greeting(2) }, Refused::Cluster(CLUSTER), false),
        (Greeting { cluster: vec![], ..greeting(2) }, Refused::Cluster(CLUSTER), false),
        (greeting(1), Refused::SameNumber(1), false),
        (Greeting { to: 3, ..greeting(2) }, Refused::Misdirected(1), false),
        (greeting(9), Refused::Removed(9), true),
    ];
    for (greeting, refused, is_final) in refusals {
        assert_eq!(roster.admit(&greeting, now), Err(refused.clone()));
        assert_eq!(refused.is_final(), is_final, "{refused}");
    }
    for told in [Some(disk(5)), None] {
        let refused = roster.admit(&Greeting { disk: told, ..greeting(2) }, now).expect_err("another directory");
        assert!(matches!(refused, Refused::OtherDisk { node: 2, .. }) && refused.is_final(), "{refused}");
    }
}

/// Invariant 3: a copy of a directory waits until nobody hears the first; a restarted process does not.
#[test]
fn the_second_of_two_processes_is_refused_while_the_first_is_heard() {
    let (roster, now) = (roster(), Instant::now());
    let copy = Greeting { instance: 71, ..greeting(2) };
    assert_eq!(roster.admit(&greeting(2), now), Ok(()));
    assert_eq!(roster.admit(&copy, now + SILENCE / 2), Err(Refused::SecondProcess(2)));
    roster.left(2, 71);
    assert_eq!(roster.admit(&copy, now + SILENCE / 2), Err(Refused::SecondProcess(2)), "it was never in");
    roster.left(2, 70);
    assert_eq!(roster.admit(&copy, now + SILENCE / 2), Ok(()));
    assert_eq!(roster.admit(&greeting(2), now + 2 * SILENCE), Ok(()), "silent for long");
}

/// Invariant 4.
#[test]
fn a_member_restored_from_an_old_copy_is_refused_for_good() {
    let (roster, now) = (roster(), Instant::now());
    assert_eq!(roster.admit(&greeting(2), now), Ok(()));
    assert_eq!(roster.admit(&Greeting { persisted: 12, ..greeting(2) }, now), Ok(()));
    assert_eq!(roster.persisted(2), 12);
    roster.left(2, 70);
    let refused = roster.admit(&Greeting { instance: 71, persisted: 11, ..greeting(2) }, now);
    assert_eq!(refused, Err(Refused::WentBack { node: 2, known: 12, told: 11 }));
    assert!(refused.is_err_and(|refused| refused.is_final()));
}

/// What a member says itself is the latest; what is recorded comes before what was configured once.
#[test]
fn members_are_looked_for_where_they_were_heard_recorded_and_configured() {
    let (roster, now) = (roster(), Instant::now());
    assert_eq!(roster.addresses(2), [address(2)]);
    assert_eq!(roster.addresses(3), [address(33), address(3)]);
    assert_eq!(roster.addresses(8), []);
    assert_eq!(roster.unrecorded(), []);
    let moved = Greeting { address: Some(address(333)), ..greeting(3) };
    assert_eq!(roster.admit(&moved, now), Ok(()));
    assert_eq!(roster.addresses(3), [address(333), address(33), address(3)]);
    assert_eq!(roster.unrecorded(), [(3, "127.0.0.1:333".to_owned())]);
    assert_eq!(roster.all(), [address(1), address(2), address(333)]);
    assert!(roster.knows(2) && !roster.knows(9) && !roster.knows(8));
}
