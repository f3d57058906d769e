//! Who the other members are: where they listen, and whether the one that calls is the one it says it is.
//!
//! Invariants, cited by tests:
//! 1. A member whose directory is not the one recorded for its number is refused, and so is one that was removed. What
//!    says so is the replicated state, so it holds for good: the one refused notes it and stays away.
//! 2. A member that this one does not know may be right where this one is behind: it is heard. The Raft library counts
//!    nobody's vote but those of its members.
//! 3. Of two processes with one directory, the one that was heard first is the member, as long as it is heard.
//! 4. A state on disk never goes back. A member that comes with less than it said before was restored from an old copy,
//!    and may have forgotten a vote: it is refused for good.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use types::{ClusterId, DiskId};

use crate::raft::Group;

/// A process that was not heard for so long makes room for another with the same number.
const SILENCE: Duration = Duration::from_secs(2);

/// Who this member is.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) cluster: ClusterId,
    pub(crate) node: u64,
    pub(crate) disk: Option<DiskId>,
    /// Of this process.
    pub(crate) instance: u64,
    pub(crate) address: SocketAddr,
}

/// What a member says of itself when it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) cluster: Vec<u8>,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) disk: Option<DiskId>,
    pub(crate) instance: u64,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) persisted: u64,
}

/// Why a member is not heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this is cluster {0}")]
    Cluster(ClusterId),
    #[error("this is node {0}")]
    Misdirected(u64),
    #[error("node {0} is the number of the member that is called")]
    SameNumber(u64),
    #[error("another process of node {0} is running; two have the same directory, or copies of it")]
    SecondProcess(u64),
    #[error("node {0} was removed from the cluster")]
    Removed(u64),
    #[error("node {node} has another directory: its disk id is {known}, and not {told}")]
    OtherDisk { node: u64, known: DiskId, told: String },
    #[error(
        "node {node} had its state on disk up to log index {known} and has it up to {told} now: it was restored from an old copy"
    )]
    WentBack { node: u64, known: u64, told: u64 },
}

impl Refused {
    /// Whether the one refused must never take part again (invariants 1 and 4).
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Removed(_) | Self::OtherDisk { .. } | Self::WentBack { .. } => true,
            Self::Cluster(_) | Self::Misdirected(_) | Self::SameNumber(_) | Self::SecondProcess(_) => false,
        }
    }
}

#[derive(Debug, Default)]
struct Heard {
    instance: u64,
    last: Option<Instant>,
    address: Option<SocketAddr>,
    persisted: u64,
}

#[derive(Debug, Default)]
struct Known {
    group: Group,
    heard: BTreeMap<u64, Heard>,
}

#[derive(Debug)]
pub(crate) struct Roster {
    own: Own,
    /// Where members listen by the configuration, in the order of their numbers. It counts for those that the cluster
    /// began with, until their address is recorded or heard.
    configured: Vec<SocketAddr>,
    known: Mutex<Known>,
    /// No change of the members is half done.
    settled: watch::Sender<bool>,
}

impl Roster {
    pub(crate) fn new(own: Own, configured: Vec<SocketAddr>, group: Group) -> Self {
        let settled = watch::Sender::new(group.outgoing.is_empty());
        Self { own, configured, known: Mutex::new(Known { group, heard: BTreeMap::new() }), settled }
    }

    pub(crate) const fn own(&self) -> &Own {
        &self.own
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one assignment, so a panic leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn group(&self) -> Group {
        self.known().group.clone()
    }

    /// The members are these from now on.
    pub(crate) fn changed(&self, group: Group) {
        let settled = group.outgoing.is_empty();
        self.known().group = group;
        self.settled.send_replace(settled);
    }

    /// Resolves when no change of the members is half done: until then, the members before it are needed too.
    pub(crate) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        settled.wait_for(|settled| *settled).await.expect("the sender is a field of `self`");
    }

    /// Judges who calls, and notes what it says of itself. Again with every batch of messages.
    pub(crate) fn admit(&self, greeting: &Greeting, now: Instant) -> Result<(), Refused> {
        let (own, node) = (&self.own, greeting.from);
        if greeting.cluster != own.cluster.as_bytes() {
            return Err(Refused::Cluster(own.cluster));
        }
        if node == own.node {
            return Err(Refused::SameNumber(node));
        }
        if greeting.to != own.node {
            return Err(Refused::Misdirected(own.node));
        }
        let mut known = self.known();
        // Invariant 1.
        if known.group.removed.contains(&node) {
            return Err(Refused::Removed(node));
        }
        let disk = known.group.member(node).and_then(|member| member.disk);
        if let Some(disk) = disk.filter(|disk| Some(*disk) != greeting.disk) {
            let told = greeting.disk.map_or_else(|| "missing".to_owned(), |disk| disk.to_string());
            return Err(Refused::OtherDisk { node, known: disk, told });
        }
        let heard = known.heard.entry(node).or_default();
        if heard.instance != greeting.instance && heard.last.is_some_and(|last| now - last < SILENCE) {
            return Err(Refused::SecondProcess(node));
        }
        if greeting.persisted < heard.persisted {
            return Err(Refused::WentBack { node, known: heard.persisted, told: greeting.persisted });
        }
        let address = greeting.address.or(heard.address);
        *heard = Heard { instance: greeting.instance, last: Some(now), address, persisted: greeting.persisted };
        Ok(())
    }

    /// The stream of a process has ended: another may take its place at once.
    pub(crate) fn left(&self, node: u64, instance: u64) {
        if let Some(heard) = self.known().heard.get_mut(&node).filter(|heard| heard.instance == instance) {
            heard.last = None;
        }
    }

    /// How far the state of a member is on its disk, as far as it said; 0 before.
    pub(crate) fn persisted(&self, node: u64) -> u64 {
        self.known().heard.get(&node).map_or(0, |heard| heard.persisted)
    }

    /// Whether messages for a member still make sense. Those that call and are not known here get answers.
    pub(crate) fn knows(&self, node: u64) -> bool {
        let known = self.known();
        known.group.member(node).is_some() || (known.heard.contains_key(&node) && !known.group.removed.contains(&node))
    }

    /// Where a member may listen, the likeliest first.
    pub(crate) fn addresses(&self, node: u64) -> Vec<SocketAddr> {
        let known = self.known();
        let heard = known.heard.get(&node).and_then(|heard| heard.address);
        let recorded = known.group.member(node).and_then(|member| member.address.parse().ok());
        let place = usize::try_from(node).ok().and_then(|node| node.checked_sub(1));
        let configured = place.and_then(|place| self.configured.get(place)).copied();
        let mut addresses = Vec::new();
        for address in [heard, recorded, configured].into_iter().flatten() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Where all members listen.
    pub(crate) fn all(&self) -> Vec<SocketAddr> {
        let members: Vec<u64> = self.known().group.members.iter().map(|member| member.node).collect();
        members.into_iter().filter_map(|node| self.address(node)).collect()
    }

    /// Where a member listens, for people and clients.
    pub(crate) fn address(&self, node: u64) -> Option<SocketAddr> {
        if node == self.own.node { Some(self.own.address) } else { self.addresses(node).first().copied() }
    }

    /// The members whose address, as they tell it, is not the one that is recorded.
    pub(crate) fn unrecorded(&self) -> Vec<(u64, String)> {
        let known = self.known();
        let told = |node: u64| {
            if node == self.own.node { Some(self.own.address) } else { known.heard.get(&node)?.address }
        };
        let members = known.group.members.iter();
        let differing = members.filter_map(|member| {
            let told = told(member.node)?.to_string();
            (told != member.address).then_some((member.node, told))
        });
        differing.collect()
    }
}

#[cfg(test)]
mod tests;
