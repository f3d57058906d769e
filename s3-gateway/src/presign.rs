//! URLs that let whoever has them read or write one object for a while, without a key of their own.

use std::fmt;
use std::time::{Duration, SystemTime};

use s3s_sigv4::AmzDate;

/// As S3 has it, and as gateways take it.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
const SERVICE: &str = "s3";

/// What a URL is to be good for.
#[derive(Clone, PartialEq, Eq)]
pub struct Presign<'a> {
    /// Of a gateway: `http://127.0.0.1:9000`.
    pub endpoint: &'a str,
    pub region: &'a str,
    pub access_key: &'a str,
    pub secret: &'a str,
    /// `GET`, `HEAD`, `PUT` or `DELETE`.
    pub method: &'a str,
    pub bucket: &'a str,
    /// Empty for a request on the bucket.
    pub key: &'a str,
    /// Further parameters of the request, such as `partNumber` or `response-content-type`.
    pub query: &'a [(&'a str, &'a str)],
    pub now: SystemTime,
    pub lifetime: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresignError {
    #[error("{0:?} is no endpoint; write http://HOST:PORT or https://HOST")]
    Endpoint(String),
    #[error("a URL lives from 1 second to 7 days")]
    Lifetime,
    #[error("the clock of this machine is out of range")]
    Clock,
}

impl fmt::Debug for Presign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presign").field("method", &self.method).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Presign<'_> {
    pub fn url(&self) -> Result<String, PresignError> {
        let endpoint = self.endpoint.trim_end_matches('/');
        let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        let host = host.filter(|host| !host.is_empty() && !host.contains('/'));
        let host = host.ok_or_else(|| PresignError::Endpoint(self.endpoint.to_owned()))?;
        let path = format!("/{}/{}", self.bucket, self.key);
        let query = self.sign(host, &path)?;
        let path: Vec<_> = path.split('/').map(urlencoding::encode).collect();
        Ok(format!("{endpoint}{}?{query}", path.join("/")))
    }

    /// The query of the URL, signature included.
    fn sign(&self, host: &str, path: &str) -> Result<String, PresignError> {
        if !(Duration::from_secs(1)..=MAX_LIFETIME).contains(&self.lifetime) {
            return Err(PresignError::Lifetime);
        }
        let date = date(self.now)?;
        let scope = format!("{}/{}/{}/{SERVICE}/aws4_request", self.access_key, date.fmt_date(), self.region);
        let mut query = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", scope),
            ("X-Amz-Date", date.fmt_iso8601().to_string()),
            ("X-Amz-Expires", self.lifetime.as_secs().to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ];
        query.extend(self.query.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let request = s3s_sigv4::create_presigned_canonical_request(self.method, path, &query, [("host", host)]);
        let text = s3s_sigv4::create_string_to_sign(&request, &date, self.region, SERVICE);
        let signature = s3s_sigv4::calculate_signature(&text, self.secret, &date, self.region, SERVICE);
        query.push(("X-Amz-Signature", signature));
        let encode =
            |(name, value): &(&str, String)| format!("{}={}", urlencoding::encode(name), urlencoding::encode(value));
        let pairs = query.iter().map(encode);
        Ok(pairs.collect::<Vec<_>>().join("&"))
    }
}

fn date(now: SystemTime) -> Result<AmzDate, PresignError> {
    let now = time::OffsetDateTime::from(now);
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second) = now.to_hms();
    let text = format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month));
    AmzDate::parse(&text).map_err(|_| PresignError::Clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key, date and object of the example in Amazon's description of signature version 4.
    fn example() -> Presign<'static> {
        Presign {
            endpoint: "https://examplebucket.s3.amazonaws.com",
            region: "us-east-1",
            access_key: "AKIAIOSFODNN7EXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            method: "GET",
            bucket: "examplebucket",
            key: "test.txt",
            query: &[],
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600),
            lifetime: Duration::from_secs(86_400),
        }
    }

    #[test]
    fn a_url_is_signed_as_in_amazons_example() {
        let query = example().sign("examplebucket.s3.amazonaws.com", "/test.txt").expect("legal");
        assert_eq!(
            query,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
             aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
             aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn keys_are_encoded_and_what_cannot_be_meant_is_refused() {
        let url = Presign { endpoint: "http://127.0.0.1:9000/", key: "a b/+\u{e9}", ..example() }.url().expect("legal");
        assert!(url.starts_with("http://127.0.0.1:9000/examplebucket/a%20b/%2B%C3%A9?X-Amz-Algorithm="), "{url}");
        for endpoint in ["127.0.0.1:9000", "http://", "http://h/path"] {
            assert!(matches!(Presign { endpoint, ..example() }.url(), Err(PresignError::Endpoint(_))), "{endpoint}");
        }
        for seconds in [0, 7 * 24 * 3600 + 1] {
            let lifetime = Duration::from_secs(seconds);
            assert_eq!(Presign { lifetime, ..example() }.url(), Err(PresignError::Lifetime));
        }
    }
}
