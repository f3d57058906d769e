//! Requests of pages of other origins, at the server: what a browser asks in advance, and what an answer carries for it.

use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use s3s::host::{MultiDomain, S3Host as _};
use s3s::{Body, S3Error, S3ErrorCode, S3Result};

use crate::buckets::Buckets;
use crate::failure;
use crate::server::respond;

#[derive(Debug)]
pub(crate) struct Preflight {
    pub(crate) buckets: Buckets,
    pub(crate) domains: Option<MultiDomain>,
}

/// What a request says of the page that sends it.
#[derive(Debug, Clone)]
pub(crate) struct FromPage {
    origin: String,
    method: String,
    bucket: String,
}

impl Preflight {
    /// None for a request that is not of a page, or of no bucket.
    pub(crate) fn page_of<B>(&self, request: &Request<B>) -> Option<FromPage> {
        let origin = text(request.headers(), ORIGIN)?;
        let bucket = self.bucket(request)?;
        Some(FromPage { origin, method: request.method().as_str().to_owned(), bucket })
    }

    /// What is added to the answer to such a request. A bucket that cannot be looked up has no rules, and the browser keeps
    /// the answer from its page.
    pub(crate) async fn headers(&self, page: &FromPage) -> HeaderMap {
        let bucket = self.buckets.find(&page.bucket).await.ok();
        let rules = bucket.as_ref().and_then(|bucket| bucket.cors.as_ref());
        rules.and_then(|rules| rules.answer(&page.origin, &page.method, &[])).unwrap_or_default()
    }

    /// Answers what a browser asks before it sends a request of a page.
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> http::Response<Body> {
        match self.ask(request).await {
            Ok(headers) => {
                let mut response = http::Response::new(Body::empty());
                *response.headers_mut() = headers;
                response
            }
            Err(error) => respond(error),
        }
    }

    async fn ask<B>(&self, request: &Request<B>) -> S3Result<HeaderMap> {
        let wrong = |message| refused("BadRequest", StatusCode::BAD_REQUEST, message);
        let origin = text(request.headers(), ORIGIN)
            .ok_or_else(|| wrong("Insufficient information. Origin request header needed."))?;
        let method = text(request.headers(), ACCESS_CONTROL_REQUEST_METHOD)
            .ok_or_else(|| wrong("Invalid Access-Control-Request-Method: null"))?;
        let listed = text(request.headers(), ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let headers: Vec<String> =
            listed.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let forbidden = |message| refused("AccessForbidden", StatusCode::FORBIDDEN, message);
        let bucket = self.bucket(request).ok_or_else(|| S3Error::new(S3ErrorCode::MethodNotAllowed))?;
        let bucket = self.buckets.find(&bucket).await?;
        let rules = bucket.cors.as_ref();
        let rules = rules.ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
        rules.answer(&origin, &method, &headers).ok_or_else(|| {
            forbidden("CORSResponse: This CORS request is not allowed: no rule of the bucket has its origin, method and headers.")
        })
    }

    /// The bucket that a request names, by its host or its path.
    fn bucket<B>(&self, request: &Request<B>) -> Option<String> {
        let host = text(request.headers(), HOST);
        let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str().to_owned()));
        let named = match (&self.domains, host.as_deref()) {
            (Some(domains), Some(host)) if !is_address(host) => {
                domains.parse_host_header(host).ok()?.bucket().map(str::to_owned)
            }
            (_, _) => None,
        };
        let path = urlencoding::decode(request.uri().path()).ok()?;
        let path = s3s::path::parse_virtual_hosted_style(named.as_deref(), &path).ok()?;
        path.get_bucket_name().map(str::to_owned)
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::SocketAddr>().is_ok() || host.parse::<std::net::IpAddr>().is_ok()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn refused(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = failure::custom(code, status);
    error.set_message(message);
    error
}
