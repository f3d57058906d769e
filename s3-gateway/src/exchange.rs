//! A request and its answer from the first byte to the last: what is learnt on the way, and what is written down at the end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use s3s::path::S3Path;
use s3s::{Body, StdError};

use crate::access::Peer;
use crate::access_log::{AccessLog, Entry};
use crate::metrics::Metrics;

/// What a request turned out to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// As S3 calls it.
    pub(crate) operation: String,
    pub(crate) requester: Option<u32>,
    pub(crate) owner: Option<u32>,
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
}

/// Written by whoever finds it out; travels with the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings(Arc<Mutex<Known>>);

impl Findings {
    /// Who wants what.
    pub(crate) fn found(&self, operation: &str, requester: Option<u32>, path: &S3Path) {
        let mut known = self.known();
        operation.clone_into(&mut known.operation);
        known.requester = requester;
        known.bucket = path.get_bucket_name().map(str::to_owned);
        known.key = path.get_object_key().map(str::to_owned);
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where exchanges are written down.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) metrics: Metrics,
    pub(crate) log: Option<AccessLog>,
}

/// One exchange under way. It is written down when it is dropped, whatever ended it.
pub(crate) struct Exchange {
    books: Arc<Books>,
    findings: Findings,
    begun: Instant,
    /// Taken when the exchange is written down.
    entry: Entry,
    /// What a put brings.
    brought: Option<u64>,
    method: Method,
}

impl Exchange {
    pub(crate) fn begin<B>(books: Arc<Books>, request: &Request<B>, peer: Peer, id: &str) -> Self {
        books.metrics.in_flight.inc();
        let headers = request.headers();
        let (signature, authentication) = signed(request);
        let host = text(headers, HOST).or_else(|| request.uri().authority().map(|authority| authority.to_string()));
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let entry = Entry {
            at: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            address: peer.address.ip().to_string(),
            request_id: id.to_owned(),
            request: format!("{} {} {:?}", request.method(), unsigned(request.uri()), request.version()),
            referer: text(headers, REFERER),
            agent: text(headers, USER_AGENT),
            version_id: parameter(request.uri(), "versionId"),
            signature,
            authentication,
            host,
            cipher: peer.tls.map(|tls| tls.cipher.to_owned()),
            tls: peer.tls.map(|tls| tls.version.to_owned()),
            ..Entry::default()
        };
        let length = text(headers, HeaderName::from_static("x-amz-decoded-content-length"));
        let brought = length.or_else(|| text(headers, CONTENT_LENGTH)).and_then(|length| length.parse().ok());
        let method = request.method().clone();
        Self { books, findings: Findings::default(), begun: Instant::now(), entry, brought, method }
    }

    pub(crate) fn findings(&self) -> Findings {
        self.findings.clone()
    }

    /// The head of the answer is ready; the exchange ends with its body.
    pub(crate) fn answered(mut self, response: Response<Body>) -> Response<Sent> {
        self.entry.turn_around = self.begun.elapsed();
        self.entry.status = response.status().as_u16();
        let failed = response.status().is_client_error() || response.status().is_server_error();
        self.entry.error = if failed { response.body().bytes().as_deref().and_then(code) } else { None };
        let of_object = match self.method {
            Method::GET | Method::HEAD if !failed => object_size(response.headers()),
            Method::PUT => self.brought,
            _ => None,
        };
        self.entry.object_size = of_object.filter(|_| self.findings.known().key.is_some());
        if matches!(response.status(), StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
            self.denied();
        }
        response.map(|body| Sent { body, exchange: self })
    }

    /// One line for each operation that was refused for want of a right.
    fn denied(&self) {
        let known = self.findings.known();
        tracing::warn!(
            target: "s3_gateway::audit",
            request_id = self.entry.request_id,
            address = self.entry.address,
            requester = known.requester,
            operation = known.operation,
            bucket = known.bucket,
            key = known.key,
            error = self.entry.error,
            "denied"
        );
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let metrics = &self.books.metrics;
        metrics.in_flight.dec();
        let known = self.findings.known().clone();
        let mut entry = std::mem::take(&mut self.entry);
        entry.total = self.begun.elapsed();
        let took = entry.total;
        metrics.sent.inc_by(entry.sent);
        // Without an answer the client went away while one was made.
        let status = if entry.status == 0 { CLIENT_CLOSED } else { entry.status };
        let operation = if known.operation.is_empty() { "unknown" } else { &known.operation };
        metrics.answered(operation, status, took);
        entry.status = status;
        entry.operation = name_of(&self.method, &known.operation, known.key.is_some());
        entry.requester = known.requester.map(|uid| uid.to_string());
        entry.owner = known.owner.map(|uid| uid.to_string());
        (entry.bucket, entry.key) = (known.bucket, known.key);
        // The query of a presigned request is a right, and stays out of logs.
        tracing::info!(
            target: "s3_gateway::access",
            request_id = entry.request_id,
            address = entry.address,
            operation = entry.operation,
            bucket = entry.bucket,
            key = entry.key,
            status,
            sent = entry.sent,
            micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
        if let Some(log) = &self.books.log
            && !log.write(&entry)
        {
            metrics.unlogged.inc();
        }
    }
}

/// As web servers mark a request whose client did not wait for the answer.
const CLIENT_CLOSED: u16 = 499;

/// The body of an answer, which counts what is sent and ends the exchange.
pub(crate) struct Sent {
    body: Body,
    exchange: Exchange,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.exchange.entry.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn parameter(uri: &http::Uri, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

/// How a request is signed, and where that stands.
fn signed<B>(request: &Request<B>) -> (Option<&'static str>, Option<&'static str>) {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    if header.is_some_and(|value| value.starts_with(b"AWS4-")) {
        (Some("SigV4"), Some("AuthHeader"))
    } else if header.is_some() {
        (Some("SigV2"), Some("AuthHeader"))
    } else if parameter(request.uri(), "X-Amz-Signature").is_some() {
        (Some("SigV4"), Some("QueryString"))
    } else if parameter(request.uri(), "Signature").is_some() {
        (Some("SigV2"), Some("QueryString"))
    } else {
        (None, None)
    }
}

/// Path and query, without what makes a presigned URL a right.
pub(crate) fn unsigned(uri: &http::Uri) -> String {
    let secret = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        ["X-Amz-Signature", "X-Amz-Security-Token", "Signature"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
    };
    match uri.query() {
        None => uri.path().to_owned(),
        Some(query) => {
            let kept: Vec<&str> = query.split('&').filter(|pair| !secret(pair)).collect();
            format!("{}?{}", uri.path(), kept.join("&"))
        }
    }
}

/// The code in the XML of an error.
fn code(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    Some(code.to_owned())
}

fn object_size(headers: &HeaderMap) -> Option<u64> {
    match text(headers, CONTENT_RANGE) {
        Some(range) => range.rsplit('/').next()?.parse().ok(),
        None => text(headers, CONTENT_LENGTH)?.parse().ok(),
    }
}

/// `REST.GET.OBJECT`, as the access log names it.
fn name_of(method: &Method, operation: &str, has_key: bool) -> String {
    let resource = match operation {
        "ListBuckets" => "SERVICE",
        "GetBucketLocation" => "LOCATION",
        "GetBucketVersioning" | "PutBucketVersioning" => "VERSIONING",
        "ListObjectVersions" => "BUCKETVERSIONS",
        "DeleteObjects" => "MULTI_OBJECT_DELETE",
        "GetBucketPolicy" | "PutBucketPolicy" | "DeleteBucketPolicy" => "BUCKETPOLICY",
        "GetBucketPolicyStatus" => "POLICY_STATUS",
        "GetPublicAccessBlock" | "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "PUBLIC_ACCESS_BLOCK",
        "GetBucketCors" | "PutBucketCors" | "DeleteBucketCors" => "CORS",
        "GetBucketAcl" | "PutBucketAcl" | "GetObjectAcl" | "PutObjectAcl" => "ACL",
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => "OBJECT_TAGGING",
        "GetObjectAttributes" => "OBJECT_ATTRIBUTES",
        "ListMultipartUploads" | "CreateMultipartUpload" => "UPLOADS",
        "CompleteMultipartUpload" | "AbortMultipartUpload" | "ListParts" => "UPLOAD",
        "UploadPart" => "PART",
        "UploadPartCopy" => "COPY.PART",
        "CopyObject" => "COPY.OBJECT",
        "Preflight" => "PREFLIGHT",
        _ if has_key => "OBJECT",
        _ => "BUCKET",
    };
    match resource.strip_prefix("COPY.") {
        Some(copied) => format!("REST.COPY.{copied}"),
        None => format!("REST.{method}.{resource}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_url_a_right_stays_out_of_the_log() {
        let uri = "/b/k?X-Amz-Algorithm=A&X-Amz-Signature=abc&x-id=GetObject&X-Amz-Security-Token=t".parse();
        assert_eq!(unsigned(&uri.expect("legal")), "/b/k?X-Amz-Algorithm=A&x-id=GetObject");
        assert_eq!(unsigned(&"/b/k".parse().expect("legal")), "/b/k");
    }

    #[test]
    fn operations_codes_and_sizes_are_read_off() {
        assert_eq!(name_of(&Method::GET, "GetObject", true), "REST.GET.OBJECT");
        assert_eq!(name_of(&Method::GET, "ListObjectsV2", false), "REST.GET.BUCKET");
        assert_eq!(name_of(&Method::PUT, "CopyObject", true), "REST.COPY.OBJECT");
        assert_eq!(code(b"<Error><Code>NoSuchKey</Code></Error>").as_deref(), Some("NoSuchKey"));
        assert_eq!(code(b"\xff<Code>"), None);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "5".parse().expect("legal"));
        assert_eq!(object_size(&headers), Some(5));
        headers.insert(CONTENT_RANGE, "bytes 0-4/90".parse().expect("legal"));
        assert_eq!(object_size(&headers), Some(90));
    }

    #[test]
    fn signatures_are_told_apart() {
        let of = |uri: &str, header: Option<&str>| {
            let mut request = Request::builder().uri(uri);
            if let Some(header) = header {
                request = request.header(AUTHORIZATION, header);
            }
            signed(&request.body(()).expect("legal"))
        };
        assert_eq!(of("/", None), (None, None));
        assert_eq!(of("/", Some("AWS4-HMAC-SHA256 Credential=x")), (Some("SigV4"), Some("AuthHeader")));
        assert_eq!(of("/b?X-Amz-Signature=a", None), (Some("SigV4"), Some("QueryString")));
        assert_eq!(of("/b?Signature=a", None), (Some("SigV2"), Some("QueryString")));
    }

    #[test]
    fn an_exchange_is_written_down_however_it_ends() {
        let books = Arc::new(Books { metrics: Metrics::new(), log: None });
        let peer = Peer { address: ([192, 0, 2, 1], 1).into(), tls: None };
        let request = Request::builder().uri("/b/k").body(()).expect("legal");
        let whole = Exchange::begin(Arc::clone(&books), &request, peer, "1");
        "GetObject".clone_into(&mut whole.findings().known().operation);
        drop(whole.answered(Response::new(Body::from(Bytes::from_static(b"abc")))));
        drop(Exchange::begin(Arc::clone(&books), &request, peer, "2"));
        let text = books.metrics.text();
        for line in [
            "ashlar_s3_requests_total{operation=\"GetObject\",status=\"200\"} 1",
            "ashlar_s3_requests_total{operation=\"unknown\",status=\"499\"} 1",
            "ashlar_s3_requests_in_flight 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
