//! Datanodes.

use minicbor::{Decode, Encode};
use types::{NodeId, StorageId, Timestamp};

/// A datanode.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeRow {
    /// [`NodeId::new`]`(0)` in a `RegisterDatanode` of a node that has no id yet.
    #[n(0)]
    pub id: NodeId,
    /// For people, and unique per machine: two replicas never share one.
    #[n(1)]
    pub host: String,
    /// Where its transfer server listens: `ip:port`.
    #[n(2)]
    pub transfer: String,
    #[n(3)]
    pub rack: String,
    #[n(4)]
    pub storages: Vec<StorageId>,
    /// Absent while it is in service. A `RegisterDatanode` does not change it.
    #[n(5)]
    pub service: Option<Service>,
}

impl NodeRow {
    pub fn service(&self) -> Service {
        self.service.unwrap_or_default()
    }
}

/// Whether a datanode takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Service {
    #[default]
    #[n(0)]
    InService,
    /// It gets nothing new, and what it has is copied to others.
    #[n(1)]
    Decommissioning,
    /// Nothing needs it any more.
    #[n(2)]
    Decommissioned,
    /// It may be away until then, and nothing is copied for that.
    #[n(3)]
    Maintenance {
        #[n(0)]
        until: Timestamp,
    },
}
