//! The one-process cluster.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::{binary, until};
use rustix::process::{Pid, Signal, kill_process};

struct Quickstart(Child);

impl Quickstart {
    fn start(dir: &Path) -> Result<Self> {
        let mut command = Command::new(binary());
        command.args(["quickstart", "--dir"]).arg(dir).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Self(command.spawn()?);
        let stdout = child.0.stdout.take().context("stdout is piped")?;
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == "ashlar is ready");
        ensure!(ready, "quickstart ended without its ready line");
        Ok(child)
    }

    async fn interrupt(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).context("a process has an id")?;
        kill_process(pid, Signal::INT)?;
        until("quickstart stops", async || Ok(self.0.try_wait()?.is_some())).await?;
        ensure!(self.0.wait()?.success(), "quickstart did not end with success");
        Ok(())
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ashlar(dir: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(binary());
    command.env("ASHLAR_CONFIG", dir.join("client.toml")).env_remove("ASHLAR_CLUSTER").args(arguments);
    let output = command.output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn quickstart_serves_at_its_ready_line_and_finds_everything_again() -> Result<()> {
    let base = tempfile::tempdir()?;
    let dir = base.path().join("q");
    let text = base.path().join("text");
    std::fs::write(&text, "ashlar\n".repeat(10_000))?;

    let running = Quickstart::start(&dir)?;
    ashlar(&dir, &["fs", "put", text.to_str().context("plain")?, "/text"])?;
    let second = Command::new(binary()).args(["quickstart", "--dir"]).arg(&dir).output()?;
    assert_eq!(second.status.code(), Some(1), "two quickstarts share a directory");
    running.interrupt().await?;

    let running = Quickstart::start(&dir)?;
    assert_eq!(ashlar(&dir, &["fs", "cat", "/text"])?, "ashlar\n".repeat(10_000));
    running.interrupt().await
}
