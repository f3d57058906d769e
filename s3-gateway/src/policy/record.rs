//! A policy as it is kept with its bucket: the text as it came, and whom its names meant then (invariant 3).

use std::cell::RefCell;
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Malformed, Policy};

const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) text: String,
    #[n(1)]
    users: BTreeMap<String, u32>,
}

impl Record {
    /// Reads the policy of a bucket for the first time. `user` finds users by their names.
    pub(crate) fn make(
        text: String,
        bucket: &str,
        user: impl Fn(&str) -> Option<u32>,
    ) -> Result<(Self, Policy), Malformed> {
        let users = RefCell::new(BTreeMap::new());
        let policy = Policy::parse(&text, bucket, |name| {
            let uid = user(name)?;
            users.borrow_mut().insert(name.to_owned(), uid);
            Some(uid)
        })?;
        Ok((Self { text, users: users.into_inner() }, policy))
    }

    pub(crate) fn policy(&self, bucket: &str) -> Result<Policy, Malformed> {
        Policy::parse(&self.text, bucket, |name| self.users.get(name).copied())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        bytes
    }

    /// None if it does not read, or is of a later version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, body)) => minicbor::decode(body).ok(),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Decision, Facts, Requester};

    #[test]
    fn a_name_means_whom_it_meant_when_the_policy_was_put() {
        let text = r#"{"Statement":{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam:::user/ann"},"Action":"*","Resource":"*"}}"#;
        let (record, _) = Record::make(text.to_owned(), "photos", |name| (name == "ann").then_some(7)).expect("legal");
        let bytes = record.encode();
        assert_eq!(hex::encode(&bytes[bytes.len() - 6..]), "a163616e6e07");
        let back = Record::decode(&bytes).expect("its own bytes");
        assert_eq!(back, record);
        let policy = back.policy("photos").expect("nobody is looked up again");
        let actions = ["s3:GetObject".to_owned()];
        let decision = policy.decide(Requester::User(7), &actions, "photos/a", &Facts::default());
        assert_eq!(decision, Decision::Denied);
        assert_eq!([Record::decode(b""), Record::decode(b"\x02"), Record::decode(b"\x01rubbish")], [None, None, None]);
    }
}
