use types::{ByteSize, NodeId, Timestamp};

use super::sample::{healthy, member};
use super::*;

fn verdict(facts: &Facts) -> (Health, Vec<String>) {
    facts.health()
}

fn one(health: Health, reason: &str) -> (Health, Vec<String>) {
    (health, vec![reason.to_owned()])
}

#[test]
fn all_well_needs_no_reasons() {
    assert_eq!(verdict(&healthy()), (Health::Healthy, Vec::new()));
    assert_eq!(healthy().leader().map(|leader| leader.node), Some(NodeId::new(2)));
}

#[test]
fn a_leader_needs_a_majority_that_agrees() {
    let mut facts = healthy();
    facts.namenodes[0].status = Err("it is silent".into());
    assert_eq!(verdict(&facts), one(Health::Degraded, "namenode 127.0.0.1:8020 does not answer"));
    facts.namenodes[2].status = Ok(member(3, 5, None));
    let (health, reasons) = verdict(&facts);
    assert_eq!((health, reasons[0].as_str()), (Health::Unavailable, "no leader: 2 of 3 namenodes answer"));
}

#[test]
fn without_any_answer_there_is_one_reason_for_each_member() {
    let mut facts = healthy();
    facts.namenodes.iter_mut().for_each(|answer| answer.status = Err("refused".into()));
    facts.datanodes = Err("nobody knows".into());
    let (health, reasons) = verdict(&facts);
    let first = reasons[0].as_str();
    assert_eq!((health, reasons.len(), first), (Health::Unavailable, 4, "no leader: 0 of 3 namenodes answer"));
}

#[test]
fn a_deposed_leader_is_not_believed() {
    let mut facts = healthy();
    facts.namenodes[0].status = Ok(member(1, 3, Some(1)));
    assert_eq!(facts.leader().map(|leader| leader.node), Some(NodeId::new(2)));
}

#[test]
fn what_is_short_is_said() {
    let mut facts = healthy();
    let leader = facts.namenodes[1].status.as_mut().expect("it answers");
    let redundancy = leader.redundancy.as_mut().expect("it leads");
    (redundancy.missing, redundancy.under_replicated, redundancy.corrupt_replicas) = (1, 1200, 2);
    let reasons = [
        "1 block without any good replica: their files cannot be read",
        "2 damaged replicas, kept until good ones replace them",
        "1,200 blocks with too few replicas",
    ];
    assert_eq!(verdict(&facts), (Health::Degraded, reasons.map(str::to_owned).to_vec()));
}

#[test]
fn datanodes_that_are_gone_or_full_are_named() {
    let mut facts = healthy();
    let datanodes = facts.datanodes.as_mut().expect("they are known");
    datanodes[0].liveness = Liveness::Dead;
    datanodes[1].storages[0].free = ByteSize::gib(4);
    datanodes[2].storages[0].failed = true;
    let reasons = [
        "2 datanodes are alive, files want 3 replicas".to_owned(),
        "datanode 1 (dn1) is dead".to_owned(),
        format!("datanode 2 (dn2): volume {} has only 4.00GiB left", "02".repeat(16)),
        format!("datanode 3 (dn3): volume {} has failed", "03".repeat(16)),
    ];
    assert_eq!(verdict(&facts), (Health::Degraded, reasons.to_vec()));

    facts.datanodes = Ok(Vec::new());
    assert_eq!(verdict(&facts), one(Health::Unavailable, "no datanode is alive and in service"));
}

#[test]
fn a_member_that_cannot_keep_up_is_named() {
    let mut facts = healthy();
    facts.namenodes[1].status.as_mut().expect("it answers").commit = 20_000;
    facts.namenodes[1].status.as_mut().expect("it answers").applied = 20_000;
    facts.namenodes[2].status.as_mut().expect("it answers").applied = 19_999;
    assert_eq!(verdict(&facts), one(Health::Degraded, "namenode 127.0.0.1:8020 is 19,901 entries behind"));
}

#[test]
fn a_datanode_that_has_left_or_was_announced_to_be_away_is_no_trouble() {
    let mut facts = healthy();
    facts.replication = Some(2);
    let datanodes = facts.datanodes.as_mut().expect("they are known");
    datanodes[0].liveness = Liveness::Dead;
    datanodes[0].service = Service::Decommissioned;
    assert_eq!(verdict(&facts), (Health::Healthy, vec![]));
    let until = types::Timestamp::from_nanos(1);
    facts.datanodes.as_mut().expect("they are known")[0].service = Service::Maintenance { until };
    assert_eq!(verdict(&facts), (Health::Healthy, vec![]));
    facts.replication = Some(3);
    let too_few = "2 datanodes are alive, files want 3 replicas".to_owned();
    assert_eq!(verdict(&facts), (Health::Degraded, vec![too_few]));
}

#[test]
fn safe_mode_is_a_reason_that_names_who_began_it_and_the_way_out() {
    let mut facts = healthy();
    let on = SafeMode { since: Some(Timestamp::from_nanos(1_000_000_000)), by: Some("ann".to_owned()) };
    facts.namenodes[0].status.as_mut().expect("it answers").safe_mode = Some(on.clone());
    assert_eq!(verdict(&facts), (Health::Healthy, vec![]), "a follower may lag behind");
    facts.namenodes[1].status.as_mut().expect("it answers").safe_mode = Some(on);
    let rest = "nothing is changed or repaired; ashlar admin safemode leave ends it";
    let reason = format!("safe mode is on since 1970-01-01 00:00:01 UTC, by ann: {rest}");
    assert_eq!(verdict(&facts), one(Health::Degraded, &reason));
    let unknown = SafeMode { since: None, by: None };
    facts.namenodes[1].status.as_mut().expect("it answers").safe_mode = Some(unknown);
    assert_eq!(verdict(&facts), one(Health::Degraded, &format!("safe mode is on: {rest}")));
}
