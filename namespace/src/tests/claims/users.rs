//! Users of the cluster, and the keys that follow them.

use super::*;
use crate::access_key::AccessKeyRow;
use crate::command::Principal;
use crate::query::FoundKey;
use crate::user::UserOrder;
use types::Timestamp;

fn principal(uid: u32, groups: &[u32]) -> Principal {
    Principal { uid, gid: 100, groups: groups.to_vec() }
}

fn order(name: &str, order: UserOrder) -> Command {
    Command::User { name: name.to_owned(), order }
}

fn add(name: &str, uid: u32) -> Command {
    order(name, UserOrder::Add { principal: principal(uid, &[]) })
}

fn change(name: &str, groups: Option<Vec<u32>>, disabled: Option<bool>) -> Command {
    order(name, UserOrder::Change { uid: None, gid: None, groups, disabled })
}

fn remove(name: &str, with_keys: bool) -> Command {
    order(name, UserOrder::Remove { with_keys })
}

fn put_key(id: &str, user: Option<&str>) -> Command {
    let user = user.map(str::to_owned);
    let row = AccessKeyRow { principal: principal(7, &[]), sealed: b"s".to_vec(), created: Timestamp::EPOCH, user };
    Command::PutAccessKey { id: id.to_owned(), row }
}

impl Cluster {
    fn found(&self, id: &str) -> FoundKey {
        query::access_key(&self.state, Caller::SYSTEM, id).expect("it is there")
    }
}

/// Invariant 3 of the module.
#[test]
fn a_key_follows_its_user_and_one_of_a_principal_stays_as_it_is() {
    let mut cluster = Cluster::formatted();
    cluster.run(add("ann", 1000)).expect("added");
    cluster.run(put_key("AKIA1", Some("ann"))).expect("put");
    cluster.run(put_key("AKIA2", None)).expect("put");
    assert_eq!(cluster.found("AKIA1").row.principal, principal(1000, &[]));
    cluster.run(change("ann", Some(vec![4, 27]), None)).expect("changed");
    assert_eq!(cluster.found("AKIA1").row.principal, principal(1000, &[4, 27]));
    assert!(!cluster.found("AKIA1").disabled);
    cluster.run(change("ann", None, Some(true))).expect("disabled");
    assert!(cluster.found("AKIA1").disabled);
    assert_eq!(cluster.found("AKIA1").row.principal, principal(1000, &[4, 27]), "what was not named stays");
    assert_eq!((cluster.found("AKIA2").row.principal, cluster.found("AKIA2").disabled), (principal(7, &[]), false));
    let all = query::access_keys(&cluster.state, Caller::SYSTEM, "", 10).expect("listed");
    assert_eq!(
        all.iter().map(|(id, key)| (&id[..], key.disabled)).collect::<Vec<_>>(),
        [("AKIA1", true), ("AKIA2", false)]
    );
    cluster.run(change("ann", None, Some(false))).expect("enabled");
    assert!(!cluster.found("AKIA1").disabled);
    invariants::check(&cluster.state);
}

/// Invariant 2 of the module.
#[test]
fn a_user_with_keys_goes_only_with_them() {
    let mut cluster = Cluster::formatted();
    for (name, uid) in [("ann", 1), ("an", 2), ("anna", 3)] {
        cluster.run(add(name, uid)).expect("added");
        cluster.run(put_key(&format!("KEY-{name}"), Some(name))).expect("put");
    }
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(remove("an", false))), Code::NotEmpty);
    assert_eq!(cluster.state, before);
    cluster.run(Command::RemoveAccessKey { id: "KEY-an".to_owned() }).expect("removed");
    cluster.run(remove("an", false)).expect("it has none");
    cluster.run(remove("ann", true)).expect("with its key");
    assert_eq!(query::users(&cluster.state, "", 10).expect("listed").len(), 1);
    assert_eq!(cluster.found("KEY-anna").row.principal.uid, 3, "that of a longer name stays");
    assert!(query::access_key(&cluster.state, Caller::SYSTEM, "KEY-ann").is_err());
    assert_eq!(code(cluster.run(put_key("KEY-late", Some("ann")))), Code::NotFound);
    assert_eq!(code(cluster.run(remove("ann", true))), Code::NotFound);
    invariants::check(&cluster.state);
}

#[test]
fn what_no_user_can_be_is_refused() {
    let mut cluster = Cluster::formatted();
    cluster.run(add("ann", 1000)).expect("added");
    let before = cluster.state.clone();
    assert_eq!(code(cluster.run(add("ann", 1001))), Code::Exists);
    assert_eq!(code(cluster.run(add("bob", 1000))), Code::InvalidArgument, "the uid is another's");
    let long = "a".repeat(65);
    for name in ["", "7", "7up", "a b", "a/b", "a\0b", "\u{e9}ve", "-a", &long] {
        assert_eq!(code(cluster.run(add(name, 5))), Code::InvalidArgument, "{name:?}");
    }
    assert_eq!(code(cluster.run(change("ann", Some(vec![1; 1025]), None))), Code::InvalidArgument);
    assert_eq!(code(cluster.run(change("bob", None, Some(true)))), Code::NotFound);
    let mut request = cluster.request(None, add("bob", 1001));
    request.principal = Some(principal(1000, &[]));
    assert_eq!(code(cluster.apply(&request).reply), Code::NotPermitted);
    assert_eq!(cluster.state, before);
    for (name, uid) in [("b", 1), ("c", 2), ("d", 3)] {
        cluster.run(add(name, uid)).expect("added");
    }
    assert_eq!(code(cluster.run(add("e", 4))), Code::NoSpace);
    cluster.run(change("ann", Some(vec![9]), None)).expect("one that is there may change");
    for number in 0..3 {
        cluster.run(put_key(&format!("KEY{number}"), Some("ann"))).expect("put");
    }
    assert_eq!(code(cluster.run(put_key("KEY3", Some("ann")))), Code::NoSpace);
    invariants::check(&cluster.state);
}
