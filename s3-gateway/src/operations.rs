//! What each operation does, by what it is about.

pub(crate) mod bucket;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod settings;
