//! What a role is told of its HTTP door: the section `[http]` of its configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_listener::Limits;
use serde::{Deserialize, Serialize};

/// Every field has a default; unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it listens; nowhere unless it is said. A loopback address: there is no TLS here yet.
    pub listen: Option<SocketAddr>,
    /// Of a namenode: the file with the key that seals the secrets of access keys. With it there is a web page, where users
    /// sign in with their keys; without, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_key: Option<PathBuf>,
    /// A session of the web page that was not used for so long is over.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// Connections at a time; further ones wait.
    pub connections: usize,
    /// Connections of one address at a time; further ones are closed.
    pub connections_per_address: usize,
    /// The head of a request must be there by then.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// A client that neither sends nor takes a byte for so long is left.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: None,
            secrets_key: None,
            session_timeout: Duration::from_secs(3600),
            connections: 256,
            connections_per_address: 64,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// What is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        if let Some(address) = self.listen.filter(|address| !address.ip().is_loopback()) {
            return Err(format!("{address} is not a loopback address, and TLS is not supported here yet"));
        }
        for (name, is_zero) in [
            ("connections", self.connections == 0),
            ("connections_per_address", self.connections_per_address == 0),
            ("header_timeout", self.header_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("session_timeout", self.session_timeout.is_zero()),
        ] {
            if is_zero {
                return Err(format!("http.{name} is zero"));
            }
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        let &Self { connections, connections_per_address, header_timeout, idle_timeout, .. } = self;
        Limits { connections, connections_per_address, header_timeout, idle_timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on_and_unknown_keys_are_refused() {
        let settings = |text: &str| toml::from_str::<Settings>(text);
        assert_eq!(settings("").expect("legal"), Settings::default());
        assert_eq!(settings("listen = \"127.0.0.1:8030\"").expect("legal").check(), Ok(()));
        let refused = settings("listen = \"0.0.0.0:8030\"").expect("readable").check().expect_err("invariant 1");
        assert!(refused.contains("TLS is not supported"), "{refused}");
        assert!(settings("connections = 0").expect("readable").check().is_err());
        assert!(settings("port = 1").is_err());
    }
}
