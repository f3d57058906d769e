//! Decides how a block ends whose writer is lost: what its replicas can offer in, length and survivors out.
//!
//! 1. The length is never below what readers were shown, and never beyond what every survivor holds.
//! 2. As long as one replica was never interrupted, no byte that the writer was acknowledged is left out: each
//!    uninterrupted replica holds all of those.
//! 3. The outcome does not depend on the order of the offers.

use types::{ByteSize, StorageId};

/// What a datanode has of the block: so much from its beginning matches the checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub storage: StorageId,
    pub length: ByteSize,
    /// The datanode has run since it took the bytes, and all of them verify. One that was restarted may have lost its
    /// last ones.
    pub intact: bool,
}

/// What the attempt knows of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What readers were shown.
    pub visible: ByteSize,
    /// The block is at most so long.
    pub block_size: ByteSize,
    /// Not a byte more than is visible may stay: a quota forbids it.
    pub only_visible: bool,
}

/// How the block ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub length: ByteSize,
    /// In the order of their ids.
    pub survivors: Vec<StorageId>,
}

/// The ending that the offers allow; none if no replica has what readers were shown. An ending without a byte has no
/// survivors.
pub fn ending(offers: &[Offer], bounds: Bounds) -> Option<Ending> {
    let Bounds { visible, block_size, only_visible } = bounds;
    let fit = |offer: &&Offer| (visible..=block_size).contains(&offer.length);
    let lengths = |intact: bool| offers.iter().filter(fit).filter(move |offer| offer.intact == intact);
    // Those that may have lost something do not shorten what the others have.
    let shortest = lengths(true).map(|offer| offer.length).min();
    let longest_interrupted = || lengths(false).map(|offer| offer.length).max();
    let found = shortest.or_else(longest_interrupted);
    let length = match found {
        Some(_) if only_visible => visible,
        Some(length) => length,
        None if visible == ByteSize::ZERO => ByteSize::ZERO,
        None => return None,
    };
    let mut survivors: Vec<StorageId> =
        offers.iter().filter(fit).filter(|offer| offer.length >= length).map(|offer| offer.storage).collect();
    survivors.sort_unstable();
    if length == ByteSize::ZERO {
        survivors.clear();
    }
    Some(Ending { length, survivors })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(storage: u8, length: u64, intact: bool) -> Offer {
        Offer { storage: StorageId::from_bytes([storage; 16]), length: ByteSize::new(length), intact }
    }

    fn bounds(visible: u64) -> Bounds {
        Bounds { visible: ByteSize::new(visible), block_size: ByteSize::new(100), only_visible: false }
    }

    fn chosen(offers: &[Offer], bounds: Bounds) -> Option<(u64, Vec<u8>)> {
        let Ending { length, survivors } = ending(offers, bounds)?;
        Some((length.get(), survivors.iter().map(|storage| storage.as_bytes()[0]).collect()))
    }

    #[test]
    fn the_longest_common_prefix_of_the_uninterrupted_is_kept() {
        let offers = [offer(3, 9, true), offer(1, 7, true), offer(2, 8, false), offer(4, 6, false)];
        assert_eq!(chosen(&offers, bounds(5)), Some((7, vec![1, 2, 3])));
        assert_eq!(chosen(&offers[2..], bounds(5)), Some((8, vec![2])), "among the interrupted, most is best");
        assert_eq!(chosen(&offers, bounds(8)), Some((9, vec![3])), "what lost visible bytes does not count");
    }

    #[test]
    fn nothing_ends_below_what_was_visible() {
        assert_eq!(chosen(&[offer(1, 4, true)], bounds(5)), None);
        assert_eq!(chosen(&[], bounds(5)), None);
        assert_eq!(chosen(&[], bounds(0)), Some((0, vec![])));
        assert_eq!(chosen(&[offer(1, 0, true)], bounds(0)), Some((0, vec![])));
    }

    #[test]
    fn a_datanode_that_claims_too_much_is_left_out() {
        assert_eq!(chosen(&[offer(1, 101, true), offer(2, 6, true)], bounds(5)), Some((6, vec![2])));
    }

    #[test]
    fn where_a_quota_is_full_only_what_was_visible_stays() {
        let bounds = Bounds { only_visible: true, ..bounds(5) };
        assert_eq!(chosen(&[offer(1, 7, true), offer(2, 5, false)], bounds), Some((5, vec![1, 2])));
    }

    proptest! {
        #[test]
        fn every_ending_keeps_its_promises(
            offers in prop::collection::vec((0_u64..120, any::<bool>()), 0..5),
            visible in 0_u64..60,
            only_visible: bool,
        ) {
            let offers: Vec<Offer> =
                (0_u8..).zip(offers).map(|(storage, (length, intact))| offer(storage, length, intact)).collect();
            let bounds = Bounds { only_visible, ..bounds(visible) };
            let found = ending(&offers, bounds);
            let reversed: Vec<Offer> = offers.iter().rev().copied().collect();
            prop_assert_eq!(&ending(&reversed, bounds), &found, "invariant 3");
            let enough = |offer: &&Offer| offer.length >= bounds.visible && offer.length <= bounds.block_size;
            let Some(Ending { length, survivors }) = found else {
                prop_assert!(visible > 0 && !offers.iter().any(|offer| enough(&offer)));
                return Ok(());
            };
            prop_assert!(length >= bounds.visible, "invariant 1");
            prop_assert!(survivors.is_empty() == (length == ByteSize::ZERO));
            for survivor in &survivors {
                prop_assert!(offers.iter().any(|offer| offer.storage == *survivor && offer.length >= length));
            }
            // The writer was acknowledged at most what every uninterrupted replica has.
            let acknowledged = offers.iter().filter(|offer| offer.intact).map(|offer| offer.length).min();
            if let Some(acknowledged) = acknowledged.filter(|length| (bounds.visible..=bounds.block_size).contains(length)) {
                prop_assert!(only_visible || length >= acknowledged, "invariant 2");
            }
        }
    }
}
