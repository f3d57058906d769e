//! Entries in the text form of setfacl(1).

use types::acl::{Acl, AclEntries, AclError, Named, Permissions};

use crate::fs::object::{gid, uid};

/// Whom an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Owner,
    User(u32),
    OwningGroup,
    Group(u32),
    Mask,
    Others,
}

/// `rwX`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    permissions: Permissions,
    /// `X`: execution, where it makes sense.
    execute_if_sensible: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// It begins with `d:`.
    default: bool,
    pub(super) tag: Tag,
    /// None for one that is taken away.
    wish: Option<Wish>,
}

/// What follows `-m` or `-x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec(Vec<Entry>);

impl Spec {
    pub(super) fn modify(text: &str) -> Result<Self, String> {
        text.split(',').map(|entry| Entry::parse(entry, true)).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn remove(text: &str) -> Result<Self, String> {
        text.split(',').map(|entry| Entry::parse(entry, false)).collect::<Result<_, _>>().map(Self)
    }

    /// The entries for the default list, or those for the other. With `all_default` those without a mark are for that too.
    pub(super) fn of(&self, all_default: bool, default: bool) -> Vec<Entry> {
        self.0.iter().filter(|entry| (entry.default || all_default) == default).copied().collect()
    }
}

impl Entry {
    fn parse(text: &str, with_permissions: bool) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no entry; write it like u:NAME:rwx, g::rx, m::r, o::-, or d:u:NAME:rx");
        let mut fields: Vec<&str> = text.split(':').map(str::trim).collect();
        let default = matches!(fields.first(), Some(&("d" | "default")));
        if default {
            fields.remove(0);
        }
        let wish = match with_permissions {
            true if fields.len() > 1 => Some(Wish::parse(fields.pop().unwrap_or_default()).ok_or_else(wrong)?),
            true => return Err(wrong()),
            false => None,
        };
        let name = fields.get(1).copied().unwrap_or_default();
        if fields.is_empty() || fields.len() > 2 {
            return Err(wrong());
        }
        // `u:5` looks like a user without permissions: it must not grant them to the owner.
        let is_whole = fields.len() == 2;
        let tag = match (fields[0], name) {
            ("u" | "user" | "g" | "group", "") if !is_whole => return Err(wrong()),
            ("u" | "user", "") => Tag::Owner,
            ("u" | "user", name) => Tag::User(uid(name)?),
            ("g" | "group", "") => Tag::OwningGroup,
            ("g" | "group", name) => Tag::Group(gid(name)?),
            ("m" | "mask", "") => Tag::Mask,
            ("o" | "other", "") => Tag::Others,
            _ => return Err(wrong()),
        };
        if !with_permissions && matches!(tag, Tag::Owner | Tag::OwningGroup | Tag::Others) {
            return Err(format!("{text:?} cannot be taken away: owner, group and others are in every list"));
        }
        Ok(Self { default, tag, wish })
    }
}

impl Wish {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(bits @ 0..=7) = text.parse::<u32>() {
            return Some(Self { permissions: Permissions::of_bits(bits), execute_if_sensible: false });
        }
        let mut wish = Self { permissions: Permissions::NONE, execute_if_sensible: false };
        for letter in text.chars() {
            let bits = match letter {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                'X' => {
                    wish.execute_if_sensible = true;
                    0
                }
                '-' => 0,
                _ => return None,
            };
            wish.permissions = wish.permissions.or(Permissions::of_bits(bits));
        }
        (!text.is_empty()).then_some(wish)
    }

    fn of(self, sensible: bool) -> Permissions {
        match self.execute_if_sensible && sensible {
            true => self.permissions.or(Permissions::of_bits(1)),
            false => self.permissions,
        }
    }
}

/// A list with some entries set and others taken away. Unless a mask is among them, it becomes what group and everybody
/// named have together.
pub(super) fn changed(
    mut list: AclEntries,
    set: &[Entry],
    removed: &[Entry],
    directory: bool,
) -> Result<Acl, AclError> {
    let execute = Permissions::of_bits(1);
    let all = |list: &AclEntries| {
        let named = list.users.iter().chain(&list.groups).map(|named| named.permissions);
        [list.owner, list.group, list.others].into_iter().flatten().chain(named).collect::<Vec<_>>()
    };
    let sensible = directory || all(&list).iter().any(|granted| granted.contain(execute));
    for entry in removed {
        match entry.tag {
            Tag::User(id) => list.users.retain(|named| named.id != id),
            Tag::Group(id) => list.groups.retain(|named| named.id != id),
            Tag::Mask => list.mask = None,
            Tag::Owner | Tag::OwningGroup | Tag::Others => unreachable!("refused when they are read"),
        }
    }
    for Entry { tag, wish, .. } in set {
        let permissions = wish.expect("what is set says what is granted").of(sensible);
        match *tag {
            Tag::Owner => list.owner = Some(permissions),
            Tag::OwningGroup => list.group = Some(permissions),
            Tag::Others => list.others = Some(permissions),
            Tag::Mask => list.mask = Some(permissions),
            Tag::User(id) => put(&mut list.users, Named { id, permissions }),
            Tag::Group(id) => put(&mut list.groups, Named { id, permissions }),
        }
    }
    let says_mask = set.iter().chain(removed).any(|entry| entry.tag == Tag::Mask);
    let names = !(list.users.is_empty() && list.groups.is_empty());
    if !(says_mask || set.is_empty() && removed.is_empty()) && (names || list.mask.is_some()) {
        let named = list.users.iter().chain(&list.groups).map(|named| named.permissions);
        list.mask = Some(named.fold(list.group.unwrap_or_default(), Permissions::or));
    }
    list.build()
}

fn put(list: &mut Vec<Named>, named: Named) {
    list.retain(|there| there.id != named.id);
    list.push(named);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bits: u32) -> Permissions {
        Permissions::of_bits(bits)
    }

    fn apply(acl: &Acl, modify: &str, directory: bool) -> Acl {
        let set = Spec::modify(modify).expect("entries").of(false, false);
        changed(acl.clone().into_entries(), &set, &[], directory).expect("whole")
    }

    fn removed(acl: &Acl, remove: &str) -> Result<Acl, AclError> {
        let entries = Spec::remove(remove).expect("entries").of(false, false);
        changed(acl.clone().into_entries(), &[], &entries, false)
    }

    #[test]
    fn entries_are_set_and_the_mask_follows() {
        let acl = apply(&Acl::of_mode(0o640), "u:1000:rw,g:7:x", false);
        assert_eq!(acl.users(), [Named { id: 1000, permissions: bits(6) }]);
        assert_eq!(acl.groups(), [Named { id: 7, permissions: bits(1) }]);
        assert_eq!((acl.mask(), acl.group(), acl.mode()), (Some(bits(7)), bits(4), 0o670));
        let acl = apply(&acl, "user:1000:4,m::r", false);
        assert_eq!((acl.users(), acl.mask()), (&[Named { id: 1000, permissions: bits(4) }][..], Some(bits(4))));
        let acl = apply(&acl, "u::7,g::rx,o::-", false);
        assert_eq!((acl.owner(), acl.group(), acl.others(), acl.mask()), (bits(7), bits(5), bits(0), Some(bits(5))));
        assert_eq!(removed(&acl, "m"), Err(AclError::NoMask));
        let acl = removed(&acl, "u:1000,g:7").expect("whole");
        assert_eq!((acl.users(), acl.groups(), acl.mask()), (&[][..], &[][..], Some(bits(5))));
        assert_eq!(removed(&acl, "mask"), Ok(Acl::of_mode(0o750)));
        assert_eq!(apply(&Acl::of_mode(0o600), "u::rx", false), Acl::of_mode(0o500), "no mask where nobody is named");
    }

    #[test]
    fn execution_can_depend_on_what_is_there() {
        let grants = |mode, directory| apply(&Acl::of_mode(mode), "u:5:rX", directory).users()[0].permissions;
        assert_eq!([grants(0o644, false), grants(0o744, false), grants(0o644, true)], [bits(4), bits(5), bits(5)]);
    }

    #[test]
    fn default_entries_are_told_apart() {
        let spec = Spec::modify("u:5:r,d:u:6:w,default:o::-").expect("entries");
        let tags = |entries: Vec<Entry>| entries.iter().map(|entry| entry.tag).collect::<Vec<_>>();
        assert_eq!(tags(spec.of(false, false)), [Tag::User(5)]);
        assert_eq!(tags(spec.of(false, true)), [Tag::User(6), Tag::Others]);
        assert_eq!(tags(spec.of(true, true)), [Tag::User(5), Tag::User(6), Tag::Others]);
        assert_eq!(tags(spec.of(true, false)), []);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for wrong in
            ["", "u", "u:5", "x:5:r", "u:5:q", "u:5:8", "u:5:", "m:5:r", "o:5:r", "u:5:r:w", "u:no such:r", "d"]
        {
            assert!(Spec::modify(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "d", "u", "g", "o", "u:5:r", "d:o"] {
            assert!(Spec::remove(wrong).is_err(), "{wrong}");
        }
    }
}
