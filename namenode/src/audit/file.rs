//! A file that is set aside when it has grown large: `audit.log`, `audit.log.1`, and so on to the oldest.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Target;

pub(super) struct Rotating {
    target: Target,
    file: File,
    length: u64,
}

impl Rotating {
    pub(super) fn open(target: Target) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", target.path.display()));
        let file = open(&target.path).map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        Ok(Self { target, file, length })
    }

    pub(super) fn path(&self) -> &Path {
        &self.target.path
    }

    /// Whole lines: a file ends with one.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length.saturating_add(lines.len() as u64) > self.target.size.get() {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.length += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Target { path, keep, .. } = &self.target;
        for number in (0..*keep).rev() {
            match std::fs::rename(numbered(path, number), numbered(path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if *keep == 0 {
            std::fs::remove_file(path)?;
        }
        self.file = open(path)?;
        self.length = 0;
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Who did what is for administrators' eyes.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use types::ByteSize;

    use super::*;

    #[test]
    fn a_large_file_is_set_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let target = Target { path: path.clone(), size: ByteSize::new(10), keep: 2 };
        let mut file = Rotating::open(target.clone()).expect("made");
        for line in ["first\n", "second\n", "third\n", "fourth\n"] {
            file.write(line.as_bytes()).expect("written");
        }
        let read = |number| std::fs::read_to_string(numbered(&path, number)).ok();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!([0, 1, 2, 3].map(read), [text("fourth\n"), text("third\n"), text("second\n"), None], "invariant 4");
        // The next process goes on where this one ended.
        drop(file);
        let mut file = Rotating::open(target).expect("there");
        file.write(b"x\n").expect("written");
        assert_eq!(read(0), text("fourth\nx\n"));
        // A line that is longer than a file may be is written nevertheless.
        file.write(b"a line that is long\n").expect("written");
        assert_eq!(read(0), text("a line that is long\n"));
    }
}
