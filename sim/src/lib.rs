//! A metadata cluster in one thread, from one seed.
//!
//! Each member is the [`consensus`] core with the queues of the threads around it, a log whose unsynced end may be lost
//! in a crash, and a state store whose unflushed part is lost. Time is virtual: an event queue. The network loses,
//! repeats, delays and overtakes; directions are cut; members die at any write or sync, are stopped, have slow disks and
//! wall clocks that jump; snapshots are cut short; members are added, removed, and lost with their disks. Clients with several operations under way send them again under the
//! same number until they are answered. Everything is drawn from the seed, so a seed is a run that can be repeated.
//!
//! What must hold is in `oracle.rs`. In the end everything heals, and within a bound of virtual time there is one leader,
//! all states are equal, every client is answered, and a new client's operations succeed.

mod device;
mod dice;
mod exports;
mod member;
mod network;
mod operations;
mod oracle;
mod plan;
mod state;
mod world;

use std::cell::RefCell;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};

pub use world::Seen;
use world::World;

/// A run that broke an invariant, or panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub seed: u64,
    pub what: String,
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the words of a panic for the report instead of printing them. Once in a process.
pub fn keep_panics() {
    panic::set_hook(Box::new(|info| {
        LAST_PANIC.with_borrow_mut(|last| *last = info.to_string());
    }));
}

/// Runs one seed.
///
/// # Errors
/// What was violated, in the words of the assertion.
pub fn run(seed: u64, telling: bool) -> Result<Seen, Violation> {
    let run = panic::catch_unwind(AssertUnwindSafe(|| World::new(seed, telling).run()));
    run.map_err(|panic| {
        let kept = LAST_PANIC.with_borrow(Clone::clone);
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = if kept.is_empty() { text.unwrap_or_default() } else { kept };
        Violation { seed, what }
    })
}

/// A line of a trace.
fn tell(line: &str) {
    // A reader that has gone away needs no trace.
    let _ = writeln!(std::io::stdout(), "{line}");
}
