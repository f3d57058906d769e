//! Conditional requests: which answer a reader gets, and what a writer's change depends on.
//!
//! The order of the tests is that of RFC 9110, 13.2.2: a match of etags decides before dates do.

use client::objects::Condition;
use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::failure::not_implemented;

/// What a reader asks of the object.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) if_match: Option<&'a ETagCondition>,
    pub(crate) if_none_match: Option<&'a ETagCondition>,
    pub(crate) if_modified_since: Option<&'a Timestamp>,
    pub(crate) if_unmodified_since: Option<&'a Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    /// 304
    NotModified,
    /// 412
    Failed,
}

impl Wanted<'_> {
    /// What follows for an object with this etag, last modified at this second.
    pub(crate) fn judge(&self, etag: &str, modified: i64) -> Verdict {
        let names = |condition: &ETagCondition| condition.as_etag().is_none_or(|named| named.value() == etag);
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !names(condition) => return Verdict::Failed,
            (None, Some(since)) if modified > seconds(since) => return Verdict::Failed,
            (Some(_) | None, _) => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if names(condition) => Verdict::NotModified,
            (None, Some(since)) if modified <= seconds(since) => Verdict::NotModified,
            (Some(_) | None, _) => Verdict::Holds,
        }
    }
}

fn seconds(at: &Timestamp) -> i64 {
    time::OffsetDateTime::from(at.clone()).unix_timestamp()
}

/// The condition of a change, as the namenode decides it (invariant 3).
pub(crate) fn of_change(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Option<Condition>> {
    match (if_match, if_none_match) {
        (None, None) => Ok(None),
        (Some(condition), None) => Ok(Some(match condition.as_etag() {
            Some(etag) => Condition::Matches(vec![etag.value().to_owned()]),
            None => Condition::Exists,
        })),
        (None, Some(condition)) if condition.is_any() => Ok(Some(Condition::Absent)),
        (None, Some(_)) => Err(not_implemented("If-None-Match with an etag on a change")),
        (Some(_), Some(_)) => Err(S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            "If-Match and If-None-Match on one change contradict each other",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(etag: &str) -> ETagCondition {
        ETagCondition::parse_http_header(etag.as_bytes()).expect("legal")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from(time::OffsetDateTime::from_unix_timestamp(seconds).expect("legal"))
    }

    /// The etag is `a`, the object was modified at second 100.
    #[test]
    fn etags_decide_before_dates() {
        let (a, b, any) = (tag("\"a\""), tag("\"b\""), tag("*"));
        let (before, same, after) = (at(99), at(100), at(101));
        type Case<'a> = (
            Option<&'a ETagCondition>,
            Option<&'a ETagCondition>,
            Option<&'a Timestamp>,
            Option<&'a Timestamp>,
            Verdict,
        );
        let cases: [Case<'_>; 14] = [
            (None, None, None, None, Verdict::Holds),
            (Some(&a), None, None, None, Verdict::Holds),
            (Some(&any), None, None, None, Verdict::Holds),
            (Some(&b), None, None, None, Verdict::Failed),
            (None, Some(&a), None, None, Verdict::NotModified),
            (None, Some(&any), None, None, Verdict::NotModified),
            (None, Some(&b), None, None, Verdict::Holds),
            (None, None, Some(&before), None, Verdict::Holds),
            (None, None, Some(&same), None, Verdict::NotModified),
            (None, None, None, Some(&before), Verdict::Failed),
            (None, None, None, Some(&same), Verdict::Holds),
            (Some(&a), None, None, Some(&before), Verdict::Holds),
            (None, Some(&b), Some(&after), None, Verdict::Holds),
            (Some(&b), Some(&a), None, None, Verdict::Failed),
        ];
        for (if_match, if_none_match, if_modified_since, if_unmodified_since, verdict) in cases {
            let wanted = Wanted { if_match, if_none_match, if_modified_since, if_unmodified_since };
            assert_eq!(wanted.judge("a", 100), verdict, "{wanted:?}");
        }
    }

    #[test]
    fn a_change_depends_on_what_can_be_decided_with_it() {
        let (a, any) = (tag("\"a\""), tag("*"));
        assert_eq!(of_change(None, None).expect("none"), None);
        assert_eq!(of_change(Some(&any), None).expect("legal"), Some(Condition::Exists));
        assert_eq!(of_change(Some(&a), None).expect("legal"), Some(Condition::Matches(vec!["a".to_owned()])));
        assert_eq!(of_change(None, Some(&any)).expect("legal"), Some(Condition::Absent));
        assert_eq!(*of_change(None, Some(&a)).expect_err("refused").code(), S3ErrorCode::NotImplemented);
        assert_eq!(*of_change(Some(&a), Some(&any)).expect_err("refused").code(), S3ErrorCode::InvalidRequest);
    }
}
