//! Why an operation fails, as the kernel is told.

use fuser::Errno;
use types::Code;

/// A failed operation.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The cluster's answer.
    Cluster(client::Error),
    /// Found here.
    Errno(Errno),
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Cluster(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Failure {
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Errno(errno) => *errno,
            // The others that are EAGAIN are for those who ask the namenode, not for programs.
            Self::Cluster(error) if error.code() == Code::LockConflict => Errno::EAGAIN,
            Self::Cluster(error) => named(error.code().errno_name()),
        }
    }
}

/// The number behind the name that `types::Code` has for a POSIX caller.
fn named(name: &str) -> Errno {
    let number = match name {
        "EACCES" => libc::EACCES,
        "EBUSY" => libc::EBUSY,
        "EDEADLK" => libc::EDEADLK,
        "EDQUOT" => libc::EDQUOT,
        "EEXIST" => libc::EEXIST,
        "EFBIG" => libc::EFBIG,
        "EINTR" => libc::EINTR,
        "EINVAL" => libc::EINVAL,
        "EISDIR" => libc::EISDIR,
        "ELOOP" => libc::ELOOP,
        "EMLINK" => libc::EMLINK,
        "ENAMETOOLONG" => libc::ENAMETOOLONG,
        "ENODATA" => libc::ENODATA,
        "ENFILE" => libc::ENFILE,
        "ENOENT" => libc::ENOENT,
        "ENOLCK" => libc::ENOLCK,
        "ENOSPC" => libc::ENOSPC,
        "ENOTDIR" => libc::ENOTDIR,
        "ENOTEMPTY" => libc::ENOTEMPTY,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        "EPERM" => libc::EPERM,
        "ERANGE" => libc::ERANGE,
        "ESTALE" => libc::ESTALE,
        // What a program on a local file system never sees (a protocol, a deadline, a lost lease) is an I/O error there.
        _ => libc::EIO,
    };
    Errno::from_i32(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that mean something only between the parts of the store.
    const INTERNAL: [&str; 4] = ["EIO", "EAGAIN", "EPROTO", "ETIMEDOUT"];

    #[test]
    fn every_errno_that_a_program_can_act_on_reaches_it() {
        for code in Code::ALL {
            let name = code.errno_name();
            assert_eq!(named(name) == Errno::EIO, INTERNAL.contains(&name), "{code:?} is {name}");
        }
    }
}
