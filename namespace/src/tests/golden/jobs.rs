//! The bytes of jobs.

use types::{BlockId, ByteSize, GenStamp, InodeId, JobId, NodeId, Sequence, Timestamp};

use super::super::{location, storages};
use super::hex;
use crate::codec::Batch;
use crate::command::{Command, Reply, Request};
use crate::error::Error;
use crate::job::{JobOrder, JobPlan, JobRow, JobState};
use crate::key;
use crate::row::{self, ResultRow, Service};

#[test]
fn jobs_keep_their_bytes() {
    let (job, node) = (JobId::new(7), NodeId::new(100));
    let until = Timestamp::from_nanos(9);
    let balance = JobPlan::Balance { threshold_permille: 50, bandwidth: ByteSize::new(1000) };
    let start = |plan, token| JobOrder::Start { plan, owner: "r".to_owned(), reason: "w".to_owned(), token };
    let orders = [
        start(balance, 3),
        start(JobPlan::Scrub { node: None, pass: 4 }, 4),
        JobOrder::Pause { job, pause: true },
        JobOrder::Cancel { job, by: "r".to_owned() },
        JobOrder::Advance { job, done: 1, total: 2 },
        JobOrder::End { job, failed: true, result: "x".to_owned(), done: 1, total: 2 },
    ];
    let commands = orders.into_iter().map(|order| Command::Job { order }).chain([Command::SetService {
        node,
        service: Service::Decommissioning,
        only_if: None,
        by: Some("r".to_owned()),
    }]);
    let moved = Command::MoveReplica {
        block: BlockId::new(InodeId::new(42), 1),
        generation: GenStamp::new(2),
        source: storages(&[1])[0],
        target: location(2),
    };
    let commands = commands.chain([moved]);
    let request = |command| Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: commands.map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let running = JobRow {
        plan: JobPlan::Maintenance { node, until },
        owner: "r".to_owned(),
        reason: "w".to_owned(),
        state: JobState::Running,
        started: Timestamp::from_nanos(1),
        changed: Timestamp::from_nanos(2),
        done: 3,
        total: 4,
        result: None,
        token: 5,
    };
    let ended = JobRow {
        plan: JobPlan::Decommission { node },
        state: JobState::Cancelled,
        result: Some("x".to_owned()),
        ..running.clone()
    };
    let refused = |error| row::encode(&ResultRow { sequence: Sequence::new(3), result: Err(error) });
    let kind = || "k".to_owned();
    let rows = [
        (batch.encode(), LOG),
        (row::encode(&running), RUNNING),
        (row::encode(&ended), ENDED),
        (key::job(job), "4a0000000000000007"),
        (
            row::encode(&ResultRow { sequence: Sequence::new(3), result: Ok(Reply::Job { job }) }),
            "018203820082 18f08107",
        ),
        (refused(Error::UnknownJob { job }), "018203820182 18f08107"),
        (refused(Error::JobEnded { job }), "018203820182 18f18107"),
        (refused(Error::JobUnderWay { job, kind: kind() }), "018203820182 18f28207616b"),
        (refused(Error::TooManyJobs { limit: 9 }), "018203820182 18f38109"),
        (refused(Error::JobNeverPauses { job, kind: kind() }), "018203820182 18f48207616b"),
        (refused(Error::JobNeverStops { job, kind: kind() }), "018203820182 18f58207616b"),
        (refused(Error::JobOfService { kind: kind() }), "018203820182 18f681616b"),
        (refused(Error::BadBalance { threshold_permille: 5, bandwidth: ByteSize::new(6) }), "018203820182 18f7820506"),
    ];
    let (written, golden): (Vec<_>, Vec<_>) =
        rows.iter().map(|(bytes, golden)| (hex(bytes), golden.replace(' ', ""))).unzip();
    assert_eq!(written, golden);
    assert_eq!(row::decode(b"J", &row::encode(&ended)), Ok(ended));
}

const LOG: &str = concat!(
    "018188",
    "8309f68218f08182008482008218321903e86172617703",
    "8309f68218f081820084820382f6046172617704",
    "8309f68218f08182018207f5",
    "8309f68218f081820282076172",
    "8309f68218f081820383070102",
    "8309f68218f08182048507f561780102",
    "8309f682188a841864820180f66172",
    "8309f68218f18482182a010250010101010101010101010101010101018218665002020202020202020202020202020202",
);
const RUNNING: &str = "018a820282186409617261770001020304f605";
const ENDED: &str = "018a8201811864617261770401020304617805";
