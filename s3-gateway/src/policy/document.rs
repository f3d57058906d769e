//! Reading a policy, and deciding by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::condition::Condition;
use super::pattern::Pattern;
use super::{Decision, Facts, Requester, action};

/// Of a policy's text, as for S3.
pub(crate) const MAX_POLICY: usize = 20 << 10;
/// Everything that a bucket of a name is.
const ARN: &str = "arn:<partition>:s3:::<bucket>[/<key>]";

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the policy is longer than {MAX_POLICY} bytes")]
    TooLong,
    #[error("the policy does not read: {0}")]
    Json(String),
    #[error("the version {0:?} is not known; write \"2012-10-17\"")]
    Version(String),
    #[error("the policy has no statement")]
    NoStatement,
    #[error("a statement needs exactly one of {0} and {1}, and a value for it")]
    OneOf(&'static str, &'static str),
    #[error("the principal {0:?} is not known here; write \"*\", a number of a user, or arn:aws:iam:::user/<name>")]
    Principal(String),
    #[error("a statement that allows cannot have a NotPrincipal")]
    AllowsNotPrincipal,
    #[error("the action {0:?} is not known")]
    Action(String),
    #[error("the resource {0:?} is not of this bucket; write {ARN}")]
    Resource(String),
    #[error("policy variables are not supported: {0:?}")]
    Variable(String),
    #[error("the condition key {0:?} is not supported")]
    ConditionKey(String),
    #[error("the condition {0} of {1} is not supported, or its value is not of its kind")]
    Condition(String, String),
    #[error("the condition on {0} has no value")]
    NoValue(String),
}

/// A policy that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy(Vec<Statement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    principals: Principals,
    actions: Names,
    resources: Names,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Principals {
    Everybody,
    Users(Vec<u32>),
    /// Nobody who has not signed is among them.
    AllBut(Vec<u32>),
}

/// Those that fit one of the patterns, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names {
    patterns: Vec<Pattern>,
    complement: bool,
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name)) != self.complement
    }
}

impl Principals {
    fn has(&self, requester: Requester) -> bool {
        match (self, requester) {
            (Self::Everybody, _) => true,
            (Self::Users(users), Requester::User(uid)) => users.contains(&uid),
            (Self::Users(_), Requester::Anonymous) => false,
            (Self::AllBut(users), Requester::User(uid)) => !users.contains(&uid),
            (Self::AllBut(_), Requester::Anonymous) => true,
        }
    }
}

impl Statement {
    fn is_about(&self, requester: Requester, action: &str, resource: &str, facts: &Facts) -> bool {
        self.principals.has(requester)
            && self.actions.has(action)
            && self.resources.has(resource)
            && self.conditions.iter().all(|condition| condition.holds(facts))
    }
}

impl Policy {
    /// Reads the policy of a bucket. `user` finds the number of a user by its name.
    pub(crate) fn parse(text: &str, bucket: &str, user: impl Fn(&str) -> Option<u32>) -> Result<Self, Malformed> {
        if text.len() > MAX_POLICY {
            return Err(Malformed::TooLong);
        }
        let unread = |error: serde_json::Error| Malformed::Json(error.to_string());
        let Unique(value) = serde_json::from_str(text).map_err(unread)?;
        let document: Document = serde_json::from_value(value).map_err(unread)?;
        let with_variables = match document.version.as_deref() {
            None | Some("2008-10-17") => false,
            Some("2012-10-17") => true,
            Some(other) => return Err(Malformed::Version(other.to_owned())),
        };
        if document.statements.0.is_empty() {
            return Err(Malformed::NoStatement);
        }
        let reading = Reading { bucket, user: &user, with_variables };
        let statements = document.statements.0.into_iter().map(|statement| reading.statement(statement));
        statements.collect::<Result<_, _>>().map(Self)
    }

    /// What the policy says of a request that takes all of `actions` on a resource, `bucket` or `bucket/key`
    /// (invariant 1).
    pub(crate) fn decide(&self, requester: Requester, actions: &[String], resource: &str, facts: &Facts) -> Decision {
        let said = |effect: Effect, action: &str| {
            let action = action.to_ascii_lowercase();
            let mut statements = self.0.iter().filter(|statement| statement.effect == effect);
            statements.any(|statement| statement.is_about(requester, &action, resource, facts))
        };
        if actions.iter().any(|action| said(Effect::Deny, action)) {
            Decision::Denied
        } else if actions.iter().all(|action| said(Effect::Allow, action)) {
            Decision::Allowed
        } else {
            Decision::Unsaid
        }
    }

    /// Whether it gives a right to anybody at all, or from nearly anywhere.
    pub(crate) fn is_public(&self) -> bool {
        self.0.iter().any(|statement| {
            statement.effect == Effect::Allow
                && statement.principals == Principals::Everybody
                && !statement.conditions.iter().any(Condition::is_narrow)
        })
    }
}

struct Reading<'a> {
    bucket: &'a str,
    user: &'a dyn Fn(&str) -> Option<u32>,
    /// `${` begins a variable.
    with_variables: bool,
}

impl Reading<'_> {
    fn statement(&self, raw: RawStatement) -> Result<Statement, Malformed> {
        let principals = match (raw.principal, raw.not_principal, raw.effect) {
            (Some(raw), None, _) => self.principals(&raw)?,
            (None, Some(_), Effect::Allow) => return Err(Malformed::AllowsNotPrincipal),
            (None, Some(raw), Effect::Deny) => match self.principals(&raw)? {
                Principals::Users(users) => Principals::AllBut(users),
                Principals::Everybody | Principals::AllBut(_) => return Err(Malformed::Principal("*".to_owned())),
            },
            (Some(_), Some(_), _) | (None, None, _) => return Err(Malformed::OneOf("Principal", "NotPrincipal")),
        };
        let actions = names(raw.action, raw.not_action, ("Action", "NotAction"), |text| self.action(text))?;
        let resources = names(raw.resource, raw.not_resource, ("Resource", "NotResource"), |text| self.resource(text))?;
        let mut conditions = Vec::new();
        for (operator, keys) in raw.condition {
            for (key, OneOrMany(values)) in keys {
                values.iter().try_for_each(|value: &Scalar| self.no_variable(&value.text()))?;
                conditions.push(Condition::parse(&operator, &key, &values)?);
            }
        }
        Ok(Statement { effect: raw.effect, principals, actions, resources, conditions })
    }

    fn principals(&self, raw: &RawPrincipal) -> Result<Principals, Malformed> {
        let kinds = match raw {
            RawPrincipal::Text(text) if text == "*" => return Ok(Principals::Everybody),
            RawPrincipal::Text(text) => return Err(Malformed::Principal(text.clone())),
            RawPrincipal::Kinds(kinds) => kinds,
        };
        let mut users = Vec::new();
        for (kind, OneOrMany(named)) in kinds {
            for name in named {
                match kind.as_str() {
                    "AWS" if name == "*" => return Ok(Principals::Everybody),
                    "AWS" => users.push(self.principal(name)?),
                    "CanonicalUser" => users.push(name.parse().map_err(|_| Malformed::Principal(name.clone()))?),
                    _ => return Err(Malformed::Principal(kind.clone())),
                }
            }
        }
        if users.is_empty() {
            return Err(Malformed::OneOf("Principal", "NotPrincipal"));
        }
        Ok(Principals::Users(users))
    }

    /// A user by number, by its account (a number too: each user is one of its own), or by name.
    fn principal(&self, text: &str) -> Result<u32, Malformed> {
        let unknown = || Malformed::Principal(text.to_owned());
        let Some(arn) = text.strip_prefix("arn:") else { return text.parse().map_err(|_| unknown()) };
        let parts: Vec<&str> = arn.splitn(5, ':').collect();
        let [partition, "iam", "", account, named] = parts[..] else { return Err(unknown()) };
        if !is_partition(partition) {
            return Err(unknown());
        }
        if named == "root" {
            return account.parse().map_err(|_| unknown());
        }
        let name = named.strip_prefix("user/").and_then(|path| path.rsplit('/').next()).ok_or_else(unknown)?;
        let uid = name.parse().ok().or_else(|| (self.user)(name)).ok_or_else(unknown)?;
        if account.is_empty() || account.parse() == Ok(uid) { Ok(uid) } else { Err(unknown()) }
    }

    fn action(&self, text: &str) -> Result<Pattern, Malformed> {
        let unknown = || Malformed::Action(text.to_owned());
        let pattern = Pattern::caseless(text).ok_or_else(unknown)?;
        if text == "*" {
            return Ok(pattern);
        }
        let (service, name) = text.split_once(':').ok_or_else(unknown)?;
        let is_legal = service.eq_ignore_ascii_case("s3")
            && if name.contains(['*', '?']) {
                name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '*' | '?'))
            } else {
                action::is_known(name)
            };
        if is_legal { Ok(pattern) } else { Err(unknown()) }
    }

    /// A pattern for `bucket` and `bucket/key`.
    fn resource(&self, text: &str) -> Result<Pattern, Malformed> {
        let foreign = || Malformed::Resource(text.to_owned());
        self.no_variable(text)?;
        let named = if text == "*" {
            text
        } else {
            let parts: Vec<&str> = text.splitn(6, ':').collect();
            let ["arn", partition, "s3", region, account, named] = parts[..] else { return Err(foreign()) };
            let is_any = |text: &str| matches!(text, "" | "*");
            if !is_partition(partition) || !is_any(region) || !is_any(account) {
                return Err(foreign());
            }
            named
        };
        let pattern = Pattern::new(named).ok_or_else(foreign)?;
        let (head, has_wildcard) = pattern.head();
        let is_ours = match head.split_once('/') {
            Some((bucket, _)) => bucket == self.bucket,
            None if has_wildcard => self.bucket.starts_with(&head),
            None => head == self.bucket,
        };
        if is_ours { Ok(pattern) } else { Err(foreign()) }
    }

    fn no_variable(&self, text: &str) -> Result<(), Malformed> {
        if self.with_variables && text.contains("${") { Err(Malformed::Variable(text.to_owned())) } else { Ok(()) }
    }
}

fn is_partition(text: &str) -> bool {
    matches!(text, "aws" | "aws-cn" | "aws-us-gov")
}

fn names(
    these: Option<OneOrMany<String>>,
    not_these: Option<OneOrMany<String>>,
    fields: (&'static str, &'static str),
    read: impl Fn(&str) -> Result<Pattern, Malformed>,
) -> Result<Names, Malformed> {
    let (OneOrMany(texts), complement) = match (these, not_these) {
        (Some(texts), None) => (texts, false),
        (None, Some(texts)) => (texts, true),
        (Some(_), Some(_)) | (None, None) => return Err(Malformed::OneOf(fields.0, fields.1)),
    };
    if texts.is_empty() {
        return Err(Malformed::OneOf(fields.0, fields.1));
    }
    let patterns = texts.iter().map(|text| read(text)).collect::<Result<_, _>>()?;
    Ok(Names { patterns, complement })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    #[serde(rename = "Statement")]
    statements: OneOrMany<RawStatement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RawStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    principal: Option<RawPrincipal>,
    not_principal: Option<RawPrincipal>,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawPrincipal {
    Text(String),
    Kinds(BTreeMap<String, OneOrMany<String>>),
}

/// A value of a condition: JSON's own kinds stand for their texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Flag(bool),
    Number(i64),
}

impl Scalar {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// One value, or a list of them.
#[derive(Debug)]
struct OneOrMany<T>(Vec<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Array(values) => values.into_iter().map(serde_json::from_value).collect(),
            value => serde_json::from_value(value).map(|one| vec![one]),
        };
        read.map(Self).map_err(serde::de::Error::custom)
    }
}

/// A value in which no object has a key twice: of two, one would be passed over (invariant 2).
struct Unique(serde_json::Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, a list or an object")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = serde_json::Map::new();
        while let Some((key, Unique(value))) = map.next_entry::<String, Unique>()? {
            if values.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("the key {key:?} is there twice")));
            }
            values.insert(key, value);
        }
        Ok(values.into())
    }
}
