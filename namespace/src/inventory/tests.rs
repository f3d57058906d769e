use proptest::prelude::*;
use types::{InodeId, NodeId};

use super::*;
use crate::placement::Candidate;
use crate::repair::{Liveness, Member};
use crate::row::BlockLocation;

const HERE: StorageId = StorageId::from_bytes([1; 16]);

fn location(id: u8) -> BlockLocation {
    BlockLocation { node: NodeId::new(100 + u64::from(id)), storage: StorageId::from_bytes([id; 16]) }
}

fn block(inode: u64) -> BlockId {
    BlockId::new(InodeId::new(inode), 0)
}

fn stored(inode: u64, generation: u64, length: u64) -> Stored {
    Stored { block: block(inode), generation: GenStamp::new(generation), length: ByteSize::new(length) }
}

fn kept(generation: u64, length: u64) -> Expected {
    Expected::Kept { generation: GenStamp::new(generation), length: ByteSize::new(length), bad: false }
}

fn row(replicas: &[u8], bad: &[u8], leaving: &[u8]) -> BlockRow {
    let list = |ids: &[u8]| ids.iter().map(|id| location(*id)).collect();
    BlockRow {
        generation: GenStamp::new(2),
        length: ByteSize::new(10),
        state: BlockState::Committed,
        wanted: 3,
        replicas: list(replicas),
        bad: list(bad),
        leaving: list(leaving),
        live: ByteSize::new(10),
        recovery: None,
        spread: None,
    }
}

/// Storages 1 to 5 with this liveness.
fn facts(liveness: [Liveness; 5]) -> Facts {
    let member = |(id, liveness): (u8, Liveness)| {
        let candidate = Candidate {
            location: location(id),
            host: format!("dn{id}"),
            rack: "/r".to_owned(),
            capacity: ByteSize::new(1000),
            free: ByteSize::new(500),
            writers: 0,
        };
        (location(id).storage, Member { candidate, liveness })
    };
    Facts { members: (1..=5).zip(liveness).map(member).collect(), ..Facts::default() }
}

const ALIVE: [Liveness; 5] = [Liveness::Alive; 5];

fn unexpected(row: Option<&BlockRow>, stored: Stored) -> Verdict {
    judge(known(row), HERE, &Difference::Unexpected(stored), &facts(ALIVE))
}

fn known(row: Option<&BlockRow>) -> Known<'_> {
    row.map_or(Known::Removed, Known::Row)
}

#[test]
fn a_page_tells_what_is_missing_within_it_and_not_beyond() {
    let expected = BTreeMap::from([
        (block(1), kept(1, 5)),
        (block(2), kept(1, 5)),
        (block(3), Expected::Leaving { generation: GenStamp::new(2) }),
        (block(4), kept(1, 5)),
        (block(9), kept(1, 5)),
    ]);
    let page = Page { after: Some(block(1)), stored: vec![stored(3, 2, 7), stored(4, 1, 6)], until: Some(block(5)) };
    assert_eq!(
        compare(&expected, &page),
        [Difference::Unexpected(stored(4, 1, 6)), Difference::Missing(block(2))],
        "block 1 is before the page and block 9 behind it"
    );
    let last = Page { after: Some(block(5)), stored: vec![], until: None };
    assert_eq!(compare(&expected, &last), [Difference::Missing(block(9))]);
    let nothing = Page { after: Some(block(5)), stored: vec![], until: Some(block(1)) };
    assert_eq!(compare(&expected, &nothing), [], "a page that covers nothing proves nothing");
}

#[test]
fn a_replica_that_is_listed_and_not_there_is_looked_for_again() {
    let check = Verdict::Check { generation: GenStamp::new(2), length: ByteSize::new(10) };
    let missing = |row: Option<&BlockRow>| judge(known(row), HERE, &Difference::Missing(block(1)), &facts(ALIVE));
    assert_eq!(missing(Some(&row(&[1, 2, 3], &[], &[]))), check);
    assert_eq!(missing(Some(&row(&[2, 3], &[], &[1]))), Verdict::Wait, "it was given up meanwhile");
    assert_eq!(missing(Some(&row(&[2, 3], &[1], &[]))), Verdict::Wait, "it is known to be bad");
    assert_eq!(missing(None), Verdict::Leave, "the file was removed meanwhile");
    assert_eq!(unexpected(Some(&row(&[1, 2, 3], &[], &[])), stored(1, 2, 9)), check, "it is too short");
    assert_eq!(unexpected(Some(&row(&[1, 2, 3], &[], &[])), stored(1, 1, 10)), check, "it is stale");
}

#[test]
fn an_orphan_is_adopted_where_it_is_wanted_and_dropped_where_it_is_not() {
    assert_eq!(unexpected(None, stored(1, 1, 1)), Verdict::Drop);
    assert_eq!(unexpected(Some(&row(&[2, 3, 4], &[], &[])), stored(1, 2, 10)), Verdict::Drop);
    assert_eq!(unexpected(Some(&row(&[2, 3], &[], &[])), stored(1, 2, 10)), Verdict::Adopt);
    assert_eq!(unexpected(Some(&row(&[2, 3], &[], &[])), stored(1, 1, 10)), Verdict::Wait, "not while one is short");
    assert_eq!(unexpected(Some(&row(&[2, 3, 4], &[], &[])), stored(1, 1, 10)), Verdict::Drop, "stale after weeks");
    assert_eq!(unexpected(Some(&row(&[2, 3, 4], &[], &[])), stored(1, 3, 10)), Verdict::Wait, "from the future");
    assert_eq!(unexpected(Some(&row(&[2, 3, 4], &[], &[1])), stored(1, 1, 10)), Verdict::Wait, "on its way out");
    assert_eq!(unexpected(Some(&row(&[2, 3, 4], &[1], &[])), stored(1, 1, 10)), Verdict::Leave, "goes by its own rule");
    let writing = BlockRow { state: BlockState::Writing, ..row(&[2, 3, 4], &[], &[]) };
    assert_eq!(unexpected(Some(&writing), stored(1, 1, 10)), Verdict::Wait);
}

/// Invariant 4.
#[test]
fn a_replica_of_an_inode_that_was_never_handed_out_is_left_and_not_looked_at_again() {
    for difference in [Difference::Unexpected(stored(1, 1, 1)), Difference::Missing(block(1))] {
        assert_eq!(judge(Known::NeverHandedOut, HERE, &difference, &facts(ALIVE)), Verdict::Leave);
    }
}

fn liveness() -> impl Strategy<Value = Liveness> {
    prop_oneof![Just(Liveness::Alive), Just(Liveness::Suspect), Just(Liveness::Dead)]
}

fn any_row() -> impl Strategy<Value = BlockRow> {
    (prop::collection::vec(0_u8..4, 5), 1_u8..4, any::<bool>(), 1_u64..4).prop_map(
        |(roles, wanted, writing, generation)| {
            let of = |role| (1..=5_u8).zip(&roles).filter(|(_, r)| **r == role).map(|(id, _)| id).collect::<Vec<_>>();
            let state = if writing { BlockState::Writing } else { BlockState::Committed };
            BlockRow { wanted, state, generation: GenStamp::new(generation), ..row(&of(1), &of(2), &of(3)) }
        },
    )
}

proptest! {
    /// Invariants 1 and 2, whatever the row and the disk say.
    #[test]
    fn nothing_listed_and_nothing_needed_is_dropped(
        row in any_row(), alive in prop::array::uniform5(liveness()), generation in 1_u64..4, length in 9_u64..12,
    ) {
        let facts = facts(alive);
        let found = stored(1, generation, length);
        let verdict = judge(Known::Row(&row), HERE, &Difference::Unexpected(found), &facts);
        let good_elsewhere = row.replicas.iter().filter(|at| {
            at.storage != HERE && facts.members[&at.storage].liveness != Liveness::Dead
        }).count();
        let listed = [&row.replicas, &row.bad, &row.leaving].iter().any(|list| is_in(list, HERE));
        match verdict {
            Verdict::Drop => {
                prop_assert!(!listed && row.state == BlockState::Committed);
                prop_assert!(good_elsewhere >= usize::from(row.wanted).max(1));
                prop_assert!(found.generation <= row.generation);
            }
            Verdict::Adopt => {
                prop_assert!(!listed && good_elsewhere < usize::from(row.wanted));
                prop_assert_eq!((found.generation, found.length), (row.generation, row.length));
            }
            Verdict::Check { .. } => prop_assert!(is_in(&row.replicas, HERE)),
            // A replica elsewhere may change this without a change on either side of the comparison.
            Verdict::Wait => prop_assert!(!is_in(&row.replicas, HERE) || row.state != BlockState::Committed),
            Verdict::Leave => prop_assert!(is_in(&row.replicas, HERE) || is_in(&row.bad, HERE)),
        }
    }

    /// However a volume is cut into pages, the differences are those of the whole.
    #[test]
    fn pages_find_what_the_whole_finds(
        state in prop::collection::btree_map(1_u64..40, (1_u64..3, 1_u64..3, any::<bool>()), 0..20),
        disk in prop::collection::btree_map(1_u64..40, (1_u64..3, 1_u64..3), 0..20),
        size in 1_usize..7,
    ) {
        let expected: BTreeMap<BlockId, Expected> = state.into_iter().map(|(inode, (generation, length, leaving))| {
            let leaves = Expected::Leaving { generation: GenStamp::new(generation) };
            (block(inode), if leaving { leaves } else { kept(generation, length) })
        }).collect();
        let all: Vec<Stored> =
            disk.into_iter().map(|(inode, (generation, length))| stored(inode, generation, length)).collect();
        let mut paged = Vec::new();
        let mut after = None;
        let mut rest = all.as_slice();
        loop {
            let (page, left) = rest.split_at(size.min(rest.len()));
            let last = page.last().map(|stored| stored.block);
            let until = if left.is_empty() { None } else { last };
            paged.extend(compare(&expected, &Page { after, stored: page.to_vec(), until }));
            after = last;
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        // The slow way: block by block.
        let mut slow = Vec::new();
        for inode in 1..40 {
            let on_disk = all.iter().find(|stored| stored.block == block(inode));
            match (expected.get(&block(inode)), on_disk) {
                (Some(Expected::Kept { .. }), None) => slow.push(Difference::Missing(block(inode))),
                (Some(Expected::Kept { generation, length, .. }), Some(found))
                    if (*generation, *length) == (found.generation, found.length) => {}
                (Some(Expected::Leaving { generation }), Some(found)) if found.generation <= *generation => {}
                (_, Some(found)) => slow.push(Difference::Unexpected(*found)),
                (Some(Expected::Leaving { .. }) | None, None) => {}
            }
        }
        let order = |difference: &Difference| match difference {
            Difference::Missing(block) => (*block, 0),
            Difference::Unexpected(stored) => (stored.block, 1),
            Difference::Left { block, .. } => (*block, 2),
        };
        paged.sort_by_key(order);
        prop_assert_eq!(paged, slow);
    }
}

fn left(known: Known<'_>, generation: u64, facts: &Facts) -> Verdict {
    judge(known, HERE, &Difference::Left { block: block(1), generation: GenStamp::new(generation) }, facts)
}

#[test]
fn what_nobody_completes_is_dropped_once_its_block_is_whole_or_gone() {
    let facts = facts(ALIVE);
    assert_eq!(left(Known::Removed, 2, &facts), Verdict::Drop);
    assert_eq!(left(Known::NeverHandedOut, 2, &facts), Verdict::Leave);
    assert_eq!(left(Known::Row(&row(&[2, 3, 4], &[], &[])), 2, &facts), Verdict::Drop);
    // Invariant 1.
    let written = BlockRow { state: BlockState::Writing, ..row(&[2, 3, 4], &[], &[]) };
    assert_eq!(left(Known::Row(&written), 2, &facts), Verdict::Wait);
    for listed in [row(&[1, 2, 3], &[], &[]), row(&[2, 3, 4], &[1], &[]), row(&[2, 3, 4], &[], &[1])] {
        assert_eq!(left(Known::Row(&listed), 1, &facts), Verdict::Wait, "{listed:?}");
    }
    // Invariant 2.
    assert_eq!(left(Known::Row(&row(&[2, 3], &[], &[])), 2, &facts), Verdict::Wait);
    assert_eq!(
        left(Known::Row(&row(&[2, 3, 4], &[], &[])), 3, &facts),
        Verdict::Wait,
        "of a state that this one is not"
    );
}
