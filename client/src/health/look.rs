//! Asking the members of a cluster how it is.

use std::time::Duration;

use super::{Answer, Facts};
use crate::admin::Admin;
use crate::config::Config;
use crate::error::Error;
use crate::store::Client;

/// The cluster's defaults come from its leader, which may be slow to answer or absent.
const PATIENCE: Duration = Duration::from_secs(3);

impl Facts {
    /// Asks everyone.
    pub async fn ask(config: &Config) -> Self {
        let mut facts = Self::ask_namenodes(config).await;
        let leader = facts.leader_address();
        let known = leader.is_some();
        let config = Config { op_timeout: PATIENCE, ..leader_first(config, leader) };
        facts.datanodes = Admin::unconnected(&config).report().await.map_err(|error| error.brief());
        if known && let Ok(client) = Client::connect(config).await {
            facts.replication = Some(client.defaults().replication);
            if let Err(error) = client.close().await {
                tracing::debug!(%error, "the session was not closed in order");
            }
        }
        facts
    }

    /// What the namenodes say of themselves; nothing of the datanodes.
    pub async fn ask_namenodes(config: &Config) -> Self {
        let mut answers = Admin::unconnected(config).status().await;
        // Members that the configuration does not list are known to those it does.
        let known = answers.iter().filter_map(|(_, status)| status.as_ref().ok()).flat_map(|status| &status.members);
        let mut others: Vec<_> = known.map(|member| member.address.clone()).collect();
        // Of a member that has just been added, others may not know the address yet.
        others.retain(|address| !address.is_empty() && !config.namenodes.contains(address));
        others.sort();
        others.dedup();
        if !others.is_empty() {
            answers.extend(Admin::unconnected(&Config { namenodes: others, ..config.clone() }).status().await);
        }
        let namenodes = answers.into_iter().map(|(address, status)| {
            let status = status.map_err(|error: Error| reason_alone(&error.brief(), &address));
            Answer { address, status }
        });
        let mut facts =
            Self { namenodes: namenodes.collect(), datanodes: Err("not asked".to_owned()), replication: None };
        // What is configured and silent may have been removed: the leader knows.
        if let Some(leader) = facts.leader() {
            let members: Vec<String> = leader.members.iter().map(|member| member.address.clone()).collect();
            facts.namenodes.retain(|answer| answer.status.is_ok() || members.contains(&answer.address));
        }
        facts
    }
}

/// The same cluster, its leader at the front: what only a leader knows well is asked there first.
pub fn leader_first(config: &Config, leader: Option<String>) -> Config {
    let mut config = config.clone();
    if let Some(leader) = leader {
        config.namenodes.retain(|address| *address != leader);
        config.namenodes.insert(0, leader);
    }
    config
}

/// What a line about `address` says beside it.
fn reason_alone(line: &str, address: &str) -> String {
    let mut rest = line;
    while let Some(shorter) = rest.strip_prefix(address).filter(|shorter| shorter.len() < rest.len()) {
        rest = shorter.trim_start_matches([':', ' ']);
    }
    rest.split(" (os error").next().unwrap_or(rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_not_said_again_beside_itself() {
        let line = "a:1: a:1 cannot be reached: tcp connect error: Connection refused (os error 111)";
        assert_eq!(reason_alone(line, "a:1"), "cannot be reached: tcp connect error: Connection refused");
        assert_eq!(reason_alone("it is silent", ""), "it is silent", "of a member whose address nobody knows yet");
    }
}
