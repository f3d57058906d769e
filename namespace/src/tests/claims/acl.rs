use types::acl::{Acl, AclEntries, Named, Permissions};

use super::*;
use crate::command::{AttrChange, HandleRights, Ownership, Principal, XattrMode};
use crate::error::QueryError;
use crate::row::Lists;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn user(uid: u32, gid: u32) -> Principal {
    Principal { uid, gid, groups: Vec::new() }
}

fn bits(bits: u32) -> Permissions {
    Permissions::of_bits(bits)
}

/// Owner rwx, group r, others nothing; user 7 `named`, group 70 r.
fn list(named: u32, mask: u32) -> Acl {
    let users = vec![Named { id: 7, permissions: bits(named) }];
    let groups = vec![Named { id: 70, permissions: bits(4) }];
    let entries = AclEntries { mask: Some(bits(mask)), users, groups, ..Acl::of_mode(0o740).into_entries() };
    entries.build().expect("whole")
}

fn set(path: &str, name: &str, value: Vec<u8>) -> Command {
    Command::SetXattr { place: at(path), name: name.into(), value, mode: XattrMode::Any }
}

fn remove(path: &str, name: &str) -> Command {
    Command::RemoveXattr { place: at(path), name: name.into() }
}

fn chmod(path: &str, mode: u32) -> Command {
    Command::SetAttr { place: at(path), change: AttrChange { mode: Some(mode), ..AttrChange::default() } }
}

fn mkdir_of(path: &str, mode: u32, umask: u32) -> Command {
    Command::Mkdir { place: at(path), ownership: Ownership { mode, umask: Some(umask), ..OWNER }, parents: false }
}

impl Cluster {
    fn of(&mut self, principal: &Principal, command: Command) -> Result<(), Code> {
        let mut request = self.request(None, command);
        request.principal = Some(principal.clone());
        let before = self.state.clone();
        let reply = self.apply(&request).reply;
        assert!(reply.is_ok() || self.state == before, "invariants 1 and 9");
        reply.map(drop).map_err(|error| error.code())
    }

    fn acl(&self, path: &str, name: &str) -> Option<Acl> {
        match query::xattr(&self.state, Caller::SYSTEM, &at(path), name.as_bytes()) {
            Ok(value) => Acl::of_xattr(&value).expect("a list"),
            Err(QueryError::Refused(error)) if error.code() == Code::NoAttribute => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn reads(&self, principal: &Principal, path: &str) -> bool {
        match query::open(&self.state, Caller::from(Some(principal)), &at(path), 0, 1) {
            Ok(_) => true,
            Err(QueryError::Refused(Error::AccessDenied { .. })) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_list_lets_in_whom_it_names_and_the_mode_shows_it() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("mode 0644 of 1000:100");
    let before = cluster.stat("/f");
    assert_eq!(before.lists, None);
    cluster.run(set("/f", ACCESS, list(6, 4).to_xattr())).expect("the system may");
    let after = cluster.stat("/f");
    assert_eq!((after.mode, after.lists), (0o740, Some(Lists::Access)));
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    assert_eq!(cluster.acl("/f", ACCESS), Some(list(6, 4)));
    let who = [user(1000, 1), user(7, 1), user(8, 70), user(8, 100), user(8, 8)];
    assert_eq!(who.each_ref().map(|who| cluster.reads(who, "/f")), [true, true, true, true, false]);
    // The mask takes it from all but the owner and others; chmod sets it, and brings back what it covered.
    cluster.run(chmod("/f", 0o604)).expect("changed");
    assert_eq!(who.each_ref().map(|who| cluster.reads(who, "/f")), [true, false, false, false, true]);
    let masked = AclEntries { owner: Some(bits(6)), others: Some(bits(4)), ..list(6, 0).into_entries() };
    assert_eq!(cluster.acl("/f", ACCESS), Some(masked.build().expect("whole")));
    cluster.run(chmod("/f", 0o740)).expect("changed");
    assert_eq!(cluster.acl("/f", ACCESS), Some(list(6, 4)));
    let names = query::xattr_names(&cluster.state, Caller::SYSTEM, &at("/f")).expect("it is there");
    assert_eq!(names, [ACCESS.as_bytes()]);
    cluster.run(remove("/f", ACCESS)).expect("removed");
    assert_eq!((cluster.stat("/f").mode, cluster.acl("/f", ACCESS)), (0o740, None), "what the mode shows stays");
    cluster.run(remove("/f", ACCESS)).expect("nothing is left to remove");
    cluster.run(set("/f", ACCESS, Acl::of_mode(0o624).to_xattr())).expect("the system may");
    assert_eq!((cluster.stat("/f").mode, cluster.acl("/f", ACCESS)), (0o624, None), "a mode says as much");
    invariants::check(&cluster.state);
}

/// One entry must grant all that is asked for: two groups do not add up. So it is with a directory on the way.
#[test]
fn every_door_asks_the_list() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir_of("/d", 0o700, 0)).expect("made");
    cluster.run(put(to("/d/f"), b"x")).expect("put");
    let named = |groups: &[(u32, u32)], mode: u32| {
        let groups = groups.iter().map(|(id, granted)| Named { id: *id, permissions: bits(*granted) }).collect();
        let entries = AclEntries { mask: Some(Permissions::ALL), groups, ..Acl::of_mode(mode).into_entries() };
        entries.build().expect("whole").to_xattr()
    };
    let both = Principal { uid: 9, gid: 70, groups: vec![71] };
    let caller = Caller::from(Some(&both));
    assert_eq!(cluster.of(&both, put(to("/d/g"), b"")), Err(Code::Denied));
    cluster.run(set("/d", ACCESS, named(&[(70, 1)], 0o700))).expect("search");
    cluster.run(set("/d/f", ACCESS, named(&[(70, 4), (71, 2)], 0o700))).expect("read here, write there");
    let may = |cluster: &Cluster, mask| query::access(&cluster.state, caller, &at("/d/f"), mask).is_ok();
    assert_eq!([0, 4, 2, 6, 1].map(|mask| may(&cluster, mask)), [true, true, true, false, false]);
    assert!(query::list(&cluster.state, caller, &at("/d"), b"", 10).is_err());
    let session = cluster.open_session();
    for (read, write, expected) in [(true, false, Ok(())), (false, true, Ok(())), (true, true, Err(Code::Denied))] {
        let rights = HandleRights { read, write };
        let open = Command::OpenHandle { place: at("/d/f"), rights, create: None };
        let mut request = cluster.request(Some(session), open);
        request.principal = Some(both.clone());
        assert_eq!(cluster.apply(&request).reply.map(drop).map_err(|error| error.code()), expected);
    }
    assert_eq!(cluster.of(&both, put(to("/d/g"), b"")), Err(Code::Denied), "no entry with w");
    cluster.run(set("/d", ACCESS, named(&[(70, 3), (71, 4)], 0o700))).expect("write and search");
    assert_eq!(cluster.of(&both, put(to("/d/g"), b"")), Ok(()));
    assert_eq!(cluster.of(&both, delete("/d/g")), Ok(()));
    invariants::check(&cluster.state);
}

#[test]
fn what_is_made_below_a_default_list_gets_it_whatever_the_umask() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir_of("/plain", 0o777, 0o027)).expect("made");
    assert_eq!(cluster.stat("/plain").mode, 0o750, "without a list the umask holds");
    cluster.run(mkdir("/d")).expect("made");
    let all = list(7, 7);
    cluster.run(set("/d", DEFAULT, all.to_xattr())).expect("set");
    assert_eq!(cluster.stat("/d").lists, Some(Lists::Default));
    cluster.run(put(to("/d/f"), b"x")).expect("asked for with 0644");
    let inherited = AclEntries { owner: Some(bits(6)), mask: Some(bits(4)), ..all.clone().into_entries() };
    let inherited = Some(inherited.build().expect("whole"));
    assert_eq!((cluster.acl("/d/f", ACCESS), cluster.acl("/d/f", DEFAULT)), (inherited, None));
    assert_eq!(cluster.stat("/d/f").mode, 0o640);
    cluster.run(mkdir_of("/d/e", 0o777, 0o777)).expect("made");
    assert_eq!((cluster.acl("/d/e", ACCESS), cluster.acl("/d/e", DEFAULT)), (Some(all.clone()), Some(all.clone())));
    assert_eq!((cluster.stat("/d/e").mode, cluster.stat("/d/e").lists), (0o770, Some(Lists::Both)));
    // Parents that are made on the way inherit too.
    cluster.run(put(Destination { parents: true, ..to("/d/p/q/f") }, b"x")).expect("put");
    assert_eq!((cluster.acl("/d/p/q", ACCESS), cluster.acl("/d/p/q", DEFAULT)), (Some(all.clone()), Some(all)));
    let symlink = Command::Symlink { place: at("/d/l"), target: b"f".to_vec(), ownership: OWNER };
    cluster.run(symlink).expect("made");
    assert_eq!((cluster.stat("/d/l").mode, cluster.stat("/d/l").lists), (0o777, None));
    cluster.run(set("/d", DEFAULT, Acl::of_mode(0o640).to_xattr())).expect("set");
    cluster.run(put(to("/d/g"), b"x")).expect("asked for with 0644");
    assert_eq!((cluster.stat("/d/g").mode, cluster.acl("/d/g", ACCESS)), (0o640, None));
    invariants::check(&cluster.state);
}

/// A file that gets its name when it is closed inherits then: the umask holds only where no list decides.
#[test]
fn a_file_that_is_named_late_inherits_when_it_is_named() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir("/plain")).expect("made");
    cluster.run(mkdir("/listed")).expect("made");
    cluster.run(set("/listed", DEFAULT, list(7, 7).to_xattr())).expect("set");
    for (path, mode) in [("/plain/f", 0o640), ("/listed/f", 0o660)] {
        let session = cluster.open_session();
        let mut command = create(None, &[1, 2, 3]);
        if let Command::Create { ownership, .. } = &mut command {
            *ownership = Ownership { mode: 0o666, umask: Some(0o027), ..OWNER };
        }
        let Ok(Reply::Created { attributes, .. }) = cluster.by(session, command) else { panic!("created") };
        assert_eq!(attributes.mode, 0o640, "as long as nobody can say otherwise");
        let last = Some(done(BlockId::new(attributes.inode, 0), 10, &[1, 2, 3]));
        cluster.by(session, complete(attributes.inode, last, Some(to(path)))).expect("named");
        assert_eq!(cluster.stat(path).mode, mode, "{path}");
    }
    invariants::check(&cluster.state);
}

#[test]
fn lists_are_the_owners_and_senseless_ones_change_nothing() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("of 1000:100");
    cluster.run(mkdir("/d")).expect("made");
    cluster.run(Command::Symlink { place: at("/l"), target: b"f".to_vec(), ownership: OWNER }).expect("made");
    let valid = list(7, 7).to_xattr();
    let before = cluster.state.clone();
    let owner = user(1000, 100);
    for (path, name) in [("/f", ACCESS), ("/d", ACCESS), ("/d", DEFAULT)] {
        assert_eq!(cluster.of(&user(7, 100), set(path, name, valid.clone())), Err(Code::NotPermitted));
        assert_eq!(cluster.of(&user(7, 100), remove(path, name)), Err(Code::NotPermitted));
    }
    let mut without_mask = valid.clone();
    without_mask.drain(without_mask.len() - 16..without_mask.len() - 8);
    for (path, name, value, expected) in [
        ("/f", ACCESS, without_mask, Code::InvalidArgument),
        ("/f", ACCESS, Vec::new(), Code::InvalidArgument),
        ("/f", ACCESS, valid[..valid.len() - 1].to_vec(), Code::InvalidArgument),
        ("/f", ACCESS, [valid.clone(), vec![9; 8]].concat(), Code::InvalidArgument),
        ("/f", DEFAULT, valid.clone(), Code::Denied),
        ("/l", ACCESS, valid.clone(), Code::NotSupported),
        ("/l", DEFAULT, valid.clone(), Code::NotSupported),
        ("/f", "system.posix_acl_other", valid.clone(), Code::NotSupported),
    ] {
        assert_eq!(cluster.of(&owner, set(path, name, value)), Err(expected), "{name} of {path}");
    }
    let replace = |mode| Command::SetXattr { place: at("/f"), name: ACCESS.into(), value: valid.clone(), mode };
    assert_eq!(cluster.of(&owner, replace(XattrMode::Replace)), Err(Code::NoAttribute));
    assert_eq!(cluster.state, before);
    assert_eq!(cluster.of(&owner, replace(XattrMode::Create)), Ok(()));
    assert_eq!(cluster.of(&owner, replace(XattrMode::Create)), Err(Code::Exists));
    let no_entries = vec![2, 0, 0, 0];
    assert_eq!(cluster.of(&owner, set("/f", ACCESS, no_entries.clone())), Ok(()), "takes it away");
    assert_eq!(cluster.acl("/f", ACCESS), None);
    assert_eq!(cluster.of(&owner, set("/f", DEFAULT, no_entries)), Ok(()), "there is none to take away");
}

#[test]
fn setting_a_list_takes_setgid_from_a_group_that_is_not_the_owners() {
    let mut cluster = Cluster::formatted();
    cluster.run(put(to("/f"), b"x")).expect("of 1000:100");
    for (who, left) in [(user(1000, 100), 0o2740), (user(1000, 7), 0o740), (user(0, 0), 0o2740)] {
        cluster.run(chmod("/f", 0o2755)).expect("the system may");
        cluster.of(&who, set("/f", ACCESS, list(4, 4).to_xattr())).expect("the owner or the superuser");
        assert_eq!(cluster.stat("/f").mode, left, "{who:?}");
    }
}

#[test]
fn the_supergroup_does_what_the_superuser_may_until_it_is_another() {
    let mut cluster = Cluster::formatted();
    cluster.run(mkdir_of("/d", 0o700, 0)).expect("made");
    let (member, other) = (Principal { groups: vec![500], ..user(9, 9) }, user(8, 0));
    let supergroup = |gid| Command::SetSupergroup { gid };
    assert_eq!(cluster.of(&member, put(to("/d/f"), b"")), Err(Code::Denied), "there is none at first");
    assert_eq!(cluster.of(&other, put(to("/d/f"), b"")), Err(Code::Denied), "not even group 0");
    assert_eq!(cluster.of(&member, supergroup(Some(500))), Err(Code::NotPermitted));
    assert_eq!(cluster.of(&user(0, 0), supergroup(Some(500))), Ok(()));
    assert_eq!(query::supergroup(&cluster.state), Ok(Some(500)));
    assert_eq!(cluster.of(&member, put(to("/d/f"), b"x")), Ok(()));
    assert_eq!(cluster.of(&member, chmod("/d", 0o711)), Ok(()));
    let change = AttrChange { uid: Some(77), ..AttrChange::default() };
    assert_eq!(cluster.of(&member, Command::SetAttr { place: at("/d"), change }), Ok(()));
    let caller = Caller::of_query(&cluster.state, Some(&member)).expect("readable");
    assert!(query::list(&cluster.state, caller, &at("/d"), b"", 10).is_ok());
    let caller = Caller::of_query(&cluster.state, Some(&other)).expect("readable");
    assert!(query::list(&cluster.state, caller, &at("/d"), b"", 10).is_err());
    assert_eq!(cluster.of(&member, supergroup(None)), Ok(()), "a member is a superuser");
    assert_eq!(cluster.of(&member, supergroup(Some(500))), Err(Code::NotPermitted));
    assert_eq!(cluster.of(&member, put(to("/d/g"), b"")), Err(Code::Denied));
}
