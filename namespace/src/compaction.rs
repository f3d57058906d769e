//! Which parts of files are worth joining: a file that was written in small pieces is read in as many.
//!
//! 1. Only short extents are joined, without holes between them, and only where there are several: long ones are read fast enough.
//! 2. No piece is more than half of what it is joined to. So what is joined again has at least doubled since: a log that grows
//!    line by line is written a few times more than once, not once for each line.
//! 3. What was joined is one extent. Joining so comes to an end, without anything being remembered.

use types::{ByteSize, InodeId};

use crate::command::Joined;
use crate::limits::MAX_JOINED;

/// An extent as long as this is read about as fast as any.
pub const SHORT: ByteSize = ByteSize::kib(256);
/// Fewer are left as they are.
pub const LEAST: usize = 16;
/// The longest block that is made of pieces: others wait for it.
pub const LONGEST: ByteSize = ByteSize::mib(16);

/// Pieces of one file, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub inode: InodeId,
    pub pieces: Vec<Joined>,
}

impl Run {
    pub fn bytes(&self) -> ByteSize {
        ByteSize::new(bytes(&self.pieces))
    }

    /// What of it a block of so many bytes holds, if that is worth it still.
    #[must_use]
    pub fn that_fits(mut self, block_size: ByteSize) -> Option<Self> {
        let mut left = block_size.get();
        let fits = self.pieces.iter().take_while(|piece| match left.checked_sub(piece.length.get()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
        let count = fits.count();
        self.pieces.truncate(count);
        is_worth_it(&self.pieces).then_some(self)
    }
}

/// Is told of all extents of a file in their order, and of one file after the other.
#[derive(Debug, Default)]
pub struct Planner {
    inode: Option<InodeId>,
    pieces: Vec<Joined>,
}

impl Planner {
    /// The next extent. Gives what can be joined of those before it.
    pub fn next(&mut self, inode: InodeId, extent: Joined) -> Vec<Run> {
        let follows = self.inode == Some(inode)
            && self.pieces.last().is_none_or(|last| last.offset + last.length.get() == extent.offset)
            && self.pieces.len() < MAX_JOINED
            && bytes(&self.pieces) + extent.length.get() <= LONGEST.get();
        let is_short = extent.length > ByteSize::ZERO && extent.length < SHORT;
        let runs = if follows && is_short { Vec::new() } else { self.end() };
        if is_short {
            self.inode = Some(inode);
            self.pieces.push(extent);
        }
        runs
    }

    /// There are no more. Gives what can be joined of the last ones.
    pub fn end(&mut self) -> Vec<Run> {
        let pieces = std::mem::take(&mut self.pieces);
        let Some(inode) = self.inode.take() else { return Vec::new() };
        let mut runs = Vec::new();
        divide(&pieces, &mut |pieces| runs.push(Run { inode, pieces: pieces.to_vec() }));
        runs
    }
}

/// Leaves the longest out where it is too long for the others (invariant 2).
fn divide(pieces: &[Joined], found: &mut impl FnMut(&[Joined])) {
    let mut rest = vec![pieces];
    while let Some(pieces) = rest.pop() {
        if is_worth_it(pieces) {
            found(pieces);
        } else if pieces.len() >= LEAST {
            let (longest, _) = longest(pieces);
            rest.push(&pieces[longest + 1..]);
            rest.push(&pieces[..longest]);
        }
    }
}

fn is_worth_it(pieces: &[Joined]) -> bool {
    pieces.len() >= LEAST && longest(pieces).1.saturating_mul(2) <= bytes(pieces)
}

fn bytes(pieces: &[Joined]) -> u64 {
    pieces.iter().map(|piece| piece.length.get()).sum()
}

/// Where the longest is, and how long.
fn longest(pieces: &[Joined]) -> (usize, u64) {
    let lengths = pieces.iter().map(|piece| piece.length.get()).enumerate();
    lengths.max_by_key(|(_, length)| *length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use types::{BlockId, BlockOffset};

    use super::*;

    const FILE: InodeId = InodeId::new(7);

    fn extent(offset: u64, length: u64) -> Joined {
        let block = BlockId::new(InodeId::new(1), 0);
        Joined { offset, length: ByteSize::new(length), block, block_offset: BlockOffset::ZERO }
    }

    /// Offsets and lengths of what is joined in a file of such extents and holes (negative).
    fn plan(extents: &[i64]) -> Vec<(u64, usize)> {
        let (mut planner, mut at, mut runs) = (Planner::default(), 0, Vec::new());
        for length in extents {
            if *length > 0 {
                runs.extend(planner.next(FILE, extent(at, *length as u64)));
            }
            at += length.unsigned_abs();
        }
        runs.extend(planner.end());
        runs.iter().map(|run| (run.pieces[0].offset, run.pieces.len())).collect()
    }

    /// Invariant 1.
    #[test]
    fn short_extents_are_joined_where_there_are_several_without_a_hole() {
        assert_eq!(plan(&[100; 15]), []);
        assert_eq!(plan(&[100; 16]), [(0, 16)]);
        let long = SHORT.get() as i64;
        assert_eq!(plan(&[vec![100; 16], vec![long], vec![100; 15]].concat()), [(0, 16)]);
        assert_eq!(plan(&[vec![100; 8], vec![-1], vec![100; 8]].concat()), []);
        assert_eq!(plan(&[vec![100; 20], vec![-50], vec![100; 20]].concat()), [(0, 20), (2050, 20)]);
        assert_eq!(plan(&[long; 40]), []);
    }

    #[test]
    fn a_run_is_bounded_in_pieces_and_bytes_and_ends_with_its_file() {
        assert_eq!(plan(&[10; MAX_JOINED + 20]), [(0, MAX_JOINED), (10 * MAX_JOINED as u64, 20)]);
        let (length, most) = (200 << 10, (LONGEST.get() / (200 << 10)) as usize);
        assert_eq!(plan(&vec![length; most + 16]), [(0, most), (most as u64 * length as u64, 16)]);
        let mut planner = Planner::default();
        for (inode, at) in (0..16).flat_map(|at| [(1, at), (2, at)]) {
            assert_eq!(planner.next(InodeId::new(inode), extent(10 * at, 10)), [], "of two files in turn");
        }
        assert_eq!(planner.end(), []);
    }

    /// Invariant 2.
    #[test]
    fn what_is_long_waits_until_as_much_has_come_to_it() {
        assert_eq!(plan(&[vec![10_000], vec![100; 99]].concat()), [(10_000, 99)]);
        assert_eq!(plan(&[vec![9900], vec![100; 99]].concat()), [(0, 100)]);
        assert_eq!(plan(&[vec![100; 20], vec![200_000], vec![100; 20]].concat()), [(0, 20), (202_000, 20)]);
    }

    #[test]
    fn a_short_block_holds_what_fits_if_that_is_worth_it() {
        let pieces = |count: u64| (0..count).map(|number| extent(100 * number, 100)).collect::<Vec<_>>();
        let run = Run { inode: FILE, pieces: pieces(40) };
        assert_eq!(run.clone().that_fits(ByteSize::new(4000)), Some(run.clone()));
        assert_eq!(run.clone().that_fits(ByteSize::new(1999)), Some(Run { pieces: pieces(19), ..run.clone() }));
        assert_eq!(run.that_fits(ByteSize::new(1599)), None);
    }

    proptest! {
        /// Invariants 2 and 3: a log that is joined after any number of lines.
        #[test]
        fn joining_comes_to_an_end_and_writes_no_byte_often(
            batches in prop::collection::vec(prop::collection::vec(1_u64..3000, 1..200), 1..12),
        ) {
            // The length of each extent, and how often its bytes have been written.
            let mut extents: Vec<(u64, u32)> = Vec::new();
            for batch in batches {
                extents.extend(batch.iter().map(|length| (*length, 0)));
                let mut passes = 0;
                loop {
                    let lengths: Vec<i64> = extents.iter().map(|(length, _)| *length as i64).collect();
                    let runs = plan(&lengths);
                    if runs.is_empty() {
                        break;
                    }
                    passes += 1;
                    prop_assert!(passes < 20);
                    let mut starts = Vec::new();
                    let mut at = 0;
                    for (length, _) in &extents {
                        starts.push(at);
                        at += length;
                    }
                    for (offset, count) in runs.into_iter().rev() {
                        let first = starts.binary_search(&offset).expect("it begins with an extent");
                        let joined: Vec<_> = extents.drain(first..first + count).collect();
                        let length = joined.iter().map(|(length, _)| length).sum();
                        let often = joined.iter().map(|(_, often)| often + 1).max().expect("several");
                        extents.insert(first, (length, often));
                    }
                }
            }
            let most = SHORT.get().ilog2() + 1;
            prop_assert!(extents.iter().all(|(_, often)| *often <= most), "{extents:?}");
        }
    }
}
