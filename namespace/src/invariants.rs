//! What must hold of the rows themselves, whatever commands made them. For tests and simulations.

use std::collections::{BTreeMap, BTreeSet};

use types::{BlockId, InodeId, SessionId, StorageId, TrashId};

use crate::access::Caller;
use crate::access_key::AccessKeyRow;
use crate::command::Where;
use crate::fsck::{Fsck, Told, What};
use crate::key;
use crate::lock::{LockFamily, LockKind, LockOwner, LocksRow};
use crate::memory::MemoryView;
use crate::query;
use crate::repair::Facts;
use crate::row::{
    self, BlockRow, BlockState, Body, Data, DirectoryRow, EntryRow, ExtentRow, GarbageRow, HandlesRow, InodeRow, Kind,
    LeaseRow, LinkRow, NodeRow, ResultRow, SessionRow, SystemRow, Usage, XattrRow,
};
use crate::token_key::{TokenKey, TokenKeysRow};
use crate::trash::TrashRow;
use crate::upload::{PartRow, UploadRow};
use crate::user::UserRow;

/// Every row, read and sorted by kind.
#[derive(Debug, Default)]
struct Rows {
    system: Option<SystemRow>,
    entries: BTreeMap<(InodeId, Vec<u8>), InodeRow>,
    references: BTreeMap<(InodeId, Vec<u8>), InodeId>,
    back_links: BTreeSet<(InodeId, Vec<u8>, InodeId)>,
    directories: BTreeMap<InodeId, DirectoryRow>,
    links: BTreeMap<InodeId, LinkRow>,
    unnamed: BTreeMap<InodeId, InodeRow>,
    extents: BTreeMap<(InodeId, u64), ExtentRow>,
    blocks: BTreeMap<BlockId, BlockRow>,
    leases: BTreeMap<InodeId, LeaseRow>,
    sessions: BTreeSet<SessionId>,
    open_files: BTreeSet<(SessionId, InodeId)>,
    pending: BTreeSet<(SessionId, BlockId)>,
    garbage: BTreeMap<InodeId, Kind>,
    removals: BTreeSet<(StorageId, BlockId)>,
    /// Scheduled again after they were found on a disk: only for blocks that are gone.
    removed_twice: BTreeSet<BlockId>,
    results_of: BTreeSet<SessionId>,
    long_xattrs: BTreeSet<(InodeId, Vec<u8>)>,
    handles: BTreeMap<(InodeId, SessionId), HandlesRow>,
    opened_inodes: BTreeSet<(SessionId, InodeId)>,
    /// Files that the session says it has open; none for one that is ending.
    open_said: BTreeMap<SessionId, Option<u32>>,
    locks: BTreeMap<(InodeId, LockFamily, LockOwner), LocksRow>,
    locked_inodes: BTreeSet<(SessionId, InodeId)>,
    /// Ranges that the session says it has locked; none for one that is ending.
    locks_held: BTreeMap<SessionId, Option<u32>>,
    trash: BTreeMap<(u32, TrashId), TrashRow>,
    trash_due: BTreeSet<Vec<u8>>,
    ageing: BTreeSet<InodeId>,
    uploads: BTreeSet<InodeId>,
    /// By their own inodes.
    parts: BTreeMap<InodeId, PartRow>,
    uploads_of_parts: BTreeSet<InodeId>,
    /// With their users.
    access_keys: BTreeMap<String, Option<String>>,
    users: BTreeMap<String, UserRow>,
    keys_of_users: BTreeSet<Vec<u8>>,
}

/// No id is used twice, and none is older than one before it.
fn check_token_keys(row: &TokenKeysRow) {
    let rise = |pair: &[TokenKey]| pair[0].id < pair[1].id && pair[0].created <= pair[1].created;
    assert!(row.keys.windows(2).all(rise) && !row.keys.is_empty(), "keys of block tokens: {row:?}");
}

fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[1..9].try_into().expect("a number follows the tag"))
}

fn read(state: &MemoryView) -> Rows {
    let mut rows = Rows::default();
    for (key, value) in state.rows() {
        let inode = || InodeId::new(number(key));
        match key[0] {
            b'S' => rows.system = Some(get(key, value)),
            b'n' => match get(key, value) {
                EntryRow::Inode(row) => drop(rows.entries.insert((inode(), key[9..].to_vec()), row)),
                EntryRow::Reference(to) => drop(rows.references.insert((inode(), key[9..].to_vec()), to)),
            },
            b'p' => {
                let slot = key::back_link_of(key).expect("a key");
                rows.back_links.insert((slot.directory, slot.name, inode()));
            }
            b'd' => drop(rows.directories.insert(inode(), get(key, value))),
            b'i' => drop(rows.links.insert(inode(), get(key, value))),
            b'h' => drop(rows.unnamed.insert(inode(), get(key, value))),
            b'e' => drop(rows.extents.insert((inode(), key::offset_of(key).expect("a key")), get(key, value))),
            b'b' => drop(rows.blocks.insert(key::block_of(key).expect("a key"), get(key, value))),
            b'l' => drop(rows.leases.insert(inode(), get(key, value))),
            b's' => {
                let row: SessionRow = get(key, value);
                rows.sessions.insert(SessionId::new(number(key)));
                rows.open_said.insert(SessionId::new(number(key)), (!row.ending).then_some(row.open_files));
                rows.locks_held.insert(SessionId::new(number(key)), (!row.ending).then_some(row.locks));
            }
            b'q' => {
                get::<ResultRow>(key, value);
                rows.results_of.insert(SessionId::new(number(key)));
            }
            b'o' => {
                rows.open_files.insert((SessionId::new(number(key)), key::inode_of_session(key).expect("a key")));
            }
            b'a' => {
                let block = key::pending_block(key).expect("a key");
                rows.pending.insert((SessionId::new(number(key)), block));
            }
            b'g' => drop(rows.garbage.insert(inode(), get::<GarbageRow>(key, value).kind)),
            b'r' => {
                let storage = StorageId::from_bytes(key[1..17].try_into().expect("a storage follows the tag"));
                let removal = key::removal_of(key).expect("a key");
                if !rows.removals.insert((storage, removal.block)) {
                    rows.removed_twice.insert(removal.block);
                }
            }
            b'x' => {
                get::<XattrRow>(key, value);
                rows.long_xattrs.insert((inode(), key[9..].to_vec()));
            }
            b'f' => {
                let session = key::inode_of_session(key).expect("of the same form").get();
                rows.handles.insert((inode(), SessionId::new(session)), get(key, value));
            }
            b'F' => {
                rows.opened_inodes.insert((SessionId::new(number(key)), key::inode_of_session(key).expect("a key")));
            }
            b'k' => {
                let (family, owner) = key::lock_of(key).expect("a key");
                rows.locks.insert((inode(), family, owner), get(key, value));
            }
            b'K' => {
                rows.locked_inodes.insert((SessionId::new(number(key)), key::inode_of_session(key).expect("a key")));
            }
            b't' => drop(rows.trash.insert(key::trash_of_key(key).expect("a key"), get(key, value))),
            b'z' => drop(rows.ageing.insert(inode())),
            b'T' => drop(rows.trash_due.insert(key.clone())),
            b'B' => drop(get::<crate::bucket::BucketRow>(key, value)),
            b'u' => {
                get::<UploadRow>(key, value);
                let (_, _, id) = key::upload_of(key).expect("a key");
                assert!(rows.uploads.insert(id), "{id} is an upload twice");
            }
            b'U' => {
                let (upload, _) = key::part_of(key).expect("a key");
                rows.uploads_of_parts.insert(upload);
                let row: PartRow = get(key, value);
                assert!(rows.parts.insert(row.inode, row).is_none(), "one content in two parts");
            }
            b'A' => {
                let row: AccessKeyRow = get(key, value);
                rows.access_keys.insert(key::text_of(key).expect("a key"), row.user);
            }
            b'V' => drop(rows.users.insert(key::text_of(key).expect("a key"), get(key, value))),
            b'v' => drop(rows.keys_of_users.insert(key.to_vec())),
            b'P' => drop(get::<crate::policy::PolicyRow>(key, value)),
            b'J' => drop(get::<crate::job::JobRow>(key, value)),
            b'N' => drop(get::<NodeRow>(key, value)),
            b'Y' => check_token_keys(&get(key, value)),
            tag => panic!("a row of no known kind: {tag}"),
        }
    }
    rows
}

fn get<T: for<'b> minicbor::Decode<'b, ()>>(key: &[u8], value: &[u8]) -> T {
    row::decode(key, value).expect("every stored row is readable")
}

/// Panics with what is wrong, if anything is.
pub fn check(state: &MemoryView) {
    let rows = read(state);
    let system = rows.system.as_ref().expect("the cluster is formatted");
    assert_eq!(system.blocks, rows.blocks.len() as u64);
    assert_eq!(system.sessions, rows.sessions.len() as u64);
    assert!(rows.results_of.is_subset(&rows.sessions), "results of a session that is over");
    check_tree(&rows);
    let long = rows.entries.values().chain(rows.unnamed.values()).flat_map(|row| {
        let long = row.xattrs.iter().flatten().filter(|xattr| xattr.value.is_none());
        long.map(|xattr| (row.inode, xattr.name.clone()))
    });
    assert_eq!(rows.long_xattrs, long.collect(), "long attributes");
    check_lists(&rows);
    check_files(&rows);
    check_parts(&rows);
    check_blocks(&rows);
    check_handles(&rows);
    check_locks(&rows);
    check_trash(&rows);
    check_ageing(&rows);
    check_policies(&rows);
    check_users(&rows);
    check_fsck(state);
}

/// What operators run finds nothing wrong, and sees everything.
fn check_fsck(state: &MemoryView) {
    let root = Where { base: InodeId::ROOT, path: Vec::new() };
    let mut fsck = Fsck::new(state, Caller::SYSTEM, &root).expect("there is a root");
    let mut broken = Vec::new();
    let mut tell = |told: Told| match told.what {
        What::Broken(what) => broken.push((told.path, what)),
        What::Block { .. } => {}
    };
    while !fsck.step(state, &Facts::default(), 7, &mut tell).expect("memory does not fail") {}
    assert_eq!(broken, []);
    let usage = query::stat(state, Caller::SYSTEM, &root).expect("there is a root").usage.expect("a directory");
    let looked = fsck.looked();
    assert_eq!((looked.files, looked.directories, looked.bytes), (usage.files, usage.directories + 1, usage.bytes));
}

/// That a mode shows the access control list beside it, and that nothing with a name waits for a directory to decide.
fn check_lists(rows: &Rows) {
    for row in rows.entries.values().chain(rows.unnamed.values()) {
        if let Some(acl) = &row.acl {
            assert!(acl.is_extended(), "a list that the mode says already");
            assert_eq!(row.mode & 0o777, acl.mode());
        }
        assert!(row.default_acl.is_none() || row.body == Body::Directory);
        assert!(row.withheld.is_none() || row.links() == 0);
    }
}

/// Invariant 3, and that each entry and its way back agree.
fn check_tree(rows: &Rows) {
    let mut named = BTreeSet::new();
    let mut directories = BTreeSet::new();
    let mut sums: BTreeMap<InodeId, Usage> = BTreeMap::new();
    let mut subdirectories: BTreeMap<InodeId, u64> = BTreeMap::new();
    check_names(rows);
    let shared = rows.references.iter().map(|(at, inode)| (at, &rows.unnamed[inode]));
    for ((parent, name), entry) in rows.entries.iter().chain(shared) {
        assert!(
            *parent == InodeId::NONE || rows.directories.contains_key(parent),
            "an entry in no directory: {name:?}"
        );
        match &entry.body {
            Body::Directory => {
                directories.insert(entry.inode);
                let row = &rows.directories[&entry.inode];
                assert_eq!((row.parent, &row.name), (*parent, name));
                *subdirectories.entry(*parent).or_default() += 1;
            }
            Body::File(_) | Body::Symlink(_) | Body::Special(_) => {
                named.insert(entry.inode);
                let link = &rows.links[&entry.inode];
                let counts = (link.parent, &link.name) == (*parent, name);
                assert!(counts || entry.names.is_some(), "the only name of {} is another one", entry.inode);
                if !counts {
                    sums.entry(*parent).or_default().entries += 1;
                    continue;
                }
            }
        }
        if *parent != InodeId::NONE {
            sums.entry(*parent).or_default().entries += 1;
        }
        let mut above = Some(*parent);
        while let Some(directory) = above.filter(|inode| *inode != InodeId::NONE) {
            let sum = sums.entry(directory).or_default();
            match &entry.body {
                Body::Directory => sum.directories += 1,
                Body::Symlink(_) | Body::Special(_) => sum.files += 1,
                Body::File(file) => {
                    sum.files += 1;
                    sum.bytes += file.length.get();
                    sum.raw_bytes += file.length.get() * u64::from(file.replication);
                }
            }
            above = rows.directories.get(&directory).map(|row| row.parent);
        }
    }
    assert!(rows.links.keys().eq(&named), "links and named files differ");
    for (inode, row) in &rows.directories {
        let removed = rows.garbage.get(inode) == Some(&Kind::Directory);
        assert!(directories.contains(inode) != removed, "{inode} is in the tree or garbage, and not both");
        // In a removed tree entries go one by one, without any counting.
        let freeing = std::iter::successors(Some((*inode, row)), |(_, row)| {
            rows.directories.get_key_value(&row.parent).map(|(inode, row)| (*inode, row))
        });
        let tops = [Some(InodeId::ROOT), trash_top(rows)];
        let attached = freeing.into_iter().any(|(inode, _)| tops.contains(&Some(inode)));
        if attached {
            assert_eq!(row.usage, sums.get(inode).copied().unwrap_or_default(), "sums of {inode}");
            assert_eq!(row.subdirectories, Some(subdirectories.get(inode).copied().unwrap_or_default()), "{inode}");
        }
    }
}

/// Each name of an inode with a row of its own has its back link, and the row their number.
fn check_names(rows: &Rows) {
    let references: BTreeSet<_> =
        rows.references.iter().map(|((parent, name), inode)| (*parent, name.clone(), *inode)).collect();
    assert_eq!(rows.back_links, references, "names and their back links");
    for (inode, row) in &rows.unnamed {
        let names = rows.references.values().filter(|to| *to == inode).count();
        assert_eq!(row.names.map(|count| count as usize), Some(names), "names of {inode}");
        let link = rows.links.get(inode).map(|link| (link.parent, link.name.clone(), *inode));
        assert_eq!(link.is_some(), names > 0);
        assert!(link.is_none_or(|link| rows.back_links.contains(&link)), "{inode} counts under none of its names");
    }
}

fn trash_top(rows: &Rows) -> Option<InodeId> {
    let mut tops = rows.entries.iter().filter(|((parent, name), _)| *parent == InodeId::NONE && !name.is_empty());
    tops.next().map(|(_, row)| row.inode)
}

/// Invariant 2 of module `ageing`.
fn check_ageing(rows: &Rows) {
    let with_ttl = rows.directories.iter().filter(|(_, row)| row.ttl_nanos.is_some());
    assert_eq!(rows.ageing, with_ttl.map(|(inode, _)| *inode).collect(), "directories with a time to live");
}

/// Invariants 1 and 2 of module `user`.
fn check_users(rows: &Rows) {
    let uids: BTreeSet<u32> = rows.users.values().map(|row| row.principal.uid).collect();
    assert_eq!(uids.len(), rows.users.len(), "two users have one uid");
    let of_users = rows.access_keys.iter().filter_map(|(id, user)| Some((user.as_ref()?, id)));
    assert!(of_users.clone().all(|(user, _)| rows.users.contains_key(user)), "a key of nobody");
    let marks: BTreeSet<Vec<u8>> = of_users.map(|(user, id)| key::key_of(user, id)).collect();
    assert_eq!(rows.keys_of_users, marks, "access keys of users");
}

/// Invariant 3 of module `directory_policy`.
fn check_policies(rows: &Rows) {
    let with_policy = rows.directories.values().filter(|row| row.policy.is_some()).count() as u64;
    let counted = rows.system.as_ref().and_then(|system| system.policies);
    assert_eq!(counted, (with_policy > 0).then_some(with_policy), "directories with a policy");
}

/// Invariant 1 of module `trash`.
fn check_trash(rows: &Rows) {
    let due = rows.trash.iter().map(|((uid, item), row)| key::trash_due(row.due, *uid, *item));
    assert_eq!(rows.trash_due, due.collect(), "items in the trash, and when they go");
    let Some(top) = trash_top(rows) else { return assert!(rows.trash.is_empty(), "items without a trash") };
    let names = rows.entries.keys().chain(rows.references.keys()).filter(|(parent, _)| *parent == top);
    let items: BTreeSet<Vec<u8>> = rows.trash.keys().map(|(_, item)| item.get().to_string().into_bytes()).collect();
    assert_eq!(names.map(|(_, name)| name.clone()).collect::<BTreeSet<_>>(), items, "items and entries");
}

/// Leases, and that the content of a file is whole: its extents are apart, in their blocks, and within its length.
fn check_files(rows: &Rows) {
    let files = rows.entries.values().chain(rows.unnamed.values());
    let mut written = BTreeSet::new();
    for row in files {
        let Body::File(file) = &row.body else { continue };
        let inode = row.inode;
        let lease = rows.leases.get(&inode);
        assert_eq!(lease.is_some(), file.writing, "the lease of {inode}");
        if let Some(lease) = lease {
            let living = rows.sessions.contains(&lease.session) || (lease.is_recovering() && lease.block.is_some());
            assert!(living, "{inode} is written by a session that is over");
            written.insert((lease.session, inode));
        }
        let open = lease.and_then(|lease| lease.block).map(|number| BlockId::new(inode, number));
        let (mut end, mut count, mut held) = (0, 0, 0);
        for ((_, offset), extent) in rows.extents.range((inode, 0)..=(inode, u64::MAX)) {
            assert!(*offset >= end, "extents of {inode} overlap at {offset}");
            let block = &rows.blocks[&extent.block];
            let writing = block.state == BlockState::Writing;
            assert_eq!(writing, open == Some(extent.block), "only the open block is being written");
            assert_eq!(writing, extent.length.get() == 0, "an extent of {inode} at {offset} is empty");
            let visible = if writing { block.length.get() } else { extent.length.get() };
            assert!(extent.block_offset.get() + visible <= block.length.get(), "behind the end of {}", extent.block);
            assert!(block.wanted().covers(file.wanted()), "{} wants less than {inode}", extent.block);
            end = offset + visible;
            count += 1;
            held += visible;
        }
        assert!(end <= file.length.get(), "{inode} ends before its last extent");
        let holes = file.holes.unwrap_or_default().get();
        if matches!(file.data, Data::Blocks { .. }) {
            assert_eq!(holes, file.length.get() - held, "holes of {inode}");
        }
        match &file.data {
            Data::Blocks { next_block, extents } => {
                assert_eq!(*extents, count, "extents of {inode}");
                let of_file = BlockId::new(inode, *next_block)..=BlockId::new(inode, u32::MAX);
                assert_eq!(rows.blocks.range(of_file).next(), None, "blocks that {inode} never began");
            }
            Data::Inline { content, .. } => {
                let found = (file.length.get(), count);
                assert_eq!(found, (content.len() as u64, u64::from(open.is_some())), "inline content of {inode}");
            }
        }
    }
    let open: BTreeSet<InodeId> = rows.handles.keys().map(|(inode, _)| *inode).collect();
    let ends = |inode| rows.leases.contains_key(inode) || open.contains(inode);
    let nameless = rows.unnamed.values().filter(|row| row.links() == 0);
    assert!(nameless.into_iter().all(|row| ends(&row.inode)), "a file nobody can name or end");
    assert_eq!(rows.open_files, written);
    assert_eq!(rows.leases.len(), written.len(), "a lease on nothing");
}

/// The invariants of module `upload`: a part belongs to an upload, is no file, and its extents are whole.
fn check_parts(rows: &Rows) {
    assert!(rows.uploads_of_parts.is_subset(&rows.uploads), "parts of an upload that is over");
    for (inode, part) in &rows.parts {
        let is_file = rows.unnamed.contains_key(inode) || rows.links.contains_key(inode);
        assert!(!is_file && !rows.leases.contains_key(inode), "{inode} is a part and a file");
        let (mut end, mut count) = (0, 0);
        for ((_, offset), extent) in rows.extents.range((*inode, 0)..=(*inode, u64::MAX)) {
            let block = &rows.blocks[&extent.block];
            assert!(*offset >= end && extent.length.get() > 0, "extents of the part {inode} at {offset}");
            assert_eq!(block.state, BlockState::Committed, "{}", extent.block);
            assert!(extent.block_offset.get() + extent.length.get() <= block.length.get(), "behind {}", extent.block);
            assert!(block.wanted().covers(part.wanted()), "{} wants less than {inode}", extent.block);
            end = offset + extent.length.get();
            count += 1;
        }
        assert!(end <= part.length.get() && count == part.extents, "the part {inode}");
    }
}

/// The invariants of module `handles`.
fn check_handles(rows: &Rows) {
    let marks: BTreeSet<_> = rows.handles.keys().map(|(inode, session)| (*session, *inode)).collect();
    assert_eq!(marks, rows.opened_inodes);
    assert!(rows.handles.values().all(|row| row.count > 0));
    let files: BTreeSet<InodeId> = rows.entries.values().chain(rows.unnamed.values()).map(|row| row.inode).collect();
    for (session, inode) in &marks {
        assert!(rows.sessions.contains(session), "{inode} is open in a session that is over");
        assert!(files.contains(inode), "{inode} is open and not there");
    }
    for (session, said) in &rows.open_said {
        let open = marks.iter().filter(|(of, _)| of == session).count();
        assert!(said.is_none_or(|said| said as usize == open), "{session} says {said:?} and has {open} open");
    }
}

/// The invariants of module `lock`.
fn check_locks(rows: &Rows) {
    let mut held_by: BTreeMap<SessionId, u32> = BTreeMap::new();
    for ((inode, family, owner), row) in &rows.locks {
        assert!(rows.sessions.contains(&owner.session), "{inode} is locked by a session that is over");
        assert!(
            rows.locked_inodes.contains(&(owner.session, *inode)),
            "a lock on {inode} that its session cannot find"
        );
        assert!(!row.held.is_empty(), "a row of no lock");
        for held in &row.held {
            assert!(held.range.first <= held.range.last);
        }
        for two in row.held.windows(2) {
            let gap = two[0].range.last.checked_add(1).expect("another follows");
            assert!(gap < two[1].range.first || gap == two[1].range.first && two[0].kind != two[1].kind, "{row:?}");
        }
        for ((other_inode, other_family, other), others) in &rows.locks {
            if (other_inode, other_family) != (inode, family) || other == owner {
                continue;
            }
            for (mine, theirs) in row.held.iter().flat_map(|mine| others.held.iter().map(move |held| (mine, held))) {
                let shared = mine.kind == LockKind::Read && theirs.kind == LockKind::Read;
                assert!(shared || !mine.range.overlaps(theirs.range), "{owner:?} and {other:?} on {inode}");
            }
        }
        *held_by.entry(owner.session).or_default() += u32::try_from(row.held.len()).expect("few");
    }
    for (session, said) in &rows.locks_held {
        let counted = held_by.get(session).copied().unwrap_or_default();
        assert!(said.is_none_or(|said| said == counted), "{session} says {said:?} and has {counted}");
    }
    for (session, inode) in &rows.locked_inodes {
        let has = rows.locks.keys().any(|(of, _, owner)| of == inode && owner.session == *session);
        assert!(has, "{session} has no lock on {inode}");
    }
}

/// Invariants 4, 6, 7 and 11.
fn check_blocks(rows: &Rows) {
    let files = rows.entries.values().chain(rows.unnamed.values()).map(|row| row.inode);
    let inodes: BTreeSet<InodeId> = files.chain(rows.parts.keys().copied()).collect();
    let mut live: BTreeMap<BlockId, u64> = BTreeMap::new();
    for ((inode, _), extent) in &rows.extents {
        let garbage = rows.garbage.get(inode) == Some(&Kind::File);
        assert!(inodes.contains(inode) != garbage, "extents of {inode} belong to a file or are garbage");
        let block = &rows.blocks[&extent.block];
        let held = if block.state == BlockState::Writing { block.length } else { extent.length };
        *live.entry(extent.block).or_default() += held.get();
    }
    for (block, row) in &rows.blocks {
        if row.state == BlockState::Pending {
            assert_eq!((live.get(block), row.live.get()), (None, 0), "{block} is of no file yet");
            assert_eq!(rows.pending.iter().filter(|(_, other)| other == block).count(), 1, "owners of {block}");
        } else {
            assert_eq!(live.get(block), Some(&row.live.get()), "live bytes of {block}");
        }
    }
    for (session, block) in &rows.pending {
        assert!(rows.sessions.contains(session), "{block} is of a session that is over");
        assert_eq!(rows.blocks[block].state, BlockState::Pending, "{block}");
    }
    let mut leaving = BTreeSet::new();
    for (block, row) in &rows.blocks {
        assert!(!row.replicas.is_empty() || !row.bad.is_empty(), "{block} has no replica at all");
        let listed: Vec<_> = row.replicas.iter().chain(&row.bad).chain(&row.leaving).map(|at| at.storage).collect();
        let distinct: BTreeSet<_> = listed.iter().collect();
        assert_eq!(distinct.len(), listed.len(), "{block} lists a storage twice");
        leaving.extend(row.leaving.iter().map(|at| (at.storage, *block)));
    }
    let of_living: BTreeSet<_> =
        rows.removals.iter().copied().filter(|(_, block)| rows.blocks.contains_key(block)).collect();
    assert_eq!(of_living, leaving, "replicas of living blocks that leave");
    let twice = rows.removed_twice.iter().find(|block| rows.blocks.contains_key(block));
    assert_eq!(twice, None, "one removal for each replica of a living block");
}

/// The tags of all rows there are.
pub fn tags(state: &MemoryView) -> String {
    let tags: BTreeSet<char> = state.rows().keys().map(|key| char::from(key[0])).collect();
    tags.into_iter().collect()
}
