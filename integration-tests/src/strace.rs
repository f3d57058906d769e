//! System calls of a running process fail, wait, or kill it: what a test cannot ask of a disk that works.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// Why no calls can be tampered with here, if so.
pub fn no_strace_here() -> Option<&'static str> {
    let said = Command::new("strace").arg("-V").output();
    if said.is_err() { Some("there is no strace") } else { None }
}

/// Tampers with calls of a process until it is dropped, or the process ends.
#[derive(Debug)]
pub struct Tampering {
    strace: Child,
}

impl Tampering {
    /// `calls`: names, with commas. `how`, as in strace(1): `error=EIO`, `delay_enter=100ms`, `signal=KILL`, and `when=3+`. Only
    /// for calls that name `path`, or a file descriptor of it, if one is given.
    pub async fn with(pid: u32, calls: &str, how: &str, path: Option<PathBuf>) -> Result<Self> {
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{how}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-o", "/dev/null", "-e", &trace, "-e", &inject, "-p", &pid.to_string()]);
        if let Some(path) = path {
            command.arg("-P").arg(path);
        }
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("starting strace")?;
        let attached = until("strace has all threads", async || {
            ensure!(strace.try_wait()?.is_none(), "strace ended at once: may this user trace processes?");
            is_traced(pid)
        });
        let attached = attached.await;
        let tampering = Self { strace };
        attached.map(|()| tampering)
    }
}

/// Whether every thread of a process is traced.
fn is_traced(pid: u32) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else { continue };
        if status.lines().any(|line| line == "TracerPid:\t0") {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Tampering {
    fn drop(&mut self) {
        // On SIGTERM it lets the process go; on SIGKILL it would leave it stopped.
        let pid = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(pid)) = (self.strace.try_wait(), pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.strace.wait();
    }
}
