use client::health::sample::healthy;
use client::{ScrubPass, StuckFile};
use types::{ByteSize, InodeId};

use super::*;

/// What each namenode sees.
type Seen = BTreeMap<String, Result<Examined, String>>;

const HOUR: i64 = 3_600_000_000_000;

fn seen(facts: &Facts) -> Seen {
    let signs = facts.datanodes.iter().flatten().map(|datanode| DatanodeSigns {
        node: datanode.node,
        skew: Some(1_000_000),
        version: "ashlar-1".to_owned(),
        pause: Duration::from_millis(1100),
        returns: 0,
    });
    let examined = Examined {
        skew: -2_000_000,
        took: Duration::from_millis(3),
        version: "ashlar-1".to_owned(),
        datanodes: signs.collect(),
        stuck: Vec::new(),
    };
    facts.namenodes.iter().map(|answer| (answer.address.clone(), Ok(examined.clone()))).collect()
}

/// What is found when something is done to a healthy cluster.
fn found(change: impl Fn(&mut Facts, &mut Seen)) -> Vec<Finding> {
    let mut facts = healthy();
    let mut examined = seen(&facts);
    change(&mut facts, &mut examined);
    Chart { facts: &facts, examined: &examined }.diagnose()
}

fn all(examined: &mut Seen, change: impl Fn(&mut Examined)) {
    examined.values_mut().for_each(|examined| change(examined.as_mut().expect("it answers")));
}

fn datanode(facts: &mut Facts, at: usize) -> &mut DatanodeReport {
    &mut facts.datanodes.as_mut().expect("they are known")[at]
}

fn short(facts: &mut Facts) {
    let leader = facts.namenodes[1].status.as_mut().expect("it leads");
    leader.redundancy.as_mut().expect("it knows").under_replicated = 4;
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found(|_, _| {}), []);
}

#[test]
fn what_follows_from_a_cause_is_told_with_it() {
    let found_ = found(|facts, _| {
        datanode(facts, 0).storages[0].failed = true;
        short(facts);
    });
    let [Finding { cause: Cause::DeadDisk, what, explains, .. }] = &found_[..] else { panic!("{found_:?}") };
    assert!(what.contains("of datanode 1 (dn1) has failed"), "{what}");
    assert_eq!(explains[..], ["4 blocks with too few replicas"]);
    let alone = found(|facts, _| short(facts));
    assert!(matches!(&alone[..], [Finding { cause: Cause::TooFewReplicas, .. }]), "{alone:?}");
}

#[test]
fn each_trouble_has_its_name() {
    let causes = |change: &dyn Fn(&mut Facts, &mut Seen)| -> Vec<Cause> {
        found(change).into_iter().map(|finding| finding.cause).collect()
    };
    assert_eq!(
        causes(&|facts, examined| {
            facts.namenodes[2].status = Err("refused".to_owned());
            examined.insert(facts.namenodes[2].address.clone(), Err("refused".to_owned()));
        }),
        [Cause::LostNamenode]
    );
    assert_eq!(
        causes(&|facts, _| {
            let leader = facts.namenodes[1].status.as_mut().expect("it leads");
            leader.safe_mode = Some(client::SafeMode { since: None, by: None });
            short(facts);
        }),
        [Cause::SafeMode]
    );
    assert_eq!(
        causes(&|facts, _| {
            for at in [0, 2] {
                facts.namenodes[at].status = Err("refused".to_owned());
            }
        }),
        [Cause::NoMajority, Cause::LostNamenode, Cause::LostNamenode]
    );
    assert_eq!(
        causes(&|facts, _| facts.namenodes[0].status.as_mut().expect("it answers").stalled = true),
        [Cause::StalledNamenode]
    );
    assert_eq!(causes(&|_, examined| all(examined, |seen| seen.datanodes[2].returns = 3)), [Cause::FlappingDatanode]);
    assert_eq!(causes(&|facts, _| datanode(facts, 2).liveness = Liveness::Dead), [Cause::LostDatanode]);
    let returns = |facts: &mut Facts, examined: &mut BTreeMap<_, _>| {
        datanode(facts, 2).liveness = Liveness::Suspect;
        all(examined, |seen| seen.datanodes[2].returns = 9);
    };
    assert_eq!(causes(&returns), [Cause::FlappingDatanode], "that it is silent now follows");
    assert_eq!(
        causes(&|_, examined| all(examined, |seen| seen.datanodes[1].pause = Duration::from_secs(4))),
        [Cause::SlowDatanode]
    );
    assert_eq!(causes(&|facts, _| datanode(facts, 0).storages[0].free = ByteSize::gib(4)), [Cause::FullVolume]);
    let bad = ScrubPass { pass: 1, checked: ByteSize::ZERO, bytes: ByteSize::ZERO, bad: 2, ended: true };
    assert_eq!(causes(&|facts, _| datanode(facts, 0).storages[0].scrub = Some(bad)), [Cause::DamagedReplicas]);
    assert_eq!(causes(&|facts, _| datanode(facts, 1).rack = "/default".to_owned()), [Cause::WrongRackMap]);
    assert_eq!(
        causes(&|facts, _| {
            datanode(facts, 1).host = "dn1".to_owned();
            datanode(facts, 1).rack = "r2".to_owned();
        }),
        [Cause::WrongRackMap]
    );
}

#[test]
fn the_odd_clock_is_named_whoever_leads() {
    let datanode = found(|_, examined| all(examined, |seen| seen.datanodes[0].skew = Some(HOUR)));
    assert!(
        matches!(&datanode[..], [Finding { cause: Cause::ClockSkew, what, .. }]
        if what == "the clock of datanode 1 (dn1) is 59m 59s 999ms ahead of the others"),
        "{datanode:?}"
    );
    // The leader is off: all datanodes seem to be off to it.
    let leader = found(|_, examined| {
        let seen = examined.get_mut("127.0.0.1:8021").expect("it is there").as_mut().expect("it answers");
        seen.skew += HOUR;
        seen.datanodes.iter_mut().for_each(|signs| signs.skew = Some(-HOUR));
    });
    assert!(
        matches!(&leader[..], [Finding { cause: Cause::ClockSkew, what, .. }]
        if what.starts_with("the clock of namenode 127.0.0.1:8021 is 1h ahead")),
        "{leader:?}"
    );
}

#[test]
fn the_odd_version_is_named() {
    let older = found(|_, examined| all(examined, |seen| seen.datanodes[1].version = "ashlar-0".to_owned()));
    assert_eq!(older[0].cause, Cause::VersionSkew);
    assert_eq!(older[0].what, "datanode 2 (dn2) runs ashlar-0, the others ashlar-1");
    let silent = found(|_, examined| all(examined, |seen| seen.datanodes[1].version = String::new()));
    assert!(silent[0].what.contains("a version that does not say so"), "{silent:?}");
}

#[test]
fn files_that_nobody_can_write_are_named() {
    let file = |recovering| StuckFile {
        inode: InodeId::new(7),
        path: b"/a/b".to_vec(),
        writer: "host:1".to_owned(),
        since: Duration::from_secs(40),
        recovering,
        nodes: vec![NodeId::new(1), NodeId::new(2)],
    };
    let held = found(|_, examined| all(examined, |seen| seen.stuck = vec![file(false)]));
    assert_eq!(held[0].what, "/a/b is held by a writer that is silent since 40s: host:1");
    assert!(held[0].way_out.ends_with("ashlar fs recover -f /a/b"));
    let lost = found(|_, examined| all(examined, |seen| seen.stuck = vec![file(true)]));
    assert!(lost[0].what.contains("is on datanodes 1, 2 only"), "{lost:?}");
}
