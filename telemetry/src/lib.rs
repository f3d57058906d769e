//! What the parts of Ashlar have in common in counting. Each part has a struct of its own with its numbers, made where
//! the process starts and handed down.
//!
//! Names are `ashlar_PART_WHAT_UNIT`; times are in seconds, sizes in bytes, counters end in `_total`.

mod queue;

use std::collections::BTreeSet;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use queue::{Queue, Queues, Waiting};

/// Upper bounds of latencies of requests, in seconds.
const LATENCIES: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Latencies from half a millisecond to a minute.
pub fn latencies() -> Histogram {
    Histogram::new(LATENCIES)
}

/// The media type of [`text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics that a text speaks of and that begin with `prefix`, such as a rule or a dashboard: for tests that all of
/// these exist.
pub fn names_in<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with(prefix)).collect()
}

/// Everything that is registered, as it is now.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("writing to memory does not fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_rules_and_prose() {
        let text = "max(ashlar_x_a{verdict=\"b\"}) / ashlar_x_b_total > 1 and `ashlar_y_c`; other_ashlar_x_d";
        assert_eq!(names_in(text, "ashlar_x_").into_iter().collect::<Vec<_>>(), ["ashlar_x_a", "ashlar_x_b_total"]);
    }
}
