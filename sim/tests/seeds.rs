//! What the simulator is for, in the short form that every change goes through.

use std::ops::Range;

/// Seeds that have failed once, with what they found. They stay.
const KEPT: &str = include_str!("../seeds.txt");

fn hold(seeds: impl Iterator<Item = u64>) -> sim::Seen {
    let mut sum = sim::Seen::default();
    for seed in seeds {
        match sim::run(seed, false) {
            Ok(seen) => sum.add(&seen),
            Err(violation) => {
                panic!("seed {seed}: {}; again: cargo run -p sim -- --seeds {seed} --trace", violation.what)
            }
        }
    }
    sum
}

fn hold_all(seeds: Range<u64>) -> sim::Seen {
    let sum = hold(seeds);
    // A run in which nothing happened would prove nothing.
    assert!(sum.answered > 5_000 && sum.reads > 1_000, "{sum}");
    assert!(sum.crashes > 100 && sum.repeated > 100 && sum.terms > 100, "{sum}");
    assert!(sum.snapshots > 5 && sum.joined > 20 && sum.retired > 20, "{sum}");
    sum
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..6 {
        assert_eq!(sim::run(seed, false), sim::run(seed, false), "seed {seed}");
    }
    let trace = |seed| sim::run(seed, false).map(|seen| seen.trace);
    assert_ne!(trace(0), trace(1));
}

#[test]
fn seeds_that_failed_once_hold() {
    let seeds = KEPT.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    hold(seeds);
}

/// In two halves, for two cores.
#[test]
fn the_first_seeds_hold() {
    hold_all(1_000_000..1_000_100);
}

#[test]
fn the_next_seeds_hold() {
    hold_all(1_000_100..1_000_200);
}
