//! Time, and what happens at each point of it.

mod apply_thread;
mod churn;
mod clients;
mod faults;
mod healing;
mod log_thread;
mod raft_thread;
mod snapshots;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::dice::Dice;
use crate::member::Member;
use crate::network::{Network, Parcel, Place};
use crate::oracle::Oracle;
use crate::plan::Plan;
use churn::Operator;
use clients::Client;

/// What a process does at some time. Dropped when that process has died meanwhile.
#[derive(Debug, Clone)]
enum Work {
    Turn,
    LogWritten,
    LogSynced,
    LogCut,
    Applied,
    FlushBegins,
    FlushEnds { batches: usize, generation: u64 },
    Checkpoint,
    InstallStep(u8),
    PullAgain { at: (u64, u64), tries: u64 },
    Duties,
}

#[derive(Debug)]
enum Event {
    Process { member: u64, incarnation: u64, work: Work },
    Restart { member: u64 },
    Arrival { from: Place, to: Place, parcel: Box<Parcel> },
    ClientTurn { client: u64 },
    ClientRetry { client: u64, token: u64, attempt: u64 },
    ClientRedirect { client: u64, token: u64, attempt: u64 },
    Fault,
    Churn,
}

/// What a run has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub members: u64,
    pub events: u64,
    pub entries: u64,
    pub commands: u64,
    pub repeated: u64,
    pub answered: u64,
    pub reads: u64,
    pub terms: u64,
    pub crashes: u64,
    pub snapshots: u64,
    /// Members that came, and those that were lost or removed.
    pub joined: u64,
    pub retired: u64,
    /// Of everything that happened, in its order.
    pub trace: u64,
}

impl Seen {
    /// The sums over several runs; the trace is of none of them.
    pub fn add(&mut self, other: &Self) {
        self.members += other.members;
        self.events += other.events;
        self.entries += other.entries;
        self.commands += other.commands;
        self.repeated += other.repeated;
        self.answered += other.answered;
        self.reads += other.reads;
        self.terms += other.terms;
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.joined += other.joined;
        self.retired += other.retired;
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { members, events, entries, commands, repeated, answered, .. } = self;
        let Self { reads, terms, crashes, snapshots, joined, retired, .. } = self;
        write!(
            f,
            "{members} members, {events} events, {entries} entries, {commands} commands of which {repeated} again, "
        )?;
        write!(
            f,
            "{answered} answers, {reads} reads, {terms} terms, {crashes} crashes, {snapshots} snapshots installed, "
        )?;
        write!(f, "{joined} members came and {retired} went")
    }
}

pub(crate) struct World {
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    dice: Dice,
    plan: Plan,
    seed: u64,
    network: Network,
    members: Vec<Member>,
    clients: Vec<Client>,
    oracle: Oracle,
    operator: Operator,
    /// Faults go on.
    stormy: bool,
    seen: Seen,
    hasher: DefaultHasher,
    telling: bool,
}

impl World {
    pub(crate) fn new(seed: u64, telling: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::of(&mut dice);
        let voters: Vec<u64> = (1..=plan.members).collect();
        let members = voters.iter().map(|id| Member::new(*id, &voters)).collect();
        let clients = (0..plan.clients).map(|_| Client::new()).collect();
        let seen = Seen { members: plan.members, ..Seen::default() };
        let mut world = Self {
            now: Duration::from_secs(1),
            events: BTreeMap::new(),
            scheduled: 0,
            dice,
            plan,
            seed,
            network: Network::default(),
            members,
            clients,
            oracle: Oracle::new(&voters),
            operator: Operator::new(seed),
            stormy: true,
            seen,
            hasher: DefaultHasher::new(),
            telling,
        };
        world.tell(|world| format!("{:?}", world.plan));
        for member in voters {
            world.start(member);
        }
        for client in 0..world.plan.clients {
            world.after(Duration::from_millis(300), Event::ClientTurn { client });
        }
        world.after(Duration::from_secs(1), Event::Fault);
        if world.operator.is_there() {
            world.after(Duration::from_secs(1), Event::Churn);
        }
        world
    }

    /// Faults for a while, then healing.
    pub(crate) fn run(mut self) -> Seen {
        let end = self.now + self.plan.faults_for;
        while self.step(end) {}
        self.heal();
        self.seen.entries = self.oracle.committed();
        self.seen.answered = self.clients.iter().map(|client| client.answered).sum();
        self.seen.reads = self.clients.iter().map(|client| client.reads).sum();
        (self.seen.commands, self.seen.repeated) = (self.oracle.commands, self.oracle.repeated);
        self.seen.terms = self.oracle.terms() as u64;
        self.seen.trace = self.hasher.finish();
        self.seen
    }

    /// The next event, unless it is later than `end`.
    fn step(&mut self, end: Duration) -> bool {
        let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) else {
            self.now = end;
            return false;
        };
        let ((now, _), event) = entry.remove_entry();
        assert!(now >= self.now, "time runs backwards");
        self.now = now;
        self.seen.events += 1;
        match event {
            Event::Process { member, incarnation, work } => {
                let place = &self.members[member as usize - 1];
                if place.incarnation != incarnation || place.running.is_none() {
                    return true;
                }
                if place.paused_until > now {
                    let until = place.paused_until;
                    self.at(until, Event::Process { member, incarnation, work });
                    return true;
                }
                self.note(member, &work);
                self.work(member, work);
            }
            Event::Restart { member } => self.restart(member),
            Event::Arrival { from, to, parcel } => self.arrive(from, to, *parcel),
            Event::ClientTurn { client } => self.client_turn(client),
            Event::ClientRetry { client, token, attempt } => self.client_retry(client, token, attempt),
            Event::ClientRedirect { client, token, attempt } => self.client_redirect(client, token, attempt),
            Event::Fault => self.fault(),
            Event::Churn => self.churn(),
        }
        true
    }

    fn work(&mut self, member: u64, work: Work) {
        match work {
            Work::Turn => self.turn(member),
            Work::LogWritten => self.log_written(member),
            Work::LogSynced => self.log_synced(member),
            Work::LogCut => self.log_cut(member),
            Work::Applied => self.applied(member),
            Work::FlushBegins => self.flush_begins(member),
            Work::FlushEnds { batches, generation } => self.flush_ends(member, batches, generation),
            Work::Checkpoint => self.checkpoint(member),
            Work::InstallStep(step) => self.install_step(member, step),
            Work::PullAgain { at, tries } => self.pull_again(member, at, tries),
            Work::Duties => self.duties(member),
        }
    }

    /// Makes an event part of the trace.
    fn note(&mut self, member: u64, work: &Work) {
        let applied = self.members[member as usize - 1].store.applied().index;
        (self.now, member, std::mem::discriminant(work), applied).hash(&mut self.hasher);
        if self.telling && !matches!(work, Work::Turn) {
            self.tell(|_| format!("member {member} {work:?}, applied {applied}"));
        }
    }

    fn tell(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.telling {
            crate::tell(&format!("{:>11.6} {}", self.now.as_secs_f64(), text(self)));
        }
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((time, self.scheduled), event);
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn member(&mut self, member: u64) -> &mut Member {
        &mut self.members[member as usize - 1]
    }

    /// Something that the present process of a member will do.
    fn later(&mut self, member: u64, delay: Duration, work: Work) {
        let incarnation = self.member(member).incarnation;
        self.after(delay, Event::Process { member, incarnation, work });
    }

    fn send(&mut self, from: Place, to: Place, parcel: Parcel) {
        for delay in self.network.arrivals(&self.plan, &mut self.dice, from, to) {
            self.after(delay, Event::Arrival { from, to, parcel: Box::new(parcel.clone()) });
        }
    }

    /// How long a write or a sync takes.
    fn disk_time(&mut self, member: u64) -> Duration {
        let until = self.member(member).slow_until;
        let slow = until > self.now;
        let most = self.plan.sync.as_micros() as u64 * if slow { 60 } else { 1 };
        self.dice.micros(most / 4, most + 1)
    }
}
