//! Values that hold for the whole cluster, in place of what the configuration of the namenode that leads says.
//!
//! One row has them all. A value that is not set is not in it.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::{Decode, Encode};
use types::Timestamp;
use types::checksum::CHUNK;

use crate::key;
use crate::limits::{MAX_BLOCK_SIZE, MAX_REPLICATION};
use crate::rows::Rows;
use crate::view::{View, ViewError};

/// The longest time that a policy may say. What is to be kept for longer is to be kept.
const MAX_TIME: Duration = Duration::from_secs(3650 * 24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Policy {
    /// Wanted replicas of the blocks of a new file that does not ask for another number.
    #[n(0)]
    Replication,
    /// The longest block of such a file, in bytes.
    #[n(1)]
    BlockSize,
    /// How long what users remove can be had back, in nanoseconds; 0: not at all.
    #[n(2)]
    TrashExpiry,
    /// How long the replicas of what is removed for good stay on the disks, in nanoseconds.
    #[n(3)]
    DeleteGrace,
    /// 1: nothing is changed, by clients or by the leader's duties, until this is 0 or not set again.
    #[n(4)]
    SafeMode,
}

impl Policy {
    pub const ALL: [Self; 5] =
        [Self::Replication, Self::BlockSize, Self::TrashExpiry, Self::DeleteGrace, Self::SafeMode];

    /// As it is called in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::BlockSize => "block_size",
            Self::TrashExpiry => "trash_expiry",
            Self::DeleteGrace => "delete_grace",
            Self::SafeMode => "safe_mode",
        }
    }

    /// What is wrong with a value, if anything is.
    pub(crate) fn check(self, value: u64) -> Result<(), String> {
        match self {
            Self::Replication if (1..=u64::from(MAX_REPLICATION)).contains(&value) => Ok(()),
            Self::Replication => Err(format!("choose 1 to {MAX_REPLICATION}")),
            Self::BlockSize if value == 0 || value > MAX_BLOCK_SIZE.get() || !value.is_multiple_of(CHUNK as u64) => {
                Err(format!("choose a multiple of {CHUNK} bytes, up to {MAX_BLOCK_SIZE}"))
            }
            Self::TrashExpiry | Self::DeleteGrace if Duration::from_nanos(value) > MAX_TIME => {
                Err("choose at most ten years".to_owned())
            }
            Self::SafeMode if value > 1 => Err("choose 0 or 1".to_owned()),
            Self::BlockSize | Self::TrashExpiry | Self::DeleteGrace | Self::SafeMode => Ok(()),
        }
    }
}

/// All values that are set, in the order of the policies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct PolicyRow {
    #[n(0)]
    pub(crate) values: Vec<PolicyValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PolicyValue {
    #[n(0)]
    pub policy: Policy,
    #[n(1)]
    pub value: u64,
    /// When it became what it is; not known of one that an older program set.
    #[n(2)]
    pub since: Option<Timestamp>,
    /// Who said so, for people.
    #[n(3)]
    pub by: Option<String>,
}

pub fn all(view: &impl View) -> Result<BTreeMap<Policy, u64>, ViewError> {
    Ok(set(view)?.into_iter().map(|PolicyValue { policy, value, .. }| (policy, value)).collect())
}

/// Those that are set, in the order of the policies, with who set them.
pub fn set(view: &impl View) -> Result<Vec<PolicyValue>, ViewError> {
    let row: PolicyRow = view.row(key::POLICY)?.unwrap_or_default();
    Ok(row.values)
}

/// The word that nothing is to be changed, if it holds.
pub fn safe_mode(view: &impl View) -> Result<Option<PolicyValue>, ViewError> {
    let is_on = |value: &PolicyValue| value.policy == Policy::SafeMode && value.value != 0;
    Ok(set(view)?.into_iter().find(is_on))
}
