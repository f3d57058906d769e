//! Block tokens: what shows a datanode that a namenode lets the bearer do something to a block.
//!
//! A token is for one block in one generation and for one right, until a time. It is made with a key that the namenodes of a
//! cluster share and tell their datanodes; nobody else can make one. The layout is in `docs/formats/token.md`.
//!
//! 1. A token grants the right that it was made for and no other: who may read cannot write, and the other way round.
//! 2. Whoever has no key accepts nothing. A key that is not known is told apart from a token that is forged.
//! 3. Keys and tokens are not shown by [`fmt::Debug`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use minicbor::{Decode, Encode};
use sha2::Sha256;

use crate::{BlockId, ClusterId, Code, GenStamp, Timestamp};

/// Bytes of a token: version (1), right (1), key (4), expiry (8), code (32).
pub const LENGTH: usize = 46;
const VERSION: u8 = 1;
/// What the code is made over begins with this: the same key made for something else never fits.
const DOMAIN: &[u8; 24] = b"ashlar block token 1\0\0\0\0";

/// What a key is made of.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Secret(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    [u8; 32],
);

impl Secret {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What the bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Read the block, over the network or through a descriptor.
    Read,
    /// Write it: begin it, or go on with it in a new generation.
    Write,
    /// Read it to make another replica: for datanodes.
    Copy,
}

impl Right {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Copy];

    const fn number(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Copy => 3,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.number() == number)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Copy => "copy",
        })
    }
}

/// A token as it travels: opaque to all but those who have keys. Empty for none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token(Option<Arc<[u8]>>);

impl Token {
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self((!bytes.is_empty()).then(|| bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Token(..)" } else { "Token(none)" })
    }
}

impl<C> Encode<C> for Token {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Token {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        decoder.bytes().map(Self::from_bytes)
    }

    /// A peer that knows nothing of tokens sends none.
    fn nil() -> Option<Self> {
        Some(Self::default())
    }
}

/// What a token is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub cluster: ClusterId,
    pub block: BlockId,
    pub generation: GenStamp,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("there is no token: ask a namenode for one")]
    Missing,
    #[error("the token cannot be read")]
    Malformed,
    #[error("this node has no keys yet: ask again in a moment")]
    NoKeys,
    #[error("key {key} of the token is not known here: ask again in a moment, or a namenode for another token")]
    UnknownKey { key: u32 },
    #[error("the token is not for this block in this generation, or was not made by a namenode of this cluster")]
    Forged,
    #[error("the token is to {have}, which does not let anybody {wanted}")]
    TooWeak { have: Right, wanted: Right },
    #[error("the time of the token is over: ask a namenode for another")]
    Expired,
}

impl TokenError {
    pub const fn code(self) -> Code {
        match self {
            Self::Missing | Self::Malformed | Self::Forged | Self::TooWeak { .. } => Code::Denied,
            Self::NoKeys | Self::UnknownKey { .. } => Code::Busy,
            Self::Expired => Code::TokenExpired,
        }
    }
}

/// A key that tokens are made and checked with.
#[derive(Clone)]
pub struct Key {
    id: u32,
    code: Hmac<Sha256>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Key {
    pub fn new(id: u32, secret: &Secret) -> Self {
        Self { id, code: Hmac::new_from_slice(&secret.0).expect("a key of any length is taken") }
    }

    pub const fn id(&self) -> u32 {
        self.id
    }

    pub fn sign(&self, subject: &Subject, right: Right, expires: Timestamp) -> Token {
        let code = self.code(subject, right.number(), expires).finalize().into_bytes();
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1] = right.number();
        bytes[2..6].copy_from_slice(&self.id.to_le_bytes());
        bytes[6..14].copy_from_slice(&expires.nanos().to_le_bytes());
        bytes[14..].copy_from_slice(&code);
        Token::from_bytes(&bytes)
    }

    fn code(&self, subject: &Subject, right: u8, expires: Timestamp) -> Hmac<Sha256> {
        let Subject { cluster, block, generation } = subject;
        let mut code = self.code.clone();
        code.update(DOMAIN);
        code.update(cluster.as_bytes());
        code.update(&block.inode().get().to_le_bytes());
        code.update(&block.number().to_le_bytes());
        code.update(&generation.get().to_le_bytes());
        code.update(&[right]);
        code.update(&self.id.to_le_bytes());
        code.update(&expires.nanos().to_le_bytes());
        code
    }
}

/// The keys that somebody knows.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<u32, Key>);

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.id, key)).collect())
    }
}

impl Keys {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Accepts a token that is about `subject` and grants one of `rights`; `now` is the time of the namenodes.
    pub fn check(&self, token: &Token, subject: &Subject, rights: &[Right], now: Timestamp) -> Result<(), TokenError> {
        if self.is_empty() {
            return Err(TokenError::NoKeys);
        }
        let bytes = token.as_bytes();
        if bytes.is_empty() {
            return Err(TokenError::Missing);
        }
        let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| TokenError::Malformed)?;
        let have = Right::from_number(bytes[1]).filter(|_| bytes[0] == VERSION).ok_or(TokenError::Malformed)?;
        let id = u32::from_le_bytes(bytes[2..6].try_into().expect("four bytes"));
        let expires = Timestamp::from_nanos(u64::from_le_bytes(bytes[6..14].try_into().expect("eight bytes")));
        let key = self.0.get(&id).ok_or(TokenError::UnknownKey { key: id })?;
        // What a token says is believed once its code fits.
        key.code(subject, bytes[1], expires).verify_slice(&bytes[14..]).map_err(|_| TokenError::Forged)?;
        if !rights.contains(&have) {
            let wanted = rights.first().copied().expect("something is asked for");
            return Err(TokenError::TooWeak { have, wanted });
        }
        if expires <= now { Err(TokenError::Expired) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::InodeId;

    const SUBJECT: Subject = Subject {
        cluster: ClusterId::from_bytes([7; 16]),
        block: BlockId::new(InodeId::new(0x12_3456), 3),
        generation: GenStamp::new(5),
    };
    const LATER: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);
    const NOW: Timestamp = Timestamp::from_nanos(1_600_000_000_000_000_000);

    fn key(id: u32) -> Key {
        Key::new(id, &Secret::from_bytes([id as u8; 32]))
    }

    fn keys() -> Keys {
        [key(1), key(2)].into_iter().collect()
    }

    /// Golden: a token that was made by an older namenode is good.
    #[test]
    fn the_bytes_of_a_token_stay() {
        let token = key(2).sign(&SUBJECT, Right::Write, LATER);
        let shown: String = token.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, GOLDEN);
        assert_eq!(keys().check(&token, &SUBJECT, &[Right::Write], NOW), Ok(()));
        let mut cbor = Vec::new();
        minicbor::encode(&token, &mut cbor).expect("writing to memory does not fail");
        assert_eq!(minicbor::decode::<Token>(&cbor).expect("reads back"), token);
        assert_eq!(cbor[..2], [0x58, 46]);
    }

    const GOLDEN: &str = "01020200000000002a36fe9c97175f44a9cca3942c52308087235e6384ebcf7590d0503d49366000ced575dcee95";

    /// Invariant 1.
    #[test]
    fn a_token_grants_its_own_right_alone() {
        for have in Right::ALL {
            let token = key(1).sign(&SUBJECT, have, LATER);
            for wanted in Right::ALL {
                let expected = if have == wanted { Ok(()) } else { Err(TokenError::TooWeak { have, wanted }) };
                assert_eq!(keys().check(&token, &SUBJECT, &[wanted], NOW), expected);
            }
        }
    }

    #[test]
    fn a_token_is_for_one_block_one_generation_one_cluster_and_a_time() {
        let token = key(1).sign(&SUBJECT, Right::Read, LATER);
        let check = |subject, now| keys().check(&token, &subject, &[Right::Read, Right::Copy], now);
        assert_eq!(check(SUBJECT, NOW), Ok(()));
        assert_eq!(check(SUBJECT, LATER), Err(TokenError::Expired));
        let others = [
            Subject { cluster: ClusterId::from_bytes([8; 16]), ..SUBJECT },
            Subject { block: BlockId::new(InodeId::new(0x12_3456), 4), ..SUBJECT },
            Subject { block: BlockId::new(InodeId::new(0x12_3457), 3), ..SUBJECT },
            Subject { generation: GenStamp::new(6), ..SUBJECT },
        ];
        for other in others {
            assert_eq!(check(other, NOW), Err(TokenError::Forged), "{other:?}");
        }
    }

    /// Invariant 2.
    #[test]
    fn without_its_key_a_token_is_neither_accepted_nor_called_forged() {
        let check = |keys: &Keys, token: &Token| keys.check(token, &SUBJECT, &[Right::Read], NOW);
        let token = key(9).sign(&SUBJECT, Right::Read, LATER);
        assert_eq!(check(&keys(), &token), Err(TokenError::UnknownKey { key: 9 }));
        assert_eq!(check(&Keys::default(), &token), Err(TokenError::NoKeys));
        assert_eq!(check(&Keys::default(), &Token::default()), Err(TokenError::NoKeys));
        assert_eq!(check(&keys(), &Token::default()), Err(TokenError::Missing));
        let foreign = Key::new(1, &Secret::from_bytes([99; 32])).sign(&SUBJECT, Right::Read, LATER);
        assert_eq!(check(&keys(), &foreign), Err(TokenError::Forged));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = key(1).sign(&SUBJECT, Right::Read, LATER);
        for bit in 0..8 * LENGTH {
            let mut bytes = good.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bad = Token::from_bytes(&bytes);
            assert!(keys().check(&bad, &SUBJECT, &[Right::Read], NOW).is_err(), "bit {bit}");
        }
    }

    /// Invariant 3.
    #[test]
    fn secrets_are_not_shown() {
        let token = key(1).sign(&SUBJECT, Right::Read, LATER);
        let secret = Secret::from_bytes([7; 32]);
        let shown = format!("{secret:?} {token:?} {:?} {:?} {:?}", Token::default(), key(1), keys());
        assert_eq!(
            shown,
            "Secret(..) Token(..) Token(none) Key { id: 1, .. } Keys({1: Key { id: 1, .. }, 2: Key { id: 2, .. }})"
        );
    }

    proptest! {
        #[test]
        fn rubbish_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(keys().check(&Token::from_bytes(&bytes), &SUBJECT, &[Right::Read], NOW).is_err());
        }
    }
}
