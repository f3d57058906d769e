//! Which ports the servers of one machine listen on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use crate::exit::Failure;

/// The well-known port of the first namenode; the others follow.
const NAMENODE: u16 = 8020;
/// The well-known port of the first datanode; the others follow.
const DATANODE: u16 = 9866;
/// The same for what they tell over HTTP.
const NAMENODE_HTTP: u16 = 8030;
const DATANODE_HTTP: u16 = 9766;
/// Free ports are taken from here: below those that the kernel gives to outgoing connections, one of which could
/// otherwise hold the port of a server that restarts.
const FREE: Range<u16> = 10_000..32_000;
/// A machine with so many blocks of ports in use has none to give.
const ATTEMPTS: usize = 200;

/// How ports are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// Namenodes from this one on, then datanodes, then the HTTP doors of both in the same order.
    From(u16),
    /// The well-known ones, or free ones where one of them is taken.
    WellKnown,
    /// Any free ones.
    Free,
}

/// Where the servers of a cluster listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) namenodes: Vec<SocketAddr>,
    pub(crate) datanodes: Vec<SocketAddr>,
    /// The HTTP doors: of the namenodes, then of the datanodes.
    pub(crate) http: Vec<SocketAddr>,
}

impl Addresses {
    fn all(&self) -> impl Iterator<Item = &SocketAddr> {
        self.namenodes.iter().chain(&self.datanodes).chain(&self.http)
    }
}

impl Ports {
    pub(crate) fn choose(self, namenodes: usize, datanodes: usize) -> Result<Addresses, Failure> {
        let nodes = namenodes + datanodes;
        let split = |mut all: Vec<SocketAddr>| {
            let http = all.split_off(nodes);
            let datanodes = all.split_off(namenodes);
            Addresses { namenodes: all, datanodes, http }
        };
        match self {
            Self::From(base) => {
                let all = run_from(base, 2 * nodes)
                    .ok_or_else(|| Failure::Usage(format!("--ports {base}: there are not enough ports above it")))?;
                match all.iter().find(|address| !is_free(**address)) {
                    Some(taken) => Err(Failure::Failed(format!("{taken} is taken; choose other ports with --ports"))),
                    None => Ok(split(all)),
                }
            }
            Self::WellKnown => {
                let run =
                    |base, count| run_from(base, count).expect("there are enough ports above the well-known ones");
                let wanted = Addresses {
                    namenodes: run(NAMENODE, namenodes),
                    datanodes: run(DATANODE, datanodes),
                    http: [run(NAMENODE_HTTP, namenodes), run(DATANODE_HTTP, datanodes)].concat(),
                };
                let free = wanted.all().all(|address| is_free(*address));
                if free { Ok(wanted) } else { Self::Free.choose(namenodes, datanodes) }
            }
            Self::Free => free_run(2 * nodes).map(split),
        }
    }
}

/// Whether a server could listen there now.
pub(crate) fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

fn run_from(base: u16, count: usize) -> Option<Vec<SocketAddr>> {
    let count = u16::try_from(count).ok()?;
    base.checked_add(count.saturating_sub(1))?;
    Some((0..count).map(|at| SocketAddr::from((Ipv4Addr::LOCALHOST, base + at))).collect())
}

/// Free ports in a row. The start is drawn, so that two clusters that are made at the same time do not choose the same.
fn free_run(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    for _ in 0..ATTEMPTS {
        let drawn = getrandom::u32().map_err(|error| Failure::Failed(format!("no source of randomness: {error}")))?;
        let base = FREE.start + (drawn % u32::from(FREE.end - FREE.start)) as u16;
        if let Some(run) = run_from(base, count).filter(|run| run.iter().all(|address| is_free(*address))) {
            return Ok(run);
        }
    }
    Err(Failure::Failed(format!("found no {count} free ports in a row; choose them with --ports")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_taken_are_refused_or_avoided() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = taken.local_addr().expect("it is bound");
        let failure = Ports::From(address.port()).choose(1, 0).expect_err("it is taken");
        assert_eq!(failure.to_string(), format!("{address} is taken; choose other ports with --ports"));

        let free = Ports::Free.choose(3, 2).expect("some are free");
        assert_eq!((free.namenodes.len(), free.datanodes.len(), free.http.len()), (3, 2, 5));
        assert!(free.all().all(|at| at.ip().is_loopback() && is_free(*at)));
    }

    #[test]
    fn a_run_ends_with_the_last_port() {
        assert_eq!(run_from(65_535, 1).map(|run| run.len()), Some(1));
        assert_eq!(run_from(65_535, 2), None);
    }
}
