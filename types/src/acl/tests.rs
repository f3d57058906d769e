use proptest::prelude::*;

use super::*;

fn named() -> impl Strategy<Value = Vec<Named>> {
    let entry = |(id, bits)| Named { id, permissions: Permissions::of_bits(bits) };
    prop::collection::btree_map(0_u32..5, 0_u32..8, 0..4).prop_map(move |map| map.into_iter().map(entry).collect())
}

fn permissions() -> impl Strategy<Value = Permissions> {
    (0_u32..8).prop_map(Permissions::of_bits)
}

fn acl() -> impl Strategy<Value = Acl> {
    let parts = (permissions(), permissions(), permissions(), prop::option::of(permissions()), named(), named());
    parts.prop_map(|(owner, group, others, mask, users, groups)| {
        let mask = if users.is_empty() && groups.is_empty() { mask } else { mask.or(Some(Permissions::ALL)) };
        Acl { owner, group, others, mask, users, groups }
    })
}

proptest! {
    #[test]
    fn a_list_reads_back_with_its_entries_in_any_order(acl in acl(), turn in any::<prop::sample::Index>()) {
        let bytes = acl.to_xattr();
        prop_assert_eq!(bytes.len(), VERSION.len() + acl.len() * ENTRY);
        prop_assert_eq!(Acl::of_xattr(&bytes), Ok(Some(acl.clone())));
        prop_assert_eq!(acl.clone().into_entries().build(), Ok(acl.clone()));
        let mut entries: Vec<&[u8]> = bytes[VERSION.len()..].chunks(ENTRY).collect();
        let by = turn.index(entries.len());
        entries.rotate_left(by);
        let turned = [&VERSION[..], &entries.concat()].concat();
        prop_assert_eq!(Acl::of_xattr(&turned), Ok(Some(acl)));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let versioned = [&VERSION[..], &bytes].concat();
        for value in [bytes, versioned] {
            if let Ok(Some(acl)) = Acl::of_xattr(&value) {
                prop_assert_eq!(Acl::of_xattr(&acl.to_xattr()), Ok(Some(acl)));
            }
        }
    }

    /// Invariant 2: also after chmod, which leaves alone whom the list names; and nobody inherits more than was asked for.
    #[test]
    fn the_mode_shows_the_list(acl in acl(), mode in 0_u32..0o1000) {
        let mut changed = acl.clone();
        changed.set_mode(mode);
        prop_assert_eq!(changed.mode(), mode);
        prop_assert_eq!((&changed.users, &changed.groups), (&acl.users, &acl.groups));
        prop_assert_eq!(acl.limited_to(mode).mode(), acl.mode() & mode);
        prop_assert_eq!(Acl::of_mode(mode).mode(), mode);
    }
}

fn xattr(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    for (tag, bits, id) in entries {
        bytes.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn lists_that_make_no_sense_say_why() {
    let minimal = [(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 0, NOBODY)];
    assert_eq!(Acl::of_xattr(&xattr(&minimal)), Ok(Some(Acl::of_mode(0o750))));
    assert_eq!(Acl::of_xattr(&xattr(&[])), Ok(None));
    for (extra, reason) in [
        (vec![(USER, 7, 5)], AclError::NoMask),
        (vec![(GROUP, 7, 5)], AclError::NoMask),
        (vec![(USER_OBJ, 7, NOBODY)], AclError::Twice("owner")),
        (vec![(MASK, 7, NOBODY), (MASK, 7, NOBODY)], AclError::Twice("mask")),
        (vec![(MASK, 8, NOBODY)], AclError::UnknownPermission(8)),
        (vec![(USER, 7, NOBODY)], AclError::NoName),
        (vec![(0x40, 7, NOBODY)], AclError::UnknownTag(0x40)),
        (vec![(MASK, 7, NOBODY), (USER, 1, 5), (USER, 2, 5)], AclError::UserTwice(5)),
        (vec![(MASK, 7, NOBODY), (GROUP, 1, 6), (GROUP, 1, 6)], AclError::GroupTwice(6)),
    ] {
        let entries = [&minimal[..], &extra].concat();
        assert_eq!(Acl::of_xattr(&xattr(&entries)), Err(reason), "{extra:?}");
    }
    for (left_out, name) in ["owner", "owning group", "others"].into_iter().enumerate() {
        let mut entries = minimal.to_vec();
        entries.remove(left_out);
        assert_eq!(Acl::of_xattr(&xattr(&entries)), Err(AclError::Missing(name)));
    }
    assert_eq!(Acl::of_xattr(b""), Err(AclError::Version));
    assert_eq!(Acl::of_xattr(&[1, 0, 0, 0]), Err(AclError::Version));
    let whole = xattr(&minimal);
    assert_eq!(Acl::of_xattr(&whole[..whole.len() - 1]), Err(AclError::Cut));
}

#[test]
fn a_list_has_at_most_so_many_entries() {
    let of = |users: u32| {
        let named = (0..users).map(|id| Named { id, permissions: Permissions::ALL }).collect();
        let entries = AclEntries { mask: Some(Permissions::ALL), users: named, ..Acl::of_mode(0o700).into_entries() };
        (entries.clone().build(), entries)
    };
    let longest = u32::try_from(MAX_ACL_ENTRIES).expect("a small number") - 4;
    let (acl, _) = of(longest);
    let acl = acl.expect("as many as there may be");
    assert_eq!(Acl::of_xattr(&acl.to_xattr()), Ok(Some(acl)));
    assert_eq!(of(longest + 1).0, Err(AclError::TooMany));
    let entries: Vec<_> = (0..100_000).map(|id| (USER, 7, id)).collect();
    assert_eq!(Acl::of_xattr(&xattr(&entries)), Err(AclError::TooMany));
}

/// As getfattr(1) shows it of a file with a named user on ext4.
#[test]
fn the_form_is_that_of_linux() {
    let users = vec![Named { id: 1000, permissions: Permissions::of_bits(6) }];
    let entries = AclEntries { mask: Some(Permissions::of_bits(6)), users, ..Acl::of_mode(0o644).into_entries() };
    let bytes = entries.build().expect("a list").to_xattr();
    let golden = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0,
        6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
    ];
    assert_eq!(bytes, golden);
}
