//! What operators read of a role over HTTP: its metrics, how it is, and, on namenodes, the web page (see `site`).
//!
//! ```text
//! /metrics   numbers, in the text format that Prometheus reads     /livez    whether the process answers
//! /healthz   one word and the reasons; 503 when it cannot serve
//! ```
//!
//! Invariants, cited by tests:
//! 1. An address other than loopback is not listened on: there is no TLS here yet.
//! 2. Health is one verdict: this door, the metrics and the command line say the same word.
//! 3. A request that names another host than this machine is not answered.
//! 4. Whatever a peer sends is answered or its connection closed, in bounded time and memory.

mod cluster;
mod door;
mod probes;
mod settings;
mod site;
#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use door::{Door, Error, Pages, Role};
pub use probes::{Judge, Observe, Verdict};
pub use settings::Settings;
