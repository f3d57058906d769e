//! `ashlar admin scrub`

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::health::{Facts, leader_first};
use client::{Admin, Config, DatanodeReport, Liveness};
use serde::Serialize;
use types::NodeId;

use crate::exit::{Failure, complain};
use crate::output::{Output, Sizes, count};

#[derive(Debug, clap::Args)]
pub(crate) struct ScrubArgs {
    /// The datanode's number; without it, all of them
    node: Option<u64>,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// Between two lines that say so.
const LINE: Duration = Duration::from_secs(10);
/// A volume that has not begun is told again: the lead may have changed.
const AGAIN: Duration = Duration::from_secs(5);

pub(crate) async fn run(config: Config, args: ScrubArgs) -> Result<(), Failure> {
    let leader = Facts::ask_namenodes(&config).await.leader_address();
    let admin = Admin::unconnected(&leader_first(&config, leader));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let pass = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1);
    let node = args.node.map(NodeId::new);
    let nodes = admin.scrub(node, pass).await?;
    let mut out = Output::stdout();
    let mut state = Scrub::of(&admin.report().await?, &nodes, pass);
    let (mut told, mut said) = (Instant::now(), Instant::now());
    while !args.no_wait && !state.ended() {
        tokio::time::sleep(LOOK).await;
        if state.waits_for_begin() && told.elapsed() >= AGAIN {
            admin.scrub(node, pass).await?;
            told = Instant::now();
        }
        // No leader answers for a while: the datanodes go on.
        if let Ok(report) = admin.report().await {
            state = Scrub::of(&report, &nodes, pass);
        }
        if said.elapsed() >= LINE {
            said = Instant::now();
            complain(&state.line());
        }
    }
    if args.json {
        out.json(&state)?;
    } else {
        out.line(state.line())?;
        for node in state.datanodes.iter().filter(|node| node.state == Liveness::Dead) {
            out.line(format!("datanode {} is dead and was not checked", node.node))?;
        }
    }
    out.flush()
}

/// How far the pass is. The keys are an interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Scrub {
    pass: u64,
    checked: u64,
    bytes: u64,
    bad: u64,
    datanodes: Vec<Datanode>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Datanode {
    node: u64,
    state: Liveness,
    checked: u64,
    bytes: u64,
    bad: u64,
    begun: bool,
    ended: bool,
}

impl Scrub {
    fn of(report: &[DatanodeReport], nodes: &[NodeId], pass: u64) -> Self {
        let told = report.iter().filter(|datanode| nodes.contains(&datanode.node));
        let datanodes: Vec<Datanode> = told.map(|datanode| Datanode::of(datanode, pass)).collect();
        Self {
            pass,
            checked: datanodes.iter().map(|node| node.checked).sum(),
            bytes: datanodes.iter().map(|node| node.bytes).sum(),
            bad: datanodes.iter().map(|node| node.bad).sum(),
            datanodes,
        }
    }

    /// A dead datanode is not waited for.
    fn waited_for(&self) -> impl Iterator<Item = &Datanode> {
        self.datanodes.iter().filter(|node| node.state != Liveness::Dead)
    }

    fn ended(&self) -> bool {
        self.waited_for().all(|node| node.ended)
    }

    fn waits_for_begin(&self) -> bool {
        self.waited_for().any(|node| !node.begun)
    }

    fn line(&self) -> String {
        let show = |bytes| Sizes::Human.show(bytes);
        let found = count(self.bad, "damaged replica", "damaged replicas");
        let on = count(self.waited_for().count() as u64, "datanode", "datanodes");
        format!("{} of {} checked on {on}, {found} found", show(self.checked), show(self.bytes))
    }
}

impl Datanode {
    fn of(report: &DatanodeReport, pass: u64) -> Self {
        let volumes = || report.storages.iter().filter(|storage| !storage.failed);
        let passes = || volumes().filter_map(|storage| storage.scrub.filter(|scrub| scrub.pass == pass));
        let begun = !report.storages.is_empty() && passes().count() == volumes().count();
        Self {
            node: report.node.get(),
            state: report.liveness,
            checked: passes().map(|scrub| scrub.checked.get()).sum(),
            bytes: passes().map(|scrub| scrub.bytes.get()).sum(),
            bad: passes().map(|scrub| scrub.bad).sum(),
            begun,
            ended: begun && passes().all(|scrub| scrub.ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use client::ScrubPass;
    use types::ByteSize;

    use super::*;
    use client::health::sample::healthy;

    fn passed(pass: u64, ended: bool) -> Option<ScrubPass> {
        Some(ScrubPass { pass, checked: ByteSize::mib(3), bytes: ByteSize::mib(4), bad: 1, ended })
    }

    #[test]
    fn the_end_is_when_every_volume_that_answers_has_ended_this_pass() {
        let mut report = healthy().datanodes.expect("they are known");
        let nodes: Vec<NodeId> = report.iter().map(|datanode| datanode.node).collect();
        let look = |report: &[DatanodeReport]| {
            let state = Scrub::of(report, &nodes[..2], 7);
            (state.waits_for_begin(), state.ended(), state.line())
        };
        let nothing = "0B of 0B checked on 2 datanodes, 0 damaged replicas found".to_owned();
        assert_eq!(look(&report), (true, false, nothing.clone()));
        report[0].storages[0].scrub = passed(6, true);
        report[2].storages[0].scrub = passed(7, true);
        assert_eq!(look(&report), (true, false, nothing), "another pass, and a datanode that was not asked");
        report[0].storages[0].scrub = passed(7, false);
        report[1].storages[0].scrub = passed(7, true);
        let line = "6.00MiB of 8.00MiB checked on 2 datanodes, 2 damaged replicas found".to_owned();
        assert_eq!(look(&report), (false, false, line));
        report[0].storages[0].scrub = passed(7, true);
        assert!(look(&report).1);
        report[0].storages[0].scrub = None;
        assert!(!look(&report).1);
        report[0].liveness = Liveness::Dead;
        assert!(look(&report).1, "nobody waits for the dead");
    }
}
