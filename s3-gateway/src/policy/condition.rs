//! The conditions of a statement: all must hold, and for each any of its values.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Facts;
use super::document::{Malformed, Scalar};
use super::pattern::Pattern;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    SourceIp,
    SecureTransport,
    /// Of the query of a listing.
    Query(&'static str),
    MaxKeys,
    Header(&'static str),
}

/// Each as policies name it, in lower case.
const KEYS: [(&str, Key); 19] = [
    ("aws:sourceip", Key::SourceIp),
    ("aws:securetransport", Key::SecureTransport),
    ("aws:referer", Key::Header("referer")),
    ("aws:useragent", Key::Header("user-agent")),
    ("s3:prefix", Key::Query("prefix")),
    ("s3:delimiter", Key::Query("delimiter")),
    ("s3:max-keys", Key::MaxKeys),
    ("s3:x-amz-acl", Key::Header("x-amz-acl")),
    ("s3:x-amz-grant-full-control", Key::Header("x-amz-grant-full-control")),
    ("s3:x-amz-grant-read", Key::Header("x-amz-grant-read")),
    ("s3:x-amz-grant-read-acp", Key::Header("x-amz-grant-read-acp")),
    ("s3:x-amz-grant-write", Key::Header("x-amz-grant-write")),
    ("s3:x-amz-grant-write-acp", Key::Header("x-amz-grant-write-acp")),
    ("s3:x-amz-metadata-directive", Key::Header("x-amz-metadata-directive")),
    ("s3:x-amz-server-side-encryption", Key::Header("x-amz-server-side-encryption")),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", Key::Header("x-amz-server-side-encryption-aws-kms-key-id")),
    (
        "s3:x-amz-server-side-encryption-customer-algorithm",
        Key::Header("x-amz-server-side-encryption-customer-algorithm"),
    ),
    ("s3:x-amz-storage-class", Key::Header("x-amz-storage-class")),
    ("s3:x-amz-website-redirect-location", Key::Header("x-amz-website-redirect-location")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What the value must be: one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Text(Vec<String>),
    CaselessText(Vec<String>),
    Like(Vec<Pattern>),
    Number(Compare, Vec<i64>),
    Flag(Vec<bool>),
    Network(Vec<IpNet>),
    Missing(bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    key: Key,
    wanted: Wanted,
    /// The value must be none of them, or may be missing.
    negated: bool,
    /// It holds where there is no value.
    if_exists: bool,
}

impl Condition {
    pub(super) fn parse(operator: &str, key: &str, values: &[Scalar]) -> Result<Self, Malformed> {
        let known = key.to_ascii_lowercase();
        let found = KEYS.iter().find(|(name, _)| *name == known);
        let Some((_, key)) = found else { return Err(Malformed::ConditionKey(key.to_owned())) };
        if values.is_empty() {
            return Err(Malformed::NoValue(known));
        }
        let (plain, if_exists) = match operator.strip_suffix("IfExists") {
            Some(plain) => (plain, true),
            None => (operator, false),
        };
        let (wanted, negated) =
            wanted(plain, values).ok_or_else(|| Malformed::Condition(operator.to_owned(), known))?;
        let fits = match (&wanted, key) {
            (Wanted::Missing(_), _) => !if_exists,
            (Wanted::Text(_) | Wanted::CaselessText(_) | Wanted::Like(_), Key::Query(_) | Key::Header(_)) => true,
            (Wanted::Number(..), Key::MaxKeys) => true,
            (Wanted::Flag(_), Key::SecureTransport) => true,
            (Wanted::Network(_), Key::SourceIp) => true,
            (
                Wanted::Text(_)
                | Wanted::CaselessText(_)
                | Wanted::Like(_)
                | Wanted::Number(..)
                | Wanted::Flag(_)
                | Wanted::Network(_),
                _,
            ) => false,
        };
        if fits {
            Ok(Self { key: key.clone(), wanted, negated, if_exists })
        } else {
            Err(Malformed::Condition(operator.to_owned(), key_name(key).to_owned()))
        }
    }

    pub(super) fn holds(&self, facts: &Facts) -> bool {
        let text = |of: &[(String, String)], wanted: &str| {
            of.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        let value = match &self.key {
            Key::SourceIp => facts.source.map(Value::Address),
            Key::SecureTransport => Some(Value::Flag(facts.secure)),
            Key::Query(name) => text(&facts.query, name).map(Value::Text),
            Key::MaxKeys => text(&facts.query, "max-keys").map(Value::Text),
            Key::Header(name) => text(&facts.headers, name).map(Value::Text),
        };
        match (&self.wanted, value) {
            (Wanted::Missing(missing), value) => value.is_none() == *missing,
            (_, None) => self.negated || self.if_exists,
            (wanted, Some(value)) => wanted.has(&value) != self.negated,
        }
    }

    /// Whether only callers from a few known addresses can fulfil it.
    pub(super) fn is_narrow(&self) -> bool {
        /// Broader ranges are as good as everywhere, as S3 has it.
        const NARROW_V4: u8 = 8;
        const NARROW_V6: u8 = 32;
        let is_narrow = |network: &IpNet| match network {
            IpNet::V4(network) => network.prefix_len() >= NARROW_V4,
            IpNet::V6(network) => network.prefix_len() >= NARROW_V6,
        };
        match &self.wanted {
            Wanted::Network(networks) => !self.negated && !self.if_exists && networks.iter().all(is_narrow),
            Wanted::Text(_)
            | Wanted::CaselessText(_)
            | Wanted::Like(_)
            | Wanted::Number(..)
            | Wanted::Flag(_)
            | Wanted::Missing(_) => false,
        }
    }
}

fn key_name(key: &Key) -> &'static str {
    KEYS.iter().find(|(_, known)| known == key).map(|(name, _)| *name).expect("each is in the table")
}

/// The value of a request.
enum Value {
    Text(String),
    Flag(bool),
    Address(IpAddr),
}

impl Wanted {
    fn has(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(texts), Value::Text(value)) => texts.contains(value),
            (Self::CaselessText(texts), Value::Text(value)) => {
                texts.iter().any(|text| text.to_lowercase() == value.to_lowercase())
            }
            (Self::Like(patterns), Value::Text(value)) => patterns.iter().any(|pattern| pattern.matches(value)),
            (Self::Number(compare, numbers), Value::Text(value)) => {
                let holds = |value: i64, number: i64| match compare {
                    Compare::Equal => value == number,
                    Compare::Less => value < number,
                    Compare::LessOrEqual => value <= number,
                    Compare::Greater => value > number,
                    Compare::GreaterOrEqual => value >= number,
                };
                value.parse().is_ok_and(|value| numbers.iter().any(|number| holds(value, *number)))
            }
            (Self::Flag(flags), Value::Flag(value)) => flags.contains(value),
            (Self::Network(networks), Value::Address(address)) => {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }
            (
                Self::Text(_)
                | Self::CaselessText(_)
                | Self::Like(_)
                | Self::Number(..)
                | Self::Flag(_)
                | Self::Network(_)
                | Self::Missing(_),
                _,
            ) => unreachable!("parse puts kinds of values and keys together"),
        }
    }
}

/// What an operator with these values wants, and whether it wants the opposite. None if there is no such operator, or a
/// value is not of its kind.
fn wanted(operator: &str, values: &[Scalar]) -> Option<(Wanted, bool)> {
    let texts = || values.iter().map(Scalar::text).collect::<Vec<_>>();
    let like = || texts().iter().map(|text| Pattern::new(text)).collect::<Option<Vec<_>>>().map(Wanted::Like);
    let number = |compare| {
        let numbers = texts().iter().map(|text| text.parse().ok()).collect::<Option<Vec<i64>>>();
        numbers.map(|numbers| Wanted::Number(compare, numbers))
    };
    let flags = || texts().iter().map(|text| flag(text)).collect::<Option<Vec<bool>>>();
    let networks = || texts().iter().map(|text| network(text)).collect::<Option<Vec<_>>>().map(Wanted::Network);
    let (wanted, negated) = match operator {
        "StringEquals" => (Some(Wanted::Text(texts())), false),
        "StringNotEquals" => (Some(Wanted::Text(texts())), true),
        "StringEqualsIgnoreCase" => (Some(Wanted::CaselessText(texts())), false),
        "StringNotEqualsIgnoreCase" => (Some(Wanted::CaselessText(texts())), true),
        "StringLike" => (like(), false),
        "StringNotLike" => (like(), true),
        "NumericEquals" => (number(Compare::Equal), false),
        "NumericNotEquals" => (number(Compare::Equal), true),
        "NumericLessThan" => (number(Compare::Less), false),
        "NumericLessThanEquals" => (number(Compare::LessOrEqual), false),
        "NumericGreaterThan" => (number(Compare::Greater), false),
        "NumericGreaterThanEquals" => (number(Compare::GreaterOrEqual), false),
        "Bool" => (flags().map(Wanted::Flag), false),
        "IpAddress" => (networks(), false),
        "NotIpAddress" => (networks(), true),
        "Null" => match flags()?.as_slice() {
            [missing] => (Some(Wanted::Missing(*missing)), false),
            _ => (None, false),
        },
        _ => (None, false),
    };
    wanted.map(|wanted| (wanted, negated))
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
