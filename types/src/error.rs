//! Error codes: the one list that travels between the parts of Ashlar and to its users.

use std::fmt;

/// What the caller of a failed operation can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense; sending it again changes nothing.
    Invalid,
    /// Something that the request names is not there.
    NotFound,
    /// Something is there already, or in the way.
    Exists,
    /// The caller may not do this.
    Denied,
    /// Not now: the same request may succeed later or elsewhere.
    Retry,
    /// The caller's right has passed to another: a lease, a generation, a term or a session that is over.
    Fenced,
    /// No room, or not enough nodes to hold what was promised.
    Full,
    /// Bytes are not what was stored.
    Corrupt,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $kind:ident, $errno:literal, $text:literal;)*) => {
        /// Exactly what went wrong. The number is the wire format and never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
        #[cbor(index_only)]
        pub enum Code {
            $($(#[$doc])* #[n($number)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// What the caller can do about it.
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind,)* }
            }

            /// The name of the errno (see errno(3)) that a POSIX caller is given.
            pub const fn errno_name(self) -> &'static str {
                match self { $(Self::$name => $errno,)* }
            }

            /// What programs call it, such as `NotFound`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A request that cannot be understood or is out of range.
    InvalidArgument = 1, Invalid, "EINVAL", "invalid argument";
    NameTooLong = 2, Invalid, "ENAMETOOLONG", "name too long";
    NotFound = 3, NotFound, "ENOENT", "no such file or directory";
    NotDirectory = 4, Invalid, "ENOTDIR", "not a directory";
    IsDirectory = 5, Invalid, "EISDIR", "is a directory";
    Exists = 6, Exists, "EEXIST", "already exists";
    NotEmpty = 7, Exists, "ENOTEMPTY", "directory not empty";
    /// A directory cannot move below itself.
    Cycle = 8, Invalid, "EINVAL", "a directory cannot be moved into itself";
    /// Another session is writing the file.
    LeaseHeld = 9, Retry, "EBUSY", "being written by another client";
    /// The caller does not, or no longer, hold the lease of the file.
    LeaseLost = 10, Fenced, "EIO", "the lease on the file is lost";
    SessionExpired = 11, Fenced, "EIO", "the session is over";
    /// The block has moved to another generation.
    StaleGeneration = 12, Fenced, "ESTALE", "stale generation of a block";
    NoSuchBlock = 13, NotFound, "EIO", "no such block";
    /// Fewer datanodes with room than the request needs.
    NoDatanodes = 14, Full, "ENOSPC", "not enough datanodes with free space";
    NoSpace = 15, Full, "ENOSPC", "no space left";
    Denied = 16, Denied, "EACCES", "permission denied";
    /// This member is not the leader, or cannot reach a majority.
    NotLeader = 17, Retry, "EAGAIN", "not the leader";
    /// A queue or a budget is full.
    Busy = 18, Retry, "EAGAIN", "too busy";
    /// The outcome is not known; the same sequence number may be sent again.
    Unknown = 19, Retry, "EAGAIN", "outcome unknown";
    Corrupt = 20, Corrupt, "EIO", "stored bytes are damaged";
    /// The other side speaks another protocol or version, or belongs to another cluster.
    Incompatible = 21, Invalid, "EPROTO", "incompatible peer";
    NotSupported = 22, Invalid, "EOPNOTSUPP", "not supported";
    /// The caller skipped or reused a sequence number.
    BadSequence = 23, Invalid, "EIO", "sequence number out of order";
    /// A deadline passed.
    TimedOut = 24, Retry, "ETIMEDOUT", "timed out";
    /// A part of this process or machine failed: a disk, a socket, a thread.
    Io = 25, Retry, "EIO", "input/output error";
    TooLarge = 26, Invalid, "EFBIG", "too large";
    /// The caller may not do this, whatever the mode says: it takes the owner or the superuser.
    NotPermitted = 27, Denied, "EPERM", "operation not permitted";
    /// A bound that was set on a directory, not the end of the disks.
    QuotaExceeded = 28, Full, "EDQUOT", "quota exceeded";
    /// An extended attribute that is not there.
    NoAttribute = 29, NotFound, "ENODATA", "no such attribute";
    /// Another owner has locked what was to be locked.
    LockConflict = 30, Retry, "EAGAIN", "locked by another";
    /// Waiting would never end: the holder waits for the one that asks.
    Deadlock = 31, Denied, "EDEADLK", "deadlock between locks";
    NoLocks = 32, Full, "ENOLCK", "too many locks";
    /// Waiting ended because the caller said so.
    Interrupted = 33, Retry, "EINTR", "interrupted";
    TooManyOpen = 34, Full, "ENFILE", "too many open files";
    /// A file is stored inline where a block was brought, or in blocks where bytes were.
    StoredOtherwise = 35, Exists, "EAGAIN", "stored in another form";
    /// What is there is not what the request made a condition.
    PreconditionFailed = 36, Exists, "EEXIST", "precondition failed";
    NoSuchBucket = 37, NotFound, "ENOENT", "no such bucket";
    /// A symbolic link lies on the way; who asks follows it, up to 40 of them.
    SymbolicLink = 38, Invalid, "ELOOP", "too many levels of symbolic links";
    TooManyLinks = 39, Invalid, "EMLINK", "too many links";
    /// A multipart upload that is over, or never was.
    NoSuchUpload = 40, NotFound, "ENOENT", "no such upload";
    /// A part of a multipart upload that is not there, or not as it was said to be.
    NoSuchPart = 41, NotFound, "ENOENT", "no such part";
    /// What was to be copied has changed since it was looked at.
    SourceChanged = 42, Retry, "EAGAIN", "the source has changed";
    /// A block token whose time is over; a namenode gives another to whom it concerns.
    TokenExpired = 43, Retry, "EAGAIN", "the time of a block token is over";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_read_back() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.number() as usize, at + 1);
            assert_eq!(Code::from_number(code.number()), Some(*code));
        }
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_number(9999), None);
    }
}
