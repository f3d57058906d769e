use proptest::prelude::*;
use types::acl::{AclEntries, Named};
use types::{InodeId, Timestamp};

use super::*;
use crate::command::Ownership;

/// The algorithm of acl(5), word for word, over the entries of the attribute.
fn oracle(value: &[u8], principal: &Principal, (uid, gid): (u32, u32), asked: u16) -> bool {
    let entries: Vec<(u16, u16, u32)> = value[4..]
        .chunks(8)
        .map(|entry| {
            let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            (half(0), half(2), u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]))
        })
        .collect();
    let of = |tag: u16| entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1);
    let contains = |bits: u16| bits & asked == asked;
    let mask_contains = || of(0x10).is_none_or(contains);
    // 1. The effective user is the owner: the owner's entry decides.
    if principal.uid == uid {
        return contains(of(0x01).expect("there is one"));
    }
    // 2. It is the qualifier of an entry of a user: that decides, and the mask.
    for (tag, bits, id) in &entries {
        if *tag == 0x02 && *id == principal.uid {
            return contains(*bits) && mask_contains();
        }
    }
    // 3. A group matches the owning group or a qualifier: any such entry that contains all that is asked for, and the mask.
    let is_in = |group: u32| principal.gid == group || principal.groups.contains(&group);
    let mut matched = false;
    for (tag, bits, id) in &entries {
        if (*tag == 0x04 && is_in(gid)) || (*tag == 0x08 && is_in(*id)) {
            matched = true;
            if contains(*bits) {
                return mask_contains();
            }
        }
    }
    if matched {
        return false;
    }
    // 4. Others.
    contains(of(0x20).expect("there is one"))
}

fn named() -> impl Strategy<Value = Vec<Named>> {
    let entry = |(id, bits)| Named { id, permissions: Permissions::of_bits(bits) };
    prop::collection::btree_map(0_u32..5, 0_u32..8, 0..4).prop_map(move |map| map.into_iter().map(entry).collect())
}

/// In half of the cases one that says no more than a mode.
fn acl() -> impl Strategy<Value = Acl> {
    let extended =
        (0_u32..0o1000, 0_u32..8, 0_u32..8, named(), named()).prop_map(|(mode, group, mask, users, groups)| {
            let (group, mask) = (Some(Permissions::of_bits(group)), Some(Permissions::of_bits(mask)));
            let entries = AclEntries { group, mask, users, groups, ..Acl::of_mode(mode).into_entries() };
            entries.build().expect("whole")
        });
    prop_oneof![extended, (0_u32..0o1000).prop_map(Acl::of_mode)]
}

fn principal() -> impl Strategy<Value = Principal> {
    let parts = (0_u32..6, 0_u32..6, prop::collection::vec(0_u32..6, 0..3));
    parts.prop_map(|(uid, gid, groups)| Principal { uid, gid, groups })
}

fn row((uid, gid): (u32, u32), body: Body) -> InodeRow {
    let ownership = Ownership { uid, gid, mode: 0, umask: None };
    InodeRow::new(InodeId::new(7), ownership, Timestamp::EPOCH, body)
}

proptest! {
    /// Invariants 1 and 2.
    #[test]
    fn a_list_grants_what_the_manual_says(
        acl in acl(), principal in principal(), owner in (0_u32..6, 0_u32..6), asked in 1_u32..8,
    ) {
        let mut row = row(owner, Body::Directory);
        set(Caller::SYSTEM, &mut row, Which::Access, &acl.to_xattr(), String::new).expect("the system may");
        prop_assert_eq!(row.mode, acl.mode());
        prop_assert_eq!(row.acl.is_some(), acl.is_extended());
        let bits = u16::try_from(asked).expect("three bits");
        let expected = oracle(&acl.to_xattr(), &principal, owner, bits);
        prop_assert_eq!(grants(&principal, &row, Permissions::of_bits(asked)), expected);
    }

    /// Invariant 3.
    #[test]
    fn a_default_list_hands_down_what_was_asked_for_and_no_umask(
        default in acl(), mode in 0_u32..0o10000, umask in 0_u32..0o1000, directory in any::<bool>(),
    ) {
        let mut holder = row((1, 1), Body::Directory);
        let special = || Body::Special(crate::row::SpecialBody {
            mtime: Timestamp::EPOCH, ctime: Timestamp::EPOCH, kind: crate::row::Kind::Fifo, device: 0,
        });
        let ownership = Ownership { uid: 1, gid: 1, mode, umask: Some(umask) };
        let body = || if directory { Body::Directory } else { special() };
        let new = || InodeRow::new(InodeId::new(8), ownership, Timestamp::EPOCH, body());
        let mut plain = new();
        inherit(&holder, &mut plain);
        prop_assert_eq!(plain, InodeRow { withheld: None, mode: mode & !umask, ..new() });
        holder.default_acl = Some(Box::new(default.clone()));
        let mut made = new();
        inherit(&holder, &mut made);
        prop_assert_eq!(made.mode & PERMISSIONS, default.mode() & mode & PERMISSIONS);
        prop_assert_eq!((made.mode | umask) & !PERMISSIONS, (mode | umask) & !PERMISSIONS);
        prop_assert_eq!(made.default_acl.is_some(), directory);
        prop_assert_eq!(made.withheld, None);
        match made.acl {
            None => prop_assert!(!default.is_extended()),
            Some(acl) => {
                prop_assert_eq!((acl.users(), acl.groups()), (default.users(), default.groups()));
                prop_assert_eq!(acl.mode(), made.mode & PERMISSIONS);
            }
        }
    }
}
