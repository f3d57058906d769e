//! A mount from its beginning to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use fuser::{MountOption, Session, SessionACL};
use rustix::mount::UnmountFlags;
use tokio::sync::oneshot;

use crate::accesses::Accesses;
use crate::attributes::Numbers;
use crate::coherence::Coherence;
use crate::files::Files;
use crate::filesystem::Mounted;
use crate::names::Names;
use crate::options::{Options, Refused};
use crate::read_ahead;
use crate::write_back::WriteBack;

/// How long programs that use files of a mount keep it from ending.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What mounts and unmounts for users other than root.
const HELPER: &str = "fusermount3";

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(transparent)]
    Cluster(#[from] client::Error),
    #[error("{} is not a directory of the namespace", .0)]
    NotDirectory(types::Path),
    #[error("there is no /dev/fuse; load it with `modprobe fuse`, or give the container this device")]
    NoDevice,
    #[error("only root may mount without fusermount3; install the package fuse3")]
    NoHelper,
    #[error("cannot mount on {}: {source}", point.display())]
    Mount { point: PathBuf, source: io::Error },
}

/// A mounted file system. It stays until somebody unmounts it, even when this is dropped.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    write_back: Arc<WriteBack>,
    accesses: Arc<Accesses>,
    /// The threads that take requests have ended.
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Mount {
    /// Mounts on `point`, a directory of this machine. What a mount daemon left there that is gone is taken away first.
    /// Must be called on a runtime, which then serves it.
    pub async fn new(client: Client, point: &Path, options: Options) -> Result<Self, MountError> {
        let root = client.stat(&options.subdir).await?;
        if !root.is_directory() {
            return Err(MountError::NotDirectory(options.subdir));
        }
        let failed = |source| MountError::Mount { point: point.to_owned(), source };
        may_mount()?;
        detach_dead(point).map_err(failed)?;
        let config = config(&options);
        let numbers = Numbers { root: root.inode };
        let (coherence, notices) = Coherence::new(&client, numbers, options.attr_timeout);
        let files = Arc::new(Files::new(client.clone(), coherence.clone(), &options));
        let (write_back, accesses) = (files.write_back.clone(), files.accesses.clone());
        let names = Names::new(client, files.clone(), numbers, options.root_squash);
        let filesystem = Mounted::new(names, files, coherence.clone());
        let at = point.to_owned();
        let session = tokio::task::spawn_blocking(move || Session::new(filesystem, at, &config));
        let session = session.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        coherence.serve(session.notifier(), notices).map_err(failed)?;
        if let Err(error) = read_ahead::raise(point) {
            tracing::debug!(%error, "the kernel reads ahead as little as it does by itself");
        }
        let (sender, ended) = oneshot::channel();
        let run = move || drop(sender.send(session.run()));
        std::thread::Builder::new().name("fuse".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { point: point.to_owned(), ended, write_back, accesses })
    }

    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Waits until somebody has unmounted it. Tells of how many files something was lost that had been written, since it was
    /// mounted; the log names them.
    pub async fn ended(&mut self) -> io::Result<usize> {
        (&mut self.ended).await.map_err(io::Error::other)??;
        self.accesses.tell().await;
        Ok(self.write_back.drain().await)
    }

    /// Writes what is left, and unmounts. The name is gone at once; programs that still use files here are served until they
    /// close them, for at most [`PATIENCE`], and get errors when this process ends. Tells what [`Self::ended`] does.
    pub async fn unmount(mut self) -> io::Result<usize> {
        // Whatever ends this process while it waits for others finds nothing left to write.
        self.write_back.drain().await;
        let point = self.point.clone();
        tokio::task::spawn_blocking(move || detach(&point)).await.map_err(io::Error::other)??;
        match tokio::time::timeout(PATIENCE, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!(point = %self.point.display(), "programs still use files here, and lose them now");
                Ok(self.write_back.drain().await)
            }
        }
    }
}

/// Found out before the cluster is asked, so that the reason is told and not its consequence.
fn may_mount() -> Result<(), MountError> {
    if !Path::new("/dev/fuse").exists() {
        return Err(MountError::NoDevice);
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let has_helper = || std::env::split_paths(&paths).any(|directory| directory.join(HELPER).exists());
    if !rustix::process::geteuid().is_root() && !has_helper() {
        return Err(MountError::NoHelper);
    }
    Ok(())
}

/// Takes the name of a mount away.
fn detach(point: &Path) -> io::Result<()> {
    match rustix::mount::unmount(point, UnmountFlags::DETACH) {
        // Whoever is not root leaves it to the program that mounted it.
        Err(rustix::io::Errno::PERM) => {
            let status = Command::new(HELPER).args(["-u", "-z", "--"]).arg(point).stdin(Stdio::null()).status()?;
            if status.success() { Ok(()) } else { Err(io::Error::other(format!("{HELPER} ended with {status}"))) }
        }
        done => Ok(done?),
    }
}

fn config(options: &Options) -> fuser::Config {
    let mut config = fuser::Config::default();
    let unless = |what, allowed, refused| if options.refused.contains(&what) { refused } else { allowed };
    config.mount_options = vec![
        MountOption::FSName("ashlar".to_owned()),
        // Not `Subtype`: that is kept from the kernel where no helper mounts.
        MountOption::CUSTOM("subtype=ashlar".to_owned()),
        // The kernel checks too: what it can refuse by itself never comes here.
        MountOption::DefaultPermissions,
        unless(Refused::Privileges, MountOption::Suid, MountOption::NoSuid),
        unless(Refused::Devices, MountOption::Dev, MountOption::NoDev),
        unless(Refused::Programs, MountOption::Exec, MountOption::NoExec),
        if options.read_only { MountOption::RO } else { MountOption::RW },
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads);
    config.clone_fd = options.threads > 1;
    config
}

/// A daemon that was killed leaves a mount that answers nothing any more.
fn detach_dead(point: &Path) -> io::Result<()> {
    match std::fs::metadata(point) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {
            tracing::warn!(point = %point.display(), "a mount whose daemon is gone is taken away");
            detach(point)
        }
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
