//! What a client is told: where the cluster is, and how patient and how greedy to be.

use std::time::Duration;

use proto::v1;
use serde::{Deserialize, Serialize};
use types::ByteSize;

use crate::local;

/// The configuration of a [`crate::Client`]. Every field has a default; unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The RPC addresses of the namenodes, `host:port`. Any that answers is enough.
    pub namenodes: Vec<String>,
    /// The name of this machine as datanodes give it: the first replica of what is written here goes to a datanode of
    /// the same name, and is read first.
    pub host: String,
    /// On whose behalf everything is done; what is made belongs to this user.
    pub user: User,
    /// Which namenodes are asked what is in the namespace.
    pub read_from: ReadFrom,
    /// How long an operation on the metadata may take, failover included.
    #[serde(with = "duration")]
    pub op_timeout: Duration,
    /// How long one attempt to connect may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long a datanode may stay silent before a reader goes on with another replica.
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    /// A datanode whose disk takes ten times as long as those of the others in its pipeline, for so long, is left out of it.
    #[serde(with = "duration")]
    pub slow_hop_after: Duration,
    /// Packets of up to 1 MiB that a writer has in flight, and keeps in memory until they are acknowledged.
    pub window: usize,
    /// How far a sequential reader is ahead of what was asked for, in several parts of the file at once.
    pub read_ahead: ByteSize,
    /// What all writers of a client hold until it is acknowledged, and all its sequential readers ahead of what was asked for:
    /// when they are many, `window` and `read_ahead` are not reached.
    pub write_memory: ByteSize,
    pub read_memory: ByteSize,
    /// Whether replicas on this machine are read from their files, which datanodes hand out.
    pub local_reads: bool,
    /// Idle data connections kept per datanode.
    pub idle_connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namenodes: Vec::new(),
            host: hostname(),
            user: User::of_process(),
            read_from: ReadFrom::default(),
            op_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(5),
            slow_hop_after: Duration::from_secs(10),
            window: 16,
            read_ahead: ByteSize::mib(4),
            write_memory: ByteSize::mib(64),
            read_memory: ByteSize::mib(64),
            local_reads: true,
            idle_connections: 8,
        }
    }
}

/// Which namenodes answer queries. What they answer is the same: all that was acknowledged before is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadFrom {
    /// The one that leads, which has the shortest way to an answer.
    #[default]
    Leader,
    /// Any that answers: clients are spread over all of them, and each answer waits for a word of the leader.
    Any,
}

/// A user and the groups it is in. Uid 0 may do everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// The other groups.
    #[serde(default)]
    pub groups: Vec<u32>,
}

impl User {
    /// Whom this process runs as.
    pub fn of_process() -> Self {
        // It fails only if the list grows while it is read; without the other groups there are fewer rights, not more.
        let groups = rustix::process::getgroups().unwrap_or_default();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: groups.into_iter().map(rustix::process::Gid::as_raw).collect(),
        }
    }
}

impl Config {
    /// What a namenode is told of this reader. One that reads over the network only has no machine.
    pub(crate) fn reader(&self) -> v1::Reader {
        let boot = local::boot_id().filter(|_| self.local_reads);
        v1::Reader { host: self.host.clone(), boot: boot.map_or_else(Vec::new, |boot| boot.to_vec()) }
    }
}

/// The kernel's name of this machine.
fn hostname() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// Durations as people write them: `30s`, `500ms`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_default_and_unknown_keys_are_refused() {
        let text = "namenodes = [\"127.0.0.1:7000\"]\nop_timeout = \"5s\"\nread_from = \"any\"";
        let config: Config = toml::from_str(text).expect("legal");
        assert_eq!((config.op_timeout, config.read_from), (Duration::from_secs(5), ReadFrom::Any));
        assert_eq!(Config::default().read_from, ReadFrom::Leader);
        assert_eq!(config.window, Config::default().window);
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).expect("writes")), Ok(config));
        assert!(toml::from_str::<Config>("name_nodes = []").is_err());
    }
}
