//! One operation, and how random ones are drawn.

use proptest::prelude::*;

/// A name among few, so that operations meet.
pub(crate) type Name = usize;
/// An open file among few.
pub(crate) type Slot = usize;

pub(crate) const NAMES: usize = 9;
pub(crate) const SLOTS: usize = 4;
/// Files stay shorter: long enough for inline content, blocks and holes.
const LONGEST: u64 = 200_000;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Open { slot: Slot, name: Name, create: bool, exclusive: bool, truncate: bool, append: bool },
    Close(Slot),
    Write { slot: Slot, offset: u64, length: usize, seed: u8 },
    Append { slot: Slot, length: usize, seed: u8 },
    Read { slot: Slot, offset: u64, length: usize },
    ReadWhole(Name),
    SetLength { slot: Slot, length: u64 },
    SetLengthOf { name: Name, length: u64 },
    Sync(Slot),
    Punch { slot: Slot, offset: u64, length: u64 },
    Extend { slot: Slot, offset: u64, length: u64 },
    Copy { from: Slot, offset: u64, to: Slot, to_offset: u64, length: usize },
    Stat(Name),
    StatOpen(Slot),
    List(Name),
    MakeDirectory { name: Name, mode: u32 },
    RemoveDirectory(Name),
    Unlink(Name),
    Rename { from: Name, to: Name },
    RenameNoReplace { from: Name, to: Name },
    Exchange { from: Name, to: Name },
    Link { from: Name, to: Name },
    Symlink { target: Name, name: Name },
    ReadLink(Name),
    ChangeMode { name: Name, mode: u32 },
    ChangeTimes { name: Name, seconds: i64 },
    SetAttribute { name: Name, key: u8, length: usize },
    GetAttribute { name: Name, key: u8 },
    ListAttributes(Name),
    RemoveAttribute { name: Name, key: u8 },
    MakeFifo(Name),
}

fn offset() -> impl Strategy<Value = u64> {
    // Often on the borders of pages and of what is stored inline.
    prop_oneof![0..LONGEST, (0..20_u64).prop_map(|page| page * 4096), Just(0), 16_000..17_000_u64]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..100_usize, 1000..20_000_usize, Just(4096), Just(65_536)]
}

pub(crate) fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), count)
}

fn step() -> impl Strategy<Value = Step> {
    let (name, slot, mode) = (0..NAMES, 0..SLOTS, 0..0o1000_u32);
    let open = (slot.clone(), name.clone(), any::<[bool; 4]>()).prop_map(|(slot, name, flags)| {
        let [create, exclusive, truncate, append] = flags;
        // Appends go elsewhere than offsets say: they are rarer.
        Step::Open { slot, name, create, exclusive: exclusive && create, truncate, append: append && truncate }
    });
    let names = || (0..NAMES, 0..NAMES);
    let files = prop_oneof![
        8 => open,
        3 => slot.clone().prop_map(Step::Close),
        8 => (slot.clone(), offset(), length(), any::<u8>())
            .prop_map(|(slot, offset, length, seed)| Step::Write { slot, offset, length, seed }),
        3 => (slot.clone(), length(), any::<u8>()).prop_map(|(slot, length, seed)| Step::Append { slot, length, seed }),
        6 => (slot.clone(), offset(), length()).prop_map(|(slot, offset, length)| Step::Read { slot, offset, length }),
        4 => name.clone().prop_map(Step::ReadWhole),
        3 => (slot.clone(), offset()).prop_map(|(slot, length)| Step::SetLength { slot, length }),
        2 => (name.clone(), offset()).prop_map(|(name, length)| Step::SetLengthOf { name, length }),
        2 => slot.clone().prop_map(Step::Sync),
        2 => (slot.clone(), offset(), 1..LONGEST).prop_map(|(slot, offset, length)| Step::Punch { slot, offset, length }),
        1 => (slot.clone(), offset(), 1..LONGEST).prop_map(|(slot, offset, length)| Step::Extend { slot, offset, length }),
        2 => (slot.clone(), offset(), slot.clone(), offset(), length())
            .prop_map(|(from, offset, to, to_offset, length)| Step::Copy { from, offset, to, to_offset, length }),
        3 => slot.prop_map(Step::StatOpen),
    ];
    let tree = prop_oneof![
        4 => name.clone().prop_map(Step::Stat),
        3 => name.clone().prop_map(Step::List),
        4 => (name.clone(), mode.clone()).prop_map(|(name, mode)| Step::MakeDirectory { name, mode }),
        2 => name.clone().prop_map(Step::RemoveDirectory),
        3 => name.clone().prop_map(Step::Unlink),
        3 => names().prop_map(|(from, to)| Step::Rename { from, to }),
        1 => names().prop_map(|(from, to)| Step::RenameNoReplace { from, to }),
        1 => names().prop_map(|(from, to)| Step::Exchange { from, to }),
        3 => names().prop_map(|(from, to)| Step::Link { from, to }),
        2 => names().prop_map(|(target, name)| Step::Symlink { target, name }),
        1 => name.clone().prop_map(Step::ReadLink),
        2 => (name.clone(), mode).prop_map(|(name, mode)| Step::ChangeMode { name, mode }),
        2 => (name.clone(), 0..1_000_000_000_i64).prop_map(|(name, seconds)| Step::ChangeTimes { name, seconds }),
        2 => (name.clone(), 0..3_u8, 0..2000_usize)
            .prop_map(|(name, key, length)| Step::SetAttribute { name, key, length }),
        2 => (name.clone(), 0..3_u8).prop_map(|(name, key)| Step::GetAttribute { name, key }),
        1 => name.clone().prop_map(Step::ListAttributes),
        1 => (name.clone(), 0..3_u8).prop_map(|(name, key)| Step::RemoveAttribute { name, key }),
        1 => name.prop_map(Step::MakeFifo),
    ];
    prop_oneof![3 => files, 2 => tree]
}
