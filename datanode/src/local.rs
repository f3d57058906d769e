//! The Unix socket for readers on this machine: where it is, and how to be sure that it is this machine.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proto::v1;
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::StartError;
use crate::settings::Settings;

/// In the first volume, unless the settings say otherwise.
const NAME: &str = "local.sock";

/// Bound. The file goes with it.
#[derive(Debug)]
pub(crate) struct LocalListener {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    boot: [u8; 16],
}

impl LocalListener {
    /// None where nobody asked for it and the first volume takes no socket: everything can be read over the network.
    pub(crate) async fn open(settings: &Settings) -> Result<Option<Self>, StartError> {
        if !settings.local_socket.as_os_str().is_empty() {
            let path = settings.local_socket.clone();
            let failed = |reason| StartError::ListenLocal { path, reason };
            return Self::at(&settings.local_socket).await.map(Some).map_err(failed);
        }
        let Some(volume) = settings.volumes.first() else { return Ok(None) };
        let path = volume.join(NAME);
        match Self::at(&path).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => {
                warn!(path = %path.display(), %error, "readers on this machine read over the network: no socket for them");
                Ok(None)
            }
        }
    }

    async fn at(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self { listener: bind(&path).await?, boot: boot_id()?, path })
    }

    /// What namenodes tell readers.
    pub(crate) fn told(&self) -> v1::LocalSocket {
        v1::LocalSocket { boot: self.boot.to_vec(), path: self.path.as_os_str().as_bytes().to_vec() }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // Whoever finds it is refused by the kernel as well.
        let _ = fs::remove_file(&self.path);
    }
}

async fn bind(path: &Path) -> io::Result<UnixListener> {
    // The name of a socket has 107 bytes at most, a path more: hence by way of the directory.
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    match UnixStream::connect(&short).await {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        // Of a process that has ended.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(&short)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&short)?;
    // Whoever gets here may ask; what is handed out is decided by tokens.
    fs::set_permissions(&short, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Drawn by the kernel when it starts: no two machines have the same.
fn boot_id() -> io::Result<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digits = std::str::from_utf8(&digits).expect("hexadecimal digits");
    let number = u128::from_str_radix(digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(number.to_be_bytes())
}

/// Sends a frame, and with its first byte an open file.
pub(crate) async fn send_with(stream: &UnixStream, frame: &[u8], file: &File) -> io::Result<()> {
    let fds = [file.as_fd()];
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(sendmsg(stream, &[io::IoSlice::new(frame)], &mut ancillary, flags)?)
        })
        .await?;
    let mut rest = &frame[sent..];
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(sent) => rest = &rest[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
