//! Settings of one namenode: one section of its configuration file, every field with a default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use namespace::placement::Policy;
use serde::{Deserialize, Serialize};
use types::{ByteSize, ClusterId};

use crate::audit::{Audit, Target};

/// Everything that a namenode needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    pub cluster: ClusterId,
    /// The RPC addresses of all members, in the order that is the same on every member: a member's id is its position
    /// here, counted from 1.
    pub namenodes: Vec<SocketAddr>,
    pub settings: Settings,
}

/// When a write is acknowledged, unless the client that opens the file says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    Memory,
    Close,
    Always,
}

impl Durability {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Close => "close",
            Self::Always => "always",
        }
    }
}

/// See [`namespace::placement::Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    TwoRacks,
    Spread,
}

impl Placement {
    pub(crate) const fn policy(self) -> Policy {
        match self {
            Self::TwoRacks => Policy::TwoRacks,
            Self::Spread => Policy::Spread,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// This member's position in the list of namenodes, from 1.
    pub node: u64,
    /// Where it listens. A member that the cluster began with listens at its position in the list unless this says
    /// otherwise; one that was added later needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Where the log and the state are kept.
    pub dir: PathBuf,

    /// Replicas of a block, unless the file asks for another number.
    pub replication: u8,
    /// A block with fewer finished replicas is not committed (fewer are enough where fewer are wanted).
    pub min_replicas: u8,
    /// The longest block of a file that does not ask for another length.
    pub block_size: ByteSize,
    /// Files up to this length live in the metadata.
    pub inline_max: ByteSize,
    pub durability: Durability,

    /// A client not heard for so long loses its session and its leases.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// The file of a writer not heard for so long may be taken over by another writer.
    #[serde(with = "humantime_serde")]
    pub lease_soft_limit: Duration,
    /// The leader itself ends the leases of a writer not heard for so long, if its session has not ended before.
    #[serde(with = "humantime_serde")]
    pub lease_hard_limit: Duration,
    /// How long the recovery of a file waits for datanodes that do not answer, before it goes on with those that do.
    #[serde(with = "humantime_serde")]
    pub recovery_patience: Duration,
    /// A datanode not heard for so long is not chosen any more, and read from last.
    #[serde(with = "humantime_serde")]
    pub suspect_after: Duration,
    /// A datanode not heard for so long is shown as dead, and its replicas are not counted.
    #[serde(with = "humantime_serde")]
    pub dead_after: Duration,
    /// A datanode that was away twice within an hour gets nothing new for so long after it came back, and twice as long with
    /// every further time.
    #[serde(with = "humantime_serde")]
    pub hold_down: Duration,
    /// The replicas of a datanode not heard for so long are made anew elsewhere.
    #[serde(with = "humantime_serde")]
    pub repair_after: Duration,
    /// How long the replicas of a deleted file stay on the disks.
    #[serde(with = "humantime_serde")]
    pub delete_grace: Duration,
    /// What users remove can be had back for so long; zero: not at all.
    #[serde(with = "humantime_serde")]
    pub trash_expiry: Duration,
    /// Time between two looks for what is older than its directory allows.
    #[serde(with = "humantime_serde")]
    pub ttl_interval: Duration,
    /// A new leader deletes no replica for so long.
    #[serde(with = "humantime_serde")]
    pub delete_holdoff: Duration,
    /// A multipart upload that was begun so long ago and is not complete ends, and its parts go.
    #[serde(with = "humantime_serde")]
    pub upload_expiry: Duration,
    /// Time between two scans of all blocks for missing replicas.
    #[serde(with = "humantime_serde")]
    pub scan_interval: Duration,
    /// Time between two comparisons of what the disks hold with what the state says they hold.
    #[serde(with = "humantime_serde")]
    pub digest_interval: Duration,
    /// Time between two looks for files that are in many short extents, which are joined.
    #[serde(with = "humantime_serde")]
    pub compaction_interval: Duration,
    /// The most that each datanode takes in for that in a second; zero: as fast as it goes.
    pub compaction_rate: ByteSize,
    /// Over how many racks the replicas of a block are spread.
    pub placement: Placement,
    /// A file with a host name or an IP address and its rack on each line: it goes over what datanodes say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack_map: Option<PathBuf>,
    /// A program that is given host names and prints the rack of each. The map goes over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rack_script: Option<PathBuf>,
    /// Time between two looks at the map, and at what the script says.
    #[serde(with = "humantime_serde")]
    pub rack_interval: Duration,
    /// Copies that one datanode is given at a time for repair,
    pub copies_per_node: u32,
    /// and how many bytes they may be; what one datanode serves as a source of copies at a time, too.
    pub copy_bytes_per_node: ByteSize,
    /// A copy without a result for so long is given up, and planned again.
    #[serde(with = "humantime_serde")]
    pub copy_timeout: Duration,

    /// What a client is told of where blocks are is good for so long; then it asks again.
    #[serde(with = "humantime_serde")]
    pub token_lifetime: Duration,
    /// Time between two keys that block tokens are made with.
    #[serde(with = "humantime_serde")]
    pub token_key_interval: Duration,

    /// The unit of Raft's time: heartbeats every 2, elections after 16 to 32 of them.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// The state is flushed to disk at least so often, and after so much log.
    #[serde(with = "humantime_serde")]
    pub flush_interval: Duration,
    pub flush_log: ByteSize,
    /// So much log is kept for a namenode that is away; one that missed more gets a snapshot.
    pub log_keep: ByteSize,
    /// The most that each other namenode may pull of a snapshot, in a second.
    pub snapshot_rate: ByteSize,
    /// A member with a write on its way to the disk for so long does not lead.
    #[serde(with = "humantime_serde")]
    pub stall_hand_over: Duration,
    /// With a write of the log on its way for so long the process ends.
    #[serde(with = "humantime_serde")]
    pub stall_abort: Duration,
    /// Memory for blocks of the state store.
    pub cache: ByteSize,

    /// What has a line in the audit log.
    pub audit: Audit,
    /// The audit log; `audit.log` in `dir` unless it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<PathBuf>,
    /// A file of the audit log that has grown beyond this is set aside ...
    pub audit_size: ByteSize,
    /// ... and so many of these are kept.
    pub audit_keep: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: 1,
            listen: None,
            dir: PathBuf::from("namenode"),
            replication: 3,
            min_replicas: 2,
            block_size: ByteSize::mib(128),
            inline_max: ByteSize::kib(16),
            durability: Durability::Close,
            session_timeout: Duration::from_secs(60),
            lease_soft_limit: Duration::from_secs(60),
            lease_hard_limit: Duration::from_secs(600),
            recovery_patience: Duration::from_secs(10),
            suspect_after: Duration::from_secs(5),
            dead_after: Duration::from_secs(30),
            hold_down: Duration::from_secs(30),
            repair_after: Duration::from_secs(60),
            delete_grace: Duration::from_secs(600),
            trash_expiry: Duration::from_secs(24 * 3600),
            ttl_interval: Duration::from_secs(60),
            delete_holdoff: Duration::from_secs(60),
            upload_expiry: Duration::from_secs(7 * 24 * 3600),
            scan_interval: Duration::from_secs(10),
            digest_interval: Duration::from_secs(600),
            compaction_interval: Duration::from_secs(60),
            compaction_rate: ByteSize::mib(32),
            placement: Placement::TwoRacks,
            rack_map: None,
            rack_script: None,
            rack_interval: Duration::from_secs(60),
            copies_per_node: 64,
            copy_bytes_per_node: ByteSize::mib(512),
            copy_timeout: Duration::from_secs(300),
            token_lifetime: Duration::from_secs(3600),
            token_key_interval: Duration::from_secs(24 * 3600),
            tick: Duration::from_millis(50),
            flush_interval: Duration::from_secs(30),
            flush_log: ByteSize::mib(64),
            log_keep: ByteSize::mib(256),
            snapshot_rate: ByteSize::mib(64),
            stall_hand_over: Duration::from_secs(2),
            stall_abort: Duration::from_secs(10),
            cache: ByteSize::mib(256),
            audit: Audit::default(),
            audit_log: None,
            audit_size: ByteSize::mib(64),
            audit_keep: 8,
        }
    }
}

/// More members do not vote faster, nor live longer.
const MEMBERS: usize = 9;
/// The longest file that may live in the metadata: an entry of the log, and a message, must hold it.
const INLINE_LIMIT: ByteSize = ByteSize::kib(256);

impl Config {
    /// Says what is wrong with the configuration, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let Settings { node, listen, replication, min_replicas, block_size, inline_max, .. } = self.settings;
        if !(1..=MEMBERS).contains(&self.namenodes.len()) {
            return Err(format!("there are {} namenodes; a cluster has 1 to {MEMBERS}", self.namenodes.len()));
        }
        if node == 0 || (listen.is_none() && node > self.namenodes.len() as u64) {
            let count = self.namenodes.len();
            return Err(format!(
                "node = {node} is not a position in the list of {count} namenodes, and listen is not set"
            ));
        }
        if let Some(address) = listen.filter(|address| !address.ip().is_loopback()) {
            return Err(format!("{address} is not a loopback address, and TLS is not supported yet"));
        }
        for (at, address) in self.namenodes.iter().enumerate() {
            if !address.ip().is_loopback() {
                return Err(format!("{address} is not a loopback address, and TLS is not supported yet"));
            }
            if self.namenodes[..at].contains(address) {
                return Err(format!("{address} is listed twice among the namenodes"));
            }
        }
        if replication == 0 || min_replicas == 0 {
            return Err("replication and min_replicas are at least 1".to_owned());
        }
        if block_size.get() == 0 || !block_size.get().is_multiple_of(types::checksum::CHUNK as u64) {
            return Err(format!("block_size = {block_size} is not a multiple of {} bytes", types::checksum::CHUNK));
        }
        if inline_max > INLINE_LIMIT {
            return Err(format!("inline_max = {inline_max} is more than {INLINE_LIMIT}"));
        }
        if self.settings.snapshot_rate.get() == 0 {
            return Err("snapshot_rate is zero".to_owned());
        }
        if self.settings.stall_hand_over.is_zero() || self.settings.stall_abort < self.settings.stall_hand_over {
            return Err("stall_hand_over is more than zero, and stall_abort at least as long".to_owned());
        }
        if self.settings.lease_hard_limit < self.settings.lease_soft_limit {
            return Err("lease_hard_limit is less than lease_soft_limit".to_owned());
        }
        if self.settings.audit_size.get() == 0 {
            return Err("audit_size is zero".to_owned());
        }
        if self.settings.tick.is_zero() {
            return Err("tick is zero".to_owned());
        }
        if self.settings.rack_interval.is_zero() {
            return Err("rack_interval is zero".to_owned());
        }
        Ok(())
    }

    /// The address of this member.
    pub(crate) fn address(&self) -> SocketAddr {
        self.settings.listen.unwrap_or_else(|| self.namenodes[self.settings.node as usize - 1])
    }
}

impl Settings {
    /// Where the audit log goes.
    pub(crate) fn audit_target(&self) -> Target {
        let path = self.audit_log.clone().unwrap_or_else(|| self.dir.join("audit.log"));
        Target { path, size: self.audit_size, keep: self.audit_keep }
    }

    /// The replicas that a block must have to be committed when `replication` are wanted.
    pub(crate) fn min_replicas_of(&self, replication: u8) -> u8 {
        self.min_replicas.min(replication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(namenodes: &[&str], settings: Settings) -> Config {
        let namenodes = namenodes.iter().map(|text| text.parse().expect("an address")).collect();
        Config { cluster: ClusterId::from_bytes([1; 16]), namenodes, settings }
    }

    #[test]
    fn a_bad_configuration_is_refused_with_its_reason() {
        let good = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
        assert_eq!(config(&good, Settings::default()).check(), Ok(()));
        let refusal = |namenodes: &[&str], settings| config(namenodes, settings).check().expect_err("must be refused");
        assert!(refusal(&[], Settings::default()).contains("1 to 9"));
        let later = Settings { node: 4, listen: Some(([127, 0, 0, 1], 4).into()), ..Settings::default() };
        assert_eq!(config(&good, later).check(), Ok(()));
        assert!(refusal(&["10.0.0.1:1"], Settings::default()).contains("TLS is not supported yet"));
        assert!(refusal(&good, Settings { node: 4, ..Settings::default() }).contains("position"));
        assert!(refusal(&good, Settings { replication: 0, ..Settings::default() }).contains("at least 1"));
        let impatient = Settings { stall_abort: Duration::from_secs(1), ..Settings::default() };
        assert!(refusal(&good, impatient).contains("stall_abort"));
        let limits = Settings { lease_hard_limit: Duration::from_secs(1), ..Settings::default() };
        assert!(refusal(&good, limits).contains("lease_soft_limit"));
        assert!(refusal(&good, Settings { block_size: ByteSize::new(5), ..Settings::default() }).contains("4096"));
    }

    #[test]
    fn settings_read_units_and_refuse_unknown_fields() {
        let settings: Settings = toml::from_str("block_size = \"1MiB\"\ndead_after = \"7s\"").expect("legal");
        assert_eq!((settings.block_size, settings.dead_after), (ByteSize::mib(1), Duration::from_secs(7)));
        assert!(toml::from_str::<Settings>("dead_aftr = \"7s\"").is_err());
    }
}
