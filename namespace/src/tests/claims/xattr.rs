use super::*;
use crate::command::{Principal, XattrMode};
use crate::error::QueryError;

fn set_mode(path: &str, name: &str, value: &[u8], mode: XattrMode) -> Command {
    Command::SetXattr { place: at(path), name: name.into(), value: value.to_vec(), mode }
}

fn set(path: &str, name: &str, value: &[u8]) -> Command {
    set_mode(path, name, value, XattrMode::Any)
}

fn remove(path: &str, name: &str) -> Command {
    Command::RemoveXattr { place: at(path), name: name.into() }
}

impl Cluster {
    fn xattr(&self, path: &str, name: &str) -> Result<Vec<u8>, Code> {
        query::xattr(&self.state, Caller::SYSTEM, &at(path), name.as_bytes()).map_err(|error| match error {
            QueryError::Refused(error) => error.code(),
            QueryError::View(error) => panic!("{error}"),
        })
    }

    fn long_values(&self) -> usize {
        self.state.rows().keys().filter(|key| key[0] == b'x').count()
    }
}

#[test]
fn short_values_stand_in_the_inode_and_long_ones_apart() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("put");
    cluster.run(set("/f", "user.short", &[1; 256])).expect("set");
    cluster.run(set("/f", "user.empty", b"")).expect("set");
    assert_eq!(cluster.long_values(), 0);
    cluster.run(set("/f", "user.long", &[2; 64 << 10])).expect("set");
    assert_eq!(cluster.long_values(), 1);
    assert_eq!(cluster.xattr("/f", "user.short"), Ok(vec![1; 256]));
    assert_eq!(cluster.xattr("/f", "user.empty"), Ok(Vec::new()));
    assert_eq!(cluster.xattr("/f", "user.long"), Ok(vec![2; 64 << 10]));
    cluster.run(rename("/f", "/g", false)).expect("moved");
    assert_eq!(cluster.xattr("/g", "user.long"), Ok(vec![2; 64 << 10]), "they go along");
    cluster.run(set("/g", "user.long", b"now short")).expect("set");
    assert_eq!((cluster.xattr("/g", "user.long"), cluster.long_values()), (Ok(b"now short".to_vec()), 0));
    cluster.run(remove("/g", "user.long")).expect("removed");
    assert_eq!(cluster.xattr("/g", "user.long"), Err(Code::NoAttribute));
    invariants::check(&cluster.state);
}

#[test]
fn long_values_go_with_what_they_describe() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/d/sub")).expect("made");
    for path in ["/d/f", "/d/sub/f", "/replaced", "/renamed-over", "/deleted"] {
        cluster.run(put(to(path), b"x")).expect("put");
    }
    for path in ["/d", "/d/sub", "/d/f", "/d/sub/f", "/replaced", "/renamed-over", "/deleted"] {
        cluster.run(set(path, "user.long", &[1; 300])).expect("set");
    }
    assert_eq!(cluster.long_values(), 7);
    cluster.run(put(over("/replaced"), b"y")).expect("put");
    cluster.run(put(to("/other"), b"y")).expect("put");
    cluster.run(rename("/other", "/renamed-over", true)).expect("moved");
    cluster.run(delete("/deleted")).expect("removed");
    cluster.run(delete("/d")).expect("removed");
    cluster.collect();
    assert_eq!(cluster.long_values(), 0);
    invariants::check(&cluster.state);
}

#[test]
fn impossible_attributes_are_refused_by_name() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("put");
    cluster.run(set("/f", "user.there", b"1")).expect("set");
    let before = cluster.state.clone();
    let long_name = format!("user.{}", "n".repeat(251));
    for (command, expected) in [
        (set("/f", "nonsense", b"1"), Code::NotSupported),
        (set("/f", "user.", b"1"), Code::NotSupported),
        (set("/f", "system.posix_acl_access", b"1"), Code::InvalidArgument),
        (set("/f", "system.other", b"1"), Code::NotSupported),
        (set("/f", &long_name, b"1"), Code::NotSupported),
        (set("/f", "user.a", &[0; (64 << 10) + 1]), Code::TooLarge),
        (set_mode("/f", "user.there", b"2", XattrMode::Create), Code::Exists),
        (set_mode("/f", "user.a", b"2", XattrMode::Replace), Code::NoAttribute),
        (remove("/f", "user.a"), Code::NoAttribute),
        (set("/nope", "user.a", b"1"), Code::NotFound),
    ] {
        assert_eq!(code(cluster.run(command)), expected);
    }
    assert_eq!(cluster.state, before, "invariant 1");
    for number in 1..128 {
        cluster.run(set("/f", &format!("user.{number}"), &[0; 20])).expect("there is room");
    }
    assert_eq!(code(cluster.run(set("/f", "user.one-more", b""))), Code::TooLarge);
    cluster.run(set("/f", "user.5", b"replaced")).expect("it is there");
    invariants::check(&cluster.state);
}

#[test]
fn the_first_part_of_a_name_says_who_may() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("mode 0644");
    for name in ["user.u", "trusted.t", "security.s"] {
        cluster.run(set("/f", name, b"1")).expect("the system may");
    }
    let stranger = Principal { uid: 7, gid: 7, groups: Vec::new() };
    let caller = Caller::from(Some(&stranger));
    let names = query::xattr_names(&cluster.state, caller, &at("/f")).expect("it is there");
    assert_eq!(names, [b"security.s".to_vec(), b"user.u".to_vec()]);
    let may_read = |name: &[u8]| query::xattr(&cluster.state, caller, &at("/f"), name).is_ok();
    assert_eq!((may_read(b"user.u"), may_read(b"trusted.t"), may_read(b"security.s")), (true, false, true));
    for (name, expected) in
        [("user.u", Code::Denied), ("trusted.t", Code::NotPermitted), ("security.s", Code::NotPermitted)]
    {
        let mut request = cluster.request(None, set("/f", name, b"2"));
        request.principal = Some(stranger.clone());
        assert_eq!(code(cluster.apply(&request).reply), expected);
    }
}

#[test]
fn a_file_without_a_name_has_attributes_and_takes_them_along() {
    let mut cluster = Cluster::formatted();
    let session = cluster.open_session();
    let (file, block) = cluster.create(session, None);
    let (kept, gone) = (vec![1; 300], vec![2; 300]);
    let set = |inode, value: &Vec<u8>| {
        let (name, value) = (b"user.a".to_vec(), value.clone());
        Command::SetXattr { place: Where { base: inode, path: Vec::new() }, name, value, mode: XattrMode::Any }
    };
    cluster.run(set(file, &kept)).expect("by its number");
    cluster.by(session, complete(file, Some(done(block.block, 10, &[1, 2, 3])), Some(to("/f")))).expect("published");
    assert_eq!(cluster.xattr("/f", "user.a"), Ok(kept));
    let (other, _) = cluster.create(session, None);
    cluster.run(set(other, &gone)).expect("by its number");
    cluster.by(session, Command::Abandon { inode: other }).expect("given up");
    assert_eq!(cluster.long_values(), 1);
    invariants::check(&cluster.state);
}
