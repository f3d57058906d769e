//! Keys of block tokens. The namenodes share them through the state, and tell their datanodes.
//!
//! A key signs from some time after it was made, when every datanode has heard of it, until the next one does; it is kept until no
//! token that was made with it can be good any more.

use minicbor::{Decode, Encode};
use types::Timestamp;
use types::token::Secret;

/// No more are kept, whatever they are kept for.
pub(crate) const MAX_KEYS: usize = 16;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenKey {
    /// Counted from 1.
    #[n(0)]
    pub id: u32,
    #[n(1)]
    pub secret: Secret,
    #[n(2)]
    pub created: Timestamp,
}

/// Those that are kept, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct TokenKeysRow {
    #[n(0)]
    pub(crate) keys: Vec<TokenKey>,
}

impl TokenKeysRow {
    /// The id of the newest; 0 for none.
    pub(crate) fn newest(&self) -> u32 {
        self.keys.last().map_or(0, |key| key.id)
    }

    /// Adds a key, and drops those whose successor was made before `unused_since`: nothing was signed with them since.
    pub(crate) fn add(&mut self, secret: Secret, created: Timestamp, unused_since: Timestamp) {
        self.keys.push(TokenKey { id: self.newest().saturating_add(1), secret, created });
        let unused = self.keys.windows(2).take_while(|pair| pair[1].created < unused_since).count();
        self.keys.drain(..unused.max(self.keys.len().saturating_sub(MAX_KEYS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn ids(row: &TokenKeysRow) -> Vec<u32> {
        row.keys.iter().map(|key| key.id).collect()
    }

    #[test]
    fn a_key_is_kept_as_long_as_what_it_signed_may_be_good() {
        let mut row = TokenKeysRow::default();
        for (number, time) in [(1, 100), (2, 200), (3, 300)] {
            row.add(Secret::from_bytes([number; 32]), at(time), at(150));
        }
        // The first stopped signing at 200, when the second was made.
        assert_eq!(ids(&row), [1, 2, 3]);
        row.add(Secret::from_bytes([4; 32]), at(400), at(201));
        assert_eq!(ids(&row), [2, 3, 4]);
        row.add(Secret::from_bytes([5; 32]), at(500), at(450));
        assert_eq!(ids(&row), [4, 5]);
        assert_eq!(row.newest(), 5);
    }

    #[test]
    fn no_more_keys_are_kept_than_there_is_room_for_and_ids_go_on() {
        let mut row = TokenKeysRow::default();
        for time in 0..100 {
            row.add(Secret::from_bytes([1; 32]), at(time), at(0));
        }
        assert_eq!(ids(&row), (85..=100).collect::<Vec<u32>>());
    }
}
