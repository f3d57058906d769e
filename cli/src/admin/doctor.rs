//! `ashlar admin doctor`: what a tired operator would look at, causes before symptoms.

mod diagnosis;

use std::collections::BTreeMap;

use client::health::{Facts, leader_first};
use client::{Admin, Config, Examined};

use crate::exit::Failure;
use crate::output::Output;
use diagnosis::{Chart, Finding};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks at every namenode and datanode, and says what is wrong, what follows from it, and what to do. It changes \
nothing. Exit code 3 if anything is found."
)]
pub(crate) struct DoctorArgs {
    /// A JSON array, the worst first
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: Config, args: DoctorArgs) -> Result<(), Failure> {
    let facts = Facts::ask(&config).await;
    // Members that the configuration does not list, too.
    let namenodes = facts.namenodes.iter().map(|answer| answer.address.clone()).collect();
    let config = leader_first(&Config { namenodes, ..config }, facts.leader_address());
    let examined: BTreeMap<String, Result<Examined, String>> = Admin::unconnected(&config)
        .examine()
        .await
        .into_iter()
        .map(|(address, examined)| (address, examined.map_err(|error| error.to_string())))
        .collect();
    let found = Chart { facts: &facts, examined: &examined }.diagnose();
    let mut out = Output::stdout();
    if args.json {
        out.json(&found)?;
    } else {
        show(&found, &mut out)?;
    }
    out.flush()?;
    if found.is_empty() { Ok(()) } else { Err(Failure::Unhealthy) }
}

fn show(found: &[Finding], out: &mut Output) -> Result<(), Failure> {
    if found.is_empty() {
        return out.line("nothing is wrong");
    }
    for (number, finding) in found.iter().enumerate() {
        out.line(format!("{}. {}: {}", number + 1, finding.cause.name(), finding.what))?;
        for effect in &finding.explains {
            out.line(format!("   so: {effect}"))?;
        }
        out.line(format!("   do: {}", finding.way_out))?;
    }
    Ok(())
}
