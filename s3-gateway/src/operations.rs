//! What each operation does, by what it is about.

pub(crate) mod acl;
pub(crate) mod attributes;
pub(crate) mod bucket;
pub(crate) mod complete;
pub(crate) mod copy;
pub(crate) mod defaults;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod rename;
pub(crate) mod settings;
pub(crate) mod tags;
pub(crate) mod unsupported;
pub(crate) mod upload;
pub(crate) mod uploads;
