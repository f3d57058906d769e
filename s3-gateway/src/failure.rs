//! What an error of the store is to an S3 client.

use client::Error;
use http::Response;
use s3s::{Body, S3Error, S3ErrorCode};
use types::Code;

/// Something in the way of a key that is to be written: S3 has no codes for it.
const IS_DIRECTORY: &str = "ExistingObjectIsDirectory";
const PARENT_IS_FILE: &str = "ObjectParentIsFile";

/// The error of an operation on an object or a bucket.
pub(crate) fn of(error: Error) -> S3Error {
    let code = match error.code() {
        Code::NotFound => S3ErrorCode::NoSuchKey,
        Code::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        Code::NoSuchUpload => S3ErrorCode::NoSuchUpload,
        Code::NoSuchPart => S3ErrorCode::InvalidPart,
        Code::PreconditionFailed => S3ErrorCode::PreconditionFailed,
        Code::Denied | Code::NotPermitted => S3ErrorCode::AccessDenied,
        Code::NameTooLong => S3ErrorCode::KeyTooLongError,
        Code::IsDirectory => return conflict(IS_DIRECTORY, &error),
        Code::NotDirectory => return conflict(PARENT_IS_FILE, &error),
        Code::LeaseHeld | Code::LockConflict | Code::SourceChanged => S3ErrorCode::OperationAborted,
        Code::NotEmpty => S3ErrorCode::BucketNotEmpty,
        Code::QuotaExceeded => S3ErrorCode::Custom("QuotaExceeded".into()),
        Code::TooLarge => S3ErrorCode::EntityTooLarge,
        Code::NotSupported => S3ErrorCode::NotImplemented,
        Code::InvalidArgument => S3ErrorCode::InvalidArgument,
        Code::Exists => S3ErrorCode::OperationAborted,
        Code::Busy
        | Code::TimedOut
        | Code::NotLeader
        | Code::Unknown
        | Code::NoDatanodes
        | Code::NoSpace
        | Code::Io
        | Code::SessionExpired
        | Code::LeaseLost => S3ErrorCode::ServiceUnavailable,
        other => {
            tracing::error!(%error, code = other.number(), "an operation failed");
            S3ErrorCode::InternalError
        }
    };
    let mut answer = S3Error::with_message(code, error.to_string());
    if error.code() == Code::QuotaExceeded {
        answer.set_status_code(http::StatusCode::FORBIDDEN);
    }
    answer
}

fn conflict(code: &'static str, error: &Error) -> S3Error {
    let mut answer = S3Error::with_message(S3ErrorCode::Custom(code.into()), error.to_string());
    answer.set_status_code(http::StatusCode::CONFLICT);
    answer
}

/// Says in the document of an error where it comes from, which the S3 library leaves out.
pub(crate) fn with_origin(mut response: Response<Body>, resource: &str, request_id: &str) -> Response<Body> {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let document = response.body().bytes().and_then(|bytes| String::from_utf8(bytes.into()).ok());
    let Some(told) = document.as_deref().and_then(|document| document.strip_suffix("</Error>")) else {
        return response;
    };
    let resource = resource.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let whole = format!("{told}<Resource>{resource}</Resource><RequestId>{request_id}</RequestId></Error>");
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(whole);
    response
}

/// A code that the library has no name for.
pub(crate) fn custom(code: &'static str, status: http::StatusCode) -> S3Error {
    let mut answer = S3Error::new(S3ErrorCode::Custom(code.into()));
    answer.set_status_code(status);
    answer
}

/// A request that cannot be understood.
pub(crate) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// Something that is not there yet, rather than ignored (invariant 5).
pub(crate) fn not_implemented(what: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("{what} is not supported"))
}
