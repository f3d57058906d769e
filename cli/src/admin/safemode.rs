//! `ashlar admin safemode`: nothing is changed until an operator says so.

use client::health::{Facts, leader_first};
use client::{Admin, Config};

use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "In safe mode everything can be read, and nothing is changed: clients are refused, no replica is copied or deleted, no \
session ends, and the trash keeps what it has. It outlives the leader, and restarts of everything."
)]
pub(crate) struct SafemodeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have nothing changed from now on
    Enter,
    /// Go on as usual
    Leave,
    /// Show whether the cluster is in safe mode
    Get,
}

/// As the policy is called.
const NAME: &str = "safe_mode";

pub(crate) async fn run(config: Config, args: SafemodeArgs) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let admin = Admin::unconnected(&leader_first(&config, leader));
    let mut out = Output::stdout();
    match args.command {
        Command::Enter => admin.set_policy(NAME, Some(1)).await?,
        Command::Leave => admin.set_policy(NAME, None).await?,
        Command::Get => {}
    }
    let policies = admin.policies().await?;
    let on = policies.iter().any(|policy| policy.name == NAME && policy.set.is_some_and(|on| on != 0));
    out.line(match Facts::ask_namenodes(&config).await.state().and_then(|member| member.safe_mode.as_ref()) {
        Some(safe_mode) if on => format!("{safe_mode}: nothing is changed"),
        // Whoever was asked last may not have heard of it yet.
        None if on => "safe mode is on: nothing is changed".to_owned(),
        _ => "safe mode is off".to_owned(),
    })?;
    out.flush()
}
