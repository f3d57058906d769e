//! The bytes of one log entry: many requests behind one byte of format version (see `docs/formats/log.md`).

use minicbor::{Decode, Encode};

use crate::command::Request;

/// The format that is written. A reader keeps every older one.
pub const VERSION: u8 = 1;
/// No entry is longer. Far above what a leader packs into one, so that only rubbish meets it.
pub const MAX_ENTRY: usize = 64 << 20;

/// What one log entry holds: requests that are applied in this order and stored together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Batch {
    #[n(0)]
    pub requests: Vec<Request>,
}

/// Why bytes are not a log entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the entry is empty")]
    Empty,
    #[error("the entry has {length} bytes; at most {MAX_ENTRY} are read")]
    TooLong { length: usize },
    #[error("the entry has format {found}; this version reads up to {VERSION}")]
    Version { found: u8 },
    #[error("the entry is damaged: {reason}")]
    Malformed { reason: String },
    #[error("{extra} bytes follow the end of the entry")]
    Trailing { extra: usize },
}

impl Batch {
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

impl Request {
    /// One request on its own, in the same form as a whole entry.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }
}

fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(VERSION);
    minicbor::encode(value, &mut bytes).expect("writing to memory does not fail");
    bytes
}

fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_ENTRY {
        return Err(DecodeError::TooLong { length: bytes.len() });
    }
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != VERSION {
        return Err(DecodeError::Version { found: *version });
    }
    let mut decoder = minicbor::Decoder::new(body);
    let value = decoder.decode().map_err(|error| DecodeError::Malformed { reason: error.to_string() })?;
    match body.len() - decoder.position() {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { extra }),
    }
}
