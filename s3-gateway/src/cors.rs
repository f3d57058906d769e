//! Which pages of other origins a browser lets at a bucket: its rules, and what they say of a request. Pure.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use minicbor::{Decode, Encode};
use s3s::dto::{CORSConfiguration, CORSRule};
use s3s::{S3Error, S3ErrorCode, S3Result};

const VERSION: u8 = 1;
/// The limits of S3.
const MAX_RULES: usize = 100;
const MAX_ID: usize = 255;
const MAX_ENCODED: usize = 64 << 10;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
/// On what an answer depends, for caches.
const VARIES: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// The rules of a bucket. The first that fits a request answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Rule {
    #[n(0)]
    id: Option<String>,
    /// Exact, or with one `*`.
    #[n(1)]
    origins: Vec<String>,
    #[n(2)]
    methods: Vec<String>,
    /// Exact, or with one `*`, of any case.
    #[n(3)]
    headers: Vec<String>,
    #[n(4)]
    expose: Vec<String>,
    /// Seconds.
    #[n(5)]
    max_age: Option<u32>,
}

impl Rules {
    pub(crate) fn read(configuration: CORSConfiguration) -> S3Result<Self> {
        let rules = configuration.cors_rules;
        if rules.is_empty() || rules.len() > MAX_RULES {
            return Err(S3Error::new(S3ErrorCode::MalformedXML));
        }
        rules.into_iter().map(Rule::read).collect::<S3Result<_>>().map(Self)
    }

    pub(crate) fn show(&self) -> Vec<CORSRule> {
        self.0.iter().map(Rule::show).collect()
    }

    pub(crate) fn encode(&self) -> S3Result<Vec<u8>> {
        let mut bytes = vec![VERSION];
        minicbor::encode(&self.0, &mut bytes).expect("writing to memory does not fail");
        if bytes.len() > MAX_ENCODED {
            return Err(invalid("the rules are longer than 64 KiB".to_owned()));
        }
        Ok(bytes)
    }

    /// None if they do not read, or are of a later version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, body)) => minicbor::decode(body).ok().map(Self),
            Some(_) | None => None,
        }
    }

    /// What the answer to a request from a page of `origin` carries; none if no rule fits. `headers` are those that a
    /// browser asks for in advance, and none for the request itself.
    pub(crate) fn answer(&self, origin: &str, method: &str, headers: &[String]) -> Option<HeaderMap> {
        self.0.iter().find_map(|rule| rule.answer(origin, method, headers))
    }
}

impl Rule {
    fn read(rule: CORSRule) -> S3Result<Self> {
        let CORSRule { allowed_headers, allowed_methods, allowed_origins, expose_headers, id, max_age_seconds } = rule;
        let (headers, expose) = (allowed_headers.unwrap_or_default(), expose_headers.unwrap_or_default());
        if allowed_methods.is_empty() || allowed_origins.is_empty() || id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
            return Err(S3Error::new(S3ErrorCode::MalformedXML));
        }
        if let Some(method) = allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let message = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
            return Err(invalid(message));
        }
        for (what, patterns) in [("AllowedOrigin", &allowed_origins), ("AllowedHeader", &headers)] {
            if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches('*').count() > 1) {
                return Err(invalid(format!("{what} \"{pattern}\" can not have more than one wildcard.")));
            }
        }
        if let Some(header) = expose.iter().find(|header| header.parse::<HeaderName>().is_err() || header.contains('*'))
        {
            return Err(invalid(format!(
                "ExposeHeader \"{header}\" is no name of a header; wildcards cannot stand there."
            )));
        }
        let max_age = max_age_seconds.map(u32::try_from).transpose();
        let max_age = max_age.map_err(|_| S3Error::new(S3ErrorCode::MalformedXML))?;
        Ok(Self { id, origins: allowed_origins, methods: allowed_methods, headers, expose, max_age })
    }

    fn show(&self) -> CORSRule {
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        CORSRule {
            allowed_headers: some(&self.headers),
            allowed_methods: self.methods.clone(),
            allowed_origins: self.origins.clone(),
            expose_headers: some(&self.expose),
            id: self.id.clone(),
            max_age_seconds: self.max_age.and_then(|age| i32::try_from(age).ok()),
        }
    }

    fn answer(&self, origin: &str, method: &str, headers: &[String]) -> Option<HeaderMap> {
        let allowed = self.origins.iter().find(|allowed| fits(allowed, origin))?;
        let allows = |header: &String| {
            self.headers.iter().any(|allowed| fits(&allowed.to_ascii_lowercase(), &header.to_ascii_lowercase()))
        };
        if !self.methods.iter().any(|allowed| allowed == method) || !headers.iter().all(allows) {
            return None;
        }
        let anybody = allowed == "*";
        let mut answer = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            // What a header cannot say, such as an origin with a line break, is not said.
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.insert(name, value);
            }
        };
        set(ACCESS_CONTROL_ALLOW_ORIGIN, if anybody { "*" } else { origin });
        set(ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(", "));
        if !headers.is_empty() {
            set(ACCESS_CONTROL_ALLOW_HEADERS, &headers.join(", ").to_ascii_lowercase());
        }
        if !self.expose.is_empty() {
            set(ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose.join(", "));
        }
        if let Some(age) = self.max_age {
            set(ACCESS_CONTROL_MAX_AGE, &age.to_string());
        }
        if !anybody {
            set(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(VARY, VARIES);
        Some(answer)
    }
}

/// Whether `text` is what `pattern` says, which has at most one `*`.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail),
    }
}

fn invalid(message: String) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CORSRule {
        CORSRule {
            allowed_headers: (!headers.is_empty()).then(|| list(headers)),
            allowed_methods: list(methods),
            allowed_origins: list(origins),
            expose_headers: None,
            id: None,
            max_age_seconds: None,
        }
    }

    fn rules(rules: Vec<CORSRule>) -> S3Result<Rules> {
        Rules::read(CORSConfiguration { cors_rules: rules })
    }

    fn said(answer: &HeaderMap, name: &str) -> Option<String> {
        answer.get(name).map(|value| value.to_str().expect("ours").to_owned())
    }

    #[test]
    fn the_first_rule_that_fits_in_origin_method_and_headers_answers() {
        let put = CORSRule {
            expose_headers: Some(list(&["ETag", "x-amz-request-id"])),
            max_age_seconds: Some(600),
            ..rule(&["https://*.example.com"], &["PUT", "GET"], &["x-amz-*", "Content-Type"])
        };
        let rules = rules(vec![put, rule(&["*"], &["GET"], &[])]).expect("legal");
        for (origin, method, headers, allowed) in [
            ("https://a.example.com", "PUT", &[][..], Some("https://a.example.com")),
            ("https://a.example.com", "PUT", &["X-Amz-Date", "content-type"], Some("https://a.example.com")),
            ("https://a.example.com", "PUT", &["x-amz-date", "x-other"], None),
            ("https://.example.com", "PUT", &[], Some("https://.example.com")),
            ("https://example.com", "PUT", &[], None),
            ("HTTPS://A.example.com", "PUT", &[], None),
            ("https://a.example.com", "DELETE", &[], None),
            ("https://other.org", "GET", &[], Some("*")),
            ("https://other.org", "GET", &["x-amz-date"], None),
            ("https://other.org", "get", &[], None),
        ] {
            let answer = rules.answer(origin, method, &list(headers));
            let found = answer.as_ref().and_then(|answer| said(answer, "access-control-allow-origin"));
            assert_eq!(found.as_deref(), allowed, "{origin} {method} {headers:?}");
        }
        let answer = rules.answer("https://a.example.com", "PUT", &list(&["X-Amz-Date"])).expect("it fits");
        for (name, value) in [
            ("access-control-allow-methods", Some("PUT, GET")),
            ("access-control-allow-headers", Some("x-amz-date")),
            ("access-control-expose-headers", Some("ETag, x-amz-request-id")),
            ("access-control-max-age", Some("600")),
            ("access-control-allow-credentials", Some("true")),
            ("vary", Some(VARIES)),
        ] {
            assert_eq!(said(&answer, name).as_deref(), value, "{name}");
        }
        let open = rules.answer("https://other.org", "GET", &[]).expect("it fits");
        assert_eq!(said(&open, "access-control-allow-credentials"), None, "not for everybody");
    }

    #[test]
    fn a_star_does_not_let_its_two_sides_overlap() {
        assert!(fits("http://a*a", "http://aa") && !fits("http://a*a", "http://a"));
        assert!(fits("*", "") && fits("x*", "x") && !fits("x", "xy"));
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused_and_others_keep_their_bytes() {
        let refused = [
            vec![],
            vec![rule(&[], &["GET"], &[])],
            vec![rule(&["*"], &[], &[])],
            vec![rule(&["*"], &["PATCH"], &[])],
            vec![rule(&["https://*.*"], &["GET"], &[])],
            vec![rule(&["*"], &["GET"], &["x-*-*"])],
            vec![CORSRule { expose_headers: Some(list(&["x-*"])), ..rule(&["*"], &["GET"], &[]) }],
            vec![CORSRule { expose_headers: Some(list(&["a\nb"])), ..rule(&["*"], &["GET"], &[]) }],
            vec![CORSRule { max_age_seconds: Some(-1), ..rule(&["*"], &["GET"], &[]) }],
            vec![CORSRule { id: Some("i".repeat(256)), ..rule(&["*"], &["GET"], &[]) }],
            vec![rule(&["*"], &["GET"], &[]); 101],
        ];
        for refused in refused {
            assert!(rules(refused.clone()).is_err(), "{refused:?}");
        }
        let long = rules(vec![rule(&[&"o".repeat(70_000)], &["GET"], &[])]).expect("short in number");
        assert!(long.encode().is_err());
        let kept = rules(vec![CORSRule { id: Some("i".to_owned()), ..rule(&["*"], &["GET"], &["h"]) }]).expect("legal");
        let bytes = kept.encode().expect("short");
        assert_eq!(hex::encode(&bytes), "018185616981612a816347455481616880");
        assert_eq!(Rules::decode(&bytes), Some(kept));
        assert_eq!([Rules::decode(b""), Rules::decode(b"\x02\x80"), Rules::decode(b"\x01rubbish")], [None, None, None]);
    }
}
