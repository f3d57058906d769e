//! What a gateway is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_listener::Limits;
use serde::{Deserialize, Serialize};
use types::ByteSize;

/// The settings of a gateway. Every field has a default; unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Any other address than loopback takes TLS.
    pub listen: SocketAddr,
    pub tls: Option<TlsSettings>,
    /// The file with the key that seals the secrets of access keys; `init` makes it.
    pub secrets_key: PathBuf,
    /// The directory that new buckets are made in.
    pub root: String,
    /// Names under which buckets are found as `bucket.name`; with none, only paths name buckets.
    pub domains: Vec<String>,
    /// What `GetBucketLocation` answers.
    pub region: String,
    /// Whether the etag of an object is the MD5 of its content, as with S3. It costs 2 s of CPU for each GiB that is put.
    pub md5_etags: bool,
    /// A client that neither sends nor takes a byte for so long is left.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// The head of a request must be there by then.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Connections at a time; further ones wait.
    pub connections: usize,
    /// Connections of one address at a time; further ones are closed.
    pub connections_per_address: usize,
    /// Bytes in a second that the body of a request must come in with, on the average.
    pub min_body_rate: ByteSize,
    /// What the client may take beside, for a body.
    #[serde(with = "humantime_serde")]
    pub body_patience: Duration,
    /// A file that gets a line for each request, in the format of Amazon's server access logs.
    pub access_log: Option<PathBuf>,
    /// Whether others than those on this host are told metrics.
    pub public_metrics: bool,
}

impl Settings {
    pub(crate) fn limits(&self) -> Limits {
        let &Self { connections, connections_per_address, header_timeout, idle_timeout, .. } = self;
        Limits { connections, connections_per_address, header_timeout, idle_timeout }
    }

    /// Refuses what would serve nobody.
    pub(crate) fn check(&self) -> Result<(), crate::Error> {
        for (what, is_zero) in [
            ("connections", self.connections == 0),
            ("connections_per_address", self.connections_per_address == 0),
            ("min_body_rate", self.min_body_rate == ByteSize::ZERO),
        ] {
            if is_zero {
                return Err(crate::Error::Zero(what));
            }
        }
        Ok(())
    }
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            tls: None,
            secrets_key: PathBuf::from("secrets.key"),
            root: crate::DEFAULT_ROOT.to_owned(),
            domains: Vec::new(),
            region: "us-east-1".to_owned(),
            md5_etags: true,
            idle_timeout: Duration::from_secs(120),
            header_timeout: Duration::from_secs(10),
            connections: 4096,
            connections_per_address: 1024,
            min_body_rate: ByteSize::new(1024),
            body_patience: Duration::from_secs(30),
            access_log: None,
            public_metrics: false,
        }
    }
}
