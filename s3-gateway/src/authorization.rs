//! How a request is signed, as far as that can be judged without the secret. The S3 library refuses the same requests with
//! other codes; here they are those of S3.

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};
use s3s_sigv4::{AmzContentSha256, AmzDate, AuthorizationV4, ParseAuthorizationError};

use crate::failure;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const DIGEST: &str = "x-amz-content-sha256";

/// Drops a header that says nothing, as if it was not there, and refuses one that cannot be meant.
pub(crate) fn check(headers: &mut HeaderMap) -> S3Result<()> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(()) };
    let value = value.to_str().map_err(|_| unsupported())?;
    if value.trim().is_empty() {
        headers.remove(AUTHORIZATION);
        return Ok(());
    }
    match value.split_ascii_whitespace().next() {
        Some(ALGORITHM) => {}
        // The old signature, which is refused later.
        Some("AWS") => return Ok(()),
        Some(_) | None => return Err(unsupported()),
    }
    match AuthorizationV4::parse(value) {
        Ok(_) | Err(ParseAuthorizationError::InvalidSignature) => {}
        Err(_) => {
            let message =
                "The authorization header is malformed; it takes a Credential, SignedHeaders and a Signature.";
            return Err(S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, message));
        }
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(DATE).is_none_or(|date| AmzDate::parse(date).is_err()) {
        let message = "AWS authentication requires a valid Date or x-amz-date header";
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, message));
    }
    if text(DIGEST).is_some_and(|digest| AmzContentSha256::parse(digest).is_err()) {
        let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 \
                       value.";
        return Err(failure::invalid(message));
    }
    Ok(())
}

fn unsupported() -> S3Error {
    let mut error = failure::invalid("Unsupported Authorization Type");
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=K/20240101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, \
                        Signature=0000000000000000000000000000000000000000000000000000000000000000";

    fn judged(authorization: &str, date: Option<&str>, digest: Option<&str>) -> Result<bool, S3ErrorCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", Some(authorization)), (DATE, date), (DIGEST, digest)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).expect("legal"));
            }
        }
        check(&mut headers).map(|()| headers.contains_key(AUTHORIZATION)).map_err(|error| error.code().clone())
    }

    #[test]
    fn what_cannot_be_a_signature_is_told_as_s3_tells_it() {
        let date = Some("20240101T000000Z");
        assert_eq!(judged(GOOD, date, Some("UNSIGNED-PAYLOAD")), Ok(true));
        assert_eq!(judged(&GOOD.replace("000", "zzz"), date, None), Ok(true), "the signature itself is judged later");
        assert_eq!(judged("AWS K:c2lnbmF0dXJl", None, None), Ok(true));
        assert_eq!([judged("", None, None), judged("  ", None, None)], [Ok(false), Ok(false)]);
        assert_eq!(judged("Basic eDp5", date, None), Err(S3ErrorCode::InvalidArgument));
        assert_eq!(judged("AWS4-HMAC-SHA256 Credential=K", date, None), Err(S3ErrorCode::AuthorizationHeaderMalformed));
        assert_eq!(
            [judged(GOOD, None, None), judged(GOOD, Some("today"), None)],
            [Err(S3ErrorCode::AccessDenied), Err(S3ErrorCode::AccessDenied)]
        );
        assert_eq!(judged(GOOD, date, Some("rubbish")), Err(S3ErrorCode::InvalidArgument));
    }
}
