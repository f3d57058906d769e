//! How bytes become frames and back. See `docs/formats/transfer.md`.
//!
//! A frame is a header of [`HEADER`] bytes and a body: a control message, a packet (of a write) or a piece (of a read).
//! Numbers are little-endian.

use bytes::{Bytes, BytesMut};
use types::checksum::{self, CHUNK, chunks_in};
use types::{BlockOffset, Code};

use crate::Control;

/// Magic (2), version (1), kind (1), length of the body (4), CRC-32 of what the body begins with (4), CRC-32 of the
/// header before (4).
pub const HEADER: usize = 16;
/// The most data in a packet or a piece.
pub const MAX_DATA: usize = 1 << 20;
/// The longest control message.
pub const MAX_CONTROL: usize = 64 << 10;
/// The longest body of all.
pub const MAX_BODY: usize = PACKET_HEAD + 4 * (MAX_DATA / CHUNK) + MAX_DATA;

const MAGIC: [u8; 2] = *b"As";
const VERSION: u8 = 2;
/// How much of a header its own checksum is for.
const CHECKED: usize = 12;
/// Sequence (8), offset (8), length of the data (4), flags (1), zero (3).
const PACKET_HEAD: usize = 24;
/// Offset (8), length of the data (4), zero (4).
const PIECE_HEAD: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Control,
    Packet,
    Piece,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Packet => 2,
            Self::Piece => 3,
        }
    }

    /// How much of a body its header has a checksum for: all but words and data, which vouch for each other.
    const fn head(self, body: usize) -> usize {
        match self {
            Self::Control => body,
            Self::Packet => PACKET_HEAD,
            Self::Piece => PIECE_HEAD,
        }
    }

    const fn body_limits(self) -> (usize, usize) {
        match self {
            Self::Control => (1, MAX_CONTROL),
            Self::Packet => (PACKET_HEAD, MAX_BODY),
            Self::Piece => (PIECE_HEAD, PIECE_HEAD + 4 * (MAX_DATA / CHUNK) + MAX_DATA),
        }
    }
}

/// Bytes that are not a frame of this protocol. The connection that they came from is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("not a transfer frame: it begins with {found:02x?}")]
    Magic { found: [u8; 2] },
    #[error("frame version {found} is not known; this side speaks {VERSION}")]
    Version { found: u8 },
    #[error("frame kind {found} is not known")]
    Kind { found: u8 },
    #[error("the header of a frame was damaged on its way")]
    DamagedHeader,
    #[error("a {kind:?} frame was damaged on its way")]
    DamagedHead { kind: Kind },
    #[error("a {kind:?} frame has a body of {length} bytes")]
    Length { kind: Kind, length: usize },
    #[error("a control message cannot be read: {reason}")]
    Control { reason: String },
    #[error("a {kind:?} frame announces {data} bytes of data in a body of {body} bytes")]
    Data { kind: Kind, data: usize, body: usize },
    #[error("a {kind:?} frame with data starts at {offset}, which is not the start of a chunk")]
    Unaligned { kind: Kind, offset: u64 },
    #[error("a {kind:?} frame ends behind the last possible byte")]
    Overflow { kind: Kind },
    #[error("a packet has unknown flags {found:#04x}")]
    Flags { found: u8 },
    #[error("reserved bytes of a {kind:?} frame are not zero")]
    Reserved { kind: Kind },
}

impl FrameError {
    /// Whether it was damaged on its way, or whoever sent it speaks something else.
    pub fn code(&self) -> Code {
        match self {
            Self::Magic { .. } | Self::Version { .. } => Code::Incompatible,
            Self::DamagedHeader | Self::DamagedHead { .. } => Code::Corrupt,
            // Its checksums are good: so it was sent.
            Self::Kind { .. }
            | Self::Length { .. }
            | Self::Control { .. }
            | Self::Data { .. }
            | Self::Unaligned { .. }
            | Self::Overflow { .. }
            | Self::Flags { .. }
            | Self::Reserved { .. } => Code::InvalidArgument,
        }
    }
}

/// The first bytes of a frame: enough to know how many follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Of the body, within the limits of its kind.
    pub length: usize,
    /// CRC-32 of what the body begins with.
    head: u32,
}

impl Header {
    /// The header of a body of this length, which begins with `head`.
    fn encode(kind: Kind, length: usize, head: &[u8]) -> [u8; HEADER] {
        let (least, most) = kind.body_limits();
        assert!((least..=most).contains(&length), "a {kind:?} body of {length} bytes is never built");
        let mut bytes = [0; HEADER];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = kind.number();
        bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        bytes[8..CHECKED].copy_from_slice(&crc32fast::hash(head).to_le_bytes());
        let own = crc32fast::hash(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        let [m0, m1, version, kind, ..] = *bytes;
        // Before the checksum: another program, or another version, is told from a bad wire.
        if [m0, m1] != MAGIC {
            return Err(FrameError::Magic { found: [m0, m1] });
        }
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        if u32_at(bytes, CHECKED) != crc32fast::hash(&bytes[..CHECKED]) {
            return Err(FrameError::DamagedHeader);
        }
        let kind = match kind {
            1 => Kind::Control,
            2 => Kind::Packet,
            3 => Kind::Piece,
            found => return Err(FrameError::Kind { found }),
        };
        let length = u32_at(bytes, 4) as usize;
        let (least, most) = kind.body_limits();
        if !(least..=most).contains(&length) {
            return Err(FrameError::Length { kind, length });
        }
        Ok(Self { kind, length, head: u32_at(bytes, 8) })
    }
}

/// What a packet asks for besides storing its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    pub const NONE: Self = Self(0);
    /// Everything up to here is to be visible to new readers once acknowledged.
    pub const FLUSH: Self = Self(1);
    /// Everything up to here is to be on the disk of every hop once acknowledged.
    pub const SYNC: Self = Self(2);
    /// The block ends here.
    pub const FINISH: Self = Self(4);
    const ALL: u8 = 7;

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A run of chunks of a block on its way to the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Counted by the writer from 0 in each chain, without gaps.
    pub sequence: u64,
    /// Where the data starts: a chunk boundary. Without data, the length of the block.
    pub offset: BlockOffset,
    pub flags: Flags,
    /// One word a chunk.
    pub words: Bytes,
    pub data: Bytes,
}

/// A run of chunks of a block on its way to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where the data starts: a chunk boundary.
    pub offset: BlockOffset,
    /// One word a chunk.
    pub words: Bytes,
    pub data: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Control(Control),
    Packet(Packet),
    Piece(Piece),
}

impl Packet {
    /// The length of the block with this packet.
    pub fn end(&self) -> u64 {
        self.offset.get() + self.data.len() as u64
    }

    /// What goes on the wire before the words and the data.
    pub fn head(&self) -> [u8; HEADER + PACKET_HEAD] {
        let mut bytes = [0; HEADER + PACKET_HEAD];
        let (header, head) = bytes.split_at_mut(HEADER);
        head[..8].copy_from_slice(&self.sequence.to_le_bytes());
        head[8..16].copy_from_slice(&self.offset.get().to_le_bytes());
        head[16..20].copy_from_slice(&(self.data.len() as u32).to_le_bytes());
        head[20] = self.flags.0;
        let body = PACKET_HEAD + self.words.len() + self.data.len();
        header.copy_from_slice(&Header::encode(Kind::Packet, body, head));
        bytes
    }

    /// Checks the data against the words. The packet came from a decoder, or was built with one word a chunk.
    pub fn verify(&self, block: types::BlockId) -> Result<(), checksum::Mismatch> {
        checksum::verify(block, self.offset.get() / CHUNK as u64, &self.data, &self.words)
    }
}

impl Piece {
    pub fn end(&self) -> u64 {
        self.offset.get() + self.data.len() as u64
    }

    /// What goes on the wire before the words and `data` bytes of data.
    pub fn head(offset: BlockOffset, data: usize) -> [u8; HEADER + PIECE_HEAD] {
        let mut bytes = [0; HEADER + PIECE_HEAD];
        let (header, head) = bytes.split_at_mut(HEADER);
        head[..8].copy_from_slice(&offset.get().to_le_bytes());
        head[8..12].copy_from_slice(&(data as u32).to_le_bytes());
        let body = PIECE_HEAD + 4 * chunks_in(data as u64) as usize + data;
        header.copy_from_slice(&Header::encode(Kind::Piece, body, head));
        bytes
    }

    /// Checks the data against the words.
    pub fn verify(&self, block: types::BlockId) -> Result<(), checksum::Mismatch> {
        checksum::verify(block, self.offset.get() / CHUNK as u64, &self.data, &self.words)
    }
}

impl Control {
    /// The whole frame of this message.
    ///
    /// # Panics
    /// When the message is longer than [`MAX_CONTROL`]: chains and reasons are cut long before.
    pub fn to_frame(&self) -> Bytes {
        let body = minicbor::to_vec(self).expect("a vector takes every message");
        let mut frame = BytesMut::with_capacity(HEADER + body.len());
        frame.extend_from_slice(&Header::encode(Kind::Control, body.len(), &body));
        frame.extend_from_slice(&body);
        frame.freeze()
    }
}

/// The frame whose header was `header` and whose body is `body`; data is shared, not copied.
///
/// # Panics
/// When `body` is not as long as the header says.
pub fn decode_body(header: Header, body: Bytes) -> Result<Frame, FrameError> {
    let Header { kind, length, head } = header;
    assert_eq!(length, body.len(), "the caller has read the whole body");
    if crc32fast::hash(&body[..kind.head(length)]) != head {
        return Err(FrameError::DamagedHead { kind });
    }
    match kind {
        Kind::Control => decode_control(&body).map(Frame::Control),
        Kind::Packet => {
            let flags = body[20];
            if flags & !Flags::ALL != 0 {
                return Err(FrameError::Flags { found: flags });
            }
            if body[21..PACKET_HEAD] != [0; 3] {
                return Err(FrameError::Reserved { kind: Kind::Packet });
            }
            let (offset, words, data) = split(Kind::Packet, &body, 8, PACKET_HEAD)?;
            Ok(Frame::Packet(Packet { sequence: u64_at(&body, 0), offset, flags: Flags(flags), words, data }))
        }
        Kind::Piece => {
            if body[12..PIECE_HEAD] != [0; 4] {
                return Err(FrameError::Reserved { kind: Kind::Piece });
            }
            let (offset, words, data) = split(Kind::Piece, &body, 0, PIECE_HEAD)?;
            Ok(Frame::Piece(Piece { offset, words, data }))
        }
    }
}

/// Takes the first frame off `buffer`. `None`: more bytes are needed, and nothing was taken.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let header = Header::decode(header)?;
    if buffer.len() < HEADER + header.length {
        return Ok(None);
    }
    let body = buffer.split_to(HEADER + header.length).freeze().slice(HEADER..);
    decode_body(header, body).map(Some)
}

fn decode_control(body: &[u8]) -> Result<Control, FrameError> {
    let mut decoder = minicbor::Decoder::new(body);
    let control = decoder.decode().map_err(|error| FrameError::Control { reason: error.to_string() })?;
    if decoder.position() != body.len() {
        return Err(FrameError::Control { reason: "bytes follow the message".to_owned() });
    }
    Ok(control)
}

/// The offset at `at`, and the words and data behind `head` bytes.
fn split(kind: Kind, body: &Bytes, at: usize, head: usize) -> Result<(BlockOffset, Bytes, Bytes), FrameError> {
    let offset = u64_at(body, at);
    let length = u32_at(body, at + 8) as usize;
    let words = 4 * length.div_ceil(CHUNK);
    if length > MAX_DATA || head + words + length != body.len() {
        return Err(FrameError::Data { kind, data: length, body: body.len() });
    }
    if length > 0 && !offset.is_multiple_of(CHUNK as u64) {
        return Err(FrameError::Unaligned { kind, offset });
    }
    if offset > i64::MAX as u64 - MAX_DATA as u64 {
        return Err(FrameError::Overflow { kind });
    }
    Ok((BlockOffset::new(offset), body.slice(head..head + words), body.slice(head + words..)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
