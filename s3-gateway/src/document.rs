//! The documents that requests bring, such as lists of keys or policies: held against the digests that came with them.
//! The S3 library reads them, and looks at no digest but the signed one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper::body::{Body, Frame, SizeHint};
use s3s::{S3Error, S3Result, StdError};

use crate::digest::Digests;
use crate::operations::put::{Expected, HEADERS};

/// The sub-resources that are put as documents. The digests that complete an upload are of the object, not of the document.
const DOCUMENTS: [&str; 18] = [
    "accelerate",
    "acl",
    "cors",
    "delete",
    "encryption",
    "legal-hold",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
];
const MD5: &str = "content-md5";

/// Whether anything came with a document that it can be held against.
pub(crate) fn has_digest(headers: &HeaderMap) -> bool {
    headers.contains_key(MD5) || HEADERS.iter().any(|(_, name)| headers.contains_key(*name))
}

/// What the body of a request is held against, if it is a document with a digest.
pub(crate) fn expected(method: &Method, query: Option<&str>, headers: &HeaderMap) -> S3Result<Option<Expected>> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let is_document =
        matches!(*method, Method::PUT | Method::POST) && pairs.into_iter().any(|name| DOCUMENTS.contains(&name));
    let framed = headers.get("x-amz-content-sha256").is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    if is_document && !framed && has_digest(headers) { Expected::of_headers(headers).map(Some) } else { Ok(None) }
}

/// Where it is said that a document is not what was meant.
#[derive(Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<S3Error>>>);

impl Verdict {
    pub(crate) fn take(&self) -> Option<S3Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A document on its way to the library, which ends with an error if it is not what was meant.
pub(crate) struct Document<B> {
    body: B,
    digests: Option<(Expected, Digests)>,
    verdict: Verdict,
}

#[derive(Debug, thiserror::Error)]
#[error("the document does not match its digest")]
struct Mismatch;

impl<B> Document<B> {
    pub(crate) fn new(body: B, expected: Expected, verdict: Verdict) -> Self {
        let digests = Digests::new(expected.wanted(false));
        Self { body, digests: Some((expected, digests)), verdict }
    }
}

impl<B> Body for Document<B>
where
    B: Body<Data = Bytes> + Unpin,
    StdError: From<B::Error>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some((_, digests)), Some(data)) = (&mut this.digests, frame.data_ref()) {
                    digests.update(data);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                let Some((expected, digests)) = this.digests.take() else { return Poll::Ready(None) };
                match expected.check(&digests.finish(), None) {
                    Ok(()) => Poll::Ready(None),
                    Err(error) => {
                        *this.verdict.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        Poll::Ready(Some(Err(Mismatch.into())))
                    }
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Not before the digest was compared.
    fn is_end_stream(&self) -> bool {
        self.digests.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use s3s::S3ErrorCode;

    use super::*;

    async fn read(headers: &[(&'static str, &str)]) -> (bool, Option<S3ErrorCode>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| ((*name).parse().expect("legal"), value.parse().expect("legal")))
            .collect();
        let expected = expected(&Method::POST, Some("delete="), &headers).expect("legal").expect("there is a digest");
        let verdict = Verdict::default();
        let document = Document::new(Full::new(Bytes::from_static(b"<Delete/>")), expected, verdict.clone());
        let read = document.collect().await.is_ok();
        (read, verdict.take().map(|error| error.code().clone()))
    }

    #[tokio::test]
    async fn a_document_that_is_not_what_was_meant_does_not_come_to_its_end() {
        let algorithm = crate::properties::Algorithm::Crc32;
        let mut digests = Digests::new(crate::digest::Wanted { algorithm, md5: true });
        digests.update(b"<Delete/>");
        let digested = digests.finish();
        let md5 = crate::digest::text(&digested.md5.expect("wanted"));
        assert_eq!(read(&[(MD5, &md5), ("x-amz-checksum-crc32", &digested.checksum.value)]).await, (true, None));
        for wrong in [&[(MD5, "AAAAAAAAAAAAAAAAAAAAAA==")][..], &[(MD5, &md5), ("x-amz-checksum-crc32", "AAAAAA==")]] {
            assert_eq!(read(wrong).await, (false, Some(S3ErrorCode::BadDigest)), "{wrong:?}");
        }
    }

    #[test]
    fn only_documents_are_held_against_what_came_with_them() {
        let headers: HeaderMap = [(MD5.parse().expect("legal"), "x".parse().expect("legal"))].into_iter().collect();
        let judged = |method, query| expected(&method, query, &headers).map(|expected| expected.is_some());
        let code = |judged: S3Result<bool>| judged.map_err(|error| error.code().clone());
        assert_eq!(code(judged(Method::PUT, Some("partNumber=1&uploadId=a"))), Ok(false));
        assert_eq!(code(judged(Method::PUT, None)), Ok(false));
        assert_eq!(code(judged(Method::GET, Some("policy"))), Ok(false));
        assert_eq!(code(judged(Method::PUT, Some("policy"))), Err(S3ErrorCode::InvalidDigest));
        assert!(expected(&Method::PUT, Some("policy"), &HeaderMap::new()).expect("legal").is_none());
    }
}
