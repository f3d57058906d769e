//! The mount, as programs use it. One binary, so that it links once.

mod coherence;
mod differential;
mod life;
mod posix;
mod scripts;
mod two_mounts;

/// Says loudly that a test does not run, and why.
#[allow(clippy::print_stderr, reason = "a skipped test must not look like a passed one")]
fn skipped(test: &str) -> bool {
    match integration_tests::no_mounts_here() {
        Some(reason) => {
            eprintln!("SKIPPED {test}: {reason}");
            true
        }
        None => false,
    }
}
