//! Block tokens: makes them, and keeps the keys for it.
//!
//! 1. A key signs when every datanode that is well has heard of it, unless there is no other.
//! 2. A key is kept as long as a token that it signed may be good, by whichever member's clock.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use namespace::token_key::TokenKey;
use proto::v1;
use types::token::{Key, Right, Subject};
use types::{BlockId, ClusterId, GenStamp, Timestamp};

use crate::settings::Settings;

/// A key this old is known to every datanode that is heard: some heartbeats have passed.
const SETTLED: Duration = Duration::from_secs(10);
/// How far the clocks of members may be apart.
const APART: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(crate) struct Tokens {
    cluster: ClusterId,
    lifetime: Duration,
    interval: Duration,
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    row: TokenKey,
    key: Key,
}

/// What to ask the state for: another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The id of the newest that is known.
    pub(crate) after: u32,
    /// Keys that signed nothing since then are of no use any more.
    pub(crate) unused_since: Timestamp,
}

impl Tokens {
    pub(crate) fn new(cluster: ClusterId, settings: &Settings) -> Self {
        let (lifetime, interval) = (settings.token_lifetime, settings.token_key_interval);
        Self { cluster, lifetime, interval, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// Takes the keys of the state, oldest first.
    pub(crate) fn load(&self, rows: Vec<TokenKey>) {
        let known = |row: TokenKey| Known { key: Key::new(row.id, &row.secret), row };
        *self.known() = rows.into_iter().map(known).collect();
    }

    /// A token for a block; none before the first key is made.
    pub(crate) fn sign(&self, block: BlockId, generation: GenStamp, right: Right, now: Timestamp) -> Option<v1::Token> {
        let known = self.known();
        let settled = |known: &&Known| known.row.created.saturating_add(SETTLED) <= now;
        let signer = known.iter().rev().find(settled).or_else(|| known.first())?;
        let subject = Subject { cluster: self.cluster, block, generation };
        Some((&signer.key.sign(&subject, right, now.saturating_add(self.lifetime))).into())
    }

    /// The keys, for datanodes.
    pub(crate) fn keys(&self) -> Vec<v1::TokenKey> {
        let wire = |known: &Known| v1::TokenKey { id: known.row.id, secret: known.row.secret.as_bytes().to_vec() };
        self.known().iter().map(wire).collect()
    }

    /// Whether it is time for another key.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Due> {
        let known = self.known();
        let newest = known.last();
        if newest.is_some_and(|newest| now < newest.row.created.saturating_add(self.interval)) {
            return None;
        }
        let good_for = self.lifetime + SETTLED + APART;
        let good_for = u64::try_from(good_for.as_nanos()).unwrap_or(u64::MAX);
        let unused_since = Timestamp::from_nanos(now.nanos().saturating_sub(good_for));
        Some(Due { after: newest.map_or(0, |newest| newest.row.id), unused_since })
    }
}

#[cfg(test)]
mod tests {
    use types::InodeId;
    use types::token::{Keys, Secret, TokenError};

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
    const BLOCK: BlockId = BlockId::new(InodeId::new(9), 1);
    const GENERATION: GenStamp = GenStamp::FIRST;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn tokens() -> Tokens {
        let settings = Settings {
            token_lifetime: Duration::from_secs(100),
            token_key_interval: Duration::from_secs(1000),
            ..Settings::default()
        };
        Tokens::new(CLUSTER, &settings)
    }

    fn key(id: u32, created: u64) -> TokenKey {
        TokenKey { id, secret: Secret::from_bytes([id as u8; 32]), created: at(created) }
    }

    /// Which of the keys signs at a time.
    fn signer(tokens: &Tokens, now: u64) -> Option<u32> {
        let token = proto::token(Some(tokens.sign(BLOCK, GENERATION, Right::Read, at(now))?));
        let subject = Subject { cluster: CLUSTER, block: BLOCK, generation: GENERATION };
        let keys = tokens.keys();
        keys.iter().find_map(|wire| {
            let keys: Keys = proto::token_key(wire).into_iter().collect();
            let good = |now| keys.check(&token, &subject, &[Right::Read], at(now));
            (good(now) == Ok(())).then(|| {
                assert_eq!((good(now + 99), good(now + 100)), (Ok(()), Err(TokenError::Expired)));
                wire.id
            })
        })
    }

    /// Invariant 1.
    #[test]
    fn a_key_signs_once_it_is_known_everywhere() {
        let tokens = tokens();
        assert_eq!(signer(&tokens, 0), None);
        tokens.load(vec![key(1, 50)]);
        assert_eq!(signer(&tokens, 50), Some(1), "there is no other");
        tokens.load(vec![key(1, 50), key(2, 1000)]);
        assert_eq!((signer(&tokens, 1009), signer(&tokens, 1010)), (Some(1), Some(2)));
    }

    /// Invariant 2.
    #[test]
    fn a_key_is_asked_for_when_the_newest_is_old_and_old_ones_stay_as_long_as_their_tokens() {
        let tokens = tokens();
        assert_eq!(tokens.due(at(5000)), Some(Due { after: 0, unused_since: at(5000 - 410) }));
        tokens.load(vec![key(3, 5000)]);
        assert_eq!(tokens.due(at(5999)), None);
        assert_eq!(tokens.due(at(6000)), Some(Due { after: 3, unused_since: at(6000 - 410) }));
    }
}
