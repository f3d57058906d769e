//! What a snapshot consists of.
//!
//! ```text
//! version (2) | CBOR: [index, term, group, [[name, length, CRC-32], ..]] | CRC-32 of all before (big-endian)
//! ```
//!
//! Version 1 had the ids of the voting members in the place of the group.

use minicbor::{Decode, Encode};

use crate::group::Group;

/// Of manifests and of applied states.
const VERSION: u8 = 2;
const VOTERS_ONLY: u8 = 1;
/// More files than any store has.
const FILES: usize = 1 << 20;

/// How far a state has come, and with whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct AppliedState {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub term: u64,
    /// As of `index`.
    #[n(2)]
    pub group: Group,
}

#[derive(Debug, Decode)]
struct AppliedState1 {
    #[n(0)]
    index: u64,
    #[n(1)]
    term: u64,
    #[n(2)]
    voters: Vec<u64>,
}

impl AppliedState {
    /// A version, and CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes.split_first() {
            Some((&VERSION, body)) => minicbor::decode(body).map_err(|error| error.to_string()),
            Some((&VOTERS_ONLY, body)) => {
                let old: AppliedState1 = minicbor::decode(body).map_err(|error| error.to_string())?;
                Ok(Self { index: old.index, term: old.term, group: Group::of(&old.voters) })
            }
            Some((version, _)) => Err(format!("its version {version} is unknown")),
            None => Err("it is empty".to_owned()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    #[n(0)]
    pub index: u64,
    #[n(1)]
    pub term: u64,
    /// As of `index`.
    #[n(2)]
    pub group: Group,
    #[n(3)]
    pub files: Vec<ManifestFile>,
}

#[derive(Debug, Decode)]
struct Manifest1 {
    #[n(0)]
    index: u64,
    #[n(1)]
    term: u64,
    #[n(2)]
    voters: Vec<u64>,
    #[n(3)]
    files: Vec<ManifestFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ManifestFile {
    /// A plain name, without a directory.
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub length: u64,
    #[n(2)]
    pub crc: u32,
}

impl Manifest {
    pub fn new(applied: AppliedState, files: Vec<ManifestFile>) -> Self {
        Self { index: applied.index, term: applied.term, group: applied.group, files }
    }

    /// Index and term.
    pub fn at(&self) -> (u64, u64) {
        (self.index, self.term)
    }

    /// The state that the files hold.
    pub fn applied(&self) -> AppliedState {
        AppliedState { index: self.index, term: self.term, group: self.group.clone() }
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    pub fn file(&self, name: &str) -> Option<&ManifestFile> {
        self.files.iter().find(|file| file.name == name)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_be_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) made, and checks that every name is one of a file in a directory.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let split = bytes.len().checked_sub(4).ok_or("it is too short")?;
        let (head, crc) = bytes.split_at(split);
        if crc != crc32fast::hash(head).to_be_bytes() {
            return Err("its checksum differs".to_owned());
        }
        let manifest: Self = match head.split_first() {
            Some((&VERSION, body)) => minicbor::decode(body).map_err(|error| error.to_string())?,
            Some((&VOTERS_ONLY, body)) => {
                let old: Manifest1 = minicbor::decode(body).map_err(|error| error.to_string())?;
                Self { index: old.index, term: old.term, group: Group::of(&old.voters), files: old.files }
            }
            Some((version, _)) => return Err(format!("its version {version} is unknown")),
            None => return Err("it is empty".to_owned()),
        };
        if manifest.files.len() > FILES {
            return Err(format!("it has {} files", manifest.files.len()));
        }
        match manifest.files.iter().find(|file| !plain(&file.name)) {
            Some(file) => Err(format!("{:?} is not the name of a file", file.name)),
            None => Ok(manifest),
        }
    }
}

/// Whether a name from the network may be joined to a directory.
fn plain(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str) -> Manifest {
        let files = vec![ManifestFile { name: name.to_owned(), length: 9, crc: 7 }];
        Manifest { index: 5, term: 2, group: Group::of(&[1, 2]), files }
    }

    /// Golden: members of different versions exchange it.
    #[test]
    fn the_bytes_are_stable_and_damage_is_refused() {
        let bytes = manifest("CURRENT").encode();
        let group = b"\x88\x82\x01\x02\x80\x80\x80\xf4\x82\x82\x01\x60\x82\x02\x60\x80\x00";
        let golden = [b"\x02\x84\x05\x02", &group[..], b"\x81\x83\x67CURRENT\x09\x07"].concat();
        assert_eq!(bytes[..bytes.len() - 4], golden);
        assert_eq!(Manifest::decode(&bytes), Ok(manifest("CURRENT")));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Manifest::decode(&damaged).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "length {at}");
        }
    }

    /// Golden: what the version before wrote is still read.
    #[test]
    fn voters_alone_are_read_as_a_group() {
        let mut bytes = b"\x01\x84\x05\x02\x82\x01\x02\x81\x83\x67CURRENT\x09\x07".to_vec();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(Manifest::decode(&bytes), Ok(manifest("CURRENT")));
        let applied = AppliedState { index: 5, term: 2, group: Group::of(&[1, 2]) };
        assert_eq!(AppliedState::decode(b"\x01\x83\x05\x02\x82\x01\x02"), Ok(applied.clone()));
        assert_eq!(AppliedState::decode(&applied.encode()), Ok(applied));
        assert!(AppliedState::decode(b"").is_err() && AppliedState::decode(b"\x03\x80").is_err());
    }

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        for name in ["", ".", "..", "../state", "a/b", "/etc/passwd", ".hidden", "a\0b", &"x".repeat(256)] {
            assert!(Manifest::decode(&manifest(name).encode()).is_err(), "{name:?}");
        }
    }
}
