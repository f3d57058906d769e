//! The same random operations on the mount and on a local file system: a program must not be able to tell them apart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use integration_tests::{Cluster, Mounted, Options};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::posix::{Step, World, steps};

/// How long random sequences are tried, unless `ASHLAR_DIFFERENTIAL_SECONDS` says otherwise.
const SECONDS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_cannot_tell_the_mount_from_a_local_file_system() -> Result<()> {
    if crate::skipped("a_program_cannot_tell_the_mount_from_a_local_file_system") {
        return Ok(());
    }
    let seconds = std::env::var("ASHLAR_DIFFERENTIAL_SECONDS").ok().and_then(|text| text.parse().ok());
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    let mount = Mounted::start(&cluster, &[])?;
    // The default directory for temporary files may be in memory, which is another file system again.
    let local = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let (there, here) = (mount.path().to_owned(), local.path().to_owned());
    tokio::task::spawn_blocking(move || {
        let runs = AtomicU64::new(0);
        // A failing sequence is shrunk, and printed: it belongs into the list below.
        let mut runner = TestRunner::new(Config { cases: u32::MAX, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&steps(1..60), |steps| {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            if Instant::now() > until {
                // Time is over: what is left passes.
                return Err(TestCaseError::reject("time is over"));
            }
            compare(&there.join(run.to_string()), &here.join(run.to_string()), &steps)
        });
        match outcome {
            Err(proptest::test_runner::TestError::Abort(_)) => Ok(()),
            outcome => outcome.map_err(|error| anyhow::anyhow!("{error}")),
        }
    })
    .await??;
    mount.finish().await?;
    cluster.finish(&[]).await
}

fn compare(there: &std::path::Path, here: &std::path::Path, steps: &[Step]) -> Result<(), TestCaseError> {
    for root in [there, here] {
        std::fs::create_dir(root).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
    let (mut mounted, mut local) = (World::new(there), World::new(here));
    for (at, step) in steps.iter().enumerate() {
        let (seen, wanted) = (mounted.step(step), local.step(step));
        if seen != wanted {
            return Err(TestCaseError::fail(format!("step {at}, {step:?}: {seen:?} on the mount, {wanted:?} locally")));
        }
    }
    let (seen, wanted) = (mounted.everything(), local.everything());
    if seen != wanted {
        return Err(TestCaseError::fail(format!("in the end: {seen:?} on the mount, {wanted:?} locally")));
    }
    for root in [there, here] {
        // Best effort: the whole tree goes with the test anyway.
        let _ = std::fs::remove_dir_all(root);
    }
    Ok(())
}
