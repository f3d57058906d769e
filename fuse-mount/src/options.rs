//! How a mount behaves.

use std::time::Duration;

use types::{ByteSize, Path};

/// What a mount may forbid, as mount(8) has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `nosuid`: programs gain nothing by setuid and setgid.
    Privileges,
    /// `nodev`: devices are names only.
    Devices,
    /// `noexec`: nothing here is run.
    Programs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The directory of the namespace that is mounted.
    pub subdir: Path,
    pub read_only: bool,
    /// Reading a file changes its access time where a program could notice: as `relatime`, see mount(8).
    pub access_times: bool,
    /// What the kernel is to refuse here, whatever the files say.
    pub refused: Vec<Refused>,
    /// Other users than the one who mounts may use it.
    pub allow_other: bool,
    /// Uid 0 of this machine is `nobody` in the cluster.
    pub root_squash: bool,
    /// How long the kernel may use attributes and names without asking. It is told at once of changes that are made
    /// elsewhere, so this bounds only what is missed when the cluster cannot be reached. What it cannot be told of it uses
    /// for a second at most. Zero: it always asks.
    pub attr_timeout: Duration,
    /// Memory for data that is not written yet, of all files together.
    pub write_memory: ByteSize,
    /// Threads that take requests from the kernel.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            subdir: Path::root(),
            read_only: false,
            access_times: true,
            refused: Vec::new(),
            allow_other: false,
            root_squash: false,
            attr_timeout: Duration::from_secs(60),
            write_memory: ByteSize::mib(256),
            threads: 4,
        }
    }
}
