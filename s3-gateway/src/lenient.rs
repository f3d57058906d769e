//! Reads with a header that makes no sense, where HTTP says that a server goes on as if it was not there: a range that is
//! none or more than one, and a date that is none. The S3 library refuses them, after it has verified the signature, which
//! is over the header too. So these requests pass through the library twice: once to be verified, and once to be done.

use http::header::{AUTHORIZATION, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE};
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri};
use s3s::dto::{Range, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3Request, S3Response, S3Result};

use crate::exchange::unsigned;

/// Does what it is given, and verifies no signature but those that a request still has.
pub(crate) struct Lenient(pub(crate) S3Service);

/// Whose request it is, as the first pass has found: the access key, and none for one that nobody has signed.
#[derive(Debug, Clone)]
pub(crate) struct Verified(pub(crate) Option<String>);

#[async_trait::async_trait]
impl S3Route for Lenient {
    fn is_match(&self, method: &Method, _: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        matches!(*method, Method::GET | Method::HEAD) && !ignored(headers).is_empty()
    }

    /// The second pass decides, as for any request.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let S3Request { input, method, uri, mut headers, mut extensions, credentials, .. } = request;
        for name in ignored(&headers) {
            headers.remove(name);
        }
        headers.remove(AUTHORIZATION);
        extensions.insert(Verified(credentials.map(|credentials| credentials.access_key)));
        let mut again = Request::new(input);
        *again.method_mut() = method;
        *again.uri_mut() = unsigned(&uri).parse().map_err(S3Error::internal_error)?;
        *again.headers_mut() = headers;
        *again.extensions_mut() = extensions;
        let (head, body) = self.0.call(again).await.map_err(S3Error::internal_error)?.into_parts();
        let mut response = S3Response::with_status(body, head.status);
        (response.headers, response.extensions) = (head.headers, head.extensions);
        Ok(response)
    }
}

/// The headers that are as if they were not there.
fn ignored(headers: &HeaderMap) -> Vec<HeaderName> {
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).ok();
    // The library takes no digits for a zero.
    let is_range = |text: &str| !text.ends_with("=-") && Range::parse(text).is_ok();
    let is_date = |text: &str| Timestamp::parse(TimestampFormat::HttpDate, text).is_ok();
    let mut names = Vec::new();
    for (name, makes_sense) in
        [(RANGE, &is_range as &dyn Fn(&str) -> bool), (IF_MODIFIED_SINCE, &is_date), (IF_UNMODIFIED_SINCE, &is_date)]
    {
        let values: Vec<_> = headers.get_all(&name).iter().collect();
        let sense = match values[..] {
            [] => true,
            [value] => value.is_empty() || text(value).is_some_and(|text| makes_sense(&text)),
            [_, _, ..] => false,
        };
        if !sense {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_dates_that_are_none_are_ignored_and_others_are_not() {
        let ignores = |name: HeaderName, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name.clone(), value.parse().expect("legal"));
            }
            ignored(&headers) == [name]
        };
        for sensible in ["bytes=0-1", "bytes=5-", "bytes=-5", "bytes=99999999999-", ""] {
            assert!(!ignores(RANGE, &[sensible]), "{sensible}");
        }
        for odd in ["bytes=5-3", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes 0-1", "x"] {
            assert!(ignores(RANGE, &[odd]), "{odd}");
        }
        assert!(ignores(RANGE, &["bytes=0-1", "bytes=3-4"]));
        assert!(!ignores(IF_MODIFIED_SINCE, &["Thu, 01 Dec 1994 16:00:00 GMT"]));
        assert!(ignores(IF_MODIFIED_SINCE, &["yesterday"]) && ignores(IF_UNMODIFIED_SINCE, &["-1"]));
        assert!(ignored(&HeaderMap::new()).is_empty());
    }
}
