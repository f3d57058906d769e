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

/// Run by Python, each behind what they share.
const PROBES: [(&str, &str, &str); 7] = [
    ("opening", include_str!("probes/opening.py"), "'link' nofollow: ELOOP"),
    ("space", include_str!("probes/space.py"), "punched: [(262144, 278528), (294912, 327680)"),
    ("times", include_str!("probes/times.py"), "chmod  f:c .:"),
    ("mapping", include_str!("probes/mapping.py"), "write to what runs: ETXTBSY"),
    ("names", include_str!("probes/names.py"), "file full: EISDIR"),
    ("attributes", include_str!("probes/attributes.py"), "1002 unlink: EPERM"),
    ("locking", include_str!("probes/locking.py"), "waiting, with an alarm: EINTR"),
];
const SHARED: &str = include_str!("probes/shared.py");

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
        let same = |name: &str, command: &[&str], prints: &str| {
            let run = |root: &Path| transcript(&root.join(name), command);
            let (seen, wanted) = (run(&there)?, run(&here)?);
            ensure!(wanted.contains(prints), "{name} does not do what it should anywhere:\n{wanted}");
            compare(&seen, &wanted).context(name.to_owned())
        };
        SCRIPTS.iter().try_for_each(|(name, script, prints)| same(name, &["bash", "-c", script], prints))?;
        PROBES
            .iter()
            .try_for_each(|(name, probe, prints)| same(name, &["python3", "-c", &format!("{SHARED}\n{probe}")], prints))
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

fn transcript(directory: &Path, command: &[&str]) -> Result<String> {
    std::fs::create_dir(directory)?;
    let output = Command::new(command[0]).args(&command[1..]).current_dir(directory).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && errors.is_empty(),
        "the script failed (are the packages acl, util-linux and python3 there?): {errors}"
    );
    String::from_utf8(output.stdout).context("text")
}
