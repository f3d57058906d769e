//! What an error of the client is to a user of the interface.

use object_store::Error;
use object_store::path::Path;
use types::Code;

pub(crate) const NAME: &str = "Ashlar";

/// The error of an operation on what is at a location.
pub(crate) fn told(location: &Path, error: client::Error) -> Error {
    let (path, code) = (location.to_string(), error.code());
    let source = error.into();
    match code {
        Code::NotFound => Error::NotFound { path, source },
        Code::PreconditionFailed => Error::Precondition { path, source },
        Code::Denied | Code::NotPermitted => Error::PermissionDenied { path, source },
        Code::NotSupported => Error::NotSupported { source },
        _ => Error::Generic { store: NAME, source },
    }
}

pub(crate) fn exists(location: &Path, error: client::Error) -> Error {
    Error::AlreadyExists { path: location.to_string(), source: error.into() }
}

pub(crate) fn precondition(location: &Path, error: client::Error) -> Error {
    Error::Precondition { path: location.to_string(), source: error.into() }
}

pub(crate) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: NAME, source: source.into() }
}

pub(crate) fn not_supported(what: &str) -> Error {
    Error::NotSupported { source: format!("{what} is not supported").into() }
}
