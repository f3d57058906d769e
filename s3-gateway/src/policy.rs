//! Bucket policies: who may do what to a bucket and its objects, as Amazon's policy language says it. Pure: a policy and
//! the facts of a request in, a decision out.
//!
//! 1. A statement that denies goes before any that allows.
//! 2. A policy that is not understood to the last word is refused when it is put; nothing in one is ever passed over.
//! 3. The names of users are looked up once, when the policy is put: later no name can come to mean another user, and
//!    none can stop to mean its own.

mod action;
mod condition;
mod document;
mod pattern;
mod record;

use std::net::IpAddr;

pub(crate) use action::{Extras, actions};
pub(crate) use document::{Malformed, Policy};
pub(crate) use record::Record;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requester {
    /// Nobody has signed it.
    Anonymous,
    User(u32),
}

/// What a policy has to say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Denied,
    Allowed,
    /// No statement is about it.
    Unsaid,
}

/// What conditions can ask about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) source: Option<IpAddr>,
    pub(crate) secure: bool,
    /// Of the query and decoded, in any order.
    pub(crate) query: Vec<(String, String)>,
    /// By lower-case names.
    pub(crate) headers: Vec<(String, String)>,
}

#[cfg(test)]
mod tests;
