//! The same command again, as a process of its own that outlives this one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{READY, helper_arguments};
use crate::exit::{Failure, reason};
use crate::output::Output;

/// Starts the process and waits until it has mounted. It reports what goes wrong until then on our stderr.
pub(super) fn start(log: Option<&Path>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot start in the background: {}", reason(&error)));
    let program = std::env::current_exe().map_err(failed)?;
    let errors = match log {
        Some(path) => {
            let file = std::fs::File::options().create(true).append(true).open(path);
            Stdio::from(file.map_err(|error| Failure::local(path, &error))?)
        }
        // Not a copy: the new process would keep that for ever.
        None => Stdio::inherit(),
    };
    let mut command = Command::new(program);
    let arguments = helper_arguments(std::env::args_os().collect());
    command.args(arguments.into_iter().skip(1)).args(["--foreground", "--detached"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().map_err(failed)?;
    let stdout = child.stdout.take().expect("it is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    if line.starts_with(READY) {
        let mut out = Output::stdout();
        return out.line(line.trim_end()).and_then(|()| out.flush());
    }
    child.wait().map_err(failed)?;
    // It has said why on the stderr that is also ours, or in its log.
    Err(match log {
        Some(path) => Failure::Failed(format!("nothing is mounted; {} says why", path.display())),
        None => Failure::Reported,
    })
}

/// What the new process does first: it gets a session of its own, so that what ends the terminal does not end the mount.
pub(super) fn begin() -> Result<(), Failure> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Failed(format!("cannot leave the terminal: {}", reason(&error.into())))),
    }
}

/// What it does when it has mounted: it lets go of everything that others may wait for it to leave. Its log stays.
pub(super) fn let_go(has_log: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::local(Path::new("/dev/null"), &error);
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdout(&null).map_err(|error| failed(error.into()))?;
    if !has_log {
        rustix::stdio::dup2_stderr(&null).map_err(|error| failed(error.into()))?;
    }
    std::env::set_current_dir("/").map_err(|error| Failure::local(Path::new("/"), &error))
}
