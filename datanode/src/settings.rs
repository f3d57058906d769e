//! Settings of one datanode: one section of its configuration file, every field with a default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{ByteSize, ClusterId};

/// Everything that a datanode needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    pub cluster: ClusterId,
    /// The RPC addresses of all namenodes.
    pub namenodes: Vec<SocketAddr>,
    pub settings: Settings,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where blocks are served. Port 0 means any free one.
    pub listen: SocketAddr,
    /// Where others reach it, if that is another address, as behind a port that is forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<SocketAddr>,
    /// The machine that this node runs on: no two replicas of a block go to one host. Empty: the machine's own name.
    pub host: String,
    /// Where the machine stands, such as `/room1/rack7`.
    pub rack: String,
    /// The directories that replicas are kept in, one for each disk.
    pub volumes: Vec<PathBuf>,
    /// The Unix socket where readers on this machine get the open files of replicas. Empty: `local.sock` in the first
    /// volume.
    pub local_socket: PathBuf,
    /// Time between two reports to the namenodes.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// Of each volume, this much is left free.
    pub reserve: ByteSize,
    /// No more connections are served at a time; others wait.
    pub max_connections: usize,
    /// A connection without a request for so long is closed.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Threads that work on each volume.
    pub threads_per_volume: usize,
    /// Copies for repair that are made at a time.
    pub max_copies: usize,
    /// The most that is copied for repair in a second,
    pub copy_rate: ByteSize,
    /// and less while what clients do waits longer than this for a disk.
    #[serde(with = "humantime_serde")]
    pub copy_patience: Duration,
    /// The names, headers and sizes of all replicas are looked at once in so long.
    #[serde(with = "humantime_serde")]
    pub inventory_interval: Duration,
    /// Every byte of every replica is read and checked at least once in so long.
    #[serde(with = "humantime_serde")]
    pub scrub_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9866)),
            advertise: None,
            host: String::new(),
            rack: "/default".to_owned(),
            volumes: Vec::new(),
            local_socket: PathBuf::new(),
            heartbeat: Duration::from_secs(1),
            reserve: ByteSize::gib(1),
            max_connections: 1024,
            idle_timeout: Duration::from_secs(600),
            threads_per_volume: 4,
            max_copies: 4,
            copy_rate: ByteSize::gib(1),
            copy_patience: Duration::from_millis(50),
            inventory_interval: Duration::from_secs(6 * 3600),
            scrub_interval: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

impl Config {
    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        let Settings {
            listen,
            advertise,
            rack,
            volumes,
            heartbeat,
            max_connections,
            threads_per_volume,
            max_copies,
            inventory_interval,
            scrub_interval,
            ..
        } = &self.settings;
        for address in self.namenodes.iter().chain([listen]).chain(advertise) {
            if !address.ip().is_loopback() {
                return Err(format!("{address} is not a loopback address, and TLS is not supported yet"));
            }
        }
        if self.namenodes.is_empty() {
            return Err("no namenode is named".to_owned());
        }
        if volumes.is_empty() {
            return Err("no volume is named: volumes = [\"/disk1\"]".to_owned());
        }
        if !rack.starts_with('/') {
            return Err(format!("the rack {rack:?} does not begin with a slash"));
        }
        let times =
            [("heartbeat", heartbeat), ("inventory_interval", inventory_interval), ("scrub_interval", scrub_interval)];
        for (name, value) in times {
            if value.is_zero() {
                return Err(format!("{name} is zero"));
            }
        }
        for (name, value) in [
            ("max_connections", max_connections),
            ("threads_per_volume", threads_per_volume),
            ("max_copies", max_copies),
        ] {
            if *value == 0 {
                return Err(format!("{name} is zero"));
            }
        }
        Ok(())
    }
}

impl Settings {
    /// The name of the machine.
    pub(crate) fn host_name(&self) -> String {
        if !self.host.is_empty() {
            return self.host.clone();
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match name.trim() {
            "" => "localhost".to_owned(),
            name => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let namenodes = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1))];
        let settings = toml::from_str(text).expect("settings");
        Config { cluster: ClusterId::from_bytes([1; 16]), namenodes, settings }
    }

    #[test]
    fn another_address_than_loopback_is_refused() {
        assert_eq!(config("volumes = [\"/d\"]").check(), Ok(()));
        let refused = config("volumes = [\"/d\"]\nlisten = \"0.0.0.0:9866\"").check().expect_err("refused");
        assert!(refused.contains("TLS is not supported yet"), "{refused}");
        assert!(config("volumes = [\"/d\"]\nadvertise = \"10.0.0.1:9\"").check().is_err());
        assert!(config("").check().is_err());
        assert!(toml::from_str::<Settings>("volume = 1").is_err());
    }
}
