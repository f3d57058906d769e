//! What is kept with an object and given back with it, as it stands in the state: a byte of version, then CBOR by field
//! number. The namenodes do not look into it. All doors that know of objects read and write it in this form.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

const VERSION: u8 = 1;

/// What the writer of an object said of it, besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Properties {
    #[n(0)]
    pub content_type: Option<String>,
    #[n(1)]
    pub cache_control: Option<String>,
    #[n(2)]
    pub content_disposition: Option<String>,
    #[n(3)]
    pub content_encoding: Option<String>,
    #[n(4)]
    pub content_language: Option<String>,
    #[n(5)]
    pub expires: Option<String>,
    /// The user's own, by name without the prefix.
    #[n(6)]
    pub metadata: BTreeMap<String, String>,
    #[n(7)]
    pub checksum: Option<Checksum>,
}

/// A checksum of the content, in base 64.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Checksum {
    #[n(0)]
    pub algorithm: Algorithm,
    #[n(1)]
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Algorithm {
    #[n(0)]
    Crc32,
    #[n(1)]
    Crc32c,
    #[n(2)]
    Crc64Nvme,
    #[n(3)]
    Sha1,
    #[n(4)]
    Sha256,
}

impl Algorithm {
    /// As headers and answers name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];
        all.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Bytes of its sums.
    pub const fn size(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

impl Checksum {
    /// That of an object which was put together of parts may be made of theirs.
    pub fn is_composite(&self) -> bool {
        self.value.contains('-')
    }
}

impl Properties {
    /// As it is given to [`PutOptions::properties`](super::PutOptions).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        bytes
    }

    /// Of an object that another door has written there are none; what does not read counts as none, and is told of.
    pub fn decode(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            None => Self::default(),
            Some((&VERSION, body)) => minicbor::decode(body).unwrap_or_else(|error| {
                tracing::warn!(%error, "the properties of an object do not read");
                Self::default()
            }),
            Some((version, _)) => {
                tracing::warn!(version, "the properties of an object are of a later version");
                Self::default()
            }
        }
    }

    /// Bytes of the user's metadata, names and values.
    pub fn metadata_size(&self) -> usize {
        self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keep_their_bytes() {
        let checksum = Some(Checksum { algorithm: Algorithm::Crc32c, value: "AAAAAA==".to_owned() });
        let metadata = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let properties = Properties { content_type: Some("t".to_owned()), metadata, checksum, ..Properties::default() };
        let bytes = properties.encode();
        assert_eq!(hex::encode(&bytes), "01886174f6f6f6f6f6a1616161318201684141414141413d3d");
        assert_eq!(Properties::decode(&bytes), properties);
        assert_eq!(Properties::decode(&[]), Properties::default());
        assert_eq!(Properties::decode(b"\x01rubbish"), Properties::default());
        assert_eq!(Properties::decode(&[9]), Properties::default());
    }
}
