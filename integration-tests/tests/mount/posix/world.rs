//! A directory in which steps are made, through the same system calls wherever it is.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};

use super::step::{Name, Slot, Step};

/// What a program sees of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Done,
    Number(usize),
    /// Their number and a checksum: shorter to look at than the bytes.
    Bytes(usize, u32),
    Attributes(Attributes),
    Names(Vec<String>),
    Path(PathBuf),
    Error(String),
    /// The slot holds no open file.
    NotOpen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    kind: String,
    mode: u32,
    links: u64,
    owner: (u32, u32),
    /// Not of directories: each file system has its own idea.
    length: Option<u64>,
    /// Only if a program set it.
    modified: Option<i64>,
}

/// Whatever is later was not set by a step.
const SET_BY_PROGRAMS: i64 = 1_500_000_000;

#[derive(Debug)]
pub(crate) struct World {
    root: PathBuf,
    open: HashMap<Slot, File>,
}

impl World {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), open: HashMap::new() }
    }

    /// Names lie in the root and in two directories, one inside the other, which may or may not be there.
    fn path(&self, name: Name) -> PathBuf {
        let names = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "c", "d/e/b"];
        self.root.join(names[name])
    }

    pub(crate) fn step(&mut self, step: &Step) -> Seen {
        match self.run(step) {
            Ok(seen) => seen,
            Err(error) => Seen::Error(errno_name(&error)),
        }
    }

    fn run(&mut self, step: &Step) -> io::Result<Seen> {
        match step {
            Step::Open { slot, name, create, exclusive, truncate, append } => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).mode(0o640).truncate(*truncate && !append).append(*append);
                options.create(*create).create_new(*exclusive);
                // Never waits for the other end of a FIFO.
                options.custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a small flag"));
                let file = options.open(self.path(*name))?;
                // A FIFO is not kept: once its last name is gone, the mount knows nothing of it (docs/posix.md).
                match file.metadata()?.file_type().is_fifo() {
                    true => self.open.remove(slot),
                    false => self.open.insert(*slot, file),
                };
                Ok(Seen::Done)
            }
            Step::Close(slot) => Ok(self.open.remove(slot).map_or(Seen::NotOpen, |_| Seen::Done)),
            Step::Write { slot, offset, length, seed } => {
                self.with(*slot, |file| file.write_at(&content(*seed, *length), *offset).map(Seen::Number))
            }
            Step::Append { slot, length, seed } => self.with(*slot, |file| {
                let end = file.metadata()?.len();
                file.write_at(&content(*seed, *length), end).map(Seen::Number)
            }),
            Step::Read { slot, offset, length } => self.with(*slot, |file| {
                let mut buffer = vec![0; *length];
                let read = file.read_at(&mut buffer, *offset)?;
                Ok(seen_bytes(&buffer[..read]))
            }),
            Step::ReadWhole(name) => {
                let path = self.path(*name);
                // Reading a FIFO would wait for somebody to write.
                match fs::metadata(&path)?.file_type().is_fifo() {
                    true => Ok(Seen::Done),
                    false => Ok(seen_bytes(&fs::read(path)?)),
                }
            }
            Step::SetLength { slot, length } => self.with(*slot, |file| file.set_len(*length).map(|()| Seen::Done)),
            Step::SetLengthOf { name, length } => {
                let path = std::ffi::CString::new(self.path(*name).into_os_string().into_encoded_bytes())?;
                rustix::fs::open(
                    path.as_c_str(),
                    rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK,
                    Mode::empty(),
                )
                .and_then(|file| rustix::fs::ftruncate(file, *length))?;
                Ok(Seen::Done)
            }
            Step::Sync(slot) => self.with(*slot, |file| file.sync_all().map(|()| Seen::Done)),
            Step::Punch { slot, offset, length } => self.with(*slot, |file| {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(rustix::fs::fallocate(file, flags, *offset, *length).map(|()| Seen::Done)?)
            }),
            Step::Extend { slot, offset, length } => self.with(*slot, |file| {
                Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), *offset, *length).map(|()| Seen::Done)?)
            }),
            Step::Copy { from, offset, to, to_offset, length } => {
                let (Some(from), Some(to)) = (self.open.get(from), self.open.get(to)) else { return Ok(Seen::NotOpen) };
                let (mut offset, mut to_offset) = (*offset, *to_offset);
                let mut left = *length;
                // It may do less at a time than is asked for; in the end it is the same.
                while left > 0 {
                    let done = rustix::fs::copy_file_range(from, Some(&mut offset), to, Some(&mut to_offset), left)?;
                    if done == 0 {
                        break;
                    }
                    left -= done;
                }
                Ok(Seen::Number(length - left))
            }
            Step::StatOpen(slot) => self.with(*slot, |file| Ok(Seen::Attributes(attributes(&file.metadata()?)))),
            step => self.run_on_tree(step),
        }
    }

    fn run_on_tree(&self, step: &Step) -> io::Result<Seen> {
        let done = match step {
            Step::Stat(name) => return Ok(Seen::Attributes(attributes(&fs::symlink_metadata(self.path(*name))?))),
            Step::List(name) => {
                let names =
                    fs::read_dir(self.path(*name))?.map(|entry| Ok(entry?.file_name().into_string().expect("plain")));
                let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
                names.sort();
                return Ok(Seen::Names(names));
            }
            Step::ReadLink(name) => {
                let target = fs::read_link(self.path(*name))?;
                return Ok(Seen::Path(target));
            }
            Step::GetAttribute { name, key } => {
                let mut buffer = vec![0; 4096];
                let length = rustix::fs::getxattr(self.path(*name), attribute(*key), &mut buffer)?;
                return Ok(seen_bytes(&buffer[..length]));
            }
            Step::ListAttributes(name) => {
                let mut buffer = vec![0; 4096];
                let length = rustix::fs::listxattr(self.path(*name), &mut buffer)?;
                let names = buffer[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user."));
                let mut names: Vec<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
                names.sort();
                return Ok(Seen::Names(names));
            }
            Step::MakeDirectory { name, mode } => {
                fs::create_dir(self.path(*name))?;
                // Root may enter it whatever the mode.
                fs::set_permissions(self.path(*name), fs::Permissions::from_mode(*mode))
            }
            Step::RemoveDirectory(name) => fs::remove_dir(self.path(*name)),
            Step::Unlink(name) => fs::remove_file(self.path(*name)),
            Step::Rename { from, to } => fs::rename(self.path(*from), self.path(*to)),
            Step::RenameNoReplace { from, to } => self.rename(*from, *to, RenameFlags::NOREPLACE),
            Step::Exchange { from, to } => self.rename(*from, *to, RenameFlags::EXCHANGE),
            Step::Link { from, to } => fs::hard_link(self.path(*from), self.path(*to)),
            Step::Symlink { target, name } => {
                let target = self.path(*target).file_name().expect("a name").to_owned();
                std::os::unix::fs::symlink(target, self.path(*name))
            }
            Step::ChangeMode { name, mode } => fs::set_permissions(self.path(*name), fs::Permissions::from_mode(*mode)),
            Step::ChangeTimes { name, seconds } => {
                let time = Timespec { tv_sec: *seconds, tv_nsec: 123_456_789 };
                let times = Timestamps { last_access: time, last_modification: time };
                Ok(rustix::fs::utimensat(CWD, self.path(*name), &times, AtFlags::SYMLINK_NOFOLLOW)?)
            }
            Step::SetAttribute { name, key, length } => {
                let value = content(*key, *length);
                Ok(rustix::fs::setxattr(self.path(*name), attribute(*key), &value, XattrFlags::empty())?)
            }
            Step::RemoveAttribute { name, key } => Ok(rustix::fs::removexattr(self.path(*name), attribute(*key))?),
            Step::MakeFifo(name) => {
                Ok(rustix::fs::mknodat(CWD, self.path(*name), FileType::Fifo, Mode::from_bits_truncate(0o620), 0)?)
            }
            other => unreachable!("{other:?} is a step on an open file"),
        };
        done.map(|()| Seen::Done)
    }

    fn rename(&self, from: Name, to: Name, flags: RenameFlags) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(CWD, self.path(from), CWD, self.path(to), flags)?)
    }

    fn with(&self, slot: Slot, run: impl FnOnce(&File) -> io::Result<Seen>) -> io::Result<Seen> {
        self.open.get(&slot).map_or(Ok(Seen::NotOpen), run)
    }

    /// Everything below the root: paths, attributes, content.
    pub(crate) fn everything(&self) -> Vec<(PathBuf, Attributes, Seen)> {
        let mut found = Vec::new();
        let mut left = vec![self.root.clone()];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).expect("root may list it") {
                let path = entry.expect("an entry").path();
                let metadata = fs::symlink_metadata(&path).expect("it was just listed");
                let seen = if metadata.is_dir() {
                    left.push(path.clone());
                    Seen::Done
                } else if metadata.is_file() {
                    seen_bytes(&fs::read(&path).expect("root may read it"))
                } else if metadata.is_symlink() {
                    Seen::Path(fs::read_link(&path).expect("a symlink"))
                } else {
                    Seen::Done
                };
                let shown = path.strip_prefix(&self.root).expect("below the root").to_owned();
                found.push((shown, attributes(&metadata), seen));
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }
}

/// Bytes that tell where they come from.
fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| seed.wrapping_add((at % 251) as u8).wrapping_mul(3) | 1).collect()
}

fn seen_bytes(bytes: &[u8]) -> Seen {
    let sum = bytes.iter().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    Seen::Bytes(bytes.len(), sum)
}

fn attribute(key: u8) -> String {
    format!("user.key{key}")
}

fn attributes(metadata: &fs::Metadata) -> Attributes {
    let seconds = metadata.mtime();
    Attributes {
        kind: format!("{:?}", FileType::from_raw_mode(metadata.mode())),
        mode: metadata.mode() & 0o7777,
        links: metadata.nlink(),
        owner: (metadata.uid(), metadata.gid()),
        length: (!metadata.is_dir()).then_some(metadata.len()),
        modified: (seconds < SET_BY_PROGRAMS).then_some(seconds),
    }
}

fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", rustix::io::Errno::from_raw_os_error(number)),
        None => error.to_string(),
    }
}
