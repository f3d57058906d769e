//! Scripts whose every command must answer on the mount what it answers on a local file system.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::{Cluster, Mounted, Options};

/// Run by bash in an empty directory. What they print is compared. Each says something that it prints where the tools work.
const SCRIPTS: [(&str, &str, &str); 2] = [
    ("acl", include_str!("scripts/acl.sh"), "user:1002:rw-"),
    ("privileges", include_str!("scripts/privileges.sh"), "6777"),
];

#[tokio::test(flavor = "multi_thread")]
async fn scripts_print_the_same_on_the_mount_and_on_a_local_file_system() -> Result<()> {
    if crate::skipped("scripts_print_the_same_on_the_mount_and_on_a_local_file_system") {
        return Ok(());
    }
    let cluster = Cluster::start(Options { namenodes: 1, ..Options::default() }).await?;
    let mount = Mounted::start(&cluster, &["-o", "allow_other"])?;
    let local = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (there, here) = (mount.path().to_owned(), local.path().to_owned());
    tokio::task::spawn_blocking(move || {
        SCRIPTS.iter().try_for_each(|(name, script, prints)| {
            let run = |root: &Path| transcript(&root.join(name), script);
            let (seen, wanted) = (run(&there)?, run(&here)?);
            ensure!(wanted.contains(prints), "{name} does not do what it should anywhere:\n{wanted}");
            compare(&seen, &wanted).context(*name)
        })
    })
    .await??;
    mount.finish().await?;
    cluster.finish(&[]).await
}

fn compare(seen: &str, wanted: &str) -> Result<()> {
    for (line, (seen, locally)) in seen.lines().zip(wanted.lines()).enumerate() {
        ensure!(seen == locally, "line {}: {seen:?} on the mount, {locally:?} locally; all of it:\n{wanted}", line + 1);
    }
    ensure!(seen.len() == wanted.len(), "the mount printed\n{seen}\nlocally\n{wanted}");
    Ok(())
}

fn transcript(directory: &Path, script: &str) -> Result<String> {
    std::fs::create_dir(directory)?;
    let output = Command::new("bash").args(["-c", script]).current_dir(directory).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && errors.is_empty(),
        "the script failed (are the packages acl and util-linux there?): {errors}"
    );
    String::from_utf8(output.stdout).context("text")
}
