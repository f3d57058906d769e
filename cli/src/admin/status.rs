//! `ashlar admin status`

use client::Config;
use client::health::{Datanodes, Facts, Health, Overview, Space};

use crate::exit::Failure;
use crate::output::{Align, Output, Sizes, Table, count, thousands};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Exact sizes instead of KiB, MiB, GiB
    #[arg(long)]
    bytes: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: Config, args: StatusArgs) -> Result<(), Failure> {
    let status = Overview::of(&Facts::ask(&config).await);
    let mut out = Output::stdout();
    if args.json {
        out.json(&status)?;
    } else {
        lines(&status, Sizes::exact(args.bytes)).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.flush()?;
    match status.health {
        Health::Healthy => Ok(()),
        Health::Degraded | Health::Unavailable => Err(Failure::Unhealthy),
    }
}

fn lines(overview: &Overview, sizes: Sizes) -> Vec<String> {
    let mut lines = vec![overview.health.word().to_owned()];
    lines.extend(overview.reasons.iter().map(|reason| format!("  - {reason}")));
    let mut row = |name: &str, value: String| lines.push(format!("{name:<12}{value}"));
    let none = || "not known".to_owned();
    row("cluster", overview.cluster.clone().unwrap_or_else(none));
    row(
        "leader",
        match overview.leader {
            Some(leader) => format!("nn{leader}, term {}", overview.term),
            None => format!("none, term {}", overview.term),
        },
    );
    for (at, line) in member_lines(overview).into_iter().enumerate() {
        row(if at == 0 { "namenodes" } else { "" }, line);
    }
    row(
        "datanodes",
        overview.datanodes.as_ref().map_or_else(none, |Datanodes { alive, suspect, dead }| {
            format!("{alive} alive, {suspect} suspect, {dead} dead")
        }),
    );
    row(
        "space",
        overview.space.as_ref().map_or_else(none, |Space { capacity, used, free }| {
            let (capacity, used, free) = (sizes.show(*capacity), sizes.show(*used), sizes.show(*free));
            format!("{used} used by replicas, {free} free of {capacity}")
        }),
    );
    row(
        "files",
        format!(
            "{}, {}, {} in {}",
            count(overview.files, "file", "files"),
            count(overview.directories, "directory", "directories"),
            sizes.show(overview.bytes),
            count(overview.blocks, "block", "blocks")
        ),
    );
    row(
        "redundancy",
        overview.redundancy.as_ref().map_or_else(
            || "not scanned yet".to_owned(),
            |blocks| {
                format!(
                    "{} under-replicated, {} corrupt, {} missing, {} copies under way (scanned {:.0} s ago)",
                    thousands(blocks.under_replicated),
                    thousands(blocks.corrupt_replicas),
                    thousands(blocks.missing),
                    thousands(blocks.pending_copies),
                    blocks.scan_age_ms as f64 / 1000.0
                )
            },
        ),
    );
    row("sessions", thousands(overview.sessions));
    lines
}

fn member_lines(overview: &Overview) -> Vec<String> {
    let mut table = Table::new(&[Align::Left; 4]);
    for member in &overview.members {
        let detail = match (&member.error, member.applied, member.lag) {
            (Some(error), ..) => error.clone(),
            (None, Some(applied), Some(0)) => format!("applied {}", thousands(applied)),
            (None, Some(applied), Some(lag)) => {
                format!("applied {}, {} behind", thousands(applied), thousands(lag))
            }
            (None, ..) => String::new(),
        };
        let name = member.node.map_or_else(|| "?".to_owned(), |node| format!("nn{node}"));
        table.row([name, member.address.clone(), member.state.to_owned(), detail]);
    }
    table.lines()
}

#[cfg(test)]
mod tests {
    use client::health::sample::healthy;

    use super::*;

    #[test]
    fn one_screen_tells_all() {
        let mut facts = healthy();
        facts.namenodes[2].status = Err("it is silent".into());
        let status = Overview::of(&facts);
        assert_eq!(
            lines(&status, Sizes::Human),
            [
                "degraded",
                "  - namenode 127.0.0.1:8022 does not answer",
                "cluster     abababababababababababababababab",
                "leader      nn2, term 4",
                "namenodes   nn1  127.0.0.1:8020  follower     applied 99",
                "            nn2  127.0.0.1:8021  leader       applied 99",
                "            nn3  127.0.0.1:8022  unreachable  it is silent",
                "datanodes   3 alive, 0 suspect, 0 dead",
                "space       3.00GiB used by replicas, 150GiB free of 300GiB",
                "files       1,234 files, 5 directories, 3.00MiB in 1,300 blocks",
                "redundancy  0 under-replicated, 0 corrupt, 0 missing, 0 copies under way (scanned 3 s ago)",
                "sessions    1",
            ]
        );
    }
}
