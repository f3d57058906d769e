use super::*;
use crate::policy::{self, Policy};

fn set(policy: Policy, value: Option<u64>) -> Command {
    Command::SetPolicy { policy, value, by: None }
}

#[test]
fn a_policy_holds_until_it_is_taken_back_and_one_that_makes_no_sense_is_refused() {
    let mut cluster = Cluster::formatted();
    let all = |cluster: &Cluster| policy::all(&cluster.state).expect("readable").into_iter().collect::<Vec<_>>();
    assert_eq!(all(&cluster), []);
    cluster.run(set(Policy::TrashExpiry, Some(0))).expect("no trash");
    cluster.run(set(Policy::Replication, Some(2))).expect("two");
    cluster.run(set(Policy::Replication, Some(4))).expect("four");
    assert_eq!(all(&cluster), [(Policy::Replication, 4), (Policy::TrashExpiry, 0)]);
    let before = cluster.state.clone();
    for (policy, value) in [
        (Policy::Replication, 0),
        (Policy::Replication, 33),
        (Policy::BlockSize, 0),
        (Policy::BlockSize, 4097),
        (Policy::BlockSize, (64 << 30) + 4096),
        (Policy::TrashExpiry, u64::MAX),
        (Policy::DeleteGrace, u64::MAX),
        (Policy::SafeMode, 2),
    ] {
        assert_eq!(code(cluster.run(set(policy, Some(value)))), Code::InvalidArgument, "{policy:?} {value}");
    }
    assert_eq!(cluster.state, before);
    cluster.run(set(Policy::Replication, None)).expect("as configured");
    cluster.run(set(Policy::Replication, None)).expect("said twice");
    assert_eq!(all(&cluster), [(Policy::TrashExpiry, 0)]);
    invariants::check(&cluster.state);
}

#[test]
fn safe_mode_tells_since_when_and_by_whom_it_is_on() {
    let mut cluster = Cluster::formatted();
    let now = |cluster: &Cluster| policy::safe_mode(&cluster.state).expect("readable");
    let say = |value, by: &str| Command::SetPolicy { policy: Policy::SafeMode, value, by: Some(by.to_owned()) };
    assert_eq!(now(&cluster), None);
    cluster.run(say(Some(1), "ann")).expect("on");
    let first = now(&cluster).expect("it is on");
    assert_eq!((first.by.as_deref(), first.since), (Some("ann"), Some(types::Timestamp::from_nanos(cluster.clock))));
    cluster.clock += 9;
    cluster.run(say(Some(1), "bob")).expect("still on");
    assert_eq!(now(&cluster), Some(first), "said again, it is on since it was said first");
    cluster.run(say(Some(0), "bob")).expect("off");
    assert_eq!(now(&cluster), None);
    cluster.run(say(None, "bob")).expect("not set");
    assert_eq!(now(&cluster), None);
    invariants::check(&cluster.state);
}
