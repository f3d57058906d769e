//! Changes of the tree: entries come, go and move, and every directory above keeps its sums (invariant 3).

use types::{ByteSize, InodeId, Timestamp};

use crate::access::Right;
use crate::ageing;
use crate::apply::Effect;
use crate::command::{Destination, Layout, Ownership, Where};
use crate::directory_policy;
use crate::error::Error;
use crate::handles;
use crate::home::Home;
use crate::key;
use crate::limits;
use crate::names;
use crate::resolve::{self, Slot};
use crate::row::{Body, Data, DirectoryRow, FileBody, GarbageRow, InodeRow, Usage};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError};
use crate::xattr;

/// The mode of parents that are made because they are missing, where no default access control list decides.
const PARENT_MODE: u32 = 0o777;
const PARENT_UMASK: u32 = 0o022;

/// Of parents that are made because they are missing.
pub(crate) const fn parent((uid, gid): (u32, u32)) -> Ownership {
    Ownership { uid, gid, mode: PARENT_MODE, umask: Some(PARENT_UMASK) }
}

/// What a change adds to the sums of every directory above it; taken away by [`Delta::negated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Delta {
    files: i64,
    directories: i64,
    bytes: i64,
    raw_bytes: i64,
}

impl Delta {
    pub(crate) fn file(file: &FileBody) -> Self {
        let raw = raw_bytes(file.length, file.replication);
        Self { files: 1, directories: 0, bytes: signed(file.length.get()), raw_bytes: signed(raw) }
    }

    /// What is no directory, by its counting name.
    pub(crate) fn of_one(body: &Body) -> Self {
        match body {
            Body::File(file) => Self::file(file),
            Body::Symlink(_) | Body::Special(_) => Self { files: 1, ..Self::default() },
            Body::Directory => Self::default(),
        }
    }

    /// A directory and everything below it.
    fn directory(usage: &Usage) -> Self {
        Self {
            files: signed(usage.files),
            directories: signed(usage.directories) + 1,
            bytes: signed(usage.bytes),
            raw_bytes: signed(usage.raw_bytes),
        }
    }

    /// A file whose length or wanted replicas change.
    pub(crate) const fn between(before: Self, after: Self) -> Self {
        after.plus(before.negated())
    }

    const fn negated(self) -> Self {
        Self { files: -self.files, directories: -self.directories, bytes: -self.bytes, raw_bytes: -self.raw_bytes }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            directories: self.directories + other.directories,
            bytes: self.bytes + other.bytes,
            raw_bytes: self.raw_bytes + other.raw_bytes,
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("limits keep every sum below 2^63")
}

fn raw_bytes(length: ByteSize, replication: u8) -> u64 {
    length.get() * u64::from(replication)
}

/// A change of one directory's own entries.
#[derive(Debug, Clone, Copy)]
struct Entries {
    /// Whether the times of the directory change: not when something below changed, and the entries did not.
    touched: bool,
    number: i64,
    subdirectories: i64,
}

impl Entries {
    const SAME: Self = Self { touched: false, number: 0, subdirectories: 0 };
    /// One replaced or renamed: the number does not change.
    const TOUCHED: Self = Self { touched: true, ..Self::SAME };

    fn added(body: &Body) -> Self {
        Self { touched: true, number: 1, subdirectories: i64::from(*body == Body::Directory) }
    }

    fn removed(body: &Body) -> Self {
        Self { touched: true, number: -1, subdirectories: -i64::from(*body == Body::Directory) }
    }

    fn exchanged(old: &Body, new: &Body) -> Self {
        let (old, new) = (Self::removed(old), Self::added(new));
        Self { touched: true, number: 0, subdirectories: old.subdirectories + new.subdirectories }
    }
}

/// Applies a change inside `directory` to its sums and to those of all directories above. In a removed tree it ends at
/// the top of that.
fn account<V: View>(
    txn: &mut Transaction<'_, V>,
    directory: InodeId,
    entries: Entries,
    delta: Delta,
) -> Result<(), ViewError> {
    let mut at = directory;
    let mut entries = entries;
    // Stands in for what an old row does not count.
    let mut unknown = u64::from(u32::MAX);
    while at != InodeId::NONE {
        let Some(mut row) = txn.rows.directory(at)? else { return Ok(()) };
        if entries.touched {
            row.mtime = txn.now;
            row.ctime = txn.now;
        } else if delta.is_nothing() {
            return Ok(());
        }
        let usage = &mut row.usage;
        let sums = [
            (row.subdirectories.as_mut().unwrap_or(&mut unknown), entries.subdirectories),
            (&mut usage.entries, entries.number),
            (&mut usage.files, delta.files),
            (&mut usage.directories, delta.directories),
            (&mut usage.bytes, delta.bytes),
            (&mut usage.raw_bytes, delta.raw_bytes),
        ];
        for (sum, change) in sums {
            let changed = sum.checked_add_signed(change).filter(|sum| i64::try_from(*sum).is_ok());
            *sum = changed.ok_or_else(|| ViewError::Row {
                key: key::show(&key::directory(at)),
                reason: format!("its sum {sum} cannot change by {change}"),
            })?;
        }
        if row.quota.is_some() {
            txn.watch_quota(at);
        }
        txn.put_directory(at, &row);
        entries = Entries::SAME;
        at = row.parent;
    }
    Ok(())
}

/// A file below `directory` got longer, or wants another number of replicas.
pub(crate) fn account_change<V: View>(
    txn: &mut Transaction<'_, V>,
    directory: InodeId,
    delta: Delta,
) -> Result<(), ViewError> {
    account(txn, directory, Entries::SAME, delta)
}

/// Something below `from` counts below `to` from now on, although nobody moved it there. The sums of `from` are the
/// caller's, as for any name that goes.
pub(crate) fn hand_over<V: View>(
    txn: &mut Transaction<'_, V>,
    from: InodeId,
    to: InodeId,
    delta: Delta,
) -> Result<(), ViewError> {
    account(txn, to, Entries::SAME, delta)?;
    for (directory, delta) in [(from, delta.negated()), (to, delta)] {
        let mut at = directory;
        while let Some(row) = txn.rows.directory(at)? {
            if row.quota.is_some() {
                txn.note_handed_over(at, delta.files, delta.raw_bytes);
            }
            at = row.parent;
        }
    }
    Ok(())
}

/// Puts a new directory into an empty slot.
pub(crate) fn add_directory<V: View>(
    txn: &mut Transaction<'_, V>,
    slot: &Slot,
    ownership: Ownership,
) -> Result<InodeRow, ViewError> {
    let inode = txn.next_inode();
    let mut row = InodeRow::new(inode, ownership, txn.now, Body::Directory);
    if !slot.is_root() {
        txn.caller.inherit(&txn.rows, slot.directory, &mut row)?;
    }
    txn.put_entry(slot.directory, &slot.name, &row);
    let directory = DirectoryRow {
        parent: slot.directory,
        name: slot.name.clone(),
        mtime: txn.now,
        ctime: txn.now,
        usage: Usage::default(),
        quota: None,
        implicit: false,
        subdirectories: Some(0),
        ttl_nanos: None,
        policy: None,
    };
    txn.put_directory(inode, &directory);
    account(txn, slot.directory, Entries::added(&row.body), Delta::directory(&Usage::default()))?;
    Ok(row)
}

/// The slot of a place whose missing parents are made, which the caller must be allowed to do.
pub(crate) fn slot_with_parents<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    owner: (u32, u32),
) -> Outcome<Slot> {
    let path = resolve::parse(place)?;
    let Some(last) = path.last() else { return resolve::slot(&txn.rows, txn.caller, place) };
    let mut directory = resolve::base_directory(&txn.rows, txn.caller, place.base)?;
    for (at, name) in path.names()[..path.names().len() - 1].iter().enumerate() {
        directory = match txn.rows.entry(directory, name.as_bytes())? {
            Some(row) if row.body == Body::Directory => {
                txn.caller.check(&row, Right::Search, || resolve::show_names(place.base, &path, at + 1))?;
                row.inode
            }
            Some(row) => return Err(resolve::not_a_directory(place, at + 1, &row).into()),
            None => {
                txn.caller.check_add(&txn.rows, directory, || resolve::show_names(place.base, &path, at))?;
                let slot = Slot { directory, name: name.as_bytes().to_vec() };
                add_directory(txn, &slot, parent(owner))?.inode
            }
        };
    }
    Ok(Slot { directory, name: last.as_bytes().to_vec() })
}

/// Puts a new file at its destination, in place of one that is there if that is asked for. Replacing is removing and
/// adding, as with rename(2): it takes the right to change the directory, whatever the mode of the file.
pub(crate) fn place_file<V: View>(
    txn: &mut Transaction<'_, V>,
    destination: &Destination,
    row: &mut InodeRow,
) -> Outcome<Slot> {
    let place = &destination.place;
    let slot = if destination.parents {
        slot_with_parents(txn, place, (row.uid, row.gid))?
    } else {
        resolve::slot(&txn.rows, txn.caller, place)?
    };
    place_in_slot(txn, place, destination.overwrite, &slot, row)?;
    Ok(slot)
}

/// Puts a new file into a slot, in place of one that is there if `overwrite`; `place` is what a refusal names.
pub(crate) fn place_in_slot<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    overwrite: bool,
    slot: &Slot,
    row: &mut InodeRow,
) -> Outcome<()> {
    let mut entries = Entries::added(&row.body);
    let mut delta = Delta::of_one(&row.body);
    match txn.rows.entry(slot.directory, &slot.name)? {
        None => check_add(txn, place, slot)?,
        Some(_) if !overwrite => return Err(Error::Exists { place: resolve::show(place) }.into()),
        Some(InodeRow { body: Body::Directory, .. }) => {
            return Err(Error::IsDirectory { place: resolve::show(place) }.into());
        }
        Some(target) => {
            check_remove(txn, place, slot, &target)?;
            check_not_written_by_another(txn, place, &target)?;
            entries = Entries::TOUCHED;
            delta = delta.plus(names::drop_one(txn, slot, &target)?.negated());
        }
    }
    txn.caller.inherit(&txn.rows, slot.directory, row)?;
    txn.put_entry(slot.directory, &slot.name, row);
    txn.put_link(row.inode, slot.directory, &slot.name);
    account(txn, slot.directory, entries, delta)?;
    Ok(())
}

/// Puts something new that is no directory into an empty slot.
pub(crate) fn add_one<V: View>(txn: &mut Transaction<'_, V>, place: &Where, row: &mut InodeRow) -> Outcome<()> {
    let slot = empty_slot(txn, place)?;
    txn.caller.inherit(&txn.rows, slot.directory, row)?;
    txn.put_entry(slot.directory, &slot.name, row);
    txn.put_link(row.inode, slot.directory, &slot.name);
    account(txn, slot.directory, Entries::added(&row.body), Delta::of_one(&row.body))?;
    Ok(())
}

/// Gives what is no directory one more name. It counts where it did.
pub(crate) fn add_name<V: View>(txn: &mut Transaction<'_, V>, from: &Where, to: &Where) -> Outcome<InodeRow> {
    let (slot, mut row) = resolve::find(&txn.rows, txn.caller, from)?;
    if row.body == Body::Directory {
        return Err(Error::LinkDirectory { place: resolve::show(from) }.into());
    }
    let home = Home::at(&slot, &row);
    let slot = empty_slot(txn, to)?;
    names::add(txn, &home, &mut row, &slot, || resolve::show(from))?;
    account(txn, slot.directory, Entries::added(&row.body), Delta::default())?;
    Ok(row)
}

/// A place where nothing is, and where the caller may put something.
fn empty_slot<V: View>(txn: &Transaction<'_, V>, place: &Where) -> Outcome<Slot> {
    let slot = resolve::slot(&txn.rows, txn.caller, place)?;
    if txn.rows.entry(slot.directory, &slot.name)?.is_some() {
        return Err(Error::Exists { place: resolve::show(place) }.into());
    }
    check_add(txn, place, &slot)?;
    Ok(slot)
}

/// Refuses unless the caller may put something into an empty slot.
pub(crate) fn check_add<V: View>(txn: &Transaction<'_, V>, place: &Where, slot: &Slot) -> Outcome<()> {
    txn.caller.check_add(&txn.rows, slot.directory, || resolve::show_parent(place, slot))
}

/// Refuses unless the caller may take what is in a slot out of it.
pub(crate) fn check_remove<V: View>(
    txn: &Transaction<'_, V>,
    place: &Where,
    slot: &Slot,
    row: &InodeRow,
) -> Outcome<()> {
    let (parent, shown) = (|| resolve::show_parent(place, slot), || resolve::show(place));
    txn.caller.check_remove(&txn.rows, slot.directory, row, parent, shown)
}

/// Refuses to replace a file under the hands of another session.
fn check_not_written_by_another<V: View>(txn: &Transaction<'_, V>, place: &Where, row: &InodeRow) -> Outcome<()> {
    let writing = matches!(&row.body, Body::File(file) if file.writing);
    let lease = if writing { txn.rows.lease(row.inode)? } else { None };
    match lease {
        Some(lease) if lease.is_recovering() => Err(Error::BeingRecovered { place: resolve::show(place) }.into()),
        Some(lease) if Some(lease.session) != txn.session => {
            let (place, holder) = (resolve::show(place), lease.session);
            Err(Error::LeaseHeld { place, holder, soft_limit: None }.into())
        }
        _ => Ok(()),
    }
}

/// What a file that loses its last name leaves: its lease ends, its blocks become garbage unless a session has it open.
/// The entry, which must still be there, and the sums are the caller's.
pub(crate) fn drop_file<V: View>(txn: &mut Transaction<'_, V>, row: &InodeRow) -> Result<(), ViewError> {
    let inode = row.inode;
    let kept = handles::keep(txn, row)?;
    txn.remove(key::link(inode));
    if kept {
        return Ok(());
    }
    if row.names.is_some() {
        txn.remove(key::shared(inode));
    }
    let file = row.need_file()?;
    xattr::drop_all(txn, row);
    if file.writing
        && let Some(lease) = txn.rows.lease(inode)?
    {
        txn.remove_lease(inode, lease.session);
    }
    add_file_garbage(txn, inode, file, false);
    Ok(())
}

/// Leaves the extents of a file to garbage collection, if it has any.
pub(crate) fn add_file_garbage<V: View>(
    txn: &mut Transaction<'_, V>,
    inode: InodeId,
    file: &FileBody,
    never_named: bool,
) {
    match file.data {
        Data::Blocks { extents: 0, .. } | Data::Inline { next_block: None, .. } => {}
        Data::Blocks { .. } | Data::Inline { .. } => add_garbage(txn, inode, GarbageRow::file(never_named)),
    }
}

pub(crate) fn add_garbage<V: View>(txn: &mut Transaction<'_, V>, inode: InodeId, row: GarbageRow) {
    txn.put(key::garbage(inode), &row);
    txn.effect(Effect::GarbageAdded);
}

/// Takes what is in a slot out of the tree: O(depth), whatever is below.
pub(crate) fn detach<V: View>(
    txn: &mut Transaction<'_, V>,
    place: &Where,
    slot: &Slot,
    row: &InodeRow,
    recursive: bool,
) -> Outcome<()> {
    let delta = match &row.body {
        Body::File(_) | Body::Symlink(_) | Body::Special(_) => names::drop_one(txn, slot, row)?,
        Body::Directory => {
            xattr::drop_all(txn, row);
            let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
            if directory.usage.entries == 0 {
                ageing::forget(txn, row.inode, &directory);
                directory_policy::forget(txn, &directory);
                txn.remove(key::directory(row.inode));
            } else if recursive {
                directory.parent = InodeId::NONE;
                txn.put_directory(row.inode, &directory);
                add_garbage(txn, row.inode, GarbageRow::DIRECTORY);
            } else {
                return Err(Error::NotEmpty { place: resolve::show(place) }.into());
            }
            Delta::directory(&directory.usage)
        }
    };
    txn.remove(key::entry(slot.directory, &slot.name));
    account(txn, slot.directory, Entries::removed(&row.body), delta.negated())?;
    Ok(())
}

/// A move, checked and decided.
pub(crate) struct Move<'a> {
    pub(crate) from: &'a Where,
    pub(crate) to: &'a Where,
    pub(crate) overwrite: bool,
}

/// Moves what is at one place to another. O(depth): the tree below does not change.
pub(crate) fn rename<V: View>(txn: &mut Transaction<'_, V>, request: &Move<'_>) -> Outcome<()> {
    let (from, mut row) = resolve::find(&txn.rows, txn.caller, request.from)?;
    let to = resolve::slot(&txn.rows, txn.caller, request.to)?;
    if from.is_root() || to.is_root() {
        return Err(Error::RootFixed.into());
    }
    if from == to {
        return Ok(());
    }
    let is_directory = row.body == Body::Directory;
    if is_directory && lies_in(txn, to.directory, row.inode)? {
        return Err(Error::Cycle { from: resolve::show(request.from), to: resolve::show(request.to) }.into());
    }
    let target = txn.rows.entry(to.directory, &to.name)?;
    let replaced = target.is_some();
    if request.overwrite && target.as_ref().is_some_and(|target| target.inode == row.inode) {
        // Two names of one inode: rename(2) leaves both.
        return Ok(());
    }
    if replaced && !request.overwrite {
        return Err(Error::Exists { place: resolve::show(request.to) }.into());
    }
    check_remove(txn, request.from, &from, &row)?;
    match &target {
        Some(target) => check_remove(txn, request.to, &to, target)?,
        None => check_add(txn, request.to, &to)?,
    }
    if from.directory != to.directory {
        check_other_parent(txn, request.from, &row)?;
    }
    if let Some(target) = target {
        replace_by_move(txn, request, &to, &target, is_directory)?;
    }
    txn.remove(key::entry(from.directory, &from.name));
    let delta = put_at(txn, &mut row, &from, &to)?;
    if from.directory == to.directory && !replaced {
        return Ok(account(txn, to.directory, Entries::TOUCHED, Delta::default())?);
    }
    account(txn, from.directory, Entries::removed(&row.body), delta.negated())?;
    account(txn, to.directory, Entries::added(&row.body), delta)?;
    Ok(())
}

/// Takes what is in one slot to another, which is empty. O(depth), and nothing is checked.
pub(crate) fn relocate<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &mut InodeRow,
    from: &Slot,
    to: &Slot,
) -> Result<(), ViewError> {
    txn.remove(key::entry(from.directory, &from.name));
    let delta = put_at(txn, row, from, to)?;
    account(txn, from.directory, Entries::removed(&row.body), delta.negated())?;
    account(txn, to.directory, Entries::added(&row.body), delta)
}

/// Puts each of two objects in the place of the other, at once.
pub(crate) fn exchange<V: View>(txn: &mut Transaction<'_, V>, first: &Where, second: &Where) -> Outcome<()> {
    let (first_slot, mut first_row) = resolve::find(&txn.rows, txn.caller, first)?;
    let (second_slot, mut second_row) = resolve::find(&txn.rows, txn.caller, second)?;
    if first_slot.is_root() || second_slot.is_root() {
        return Err(Error::RootFixed.into());
    }
    if first_slot == second_slot || first_row.inode == second_row.inode {
        return Ok(());
    }
    for (moved, to, from_place, to_place) in
        [(&first_row, &second_slot, first, second), (&second_row, &first_slot, second, first)]
    {
        if moved.body == Body::Directory && lies_in(txn, to.directory, moved.inode)? {
            return Err(Error::Cycle { from: resolve::show(from_place), to: resolve::show(to_place) }.into());
        }
    }
    check_remove(txn, first, &first_slot, &first_row)?;
    check_remove(txn, second, &second_slot, &second_row)?;
    let same_directory = first_slot.directory == second_slot.directory;
    if !same_directory {
        check_other_parent(txn, first, &first_row)?;
        check_other_parent(txn, second, &second_row)?;
    }
    let first_delta = put_at(txn, &mut first_row, &first_slot, &second_slot)?;
    let second_delta = put_at(txn, &mut second_row, &second_slot, &first_slot)?;
    if same_directory {
        return Ok(account(txn, first_slot.directory, Entries::TOUCHED, Delta::default())?);
    }
    let (first, second) = (&first_row.body, &second_row.body);
    let (first_entries, second_entries) = (Entries::exchanged(first, second), Entries::exchanged(second, first));
    account(txn, first_slot.directory, first_entries, Delta::between(first_delta, second_delta))?;
    account(txn, second_slot.directory, second_entries, Delta::between(second_delta, first_delta))?;
    Ok(())
}

/// Refuses to move a directory elsewhere unless the caller may change it: what `..` in it means changes.
pub(crate) fn check_other_parent<V: View>(txn: &Transaction<'_, V>, place: &Where, row: &InodeRow) -> Outcome<()> {
    if row.body == Body::Directory {
        txn.caller.check(row, Right::Write, || resolve::show(place))?;
    }
    Ok(())
}

/// Writes what is in another slot from now on, and the way back from its inode. The directories are the caller's, by
/// what is given back.
fn put_at<V: View>(
    txn: &mut Transaction<'_, V>,
    row: &mut InodeRow,
    from: &Slot,
    to: &Slot,
) -> Result<Delta, ViewError> {
    match &row.body {
        Body::Directory => {
            let mut directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
            directory.parent = to.directory;
            directory.name.clone_from(&to.name);
            directory.ctime = txn.now;
            txn.put_directory(row.inode, &directory);
            txn.put_entry(to.directory, &to.name, row);
            Ok(Delta::directory(&directory.usage))
        }
        Body::File(_) | Body::Symlink(_) | Body::Special(_) => {
            row.set_ctime(txn.now);
            names::put(txn, row, from, to)
        }
    }
}

/// Makes room for what is moved: a directory gives way to a directory if it is empty, and anything else to anything else.
fn replace_by_move<V: View>(
    txn: &mut Transaction<'_, V>,
    request: &Move<'_>,
    to: &Slot,
    target: &InodeRow,
    moves_directory: bool,
) -> Outcome<()> {
    let place = || resolve::show(request.to);
    match (moves_directory, target.body == Body::Directory) {
        (false, true) => Err(Error::IsDirectory { place: place() }.into()),
        (true, false) => Err(Error::NotDirectory { place: place() }.into()),
        (false, false) => {
            check_not_written_by_another(txn, request.to, target)?;
            detach(txn, request.to, to, target, false)
        }
        (true, true) => detach(txn, request.to, to, target, false),
    }
}

/// Whether `directory` is `ancestor` or below it.
fn lies_in<V: View>(txn: &Transaction<'_, V>, directory: InodeId, ancestor: InodeId) -> Result<bool, ViewError> {
    let mut at = directory;
    while at != InodeId::NONE {
        if at == ancestor {
            return Ok(true);
        }
        at = txn.rows.need::<DirectoryRow>(&key::directory(at))?.parent;
    }
    Ok(false)
}

/// A new file's row, before anything is written.
pub(crate) struct NewFile {
    pub(crate) ownership: Ownership,
    pub(crate) layout: Layout,
    pub(crate) mtime: Timestamp,
    pub(crate) writing: bool,
    pub(crate) length: ByteSize,
    pub(crate) data: Data,
}

pub(crate) fn new_file<V: View>(txn: &mut Transaction<'_, V>, new: NewFile) -> Outcome<InodeRow> {
    check_mode(new.ownership.mode)?;
    check_replication(new.layout.replication)?;
    let block_size = new.layout.block_size;
    if block_size == ByteSize::ZERO || block_size > limits::MAX_BLOCK_SIZE {
        return Err(Error::BadBlockSize { block_size, limit: limits::MAX_BLOCK_SIZE }.into());
    }
    let file = FileBody {
        mtime: new.mtime,
        ctime: txn.now,
        length: new.length,
        replication: new.layout.replication,
        block_size,
        writing: new.writing,
        data: new.data,
        changes: 0,
        holes: None,
        spread: new.layout.spread,
    };
    let ownership = txn.caller.ownership(new.ownership);
    Ok(InodeRow::new(txn.next_inode(), ownership, txn.now, Body::File(file)))
}

pub(crate) fn check_mode(mode: u32) -> Outcome<()> {
    if mode > limits::MAX_MODE { Err(Error::BadMode { mode }.into()) } else { Ok(()) }
}

pub(crate) fn check_replication(replication: u8) -> Outcome<()> {
    let limit = limits::MAX_REPLICATION;
    if (1..=limit).contains(&replication) { Ok(()) } else { Err(Error::BadReplication { replication, limit }.into()) }
}
