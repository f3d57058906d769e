//! One file of the cluster comes to this machine. It is written beside its place and renamed when it is complete.

use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path as LocalPath, PathBuf};

use bytes::Bytes;
use client::{Attributes, Client};
use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot};
use types::Path;

use crate::exit::Failure;
use crate::output::stdout_failed;
use crate::progress::Progress;

/// Pieces that wait to be written.
const BEHIND: usize = 8;
/// Longest part of a file's name that its temporary file repeats.
const NAME_PART: usize = 200;

#[derive(Debug, Clone, Copy)]
pub(crate) struct DownloadOptions {
    /// Replace a file that is there.
    pub(crate) overwrite: bool,
    /// Keep mode and time of modification, and the owner where that is allowed.
    pub(crate) preserve: bool,
}

/// Copies a file to `to`.
pub(crate) async fn download(
    client: &Client,
    from: &Path,
    to: PathBuf,
    options: DownloadOptions,
    progress: &Progress,
) -> Result<(), Failure> {
    let reader = client.open(from).await?;
    let attributes = reader.attributes().clone();
    let target = tokio::task::spawn_blocking({
        let to = to.clone();
        move || Target::open(&to, options.overwrite, &attributes, options.preserve)
    });
    let target = target.await.expect("opening a file does not panic")?;
    receive(reader, target, to, progress).await?;
    progress.file_done();
    Ok(())
}

/// Prints a file.
pub(crate) async fn to_stdout(client: &Client, from: &Path) -> Result<(), Failure> {
    let reader = client.open(from).await?;
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|error| stdout_failed(&error))?;
    receive(reader, Target::Stdout(File::from(stdout)), PathBuf::new(), &Progress::hidden()).await
}

/// Where the bytes go.
enum Target {
    /// A new file, and what it will be like.
    New {
        file: NamedTempFile,
        overwrite: bool,
        preserved: Option<Box<Attributes>>,
    },
    /// A pipe or a device: it is written to, never replaced.
    Special(File),
    Stdout(File),
}

impl Target {
    fn open(to: &LocalPath, overwrite: bool, attributes: &Attributes, preserve: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::local(to, &error);
        match std::fs::metadata(to) {
            Ok(there) if there.is_dir() => return Err(Failure::Failed(format!("{}: is a directory", to.display()))),
            Ok(there) if !there.is_file() => {
                return File::options().write(true).open(to).map(Self::Special).map_err(failed);
            }
            Ok(_) if !overwrite => return Err(exists(to)),
            Ok(_) | Err(_) => {}
        }
        let parent = match to.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => LocalPath::new("."),
        };
        let name = to.file_name().unwrap_or_default().as_encoded_bytes();
        let name = String::from_utf8_lossy(&name[..name.len().min(NAME_PART)]);
        // The process's umask applies to the mode, as for every new file.
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .permissions(Permissions::from_mode(0o666 | (attributes.mode & 0o111)))
            .tempfile_in(parent)
            .map_err(|error| Failure::local(parent, &error))?;
        Ok(Self::New { file, overwrite, preserved: preserve.then(|| Box::new(attributes.clone())) })
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::New { file, .. } => file.as_file_mut(),
            Self::Special(file) | Self::Stdout(file) => file,
        }
    }

    /// Every byte is there: the file gets its name.
    fn finish(self, to: &LocalPath) -> Result<(), Failure> {
        let Self::New { file, overwrite, preserved } = self else { return Ok(()) };
        if let Some(attributes) = preserved {
            preserve(file.as_file(), &attributes).map_err(|error| Failure::local(to, &error))?;
        }
        let named = if overwrite { file.persist(to) } else { file.persist_noclobber(to) };
        match named {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(to)),
            Err(error) => Err(Failure::local(to, &error.error)),
        }
    }

    fn failed(&self, to: &LocalPath, error: &io::Error) -> Failure {
        match self {
            Self::Stdout(_) => stdout_failed(error),
            Self::New { .. } | Self::Special(_) => Failure::local(to, error),
        }
    }
}

fn exists(to: &LocalPath) -> Failure {
    Failure::Failed(format!("{}: already exists (use -f to replace it)", to.display()))
}

/// Gives a local file or directory the mode and the time of `attributes`, and the owner if this process may.
pub(crate) fn preserve(file: &File, attributes: &Attributes) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(file, Some(attributes.uid), Some(attributes.gid))?;
    }
    file.set_permissions(Permissions::from_mode(attributes.mode & 0o7777))?;
    file.set_times(FileTimes::new().set_modified(attributes.mtime.into()))
}

/// Bytes for the writing thread. It gives the file its name only after `End`: a sender that is gone before was
/// interrupted.
enum Message {
    Piece(Bytes),
    End,
}

async fn receive(
    mut reader: client::FileReader,
    mut target: Target,
    to: PathBuf,
    progress: &Progress,
) -> Result<(), Failure> {
    let (sender, mut pieces) = mpsc::channel(BEHIND);
    let (done, ended) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let mut write = || -> Option<Result<(), Failure>> {
            while let Some(message) = pieces.blocking_recv() {
                match message {
                    Message::Piece(piece) => {
                        if let Err(error) = target.file().write_all(&piece) {
                            return Some(Err(target.failed(&to, &error)));
                        }
                    }
                    Message::End => return Some(Ok(())),
                }
            }
            None
        };
        let result = match write() {
            Some(Ok(())) => target.finish(&to),
            Some(Err(failure)) => Err(failure),
            // Dropping the target removes what was written.
            None => return,
        };
        drop(pieces);
        // Nobody listens any more when the command was interrupted.
        let _ = done.send(result);
    });
    loop {
        let message = match reader.next_chunk().await? {
            Some(piece) => {
                progress.bytes(piece.len());
                Message::Piece(piece)
            }
            None => Message::End,
        };
        let over = matches!(message, Message::End);
        // A thread that has stopped tells why below.
        if sender.send(message).await.is_err() || over {
            break;
        }
    }
    ended.await.unwrap_or_else(|_| Err(Failure::Failed("interrupted".to_owned())))
}
