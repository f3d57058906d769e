//! The servers: every role in one process, or each in its own.

pub(crate) mod datanode;
mod hosts;
mod http;
pub(crate) mod init;
mod join;
mod join_datanode;
pub(crate) mod layout;
pub(crate) mod namenode;
mod ports;
pub(crate) mod quickstart;
pub(crate) mod ready;
pub(crate) mod s3;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, ConfigError, File, LogFormat, Setting};
use crate::exit::{Failure, reason};
use crate::logging;
use crate::output::Output;

/// Ours, and of the libraries below what a person may have to look at.
const LOG_DEFAULT: &str = "info,raft_engine=warn,raft=warn";

#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The configuration of this node, as `ashlar init` writes it
    #[arg(short, long, value_name = "FILE", env = "ASHLAR_CONFIG", hide_env_values = true)]
    config: PathBuf,
    /// Override one value of the configuration, such as datanode.rack=r1
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<Setting>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or levels by module [default: RUST_LOG, or info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to log: for people, as JSON, or what fits [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl ServerArgs {
    /// Reads the configuration and starts the log.
    fn load(&self) -> Result<File, Failure> {
        let file = config::load(&self.config, &self.set)?;
        let filter = logging::filter(self.log.log_level.as_deref(), file.log.level.as_deref(), LOG_DEFAULT)?;
        logging::to_stderr(filter, self.log.log_format.unwrap_or(file.log.format));
        Ok(file)
    }
}

/// The addresses of the namenodes as sockets want them.
fn addresses(path: &Path, texts: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    let parse =
        |text: &String| text.parse().map_err(|_| ConfigError::Address { path: path.to_owned(), text: text.clone() });
    texts.iter().map(parse).collect()
}

/// The signals that ask a process to stop: Ctrl-C and SIGTERM. One that comes before anybody waits for it is kept: made
/// before the process says that it is ready, this leaves no moment at which a signal ends it half-way.
#[derive(Debug)]
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("cannot wait for signals: {}", reason(&error)));
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { terminate, interrupt })
    }

    /// Resolves when somebody wants this process to stop, with what that was.
    pub(crate) async fn wanted(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
        }
    }

    /// What `starting` comes to, unless the process is to stop before. What has started by then is dropped, which must be
    /// as safe as a crash.
    pub(crate) async fn or<T>(&mut self, starting: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            started = starting => started,
            reason = self.wanted() => Err(Failure::Failed(format!("stopped by {reason} before it was ready"))),
        }
    }
}

/// Says on stdout that a server serves. Scripts wait for this line; nobody may listen to it.
fn say_ready(role: &str, name: &str, address: SocketAddr) -> Result<(), Failure> {
    let mut out = Output::stdout();
    let said = out.line(format!("ashlar {role} {name} is ready on {address}")).and_then(|()| out.flush());
    match said {
        Err(Failure::OutputClosed) => Ok(()),
        said => said,
    }
}
