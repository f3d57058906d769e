//! Tests that the machine has no means for.

use std::io::Write as _;

/// Says that a test does not run and why, if there is a reason, past whatever catches the output of tests.
pub fn skipped(test: &str, reasons: &[Option<&str>]) -> bool {
    let Some(reason) = reasons.iter().flatten().next() else { return false };
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "SKIPPED: {test}: {reason}").expect("stderr takes a line");
    true
}
