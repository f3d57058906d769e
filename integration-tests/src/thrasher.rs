//! What a thrasher needs to know without a cluster: what was acknowledged, what may be seen, and which faults come when.
//!
//! Invariants, cited by tests:
//! 1. Whatever may be at a path is in the ledger before the operation that brings it is sent, and stays in it until the
//!    answer says which of the alternatives it is. An operation without an answer leaves all of them, for good.
//! 2. What may be seen of a file never ends before what was acknowledged, and never holds a byte that nobody sent.
//! 3. A path whose state is not known is not worked on any more: what comes later could not be told from what came late.
//! 4. The same seed gives the same faults at the same times.
//! 5. No fault is beyond what is promised: no more than two datanodes and one namenode are out at a time, and of a block with
//!    three whole replicas one is damaged, once.

mod content;
mod damage;
mod dice;
mod ledger;
mod plan;
mod work;

pub use content::Content;
pub use damage::{Damage, Replica, Replicas};
pub use dice::Dice;
pub use ledger::{Clock, Ledger, Mismatch, State, Ticket};
pub use plan::{DATANODES, Step, plan};
pub use work::{Task, choose};
