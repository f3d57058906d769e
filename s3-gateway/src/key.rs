//! The rules of keys, told before anything is read or sent.

use s3s::{S3Error, S3ErrorCode, S3Result};
use types::MAX_NAME;

use crate::failure::invalid;

/// Of a key in bytes.
const MAX_KEY: usize = 1024;

/// Refuses a key that cannot be a path below its bucket; nothing is rewritten.
pub(crate) fn check(key: &str) -> S3Result<()> {
    if key.len() > MAX_KEY {
        return Err(S3Error::new(S3ErrorCode::KeyTooLongError));
    }
    if key.contains('\0') {
        return Err(invalid("the key holds a NUL byte"));
    }
    for name in key.strip_suffix('/').unwrap_or(key).split('/') {
        match name {
            "" => return Err(invalid(format!("the key {key:?} has an empty component; keys are paths here"))),
            "." | ".." => return Err(invalid(format!("the key {key:?} has the component {name:?}"))),
            _ if name.len() > MAX_NAME => {
                return Err(invalid(format!("the component {name:?} of the key is longer than {MAX_NAME} bytes")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses any version but the only one there is.
pub(crate) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(S3Error::new(S3ErrorCode::NoSuchVersion)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_refused_rather_than_rewritten() {
        for key in ["a", "a/b", "a/", " ", "a b/\u{e9}", &"k/".repeat(512), "...", "~"] {
            assert!(check(key).is_ok(), "{key:?}");
        }
        for key in ["", "/", "/a", "a//b", "a//", "./a", "a/..", "a\0", &"n".repeat(256)] {
            let error = check(key).expect_err("must be refused");
            assert_eq!(*error.code(), S3ErrorCode::InvalidArgument, "{key:?}");
        }
        assert_eq!(*check(&"k/".repeat(513)).expect_err("too long").code(), S3ErrorCode::KeyTooLongError);
        assert!(check_version(Some("null")).is_ok() && check_version(Some("1")).is_err());
    }
}
