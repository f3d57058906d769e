//! One command each: `run` checks everything, then writes. What it wrote is forgotten when it is refused.

pub(crate) mod abandon;
pub(crate) mod abandon_block;
pub(crate) mod add_block;
pub(crate) mod add_replica;
pub(crate) mod complete;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod end_session;
pub(crate) mod exchange;
pub(crate) mod extend;
pub(crate) mod format;
pub(crate) mod gc_step;
pub(crate) mod handles;
pub(crate) mod mkdir;
pub(crate) mod next_generation;
pub(crate) mod open_session;
pub(crate) mod put_inline;
pub(crate) mod register_datanode;
pub(crate) mod remove_replica;
pub(crate) mod rename;
pub(crate) mod replicas_deleted;
pub(crate) mod report_bad_replica;
pub(crate) mod set_attr;
pub(crate) mod set_lock;
pub(crate) mod set_quota;
pub(crate) mod set_xattr;
