//! Election timeouts from a seed. The library draws its own from the thread's dice, which no test can repeat.

/// The ticks without a leader after which a member campaigns: `base <= ticks < 2 * base`, by its dice and the term.
pub(crate) fn election_timeout(seed: u64, term: u64, base: usize) -> usize {
    base + (mix(seed ^ mix(term)) % base as u64) as usize
}

/// SplitMix64: near seeds give unrelated numbers.
const fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Two members that time out together split the vote; they must not do so term after term.
    #[test]
    fn timeouts_fill_the_range_and_members_differ() {
        let drawn: BTreeSet<usize> = (0..1000).map(|term| election_timeout(7, term, 16)).collect();
        assert_eq!(drawn, (16..32).collect());
        let together =
            (0..1000).filter(|term| election_timeout(1, *term, 16) == election_timeout(2, *term, 16)).count();
        assert!(together < 120, "{together} of 1000 terms");
    }
}
