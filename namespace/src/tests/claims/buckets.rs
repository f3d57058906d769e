//! What is kept with a bucket: its owner's to set and to see, and gone with its directory.

use super::*;
use crate::bucket::BucketSetting;
use crate::command::{Ownership, Principal};

const BUCKET: &str = "bucket";

fn with_bucket() -> Cluster {
    let mut cluster = Cluster::formatted();
    let ownership = Ownership { mode: 0o755, ..OWNER };
    let bucket = Command::CreateBucket { bucket: BUCKET.to_owned(), place: at("/bucket"), ownership };
    cluster.run(bucket).expect("made");
    cluster
}

fn set(setting: BucketSetting, value: Option<&[u8]>) -> Command {
    Command::SetBucketSetting { bucket: BUCKET.to_owned(), setting, value: value.map(<[u8]>::to_vec) }
}

fn run_as(cluster: &mut Cluster, uid: u32, command: Command) -> Result<Reply, Error> {
    let mut request = cluster.request(None, command);
    request.principal = Some(principal(uid));
    cluster.apply(&request).reply
}

fn principal(uid: u32) -> Principal {
    Principal { uid, gid: 100, groups: Vec::new() }
}

fn settings(cluster: &Cluster, uid: u32) -> Vec<(BucketSetting, Vec<u8>)> {
    let principal = principal(uid);
    query::bucket(&cluster.state, Caller::from(Some(&principal)), BUCKET).expect("there").settings
}

#[test]
fn settings_are_the_owners_to_set_and_to_see() {
    let mut cluster = with_bucket();
    let (owner, other) = (OWNER.uid, OWNER.uid + 1);
    run_as(&mut cluster, owner, set(BucketSetting::Policy, Some(&[1; 20_000]))).expect("its own");
    run_as(&mut cluster, owner, set(BucketSetting::Cors, Some(b"rules"))).expect("its own");
    let before = cluster.state.clone();
    for value in [Some(&b"x"[..]), None] {
        assert_eq!(code(run_as(&mut cluster, other, set(BucketSetting::Policy, value))), Code::NotPermitted);
    }
    assert_eq!(cluster.state, before);
    let both = vec![(BucketSetting::Policy, vec![1; 20_000]), (BucketSetting::Cors, b"rules".to_vec())];
    assert_eq!([settings(&cluster, owner), settings(&cluster, 0)], [both.clone(), both]);
    assert_eq!(settings(&cluster, other), []);
    assert_eq!(query::buckets(&cluster.state, "", 10).expect("listed")[0].settings, [], "a listing is short");
    let long = set(BucketSetting::Cors, Some(&[0; (64 << 10) + 1]));
    assert_eq!(code(run_as(&mut cluster, owner, long)), Code::TooLarge);
    run_as(&mut cluster, owner, set(BucketSetting::Policy, None)).expect("its own");
    assert_eq!(settings(&cluster, owner), [(BucketSetting::Cors, b"rules".to_vec())]);
    let before = cluster.state.clone();
    assert_eq!(run_as(&mut cluster, owner, set(BucketSetting::Policy, None)), Ok(Reply::Done), "it is gone already");
    assert_eq!(cluster.state, before);
    invariants::check(&cluster.state);
}

#[test]
fn a_bucket_of_the_same_name_has_nothing_of_the_one_before() {
    let mut cluster = with_bucket();
    let long = set(BucketSetting::Policy, Some(&[1; 20_000]));
    cluster.run(long.clone()).expect("set");
    cluster.run(Command::DeleteBucket { bucket: BUCKET.to_owned() }).expect("empty");
    assert_eq!(code(cluster.run(long)), Code::NoSuchBucket);
    let ownership = Ownership { mode: 0o755, ..OWNER };
    let bucket = Command::CreateBucket { bucket: BUCKET.to_owned(), place: at("/bucket"), ownership };
    cluster.run(bucket).expect("made anew");
    assert_eq!(settings(&cluster, 0), []);
    invariants::check(&cluster.state);
}
