//! What one mount changes, the kernel of another machine does not show for long, however long it may keep what it knows.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::{Cluster, Mounted, Options};
use rustix::fs::{XattrFlags, getxattr, setxattr};

/// What the kernel keeps without being told of changes, and a little more.
const UNTOLD: Duration = Duration::from_millis(1200);
/// A stopped daemon answers nothing within this time, nor later.
const UNANSWERED: Duration = Duration::from_secs(2);
/// Far below the lifetime of an hour that the mounts have.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_one_mount_changes_another_drops_at_once() -> Result<()> {
    if crate::skipped("what_one_mount_changes_another_drops_at_once") {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::default()).await?;
    let hour = ["-o", "attr_timeout=1h"];
    let mounts = [Mounted::start(&cluster, &hour)?, Mounted::start(&cluster, &hour)?];
    let mounts = tokio::task::spawn_blocking(move || {
        let [one, other] = [mounts[0].path(), mounts[1].path()];
        fs::create_dir(one.join("d"))?;
        fs::write(one.join("d/file"), b"first content")?;
        until_kept(&mounts[1], &other.join("d/file")).context("what is watched is kept")?;
        attributes(one, other).context("attributes")?;
        content(one, other).context("content")?;
        names(one, other).context("names")?;
        lists(one, other).context("lists")?;
        absent(&mounts[1], one).context("absent names")?;
        anyhow::Ok(mounts)
    })
    .await??;
    // With the leader goes the stream of news, and with it everything that was kept.
    let leader = cluster.leader().await?;
    cluster.kill(&leader)?;
    let mounts = tokio::task::spawn_blocking(move || {
        let [one, other] = [mounts[0].path(), mounts[1].path()];
        fs::write(one.join("d/later"), b"after the leader was lost")?;
        soon("a new file is there", || {
            Ok(fs::read(other.join("d/later")).ok() == Some(b"after the leader was lost".into()))
        })?;
        fs::set_permissions(one.join("d/later"), fs::Permissions::from_mode(0o604))?;
        soon("its mode is seen", || Ok(mode(&other.join("d/later"))? == 0o604))?;
        until_kept(&mounts[1], &other.join("d/later")).context("what is watched again is kept again")?;
        fs::remove_file(one.join("d/later"))?;
        soon("a removed file is gone", || Ok(!other.join("d/later").exists()))?;
        anyhow::Ok(mounts)
    })
    .await??;
    for mount in mounts {
        mount.finish().await?;
    }
    cluster.finish(&[]).await
}

/// Waits until the kernel knows a path without its daemon, or that it is absent, longer than it would unless it is told of
/// changes.
fn until_kept(mount: &Mounted, path: &Path) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < integration_tests::DEADLINE {
        let is_there = fs::metadata(path).is_ok();
        // This is about time that passes: what is not watched is forgotten meanwhile.
        std::thread::sleep(UNTOLD);
        mount.pause()?;
        let (sender, answer) = mpsc::channel();
        let asked = path.to_owned();
        std::thread::spawn(move || drop(sender.send(fs::metadata(asked))));
        let answer = answer.recv_timeout(UNANSWERED);
        mount.resume()?;
        if let Ok(found) = answer {
            ensure!(found.is_ok() == is_there, "{} is and is not there", path.display());
            return Ok(());
        }
    }
    bail!("the kernel asks for {} again and again", path.display())
}

fn soon(what: &str, mut is_true: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_true()? {
        ensure!(start.elapsed() < SOON, "within {SOON:?} it was not seen that {what}");
        std::thread::yield_now();
    }
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.mode() & 0o7777)
}

fn attributes(one: &Path, other: &Path) -> Result<()> {
    for mode in [0o600, 0o640, 0o644] {
        fs::set_permissions(one.join("d/file"), fs::Permissions::from_mode(mode))?;
        soon("a mode is changed", || Ok(self::mode(&other.join("d/file"))? == mode))?;
    }
    fs::set_permissions(one.join("d"), fs::Permissions::from_mode(0o711))?;
    soon("the mode of a directory is changed", || Ok(mode(&other.join("d"))? == 0o711))?;
    // The name is elsewhere, what it stands for is the same.
    fs::create_dir(one.join("e"))?;
    fs::hard_link(one.join("d/file"), one.join("e/link"))?;
    soon("there is another name", || Ok(fs::metadata(other.join("d/file"))?.nlink() == 2))?;
    fs::set_permissions(one.join("e/link"), fs::Permissions::from_mode(0o620))?;
    soon("a mode is changed by another name", || Ok(mode(&other.join("d/file"))? == 0o620))?;
    fs::remove_file(one.join("e/link"))?;
    soon("the other name is gone", || Ok(fs::metadata(other.join("d/file"))?.nlink() == 1))?;
    // That there is none is known too, until somebody sets one.
    for (file, name) in [("d/file", "user.one"), ("d/file", "user.two"), ("d", "user.one")] {
        let has = || getxattr(other.join(file), name, &mut [0; 8]).is_ok();
        ensure!(!has(), "{file} has no {name}");
        setxattr(one.join(file), name, b"value", XattrFlags::empty())?;
        soon("an extended attribute is set", || Ok(has()))?;
    }
    setxattr(other.join("e"), "user.own", b"value", XattrFlags::empty())?;
    ensure!(getxattr(other.join("e"), "user.own", &mut [0; 8])? == 5, "what the mount itself set is there at once");
    // What was linked once is kept, and told of, as others are.
    fs::set_permissions(one.join("d/file"), fs::Permissions::from_mode(0o604))?;
    soon("the mode of what had two names is changed", || Ok(mode(&other.join("d/file"))? == 0o604))
}

fn content(one: &Path, other: &Path) -> Result<()> {
    let open = File::open(other.join("d/file"))?;
    let read = || -> Result<Vec<u8>> {
        let mut bytes = vec![0; 64];
        let count = open.read_at(&mut bytes, 0)?;
        bytes.truncate(count);
        Ok(bytes)
    };
    ensure!(read()? == b"first content");
    let file = OpenOptions::new().write(true).open(one.join("d/file"))?;
    file.write_all_at(b"other", 0)?;
    file.sync_all()?;
    soon("bytes are overwritten, in an open file", || Ok(read()? == b"other content"))?;
    file.set_len(5)?;
    soon("it is shorter", || Ok(read()? == b"other" && fs::metadata(other.join("d/file"))?.size() == 5))?;
    let mut file = OpenOptions::new().append(true).open(one.join("d/file"))?;
    file.write_all(b", and more")?;
    file.sync_all()?;
    soon("it is longer", || Ok(read()? == b"other, and more"))?;
    // Beyond what lives with the inode.
    let long: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(one.join("d/file"), &long)?;
    soon("it is replaced", || Ok(fs::read(other.join("d/file"))? == long))?;
    let file = OpenOptions::new().write(true).open(one.join("d/file"))?;
    file.write_all_at(b"changed", 150_000)?;
    file.sync_all()?;
    let mut bytes = [0; 7];
    soon("a part of a long file is overwritten", || {
        open.read_exact_at(&mut bytes, 150_000)?;
        Ok(&bytes == b"changed")
    })
}

fn names(one: &Path, other: &Path) -> Result<()> {
    let exists = |name: &str| other.join(name).symlink_metadata().is_ok();
    fs::rename(one.join("d/file"), one.join("e/moved"))?;
    soon("a file is moved", || Ok(exists("e/moved") && !exists("d/file")))?;
    fs::set_permissions(one.join("e/moved"), fs::Permissions::from_mode(0o600))?;
    soon("it is changed in its new place", || Ok(mode(&other.join("e/moved"))? == 0o600))?;
    // A rename through the other mount, which is told nothing of it, and then a change by the first.
    fs::rename(other.join("e/moved"), other.join("d/back"))?;
    ensure!(mode(&other.join("d/back"))? == 0o600);
    fs::set_permissions(one.join("d/back"), fs::Permissions::from_mode(0o666))?;
    soon("it is changed where the other put it", || Ok(mode(&other.join("d/back"))? == 0o666))?;
    fs::write(one.join("d/new"), b"new")?;
    soon("a file is there", || Ok(exists("d/new")))?;
    fs::rename(one.join("d/new"), one.join("d/back"))?;
    soon("a file takes the place of another", || Ok(fs::read(other.join("d/back"))? == b"new" && !exists("d/new")))?;
    symlink("here", one.join("d/link"))?;
    soon("a symbolic link is there", || {
        Ok(fs::read_link(other.join("d/link")).is_ok_and(|to| to == Path::new("here")))
    })?;
    fs::remove_file(one.join("d/link"))?;
    symlink("there", one.join("d/link"))?;
    soon("it leads elsewhere", || Ok(fs::read_link(other.join("d/link")).is_ok_and(|to| to == Path::new("there"))))?;
    // A directory with what is in it, from under the feet of the other.
    let open = File::open(other.join("d/back"))?;
    fs::rename(one.join("d"), one.join("renamed"))?;
    soon("a directory is renamed", || Ok(exists("renamed/back") && !exists("d")))?;
    fs::remove_file(one.join("renamed/back"))?;
    soon("an open file is removed", || Ok(!exists("renamed/back") && open.metadata()?.nlink() == 0))?;
    fs::create_dir(one.join("d"))?;
    soon(
        "there is another directory of the old name",
        || Ok(exists("d") && fs::read_dir(other.join("d"))?.count() == 0),
    )
}

/// A name that is known to be absent is there as soon as somebody makes it, by whichever mount and in whichever way.
fn absent(mount: &Mounted, one: &Path) -> Result<()> {
    let (here, there) = (one.join("absent"), mount.path().join("absent"));
    fs::create_dir(&here)?;
    soon("there is a directory", || Ok(there.exists()))?;
    let names = ["file", "directory", "link", "hard", "moved", "own"];
    until_kept(mount, &there.join("file"))?;
    // So are the others, now that the directory is watched.
    for name in names {
        ensure!(!there.join(name).exists());
    }
    fs::write(here.join("file"), b"new")?;
    soon("a file is there", || Ok(fs::read(there.join("file")).ok() == Some(b"new".into())))?;
    fs::create_dir(here.join("directory"))?;
    soon("a directory is there", || Ok(there.join("directory").is_dir()))?;
    symlink("file", here.join("link"))?;
    soon("a symbolic link is there", || Ok(there.join("link").is_file()))?;
    fs::hard_link(here.join("file"), here.join("hard"))?;
    soon("another name is there", || Ok(there.join("hard").exists()))?;
    fs::rename(here.join("file"), here.join("moved"))?;
    soon("a file has the name", || Ok(there.join("moved").exists() && !there.join("file").exists()))?;
    fs::write(there.join("own"), b"own")?;
    ensure!(fs::read(there.join("own"))? == b"own", "what the mount itself made is there at once");
    fs::remove_file(there.join("own"))?;
    ensure!(!there.join("own").exists());
    fs::write(here.join("own"), b"another's")?;
    soon("it is there again", || Ok(fs::read(there.join("own")).ok() == Some(b"another's".into())))?;
    // Of a directory that a mount made itself it knows what is not in it, until others change that.
    let (here, there) = (here.join("made"), there.join("made"));
    fs::create_dir(&there)?;
    for number in 0..100 {
        let name = number.to_string();
        ensure!(!there.join(&name).exists());
        fs::write(there.join(&name), &name)?;
        ensure!(fs::read(there.join(&name))? == name.as_bytes());
    }
    fs::rename(there.join("1"), there.join("renamed"))?;
    fs::hard_link(there.join("2"), there.join("linked"))?;
    symlink("2", there.join("symbolic"))?;
    fs::create_dir(there.join("directory"))?;
    for name in ["renamed", "linked", "symbolic", "directory"] {
        ensure!(there.join(name).exists(), "{name} was made here");
    }
    ensure!(!there.join("1").exists() && !there.join("foreign").exists());
    fs::write(here.join("foreign"), b"foreign")?;
    soon("a file of another mount is there", || Ok(there.join("foreign").exists()))?;
    fs::remove_file(there.join("renamed"))?;
    fs::write(here.join("renamed"), b"foreign")?;
    soon("and under a name that was in use", || Ok(there.join("renamed").exists()))
}

/// The names in a directory, sorted.
fn list(directory: &Path) -> Result<Vec<String>> {
    let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = fs::read_dir(directory)?.map(name).collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// What is listed again and again comes from the kernel's own list, which must not outlive a change of the directory, even
/// one that its times do not tell.
fn lists(one: &Path, other: &Path) -> Result<()> {
    let (here, there) = (one.join("lists"), other.join("lists"));
    fs::create_dir(&here)?;
    soon("there is a directory", || Ok(there.exists()))?;
    let mut expected = Vec::new();
    for round in 0..40 {
        for _ in 0..3 {
            ensure!(list(&there)? == expected, "{round}");
        }
        let before = fs::metadata(&here)?.modified()?;
        let name = format!("{round:02}");
        fs::write(here.join(&name), b"")?;
        File::open(&here)?.set_modified(before)?;
        expected.push(name);
        soon("a new file is listed", || Ok(list(&there)? == expected))?;
        if round % 3 == 2 {
            fs::remove_file(here.join(expected.remove(0)))?;
            File::open(&here)?.set_modified(before)?;
            soon("a removed file is listed no more", || Ok(list(&there)? == expected))?;
        }
        // What is done here is listed here at once.
        fs::rename(there.join(&expected[0]), there.join("zz"))?;
        ensure!(list(&there)?.contains(&"zz".to_owned()));
        fs::rename(there.join("zz"), there.join(&expected[0]))?;
        ensure!(list(&there)? == expected);
        soon("the other lists it too", || Ok(list(&here)? == expected))?;
    }
    Ok(())
}
