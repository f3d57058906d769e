//! Disks that a test can fill, make read-only, take away or cut off from power: ext4 on a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::mount::{UnmountFlags, unmount};

/// `EXT4_IOC_SHUTDOWN` of linux/fs/ext4/ext4.h.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: neither data nor the journal that is in memory gets to the disk any more.
const NO_LOG_FLUSH: u32 = 2;

/// Why no disks can be made here, if so. Said loudly by every test that skips.
pub fn no_disks_here() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can mount a disk");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices");
    }
    let made = Command::new("mkfs.ext4").arg("-V").output();
    if made.is_err() { Some("there is no mkfs.ext4") } else { None }
}

/// A mounted disk. It goes with this value.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    point: PathBuf,
}

impl LoopDisk {
    /// Makes a disk, and mounts it on a directory whose content moves onto it. It may be full of it.
    pub(crate) fn under(point: &Path, mib: u64) -> Result<Self> {
        let (image, aside) = (point.with_extension("disk"), point.with_extension("aside"));
        File::create(&image)?.set_len(mib << 20)?;
        // No space that only root may use, and everything in place from the start.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
            .arg(&image))?;
        fs::rename(point, &aside)?;
        fs::create_dir(point)?;
        let disk = Self { image, point: point.to_owned() };
        disk.mount()?;
        fs::remove_dir(point.join("lost+found"))?;
        run(Command::new("cp").arg("-a").arg(aside.join(".")).arg(point))?;
        fs::remove_dir_all(&aside)?;
        rustix::fs::sync();
        Ok(disk)
    }

    fn mount(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.point))
    }

    /// From now on nothing reaches the disk, as if the power was gone. What was synced is there after [`Self::remount`].
    pub fn cut_power(&self) -> Result<()> {
        let root = File::open(&self.point)?;
        // SAFETY: this is the number of the call, and it takes a pointer to a u32.
        Ok(unsafe { ioctl(root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?)
    }

    /// Unmounts and mounts again. Nobody may have a file open.
    pub fn remount(&self) -> Result<()> {
        unmount(&self.point, UnmountFlags::empty()).context("unmounting")?;
        self.mount()
    }

    /// Nobody may have a file open for writing.
    pub fn make_read_only(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.point))
    }

    /// The directory is empty from now on. Files that are open stay.
    pub fn take_away(&self) -> Result<()> {
        Ok(unmount(&self.point, UnmountFlags::DETACH)?)
    }

    /// Mounts what was taken away.
    pub fn put_back(&self) -> Result<()> {
        self.mount()
    }

    /// Takes all space but so much.
    pub fn fill(&self, spare: u64) -> Result<()> {
        let found = rustix::fs::statvfs(&self.point)?;
        let filler = File::create(self.point.join("filler"))?;
        let length = (found.f_bavail * found.f_frsize).saturating_sub(spare);
        Ok(rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, length)?)
    }

    /// Gives it back.
    pub fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.point.join("filler"))?)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = unmount(&self.point, UnmountFlags::DETACH);
        let _ = fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
