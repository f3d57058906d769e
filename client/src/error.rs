//! What goes wrong, seen from an application.

use std::fmt;
use std::time::Duration;

use types::{BlockId, Code, ErrorKind};

/// An operation failed: on what, why, and what can be done about it.
#[derive(Clone)]
pub struct Error(Box<Context>);

#[derive(Debug, Clone)]
struct Context {
    operation: &'static str,
    subject: String,
    fault: Fault,
}

impl Error {
    pub(crate) fn new(operation: &'static str, subject: impl fmt::Display, fault: Fault) -> Self {
        Self(Box::new(Context { operation, subject: subject.to_string(), fault }))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.code().kind()
    }

    /// Exactly what went wrong.
    pub fn code(&self) -> Code {
        self.0.fault.code()
    }

    /// What the operation was about: a path, mostly.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// `subject: reason`, as a line of trouble reads. A reason that begins with a path says itself what it is about, and
    /// more exactly: the parent that is missing, the name that is taken.
    pub fn brief(&self) -> String {
        let reason = self.0.fault.to_string();
        match reason.starts_with('/') {
            true => reason,
            false => format!("{}: {reason}", self.0.subject),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Context { operation, subject, fault } = &*self.0;
        write!(f, "cannot {operation} {subject}: {fault}")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("code", &self.code()).field("context", &self.0).finish()
    }
}

impl std::error::Error for Error {}

/// The reason alone, before it is known what the caller was about.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Fault {
    /// The namenode's answer.
    #[error("{message}")]
    Refused { code: Code, message: String },
    #[error("{message}")]
    Symlink { link: Box<proto::v1::Symlink>, message: String },
    #[error(
        "no answer from the namenodes within {}: {reason}; check that a majority of them runs and can be reached",
        humantime::format_duration(*.after)
    )]
    NoAnswer { after: Duration, reason: String },
    #[error("{0}; fix the client's configuration")]
    Configuration(String),
    #[error("this client is closed; connect again")]
    Closed,
    #[error("the session has ended, and the lease of this writer with it; write the file again")]
    SessionLost,
    #[error(
        "the session ended before the answer came: whether it was done is not known; look, and repeat it if it was not"
    )]
    OutcomeUnknown,
    #[error("{peer} does not keep to the protocol: {problem}; are all parts of the same version?")]
    Protocol { peer: String, problem: String },
    #[error(
        "no replica of {block} could be read at offset {offset} of the file: {tried}; `ashlar admin fsck` shows what is left"
    )]
    NoReplica { block: BlockId, offset: u64, damaged: bool, tried: String },
    #[error(
        "the pipeline of {block} is down to {left} of at least {wanted} replicas: {reason}; check the datanodes with `ashlar admin status`"
    )]
    PipelineLost { block: BlockId, left: usize, wanted: usize, reason: String },
    #[error(
        "its last block is still being recovered after {}: a datanode that has what readers were shown is away; `ashlar admin status` shows which",
        humantime::format_duration(*.after)
    )]
    StillRecovering { after: Duration },
    #[error("an earlier write to it failed: {0}")]
    Broken(String),
}

impl Fault {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Symlink { .. } => Code::SymbolicLink,
            Self::NoAnswer { .. } | Self::StillRecovering { .. } => Code::TimedOut,
            Self::Configuration(_) => Code::InvalidArgument,
            Self::Closed => Code::Io,
            Self::SessionLost => Code::SessionExpired,
            Self::OutcomeUnknown => Code::Unknown,
            Self::Protocol { .. } => Code::Incompatible,
            Self::NoReplica { damaged: true, .. } => Code::Corrupt,
            Self::NoReplica { damaged: false, .. } | Self::Broken(_) => Code::Io,
            Self::PipelineLost { .. } => Code::NoDatanodes,
        }
    }

    pub(crate) fn refused(error: &proto::v1::Error) -> Self {
        let code = error.typed_code();
        let message = if error.message.is_empty() { code.to_string() } else { error.message.clone() };
        match &error.symlink {
            Some(link) => Self::Symlink { link: Box::new(link.clone()), message },
            None => Self::Refused { code, message },
        }
    }
}

impl From<proto::WireError> for Fault {
    fn from(error: proto::WireError) -> Self {
        Self::Protocol { peer: "the namenode".to_owned(), problem: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thing_is_named_once() {
        let brief = |subject: &str, reason: &str| {
            let fault = Fault::Refused { code: Code::NotFound, message: reason.to_owned() };
            Error::new("look at", subject, fault).brief()
        };
        assert_eq!(brief("/a/b", "no such file or directory"), "/a/b: no such file or directory");
        assert_eq!(brief("/a/b", "/a: no such file or directory"), "/a: no such file or directory");
        assert_eq!(brief("/a to /b", "/b exists already"), "/b exists already");
        assert_eq!(brief("[127.0.0.1:1]", "no answer"), "[127.0.0.1:1]: no answer");
    }
}
