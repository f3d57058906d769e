//! The digests of a body on its way in: MD5 for the etag where that is wanted, and the checksum that came with it or the one that objects
//! without one get. A long body is digested on a thread of its own, beside the sending.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::properties::{Algorithm, Checksum};

/// Up to this length a body is digested where it is received.
const SHORT: usize = 128 << 10;
/// Chunks that wait for the thread.
const WAITING: usize = 4;

/// One running checksum.
enum Sum {
    Crc(Crc),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Sum {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc(Crc::new(CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc32c => Self::Crc(Crc::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Crc64Nvme => Self::Crc(Crc::new(CrcAlgorithm::Crc64Nvme)),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc) => crc.update(bytes),
            Self::Sha1(sha) => sha.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    fn finish(self, algorithm: Algorithm) -> Vec<u8> {
        match self {
            Self::Crc(crc) => {
                let value = crc.finalize().to_be_bytes();
                value[value.len() - algorithm.size()..].to_vec()
            }
            Self::Sha1(sha) => sha.finalize().to_vec(),
            Self::Sha256(sha) => sha.finalize().to_vec(),
        }
    }
}

/// The checksum of bytes that are all here.
pub(crate) fn of(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut sum = Sum::new(algorithm);
    sum.update(bytes);
    sum.finish(algorithm)
}

/// A checksum as it is written in headers.
pub(crate) fn text(sum: &[u8]) -> String {
    BASE64_STANDARD.encode(sum)
}

/// The bytes of a checksum, if it is one of its algorithm.
pub(crate) fn raw(checksum: &Checksum) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(&checksum.value).ok().filter(|raw| raw.len() == checksum.algorithm.size())
}

/// The checksum of pieces that follow each other, from the checksums and lengths of the pieces. None if the algorithm
/// needs the bytes for that.
pub(crate) fn joined(algorithm: Algorithm, pieces: &[(Vec<u8>, u64)]) -> Option<Vec<u8>> {
    let crc = match algorithm {
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Sha1 | Algorithm::Sha256 => return None,
    };
    let number = |sum: &[u8]| sum.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let joined = pieces.iter().fold(None, |before, (sum, length)| match before {
        None => Some(number(sum)),
        Some(before) => Some(crc_fast::checksum_combine(crc, before, number(sum), *length)),
    });
    let bytes = joined?.to_be_bytes();
    Some(bytes[bytes.len() - algorithm.size()..].to_vec())
}

/// What is to be computed of a body. The MD5 costs more than everything else that is done with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) algorithm: Algorithm,
    pub(crate) md5: bool,
}

pub(crate) struct Digests {
    md5: Option<Md5>,
    algorithm: Algorithm,
    sum: Sum,
}

/// What the bytes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digested {
    /// Where it was wanted.
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksum: Checksum,
}

impl Digested {
    /// The MD5 in hexadecimal digits.
    ///
    /// # Panics
    /// If it was not wanted.
    pub(crate) fn md5_digits(&self) -> String {
        hex::encode(self.md5.expect("it was asked for where it is used"))
    }
}

impl Digests {
    pub(crate) fn new(Wanted { algorithm, md5 }: Wanted) -> Self {
        Self { md5: md5.then(Md5::new), algorithm, sum: Sum::new(algorithm) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.sum.update(bytes);
    }

    pub(crate) fn finish(self) -> Digested {
        let value = BASE64_STANDARD.encode(self.sum.finish(self.algorithm));
        Digested {
            md5: self.md5.map(|md5| md5.finalize().into()),
            checksum: Checksum { algorithm: self.algorithm, value },
        }
    }
}

/// Digests a body chunk by chunk.
pub(crate) struct Digester {
    length: usize,
    state: State,
}

enum State {
    Here(Box<Digests>),
    Thread { chunks: mpsc::Sender<Bytes>, digested: JoinHandle<Digested> },
}

/// The thread that digests has ended too early.
#[derive(Debug, thiserror::Error)]
#[error("the digest of a body was lost")]
pub(crate) struct Lost;

impl Digester {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { length: 0, state: State::Here(Box::new(Digests::new(wanted))) }
    }

    pub(crate) async fn update(&mut self, bytes: Bytes) -> Result<(), Lost> {
        self.length += bytes.len();
        match &mut self.state {
            State::Here(digests) if self.length <= SHORT => digests.update(&bytes),
            State::Here(digests) => {
                let unused = Digests::new(Wanted { algorithm: digests.algorithm, md5: false });
                let started = std::mem::replace(digests, Box::new(unused));
                self.state = thread(started);
                return Box::pin(self.send(bytes)).await;
            }
            State::Thread { .. } => return self.send(bytes).await,
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Lost> {
        match &self.state {
            State::Thread { chunks, .. } => chunks.send(bytes).await.map_err(|_| Lost),
            State::Here(_) => Err(Lost),
        }
    }

    pub(crate) async fn finish(self) -> Result<Digested, Lost> {
        match self.state {
            State::Here(digests) => Ok(digests.finish()),
            State::Thread { chunks, digested } => {
                drop(chunks);
                digested.await.map_err(|_| Lost)
            }
        }
    }
}

fn thread(mut digests: Box<Digests>) -> State {
    let (chunks, mut receiver) = mpsc::channel::<Bytes>(WAITING);
    let digested = tokio::task::spawn_blocking(move || {
        while let Some(bytes) = receiver.blocking_recv() {
            digests.update(&bytes);
        }
        digests.finish()
    });
    State::Thread { chunks, digested }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the catalogue of parametrised CRC algorithms and of the standards, for the nine digits.
    #[tokio::test]
    async fn checksums_are_those_of_their_standards() {
        for (algorithm, value) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let mut digester = Digester::new(Wanted { algorithm, md5: true });
            digester.update(Bytes::from_static(b"1234")).await.expect("here");
            digester.update(Bytes::from_static(b"56789")).await.expect("here");
            let digested = digester.finish().await.expect("here");
            assert_eq!(digested.md5.map(hex::encode).as_deref(), Some("25f9e794323b453885f5181f1b624d0b"));
            let raw = BASE64_STANDARD.decode(digested.checksum.value).expect("base 64");
            assert_eq!(hex::encode(raw), value, "{algorithm:?}");
        }
    }

    #[tokio::test]
    async fn a_long_body_comes_to_the_same_on_its_thread() {
        let chunk = Bytes::from(vec![7; 100_000]);
        let wanted = Wanted { algorithm: Algorithm::Sha256, md5: true };
        let (mut here, mut digester) = (Digests::new(wanted), Digester::new(wanted));
        for _ in 0..20 {
            here.update(&chunk);
            digester.update(chunk.clone()).await.expect("alive");
        }
        assert!(matches!(digester.state, State::Thread { .. }));
        assert_eq!(digester.finish().await.expect("alive"), here.finish());
    }
}
