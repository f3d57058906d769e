//! Which cluster a command talks to.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use client::{Client, ReadFrom};

use crate::config;
use crate::exit::{self, Failure};

/// A person who waits for longer is told what for.
const SILENCE: Duration = Duration::from_secs(5);

/// How to reach the cluster: the first of `--cluster`, `ASHLAR_CLUSTER` and a configuration file counts.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Addresses of namenodes; any one that answers is enough
    #[arg(long, value_name = "HOST:PORT,...", env = "ASHLAR_CLUSTER", hide_env_values = true, global = true)]
    cluster: Option<String>,
    /// File with the addresses and the settings of the client, such as client.toml of `ashlar quickstart`
    #[arg(long, value_name = "FILE", env = "ASHLAR_CONFIG", hide_env_values = true, global = true)]
    config: Option<PathBuf>,
    /// Which namenodes answer queries: the one that leads, or any; what they answer is the same
    #[arg(long, value_name = "leader|any", env = "ASHLAR_READ_FROM", hide_env_values = true, global = true)]
    #[arg(value_parser = read_from)]
    read_from: Option<ReadFrom>,
}

const NO_CLUSTER: &str = "no cluster is named; say which one with `--cluster HOST:PORT,...`, with the environment \
variable ASHLAR_CLUSTER, or with `--config FILE` (or ASHLAR_CONFIG) and the client.toml that `ashlar quickstart` wrote";

impl ClusterArgs {
    /// Names the cluster where the command line did not.
    pub(crate) fn name(&mut self, addresses: &str) {
        self.cluster.get_or_insert_with(|| addresses.to_owned());
    }

    /// What the library needs to know.
    pub(crate) fn client_config(&self) -> Result<client::Config, Failure> {
        let (mut settings, addresses) = match &self.config {
            Some(path) if path.as_os_str() != OsString::new() => {
                let file = config::load(path, &[])?;
                (file.client, file.namenodes)
            }
            _ => (client::Config::default(), Vec::new()),
        };
        settings.read_from = self.read_from.unwrap_or(settings.read_from);
        settings.namenodes = match self.cluster.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => addresses_in(text)?,
            None if !addresses.is_empty() => addresses,
            None if !settings.namenodes.is_empty() => settings.namenodes,
            None => return Err(Failure::Usage(self.nothing_named())),
        };
        Ok(settings)
    }

    /// The configuration file, if one is named.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.config.clone().filter(|path| !path.as_os_str().is_empty())
    }

    /// As [`Self::client_config`], or nothing when no cluster is named.
    pub(crate) fn named(&self) -> Result<Option<client::Config>, Failure> {
        let given = |text: &std::ffi::OsStr| !text.is_empty();
        let cluster = self.cluster.as_deref().is_some_and(|text| given(text.as_ref()));
        match cluster || self.config.as_ref().is_some_and(|path| given(path.as_os_str())) {
            true => self.client_config().map(Some),
            false => Ok(None),
        }
    }

    fn nothing_named(&self) -> String {
        match &self.config {
            Some(path) if path.as_os_str() != OsString::new() => {
                format!("{}: names no namenodes; write namenodes = [\"127.0.0.1:8020\"]", path.display())
            }
            _ => NO_CLUSTER.to_owned(),
        }
    }

    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let config = self.client_config()?;
        let addresses = config.namenodes.join(", ");
        let connected = Client::connect(config);
        tokio::pin!(connected);
        loop {
            match tokio::time::timeout(SILENCE, &mut connected).await {
                Ok(connected) => return Ok(connected?),
                Err(_) => exit::complain(&format!("still looking for the leader among {addresses}")),
            }
        }
    }
}

fn read_from(text: &str) -> Result<ReadFrom, String> {
    match text {
        "leader" => Ok(ReadFrom::Leader),
        "any" => Ok(ReadFrom::Any),
        _ => Err("reads go to the \"leader\" or to \"any\" namenode".to_owned()),
    }
}

/// Reads `host:port,host:port`.
fn addresses_in(text: &str) -> Result<Vec<String>, Failure> {
    let addresses: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if let Some(wrong) = addresses.iter().find(|address| !is_address(address)) {
        return Err(Failure::Usage(format!("{wrong:?} is not an address; write HOST:PORT, such as 127.0.0.1:8020")));
    }
    match addresses.is_empty() {
        true => Err(Failure::Usage(NO_CLUSTER.to_owned())),
        false => Ok(addresses),
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(cluster: Option<&str>, config: Option<PathBuf>) -> ClusterArgs {
        ClusterArgs { cluster: cluster.map(str::to_owned), config, read_from: None }
    }

    #[test]
    fn without_a_cluster_the_three_ways_are_said() {
        let failure = args(None, None).client_config().expect_err("nothing is named");
        assert!(matches!(&failure, Failure::Usage(line) if line == NO_CLUSTER), "{failure}");
        for way in ["--cluster", "ASHLAR_CLUSTER", "--config", "ASHLAR_CONFIG"] {
            assert!(NO_CLUSTER.contains(way), "{way}");
        }
    }

    #[test]
    fn addresses_win_over_the_file_which_still_gives_the_rest() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("client.toml");
        std::fs::write(&path, "namenodes = [\"127.0.0.1:1\"]\n[client]\nhost = \"h1\"\n").expect("writes");
        let config = args(None, Some(path.clone())).client_config().expect("legal");
        assert_eq!((config.namenodes, config.host.as_str()), (vec!["127.0.0.1:1".to_owned()], "h1"));
        let config = args(Some("a:1, b:2"), Some(path)).client_config().expect("legal");
        assert_eq!((config.namenodes, config.host.as_str()), (vec!["a:1".to_owned(), "b:2".to_owned()], "h1"));
    }

    #[test]
    fn who_is_read_from_is_said_by_the_file_and_the_command_line_goes_over_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("client.toml");
        std::fs::write(&path, "namenodes = [\"127.0.0.1:1\"]\n[client]\nread_from = \"any\"\n").expect("writes");
        let of = |args: ClusterArgs| args.client_config().expect("legal").read_from;
        assert_eq!(of(args(Some("a:1"), None)), ReadFrom::Leader);
        assert_eq!(of(args(None, Some(path.clone()))), ReadFrom::Any);
        assert_eq!(of(ClusterArgs { read_from: Some(ReadFrom::Leader), ..args(None, Some(path)) }), ReadFrom::Leader);
        assert_eq!((read_from("any"), read_from("Any").is_err()), (Ok(ReadFrom::Any), true));
    }

    #[test]
    fn a_wrong_address_is_named() {
        let failure = args(Some("127.0.0.1"), None).client_config().expect_err("no port");
        assert_eq!(failure.to_string(), "\"127.0.0.1\" is not an address; write HOST:PORT, such as 127.0.0.1:8020");
    }
}
