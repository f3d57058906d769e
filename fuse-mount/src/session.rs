//! A mount from its beginning to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::Client;
use fuser::{MountOption, Session, SessionACL};
use rustix::mount::UnmountFlags;
use tokio::sync::oneshot;

use crate::attributes::Numbers;
use crate::coherence::Coherence;
use crate::files::Files;
use crate::filesystem::Mounted;
use crate::names::Names;
use crate::options::Options;
use crate::read_ahead;
use crate::write_back::WriteBack;

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(transparent)]
    Cluster(#[from] client::Error),
    #[error("{} is not a directory of the namespace", .0)]
    NotDirectory(types::Path),
    #[error("cannot mount on {}: {source}", point.display())]
    Mount { point: PathBuf, source: io::Error },
}

/// A mounted file system. It stays until somebody unmounts it, even when this is dropped.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    write_back: Arc<WriteBack>,
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
        detach_dead(point).map_err(failed)?;
        let config = config(&options);
        let numbers = Numbers { root: root.inode };
        let (coherence, notices) = Coherence::new(&client, numbers, options.attr_timeout);
        let files = Arc::new(Files::new(client.clone(), coherence.clone(), &options));
        let write_back = files.write_back.clone();
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
        Ok(Self { point: point.to_owned(), ended, write_back })
    }

    /// Waits until somebody has unmounted it. Tells how many files could not be written.
    pub async fn ended(&mut self) -> io::Result<usize> {
        (&mut self.ended).await.map_err(io::Error::other)??;
        Ok(self.write_back.drain().await)
    }

    /// Writes what is left, and unmounts. Tells how many files could not be written.
    pub async fn unmount(mut self) -> io::Result<usize> {
        let point = self.point.clone();
        tokio::task::spawn_blocking(move || rustix::mount::unmount(&point, UnmountFlags::DETACH))
            .await
            .map_err(io::Error::other)??;
        self.ended().await
    }
}

fn config(options: &Options) -> fuser::Config {
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::FSName("ashlar".to_owned()),
        MountOption::Subtype("ashlar".to_owned()),
        // The kernel checks too: what it can refuse by itself never comes here.
        MountOption::DefaultPermissions,
        MountOption::Suid,
        MountOption::Dev,
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
            Ok(rustix::mount::unmount(point, UnmountFlags::DETACH)?)
        }
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
