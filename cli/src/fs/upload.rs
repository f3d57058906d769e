//! One local file goes into the cluster. It appears there complete or not at all.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path as LocalPath, PathBuf};

use bytes::Bytes;
use client::{Client, CreateOptions};
use tokio::sync::mpsc;
use types::{Code, Path, Timestamp};

use crate::exit::{Failure, advise};
use crate::progress::Progress;

/// Files up to this length are read as a whole before anything is sent.
const WHOLE: u64 = 1 << 20;
/// Longer ones are read in such pieces.
const PIECE: u64 = 1 << 20;
/// Pieces that are read ahead of the sending.
const AHEAD: usize = 4;

/// The permission bits of a copy that does not preserve them: those of a new file, executable if the source is.
pub(crate) const fn fresh_mode(source: u32) -> u32 {
    0o644 | (source & 0o111)
}

pub(crate) fn modified(metadata: &Metadata) -> Timestamp {
    Timestamp::from_signed_nanos(metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()))
}

/// What a file may fail with that a flag answers.
pub(crate) fn failed(error: &client::Error, overwrite: bool) -> Failure {
    match overwrite {
        true => advise(error, &[(Code::NotFound, "make the directory first, with mkdir -p")]),
        false => advise(
            error,
            &[(Code::Exists, "use -f to replace it"), (Code::NotFound, "make the directory first, with mkdir -p")],
        ),
    }
}

/// Copies a local file. With `preserve`, mode, owner and time of modification come along.
pub(crate) async fn upload(
    client: &Client,
    from: PathBuf,
    to: &Path,
    mut options: CreateOptions,
    preserve: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    let opened = tokio::task::spawn_blocking({
        let from = from.clone();
        move || open(&from)
    });
    let Opened { metadata, content } =
        opened.await.expect("opening a file does not panic").map_err(|error| Failure::local(&from, &error))?;
    options.mode = fresh_mode(metadata.mode());
    if preserve {
        options.mode = metadata.mode() & 0o7777;
        options.mtime = Some(modified(&metadata));
        (options.uid, options.gid) = (Some(metadata.uid()), Some(metadata.gid()));
    }
    let overwrite = options.overwrite;
    match content {
        Content::Whole(bytes) => {
            let length = bytes.len();
            client.put(to, bytes, options).await.map_err(|error| failed(&error, overwrite))?;
            progress.bytes(length);
        }
        Content::Rest(file) => {
            options.size_hint = metadata.is_file().then_some(metadata.len());
            send(client, pieces(file), &from, to, options, progress).await?;
        }
    }
    progress.file_done();
    Ok(())
}

/// Copies the standard input.
pub(crate) async fn upload_stdin(
    client: &Client,
    to: &Path,
    options: CreateOptions,
    progress: &Progress,
) -> Result<(), Failure> {
    send(client, pieces(io::stdin()), LocalPath::new("standard input"), to, options, progress).await?;
    progress.file_done();
    Ok(())
}

struct Opened {
    metadata: Metadata,
    content: Content,
}

enum Content {
    Whole(Bytes),
    Rest(File),
}

fn open(path: &LocalPath) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("is a directory"));
    }
    if !metadata.is_file() || metadata.len() > WHOLE {
        return Ok(Opened { metadata, content: Content::Rest(file) });
    }
    let mut content = Vec::with_capacity(metadata.len() as usize);
    (&mut file).take(WHOLE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > WHOLE {
        return Err(io::Error::other("grew while it was read; copy it again when it is quiet"));
    }
    Ok(Opened { metadata, content: Content::Whole(content.into()) })
}

/// Reads ahead in a thread, which ends when the receiver is gone.
pub(crate) fn pieces(mut from: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE as usize);
            let read = (&mut from).take(PIECE).read_to_end(&mut piece);
            let over = !matches!(read, Ok(1..));
            let message = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(piece)),
                Err(error) => Err(error),
            };
            if sender.blocking_send(message).is_err() || over {
                return;
            }
        }
    });
    receiver
}

async fn send(
    client: &Client,
    mut pieces: mpsc::Receiver<io::Result<Bytes>>,
    from: &LocalPath,
    to: &Path,
    options: CreateOptions,
    progress: &Progress,
) -> Result<(), Failure> {
    let overwrite = options.overwrite;
    let failed = |error: client::Error| failed(&error, overwrite);
    let mut writer = client.create(to, CreateOptions { atomic: true, ..options }).await.map_err(failed)?;
    while let Some(piece) = pieces.recv().await {
        let written = match piece {
            Ok(piece) => {
                progress.bytes(piece.len());
                writer.write(piece).await.map_err(failed)
            }
            Err(error) => Err(Failure::local(from, &error)),
        };
        if let Err(failure) = written {
            // The file has no name: if even this fails, it goes with the session.
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "an unfinished file was not given up in order");
            }
            return Err(failure);
        }
    }
    writer.close().await.map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_is_cut_into_pieces_without_loss() {
        let content: Vec<u8> = (0..3 * PIECE + 5).map(|at| (at / 1000) as u8).collect();
        let mut pieces = pieces(io::Cursor::new(content.clone()));
        let mut got = Vec::new();
        while let Some(piece) = pieces.recv().await {
            got.extend_from_slice(&piece.expect("memory is readable"));
        }
        assert!(got == content);
    }

    #[tokio::test]
    async fn a_failing_reader_says_so_and_ends() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut pieces = pieces(Broken);
        assert!(pieces.recv().await.expect("an error").is_err());
        assert!(pieces.recv().await.is_none());
    }

    #[test]
    fn new_files_are_executable_if_the_source_is() {
        assert_eq!([0o600, 0o755, 0o100_700].map(fresh_mode), [0o644, 0o755, 0o744]);
    }
}
