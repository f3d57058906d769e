//! Claims about jobs (the invariants are those of module `job`).

use types::{ByteSize, JobId, NodeId, Timestamp};

use super::*;
use crate::job::{self, JobOrder, JobPlan, JobRow, JobState};
use crate::limits::{MAX_JOBS, MAX_JOBS_KEPT};
use crate::row::{NodeRow, Service};

const BALANCE: JobPlan = JobPlan::Balance { threshold_permille: 50, bandwidth: ByteSize::mib(100) };

fn order(order: JobOrder) -> Command {
    Command::Job { order }
}

fn start(plan: JobPlan, token: u64) -> Command {
    order(JobOrder::Start { plan, owner: "root".to_owned(), reason: "a test".to_owned(), token })
}

fn scrub(node: Option<u64>, pass: u64) -> Command {
    start(JobPlan::Scrub { node: node.map(NodeId::new), pass }, pass)
}

fn pause(job: u64, pause: bool) -> Command {
    order(JobOrder::Pause { job: JobId::new(job), pause })
}

fn cancel(job: u64) -> Command {
    order(JobOrder::Cancel { job: JobId::new(job), by: "root".to_owned() })
}

fn end(job: u64) -> Command {
    order(JobOrder::End { job: JobId::new(job), failed: false, result: "even".to_owned(), done: 7, total: 7 })
}

fn started(result: Result<Reply, Error>) -> u64 {
    match result {
        Ok(Reply::Job { job }) => job.get(),
        other => panic!("a job was asked for: {other:?}"),
    }
}

fn row(cluster: &Cluster, job: u64) -> JobRow {
    job::get(&cluster.state, JobId::new(job)).expect("readable").expect("it is there")
}

fn datanode(cluster: &mut Cluster, number: u8) -> NodeId {
    let node = NodeRow {
        id: NodeId::new(0),
        host: format!("dn{number}"),
        transfer: "127.0.0.1:1".to_owned(),
        rack: "/r".to_owned(),
        storages: storages(&[number]),
        service: None,
    };
    match cluster.run(Command::RegisterDatanode { node }) {
        Ok(Reply::Node { node }) => node,
        other => panic!("a datanode was registered: {other:?}"),
    }
}

fn serve(node: NodeId, service: Service, by: Option<&str>) -> Command {
    Command::SetService { node, service, only_if: None, by: by.map(str::to_owned) }
}

#[test]
fn an_ended_job_does_not_change_any_more() {
    let mut cluster = Cluster::formatted();
    let job = started(cluster.run(start(BALANCE, 1)));
    assert_eq!((row(&cluster, job).state, row(&cluster, job).owner.as_str()), (JobState::Running, "root"));
    cluster.run(pause(job, true)).expect("it runs");
    assert_eq!(row(&cluster, job).state, JobState::Paused);
    cluster.run(pause(job, false)).expect("it waits");
    cluster.run(order(JobOrder::Advance { job: JobId::new(job), done: 3, total: 9 })).expect("it runs");
    assert_eq!((row(&cluster, job).done, row(&cluster, job).total), (3, 9));
    cluster.run(end(job)).expect("it runs");
    let ended = row(&cluster, job);
    assert_eq!((ended.state, ended.result.as_deref(), ended.done), (JobState::Done, Some("even"), 7));
    let before = cluster.state.clone();
    let late = JobOrder::Advance { job: JobId::new(job), done: 1, total: 9 };
    for command in [pause(job, true), cancel(job), end(job), order(late)] {
        assert_eq!(code(cluster.run(command)), Code::InvalidArgument);
    }
    assert_eq!(code(cluster.run(cancel(99))), Code::NotFound);
    assert_eq!(cluster.state, before);
}

#[test]
fn a_job_asked_for_twice_is_one_and_another_of_its_kind_is_refused() {
    let mut cluster = Cluster::formatted();
    let job = started(cluster.run(start(BALANCE, 1)));
    assert_eq!(started(cluster.run(start(BALANCE, 1))), job);
    assert_eq!(code(cluster.run(start(BALANCE, 2))), Code::Exists);
    cluster.run(cancel(job)).expect("it runs");
    assert_eq!(row(&cluster, job).result.as_deref(), Some("cancelled by root"));
    assert_eq!(started(cluster.run(start(BALANCE, 2))), job + 1);
    let nonsense = JobPlan::Balance { threshold_permille: 0, bandwidth: ByteSize::mib(1) };
    assert_eq!(code(cluster.run(start(nonsense, 3))), Code::InvalidArgument);
    let nonsense = JobPlan::Balance { threshold_permille: 50, bandwidth: ByteSize::kib(1023) };
    assert_eq!(code(cluster.run(start(nonsense, 3))), Code::InvalidArgument);
}

#[test]
fn a_pass_of_the_scrubber_takes_the_place_of_those_over_the_same_datanodes() {
    let mut cluster = Cluster::formatted();
    let (one, other) = (started(cluster.run(scrub(Some(100), 1))), started(cluster.run(scrub(Some(101), 2))));
    assert_eq!((row(&cluster, one).state, row(&cluster, other).state), (JobState::Running, JobState::Running));
    let all = started(cluster.run(scrub(None, 3)));
    assert_eq!((row(&cluster, one).state, row(&cluster, other).state), (JobState::Cancelled, JobState::Cancelled));
    assert_eq!(code(cluster.run(cancel(all))), Code::NotSupported, "no datanode would hear of it");
    assert_eq!(code(cluster.run(pause(all, true))), Code::NotSupported);
}

/// Invariant 3: also when the oldest job outlives all others.
#[test]
fn history_is_bounded_and_no_number_is_given_twice() {
    let mut cluster = Cluster::formatted();
    let long = started(cluster.run(scrub(Some(100), 1)));
    let mut last = long;
    for token in 2..20 {
        let job = started(cluster.run(start(BALANCE, token)));
        assert_eq!(job, last + 1);
        last = job;
        cluster.run(end(job)).expect("it runs");
        let kept = job::all(&cluster.state).expect("readable");
        assert!(kept.len() <= MAX_JOBS_KEPT + 1, "{kept:?}");
        assert_eq!((kept[0].0.get(), kept[kept.len() - 1].0.get()), (long, last));
    }
    invariants::check(&cluster.state);
}

#[test]
fn too_many_jobs_are_refused() {
    let mut cluster = Cluster::formatted();
    for node in 0..MAX_JOBS as u64 {
        started(cluster.run(scrub(Some(100 + node), 1 + node)));
    }
    assert_eq!(code(cluster.run(scrub(Some(99), 999))), Code::Busy);
}

#[test]
fn a_datanode_that_leaves_or_is_away_has_a_job_until_it_does_not() {
    let mut cluster = Cluster::formatted();
    let (node, _) = (datanode(&mut cluster, 1), datanode(&mut cluster, 2));
    cluster.run(serve(node, Service::Decommissioning, Some("anna"))).expect("another one stays");
    cluster.run(serve(node, Service::Decommissioning, Some("bert"))).expect("said twice");
    let [(first, leaving)] = &job::under_way(&cluster.state).expect("readable")[..] else { panic!("one job") };
    assert_eq!((leaving.plan, leaving.owner.as_str()), (JobPlan::Decommission { node }, "anna"));
    assert_eq!(code(cluster.run(pause(first.get(), true))), Code::NotSupported);
    cluster.run(cancel(first.get())).expect("it runs");
    assert_eq!(query::nodes(&cluster.state).expect("readable")[0].service(), Service::InService, "it is back");
    assert_eq!(row(&cluster, first.get()).state, JobState::Cancelled);

    cluster.run(serve(node, Service::Decommissioning, Some("anna"))).expect("again");
    cluster.run(serve(node, Service::Decommissioned, None)).expect("the leader says so");
    assert_eq!(row(&cluster, 2).state, JobState::Done);
    let until = Timestamp::from_nanos(7);
    cluster.run(serve(node, Service::Maintenance { until }, Some("anna"))).expect("announced");
    let later = Timestamp::from_nanos(8);
    cluster.run(serve(node, Service::Maintenance { until: later }, Some("anna"))).expect("and for longer");
    assert_eq!((row(&cluster, 3).state, row(&cluster, 4).state), (JobState::Cancelled, JobState::Running));
    cluster.run(serve(node, Service::InService, None)).expect("the leader ends it");
    assert_eq!(row(&cluster, 4).state, JobState::Done);
    let by_itself = JobPlan::Decommission { node };
    assert_eq!(code(cluster.run(start(by_itself, 9))), Code::InvalidArgument, "only with the datanode's service");
    assert!(job::under_way(&cluster.state).expect("readable").is_empty());
}

/// What people say of a job is kept in bounds, and cut between letters.
#[test]
fn long_reasons_are_cut() {
    let mut cluster = Cluster::formatted();
    let reason = "ü".repeat(5000);
    let command = JobOrder::Start { plan: BALANCE, owner: reason.clone(), reason, token: 0 };
    let job = started(cluster.run(order(command)));
    assert!(row(&cluster, job).reason.len() <= 1024 && row(&cluster, job).owner.starts_with("üü"));
}
