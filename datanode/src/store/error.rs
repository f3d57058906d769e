use std::io;

use types::{ByteSize, Code, GenStamp};

use crate::replica::HeaderError;

/// Why an operation on a volume failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{have} of the block is here")]
    Stale { have: GenStamp },
    #[error("the replica is not here: {reason}")]
    NoSuchReplica { reason: &'static str },
    #[error("only {available} bytes of the replica are here, not {wanted}")]
    Short { available: u64, wanted: u64 },
    #[error("the volume has {free} free, and {reserve} are kept in reserve")]
    NoSpace { free: ByteSize, reserve: ByteSize },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the replica is damaged: {reason}")]
    Damaged { reason: String },
    #[error("the volume has failed: {reason}")]
    Volume { reason: String },
    #[error("{action}: {source}")]
    Io { action: &'static str, source: io::Error },
}

impl StoreError {
    /// What a peer is told.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Stale { .. } => Code::StaleGeneration,
            Self::NoSuchReplica { .. } | Self::Short { .. } => Code::NoSuchBlock,
            Self::NoSpace { .. } => Code::NoSpace,
            Self::Header(_) | Self::Damaged { .. } => Code::Corrupt,
            Self::Volume { .. } => Code::Io,
            Self::Io { source, .. } if is_full(source) => Code::NoSpace,
            Self::Io { .. } => Code::Io,
        }
    }

    /// Whether the replica's own bytes are at fault, rather than the request.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Header(_) | Self::Damaged { .. } => true,
            Self::Io { source, .. } => is_failing(source),
            Self::Stale { .. }
            | Self::NoSuchReplica { .. }
            | Self::Short { .. }
            | Self::NoSpace { .. }
            | Self::Volume { .. } => false,
        }
    }
}

/// For `map_err`: what was being done when the system refused.
pub(crate) fn during(action: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Io { action, source }
}

/// The disk has no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The disk does not work any more.
pub(crate) fn is_failing(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    [libc::EIO, libc::EROFS, libc::ENXIO, libc::ENODEV, libc::EUCLEAN].map(Some).contains(&errno)
}
