use super::*;
use crate::command::{AttrChange, Principal};
use crate::row::Quota;

fn quota(path: &str, raw_bytes: Option<u64>, inodes: Option<u64>) -> Command {
    Command::SetQuota { place: at(path), quota: Quota { raw_bytes, inodes } }
}

/// Invariant 10.
#[test]
fn what_goes_over_a_quota_is_refused_whole_and_says_whose() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/team/alice")).expect("made");
    cluster.run(quota("/team", Some(30), Some(3))).expect("set");
    assert_eq!(cluster.stat("/team").quota, Some(Quota { raw_bytes: Some(30), inodes: Some(3) }));
    cluster.run(put(to("/team/alice/f"), b"0123456789")).expect("30 bytes with replicas");
    let before = cluster.state.clone();
    let error = cluster.run(put(to("/team/alice/g"), b"x")).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "/team: quota exceeded: 33 bytes with replicas would be below it, and 30 are allowed; remove some, or have the quota raised"
    );
    assert_eq!(error.code(), Code::QuotaExceeded);
    let more = AttrChange { replication: Some(4), ..AttrChange::default() };
    assert_eq!(code(cluster.run(Command::SetAttr { place: at("/team/alice/f"), change: more })), Code::QuotaExceeded);
    assert_eq!(code(cluster.run(mkdir("/team/bob/sub"))), Code::QuotaExceeded, "parents count too");
    assert_eq!(cluster.state, before, "invariant 1");
    cluster.run(mkdir("/team/bob")).expect("the third");
    cluster.run(put(over("/team/alice/f"), b"9876543210")).expect("nothing grows");
    invariants::check(&cluster.state);
}

#[test]
fn a_quota_may_be_less_than_what_is_there_and_lets_things_go() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d/in")).expect("made");
    cluster.run(put(to("/d/f"), b"12345")).expect("put");
    cluster.run(put(to("/d/g"), b"1")).expect("put");
    cluster.run(put(to("/out"), b"1")).expect("put");
    cluster.run(quota("/d", Some(0), Some(1))).expect("set");
    assert_eq!(code(cluster.run(rename("/out", "/d/out", false))), Code::QuotaExceeded);
    cluster.run(rename("/d/f", "/d/in/f", false)).expect("moving inside is no growth");
    let exchange = Command::Exchange { first: at("/d/in/f"), second: at("/d/g") };
    cluster.run(exchange).expect("nor is changing places");
    let bigger = Command::Exchange { first: at("/d/in/f"), second: at("/out") };
    cluster.run(bigger).expect("as many bytes for as many");
    let bigger = Command::Exchange { first: at("/d/in/f"), second: at("/d/in") };
    assert_eq!(code(cluster.run(bigger)), Code::Cycle);
    cluster.run(put(over("/d/g"), b"1234")).expect("less than before");
    cluster.run(delete("/d/g")).expect("removed");
    cluster.run(quota("/d", None, None)).expect("lifted");
    assert_eq!(cluster.stat("/d").quota, None);
    cluster.run(put(to("/d/new"), b"12345")).expect("no bound any more");
}

#[test]
fn a_writer_is_refused_before_more_becomes_visible() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(quota("/d", Some(20), None)).expect("set");
    let (inode, block) = cluster.create(session, Some(to("/d/f")));
    let extend = |length| Command::Extend { inode, written: done(block.block, length, &[1, 2, 3]) };
    cluster.by(session, extend(6)).expect("18 with replicas");
    assert_eq!(code(cluster.by(session, extend(7))), Code::QuotaExceeded);
    let closing = complete(inode, Some(done(block.block, 10, &[1, 2, 3])), None);
    assert_eq!(code(cluster.by(session, closing)), Code::QuotaExceeded);
    assert_eq!((cluster.stat("/d/f").length.get(), cluster.stat("/d/f").writing), (6, true));
    // What was visible stays, whatever the quota has become; what was not is refused to the recovery, too.
    cluster.run(quota("/d", Some(1), Some(0))).expect("set");
    assert_eq!(cluster.run(Command::CloseSession { session }), Ok(Reply::Step { more: false }));
    let Ok(Reply::Generation { generation }) = cluster.run(Command::BeginRecovery { block: block.block }) else {
        panic!("recovery begins")
    };
    let commit = |length| Command::CommitRecovery {
        recovered: BlockDone { generation, ..done(block.block, length, &[1, 2, 3]) },
    };
    assert_eq!(code(cluster.run(commit(7))), Code::QuotaExceeded);
    cluster.run(commit(6)).expect("as it was visible");
    assert_eq!((cluster.stat("/d/f").length.get(), cluster.stat("/d/f").writing), (6, false));
    invariants::check(&cluster.state);
}

#[test]
fn quotas_are_the_superusers_and_of_directories() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"1")).expect("put");
    assert_eq!(code(cluster.run(quota("/f", Some(1), None))), Code::NotDirectory);
    let mut request = cluster.request(None, quota("/", Some(1), None));
    request.principal = Some(Principal { uid: 1000, gid: 1000, groups: Vec::new() });
    let refused = cluster.apply(&request).reply.expect_err("refused");
    assert_eq!(refused.to_string(), "/: operation not permitted: only the superuser does this, and not uid 1000");
    cluster.run(quota("/", Some(3), None)).expect("the root can have one");
    let error = cluster.run(put(to("/g"), b"1")).expect_err("refused");
    assert!(error.to_string().starts_with("/: quota exceeded: 6 bytes"), "{error}");
}
