use proptest::prelude::*;

use super::action::Extras;
use super::*;

const BUCKET: &str = "photos";
const ANN: Requester = Requester::User(1001);
const BOB: Requester = Requester::User(1002);

fn parse(text: &str) -> Result<Policy, Malformed> {
    Policy::parse(text, BUCKET, |name| (name == "ann").then_some(1001))
}

/// A policy of one statement, whose fields beside the usual ones are given.
fn one(effect: &str, principal: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Sid": "s", "Effect": "{effect}", "Principal": {principal},
        "Action": {action}, "Resource": {resource}, "Condition": {condition}}}]}}"#
    )
}

fn facts() -> Facts {
    Facts { source: Some("192.0.2.7".parse().expect("an address")), secure: true, ..Facts::default() }
}

fn decide(policy: &str, requester: Requester, action: &str, resource: &str) -> Decision {
    parse(policy).expect("understood").decide(requester, &[action.to_owned()], resource, &facts())
}

#[test]
fn a_statement_is_about_its_principals_actions_and_resources() {
    use Decision::{Allowed, Unsaid};
    let all = r#""arn:aws:s3:::photos/*""#;
    for (principal, action, resource, requester, asked, on, decision) in [
        (r#""*""#, r#""s3:GetObject""#, all, Requester::Anonymous, "s3:GetObject", "photos/a/b", Allowed),
        (r#"{"AWS": "*"}"#, r#""s3:*""#, all, Requester::Anonymous, "s3:PutObject", "photos/a", Allowed),
        (r#""*""#, r#""s3:GetObject""#, all, ANN, "s3:PutObject", "photos/a", Unsaid),
        (r#""*""#, r#""s3:GetObject""#, all, ANN, "s3:GetObject", "photos", Unsaid),
        (r#""*""#, r#""S3:getobj*""#, all, ANN, "s3:GetObjectTagging", "photos/a", Allowed),
        (r#""*""#, r#""*""#, r#""*""#, ANN, "s3:ListBucket", "photos", Allowed),
        (
            r#""*""#,
            r#""s3:GetObject""#,
            r#""arn:aws:s3:::photos/a/?.jpg""#,
            ANN,
            "s3:GetObject",
            "photos/a/1.jpg",
            Allowed,
        ),
        (
            r#""*""#,
            r#""s3:GetObject""#,
            r#""arn:aws:s3:::photos/a/?.jpg""#,
            ANN,
            "s3:GetObject",
            "photos/a/12.jpg",
            Unsaid,
        ),
        (
            r#""*""#,
            r#"["s3:PutObject", "s3:GetObject"]"#,
            r#""arn:aws:s3::*:photos/*""#,
            BOB,
            "s3:GetObject",
            "photos/x",
            Allowed,
        ),
        (r#"{"AWS": "1001"}"#, r#""s3:*""#, all, ANN, "s3:GetObject", "photos/a", Allowed),
        (r#"{"AWS": "1001"}"#, r#""s3:*""#, all, BOB, "s3:GetObject", "photos/a", Unsaid),
        (r#"{"AWS": "1001"}"#, r#""s3:*""#, all, Requester::Anonymous, "s3:GetObject", "photos/a", Unsaid),
        (r#"{"AWS": ["arn:aws:iam:::user/ann"]}"#, r#""s3:*""#, all, ANN, "s3:GetObject", "photos/a", Allowed),
        (r#"{"AWS": "arn:aws:iam::1002:root"}"#, r#""s3:*""#, all, BOB, "s3:GetObject", "photos/a", Allowed),
        (r#"{"AWS": "arn:aws:iam::1002:user/staff/1002"}"#, r#""s3:*""#, all, BOB, "s3:GetObject", "photos/a", Allowed),
        (r#"{"CanonicalUser": "1002"}"#, r#""s3:*""#, all, BOB, "s3:GetObject", "photos/a", Allowed),
    ] {
        let policy = one("Allow", principal, action, resource, "{}");
        assert_eq!(decide(&policy, requester, asked, on), decision, "{policy} {requester:?} {asked} {on}");
    }
}

#[test]
fn a_deny_goes_before_every_allow() {
    let policy = r#"{"Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"]},
        {"Effect": "Deny", "NotPrincipal": {"AWS": "1001"}, "NotAction": "s3:GetObject", "NotResource": "arn:aws:s3:::photos/open/*"}]}"#;
    for (requester, action, resource, decision) in [
        (ANN, "s3:PutObject", "photos/a", Decision::Allowed),
        (BOB, "s3:PutObject", "photos/a", Decision::Denied),
        (Requester::Anonymous, "s3:PutObject", "photos/a", Decision::Denied),
        (BOB, "s3:GetObject", "photos/a", Decision::Allowed),
        (BOB, "s3:PutObject", "photos/open/a", Decision::Allowed),
    ] {
        assert_eq!(decide(policy, requester, action, resource), decision, "{requester:?} {action} {resource}");
    }
    let both = actions("GetObject", Extras { version: true, ..Extras::default() });
    let allow =
        parse(&one("Allow", r#""*""#, r#""s3:GetObject""#, r#""arn:aws:s3:::photos/*""#, "{}")).expect("understood");
    assert_eq!(allow.decide(ANN, &both, "photos/a", &facts()), Decision::Unsaid, "all rights are needed");
}

#[test]
fn conditions_hold_as_their_operators_say() {
    let facts = Facts {
        source: Some("::ffff:192.0.2.7".parse().expect("an address")),
        secure: false,
        query: vec![("prefix".to_owned(), "home/ann/".to_owned()), ("max-keys".to_owned(), "10".to_owned())],
        headers: vec![("referer".to_owned(), "https://Example.com/x".to_owned())],
    };
    for (condition, holds) in [
        (r#"{"IpAddress": {"aws:SourceIp": ["198.51.100.0/24", "192.0.2.0/24"]}}"#, true),
        (r#"{"NotIpAddress": {"aws:SourceIp": "192.0.2.7"}}"#, false),
        (r#"{"IpAddress": {"AWS:sourceip": "2001:db8::/32"}}"#, false),
        (r#"{"Bool": {"aws:SecureTransport": "false"}}"#, true),
        (r#"{"Bool": {"aws:SecureTransport": true}}"#, false),
        (r#"{"StringEquals": {"s3:prefix": ["x", "home/ann/"]}}"#, true),
        (r#"{"StringEquals": {"s3:prefix": "home/*"}}"#, false),
        (r#"{"StringLike": {"s3:prefix": "home/*"}}"#, true),
        (r#"{"StringNotLike": {"s3:prefix": "home/*"}}"#, false),
        (r#"{"StringNotEquals": {"s3:prefix": ["x", "home/ann/"]}}"#, false),
        (r#"{"StringEqualsIgnoreCase": {"aws:Referer": "HTTPS://example.COM/x"}}"#, true),
        (r#"{"NumericLessThanEquals": {"s3:max-keys": 10}}"#, true),
        (r#"{"NumericLessThan": {"s3:max-keys": "10"}}"#, false),
        (r#"{"NumericGreaterThan": {"s3:max-keys": "9"}}"#, true),
        // There is no delimiter.
        (r#"{"StringEquals": {"s3:delimiter": "/"}}"#, false),
        (r#"{"StringNotEquals": {"s3:delimiter": "/"}}"#, true),
        (r#"{"StringEqualsIfExists": {"s3:delimiter": "/"}}"#, true),
        (r#"{"StringEqualsIfExists": {"s3:prefix": "/"}}"#, false),
        (r#"{"Null": {"s3:delimiter": "true"}}"#, true),
        (r#"{"Null": {"s3:prefix": "true"}}"#, false),
        (r#"{"Null": {"s3:prefix": "true", "s3:delimiter": "true"}}"#, false),
        (r#"{"StringLike": {"s3:prefix": "*"}, "Bool": {"aws:SecureTransport": "true"}}"#, false),
    ] {
        let policy = parse(&one("Allow", r#""*""#, r#""s3:*""#, r#""arn:aws:s3:::photos""#, condition));
        let decision = policy.expect("understood").decide(ANN, &["s3:ListBucket".to_owned()], BUCKET, &facts);
        assert_eq!(decision == Decision::Allowed, holds, "{condition}");
    }
}

#[test]
fn what_is_not_understood_is_refused_to_the_last_word() {
    let (all, get, arn) = (r#""*""#, r#""s3:GetObject""#, r#""arn:aws:s3:::photos/*""#);
    let refused = [
        "",
        "{}",
        "[]",
        "null",
        r#"{"Statement": []}"#,
        r#"{"Version": "2020-01-01", "Statement": []}"#,
        r#"{"Statement": [{"Effect": "Allow"}]}"#,
        r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos", "Else": 1}}"#,
        r#"{"Statement": {"Effect": "Deny", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::photos"}}"#,
        r#"{"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "1"}, "Action": "s3:*", "Resource": "arn:aws:s3:::photos"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "NotAction": "s3:*", "Resource": "arn:aws:s3:::photos"}}"#,
        &one("Permit", all, get, arn, "{}"),
        &one("Allow", r#"{"AWS": "nobody"}"#, get, arn, "{}"),
        &one("Allow", r#"{"AWS": []}"#, get, arn, "{}"),
        &one("Allow", r#"{"AWS": "arn:aws:iam:::user/nobody"}"#, get, arn, "{}"),
        &one("Allow", r#"{"AWS": "arn:aws:iam::7:user/ann"}"#, get, arn, "{}"),
        &one("Allow", r#"{"AWS": "arn:aws:sts::1001:assumed-role/x/y"}"#, get, arn, "{}"),
        &one("Allow", r#"{"Service": "cloudtrail.amazonaws.com"}"#, get, arn, "{}"),
        &one("Allow", r#""1001""#, get, arn, "{}"),
        &one("Allow", all, r#""s3:GetObjct""#, arn, "{}"),
        &one("Allow", all, r#""ec2:*""#, arn, "{}"),
        &one("Allow", all, "[]", arn, "{}"),
        &one("Allow", all, get, r#""arn:aws:s3:::other/*""#, "{}"),
        &one("Allow", all, get, r#""arn:aws:s3:::photos2""#, "{}"),
        &one("Allow", all, get, r#""arn:aws:s3:us-east-1::photos/*""#, "{}"),
        &one("Allow", all, get, r#""photos/*""#, "{}"),
        &one("Allow", all, get, r#""arn:aws:s3:::photos/${aws:username}/*""#, "{}"),
        &one("Allow", all, get, arn, r#"{"StringEquals": {"aws:username": "ann"}}"#),
        &one("Allow", all, get, arn, r#"{"StringSame": {"s3:prefix": "x"}}"#),
        &one("Allow", all, get, arn, r#"{"ForAnyValue:StringEquals": {"s3:prefix": "x"}}"#),
        &one("Allow", all, get, arn, r#"{"StringEquals": {"s3:prefix": []}}"#),
        &one("Allow", all, get, arn, r#"{"StringEquals": {"s3:prefix": "a"}, "StringEquals": {"s3:prefix": "b"}}"#),
        &one("Allow", all, get, arn, r#"{"StringEquals": {"aws:SourceIp": "192.0.2.7"}}"#),
        &one("Allow", all, get, arn, r#"{"IpAddress": {"aws:SourceIp": "192.0.2.0/99"}}"#),
        &one("Allow", all, get, arn, r#"{"IpAddress": {"s3:prefix": "192.0.2.7"}}"#),
        &one("Allow", all, get, arn, r#"{"Bool": {"aws:SecureTransport": "perhaps"}}"#),
        &one("Allow", all, get, arn, r#"{"NumericEquals": {"s3:max-keys": "ten"}}"#),
        &one("Allow", all, get, arn, r#"{"NullIfExists": {"s3:max-keys": "true"}}"#),
        &"[".repeat(10_000),
        &" ".repeat(20_481),
    ];
    for text in refused {
        assert!(parse(text).is_err(), "{text}");
    }
    parse(&one("Allow", all, get, arn, "{}")).expect("what the others were made of");
    let old = one("Allow", all, get, r#""arn:aws:s3:::photos/${x}""#, "{}").replace("2012-10-17", "2008-10-17");
    assert_eq!(decide(&old, ANN, "s3:GetObject", "photos/${x}"), Decision::Allowed, "no variables in the old version");
}

#[test]
fn a_policy_is_public_unless_its_allows_name_users_or_few_addresses() {
    let (get, arn) = (r#""s3:GetObject""#, r#""arn:aws:s3:::photos/*""#);
    for (effect, principal, condition, public) in [
        ("Allow", r#""*""#, "{}", true),
        ("Deny", r#""*""#, "{}", false),
        ("Allow", r#"{"AWS": "1001"}"#, "{}", false),
        ("Allow", r#"{"AWS": ["1001", "*"]}"#, "{}", true),
        ("Allow", r#""*""#, r#"{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#, false),
        ("Allow", r#""*""#, r#"{"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/0"]}}"#, true),
        ("Allow", r#""*""#, r#"{"IpAddressIfExists": {"aws:SourceIp": "192.0.2.0/24"}}"#, true),
        ("Allow", r#""*""#, r#"{"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#, true),
        ("Allow", r#""*""#, r#"{"StringLike": {"aws:Referer": "https://example.com/*"}}"#, true),
    ] {
        let policy = parse(&one(effect, principal, get, arn, condition)).expect("understood");
        assert_eq!(policy.is_public(), public, "{effect} {principal} {condition}");
    }
}

/// A statement of a small world, as its text and as what it is about there.
type Small = (bool, u32, &'static str, &'static str);

fn statements() -> impl Strategy<Value = Vec<Small>> {
    let actions = prop_oneof![Just("s3:GetObject"), Just("s3:PutObject"), Just("s3:*"), Just("s3:Get*")];
    let resources = prop_oneof![Just("photos"), Just("photos/*"), Just("photos/a*"), Just("photos*")];
    proptest::collection::vec((any::<bool>(), 0_u32..3, actions, resources), 1..6)
}

proptest! {
    /// Held against the definition, spelled out for this world.
    #[test]
    fn decisions_are_those_of_the_definition(
        statements in statements(), uid in 1_u32..3, action in 0_usize..2, resource in 0_usize..3,
    ) {
        let action = ["s3:GetObject", "s3:PutObject"][action];
        let resource = ["photos", "photos/abc", "photos/x"][resource];
        let text: Vec<String> = statements.iter().map(|(allow, uid, action, resource)| {
            let effect = if *allow { "Allow" } else { "Deny" };
            let principal = if *uid == 0 { r#""*""#.to_owned() } else { format!(r#"{{"AWS": "{uid}"}}"#) };
            format!(r#"{{"Effect": "{effect}", "Principal": {principal}, "Action": "{action}", "Resource": "arn:aws:s3:::{resource}"}}"#)
        }).collect();
        let policy = parse(&format!(r#"{{"Statement": [{}]}}"#, text.join(","))).expect("understood");
        let starts = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(head) => text.starts_with(head),
            None => pattern == text,
        };
        let about = |wanted: bool| statements.iter().any(|(allow, who, actions, resources)| {
            *allow == wanted && (*who == 0 || *who == uid) && starts(actions, action) && starts(resources, resource)
        });
        let expected = match (about(false), about(true)) {
            (true, _) => Decision::Denied,
            (false, true) => Decision::Allowed,
            (false, false) => Decision::Unsaid,
        };
        prop_assert_eq!(policy.decide(Requester::User(uid), &[action.to_owned()], resource, &facts()), expected);
    }

    #[test]
    fn rubbish_is_refused_and_never_a_panic(text in ".{0,200}", at in 0_usize..300, cut in "[\"{}:,*a-z0]{0,3}") {
        let _ = parse(&text);
        let mut whole = one("Allow", r#""*""#, r#""s3:*""#, r#""arn:aws:s3:::photos/*""#, r#"{"Null": {"s3:prefix": "true"}}"#);
        let at = at.min(whole.len());
        if whole.is_char_boundary(at) {
            whole.insert_str(at, &cut);
        }
        let _ = parse(&whole);
    }
}
