//! Who may do what to a block: the keys that the leader told, and its time.
//!
//! 1. Before a leader was heard nothing is allowed, and whoever asks is told to ask again.
//! 2. Time goes on by this node's own steady clock, from what the last leader said: what people do to clocks here does not
//!    matter.

use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use proto::v1;
use tracing::warn;
use types::token::{Keys, Right, Subject, Token, TokenError};
use types::{BlockId, ClusterId, GenStamp, Timestamp};

#[derive(Debug)]
pub(crate) struct Tokens {
    cluster: ClusterId,
    heard: RwLock<Option<Heard>>,
}

#[derive(Debug)]
struct Heard {
    keys: Keys,
    now: Timestamp,
    at: Instant,
}

impl Tokens {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self { cluster, heard: RwLock::default() }
    }

    /// What a leader says. One that has no keys yet takes none away.
    pub(crate) fn hear(&self, now: Timestamp, keys: &[v1::TokenKey]) {
        let keys = match keys.iter().map(proto::token_key).collect::<Result<Keys, _>>() {
            Ok(keys) if !keys.is_empty() => keys,
            Ok(_) => return,
            Err(error) => return warn!(%error, "the keys of block tokens cannot be read"),
        };
        let heard = Heard { keys, now, at: Instant::now() };
        *self.heard.write().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    }

    pub(crate) fn are_known(&self) -> bool {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the bearer may do one of `rights` to a block.
    pub(crate) fn check(
        &self,
        token: &Token,
        block: BlockId,
        generation: GenStamp,
        rights: &[Right],
    ) -> Result<(), TokenError> {
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Heard { keys, now, at }) = &*heard else { return Err(TokenError::NoKeys) };
        let subject = Subject { cluster: self.cluster, block, generation };
        keys.check(token, &subject, rights, now.saturating_add(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use types::InodeId;
    use types::token::{Key, Secret};

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
    const BLOCK: BlockId = BlockId::new(InodeId::new(9), 1);

    fn key(id: u32) -> v1::TokenKey {
        v1::TokenKey { id, secret: vec![id as u8; 32] }
    }

    fn token(id: u32, expires: Timestamp) -> Token {
        let subject = Subject { cluster: CLUSTER, block: BLOCK, generation: GenStamp::FIRST };
        Key::new(id, &Secret::from_bytes([id as u8; 32])).sign(&subject, Right::Read, expires)
    }

    /// Invariants 1 and 2.
    #[test]
    fn keys_and_time_are_those_that_the_leader_told() {
        let tokens = Tokens::new(CLUSTER);
        let check = |token: &Token| tokens.check(token, BLOCK, GenStamp::FIRST, &[Right::Read]);
        // Long ago by any clock of today.
        let then = Timestamp::from_nanos(1_000_000_000_000);
        let good = token(1, then.saturating_add(Duration::from_secs(3600)));
        assert_eq!(check(&good), Err(TokenError::NoKeys));
        tokens.hear(then, &[]);
        assert_eq!(check(&good), Err(TokenError::NoKeys));
        tokens.hear(then, &[key(1)]);
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&token(1, then)), Err(TokenError::Expired));
        tokens.hear(then, &[key(1), v1::TokenKey { id: 2, secret: vec![2; 31] }]);
        assert_eq!(check(&good), Ok(()), "rubbish changes nothing");
        tokens.hear(then, &[key(2)]);
        assert_eq!(check(&good), Err(TokenError::UnknownKey { key: 1 }));
        assert_eq!(check(&token(2, then.saturating_add(Duration::from_secs(3600)))), Ok(()));
    }
}
