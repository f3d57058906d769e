//! Which code each refusal travels with.

use types::Code;

use super::Error;

impl Error {
    /// The code that travels to the caller.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFormatted => Code::Busy,
            Self::AlreadyFormatted { .. } | Self::Exists { .. } | Self::XattrExists { .. } => Code::Exists,
            Self::InvalidPath { .. }
            | Self::RootFixed
            | Self::SessionNeeded
            | Self::BlockOpen { .. }
            | Self::BlockVisible { .. }
            | Self::BlockLength { .. }
            | Self::UnknownReplica { .. }
            | Self::BadTargets { .. }
            | Self::BadReplication { .. }
            | Self::BadBlockSize { .. }
            | Self::BadMode { .. }
            | Self::AlreadyNamed { .. }
            | Self::NameNeeded { .. }
            | Self::StorageTaken { .. }
            | Self::BadNode { .. }
            | Self::BadAllocation { .. }
            | Self::BadEdits { .. }
            | Self::BadJoin { .. }
            | Self::RangesOverlap { .. }
            | Self::BadSources { .. }
            | Self::SourceShared { .. }
            | Self::BadKey { .. }
            | Self::BadBucketName { .. }
            | Self::BadAccessKey { .. }
            | Self::BadTtl { .. }
            | Self::LastInService { .. }
            | Self::JobEnded { .. }
            | Self::JobOfService { .. }
            | Self::BadBalance { .. }
            | Self::BadPolicy { .. }
            | Self::BadUser { .. }
            | Self::TooManyAged { .. }
            | Self::BadTarget { .. }
            | Self::BadAcl { .. }
            | Self::BadKind { .. }
            | Self::BadPartNumber { .. }
            | Self::BadParts { .. }
            | Self::ClientNameTooLong { .. } => Code::InvalidArgument,
            Self::NameTooLong { .. } => Code::NameTooLong,
            Self::SymlinkOnTheWay { .. } => Code::SymbolicLink,
            Self::TooManyLinks { .. } => Code::TooManyLinks,
            Self::NotAFile { .. } => Code::NotSupported,
            Self::NotFound { .. } | Self::NoSuchTrash { .. } | Self::UnknownNode { .. } | Self::UnknownJob { .. } => {
                Code::NotFound
            }
            Self::JobUnderWay { .. } => Code::Exists,
            Self::TooManyJobs { .. } => Code::Busy,
            Self::JobNeverPauses { .. } | Self::JobNeverStops { .. } => Code::NotSupported,
            Self::NotDirectory { .. } => Code::NotDirectory,
            Self::IsDirectory { .. } => Code::IsDirectory,
            Self::NotEmpty { .. } | Self::UserHasKeys { .. } => Code::NotEmpty,
            Self::TooManyUsers { .. } | Self::TooManyUserKeys { .. } => Code::NoSpace,
            Self::Cycle { .. } => Code::Cycle,
            Self::LeaseHeld { .. } | Self::BeingRecovered { .. } => Code::LeaseHeld,
            Self::LeaseLost { .. } => Code::LeaseLost,
            Self::SessionExpired { .. } => Code::SessionExpired,
            Self::BadSequence { .. } => Code::BadSequence,
            Self::StaleGeneration { .. } => Code::StaleGeneration,
            Self::NoSuchBlock { .. } | Self::NotLastBlock { .. } | Self::NotPending { .. } => Code::NoSuchBlock,
            Self::NotEnoughReplicas { .. } => Code::NoDatanodes,
            Self::InlineTooLarge { .. }
            | Self::TooManyBlocks { .. }
            | Self::FileTooLarge { .. }
            | Self::XattrTooLarge { .. }
            | Self::TooManyXattrs { .. }
            | Self::TooManyPending { .. }
            | Self::TooManyExtents { .. }
            | Self::TreeTooLarge { .. } => Code::TooLarge,
            Self::XattrName { .. } | Self::AclOfSymlink { .. } | Self::InlineBeyondBlock { .. } => Code::NotSupported,
            Self::NoXattr { .. } => Code::NoAttribute,
            Self::LastReplica { .. } | Self::AccessDenied { .. } | Self::DefaultAclOfFile { .. } => Code::Denied,
            Self::NotOwner { .. }
            | Self::OwnerFixed { .. }
            | Self::Sticky { .. }
            | Self::OnlySuperuser { .. }
            | Self::LinkDirectory { .. }
            | Self::UserXattr { .. } => Code::NotPermitted,
            Self::NoSuchBucket { .. } => Code::NoSuchBucket,
            Self::NoSuchUpload { .. } => Code::NoSuchUpload,
            Self::NoSuchPart { .. } => Code::NoSuchPart,
            Self::SourceChanged { .. } | Self::ExtentsReplaced { .. } => Code::SourceChanged,
            Self::PreconditionFailed { .. } => Code::PreconditionFailed,
            Self::QuotaExceeded { .. } => Code::QuotaExceeded,
            Self::ReplicaInTheWay { .. } => Code::Busy,
            Self::InlineInTheWay { .. } | Self::StoredInBlocks { .. } => Code::StoredOtherwise,
            Self::LockConflict { .. } => Code::LockConflict,
            Self::BadLockRange { .. } => Code::InvalidArgument,
            Self::TooManyOpen { .. } => Code::TooManyOpen,
            Self::NotOpen { .. } | Self::TooManyClosed { .. } | Self::TooManyNoted { .. } => Code::InvalidArgument,
            Self::TooManyLocks { .. } | Self::TooManyLocksHeld { .. } => Code::NoLocks,
        }
    }
}
